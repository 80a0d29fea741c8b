"""Explanations: the same figures as a query's, of stored videos and of files, and their page."""

from __future__ import annotations

from pathlib import Path

import numpy as np
import pytest

from vidsim import Explanation, Library, LibraryError, MediaError
from vidsim.ingest.shards.home import Place

from ..helpers.clips import MakeClip, write_clip
from ..helpers.embedded_videos import embedded, store

ALL = ("labhist", "efficientnet_lite0", "yamnet", "i3d")
COLOR = {"modalities": "color", "device": "cpu"}


@pytest.fixture
def library(tmp_path: Path) -> Library:
    videos = [
        embedded("lib/a", backbones=ALL, segments=3),
        embedded("lib/b", backbones=ALL, segments=2, seed=1, fingerprint="f1"),
        embedded("lib/silent", backbones=ALL, seed=2, fingerprint="f2", silent=True),
    ]
    store(Place(tmp_path / "home"), *videos)
    return Library.open(tmp_path / "home")


def test_the_figures_are_those_of_a_query(library: Library) -> None:
    found = library.explain("lib/a", "lib/b")
    by_query = {r.video_id: r for r in library.query("lib/a").results}["lib/b"]
    assert found.likeness == pytest.approx(by_query.likeness, abs=1e-6)
    assert found.word == by_query.word
    assert found.moments == by_query.moments
    assert {m: of.likeness for m, of in found.modalities.items()} == pytest.approx(
        {m: of.likeness for m, of in by_query.modalities.items()}, abs=1e-6
    )
    assert found.first.path == "/videos/lib/a"
    assert Explanation.model_validate_json(found.model_dump_json()).likeness == found.likeness


def test_a_video_is_the_same_footage_as_itself_all_along(library: Library) -> None:
    found = library.explain("lib/a", "lib/a")
    assert found.word == "same footage"
    other = library.explain("lib/a", "lib/b")
    least = min(point.likeness for point in found.over_time)  # between rows, which are random
    assert least > max(point.likeness for point in other.over_time)
    assert max(point.likeness for point in found.over_time) > 0.9
    times = [point.first_s for point in found.over_time]
    assert times == sorted(times)
    assert 0 <= times[0] < 1
    assert 29 < times[-1] <= 30
    assert found.first.strip == found.second.strip
    assert found.first.strip.startswith(b"\x89PNG")
    assert "strip" not in found.model_dump(mode="json")["first"]


def test_what_one_of_the_two_lacks_does_not_count(library: Library) -> None:
    found = library.explain("lib/a", "lib/silent")
    assert found.missing_modalities == ["audio"]
    assert set(found.modalities) == {"color", "frame", "motion"}
    with pytest.raises(MediaError, match="nothing in common"):
        library.explain("lib/a", "lib/silent", modalities="audio")


def test_what_does_not_exist_is_told(library: Library) -> None:
    with pytest.raises(LibraryError, match=r"lib/c is neither a file nor the id"):
        library.explain("lib/a", "lib/c")


@pytest.mark.acceptance
def test_two_files_without_any_library(tmp_path: Path, make_clip: MakeClip) -> None:
    random = np.random.default_rng(0)
    pictures = [random.integers(0, 256, (2, 3, 3), np.uint8).repeat(24, 0).repeat(24, 1)]
    how = {"times": [n / 25 for n in range(100)], "images": pictures, "tone": (440, 4, 16000, 1)}
    first = make_clip("first.mkv", **how)
    second = write_clip(tmp_path / "second.mp4", **how, codec="libx264", audio_codec="aac")
    with Library.open(tmp_path / "home") as library:
        found = library.explain(first, second, **COLOR)
        page = library.write_html(found, tmp_path / "page.html").read_text()
    assert found.likeness > 0.7, "by colour alone there is no more"
    assert found.first.strip
    assert page.count('src="data:image/jpeg') == 12, "six frames of each"
    assert page.count('src="data:image/png') == 4, "two strips, two spectrograms"
    assert "<svg" in page
    assert "http" not in page.replace("http-equiv", "")


def test_the_page_of_videos_whose_files_are_gone(library: Library, tmp_path: Path) -> None:
    found = library.explain("lib/a", "lib/b")
    page = library.write_html(found, tmp_path / "page.html").read_text()
    assert "No picture: its file is gone" in page
    assert "Spectrogram" not in page
    assert page.count('src="data:image/png') == 2
