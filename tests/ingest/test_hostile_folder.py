"""Folders with names that mean something to others, and folders that change while they are read."""

from __future__ import annotations

import os
import shutil
from collections.abc import Callable
from pathlib import Path
from typing import Any

from vidsim.ingest import pipeline
from vidsim.ingest.extract.embed import EmbedOptions
from vidsim.ingest.shards.home import Place, open_shards
from vidsim.ingest.system.progress import Silent
from vidsim.schemas.modality import Modality
from vidsim.schemas.presets import choose_backbones
from vidsim.schemas.results import IngestReport

from ..helpers.hostile_media import PIXELS, Track, quicktime
from ..helpers.ingests import in_step

OPTIONS = EmbedOptions(choose_backbones([Modality.COLOR]), device="cpu", workers=1)


class Meanwhile(Silent):
    """Does something once the files have been listed and described, before any is decoded."""

    def __init__(self, act: Callable[[], object]) -> None:
        super().__init__()
        self._act: Callable[[], object] | None = act

    def finish(self, *arguments: Any, **more: Any) -> None:
        super().finish(*arguments, **more)
        if arguments[0] == "checking" and self._act:
            act, self._act = self._act, None
            act()


def ingest(folder: Path, place: Place, act: Callable[[], object] = lambda: None) -> IngestReport:
    return pipeline.ingest(folder, place, OPTIONS, Meanwhile(act), "lib")


def clip(path: Path, shade: int = 0) -> Path:
    path.parent.mkdir(parents=True, exist_ok=True)
    data = bytes((value + shade) % 256 for value in PIXELS)
    return quicktime(path, [Track(samples=50)], data)


def stored(place: Place) -> set[str]:
    return {i.removeprefix("lib/") for i in open_shards(place.home).catalog("lib")}


def test_names_that_mean_something_to_others_are_names(place: Place, tmp_path: Path) -> None:
    folder = tmp_path / "lib"
    names = ["-rf.mov", "--help.mov", "two\nlines.mov", "..mov", "...mov", "%03d.mov", "$(id).mov"]
    names += ["-/--.mov", "a'; DROP TABLE x; --.mov", 'q"\\.mov', "* ?[x].mov", "CON.mov", " .mov"]
    for shade, name in enumerate(names):
        clip(folder / name, shade)
    names.remove("..mov"), names.remove("...mov")  # hidden, as all that begin with a dot
    report = ingest(folder, place)
    assert (report.embedded, report.failed) == (len(names), [])
    assert stored(place) == set(names)
    assert ingest(folder, place).unchanged == len(names)
    in_step(place, "lib")


def test_what_lies_outside_of_the_folder_is_not_reached_by_names(
    place: Place, tmp_path: Path
) -> None:
    secret = clip(tmp_path / "secret" / "mine.mov")
    folder = tmp_path / "lib"
    clip(folder / "a.mov", 9)
    for number, target in enumerate(("..", "../secret/../..", "/proc/self/root", "loop")):
        (folder / f"up{number}").symlink_to(target)
    (folder / "loop").symlink_to(folder / "loop")
    (folder / "fd.mov").symlink_to("/proc/self/fd/0")
    (folder / "memory.mov").symlink_to("/proc/self/mem")
    os.mkfifo(folder / "pipe.mov")
    report = ingest(folder, place)
    assert report.embedded == 1
    assert stored(place) == {"a.mov"}
    assert secret.exists()


def test_a_folder_that_changes_while_it_is_ingested_is_right_after_the_next(
    place: Place, tmp_path: Path
) -> None:
    folder = tmp_path / "lib"
    for shade, name in enumerate(("kept", "gone", "pipe", "cut", "new", "link", "moved", "sub/in")):
        clip(folder / f"{name}.mov", shade)

    def change() -> None:
        (folder / "gone.mov").unlink()
        (folder / "pipe.mov").unlink()
        os.mkfifo(folder / "pipe.mov")
        os.truncate(folder / "cut.mov", 50)
        clip(folder / "new.mov", 77)
        (folder / "link.mov").unlink()
        (folder / "link.mov").symlink_to("/dev/zero")
        (folder / "moved.mov").rename(folder / "elsewhere.mov")
        shutil.rmtree(folder / "sub")
        clip(folder / "later.mov", 88)

    report = ingest(folder, place, change)
    reasons = {Path(f.path).name: f.reason for f in report.failed}
    assert reasons.pop("cut.mov")
    assert reasons == {
        "gone.mov": "The file is not there.",
        "pipe.mov": "Not a file.",
        "link.mov": "Not a file.",
        "moved.mov": "The file is not there.",
        "in.mov": "The file is not there.",
    }
    in_step(place, "lib")
    again = ingest(folder, place)
    assert stored(place) == {"kept.mov", "new.mov", "elsewhere.mov", "later.mov"}
    assert {Path(f.path).name for f in again.failed} == {"cut.mov"}
    assert again.missing == []
    in_step(place, "lib")
    assert ingest(folder, place).unchanged == 4


def test_a_folder_that_goes_away_while_it_is_ingested(place: Place, tmp_path: Path) -> None:
    folder = tmp_path / "lib"
    for shade in range(3):
        clip(folder / f"{shade}.mov", shade)
    report = ingest(folder, place, lambda: folder.rename(tmp_path / "away"))
    assert {f.reason for f in report.failed} == {"The file is not there."}
    (tmp_path / "away").rename(folder)
    assert ingest(folder, place).embedded == 3
    in_step(place, "lib")
