"""Vectors to search among, and vectors to search for."""

from __future__ import annotations

from pathlib import Path

import numpy as np

from ...ingest.exchange.h5_reader import H5Reader
from ...schemas.embedding import FloatArray, unit
from ...schemas.errors import StoreError

_ROWS_A_CLUSTER = 100
_NOISE = 0.8
"""Length of a vector's noise relative to its cluster's centre: neighbours within a
cluster have cosines of about 0.6."""


def clustered(rows: int, dim: int, queries: int) -> tuple[FloatArray, FloatArray]:
    """Generate unit vectors in clusters of about 100, the same at every call.

    Returns:
        Base (rows, dim) and queries (queries, dim) drawn from the same clusters, float32.
    """
    random = np.random.default_rng(0)
    centers = random.standard_normal((max(1, rows // _ROWS_A_CLUSTER), dim), np.float32)
    owner = random.integers(0, len(centers), rows + queries)
    noise = random.standard_normal((rows + queries, dim), np.float32)
    noise *= _NOISE
    noise += centers[owner]
    vectors = unit(noise)
    return vectors[:rows], vectors[rows:]


def exported(path: Path, queries: int) -> tuple[FloatArray, FloatArray]:
    """Read unit vectors from an export, and hold some out as queries.

    Args:
        path: An HDF5 file with a dataset ``vectors`` (n, ...).
        queries: Rows to hold out, drawn at random (the same at every call).

    Returns:
        Base (n - queries, dim) and queries (queries, dim), float32.

    Raises:
        StoreError: The file or the dataset is missing, or has too few or unusable rows.
    """
    try:
        with H5Reader() as reader:
            file = reader.open(path)
            stored = file.datasets.get("vectors")
            if stored is None or stored.kind != "numbers" or len(stored.shape) < 2:
                raise StoreError(
                    f"{path} has no numbers in a dataset 'vectors'; 'vidsim export' writes some."
                )
            vectors = file.numbers("vectors").astype(np.float32, copy=False)
    except OSError as error:
        raise StoreError(
            f"{path} cannot be read as HDF5 ({error}); give a file that 'vidsim export' wrote."
        ) from error
    if len(vectors) < 2 * queries:
        raise StoreError(
            f"{path} holds {len(vectors)} vectors; give one with {2 * queries} or more."
        )
    if not np.isfinite(vectors).all():
        raise StoreError(f"{path} holds NaN or infinity; export again.")
    vectors = unit(vectors.reshape(len(vectors), -1))
    order = np.random.default_rng(0).permutation(len(vectors))
    return vectors[order[queries:]], vectors[order[:queries]]
