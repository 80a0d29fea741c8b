"""Exports of which a byte has changed: it is noticed, or changes nothing."""

from __future__ import annotations

import random
from dataclasses import replace
from pathlib import Path

import h5py
import pytest

from vidsim.ingest.exchange import h5_reader
from vidsim.ingest.exchange.export import export
from vidsim.ingest.exchange.export_capstone import export_capstone
from vidsim.ingest.exchange.h5_reader import H5Reader
from vidsim.ingest.exchange.importer import import_files
from vidsim.ingest.exchange.reader import open_export
from vidsim.ingest.exchange.source import read_videos
from vidsim.ingest.shards.home import Place
from vidsim.ingest.system.progress import Silent
from vidsim.schemas.backbones import BACKBONES
from vidsim.schemas.errors import StoreError

from ...helpers.embedded_videos import embedded, store

QUIET = Silent()


@pytest.fixture
def place(tmp_path):
    return Place(tmp_path / "home")


def read_all(path: Path) -> list[object]:
    """All that an import takes from an export."""
    with H5Reader() as reader:
        return _read_all(path, reader)


def _read_all(path: Path, reader: H5Reader) -> list[object]:
    source = open_export(path, None, dict(BACKBONES), reader)
    found: list[object] = []
    for video_id, video in read_videos([source], sorted(source.blocks)):
        found += [video_id, video.video, video.duration_s, video.segment_seconds, video.segments]
        for part in video.embeddings:
            for name, rows in sorted(part.rows.items()):
                found += [name, *(of.tobytes() for of in (rows.vectors, rows.start_s, rows.end_s))]
            found.append(None if part.vid2img is None else part.vid2img.tobytes())
    return found


@pytest.mark.parametrize(
    ("write", "trials"),
    [
        (export, 3),
        pytest.param(export, 20, marks=pytest.mark.acceptance),
        pytest.param(export_capstone, 10, marks=pytest.mark.acceptance),
    ],
)
def test_every_changed_byte_of_an_export_is_noticed_or_changes_nothing(
    place, tmp_path, monkeypatch, write, trials
):
    monkeypatch.setattr(h5_reader, "LIMITS", replace(h5_reader.LIMITS, stall_s=2.0))
    names = ("labhist", "efficientnet_lite0", "resnet50")
    store(place, *(embedded(f"lib/{n}.mp4", backbones=names, seed=n) for n in range(3)))
    chance = random.Random(0)
    noticed = 0
    for path in write(place.home, tmp_path / "export", [], QUIET):
        intact = path.read_bytes()
        wanted = read_all(path)
        for _ in range(trials):
            at, size = chance.randrange(len(intact)), chance.choice([1, 1, 16])
            old = intact[at : at + size]
            new = bytes(len(old)) if size > 1 else bytes([old[0] ^ chance.randrange(1, 256)])
            path.write_bytes(intact[:at] + new + intact[at + size :])
            try:
                assert read_all(path) == wanted
            except StoreError:
                noticed += 1
    assert noticed > trials


def test_changed_attributes_of_an_export_are_noticed(place, tmp_path):
    store(place, embedded("lib/a.mp4"))
    (path, *_) = export(place.home, tmp_path, [], QUIET)
    with h5py.File(path, "r+") as file:
        file[".vidsim"].attrs["weights_sha256"] = "0" * 64
    with pytest.raises(StoreError, match="attributes of its .vidsim are damaged"):
        import_files([path], Place(tmp_path / "other"), QUIET)
