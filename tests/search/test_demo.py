"""The demo's clips."""

from __future__ import annotations

from pathlib import Path

import pytest

from vidsim.schemas.errors import LibraryError
from vidsim.search import demo
from vidsim.search.library import Library


def test_its_clips_are_files_of_its_folder_also_where_links_were(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    samples = [tmp_path / "cache" / name for name in ("one.mp4", "two.mp4")]
    samples[0].parent.mkdir()
    for sample in samples:
        sample.write_bytes(sample.name.encode())
    clips = tmp_path / "home" / "demo" / "demo"
    clips.mkdir(parents=True)
    (clips / "one.mp4").symlink_to(samples[0])  # as earlier versions left it

    def stop(*_: object, **__: object) -> None:
        raise LibraryError("The clips are there.")

    monkeypatch.setattr(demo, "ensure_sample_clips", lambda _: samples)
    monkeypatch.setattr(Library, "ingest", stop)
    with Library.open(tmp_path / "home") as library, pytest.raises(LibraryError):
        demo.run(library, lambda _: None)
    for sample in samples:
        assert not (clips / sample.name).is_symlink()
        assert (clips / sample.name).read_bytes() == sample.read_bytes()
