"""The sound of a stretch of a file."""

from __future__ import annotations

from collections.abc import Generator, Iterable
from pathlib import Path

import numpy as np
import pytest

from vidsim.ingest.decode import sounds
from vidsim.ingest.decode.events import Event
from vidsim.ingest.decode.segments import DecodeRequest
from vidsim.ingest.decode.sounds import sound_between
from vidsim.schemas.part import Part

from ...helpers.clips import MakeClip
from ...helpers.media_cases import Piece, second_of, write


def test_the_sound_of_a_stretch_over_several_segments(make_clip: MakeClip) -> None:
    clip = str(make_clip("a.wav", tone=(440, 25, 16000, 1)))
    whole = sound_between(clip, 0, 25)
    part = sound_between(clip, 8.5, 21.25)
    assert whole is not None
    assert part is not None
    assert len(part) == round(12.75 * 16000)
    assert np.array_equal(part, whole[round(8.5 * 16000) : round(21.25 * 16000)])
    assert np.sqrt((part**2).mean()) == pytest.approx(0.5 / np.sqrt(2), abs=0.01)


@pytest.mark.parametrize("suffix", ["mp4", "mkv", "ts"])
def test_a_stretch_is_that_of_the_file_and_alone_is_decoded(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch, suffix: str
) -> None:
    clip = write(tmp_path / f"a.{suffix}", [Piece(40)], codec="libx264", reordered=True)
    asked: list[DecodeRequest] = []
    real = sounds.decode_all

    def decode_all(
        requests: Iterable[tuple[int, DecodeRequest]], workers: int
    ) -> Generator[tuple[int, Event], None, None]:
        requests = list(requests)
        asked.extend(request for _, request in requests)
        return real(requests, workers)

    monkeypatch.setattr(sounds, "decode_all", decode_all)
    part = sound_between(str(clip), 31.0, 34.0)
    assert part is not None
    assert [second_of(part[n * 16000 + 4000 : n * 16000 + 12000]) for n in range(3)] == [31, 32, 33]
    assert [request.part for request in asked] == [Part(31.0, 34.0)]


def test_none_where_there_is_no_sound(tmp_path: Path, make_clip: MakeClip) -> None:
    silent = make_clip("silent.mkv", times=[n / 25 for n in range(25)])
    assert sound_between(str(silent), 0, 1) is None
    assert sound_between(str(tmp_path / "gone.wav"), 0, 1) is None
    heard = str(make_clip("a.wav", tone=(440, 1, 16000, 1)))
    assert sound_between(heard, 5, 6) is None
    assert sound_between(heard, 0.5, 0.5) is None
