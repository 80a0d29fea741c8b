"""BLAS has its threads back once nobody spreads products over threads of their own."""

from __future__ import annotations

import threading

import numpy as np
from threadpoolctl import threadpool_info

from vidsim.ingest.system.blas import single_threaded_blas


def threads() -> set[int]:
    return {pool["num_threads"] for pool in threadpool_info() if pool["user_api"] == "blas"}


def test_blocks_that_overlap_restore_what_was_before() -> None:
    np.ones((2, 2)) @ np.ones((2, 2))
    before = threads()
    inside, leave = threading.Event(), threading.Event()

    def other() -> None:
        with single_threaded_blas():
            inside.set()
            leave.wait(30)

    thread = threading.Thread(target=other)
    with single_threaded_blas():
        assert threads() <= {1}
        thread.start()
        inside.wait(30)
    assert threads() <= {1}, "the other block is still open"
    leave.set()
    thread.join()
    assert threads() == before
