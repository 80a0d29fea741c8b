"""A process that stays: the same answers, and nothing is loaded twice."""

from __future__ import annotations

from dataclasses import replace

import numpy as np
import psutil
import pytest

from vidsim.ingest.extract import embed
from vidsim.ingest.extract.embed import EmbedOptions
from vidsim.ingest.extract.scheduler import Extraction
from vidsim.ingest.pipeline import ingest
from vidsim.ingest.system.progress import Silent
from vidsim.schemas.backbones import choose_backbones
from vidsim.schemas.errors import LibraryError, MediaError, WorkerError
from vidsim.schemas.modality import Modality
from vidsim.search.query import QueryOptions, query
from vidsim.search.searcher import Searcher

COLOR = QueryOptions(modalities=(Modality.COLOR,), device="cpu")


def children():
    return set(psutil.Process().children(recursive=True))


@pytest.fixture
def clips(place, make_clip, tmp_path):
    """Three clips of different colours; the first two are stored."""
    random = np.random.default_rng(0)
    paths = []
    for name in ("lib/a.mkv", "lib/b.mkv", "c.mkv"):
        (tmp_path / name).parent.mkdir(exist_ok=True)
        picture = np.full((48, 64, 3), random.integers(0, 256, 3), np.uint8)
        times = [n / 25 for n in range(50)]
        paths.append(make_clip(name, times=times, images=[picture], size=(64, 48)))
    options = EmbedOptions(choose_backbones([Modality.COLOR]), device="cpu", workers=1)
    ingest(tmp_path / "lib", place, options, Silent())
    return paths


@pytest.fixture
def loads(monkeypatch):
    """The modalities of every extraction that is loaded."""
    loaded = []

    class Counted(Extraction):
        def __init__(self, backbones, *args, **options):
            loaded.append(list(backbones))
            super().__init__(backbones, *args, **options)

    monkeypatch.setattr(embed, "Extraction", Counted)
    return loaded


def test_it_answers_as_a_query_of_its_own_does(place, clips, loads):
    asked = [str(clips[2]), "lib/a.mkv", str(clips[0])]
    alone = [query(clip, place, COLOR, Silent()) for clip in asked]
    loads.clear()
    with Searcher(place) as searcher:
        assert [searcher.query(clip, COLOR) for clip in asked] == alone
        assert loads == [["color"]]


def test_the_decoder_stays_and_ends_with_it(place, clips):
    before = children()
    with Searcher(place) as searcher:
        searcher.query(str(clips[0]), COLOR)
        mine = children() - before
        searcher.query(str(clips[2]), COLOR)
        assert len(mine) == 1
        assert children() - before == mine
    assert children() == before


def test_a_bad_clip_does_not_harm_the_next(place, clips, tmp_path):
    bad = tmp_path / "bad.mp4"
    bad.write_bytes(b"no video" * 100)
    with Searcher(place) as searcher:
        for _ in range(2):
            with pytest.raises(MediaError, match=r"bad\.mp4 cannot be searched with"):
                searcher.query(str(bad), COLOR)
            with pytest.raises(LibraryError, match="neither a file nor the id"):
                searcher.query("nothing", COLOR)
            assert searcher.query(str(clips[0]), COLOR).results[0].video_id == "lib/a.mkv"


def test_another_backbone_is_loaded_when_it_is_asked_for(place, clips, loads):
    vid2img = EmbedOptions(choose_backbones([Modality.COLOR], ["color=vid2img"]), device="cpu")
    ingest(clips[0].parent, place, vid2img, Silent())
    loads.clear()
    with Searcher(place) as searcher:
        for overrides in ((), ("color=vid2img",), ("color=vid2img",)):
            result = searcher.query(str(clips[0]), replace(COLOR, overrides=overrides))
            assert result.results[0].video_id == "lib/a.mkv"
    assert len(loads) == 2


def test_what_failed_is_loaded_anew(place, clips, loads, monkeypatch):
    def fail(self, media):
        raise WorkerError("The audio process failed.")

    with Searcher(place) as searcher:
        with monkeypatch.context() as broken:
            broken.setattr(Extraction, "submit", fail)
            with pytest.raises(WorkerError):
                searcher.query(str(clips[0]), COLOR)
        assert searcher.query(str(clips[0]), COLOR).results[0].video_id == "lib/a.mkv"
    assert len(loads) == 2
