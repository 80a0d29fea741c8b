"""YAMNet by PyTorch, which infers on a CPU, beside YAMNet by TensorFlow, the reference."""

from __future__ import annotations

from collections.abc import Sequence
from contextlib import closing
from pathlib import Path

import numpy as np
import pytest

from vidsim.ingest.decode.events import SegmentMedia
from vidsim.ingest.decode.pool import decode_all
from vidsim.ingest.decode.sampling import HOP_SAMPLES, PATCH_SAMPLES
from vidsim.ingest.decode.segments import DecodeRequest
from vidsim.ingest.extract.scheduler import Extraction
from vidsim.ingest.models.pull import prepare
from vidsim.ingest.system.progress import Silent
from vidsim.schemas.backbones import BACKBONES
from vidsim.schemas.embedding import FloatArray, SegmentEmbedding
from vidsim.schemas.errors import WeightsError
from vidsim.schemas.modality import SAMPLE_RATE, Modality
from vidsim.schemas.video import Segment

AGREEMENT = 1e-4
"""Largest difference of a component of embeddings of unit length, which is what is compared."""

ROUNDING = 1e-3
"""The same before they are scaled, when components go up to 15. A pure tone leaves bands empty,
where TensorFlow's own transform in float32 is 5e-4 from one in float64."""


def made_sounds() -> list[SegmentMedia]:
    """Segments: a rising tone, noise from faint to full scale, a click, silence, no sound."""
    t = np.arange(3 * HOP_SAMPLES) / SAMPLE_RATE
    rising = 0.5 * np.sin(2 * np.pi * (200 + 800 * t) * t)
    noise = np.random.default_rng(0).standard_normal(20 * HOP_SAMPLES) * 0.2
    noise *= np.repeat(np.logspace(-3, 0, 20), HOP_SAMPLES)
    click = np.zeros(PATCH_SAMPLES)
    click[5000] = 1
    waves = [rising, noise.clip(-1, 1), click, np.zeros(PATCH_SAMPLES), None]
    return [
        SegmentMedia(Segment(i, 0, 10), {}, None if w is None else w.astype(np.float32))
        for i, w in enumerate(waves)
    ]


def embedded(
    media: Sequence[SegmentMedia], engine: str, monkeypatch: pytest.MonkeyPatch
) -> list[SegmentEmbedding]:
    monkeypatch.setenv("VIDSIM_SOUND_ENGINE", engine)
    with Extraction({Modality.AUDIO: BACKBONES["yamnet"]}, "cpu", threads=1) as extraction:
        return extraction.embed(media)


def largest_difference(
    media: Sequence[SegmentMedia], monkeypatch: pytest.MonkeyPatch
) -> tuple[float, float, int]:
    """How far the engines are apart, at unit length and before; of how many rows.

    The rows are otherwise the same.
    """
    by_torch = embedded(media, "auto", monkeypatch)
    by_tensorflow = embedded(media, "tensorflow", monkeypatch)
    scaled, raw, count = 0.0, 0.0, 0
    for ours, reference in zip(by_torch, by_tensorflow, strict=True):
        assert ours.rows.keys() == reference.rows.keys()
        for name, rows in ours.rows.items():
            expected = reference.rows[name]
            assert rows.vectors.dtype == expected.vectors.dtype
            assert np.array_equal(rows.start_s, expected.start_s)
            assert np.array_equal(rows.end_s, expected.end_s)
            raw = max(raw, float(np.abs(rows.vectors - expected.vectors).max()))
            apart = np.abs(unit(rows.vectors) - unit(expected.vectors))
            scaled = max(scaled, float(apart.max()))
            count += len(rows.vectors)
    return scaled, raw, count


def unit(vectors: FloatArray) -> FloatArray:
    """(n, dim), each of length 1."""
    return vectors / np.linalg.norm(vectors, axis=1, keepdims=True)


def test_the_engines_agree_on_made_sounds(weights: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    scaled, raw, count = largest_difference(made_sounds(), monkeypatch)
    assert count == 3 + 20 + 1
    assert scaled < AGREEMENT
    assert raw < ROUNDING


@pytest.mark.acceptance
def test_the_engines_agree_on_every_real_sound(
    weights: Path, shared_data: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    sets = ("esc10_audio", "av_events", "av_segments")
    files = sorted(p for name in sets for p in (shared_data / name).rglob("*") if p.is_file())
    requests = [(i, DecodeRequest(str(p), {}, True)) for i, p in enumerate(files)]
    media = [e for _, e in decode_all(requests, 2) if isinstance(e, SegmentMedia)]
    scaled, raw, count = largest_difference(media, monkeypatch)
    print(f"{count} patches of {len(files)} files: at most {scaled:.1e} apart, before {raw:.1e}")
    assert len(files) > 150
    assert scaled < AGREEMENT
    assert raw < ROUNDING


def test_no_tensorflow_is_started_once_the_weights_are_prepared(
    weights: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    prepare([BACKBONES["yamnet"]], Silent())

    def start(*arguments: object, **options: object) -> None:
        raise AssertionError("a process was started")

    monkeypatch.setattr("vidsim.ingest.models.sound_weights.Child", start)
    monkeypatch.setattr("vidsim.ingest.models.audio_worker.Child", start)
    assert [len(e.rows) for e in embedded(made_sounds(), "auto", monkeypatch)] == [1, 1, 1, 0, 0]


def test_a_checkpoint_that_tensorflow_cannot_read_is_told(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setenv("VIDSIM_CACHE", str(tmp_path / "cache"))
    monkeypatch.setattr("vidsim.ingest.extract.audio_torch.ensure", lambda backbone: tmp_path)
    with pytest.raises(WeightsError, match="does not hold YAMNet|is not there, or not whole"):
        embedded([], "auto", monkeypatch)


def test_vggish_is_tensorflows(monkeypatch: pytest.MonkeyPatch, tmp_path: Path) -> None:
    started = []

    class Started:
        def __init__(self, backbone: object, *how: object) -> None:
            started.append(backbone)

        def close(self) -> None:
            pass

    monkeypatch.setattr("vidsim.ingest.extract.scheduler.AudioExtractor", Started)
    with closing(Extraction({Modality.AUDIO: BACKBONES["vggish"]}, "cpu", threads=1)):
        assert started == [BACKBONES["vggish"]]
