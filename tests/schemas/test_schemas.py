"""Segments, ids, backbones and the form of vectors in Milvus."""

from __future__ import annotations

import re

import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st

from vidsim.schemas.backbones import BACKBONES
from vidsim.schemas.collections import (
    LITE,
    Index,
    backbone_of,
    collection_name,
    is_looked_up,
    levels,
)
from vidsim.schemas.embedding import Rows, from_index, merge, to_index, to_query
from vidsim.schemas.errors import ModelError
from vidsim.schemas.modality import Modality, parse_modalities
from vidsim.schemas.presets import PRESETS, choose_backbones
from vidsim.schemas.video import Segment, cut_segments, row_id
from vidsim.schemas.weights import PinnedArchive

from ..helpers.embedded_videos import embedded


@given(st.floats(0, 5_000), st.floats(1, 60))
def test_segments_cover_the_video_in_even_pieces(duration, length):
    segments = cut_segments(duration, length)
    assert [s.index for s in segments] == list(range(len(segments)))
    assert (segments[0].start_s, segments[-1].end_s) == (0, duration)
    for a, b in zip(segments, segments[1:], strict=False):
        assert a.end_s == b.start_s
        assert abs(a.end_s - a.start_s - length) < 1e-6
    if duration > 1.5 * length:
        last = segments[-1].end_s - segments[-1].start_s
        assert 0.5 * length - 1e-6 <= last <= 1.5 * length + 1e-6


def test_a_clip_of_15_s_stays_whole():
    assert len(cut_segments(15.0)) == 1
    assert len(cut_segments(15.1)) == 2


def test_a_segment_never_runs_backwards():
    with pytest.raises(ValueError, match="not a segment"):
        Segment(0, 2.0, 1.0)


def test_row_ids_sort_by_segment():
    assert row_id("lib/a.mp4", 12, 3) == "lib/a.mp4#00012.3"


def test_every_preset_has_a_backbone_for_every_modality():
    for preset in PRESETS.values():
        assert set(preset) == set(Modality)
        for modality, name in preset.items():
            assert BACKBONES[name].modality is modality


def test_every_weight_file_is_pinned_or_carries_its_published_checksum():
    for backbone in BACKBONES.values():
        weights = backbone.weights
        if isinstance(weights, PinnedArchive):
            assert weights.files
            digests = [f.sha256 for f in weights.files]
            assert all(len(d) == 64 for d in [*digests, weights.archive_sha256])
        elif weights:
            assert weights.files
            for file in weights.files:
                assert re.fullmatch(r"(sha256:[0-9a-f]{8,64}|md5:[0-9a-f]{32})?", file.checksum)
                assert file.url is None or file.url == f"{file.url.rpartition('/')[0]}/{file.name}"


def test_what_is_not_pinned_by_its_sha256_is_known():
    """Whoever adds another says so here, in SECURITY.md and in docs/models.md."""
    files = [
        file
        for backbone in BACKBONES.values()
        if backbone.weights and not isinstance(backbone.weights, PinnedArchive)
        for file in backbone.weights.files
    ]
    assert {file.name for file in files if not file.is_pinned} == {
        "vggish_model.ckpt",
        "vggish_pca_params.npz",
        "resnet-34-kinetics.pth",
    }


def test_modalities_are_read_in_their_fixed_order():
    assert parse_modalities("audio, color") == (Modality.COLOR, Modality.AUDIO)
    assert parse_modalities(None) == tuple(Modality)
    for wrong in ("smell", "", ","):
        with pytest.raises(ModelError, match="color, frame, audio, motion"):
            parse_modalities(wrong)


def test_a_wrong_backbone_names_those_that_fit():
    chosen = choose_backbones([Modality.COLOR], ["color=vid2img"])
    assert chosen[Modality.COLOR].name == "vid2img"
    with pytest.raises(ModelError, match="color=labhist, color=vid2img"):
        choose_backbones([Modality.COLOR], ["color=yamnet"])


@pytest.mark.parametrize("name", BACKBONES)
def test_the_inner_product_ranks_as_the_backbone_asks(name):
    backbone = BACKBONES[name]
    random = np.random.default_rng(0)
    rows = random.uniform(0, 1, (50, backbone.dim)).astype(np.float32)
    query = random.uniform(0, 1, (1, backbone.dim)).astype(np.float32)
    products = (to_query(backbone, query) @ to_index(backbone, rows).T)[0]
    if backbone.similarity == "l2":
        wanted = -((rows - query) ** 2).sum(1)
        assert np.allclose(from_index(backbone, to_index(backbone, rows)), rows)
    else:
        wanted = (rows @ query[0]) / np.linalg.norm(rows, axis=1)
    assert products.argsort().tolist() == wanted.argsort().tolist()


def test_collections_are_named_after_their_backbone():
    names = {collection_name(b) for b in BACKBONES.values()}
    assert len(names) == len(BACKBONES)
    for b in BACKBONES.values():
        assert backbone_of(collection_name(b)) is b
    assert backbone_of("somebody_elses") is None


@pytest.mark.parametrize("backbone", BACKBONES.values(), ids=lambda b: b.name)
def test_a_level_that_is_not_searched_is_looked_up(backbone):
    *others, searched = (collection_name(backbone, level) for level in levels(backbone))
    assert all(is_looked_up(name) for name in others)
    assert not is_looked_up(searched)


def test_an_index_that_lite_only_pretends_to_build_is_refused():
    with pytest.raises(ValueError, match="GPU_IVF_FLAT"):
        LITE.build_parameters(Index("GPU_IVF_FLAT", 16))


def test_rows_refuse_nan_and_ragged_times():
    ok = np.zeros(2, np.float32)
    with pytest.raises(ValueError, match="NaN"):
        Rows(np.full((2, 3), np.nan, np.float32), ok, ok)
    with pytest.raises(ValueError, match="different length"):
        Rows(np.zeros((3, 3), np.float32), ok, ok)


def test_merging_keeps_both_sides():
    merged = merge(
        embedded("lib/a", backbones=("labhist",), segments=2),
        embedded("lib/a", backbones=("i3d",), segments=2),
    )
    assert merged.row_counts() == {"i3d": 2, "labhist": 2}
    assert all(e.vid2img is not None for e in merged.embeddings)
