"""Folders as they are: what is media, what is passed over, and what cannot be listed."""

from __future__ import annotations

import errno
import os
import shutil
import socket
from collections.abc import Iterator
from pathlib import Path

import av
import pytest

from vidsim.ingest.decode.container import open_local
from vidsim.ingest.discover import listing
from vidsim.ingest.discover.listing import describe_passed_over, list_folder
from vidsim.ingest.discover.media_types import SNIFFED_BYTES, is_media, is_text
from vidsim.ingest.discover.videos import describe, find_media
from vidsim.schemas.errors import LibraryError, MediaError


def fill(folder: Path, *names: str) -> Path:
    for name in names:
        path = folder / name
        path.parent.mkdir(parents=True, exist_ok=True)
        path.write_text(f"content of {name}")
    return folder


def names(folder: Path) -> list[str]:
    return [path.relative_to(folder).as_posix() for path in list_folder(folder).files]


def passed_over(folder: Path) -> dict[str, list[str]]:
    found = list_folder(folder).passed_over
    return {k: [p.relative_to(folder).as_posix() for p in paths] for k, paths in found.items()}


# --- what is no regular file


@pytest.fixture
def bound(tmp_path, monkeypatch) -> Iterator[Path]:
    """A socket in the folder, by a path that is short enough for one."""
    fill(tmp_path, "a.mp4")
    monkeypatch.chdir(tmp_path)
    with socket.socket(socket.AF_UNIX) as server:
        server.bind("talk.mp4")
        yield tmp_path


def test_what_is_no_file_is_passed_over_and_never_opened(bound, monkeypatch):
    os.mkfifo(bound / "live.ts")
    os.mkfifo(bound / "live")
    (bound / "endless.mp4").symlink_to("/dev/zero")
    (bound / "pipe.mkv").symlink_to(bound / "live.ts")
    assert names(bound) == ["a.mp4"]
    assert passed_over(bound) == {
        "sockets": ["talk.mp4"],
        "pipes": ["live", "live.ts", "pipe.mkv"],
        "devices": ["endless.mp4"],
    }
    told = describe_passed_over(list_folder(bound).passed_over)
    assert told == "1 socket, 3 named pipes, 1 device"


@pytest.mark.parametrize("kind", ["pipe", "device"])
def test_a_path_that_is_no_file_is_said_to_be_none(tmp_path, kind):
    path = tmp_path / "live.ts"
    os.mkfifo(path) if kind == "pipe" else path.symlink_to("/dev/zero")
    with pytest.raises(MediaError, match=f"^It is a (named )?{kind}, no file\\.$"):
        describe(path, tmp_path, "lib")
    with pytest.raises(LibraryError, match=f"is a (named )?{kind}; give a folder of videos"):
        find_media(path)


def test_a_file_that_becomes_a_pipe_while_it_is_looked_at_is_not_waited_for(tmp_path, monkeypatch):
    path = tmp_path / "a.mp4"
    os.mkfifo(path)
    was = fill(tmp_path, "was.mp4") / "was.mp4"
    plain = Path.stat
    monkeypatch.setattr(
        Path, "stat", lambda self, **how: plain(was if self == path else self, **how)
    )
    with pytest.raises(MediaError, match="It is a named pipe"):
        describe(path, tmp_path, "lib")


def test_a_file_that_grows_is_hashed_up_to_the_size_it_had(tmp_path):
    path = fill(tmp_path, "a.mp4") / "a.mp4"
    before = describe(path, tmp_path, "lib")
    assert before.fingerprint == describe(path, tmp_path, "lib").fingerprint
    with path.open("a") as file:
        file.write("more")
    assert describe(path, tmp_path, "lib").fingerprint != before.fingerprint


# --- system folders, hidden files, endings


@pytest.mark.parametrize(
    "folder",
    [
        *("@eaDir", "#recycle", "#snapshot", "$RECYCLE.BIN", "$Recycle.Bin", "@Recycle"),
        *("System Volume Information", "lost+found", "__MACOSX", ".Trash-1000", ".Trashes"),
        *(".Spotlight-V100", ".snapshot", ".zfs", "FOUND.000"),
    ],
)
def test_system_folders_are_passed_over_at_any_depth(tmp_path, folder):
    fill(tmp_path, "a.mp4", f"{folder}/b.mp4", f"snow/{folder}/deep/c.mp4")
    assert names(tmp_path) == ["a.mp4"]
    assert passed_over(tmp_path) == {"system_folders": [folder, f"snow/{folder}"]}


def test_hidden_files_and_folders_are_passed_over_and_told(tmp_path):
    fill(tmp_path, "a.mp4", "._a.mp4", ".draft.mkv", ".git/x.mp4", ".cache/y.mp4")
    assert names(tmp_path) == ["a.mp4"]
    assert passed_over(tmp_path) == {
        "hidden_files": ["._a.mp4", ".draft.mkv"],
        "hidden_folders": [".cache", ".git"],
    }


def test_a_folder_that_is_named_itself_may_be_hidden(tmp_path):
    fill(tmp_path, ".secret/a.mp4", "@eaDir/b.mp4")
    assert names(tmp_path / ".secret") == ["a.mp4"]
    assert names(tmp_path / "@eaDir") == ["b.mp4"]


@pytest.mark.parametrize(
    "ending",
    [
        *("m2t", "m2ts", "mts", "qt", "f4v", "3gpp", "insv", "lrv", "h264", "h265", "mka", "m4b"),
        *("dv", "mpv", "vob", "divx", "ogm", "rmvb", "amv", "y4m", "MP4"),
    ],
)
def test_endings_of_media_are_tried_whatever_is_in_them(tmp_path, ending):
    (tmp_path / f"a.{ending}").write_bytes(b"\x01damaged")
    assert names(tmp_path) == [f"a.{ending}"]


@pytest.mark.parametrize("ending", ["ts", "mts"])
def test_typescript_is_no_media_and_a_damaged_stream_is(tmp_path, ending):
    (tmp_path / f"app.{ending}").write_text('export const é = "名";\n' * 500)
    (tmp_path / f"damaged.{ending}").write_bytes(b"\x00\x01\x02" * 100)
    assert names(tmp_path) == [f"damaged.{ending}"]
    assert passed_over(tmp_path) == {"no_media": [f"app.{ending}"]}


# Of each container one that PyAV can write here, with a codec it takes.
WRITTEN = {
    "mp4": ("mpeg4", "aac"),
    "mov": ("mpeg4", "aac"),
    "3gp": ("mpeg4", "aac"),
    "matroska": ("ffv1", "pcm_s16le"),
    "webm": ("vp8", None),
    "avi": ("mpeg4", "mp2"),
    "mpegts": ("mpeg2video", "mp2"),
    "mpeg": ("mpeg2video", "mp2"),
    "mpeg2video": ("mpeg2video", None),
    "flv": ("flv", None),
    "asf": ("mpeg4", "mp2"),
    "ogg": (None, "flac"),
    "gif": ("gif", None),
    "mxf": ("mpeg2video", None),
    "nut": ("mpeg4", None),
    "ivf": ("vp8", None),
    "yuv4mpegpipe": ("wrapped_avframe", None),
    "rm": ("rv10", None),
    "wav": (None, "pcm_s16le"),
    "w64": (None, "pcm_s16le"),
    "caf": (None, "pcm_s16le"),
    "aiff": (None, "pcm_s16be"),
    "au": (None, "pcm_s16be"),
    "flac": (None, "flac"),
    "wv": (None, "wavpack"),
    "adts": (None, "aac"),
    "mp2": (None, "mp2"),
    "mp3": (None, "libmp3lame"),
    "h264": ("libx264", None),
    "hevc": ("libx265", None),
}


@pytest.mark.parametrize("container", WRITTEN)
def test_media_of_an_unknown_ending_is_known_by_its_content(tmp_path, container):
    path = tmp_path / "media.unknown"
    picture, sound = WRITTEN[container]
    try:
        write(path, container, picture, sound)
    except (av.FFmpegError, ValueError) as error:
        pytest.skip(f"this PyAV cannot write it: {error}")
    shutil.copy(path, tmp_path / "no ending")
    assert names(tmp_path) == ["media.unknown", "no ending"]
    open_local(str(path)).close()  # and the decoder reads it, too


def write(path: Path, container: str, picture: str | None, sound: str | None) -> None:
    import numpy as np

    with av.open(str(path), "w", format=container) as out:
        if picture:
            video = out.add_stream(picture, rate=25)
            video.width, video.height = 176, 144
            video.pix_fmt = {"gif": "rgb8", "ffv1": "yuv420p"}.get(picture, "yuv420p")
        if sound:
            audio = out.add_stream(sound, rate=48_000)
            audio.layout = "stereo"
        for n in range(25) if picture else ():
            pixels = np.full((144, 176, 3), 8 * n, np.uint8)
            frame = av.VideoFrame.from_ndarray(pixels, "rgb24")
            frame = frame.reformat(format=video.pix_fmt)
            frame.pts = n
            out.mux(video.encode(frame))
        for n in range(40) if sound else ():
            samples = np.zeros((1, 2 * 1152), np.int16)
            frame = av.AudioFrame.from_ndarray(samples, "s16", "stereo")
            frame.sample_rate, frame.pts = 48_000, 1152 * n
            out.mux(audio.encode(frame))
        for stream in out.streams:
            out.mux(stream.encode(None))


@pytest.mark.parametrize("size", [188, 192, 204])
@pytest.mark.parametrize("first", [0, 4, 100])
def test_a_transport_stream_is_known_by_its_packets(size, first):
    packet = b"\x47" + bytes(size - 1)
    assert is_media(bytes(first) + packet * 6)
    assert not is_media(bytes(first) + packet * 3 + bytes(size * 3))


@pytest.mark.parametrize(
    "frame",
    [
        b"\xff\xfb\x90\x00" + bytes(413),  # MPEG 1, layer 3, 128 kbit/s, 44.1 kHz: 417 bytes
        b"\xff\xe3\x18\xc4" + bytes(68),  # MPEG 2.5, layer 3, 8 kbit/s, 8 kHz: 72 bytes
        b"\xff\xf1\x50\x80\x02\x00\x00" + bytes(9),  # ADTS of 16 bytes
    ],
)
def test_sound_without_a_container_is_known_by_its_frames(frame):
    assert is_media(frame * 4)
    assert is_media(frame)
    assert not is_media(frame + bytes(500))


@pytest.mark.parametrize(
    ("what", "head"),
    [
        ("empty", b""),
        ("text", b"a recipe\n" * 50),
        ("zeros", bytes(SNIFFED_BYTES)),
        ("all bits set", b"\xff" * SNIFFED_BYTES),
        ("JPEG", b"\xff\xd8\xff\xe0\x00\x10JFIF" + bytes(500)),
        ("PNG", b"\x89PNG\r\n\x1a\n" + bytes(500)),
        ("WebP", b"RIFF\x00\x01\x00\x00WEBPVP8 " + bytes(500)),
        ("HEIC", b"\x00\x00\x00\x18ftypheic" + bytes(500)),
        ("AVIF", b"\x00\x00\x00\x18ftypavif" + bytes(500)),
        ("ZIP", b"PK\x03\x04" + bytes(500)),
        ("ELF", b"\x7fELF\x02\x01\x01" + bytes(500)),
        ("HDF5", b"\x89HDF\r\n\x1a\n" + bytes(500)),
        ("SQLite", b"SQLite format 3\x00" + bytes(500)),
        ("UTF-16", "text".encode("utf-16") * 100),
    ],
)
def test_other_content_is_no_media(tmp_path, what, head):
    assert not is_media(head)
    fill(tmp_path, "a.mp4")
    (tmp_path / "what is this").write_bytes(head)
    assert passed_over(tmp_path) == {"no_media": ["what is this"]}


def test_random_bytes_are_no_media():
    import random

    draw = random.Random(0)
    assert sum(is_media(draw.randbytes(SNIFFED_BYTES)) for _ in range(300)) == 0


def test_pictures_and_texts_are_not_even_opened(tmp_path, monkeypatch):
    fill(tmp_path, "a.mp4", "a.jpg", "a.srt", "Thumbs.db", "desktop.ini", "film.mkv.part")
    monkeypatch.setattr(listing, "open_regular", lambda path: pytest.fail(f"{path} was opened"))
    assert names(tmp_path) == ["a.mp4"]
    assert describe_passed_over(list_folder(tmp_path).passed_over) == "5 files that are no media"


def test_text_that_is_cut_in_a_character_is_text():
    assert is_text("é".encode() * 10 + "名".encode()[:2])
    assert not is_text(b"\xff\xfe" + b"a" * 10)


# --- links


def test_folders_behind_links_are_listed_under_the_link(tmp_path):
    fill(tmp_path / "far", "Snow/a.mp4", "Snow/deep/b.mp4")
    lib = fill(tmp_path / "lib", "c.mp4")
    (lib / "snow").symlink_to(tmp_path / "far" / "Snow")
    assert names(lib) == ["c.mp4", "snow/a.mp4", "snow/deep/b.mp4"]
    video = describe(lib / "snow" / "a.mp4", lib, "lib")
    assert (video.video_id, video.label) == ("lib/snow/a.mp4", "snow")
    assert video.path == str(lib / "snow" / "a.mp4")


def test_what_several_paths_lead_to_is_listed_once_and_by_its_own_first(tmp_path):
    far = fill(tmp_path / "far", "x.mp4")
    lib = fill(tmp_path / "lib", "snow/b.mp4")
    (lib / "a link to snow").symlink_to(lib / "snow")
    (lib / "far 1").symlink_to(far)
    (lib / "far 2").symlink_to(far)
    assert names(lib) == ["far 1/x.mp4", "snow/b.mp4"]
    assert passed_over(lib) == {"known_folders": ["a link to snow", "far 2"]}


def test_links_in_a_circle_end(tmp_path):
    lib = fill(tmp_path / "lib", "snow/a.mp4")
    fill(tmp_path, "beside.mp4")
    far = fill(tmp_path / "far", "b.mp4")
    (lib / "snow" / "up").symlink_to(lib)
    (lib / "snow" / "above").symlink_to(tmp_path)  # it holds the library: all of it would come
    (lib / "far").symlink_to(far)
    (far / "back").symlink_to(lib)
    (far / "self").symlink_to(far / "self")
    assert names(lib) == ["far/b.mp4", "snow/a.mp4"]
    assert passed_over(lib) == {
        "known_folders": ["far/back", "snow/up"],
        "looping_links": ["snow/above"],
        "broken_links": ["far/self"],
    }


# --- what cannot be listed


@pytest.fixture
def broken(monkeypatch):
    """Lets the system fail to list a folder: at once, or after its first entry."""

    class BreaksOff:
        def __init__(self, found, error):
            self.found, self.error = found, error

        def __enter__(self):
            return self

        def __exit__(self, *_):
            self.found.close()

        def __iter__(self):
            yield next(self.found)
            raise self.error

    plain = os.scandir

    def fail(folder: Path, number: int, midway: bool = False) -> None:
        def scandir(path):
            if Path(path) != folder:
                return plain(path)
            error = OSError(number, os.strerror(number), str(path))
            if midway:
                return BreaksOff(plain(path), error)
            raise error

        monkeypatch.setattr(os, "scandir", scandir)

    return fail


@pytest.mark.parametrize(
    "number", [errno.EACCES, errno.ESTALE, errno.EIO, errno.ENOTCONN, errno.ENOENT]
)
def test_a_folder_that_cannot_be_listed_is_told_with_the_reason(tmp_path, broken, number):
    fill(tmp_path, "a.mp4", "snow/b.mp4")
    broken(tmp_path / "snow", number)
    found = list_folder(tmp_path)
    assert found.files == [tmp_path / "a.mp4"]
    assert found.unlisted == {tmp_path / "snow": os.strerror(number)}
    assert describe_passed_over(found.passed_over) == "1 folder that cannot be listed"


def test_a_listing_that_breaks_off_keeps_what_came_and_is_told(tmp_path, broken):
    fill(tmp_path, "snow/b.mp4", "snow/c.mp4")
    broken(tmp_path / "snow", errno.EIO, midway=True)
    found = list_folder(tmp_path)
    assert len(found.files) == 1
    assert list(found.unlisted) == [tmp_path / "snow"]


def test_a_root_that_cannot_be_listed_is_an_error(tmp_path, broken):
    fill(tmp_path, "a.mp4")
    broken(tmp_path, errno.ESTALE)
    with pytest.raises(LibraryError, match="cannot be listed .*; nothing of what is stored was"):
        find_media(tmp_path)


def test_an_empty_folder_tells_what_was_passed_over(tmp_path):
    fill(tmp_path, "a.txt")
    os.mkfifo(tmp_path / "live.ts")
    with pytest.raises(LibraryError, match=r"only what is passed over: 1 file that is no media, 1"):
        find_media(tmp_path)


def test_classes_whose_names_are_like_those_of_systems_are_taken(tmp_path):
    fill(tmp_path, "Recycler/a.mp4", "found.footage/b.mp4", "#1/c.mp4", "@home/d.mp4", "$/e.mp4")
    assert len(names(tmp_path)) == 5
    assert passed_over(tmp_path) == {}
