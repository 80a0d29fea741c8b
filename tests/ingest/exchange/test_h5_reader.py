"""Foreign HDF5: what is damaged or hostile ends in a sentence, soon, and names no other file."""

from __future__ import annotations

import json
import os
import re
import shutil
import signal
import subprocess
import sys
import time
from collections.abc import Callable, Iterator
from dataclasses import replace
from pathlib import Path

import h5py
import numpy as np
import psutil
import pytest

from vidsim.ingest.exchange import h5_reader
from vidsim.ingest.exchange.export import export
from vidsim.ingest.exchange.export_capstone import export_capstone
from vidsim.ingest.exchange.h5_reader import LIMITS, H5Reader
from vidsim.ingest.exchange.reader import open_export
from vidsim.ingest.exchange.source import read_videos
from vidsim.ingest.shards.home import Place
from vidsim.ingest.system.progress import Silent
from vidsim.schemas.backbones import BACKBONES
from vidsim.schemas.errors import StoreError, VidsimError
from vidsim.search.bench.vectors import exported
from vidsim.search.evaluation.exported import read_exports

from ...helpers.embedded_videos import embedded, store

QUIET = Silent()


@pytest.fixture(autouse=True)
def impatient(monkeypatch) -> None:
    """Reading that hangs is given up after 3 s."""
    monkeypatch.setattr(h5_reader, "LIMITS", replace(LIMITS, stall_s=3.0))


@pytest.fixture
def hasty(impatient, monkeypatch) -> None:
    """After 1 s, which a file that is intact may take on a busy machine."""
    monkeypatch.setattr(h5_reader, "LIMITS", replace(LIMITS, stall_s=1.0))


@pytest.fixture(scope="module")
def exports(tmp_path_factory) -> Path:
    """A library with audio, exported in both layouts, each to a folder of its own."""
    folder = tmp_path_factory.mktemp("exports")
    place = Place(folder / "exported")
    names = ("labhist", "vggish")
    store(place, *(embedded(f"lib/{n}.mp4", backbones=names, seed=n, segments=2) for n in range(4)))
    export(place.home, folder / "native", [], QUIET)
    export_capstone(place.home, folder / "capstone", [], QUIET)
    return folder


@pytest.fixture
def native(exports, tmp_path) -> Path:
    """The sounds of a copy of the native export."""
    for layout in ("native", "capstone"):
        shutil.copytree(exports / layout, tmp_path / layout)
    return tmp_path / "native" / "audio_vggish.h5"


def take(path: Path, reader: H5Reader) -> int:
    """Read a file as an import does; the number of rows."""
    source = open_export(path, "lib", dict(BACKBONES), reader)
    videos = [video for _, video in read_videos([source], list(source.blocks))]
    return sum(len(rows.vectors) for v in videos for e in v.embeddings for rows in e.rows.values())


def import_it(path: Path) -> None:
    with H5Reader() as reader:
        take(path, reader)


READ: dict[str, Callable[[Path], object]] = {
    "import": import_it,
    "evaluate": lambda path: read_exports(path.parent, (), QUIET),
    "bench": lambda path: exported(path, 1),
}


def refused(path: Path, read: Callable[[Path], object]) -> str:
    """What is said of a file that is not read: one sentence that names it and deletes nothing."""
    before, since = len(psutil.Process().children()), time.monotonic()
    with pytest.raises(StoreError) as caught:
        read(path)
    said = str(caught.value)
    assert str(path) in said
    assert "\n" not in said
    assert said.endswith(".")
    assert "delete" not in said
    assert time.monotonic() - since < 30
    assert len(psutil.Process().children()) == before
    return said


# --- what HDF5 itself does not survive


def endless(path: Path) -> None:
    """Zero the head of the first object in the first heap of strings."""
    data = bytearray(path.read_bytes())
    at = data.index(b"GCOL") + 16
    data[at : at + 16] = bytes(16)
    path.write_bytes(data)


@pytest.mark.usefixtures("hasty")
@pytest.mark.parametrize("how", READ)
def test_a_heap_of_strings_that_makes_hdf5_loop_is_given_up(native, how):
    endless(native)
    said = refused(native, READ[how])
    assert "cannot be read: HDF5 gave no answer for 1 s" in said
    assert said.endswith("ask whoever made it for a new copy.")


@pytest.mark.acceptance
def test_that_heap_makes_plain_h5py_loop(native):
    endless(native)
    code = "import h5py, sys; dict(h5py.File(sys.argv[1]).attrs)"
    child = subprocess.Popen([sys.executable, "-c", code, str(native)], stderr=subprocess.DEVNULL)
    try:
        assert child.wait(10) != 0
        pytest.skip("this HDF5 does not loop")
    except subprocess.TimeoutExpired:
        child.send_signal(signal.SIGINT)
        with pytest.raises(subprocess.TimeoutExpired):
            child.wait(1)
    finally:
        child.kill()
        child.wait()


@pytest.mark.acceptance
def test_ctrl_c_ends_a_command_that_waits_for_hdf5(native, tmp_path):
    endless(native)
    program = "from vidsim.cli import main; main()"
    command = subprocess.Popen(
        [sys.executable, "-c", program, "import", str(native)],
        env=os.environ | {"VIDSIM_HOME": str(tmp_path / "home")},
        stderr=subprocess.PIPE,
        text=True,
    )
    try:
        parent = psutil.Process(command.pid)
        until = time.monotonic() + 60
        while not any(child.cpu_times().user > 1.5 for child in parent.children()):
            assert time.monotonic() < until
            time.sleep(0.1)
        (child,) = parent.children()
        since = time.monotonic()
        command.send_signal(signal.SIGINT)
        _, said = command.communicate(timeout=20)
    finally:
        command.kill()
    assert time.monotonic() - since < 5
    assert command.returncode == 130
    assert "Traceback" not in said
    assert not child.is_running() or child.status() == psutil.STATUS_ZOMBIE


WORSE = """
import os, signal, time
from vidsim.ingest.exchange import h5_child

def crash(channel):
    channel.receive()
    os.kill(os.getpid(), signal.SIGSEGV)

def grow(channel):
    h5_child.list_file = lambda *_: bytearray(8 << 30)
    h5_child.main(channel)

def dribble(channel):
    while True:
        time.sleep(0.2)
        channel.send("alive")

def babble(channel):
    while True:
        channel.receive()
        channel._sock.sendall(b"anything at all, and more of it")
"""


@pytest.fixture
def worse(tmp_path, monkeypatch) -> Callable[..., None]:
    """Has a child run something else, with other limits."""
    (tmp_path / "modules").mkdir()
    (tmp_path / "modules" / "worse_h5.py").write_text(WORSE)
    monkeypatch.syspath_prepend(str(tmp_path / "modules"))

    def choose(name: str, **limits: float) -> None:
        chosen = replace(LIMITS, worker=f"worse_h5:{name}", **limits)
        monkeypatch.setattr(h5_reader, "LIMITS", chosen)

    return choose


@pytest.mark.parametrize(
    ("name", "words"),
    [
        ("crash", r"the HDF5 reader crashed (SIGSEGV)"),
        ("grow", "it takes more than 2048 MB of memory"),
        ("dribble", "HDF5 took more than 1 s for 0."),
        ("babble", "answered with something unreadable"),
    ],
)
@pytest.mark.parametrize("how", READ)
def test_whatever_becomes_of_the_child_is_one_sentence(native, worse, name, words, how):
    worse(name, base_s=1.0)
    assert words in refused(native, READ[how])


# --- files that name others


def external_link(file: h5py.File, name: str, other: Path) -> None:
    file[name] = h5py.ExternalLink(str(other), "secret")


def soft_link(file: h5py.File, name: str, other: Path) -> None:
    file[name] = h5py.SoftLink("/ids")


def external_storage(file: h5py.File, name: str, other: Path) -> None:
    raw = [(str(other), 0, h5py.h5f.UNLIMITED)]
    file.create_dataset(name, (80, 128), np.float32, external=raw)


def virtual(file: h5py.File, name: str, other: Path) -> None:
    layout = h5py.VirtualLayout((80, 128), np.float32)
    layout[:] = h5py.VirtualSource(str(other), "secret", (80, 128))
    file.create_virtual_dataset(name, layout)


@pytest.fixture
def secret(tmp_path) -> Path:
    """A file of somebody's own, which the export cannot know the content of."""
    path = tmp_path / "secret"
    with h5py.File(path, "w") as file:
        file["secret"] = np.ones((80, 128), np.float32)
    return path


@pytest.mark.usefixtures("h5_in_thread")
@pytest.mark.parametrize("name", ["vectors", "more/of/it", ".vidsim/other"])
@pytest.mark.parametrize("names", [external_link, soft_link, external_storage, virtual])
def test_a_file_that_names_another_is_refused(native, secret, names, name):
    with h5py.File(native, "r+") as file:
        file.pop(name, None)
        names(file, name, secret)
    links = names in (external_link, soft_link)
    said = f"{name} is a link to another" if links else f"the data of its {name} lie in another"
    for read in READ.values():
        assert said in refused(native, read)


def test_the_other_file_is_not_even_opened(native, tmp_path):
    os.mkfifo(tmp_path / "pipe")  # whoever opens it waits for ever
    for number, names in enumerate((external_link, external_storage, virtual)):
        with h5py.File(native, "r+") as file:
            names(file, f"other{number}", tmp_path / "pipe")
    since = time.monotonic()
    refused(native, import_it)
    assert time.monotonic() - since < 30  # half of what a child that waits is given


@pytest.mark.parametrize("how", READ)
def test_a_named_pipe_is_not_waited_for(tmp_path, how):
    os.mkfifo(tmp_path / "pipe.h5")
    with pytest.raises(VidsimError, match=r"pipe\.h5"):
        READ[how](tmp_path / "pipe.h5")


# --- files that declare more than they hold


def test_a_petabyte_in_a_kilobyte_is_refused(native):
    with h5py.File(native, "r+") as file:
        del file["vectors"]
        file.create_dataset("vectors", (10**12, 128), np.float32, chunks=(64, 128), fillvalue=1)
    assert native.stat().st_size < 1e6
    for read in READ.values():
        assert "with vectors it declares more than" in refused(native, read)


def test_many_texts_that_are_one_are_refused(native):
    with h5py.File(native, "r+") as file:
        ids = file["video_ids"].shape
        del file["labels"]
        file.create_dataset("labels", (200_000,), h5py.string_dtype(), chunks=(8192,))
        file["labels"][0] = "x" * 10_000
        reference = h5py.h5d.open(file.id, b"labels").get_chunk_info(0)
        assert ids == (80,)
    data = bytearray(native.read_bytes())
    first = data[reference.byte_offset : reference.byte_offset + 16]
    data[reference.byte_offset : reference.byte_offset + reference.size] = first * 8192
    native.write_bytes(data)
    with H5Reader() as reader, pytest.raises(StoreError) as caught:
        reader.open(native).texts("labels")
    assert "its labels is longer than" in str(caught.value)


def test_groups_that_hold_each_other_are_listed_once(native):
    with h5py.File(native, "r+") as file:
        for n in range(20):  # two to the power of twenty ways lead to the last
            file.create_group(f"g{n}")
        for n in range(19):
            file[f"g{n}/a"] = file[f"g{n}/b"] = file[f"g{n + 1}"]
        file["g19/home"] = file["/"]
    import_it(native)


def test_what_hdf5_compresses_is_read(native, tmp_path):
    with h5py.File(native, "r+") as file:
        for name in ("labels", "vectors"):
            data = file[name][:]
            del file[name]
            file.create_dataset(name, data=data, chunks=True, compression="gzip", shuffle=True)
    for read in READ.values():
        read(native)


# --- numbers and texts arrive as they are


def test_numbers_and_texts_are_those_of_h5py(tmp_path, monkeypatch):
    monkeypatch.setattr(h5_reader, "_BLOCK_BYTES", 1000)
    monkeypatch.setattr(h5_reader, "_TEXTS_PER_READ", 7)
    random = np.random.default_rng(0)
    texts = ["", "é 名", "a" * 300, *map(str, range(20))]
    numbers = [">f4", "<f8", "f2", ">i2", "u1", "u8", "i4", "?"]
    with h5py.File(tmp_path / "x.h5", "w") as file:
        for dtype in numbers:
            file[f"group/{dtype}"] = (random.standard_normal((90, 3, 7)) * 9).astype(dtype)
        file["none"] = np.zeros((0, 5), np.float32)
        file["scalar"], file["text"] = 5, "text"
        file["variable"] = texts
        fixed = np.array([t.encode() for t in texts], "S")
        file.create_dataset("fixed é\udcff".encode("utf-8", "surrogateescape"), data=fixed)
        file.attrs.update(format="text", version=np.int64(1), share=0.5, several=["a", "b"])
    with h5py.File(tmp_path / "x.h5") as file, H5Reader() as reader:
        read = reader.open(tmp_path / "x.h5")
        assert read.attributes == {"": {"format": "text", "version": 1, "share": 0.5}}
        assert len(read.datasets) == len(numbers) + 5
        for dtype in numbers[:-1]:
            there, name = file[f"group/{dtype}"][:], f"group/{dtype}"
            whole = read.numbers(name)
            assert whole.dtype == there.dtype.newbyteorder("=")
            assert np.array_equal(whole, there)
            places = [(0, 5), (5, 5), (5, 9), (80, 90), (3, 4), (0, 90), (4, 6), (90, 90)]
            parts = read.read((name, first, last) for first, last in places)
            for (first, last), part in zip(places, parts, strict=True):
                assert np.array_equal(part, there[first:last])
        assert read.numbers("none").shape == (0, 5)
        assert read.texts("variable") == read.texts("fixed é\udcff") == texts
        for name in ("scalar", "text", "variable", "group/?"):
            with pytest.raises(ValueError, match="no list of numbers"):
                read.numbers(name)
        with pytest.raises(ValueError, match="no list of text"):
            read.texts("none")
        with pytest.raises(KeyError, match="there is no dataset group/none"):
            read.numbers("group/none")
        with pytest.raises(ValueError, match="has no items"):
            [*read.read([("none", 0, 1)])]


def test_more_files_than_stay_open_are_read_in_turn(tmp_path):
    paths = [tmp_path / f"{n}.h5" for n in range(40)]
    for n, path in enumerate(paths):
        with h5py.File(path, "w") as file:
            file["n"] = [n]
    with H5Reader() as reader:
        files = [reader.open(path) for path in paths]
        assert [file.numbers("n").tolist() for file in files] == [[n] for n in range(40)]


def test_a_file_that_is_opened_again_is_read_anew(tmp_path):
    with H5Reader() as reader:
        for n in range(3):
            with h5py.File(tmp_path / "new.h5", "w") as file:
                file["n"] = np.full(n, n)
            (tmp_path / "new.h5").replace(tmp_path / "x.h5")
            assert reader.open(tmp_path / "x.h5").numbers("n").tolist() == [n] * n


# --- damage anywhere


STRUCTURE = re.compile(rb"GCOL|TREE|SNOD|HEAP|OHDR|\x89HDF")
"""How what HDF5 writes beside the numbers begins; most of a file is numbers."""


def damaged(data: bytes, random: np.random.Generator) -> bytes:
    """Change some bytes, zero a stretch or a page, or cut the end off."""
    found = bytearray(data)
    places = [match.start() for match in STRUCTURE.finditer(data)]
    at = int(random.integers(len(found)))
    if random.random() < 0.8:
        at = min(int(random.choice(places)) + int(random.integers(200)), len(found) - 1)
    kind = random.integers(5)
    if kind == 0:
        for place in random.integers(at, min(at + 64, len(found)), random.integers(1, 9)):
            found[place] ^= int(random.integers(1, 256))
    elif kind == 1:
        at -= at % 8
        found[at : at + 16] = bytes(len(found[at : at + 16]))
    elif kind == 2:
        at -= at % 4096
        found[at : at + 4096] = bytes(len(found[at : at + 4096]))
    elif kind == 3:
        found[at : at + 4] = random.bytes(len(found[at : at + 4]))
    else:
        found = found[:at]
    return bytes(found)


@pytest.fixture
def reader() -> Iterator[Callable[[], H5Reader]]:
    """Gives a reader that works: another one where the last was ended."""
    made: list[H5Reader] = []

    def give() -> H5Reader:
        if not made or not psutil.pid_exists(made[-1]._child.pid):
            made.append(H5Reader())
        return made[-1]

    yield give
    for one in made:
        one.__exit__(None, None, None)


def sentence(read: Callable[[], object]) -> str:
    """What is said of a file that is not read; "" for one that is."""
    try:
        read()
    except VidsimError as error:
        said = str(error)
    else:
        said = ""
    assert "\n" not in said
    return said


def check_damage(native: Path, reader: Callable[[], H5Reader], trials: range) -> None:
    """Each damaged file is refused or read; nothing in it tells of a number that has changed."""
    files = sorted(
        p for f in (native.parent, native.parent.parent / "capstone") for p in f.glob("*.h5")
    )
    whole = {path: path.read_bytes() for path in files}
    told: dict[str, int] = {}
    for trial in trials:
        random = np.random.default_rng(trial)
        path = files[trial % len(files)]
        path.write_bytes(damaged(whole[path], random))
        since = time.monotonic()
        said = sentence(lambda path=path: take(path, reader()))
        words = said.partition(f"{path} ")[2][:40]
        told[words] = told.get(words, 0) + 1
        if path.parent == native.parent and trial % 3 == 0:
            sentence(lambda: read_exports(native.parent, (), QUIET))
        assert time.monotonic() - since < 40, trial
        path.write_bytes(whole[path])
    print(json.dumps(told, indent=1))


@pytest.mark.acceptance
@pytest.mark.usefixtures("hasty")
def test_twenty_damaged_exports_are_refused_or_read(native, reader):
    check_damage(native, reader, range(20))


@pytest.mark.usefixtures("hasty")
@pytest.mark.acceptance
def test_two_hundred_damaged_exports_are_refused_or_read(native, reader):
    check_damage(native, reader, range(20, 220))
