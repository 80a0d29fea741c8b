"""faiss on the CPU or on a GPU: the same answers, whichever wheel is installed."""

from __future__ import annotations

from importlib.metadata import PackageNotFoundError

import faiss
import numpy as np
import pytest

from vidsim.search import faiss_device
from vidsim.search.faiss_device import MOST_ON_GPU, describe, gpus, search_codes, search_rows

BUILT_FOR_GPUS = hasattr(faiss, "StandardGpuResources")


@pytest.fixture
def codes() -> np.ndarray:
    """600 codes of 64 bits in 20 crowds, of which one is larger than a GPU is asked for."""
    random = np.random.default_rng(0)
    crowd = random.integers(0, 20, 600)
    crowd[:300] = 0
    flipped = np.zeros((600, 64), np.uint8)
    np.put_along_axis(flipped, random.integers(0, 64, (600, 6)), 1, axis=1)
    return random.integers(0, 256, (20, 8), np.uint8)[crowd] ^ np.packbits(flipped, axis=1)


@pytest.fixture
def pretended_gpu(monkeypatch: pytest.MonkeyPatch) -> list[object]:
    """Indexes that would go to a GPU: here they stay, and answer what a GPU can answer."""
    moved: list[object] = []

    class OnGpu:
        def __init__(self, index: object) -> None:
            self.ntotal = index.ntotal
            self.add, self.search = index.add, self._limited
            self._search = index.search
            moved.append(index)

        def _limited(self, asked: np.ndarray, k: int) -> tuple[np.ndarray, np.ndarray]:
            assert k <= MOST_ON_GPU
            return self._search(asked, k)

    monkeypatch.setattr(faiss_device, "gpus", lambda: 1)
    monkeypatch.setattr(faiss_device, "to_gpu", OnGpu)
    return moved


def brute_force(codes: np.ndarray, asked: np.ndarray, radius: int) -> list[list[tuple[int, int]]]:
    bits = np.unpackbits(asked[:, None] ^ codes[None], axis=2).sum(axis=2, dtype=np.int64)
    return [[(int(i), int(row[i])) for i in np.flatnonzero(row < radius)] for row in bits]


def listed(found: faiss_device.Matches) -> list[list[tuple[int, int]]]:
    limits, distances, numbers = found
    return [
        sorted(zip(numbers[a:b].tolist(), distances[a:b].tolist()))
        for a, b in zip(limits[:-1], limits[1:])
    ]


@pytest.mark.parametrize("radius", [1, 12, 65])
def test_codes_within_a_distance_are_found(codes: np.ndarray, radius: int) -> None:
    asked = codes[::7]
    assert listed(search_codes(codes)(asked, radius)) == brute_force(codes, asked, radius)


@pytest.mark.parametrize("radius", [1, 12, 65])
def test_a_gpu_finds_the_same_codes(
    codes: np.ndarray, pretended_gpu: list[object], radius: int
) -> None:
    asked = codes[::7]
    assert listed(search_codes(codes)(asked, radius)) == brute_force(codes, asked, radius)
    assert listed(search_codes(codes[:5])(asked, radius)) == brute_force(codes[:5], asked, radius)
    assert len(pretended_gpu) == 2


def test_a_code_that_matches_nothing_has_no_matches(
    codes: np.ndarray, pretended_gpu: list[object]
) -> None:
    limits, distances, numbers = search_codes(codes)(codes[:2] ^ 255, 1)
    assert limits.tolist() == [0, 0, 0]
    assert (distances.size, numbers.size) == (0, 0)


def test_a_gpu_finds_the_same_rows(pretended_gpu: list[object]) -> None:
    random = np.random.default_rng(0)
    among = random.standard_normal((3000, 16), np.float32)
    asked = random.standard_normal((5, 16), np.float32)
    exact = np.argsort(np.square(asked[:, None] - among).sum(axis=2), axis=1)
    on_gpu = search_rows(among)
    for k in (1, 50, MOST_ON_GPU, 3000):  # the last is more than a GPU can give
        assert np.array_equal(on_gpu(asked, k), exact[:, :k])
    assert len(pretended_gpu) == 1


def test_a_gpu_without_memory_leaves_it_to_the_cpu(
    codes: np.ndarray, monkeypatch: pytest.MonkeyPatch, caplog: pytest.LogCaptureFixture
) -> None:
    def refuse(index: object) -> None:
        raise RuntimeError("out of memory")

    monkeypatch.setattr(faiss_device, "gpus", lambda: 1)
    monkeypatch.setattr(faiss_device, "to_gpu", refuse)
    assert listed(search_codes(codes)(codes[:3], 9)) == brute_force(codes, codes[:3], 9)
    rows = np.eye(4, dtype=np.float32)
    assert search_rows(rows)(rows, 1)[:, 0].tolist() == [0, 1, 2, 3]
    assert caplog.text.count("out of memory") == 2


def test_which_faiss_is_loaded_is_told(monkeypatch: pytest.MonkeyPatch) -> None:
    wheel = "faiss-gpu" if BUILT_FOR_GPUS else "faiss-cpu"
    assert describe().startswith(f"{wheel} {faiss.__version__} on the CPU")
    assert not gpus() or BUILT_FOR_GPUS
    monkeypatch.setattr(faiss_device, "gpus", lambda: 2)
    assert describe() == f"{wheel} {faiss.__version__} on the CPU and 2 GPUs"


@pytest.mark.parametrize("also_installed", [False, True])
def test_a_faiss_gpu_that_was_written_over_is_told(
    monkeypatch: pytest.MonkeyPatch, also_installed: bool
) -> None:
    def version(distribution: str) -> str:
        if not also_installed:
            raise PackageNotFoundError(distribution)
        return "1.15.1"

    monkeypatch.delattr(faiss, "StandardGpuResources", raising=False)
    monkeypatch.setattr(faiss_device, "version", version)
    assert ("pip install --force-reinstall" in describe()) == also_installed
