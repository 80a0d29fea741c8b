"""What is said to play does so in a browser, and a clip of everything plays."""

from __future__ import annotations

from collections.abc import Iterator
from pathlib import Path
from typing import Any
from urllib.parse import quote

import pytest

from ....helpers.browser import Visit
from ....helpers.clips import write_clip
from ....helpers.seen_home import home_of_files
from ....helpers.web import Server

pytestmark = pytest.mark.acceptance

SECONDS = 3
PICTURE: dict[str, Any] = {"times": [n / 25 for n in range(25 * SECONDS)]}
TONE: dict[str, Any] = {"tone": (440, SECONDS, 48_000, 2)}
H264, AAC = PICTURE | {"codec": "libx264"}, TONE | {"audio_codec": "aac"}
FILES: dict[str, dict[str, Any]] = {
    "a.mp4": H264 | AAC,
    "a.mov": H264 | AAC,
    "mp3.mp4": H264 | TONE | {"audio_codec": "libmp3lame"},
    "a.webm": PICTURE | {"codec": "libvpx"},
    "vp9.webm": PICTURE | TONE | {"codec": "libvpx-vp9", "audio_codec": "libopus"},
    "a.ogg": TONE | {"audio_codec": "libopus"},
    "a.mp3": TONE | {"audio_codec": "libmp3lame"},
    "a.wav": TONE,
    "a.flac": TONE | {"audio_codec": "flac"},
    "a.m4a": AAC,
    "a.avi": PICTURE | TONE | {"codec": "mpeg4", "audio_codec": "mp2"},
    "a.ac3": TONE | {"audio_codec": "ac3"},
}

_PLAY = """
address => new Promise(resolve => {
  const video = document.createElement('video')
  video.muted = true
  video.onerror = () => resolve(video.error.message)
  video.oncanplay = () => {
    video.oncanplay = null
    video.onseeked = () => resolve([video.duration, video.currentTime, video.videoWidth])
    video.currentTime = 1
  }
  video.src = address
  document.body.append(video)
})
"""


@pytest.fixture(scope="module")
def address(tmp_path_factory: pytest.TempPathFactory) -> Iterator[str]:
    folder = tmp_path_factory.mktemp("played")
    (folder / "lib").mkdir()
    files: list[Path] = [write_clip(folder / "lib" / name, **of) for name, of in FILES.items()]
    with Server(home_of_files(folder / "home", folder / "lib", files)) as server:
        yield server.url


def test_what_is_said_to_play_does_and_a_clip_of_everything(address: str, visit: Visit) -> None:
    page = visit(address, refused=True)
    for name, content in FILES.items():
        video = f"{address}/v1/videos/{quote(f'lib/{name}', safe='')}"
        plays = page.evaluate("async a => (await (await fetch(a)).json()).plays", video)
        assert plays == (name not in ("a.avi", "a.ac3")), name
        wide = 64 if "times" in content else 0
        if plays:
            duration_s, now_s, width = page.evaluate(_PLAY, f"{video}/media")
            assert (duration_s, now_s) == (pytest.approx(SECONDS, abs=0.05), 1), name
            assert width == wide, name
        clip = page.evaluate(_PLAY, f"{video}/clip?start_s=0.5&end_s=2.5")
        assert clip == [pytest.approx(2, abs=0.02), 1, wide], name
