"""Files are there whole or not at all, whatever happens while they are written."""

from __future__ import annotations

import pytest

from vidsim.ingest.system.atomic_file import whole_file


@pytest.mark.parametrize("sync", [False, True])
def test_a_file_appears_when_it_is_complete(tmp_path, sync):
    path = tmp_path / "a.b.txt"
    path.write_text("old")
    with whole_file(path, sync) as partial:
        partial.write_text("new")
        assert path.read_text() == "old"
        assert not partial.match("*.txt")  # nobody takes it for the file
    assert path.read_text() == "new"
    assert list(tmp_path.iterdir()) == [path]


@pytest.mark.parametrize("error", [OSError(28, "No space left on device"), KeyboardInterrupt()])
def test_a_failure_leaves_what_was_there(tmp_path, error):
    path = tmp_path / "a.txt"
    path.write_text("old")

    def write() -> None:
        with whole_file(path) as partial:
            partial.write_text("half")
            raise error

    with pytest.raises(type(error)):
        write()
    assert path.read_text() == "old"
    assert list(tmp_path.iterdir()) == [path]


def test_a_file_that_cannot_be_synced_does_not_appear(tmp_path, monkeypatch):
    synced = []

    def full(handle: int) -> None:
        synced.append(handle)
        raise OSError(28, "No space left on device")

    monkeypatch.setattr("os.fsync", full)
    with pytest.raises(OSError, match="No space left"), whole_file(tmp_path / "a", True) as partial:
        partial.write_text("new")
    assert len(synced) == 1
    assert list(tmp_path.iterdir()) == []
    with whole_file(tmp_path / "a") as partial:  # unless asked, nobody waits for the disk
        partial.write_text("new")
    assert len(synced) == 1
