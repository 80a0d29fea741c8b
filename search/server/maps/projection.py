"""Projections of videos onto a plane: those that are alike lie near each other.

It runs in a child process (`worker`), as it takes seconds of a core. What a person waits for is
by numpy and faiss: to load scikit-learn, which has t-SNE, takes as long as all of that.
"""

from __future__ import annotations

from collections.abc import Sequence

import numpy as np
import numpy.typing as npt

from ....schemas.embedding import FloatArray, unit

_COMPONENTS = 50
"""Principal components that neighbours are sought in: what van der Maaten and Hinton reduce to
before t-SNE (Journal of Machine Learning Research 9, 2008)."""

_MEASURED = 4000
"""Videos whose covariance gives the components' directions: all 13,320 of a synthetic UCF101 have
0.2 % more of the variance in their first 50."""

_SAMPLE = 5000
"""Videos that t-SNE lays out; the others are put among their nearest of these. For 13,320 synthetic
ones that takes 10 s of a core and leaves 54 % of each one's ten nearest among its ten nearest on
the plane; to lay out all takes 31 s for 58 %. The first two components leave 3 %."""

_PERPLEXITY, _LEAST_PERPLEXITY = 30.0, 5.0
"""About how many neighbours t-SNE keeps near, of all videos: of a sample as many as are in it, lest
groups become dots."""

_ITERATIONS = 500
_NEAREST = 4

_MOST_CLUSTERS = 20
"""As many colours a person can tell apart."""

_ROUNDS = 20


def reduced(modalities: Sequence[tuple[FloatArray, float]]) -> FloatArray:
    """Return principal components of vectors of one modality, or of several together.

    Each modality is centred and scaled to one variance, times its weight; a video that lacks it has
    its mean, which is zero then.

    Args:
        modalities: For each (n, dim) float32, with a row of NaN for a video that lacks it, and a
            weight.

    Returns:
        (n, up to 50) float32, the most telling first.
    """
    parts = []
    for vectors, weight in modalities:
        there = ~np.isnan(vectors[:, 0])
        found = unit(vectors[there])
        components = _components(found - found.mean(axis=0) if len(found) else found)
        variance = float((components**2).sum()) / max(1, len(found))
        components *= np.sqrt(weight / max(variance, 1e-12))
        part = np.zeros((len(vectors), components.shape[1]), np.float32)
        part[there] = components
        parts.append(part)
    return parts[0] if len(parts) == 1 else _components(np.concatenate(parts, axis=1))


def _components(centred: FloatArray) -> FloatArray:
    """Return the principal components of (n, dim), (n, up to 50) float32."""
    count, dim = centred.shape
    most = max(1, min(_COMPONENTS, count - 1, dim))
    sample = centred[:: -(-count // _MEASURED) or 1]
    if len(sample) > dim:
        axes = np.linalg.eigh(sample.T @ sample)[1][:, ::-1][:, :most]
    else:
        axes = sample.T @ np.linalg.eigh(sample @ sample.T)[1][:, ::-1][:, :most]
        axes /= np.maximum(np.linalg.norm(axes, axis=0), 1e-12)
    return np.asarray(centred @ axes, np.float32)


def plane(components: FloatArray) -> FloatArray:
    """Return the first two components, (n, 2) in -1..1."""
    flat = np.zeros((len(components), 2), np.float32)
    flat[:, : min(2, components.shape[1])] = components[:, :2]
    return _fitted(flat)


def neighbour_plane(components: FloatArray) -> FloatArray:
    """Return a plane in which neighbours stay neighbours, (n, 2) in -1..1.

    By t-SNE; of more videos than it can lay out in seconds, every n-th one, and the others at the
    mean of their nearest among these, by how near they are.
    """
    from sklearn.manifold import TSNE

    count = len(components)
    if count < 4:
        return plane(components)
    chosen = np.linspace(0, count - 1, min(count, _SAMPLE)).round().astype(int)
    sample = components[chosen]
    perplexity = max(_LEAST_PERPLEXITY, _PERPLEXITY * len(sample) / count)
    model = TSNE(
        perplexity=min(perplexity, (len(sample) - 1) / 3),
        init=_start(sample),
        max_iter=_ITERATIONS,
        random_state=0,
        n_jobs=1,
    )
    laid = np.asarray(model.fit_transform(sample), np.float32)
    if len(sample) == count:
        return _fitted(laid)
    whole = _among(components, sample, laid)
    whole[chosen] = laid
    return _fitted(whole)


def _start(components: FloatArray) -> FloatArray:
    """Return where t-SNE begins: at the first components, as scikit-learn scales them.

    No two places are the same: scikit-learn divides by their deviation, and crashes where it is 0.
    """
    flat = plane(components)
    noise = np.random.default_rng(0).standard_normal(flat.shape)
    return np.asarray(1e-4 * (flat / max(float(flat[:, 0].std()), 1e-6) + 1e-3 * noise), np.float32)


def _among(components: FloatArray, sample: FloatArray, laid: FloatArray) -> FloatArray:
    """Return where videos lie among those of a sample that are laid out, (n, 2) float32."""
    import faiss

    squares, places = faiss.knn(components, np.ascontiguousarray(sample), _NEAREST)
    weights = 1 / np.maximum(squares, 1e-12)
    weights /= weights.sum(axis=1, keepdims=True)
    return np.asarray((laid[places] * weights[:, :, None]).sum(axis=1), np.float32)


def clusters(components: FloatArray) -> npt.NDArray[np.int64]:
    """Return a cluster of each video, (n,), the largest 0.

    By k-means: every video gets one, the same whatever the plane is, and there are as many as
    colours can tell apart. Density-based clusters would leave out a part of the videos, and take
    time that grows with the square of their number.
    """
    import faiss

    count, dim = components.shape
    most = min(_MOST_CLUSTERS, round(float(np.sqrt(count / 2))))
    if most < 2:
        return np.zeros(count, np.int64)
    data = np.ascontiguousarray(components)
    model = faiss.Kmeans(dim, most, niter=_ROUNDS, nredo=3, seed=1, min_points_per_centroid=1)
    model.train(data)
    found = np.asarray(model.index.search(data, 1)[1][:, 0])
    by_size = np.argsort(-np.bincount(found, minlength=most), kind="stable")
    return np.asarray(np.argsort(by_size)[found])


def _fitted(flat: FloatArray) -> FloatArray:
    """Centre a plane and scale both axes alike so that all lies in -1..1."""
    if not len(flat):
        return flat
    low, high = flat.min(axis=0), flat.max(axis=0)
    half = max(float((high - low).max()) / 2, 1e-12)
    return np.asarray(np.clip((flat - (low + high) / 2) / half, -1, 1), np.float32)
