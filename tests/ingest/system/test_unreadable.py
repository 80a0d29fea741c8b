"""What could not be read is not called damaged, and is never to be deleted."""

from __future__ import annotations

import errno
import fcntl
import json
import logging
import os
import re
import shutil
import subprocess
import sys
import threading
import time
from dataclasses import replace
from pathlib import Path

import h5py
import pytest

from vidsim.ingest.exchange.export import export
from vidsim.ingest.milvus.store import open_store
from vidsim.ingest.models.registry import known_backbones
from vidsim.ingest.pipeline import ingest
from vidsim.ingest.shards.home import (
    Home,
    Place,
    open_shards,
    read_notes,
)
from vidsim.ingest.shards.lock import writing
from vidsim.ingest.shards.shard_files import Shards
from vidsim.ingest.sync.libraries import remove_all, verify_all
from vidsim.ingest.sync.stored_videos import find, list_videos
from vidsim.ingest.system import unreadable
from vidsim.ingest.system.progress import Silent
from vidsim.ingest.system.unreadable import hindrance, open_h5, patiently
from vidsim.schemas.backbones import BACKBONES
from vidsim.schemas.errors import StoreError, VidsimError, WeightsError
from vidsim.schemas.modality import Modality
from vidsim.search.background import refresh
from vidsim.search.evaluation.exported import read_exports
from vidsim.search.query import QueryOptions, query

from ...helpers.embedded_videos import embedded
from ...helpers.killed import leave_unsealed
from ...helpers.read_only import read_only, vidsim

QUIET = Silent()
NAMES = ("labhist", "efficientnet_lite0")
CLIP = "lib/0.mp4"

KINDS = {
    errno.EAGAIN: ("in use by another program", "wait"),
    errno.EBUSY: ("in use by another program", "wait"),
    errno.EACCES: ("may not be read", "chmod"),
    errno.EPERM: ("may not be read", "chmod"),
    errno.ESTALE: ("stale file handle", "mount"),
    errno.EIO: ("input/output error", "check that disk"),
    errno.EMFILE: ("too many files are open", "ulimit -n"),
    errno.ENFILE: ("too many files are open", "ulimit -n"),
    errno.ENOLCK: ("has no locks", "HDF5_USE_FILE_LOCKING"),
    errno.ENOMEM: ("memory", "close other programs"),
    errno.ETIMEDOUT: ("does not answer", "check the connection"),
    errno.ENOTCONN: ("does not answer", "check the connection"),
    errno.EREMOTEIO: ("cannot be read", "see to that"),
}


def said_to_be_whole(said: str) -> None:
    """No file is called damaged, none is to be deleted or moved, and it is one sentence."""
    assert not re.search(r"damaged|delete|move (it|them) away|remove", said), said
    assert "\n" not in said
    assert said.endswith(".")


@pytest.fixture(autouse=True)
def impatient(monkeypatch):
    monkeypatch.setattr(unreadable, "PATIENCE_S", 0.2)


@pytest.fixture(scope="module")
def made(tmp_path_factory) -> Path:
    """A home with a library of three videos, in Milvus and in two shards."""
    place = Place(tmp_path_factory.mktemp("made") / "home")
    videos = [embedded(f"lib/{i}.mp4", seed=i) for i in range(3)]
    shards = open_shards(place.home)
    shards.write("lib", videos[:2], dict.fromkeys(NAMES, ""))
    shards.write("lib", videos[2:], dict.fromkeys(NAMES, ""))
    with open_store(place, writing=True) as store:
        for name in NAMES:
            store.upsert(BACKBONES[name], videos)
            store.flush(BACKBONES[name])
    Home(place).write_note("lib", shards.catalog("lib"))
    return place.home


@pytest.fixture
def home(made, place) -> Path:
    """A copy of it."""
    return Path(shutil.copytree(made, place.home))


def run_query(home: Path, _: Path) -> None:
    query(CLIP, Place(home), QueryOptions(), QUIET)


def run_ingest(home: Path, scratch: Path) -> None:
    from vidsim.ingest.extract.embed import EmbedOptions

    folder = scratch / "lib"
    folder.mkdir(exist_ok=True)
    (folder / "0.mp4").write_bytes(b"clip")
    options = EmbedOptions({Modality.COLOR: BACKBONES["labhist"]})
    ingest(folder, Place(home), options, QUIET)


OPERATIONS = {
    "query": run_query,
    "verify": lambda home, _: verify_all(Place(home), [], 1, QUIET),
    "export": lambda home, scratch: export(home, scratch / "export", [], QUIET),
    "libraries --videos": lambda home, _: list_videos(home),
    "remove": lambda home, _: remove_all(Place(home), find(home, [CLIP])),
    "ingest": run_ingest,
}


def as_h5py(number: int, path: Path) -> list[OSError]:
    """The ways in which h5py has been seen to tell of an errno."""
    text = os.strerror(number)
    what = f"Unable to synchronously open file (unable to open file: name = '{path}', "
    return [
        OSError(number, text),
        OSError(f"{what}errno = {number}, error message = '{text}', flags = 0, o_flags = 0)"),
        OSError(
            "Can't synchronously read data (file read failed: time = Mon Jan  1 00:00:00 2024\n, "
            f"filename = '{path}', file descriptor = 9, errno = {number}, error message = "
            f"'{text}', buf = 0x1, total read size = 8, bytes this sub-read = 8, offset = 0)"
        ),
    ]


# --- every kind of hindrance, in every operation


@pytest.mark.parametrize("operation", OPERATIONS)
@pytest.mark.parametrize("number", KINDS, ids=errno.errorcode.get)
def test_a_shard_that_is_not_read_is_told_by_its_kind(
    home, tmp_path, monkeypatch, number, operation
):
    whole = h5py.File

    def refused(path, mode="r", *args, **options):
        if mode == "r" and "shards" in str(path):
            raise as_h5py(number, path)[0]
        return whole(path, mode, *args, **options)

    monkeypatch.setattr(h5py, "File", refused)
    with pytest.raises(StoreError) as caught:
        OPERATIONS[operation](home, tmp_path)
    said = str(caught.value)
    said_to_be_whole(said)
    assert all(words in said for words in KINDS[number])
    assert str(home / "shards" / "lib") in said
    monkeypatch.undo()
    monkeypatch.setenv("VIDSIM_HOME", str(home))
    assert len(list_videos(home)) == 3  # and nothing was touched


@pytest.mark.parametrize("number", KINDS, ids=errno.errorcode.get)
@pytest.mark.parametrize("way", range(3))
def test_the_number_is_found_however_hdf5_writes_it(tmp_path, number, way):
    found = hindrance(as_h5py(number, tmp_path)[way])
    assert found is not None
    assert all(words in found.sentence("It") for words in KINDS[number])


def test_words_do_where_the_number_is_lost():
    for words, expected in {
        "unable to lock file": "in use",
        "Permission denied": "may not be read",
        "Too many open files": "ulimit",
        "Stale NFS file handle": "mount",
        "Input/output error": "check that disk",
        "file is already open for write": "h5clear",
    }.items():
        found = hindrance(OSError(f"Unable to synchronously open file ({words})"))
        assert found is not None
        assert expected in found.sentence("It")


@pytest.mark.parametrize(
    "text",
    [
        "Unable to synchronously open file (file signature not found)",
        "Unable to synchronously open file (truncated file: eof = 100, stored_eof = 800)",
        "Can't synchronously read data (addr overflow, addr = 99, size = 8, eoa = 10)",
        "Can't synchronously read data (file read failed: errno = 22, 'Invalid argument')",
    ],
)
def test_what_was_read_and_is_wrong_stays_damage(text):
    assert hindrance(OSError(text)) is None


@pytest.mark.parametrize("spoil", [lambda b: b[:100], lambda b: b[: len(b) // 2], lambda b: b""])
def test_a_damaged_shard_is_still_called_damaged(home, spoil):
    path = open_shards(home).files("lib")[0]
    path.write_bytes(spoil(path.read_bytes()))
    with pytest.raises(StoreError, match="damaged.*verify --repair"):
        list_videos(home)


def test_tables_that_are_damaged_are_one_sentence_too(home):
    path = open_shards(home).files("lib")[0]
    with h5py.File(path, "r+") as file:
        del file["segments/video"]
    with pytest.raises(StoreError, match="damaged.*verify --repair"):
        list_videos(home)


def test_a_disk_that_fails_later_is_no_damage(home, monkeypatch):
    fails = as_h5py(errno.EIO, home)[2]
    monkeypatch.setattr(h5py.Dataset, "__getitem__", lambda *_: (_ for _ in ()).throw(fails))
    with pytest.raises(StoreError, match="input/output error") as caught:
        list_videos(home)
    said_to_be_whole(str(caught.value))


# --- held by another program


HOLD = {
    "h5py": "import h5py, sys; held = h5py.File(sys.argv[1], 'a')",
    "flock": "import fcntl, sys; held = open(sys.argv[1], 'r+b'); fcntl.flock(held, fcntl.LOCK_EX)",
}


@pytest.fixture
def hold():
    """Has another process hold a file; gives its process, which lets go when it ends."""
    running = []

    def start(path: Path, how: str) -> subprocess.Popen[str]:
        code = f"{HOLD[how]}; print('held', flush=True); sys.stdin.read()"
        child = subprocess.Popen(
            [sys.executable, "-c", code, str(path)],
            stdin=subprocess.PIPE,
            stdout=subprocess.PIPE,
            text=True,
        )
        running.append(child)
        assert child.stdout.readline() == "held\n"
        return child

    yield start
    for child in running:
        child.communicate()


@pytest.mark.parametrize("how", HOLD)
@pytest.mark.parametrize("operation", ["query", "verify", "export", "libraries --videos", "ingest"])
def test_a_shard_that_another_program_holds_is_in_use(home, tmp_path, hold, how, operation):
    path = open_shards(home).files("lib")[0]
    hold(path, how)
    with pytest.raises(StoreError, match="in use by another program") as caught:
        OPERATIONS[operation](home, tmp_path)
    assert str(path) in str(caught.value)
    said_to_be_whole(str(caught.value))


def test_a_shard_that_is_held_for_a_moment_is_waited_for(home, hold, monkeypatch, caplog):
    monkeypatch.setattr(unreadable, "PATIENCE_S", 30.0)
    path = open_shards(home).files("lib")[0]
    child = hold(path, "flock")
    threading.Timer(0.5, lambda: child.stdin.close()).start()
    with caplog.at_level(logging.WARNING, "vidsim"):
        assert len(list_videos(home)) == 3
    child.stdin = None
    assert [r.getMessage() for r in caplog.records] == [
        f"The shard {path} is in use by another program; waiting a moment for it."
    ]


def test_a_writer_that_was_killed_leaves_a_mark_and_no_damage(home, hold):
    path = open_shards(home).files("lib")[0]
    whole = path.read_bytes()
    child = hold(path, "h5py")
    child.kill()
    child.wait()
    if path.read_bytes() == whole:
        pytest.skip("this HDF5 marks no files that are open for writing")
    with pytest.raises(StoreError, match="h5clear") as caught:
        list_videos(home)
    said_to_be_whole(str(caught.value))


def test_a_store_that_is_held_for_a_moment_is_waited_for(home, monkeypatch, caplog):
    monkeypatch.setattr(unreadable, "PATIENCE_S", 30.0)
    lock = os.open(home / "milvus.db" / "LOCK", os.O_RDWR)
    fcntl.flock(lock, fcntl.LOCK_EX)
    threading.Timer(0.5, os.close, [lock]).start()
    with caplog.at_level(logging.WARNING, "vidsim"), open_store(Place(home)) as store:
        assert store.count(BACKBONES["labhist"], "") == 3
    assert "milvus.db is in use by another program; waiting" in caplog.text


def test_a_lock_that_cannot_be_had_is_not_in_use(home, monkeypatch):
    def refused(*_):
        raise OSError(errno.ENOLCK, os.strerror(errno.ENOLCK))

    monkeypatch.setattr(fcntl, "flock", refused)
    with pytest.raises(StoreError) as caught, open_store(Place(home)) as store:
        store.backbones()
    assert "in use" not in str(caught.value)
    said_to_be_whole(str(caught.value))


def test_only_what_may_pass_is_waited_for():
    tried = []

    def refused():
        tried.append(time.monotonic())
        raise OSError(errno.EACCES, "Permission denied")

    with pytest.raises(PermissionError):
        patiently("It", refused, 30.0)
    assert len(tried) == 1


# --- folders, notes, exports and weights


def fail_at(monkeypatch, owner: object, name: str, part: str, number: int) -> None:
    """Has a function raise `number` for a path that holds `part`."""
    usual = getattr(owner, name)

    def refused(path, *args, **options):
        if part in str(path):
            raise OSError(number, os.strerror(number), str(path))
        return usual(path, *args, **options)

    monkeypatch.setattr(owner, name, refused)


@pytest.mark.parametrize("number", [errno.EACCES, errno.EIO, errno.ESTALE, errno.EMFILE])
@pytest.mark.parametrize("part", ["shards", "shards/lib", "backbones"])
def test_a_folder_that_cannot_be_listed_is_not_an_empty_one(home, monkeypatch, part, number):
    fail_at(monkeypatch, os, "scandir", str(home / part), number)
    with pytest.raises(StoreError) as caught:
        list_videos(home)
    assert all(words in str(caught.value) for words in KINDS[number])
    said_to_be_whole(str(caught.value))


@pytest.mark.parametrize("number", [errno.EACCES, errno.EIO, errno.ESTALE, errno.EMFILE])
def test_notes_that_are_not_read_are_not_damaged(home, monkeypatch, number):
    (home / "backbones").mkdir()
    (home / "backbones" / "timm_x.json").write_text("{}")
    (home / "fusion-weights.json").write_text("{}")
    from vidsim.search.tuned import read_tuned

    for name, read in {
        "timm_x.json": known_backbones,
        "fusion-weights.json": lambda home: read_tuned(home, {}),
        "counts/lib.json": read_notes,
    }.items():
        with monkeypatch.context() as patch:
            fail_at(patch, Path, "read_bytes", name, number)
            if read is read_notes:
                (home / "backbones" / "timm_x.json").unlink()
            with pytest.raises(StoreError) as caught:
                read(home)
        assert name in str(caught.value)
        assert all(words in str(caught.value) for words in KINDS[number])
        said_to_be_whole(str(caught.value))


FAILING = """
import os
from vidsim.ingest.exchange import h5_child

def refuse(path, *_):
    raise OSError({number}, os.strerror({number}), str(path))

h5_child.h5py.File = refuse
main = h5_child.main
"""
"""What reads exports in a child, where the system opens none."""


@pytest.mark.parametrize("number", [errno.EAGAIN, errno.EACCES, errno.EIO, errno.EMFILE])
def test_exports_that_are_not_read_are_not_damaged(home, tmp_path, monkeypatch, number):
    from vidsim.ingest.exchange import h5_reader
    from vidsim.ingest.exchange.importer import import_files
    from vidsim.search.bench.vectors import exported

    files = export(home, tmp_path / "export", [], QUIET)
    (tmp_path / "failing.py").write_text(FAILING.format(number=number))
    monkeypatch.syspath_prepend(str(tmp_path))
    limits = replace(h5_reader.LIMITS, worker="failing:main")
    monkeypatch.setattr(h5_reader, "LIMITS", limits)
    for read in (
        lambda: read_exports(tmp_path / "export", (), QUIET),
        lambda: import_files(files, Place(tmp_path / "other"), QUIET),
        lambda: exported(files[0], 1),
    ):
        with pytest.raises(StoreError) as caught:
            read()
        assert all(words in str(caught.value) for words in KINDS[number])
        assert not re.search(r"export (it )?again", str(caught.value))
        said_to_be_whole(str(caught.value))


def test_background_that_cannot_be_read_is_measured_again(home, caplog):
    refresh(home, "lib")
    note = home / "background" / "lib.json"
    note.write_text("{")
    with caplog.at_level(logging.WARNING, "vidsim"):
        query(CLIP, Place(home), QueryOptions(), QUIET)
    assert "measured again" in caplog.text
    assert json.loads(note.read_text())["content"]["moments"]


# --- homes that may only be read


@pytest.fixture
def locked_home(home):
    """A home that was copied by somebody else: no lock was ever made in it by this user."""
    (home / "writing.lock").unlink(missing_ok=True)
    shutil.rmtree(home / "background", ignore_errors=True)
    with read_only(home):
        yield home


def snapshot(folder: Path) -> dict[Path, tuple[int, int]]:
    return {p: (p.stat().st_size, p.stat().st_mtime_ns) for p in sorted(folder.rglob("*"))}


@pytest.mark.acceptance
@pytest.mark.parametrize("lock", [True, False])
@pytest.mark.parametrize(
    "words",
    [
        ["query", CLIP, "--json"],
        ["verify", "--json"],
        ["libraries"],
        ["libraries", "--videos"],
    ],
    ids=" ".join,
)
def test_a_home_that_may_only_be_read_is_read(home, words, lock):
    expected = vidsim(home, words)
    assert expected.returncode == 0, expected.stderr
    if not lock:
        (home / "milvus.db" / "LOCK").unlink()
        (home / "writing.lock").unlink(missing_ok=True)
    shutil.rmtree(home / "background", ignore_errors=True)
    before = snapshot(home)
    with read_only(home):
        done = vidsim(home, words)
    assert done.returncode == 0, done.stderr
    assert done.stdout == expected.stdout
    assert done.stderr == expected.stderr
    assert snapshot(home) == before


def test_an_export_of_a_home_that_may_only_be_read(locked_home, tmp_path):
    done = vidsim(locked_home, ["export", str(tmp_path / "out")])
    assert done.returncode == 0, done.stderr
    assert len(list((tmp_path / "out").glob("*.h5"))) == 3


@pytest.mark.parametrize(
    "words",
    [
        ["remove", "lib", "--yes"],
        ["reindex"],
        ["verify", "--repair"],
        ["ingest", "FOLDER", "-m", "color"],
    ],
    ids=" ".join,
)
def test_writing_to_a_home_that_may_only_be_read_is_one_sentence(locked_home, tmp_path, words):
    (tmp_path / "clips").mkdir()
    (tmp_path / "clips" / "a.mp4").write_bytes(b"clip")
    before = snapshot(locked_home)
    words = [str(tmp_path / "clips") if word == "FOLDER" else word for word in words]
    done = vidsim(locked_home, words)
    assert done.returncode == 1
    assert done.stderr.count("\n") == 1, done.stderr
    assert f"The home {locked_home} cannot be written" in done.stderr
    assert "chmod" in done.stderr
    said_to_be_whole(done.stderr.strip())
    assert snapshot(locked_home) == before


@pytest.mark.acceptance
def test_rows_that_are_not_sealed_are_read_too(home):
    """What was killed before it closed Milvus leaves its rows in a log."""
    leave_unsealed(home, "lib/3.mp4")
    assert list((home / "milvus.db").rglob("wal_data*"))
    with read_only(home):
        done = vidsim(home, ["verify", "--json"])
    (color,) = (c for c in json.loads(done.stdout)["comparisons"] if c["backbone"] == "labhist")
    assert (color["milvus"], color["extra"]) == (4, 1)


def test_a_home_that_is_being_written_is_read_by_who_may_only_read(home):
    with writing(home, "a test"), read_only(home):
        asked, verified = vidsim(home, ["query", CLIP]), vidsim(home, ["verify"])
    assert (asked.returncode, verified.returncode) == (0, 0), asked.stderr + verified.stderr
    assert "is still writing (a test)" in asked.stderr
    assert "is compared once it has ended" in verified.stderr


def test_files_that_may_not_be_read_name_the_permission(home):
    path = open_shards(home).files("lib")[0]
    path.chmod(0)
    done = vidsim(home, ["libraries"])
    path.chmod(0o644)
    assert done.returncode == 1
    assert f"The shard {path} may not be read" in done.stderr
    said_to_be_whole(done.stderr.strip())


@pytest.mark.parametrize(
    ("part", "words"), [("shards", ["query", CLIP]), ("milvus.db/collections", ["verify"])]
)
def test_folders_that_may_not_be_read_name_the_permission(home, part, words):
    mode = (home / part).stat().st_mode
    (home / part).chmod(0)
    done = vidsim(home, words)
    (home / part).chmod(mode)
    assert done.returncode == 1
    assert "may not" in done.stderr
    assert "chmod" in done.stderr
    said_to_be_whole(done.stderr.strip().splitlines()[-1])


def test_a_file_system_that_is_read_only(home, tmp_path):
    """As root, in a mount namespace of its own."""
    script = 'mount --bind "$1" "$1" && mount -o remount,bind,ro "$1" || exit 77; shift; exec "$@"'
    python = [sys.executable, "-c", "from vidsim.cli import main; main()"]

    def run(*words: str) -> subprocess.CompletedProcess[str]:
        done = subprocess.run(
            ["unshare", "-m", "sh", "-c", script, "sh", str(home), *python, *words],
            env=os.environ | {"VIDSIM_HOME": str(home)},
            capture_output=True,
            text=True,
            timeout=120,
        )
        if done.returncode == 77 or "unshare" in done.stderr:
            pytest.skip(f"no read-only mount can be made here: {done.stderr.strip()}")
        return done

    if shutil.which("unshare") is None:
        pytest.skip("unshare (util-linux) is not there")
    found = run("query", CLIP, "--json")
    assert found.returncode == 0, found.stderr
    assert len(json.loads(found.stdout)["results"]) == 2
    refused = run("remove", "lib", "--yes")
    assert refused.returncode == 1
    assert "file system is read-only" in refused.stderr
    said_to_be_whole(refused.stderr.strip())


def test_a_disk_that_is_full_says_so(place, monkeypatch):
    def full(*_, **__):
        raise OSError(errno.ENOSPC, os.strerror(errno.ENOSPC))

    monkeypatch.setattr(os, "replace", full)
    with pytest.raises(StoreError, match="free some space"):
        Shards(place.home / "shards").write(
            "lib", [embedded("lib/a.mp4")], dict.fromkeys(NAMES, "")
        )


def test_weights_that_may_not_be_read_are_not_damaged(tmp_path, monkeypatch):
    from vidsim.ingest.models import weights

    (tmp_path / "net").mkdir()
    (tmp_path / "net" / "a.bin").write_bytes(b"a")
    monkeypatch.setattr(weights, "_known", lambda *_: {"a.bin": "0" * 64})
    monkeypatch.setattr(weights, "folder_of", lambda _: tmp_path / "net")
    fail_at(monkeypatch, Path, "open", "a.bin", errno.EACCES)
    network = BACKBONES["i3d"]
    assert weights.status(network) == "unreadable"
    for ask in (weights.locate, weights.ensure):
        with pytest.raises(WeightsError, match=r"a\.bin may not be read.*chmod") as caught:
            ask(network)
        said_to_be_whole(str(caught.value))


def test_opening_names_the_file(tmp_path):
    with pytest.raises(VidsimError, match="The file x is not there any more"):
        open_h5(tmp_path / "none.h5", "The file x")


def test_checksums_that_may_not_be_read_are_not_missing_weights(tmp_path, monkeypatch):
    from vidsim.ingest.models import weights

    monkeypatch.setattr(weights, "folder_of", lambda _: tmp_path)
    fail_at(monkeypatch, Path, "read_text", weights.NOTE, errno.EIO)
    network = BACKBONES["resnet50"]
    assert weights.status(network) == "unreadable"
    with pytest.raises(WeightsError, match="input/output error") as caught:
        weights.locate(network)
    said_to_be_whole(str(caught.value))
