"""Folders that may be ingested: below the roots, by ids, whatever their names."""

from __future__ import annotations

import os
from pathlib import Path

import pytest

from vidsim.schemas.errors import LibraryError
from vidsim.search.server.jobs.folders import Folder, FolderList, Folders


@pytest.fixture
def root(tmp_path: Path) -> Path:
    """A root with folders, and beside it what nobody is to see."""
    for name in ("root/b/deep", "root/A", "root/.hidden", "root/@eaDir", "secret/inside"):
        (tmp_path / name).mkdir(parents=True)
    for name in ("root/b/1.mp4", "root/b/deep/2.mkv", "root/b/notes.txt", "root/b/.3.mp4"):
        (tmp_path / name).touch()
    return tmp_path / "root"


@pytest.fixture
def folders(root: Path, tmp_path: Path) -> Folders:
    return Folders(tmp_path / "home", [root])


def inside(folders: Folders, *names: str) -> FolderList:
    """What is listed after going through folders, from the only root on."""
    found = folders.listed()
    for name in ("", *names):
        found = folders.listed(next(f.folder for f in found.folders if name in ("", f.name)))
    return found


def names(found: FolderList) -> list[str]:
    return [each.name for each in found.folders]


def test_folders_are_listed_from_the_roots_on(folders: Folders, root: Path) -> None:
    (top,) = folders.listed().folders
    assert (top.name, top.path, top.parent, top.videos) == ("root", str(root), None, 2)
    found = inside(folders)
    assert names(found) == ["A", "b"]
    assert [each.videos for each in found.folders] == [0, 2]
    assert {each.parent for each in found.folders} == {top.folder}
    assert found.folder
    assert found.folder.folder == top.folder
    assert names(inside(folders, "b")) == ["deep"]


def test_an_id_stands_for_a_folder(folders: Folders, root: Path) -> None:
    a, b = inside(folders).folders
    assert folders.choose(b.folder) == (root / "b", None)
    assert folders.choose(a.folder) == (root / "A", None)
    (root / "A").rmdir()
    with pytest.raises(LibraryError, match="is gone"):
        folders.choose(a.folder)


@pytest.mark.parametrize(
    "told", ["", "/etc", "../secret", "root/b", "a" * 20, "b/../../secret", "\0", "%2e%2e"]
)
def test_what_is_no_id_is_refused(folders: Folders, told: str) -> None:
    inside(folders, "b")
    for ask in (folders.listed, folders.choose):
        with pytest.raises(LibraryError, match="not known any more"):
            ask(told)


def test_ids_of_another_server_say_nothing(root: Path, tmp_path: Path) -> None:
    one, other = (Folders(tmp_path / "home", [root]) for _ in range(2))
    assert one.listed().folders[0].folder != other.listed().folders[0].folder


def test_a_link_out_of_the_root_is_not_listed_and_one_within_it_is(
    folders: Folders, root: Path, tmp_path: Path
) -> None:
    (root / "out").symlink_to(tmp_path / "secret")
    (root / "up").symlink_to(tmp_path)
    (root / "round").symlink_to(root)
    (root / "nowhere").symlink_to(root / "gone")
    (root / "A" / "link").symlink_to(root / "b" / "deep")
    assert names(inside(folders)) == ["A", "b"]
    assert names(inside(folders, "A")) == ["deep"]


def test_a_folder_that_becomes_a_link_is_not_followed(
    folders: Folders, root: Path, tmp_path: Path
) -> None:
    a = inside(folders).folders[0]
    (root / "A").rmdir()
    (root / "A").symlink_to(tmp_path / "secret")
    for ask in (folders.listed, folders.choose):
        with pytest.raises(LibraryError, match="is gone"):
            ask(a.folder)


def test_a_path_is_allowed_by_what_it_leads_to(
    folders: Folders, root: Path, tmp_path: Path
) -> None:
    (root / "out").symlink_to(tmp_path / "secret")
    (root / "in").symlink_to(root / "b")
    allowed = {name: folders.allows(root / name) for name in ("b", "in", "out", "../secret", "no")}
    assert allowed == {"b": True, "in": True, "out": False, "../secret": False, "no": False}
    (tmp_path / "to_root").symlink_to(root)
    assert folders.allows(tmp_path / "to_root" / "A")


def test_hostile_names_are_listed_as_they_are_or_not_at_all(folders: Folders, root: Path) -> None:
    hostile = ["<script>alert(1)<script>", "a\nb", "'; DROP TABLE", "-rf", "\u202egnp.exe", "%00"]
    for name in hostile:
        (root / name).mkdir()
    os.mkdir(os.fsencode(root) + b"/\xff\xfe")
    found = inside(folders)
    assert {*names(found)} == {"A", "b", *hostile}
    assert FolderList.model_validate_json(found.model_dump_json()) == found
    for each in found.folders:
        assert folders.choose(each.folder)[0] == root / each.name


def test_the_home_is_not_offered(root: Path) -> None:
    home = root / "home"
    (home / "server" / "uploads").mkdir(parents=True)
    assert names(inside(Folders(home, [root]))) == ["A", "b"]


def test_known_libraries_are_roots(colors: Path) -> None:
    folders = Folders(colors / "home")
    (found,) = folders.listed().folders
    assert found == Folder(
        folder=found.folder,
        name="lib",
        path=str(colors / "lib"),
        parent=None,
        library="lib",
        videos=3,
    )
    assert folders.choose(found.folder) == (colors / "lib", "lib")
    assert folders.of_library("lib") == colors / "lib"
    with pytest.raises(LibraryError, match="no library that has a folder"):
        folders.of_library("../lib")


def test_counting_ends_where_it_would_take_long(
    folders: Folders, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr("vidsim.search.server.jobs.folders._MOST_COUNTED", 3)
    assert [each.videos for each in inside(folders).folders] == [0, None]
