"""Dominant colours of one picture by scikit-learn, the capstone's faiss, and vidsim."""

from __future__ import annotations

from collections.abc import Callable, Sequence
from functools import partial
from pathlib import Path

import cv2
import numpy as np
from sklearn.cluster import KMeans

from ...ingest.extract.color import dominant_colors
from ...ingest.models.device import choose_device
from ...ingest.system.progress import Progress
from ...schemas.embedding import ByteArray, FloatArray
from ...schemas.errors import MediaError
from ..faiss_device import describe, gpus
from .capstone import cluster_pixels
from .results import KmeansBench, KmeansTiming
from .timing import interleave, use_threads

COUNTS = (5, 10, 20, 50)
"""Numbers of colours in the capstone's table (CoderHam/VideoSimilarity)."""

_SIDE = 200
"""Side in pixels of the capstone's square frames."""


def bench_kmeans(
    image: Path, runs: int, progress: Progress, counts: Sequence[int] = COUNTS
) -> KmeansBench:
    """Time k-means on the pixels of one picture, and compare the inertia of each method.

    scikit-learn starts once, by k-means++. Every method runs on the CPU; faiss also on a GPU
    where it sees one, as the capstone did, and vidsim where torch does.

    Args:
        image: A picture; it is resized to 200x200 as the capstone's frames were.
        runs: Measured runs of each method, of which the median counts.
        progress: Receives the progress of the runs.
        counts: Numbers of colours.

    Raises:
        MediaError: The picture cannot be read.
    """
    frame = _read(image)
    pixels = np.asarray(frame.reshape(-1, 3) / 255, np.float32)
    threads = use_threads()
    ways: dict[str, Callable[[int], FloatArray]] = {
        "sklearn": partial(_by_sklearn, pixels),
        "faiss": partial(_by_faiss, pixels),
        "vidsim": partial(_by_vidsim, frame, "cpu"),
    }
    if gpus():
        ways["faiss gpu"] = partial(_by_faiss, pixels, gpu=True)
    if choose_device("auto") == "cuda":
        ways["vidsim gpu"] = partial(_by_vidsim, frame, "cuda")
    tasks = {(name, k): partial(way, k) for k in counts for name, way in ways.items()}
    ms, centers = interleave(tasks, runs, progress)
    inertias = {key: inertia(pixels, found) for key, found in centers.items()}
    return KmeansBench(
        image=str(image),
        pixels=len(pixels),
        runs=runs,
        threads=threads,
        faiss=describe(),
        timings=[
            KmeansTiming(
                method=name,
                k=k,
                ms=ms[name, k],
                inertia=inertias[name, k],
                time_ratio=ms[name, k] / ms["faiss", k],
                # A picture of few colours has zero inertia: then all methods are equal.
                inertia_ratio=(inertias[name, k] + 1e-9) / (inertias["faiss", k] + 1e-9),
            )
            for name, k in tasks
        ],
    )


def inertia(pixels: FloatArray, centers: FloatArray) -> float:
    """Sum the squared distances of pixels (n, 3) to the nearest of centers (k, 3)."""
    nearest = np.full(len(pixels), np.inf)
    for center in centers:
        nearest = np.minimum(nearest, np.square(pixels - center, dtype=np.float64).sum(axis=1))
    return float(nearest.sum())


def _read(image: Path) -> ByteArray:
    found = cv2.imread(str(image), cv2.IMREAD_COLOR)
    if found is None:
        raise MediaError(f"{image} is no picture that can be read; give a PNG or JPEG file.")
    rgb = cv2.cvtColor(found, cv2.COLOR_BGR2RGB)
    return np.asarray(cv2.resize(rgb, (_SIDE, _SIDE), interpolation=cv2.INTER_AREA), np.uint8)


def _by_sklearn(pixels: FloatArray, k: int) -> FloatArray:
    fitted = KMeans(k, n_init=1, random_state=0).fit(pixels)
    return np.asarray(fitted.cluster_centers_, np.float32)


def _by_faiss(pixels: FloatArray, k: int, gpu: bool = False) -> FloatArray:
    return cluster_pixels(pixels, k, gpu)[0]


def _by_vidsim(frame: ByteArray, device: str, k: int) -> FloatArray:
    colors, _ = dominant_colors(frame[None], device, k)
    return np.asarray(colors[0] / 255, np.float32)
