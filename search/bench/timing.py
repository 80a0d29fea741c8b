"""Comparable timings: interleaved runs of all candidates, and their medians."""

from __future__ import annotations

import os
import statistics
import time
from collections.abc import Callable, Mapping
from pathlib import Path
from typing import TypeVar

from ...ingest.system.progress import Progress
from ...schemas.errors import StoreError

Key = TypeVar("Key")
Answer = TypeVar("Answer")


def interleave(
    tasks: Mapping[Key, Callable[[], Answer]], runs: int, progress: Progress
) -> tuple[dict[Key, float], dict[Key, Answer]]:
    """Run every task once as a warm-up, then all of them in turn, `runs` times.

    Interleaving lets a machine that slows down for a while slow all of them.

    Returns:
        Median milliseconds of each task, and its last answer.
    """
    answers: dict[Key, Answer] = {}
    spent: dict[Key, list[float]] = {key: [] for key in tasks}
    progress.start("measuring", (runs + 1) * len(tasks), "calls")
    for run in range(runs + 1):
        for key, task in tasks.items():
            began = time.perf_counter()
            answers[key] = task()
            if run:
                spent[key].append(1000 * (time.perf_counter() - began))
            progress.advance("measuring", 1)
    progress.finish("measuring")
    return {key: statistics.median(times) for key, times in spent.items()}, answers


def use_threads() -> int:
    """Set the threads of torch and faiss to the number of cores, and return it."""
    import faiss
    import torch

    threads = len(os.sched_getaffinity(0))
    torch.set_num_threads(threads)
    faiss.omp_set_num_threads(threads)
    return threads


def check_plot(path: Path | None) -> None:
    """Check before measuring whether a plot can be written.

    Raises:
        StoreError: Its folder does not exist.
    """
    if path is not None and not path.absolute().parent.is_dir():
        raise StoreError(f"There is no folder {path.parent}; make it, or name another for --plot.")
