"""'vidsim status' on the command line."""

from __future__ import annotations

from pathlib import Path

import pytest
from filelock import FileLock

from vidsim.schemas.status import Status

from .helpers.command_line import Here, home_of_shades


@pytest.fixture(scope="module")
def shared(tmp_path_factory: pytest.TempPathFactory) -> tuple[Path, Path]:
    return home_of_shades(tmp_path_factory.mktemp("shared"))


@pytest.fixture
def clips(shared: tuple[Path, Path]) -> Path:
    return shared[0]


@pytest.fixture
def home(shared: tuple[Path, Path]) -> Path:
    return shared[1]


def test_it_tells_of_all_there_is(vidsim_here: Here, home: Path, clips: Path) -> None:
    done = vidsim_here(home, "status", VIDSIM_CACHE=str(home / "cache"))
    assert done.returncode == 0
    lines = done.stdout.splitlines()
    assert lines[0].startswith(f"home      {home} (")
    assert lines[1].startswith(f"cache     {home / 'cache'} (0 B, ")
    assert lines[2] == "weights   none"
    assert "lock      free" in lines
    assert "Milvus    embedded" in lines
    assert lines[-2].split() == ["library", "videos", "hours", "files", "from"]
    assert lines[-1].split() == ["clips", "3", "0.00", "all", "there", str(clips)]
    assert done.stderr == ""


def test_its_json_is_read_by_its_model(vidsim_here: Here, home: Path) -> None:
    done = vidsim_here(home, "status", "--json")
    found = Status.model_validate_json(done.stdout)
    assert (found.libraries[0].library, found.libraries[0].root_state) == ("clips", "here")
    assert {"vidsim", "Python", "torch", "TensorFlow", "Milvus Lite"} <= found.versions.keys()


def test_a_folder_that_is_gone_is_told(vidsim_here: Here, home: Path, clips: Path) -> None:
    (clips / "a.mkv").rename(clips.parent / "a.mkv")
    try:
        done = vidsim_here(home, "status")
        assert "1 of 3 looked for are missing" in done.stdout
        assert f"'vidsim ingest {clips}' names them" in done.stderr
    finally:
        (clips.parent / "a.mkv").rename(clips / "a.mkv")
    clips.rename(clips.parent / "away")
    try:
        done = vidsim_here(home, "status")
        assert "folder missing" in done.stdout
        assert f"The files of clips are not in {clips}; see that its disk is there." in done.stderr
        assert done.returncode == 0
    finally:
        (clips.parent / "away").rename(clips)


def test_it_waits_for_nobody(vidsim_here: Here, home: Path) -> None:
    with FileLock(home / "writing.lock"):
        done = vidsim_here(home, "status")
    assert (done.returncode, "lock      process 0 (unknown) has been" in done.stdout) == (0, True)


def test_a_server_that_does_not_answer_is_told(vidsim_here: Here, home: Path) -> None:
    done = vidsim_here(home, "status", VIDSIM_URI="http://127.0.0.1:9")
    assert "Milvus    http://127.0.0.1:9 (does not answer)" in done.stdout
    assert "Nothing answers at http://127.0.0.1:9; start that server, or unset" in done.stderr


def test_an_empty_home_says_what_to_do(vidsim_here: Here, tmp_path: Path) -> None:
    done = vidsim_here(tmp_path / "none", "status")
    assert done.returncode == 0
    assert done.stderr == "Nothing is stored yet; run 'vidsim ingest FOLDER'.\n"
    assert not (tmp_path / "none").exists()
