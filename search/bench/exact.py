"""The whole synthetic library in memory: exact searches, and the ground truth."""

from __future__ import annotations

from collections.abc import Collection, Iterable, Mapping, Sequence
from dataclasses import dataclass
from typing import Any

import faiss
import numpy as np
import numpy.typing as npt

from ...ingest.milvus.records import records_of
from ...ingest.system.progress import Progress
from ...schemas.backbones import Backbone
from ...schemas.collections import Level, levels
from ...schemas.embedding import EmbeddedVideo, FloatArray, from_index, index_dim, to_query
from ...schemas.modality import Modality
from ...schemas.results import QueryResult
from ..fusion import TOP, Scores, parse_weights
from ..likeness import Yardstick, average
from ..videos import similarities
from .synthetic import make_videos

BEST = 10
"""Results per query that recall is measured over."""

_TIE = 1e-6
"""A result whose score is this close to the tenth best counts as equal to it."""


@dataclass
class Flat:
    """The vectors of one collection, in an exact faiss index.

    Attributes:
        backbone: Backbone of the vectors.
        index: A ``faiss.IndexFlatIP``.
        owners: (n,) number of each vector's video, ascending.
    """

    backbone: Backbone
    index: Any
    owners: npt.NDArray[np.int64]

    def vectors(self, video: int) -> FloatArray:
        """Return the vectors (n, dim) of one video; n is 0 where it has none."""
        first, last = np.searchsorted(self.owners, [video, video + 1]).tolist()
        return from_index(self.backbone, self.index.reconstruct_n(first, last - first))

    def search(self, video: int) -> None:
        """Search for all vectors of a video, for as many neighbours as a query requests."""
        self.index.search(to_query(self.backbone, self.vectors(video)), TOP)


class Everything:
    """The library in memory, at its current size.

    Attributes:
        ids: Ids of the videos, by number.
        flats: Vectors that Milvus holds, by modality and level.
    """

    def __init__(self, backbones: Sequence[Backbone], kept: Collection[Level]) -> None:
        """Start empty.

        Args:
            backbones: One per modality.
            kept: Levels to keep; the searched one is always kept.
        """
        self.ids: list[str] = []
        self.flats: dict[tuple[Modality, Level], Flat] = {
            (b.modality, level): Flat(b, faiss.IndexFlatIP(index_dim(b)), np.empty(0, np.int64))
            for b in backbones
            for level in levels(b)
            if level in kept or level == levels(b)[-1]
        }

    @property
    def searched(self) -> dict[Modality, Flat]:
        """The searched collections: one vector per video that has the modality."""
        return {m: f for (m, level), f in self.flats.items() if level == levels(f.backbone)[-1]}

    def grow(self, videos: int, progress: Progress) -> None:
        """Add the missing ones among the first `videos` of the library."""
        first = len(self.ids)
        progress.start("gathering", videos - first, "videos")
        backbones = [f.backbone for f in self.searched.values()]
        self._add(make_videos(videos, backbones, first), progress)
        progress.finish("gathering")

    def _add(self, videos: Iterable[EmbeddedVideo], progress: Progress) -> None:
        owners: dict[tuple[Modality, Level], list[int]] = {key: [] for key in self.flats}
        for video in videos:
            for key, flat in self.flats.items():
                vectors = _held(flat.backbone, video, key[1])
                if len(vectors):
                    flat.index.add(vectors)
                    owners[key] += [len(self.ids)] * len(vectors)
            self.ids.append(video.video.video_id)
            progress.advance("gathering", 1)
        for key, flat in self.flats.items():
            flat.owners = np.concatenate([flat.owners, np.array(owners[key], np.int64)])

    def sample(self, count: int) -> list[int]:
        """Draw the numbers of up to `count` videos that have every modality."""
        having = np.bincount(np.concatenate([f.owners for f in self.searched.values()]))
        whole = np.flatnonzero(having == len(self.searched))
        return [int(i) for i in np.random.default_rng(0).permutation(whole)[:count]]

    def scores(self, asked: Sequence[int], yardsticks: Mapping[Modality, Yardstick]) -> Scores:
        """Return (queries, videos) fused log-odds of all videos; NaN for the query itself."""
        found = {}
        for modality, flat in self.searched.items():
            means = flat.index.reconstruct_n(0, len(flat.owners))
            means = from_index(flat.backbone, means)
            own = means[np.searchsorted(flat.owners, asked)]
            found[modality] = np.full((len(asked), len(self.ids)), np.nan)
            found[modality][:, flat.owners] = similarities(flat.backbone, own, means)
            found[modality][np.arange(len(asked)), asked] = np.nan
        odds = {m: yardsticks[m].log_odds(of) for m, of in found.items()}
        return average(odds, parse_weights(None, "calibrated"))


def _held(backbone: Backbone, video: EmbeddedVideo, level: Level) -> FloatArray:
    """Return the vectors that Milvus holds for a video, (n, index_dim)."""
    records = records_of(backbone, video, level)
    return np.array([r["vector"] for r in records], np.float32).reshape(-1, index_dim(backbone))


def recall(result: QueryResult, scores: npt.NDArray[np.float64], ids: Sequence[str]) -> float:
    """Return the fraction of the best videos by `scores` (videos,) in a result; ties count."""
    by_id = dict(zip(ids, np.nan_to_num(scores, nan=-np.inf).tolist()))
    wanted = sorted(by_id.values(), reverse=True)[:BEST]
    good = sum(by_id[match.video_id] >= wanted[-1] - _TIE for match in result.results)
    return float(good / len(wanted))
