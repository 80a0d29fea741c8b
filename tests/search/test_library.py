"""A process that stays: the same answers, and nothing is loaded twice."""

from __future__ import annotations

import shutil
import subprocess
import sys
from concurrent.futures import ThreadPoolExecutor

import numpy as np
import psutil
import pytest

import vidsim
from vidsim.ingest.extract import embed
from vidsim.ingest.extract.embed import EmbedOptions
from vidsim.ingest.extract.scheduler import Extraction
from vidsim.ingest.pipeline import ingest
from vidsim.ingest.shards.home import Place
from vidsim.ingest.system.progress import Silent, Step
from vidsim.schemas.errors import LibraryError, MediaError, WorkerError
from vidsim.schemas.modality import Modality
from vidsim.schemas.presets import choose_backbones
from vidsim.search.library import Library
from vidsim.search.query import QueryOptions, query

from ..helpers.clips import write_clip

COLOR = QueryOptions(modalities=(Modality.COLOR,), device="cpu")
BY_COLOR = {"modalities": "color", "device": "cpu"}


def children():
    return set(psutil.Process().children(recursive=True))


@pytest.fixture(scope="module")
def made(tmp_path_factory):
    """A folder of three clips of different colours, and a home that holds the first two."""
    folder = tmp_path_factory.mktemp("made")
    random = np.random.default_rng(0)
    for name in ("lib/a.mkv", "lib/b.mkv", "c.mkv"):
        (folder / name).parent.mkdir(exist_ok=True)
        picture = np.full((48, 64, 3), random.integers(0, 256, 3), np.uint8)
        times = [n / 25 for n in range(50)]
        write_clip(folder / name, times=times, images=[picture], size=(64, 48))
    options = EmbedOptions(choose_backbones([Modality.COLOR]), device="cpu", workers=1)
    ingest(folder / "lib", Place(folder / "home"), options, Silent())
    return folder


@pytest.fixture
def clips(made, place):
    """Those clips; `place` is a copy of that home."""
    shutil.copytree(made / "home", place.home)
    return [made / name for name in ("lib/a.mkv", "lib/b.mkv", "c.mkv")]


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
    with Library(place) as library:
        assert [library.query(clip, **BY_COLOR) for clip in asked] == alone
        assert loads == [["color"]]


def test_the_decoder_stays_and_ends_with_it(place, clips):
    before = children()
    with Library(place) as library:
        library.query(clips[0], **BY_COLOR)
        mine = children() - before
        library.query(clips[2], **BY_COLOR)
        assert len(mine) == 1
        assert children() - before == mine
    assert children() == before


def test_a_bad_clip_does_not_harm_the_next(place, clips, tmp_path):
    bad = tmp_path / "bad.mp4"
    bad.write_bytes(b"no video" * 100)
    with Library(place) as library:
        for _ in range(2):
            with pytest.raises(MediaError, match=r"bad\.mp4 cannot be searched with"):
                library.query(bad, **BY_COLOR)
            with pytest.raises(LibraryError, match="neither a file nor the id"):
                library.query("nothing", **BY_COLOR)
            assert library.query(clips[0], **BY_COLOR).results[0].video_id == "lib/a.mkv"


def test_another_backbone_is_loaded_when_it_is_asked_for(place, clips, loads):
    vid2img = EmbedOptions(choose_backbones([Modality.COLOR], ["color=vid2img"]), device="cpu")
    ingest(clips[0].parent, place, vid2img, Silent())
    loads.clear()
    with Library(place) as library:
        for overrides in ((), ("color=vid2img",), ("color=vid2img",)):
            result = library.query(clips[0], models=overrides, **BY_COLOR)
            assert result.results[0].video_id == "lib/a.mkv"
    assert len(loads) == 2


def test_what_failed_is_loaded_anew(place, clips, loads, monkeypatch):
    def fail(self, media):
        raise WorkerError("The audio process failed.")

    with Library(place) as library:
        with monkeypatch.context() as broken:
            broken.setattr(Extraction, "submit", fail)
            with pytest.raises(WorkerError):
                library.query(clips[0], **BY_COLOR)
        assert library.query(clips[0], **BY_COLOR).results[0].video_id == "lib/a.mkv"
    assert len(loads) == 2


def test_threads_take_turns(place, clips, loads):
    asked = [clips[2], "lib/a.mkv", clips[0], "lib/b.mkv"] * 4
    with Library(place) as library:
        expected = [library.query(clip, **BY_COLOR) for clip in asked[:4]] * 4
        with ThreadPoolExecutor(8) as threads:
            found = threads.map(lambda clip: library.query(clip, **BY_COLOR), asked)
            assert [*found] == expected
    assert len(loads) == 1


def test_it_writes_while_its_queries_are_open(place, clips, tmp_path):
    with Library(place) as library:
        assert library.query(clips[2], **BY_COLOR).results[0].video_id != "more/c.mkv"
        assert library.ingest(clips[2], library="more", modalities="color").embedded == 1
        assert library.query(clips[2], **BY_COLOR).results[0].video_id == "more/c.mkv"
        assert [v.video_id for v in library.videos()] == ["lib/a.mkv", "lib/b.mkv", "more/c.mkv"]
        assert not [c for c in library.verify().comparisons if c.wrong]
        assert library.remove("more", "lib/a.mkv") == {"more": ["more/c.mkv"], "lib": ["lib/a.mkv"]}
        assert [r.video_id for r in library.query(clips[2], **BY_COLOR).results] == ["lib/b.mkv"]
        (file, _) = library.export(tmp_path / "h5")
        assert file.name == "color_labhist.h5"
        assert [found.library for found in library.libraries()] == ["lib"]


def test_whoever_wants_to_know_is_told_of_every_step(place, clips):
    told: list[Step] = []
    with Library(place, progress=told.append) as library:
        library.ingest(clips[2], library="more", modalities="color", device="cpu")
        library.query(clips[2], **BY_COLOR)
    embedding = [step for step in told if step.stage == "embedding"]
    size = clips[2].stat().st_size
    assert embedding[0] == Step("embedding", 0, size, "bytes of video")
    done = "1 of 1 files done"
    assert embedding[-1] == Step("embedding", size, size, "bytes of video", True, done)


def test_it_opens_what_the_command_line_would(monkeypatch, tmp_path):
    for name, value in {
        "HOME": "elsewhere", "URI": "https://milvus:19530", "TOKEN": "root:secret",
        "CA_CERT": "ca.pem", "INDEX": "cpu",
    }.items():  # fmt: skip
        monkeypatch.setenv(f"VIDSIM_{name}", value)
    monkeypatch.chdir(tmp_path)
    place = Library.open().place
    assert (place.home, place.uri, place.token) == (
        tmp_path / "elsewhere",
        "https://milvus:19530",
        "root:secret",
    )
    assert (place.ca_cert, place.index) == (tmp_path / "ca.pem", "cpu")
    assert Library.open(tmp_path / "h", uri="embedded").place.uri is None
    assert Library.open(tmp_path / "h").home == tmp_path / "h"


def test_importing_it_loads_nothing():
    code = (
        "import sys; before = {*sys.modules}; import vidsim; new = {*sys.modules} - before; "
        "print({m.partition('.')[0] for m in new} - sys.stdlib_module_names, "
        "[m for m in new if m.startswith('vidsim.')]); "
        "from vidsim import Library, VidsimError, QueryResult; "
        "print([m for m in ('torch', 'tensorflow', 'pymilvus') if m in sys.modules])"
    )
    done = subprocess.run([sys.executable, "-c", code], capture_output=True, text=True, check=True)
    assert done.stdout == "{'vidsim'} []\n[]\n"


def test_all_that_it_offers_is_there():
    assert {"Library", "VidsimError", "IngestReport"} <= {*dir(vidsim)}
    assert all(getattr(vidsim, name) for name in vidsim.__all__)
    with pytest.raises(AttributeError, match="no attribute 'Nothing'"):
        vidsim.Nothing  # noqa: B018


@pytest.mark.parametrize(
    "more", [{"percent": 5, "repair": True}, {"percent": 5, "deep": True}, {"percent": 0}]
)
def test_a_part_is_neither_mended_nor_all(tmp_path, more):
    with (
        Library.open(home=tmp_path / "home") as library,
        pytest.raises(ValueError, match="percent"),
    ):
        library.verify(**more)
