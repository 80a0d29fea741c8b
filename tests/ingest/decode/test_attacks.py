"""Files made to hurt: each ends in a sentence or in what it holds, and costs only itself."""

from __future__ import annotations

import os
import random
from collections.abc import Callable
from pathlib import Path

import pytest

from vidsim.ingest.decode.events import Event, Failed, Finished, Opened, SegmentMedia
from vidsim.ingest.decode.pool import DecodeLimits, decode_all
from vidsim.ingest.decode.scan import scan
from vidsim.ingest.decode.segments import MAX_PIXELS, DecodeRequest
from vidsim.ingest.system import worker_process
from vidsim.schemas.modality import FrameSampling

from ...helpers.hostile_media import Track, quicktime, transport_stream

MakeClip = Callable[..., Path]
FRAMES = {"x": FrameSampling(4, 8, "stretch")}


def ends(*paths: Path, limits: DecodeLimits | None = None) -> list[Finished | Failed]:
    """How each ends, all in one decoder as long as that lives."""
    found: dict[int, Event] = {}
    requests = [(n, DecodeRequest(str(path), FRAMES, True)) for n, path in enumerate(paths)]
    for number, event in decode_all(requests, 1, limits or DecodeLimits()):
        found[number] = event
    last = [found[n] for n in range(len(paths))]
    assert all(isinstance(event, (Finished, Failed)) for event in last)
    return last  # type: ignore[return-value]


def reason(end: Finished | Failed) -> str:
    assert isinstance(end, Failed)
    assert end.lasting, "its content is the cause"
    return end.reason


def test_a_file_of_plain_samples_is_read(tmp_path: Path) -> None:
    """The attacks below differ from it in one thing each."""
    (end,) = ends(quicktime(tmp_path / "plain.mov", [Track(samples=50)]))
    assert end == Finished(1)


def test_huge_pictures_in_a_tiny_file(tmp_path: Path) -> None:
    raw = quicktime(tmp_path / "raw.mov", [Track(samples=50, width=32_000, height=32_000)])
    head = b"\xff\xd8\xff\xc0\0\x11\x08\xff\xff\xff\xff\3\1\x22\0\2\x11\1\3\x11\1"
    jpeg = head + b"\xff\xda\0\x0c\3\1\0\2\x11\3\x11\0\x3f\0" + bytes(700)
    nested = quicktime(tmp_path / "jpeg.mov", [Track(b"jpeg", size=len(jpeg))], jpeg)
    plain = tmp_path / "still.mjpeg"
    plain.write_bytes(jpeg)
    for end in ends(raw, nested, plain):
        assert reason(end)


def test_thousands_of_streams(tmp_path: Path) -> None:
    too_many = quicktime(tmp_path / "many.mov", [Track()] * 3000)
    tables = transport_stream(tmp_path / "tables.ts", 40, 100)
    some = quicktime(tmp_path / "some.mov", [Track(samples=5)] * 300)
    first, second, third = ends(too_many, tables, some)
    assert reason(first) == "it has more than 1,000 streams"
    assert reason(second)
    assert third == Finished(1)


def test_ten_thousand_pictures_a_second(tmp_path: Path) -> None:
    (end,) = ends(quicktime(tmp_path / "fast.mov", [Track(samples=20_000, ticks=1, scale=10_000)]))
    assert end == Finished(1)


@pytest.mark.acceptance
def test_a_million_tiny_pictures_and_sounds(tmp_path: Path) -> None:
    """4 MB of places in which the same few bytes lie; 30 s of a core."""
    pictures = quicktime(tmp_path / "pictures.mov", [Track(samples=1_000_000, ticks=1)])
    (end,) = ends(pictures)
    assert end == Finished(100)


def test_pictures_that_lie_in_the_same_bytes_allow_no_time(tmp_path: Path) -> None:
    side, samples = 200, 400
    size = side * side * 3
    track = Track(samples=samples, width=side, height=side, size=size)
    shared = quicktime(tmp_path / "shared.mov", [track], bytes(size))
    found = scan(str(shared), MAX_PIXELS, lambda: None)
    assert found.packets == samples
    assert found.megapixels(0) < 2 * side * side / 1e6


def test_lengths_that_are_claimed(tmp_path: Path) -> None:
    days = quicktime(tmp_path / "days.mov", [Track(samples=50, ticks=3_000_000)])
    hours = quicktime(tmp_path / "hours.mov", [Track(samples=11, ticks=3_000_000)])
    first, second = ends(days, hours, limits=DecodeLimits(base_s=20.0))
    assert reason(first).startswith("too long: ")
    assert isinstance(second, Finished)


def test_indexes_that_point_anywhere(tmp_path: Path) -> None:
    beyond = quicktime(tmp_path / "beyond.mov", [Track(samples=50, at=1 << 31)])
    sizes = quicktime(tmp_path / "sizes.mov", [Track(samples=50, size=0x7FFFFFFF)])
    header = quicktime(tmp_path / "header.mov", [Track(samples=50, at=0)])
    first, second, third = ends(beyond, sizes, header)
    assert reason(first) == reason(second)
    assert third == Finished(1), "the bytes of the header, as pictures"


@pytest.mark.parametrize("kind", ["avi", "mp4", "mkv", "ts"])
def test_indexes_of_noise(make_clip: MakeClip, tmp_path: Path, kind: str) -> None:
    """Their index, and all else behind the first pictures, is overwritten here and there."""
    codec = {"codec": "mpeg4"} if kind != "mkv" else {}
    tone = {"tone": (440.0, 2.0, 16000, 1), "audio_codec": "aac" if kind != "avi" else "mp2"}
    clip = make_clip(f"clip.{kind}", times=[n / 25 for n in range(50)], **codec, **tone)
    whole = clip.read_bytes()
    paths = []
    for seed in range(12):
        chance, data = random.Random(seed), bytearray(whole)
        for _ in range(30):
            at = (
                chance.randrange(len(data) // 2, len(data))
                if seed % 2
                else chance.randrange(len(data))
            )
            data[at : at + 4] = chance.randbytes(4)
        paths.append(tmp_path / f"{seed}.{kind}")
        paths[-1].write_bytes(data[: len(whole)])
    assert len(ends(*paths, clip)) == 13
    assert isinstance(ends(clip)[0], Finished)


PLAYLISTS = {
    "m3u8": "#EXTM3U\n#EXT-X-TARGETDURATION:9\n#EXTINF:9,\n{path}\n#EXT-X-ENDLIST\n",
    "concat": "ffconcat version 1.0\nfile '{path}'\n",
    "sdp": "v=0\no=- 0 0 IN IP4 127.0.0.1\nc=IN IP4 127.0.0.1\nm=video 5004 RTP/AVP 96\n",
    "mpd": '<MPD xmlns="urn:mpeg:dash:schema:mpd:2011"><BaseURL>{path}</BaseURL></MPD>',
    "asx": '<asx version="3.0"><entry><ref href="{path}"/></entry></asx>',
    "smil": '<smil><body><video src="{path}"/></body></smil>',
    "pattern": "{path}",
}


@pytest.mark.parametrize("kind", sorted(PLAYLISTS))
@pytest.mark.parametrize("ending", ["mp4", "avi"])
def test_a_playlist_opens_no_other_file(
    make_clip: MakeClip, tmp_path: Path, kind: str, ending: str
) -> None:
    other = make_clip("other.mkv", times=[0, 0.2, 0.4])
    path = tmp_path / f"list.{ending}"
    path.write_text(PLAYLISTS[kind].format(path=other))
    (end,) = ends(path)
    assert reason(end) == "not a video: it is in no format that vidsim reads"


def test_data_that_are_said_to_lie_in_another_file_are_not_read_there(tmp_path: Path) -> None:
    white = tmp_path / "white"
    white.write_bytes(b"\xff" * 4096)
    for name in (str(white), f"file://{white}", "white", "../../../../etc/passwd"):
        path = quicktime(tmp_path / "link.mov", [Track(samples=50, elsewhere=name)])
        request = DecodeRequest(str(path), FRAMES, False)
        for _, event in decode_all([(0, request)], 1):
            if isinstance(event, SegmentMedia):
                assert event.frames["x"].max() < 255, "its own bytes, of up to 191"


NAMES = (
    "-rf.mov",
    "--help.mov",
    "two\nlines.mov",
    "..mov",
    "%03d.mov",
    "file:x.mov",
    "http:%2f%2fx.mov",
    "a|b.mov",
    "\u202egnp.mov",
    "concat:a.mov",
    "\udcff.mov",
)


def test_whatever_a_file_is_called_it_is_that_file(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    folder = tmp_path / "sub"
    folder.mkdir()
    for name in NAMES:
        quicktime(folder / name, [Track(samples=50)])
    paths = [folder / name for name in NAMES]
    paths += [folder / ".." / "sub" / NAMES[0], Path(f"{folder}//{NAMES[1]}")]
    assert ends(*paths) == [Finished(1)] * len(paths)
    monkeypatch.chdir(folder)
    assert ends(*map(Path, NAMES)) == [Finished(1)] * len(NAMES)


def test_what_is_no_file_or_may_not_be_read_is_told(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    good = quicktime(tmp_path / "good.mov", [Track(samples=50)])
    os.mkfifo(tmp_path / "pipe.mov")
    (tmp_path / "zero.mov").symlink_to("/dev/zero")
    (tmp_path / "self.mov").symlink_to(tmp_path / "self.mov")
    (tmp_path / "folder.mov").mkdir()
    odd = [tmp_path / f"{name}.mov" for name in ("pipe", "zero", "folder", "self", "gone")]
    *found, last = ends(*odd, good)
    assert [end.reason for end in found if isinstance(end, Failed)] == [
        *["not a file"] * 3,
        "the file cannot be read (Too many levels of symbolic links)",
        "the file is not there",
    ]
    assert not any(isinstance(end, Failed) and end.lasting for end in found)
    assert last == Finished(1)
    real = os.open

    def locked(path: str, *arguments: int, **more: int) -> int:
        if path == str(good):
            raise PermissionError(13, "Permission denied")
        return real(path, *arguments, **more)

    monkeypatch.setattr(worker_process.os, "open", locked)
    assert ends(good) == [Failed("the file may not be read (permission denied)")]


def test_a_file_that_is_cut_or_replaced_while_it_is_read_costs_itself(tmp_path: Path) -> None:
    tracks = [Track(samples=1500)]
    cut, other = quicktime(tmp_path / "a.mov", tracks), quicktime(tmp_path / "b.mov", tracks)
    gone, good = quicktime(tmp_path / "c.mov", tracks), quicktime(tmp_path / "d.mov", tracks)
    paths = [cut, other, gone, good]
    found: dict[int, Event] = {}
    requests = ((n, DecodeRequest(str(p), FRAMES, True, 1.0)) for n, p in enumerate(paths))
    for number, event in decode_all(requests, 1):
        if isinstance(event, Opened) and number == 0:
            os.truncate(cut, 100)
        if isinstance(event, Opened) and number == 1:
            (tmp_path / "new").write_bytes(b"something else" * 1000)
            (tmp_path / "new").replace(other)
        if isinstance(event, Opened) and number == 2:
            gone.unlink()
        found[number] = event
    assert isinstance(found[0], (Finished, Failed))
    # Whoever has it open reads it to its end, as it was.
    assert [found[1], found[2], found[3]] == [Finished(60)] * 3
