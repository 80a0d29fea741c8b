"""The progress of an ingest: what it counts, and that it ends where it should."""

from __future__ import annotations

from pathlib import Path

import pytest

from vidsim.ingest.discover.videos import describe
from vidsim.ingest.extract.embed import EmbedOptions, embed_all
from vidsim.ingest.extract.pace import Pace
from vidsim.ingest.system.progress import Reporting, Step
from vidsim.schemas.modality import Modality
from vidsim.schemas.presets import choose_backbones
from vidsim.schemas.video import Video


def video(name: str, size: int) -> Video:
    return Video(f"lib/{name}", "lib", f"/lib/{name}", "", "0", size, 0)


@pytest.fixture
def told() -> list[Step]:
    return []


def test_a_film_counts_for_more_than_a_clip(told: list[Step]) -> None:
    film, clip, bad = video("film.mkv", 9_000), video("clip.mkv", 500), video("bad.mkv", 500)
    pace = Pace([film, clip, bad], Reporting(told.append))
    pace.start()
    assert told[-1] == Step("embedding", 0, 10_000, "bytes of video")
    pace.opened(film)
    pace.opened(clip)
    assert told[-1].note == "0 of 3 files done, now lib/film.mkv"
    pace.embedded(film, 0.5)
    pace.embedded(clip, 1.0)
    pace.decided(clip)
    assert (told[-1].done, told[-1].note) == (5_000, "1 of 3 files done")
    pace.decided(bad)
    pace.embedded(film, 0.4)
    assert (told[-1].done, told[-1].note) == (9_100, "2 of 3 files done, now lib/film.mkv")
    pace.embedded(film, 0.4)  # more than its header promised
    assert told[-1].done == 10_000
    pace.decided(film)
    pace.finish()
    done = "3 of 3 files done"
    assert told[-1] == Step("embedding", 10_000, 10_000, "bytes of video", True, done)


def test_a_long_file_advances_while_it_is_read(make_clip, tmp_path: Path, told: list[Step]) -> None:
    long = make_clip("long.mkv", times=[i / 2 for i in range(240)])
    short = make_clip("short.mkv", times=[0, 0.5])
    (tmp_path / "text.mkv").write_text("no video" * 100)
    files = [long, short, tmp_path / "text.mkv"]
    videos = [describe(path, tmp_path, "lib") for path in files]
    options = EmbedOptions(choose_backbones([Modality.COLOR]), device="cpu", workers=1, batch=2)
    assert len(list(embed_all(videos, options, Reporting(told.append)))) == 3
    stages = [step.stage for step in told]
    assert stages.index("loading networks") < stages.index("embedding")
    steps = [step for step in told if step.stage == "embedding"]
    total = sum(path.stat().st_size for path in files)
    assert (steps[0].done, steps[0].total) == (0, total)
    assert steps[-1].finished
    assert steps[-1].done == pytest.approx(total)
    assert [step.done for step in steps] == sorted(step.done for step in steps)
    within = {step.done for step in steps if 0 < step.done < long.stat().st_size}
    assert len(within) >= 10  # of twelve segments
    assert "0 of 3 files done, now lib/long.mkv" in {step.note for step in steps}
