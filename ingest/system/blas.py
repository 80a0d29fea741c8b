"""One thread per product of matrices, where vidsim spreads the products over threads itself."""

from __future__ import annotations

from collections.abc import Iterator
from contextlib import ExitStack, contextmanager
from functools import cache
from threading import Lock

from threadpoolctl import ThreadpoolController

_lock = Lock()
_holders = 0
_limit = ExitStack()


@contextmanager
def single_threaded_blas() -> Iterator[None]:
    """Have BLAS use one thread within the block, in all threads of the process.

    Blocks may overlap: the first sets it and the last restores what was before.
    """
    global _holders
    with _lock:
        _holders += 1
        if _holders == 1:
            _limit.enter_context(_controller().limit(limits=1, user_api="blas"))
    try:
        yield
    finally:
        with _lock:
            _holders -= 1
            if not _holders:
                _limit.close()


@cache
def _controller() -> ThreadpoolController:
    """Look for the libraries once: it takes longer than a search."""
    return ThreadpoolController()
