"""Two clips to be compared: by the backbones, weights and background of a query with the first."""

from __future__ import annotations

from dataclasses import replace
from pathlib import Path
from typing import Any

import numpy as np
import pytest

from vidsim import Library
from vidsim.ingest.shards.home import Place
from vidsim.schemas.embedding import EmbeddedVideo
from vidsim.schemas.evaluation import TunedWeights
from vidsim.search.tuned import write_tuned

from ..helpers.clips import MakeClip
from ..helpers.embedded_videos import embedded, store

ALL = ("labhist", "efficientnet_lite0", "yamnet", "i3d")


def likeness_by_query(library: Library, first: str | Path, second: str, **how: Any) -> float:
    return {r.video_id: r.likeness for r in library.query(first, **how).results}[second]


def between(one: EmbeddedVideo, other: EmbeddedVideo) -> EmbeddedVideo:
    """`other`, with vectors halfway to those of `one`."""
    parts = []
    for ours, theirs in zip(one.embeddings, other.embeddings, strict=True):
        rows = {
            name: replace(of, vectors=of.vectors + ours.rows[name].vectors)
            for name, of in theirs.rows.items()
        }
        parts.append(replace(theirs, rows=rows))
    return replace(other, embeddings=tuple(parts))


def test_tuned_weights_count_where_they_do_in_a_query(tmp_path: Path) -> None:
    """They are of all that the first has, whatever the second lacks."""
    first = embedded("lib/a", backbones=ALL)
    silent = embedded("lib/silent", backbones=ALL, seed=1, fingerprint="f1", silent=True)
    store(Place(tmp_path), first, between(first, silent))
    weights = {"color": 4.0, "frame": 0.1, "motion": 0.1}
    backbones = dict(zip(("color", "frame", "audio", "motion"), ALL, strict=True))
    with Library.open(tmp_path) as library:
        for tuned in (weights, {**weights, "audio": 1.0}):
            of_these = {m: backbones[m] for m in tuned}
            write_tuned(
                tmp_path,
                TunedWeights(
                    weights=tuned, backbones=of_these, protocol="split", training_videos=8
                ),
            )
            found = library.explain("lib/a", "lib/silent")
            by_query = likeness_by_query(library, "lib/a", "lib/silent")
            assert found.likeness == pytest.approx(by_query, abs=1e-6)
            assert (found.modalities["color"].weight == 4) is ("audio" in tuned)


def test_the_background_is_that_of_all_libraries(tmp_path: Path) -> None:
    """What another network's similarities mean depends on it."""
    first = embedded("lib/a", backbones=("resnet50",))
    second = embedded("lib/b", backbones=("resnet50",), seed=1, fingerprint="f1")
    alike = [
        embedded(f"alike/{i}", backbones=("resnet50",), seed=2, fingerprint=f"a{i}")
        for i in range(9)
    ]
    store(Place(tmp_path), first, between(first, second), *alike)
    with Library.open(tmp_path) as library:
        by_query = likeness_by_query(library, "lib/a", "lib/b")
        assert library.explain("lib/a", "lib/b").likeness == pytest.approx(by_query, abs=1e-6)


def test_a_file_is_compared_by_the_backbones_of_a_query_with_it(
    tmp_path: Path, make_clip: MakeClip
) -> None:
    random = np.random.default_rng(0)
    pictures = [random.integers(0, 256, (2, 3, 3), np.uint8).repeat(24, 0).repeat(24, 1)]
    clip = make_clip("clip.mkv", times=[n / 25 for n in range(50)], images=pictures)
    colors = embedded("colors/a", backbones=("labhist",))
    strips = embedded("strips/b", backbones=("vid2img",), seed=1, fingerprint="f1")
    store(Place(tmp_path / "home"), colors, strips)
    how = {"modalities": "color", "device": "cpu"}
    with Library.open(tmp_path / "home") as library:
        by_query = likeness_by_query(library, clip, "colors/a", **how)
        assert library.explain(clip, "colors/a", **how).likeness == pytest.approx(by_query)
        with pytest.raises(KeyError):
            likeness_by_query(library, clip, "strips/b", **how)
        alone = likeness_by_query(library, clip, "strips/b", libraries=["strips"], **how)
        assert library.explain(clip, "strips/b", **how).likeness == pytest.approx(alone)
