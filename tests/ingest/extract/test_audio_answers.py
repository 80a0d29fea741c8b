"""Answers of the process that computes sound: taken where they are rows, refused where not."""

from __future__ import annotations

from collections.abc import Callable
from contextlib import closing
from pathlib import Path

import numpy as np
import pytest

from vidsim.ingest.decode.events import SegmentMedia
from vidsim.ingest.extract import audio
from vidsim.ingest.models import audio_worker
from vidsim.schemas.backbones import BACKBONES
from vidsim.schemas.embedding import SegmentEmbedding
from vidsim.schemas.errors import WorkerError
from vidsim.schemas.video import Segment

from ...helpers.pretended_child import PretendedChild, message

YAMNET = BACKBONES["yamnet"]
ROW = np.ones((1, YAMNET.dim), np.float32)
SPENT = {"cpu_s": 0.5, "busy_s": 0.5}


@pytest.fixture
def embedded(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> Callable[..., list[SegmentEmbedding]]:
    """Embeds a second of a tone with a process that answers as told."""
    monkeypatch.setattr(audio, "ensure", lambda _: tmp_path)
    monkeypatch.setattr(audio_worker, "Child", PretendedChild)
    tone = np.sin(np.arange(16_000, dtype=np.float32) / 10)

    def embed(*said: bytes) -> list[SegmentEmbedding]:
        monkeypatch.setattr(PretendedChild, "said", message("ready") + b"".join(said))
        with closing(audio.AudioExtractor(YAMNET, "cpu", 1)) as extractor:
            return extractor.embed([SegmentMedia(Segment(0, 0.0, 1.0), {}, tone)])

    return embed


def test_rows_come_as_they_were_sent(embedded: Callable[..., list[SegmentEmbedding]]) -> None:
    (part,) = embedded(message("embeddings", SPENT, vectors=ROW))
    assert part.rows["yamnet"].vectors.tolist() == ROW.tolist()


@pytest.mark.parametrize(
    "said",
    [
        message("embeddings", SPENT),
        message("embeddings", SPENT, vectors=np.repeat(ROW, 2, axis=0)),
        message("embeddings", SPENT, vectors=ROW[:, :-1]),
        message("embeddings", SPENT, vectors=ROW.astype(np.float64)),
        message("embeddings", SPENT, vectors=ROW * np.float32("nan")),
        message("nothing"),
        b"",
    ],
)
def test_what_is_no_answer_fails_in_one_sentence(
    embedded: Callable[..., list[SegmentEmbedding]], said: bytes
) -> None:
    with pytest.raises(WorkerError):
        embedded(said)


def test_times_that_are_none_do_not_matter(
    embedded: Callable[..., list[SegmentEmbedding]],
) -> None:
    (part,) = embedded(message("embeddings", {"1e999": None}, vectors=ROW))
    assert len(part.rows["yamnet"].vectors) == 1
