"""Files as they are in the world: what is decoded of each, told by numbered pictures and tones."""

from __future__ import annotations

import errno
import os
import re
import sys
import types
from collections.abc import Iterator
from fractions import Fraction
from pathlib import Path

import av
import numpy as np
import pytest
from av.stream import Disposition

from vidsim.cli import main
from vidsim.ingest.decode import container as decode_container
from vidsim.ingest.decode.audio import Mixer
from vidsim.ingest.decode.events import Failed, Finished, Opened, SegmentMedia
from vidsim.ingest.decode.pool import DecodeLimits, decode_all
from vidsim.ingest.decode.segments import DecodeRequest
from vidsim.ingest.extract.embed import EmbedOptions
from vidsim.ingest.pipeline import ingest
from vidsim.ingest.shards.home import Place
from vidsim.ingest.sync.stored_videos import list_videos
from vidsim.ingest.system.progress import Silent
from vidsim.schemas.errors import MediaError
from vidsim.schemas.modality import SAMPLE_RATE, FrameSampling, Modality
from vidsim.schemas.presets import choose_backbones
from vidsim.search.query import QueryOptions, query

from ...helpers import media_cases
from ...helpers.decoded import EIGHT, check, heard, moments, run
from ...helpers.media_cases import HEIGHT, RATE, Piece, number_of, picture, write


@pytest.mark.parametrize("container", ["ts", "mpg"])
@pytest.mark.parametrize(
    "clocks",
    [(0, 0), (7, 7), (300, 5), (5, 50_000), (95_440, 30), (10, 40), (40, 12, 90_000, 0)],
    ids=str,
)
def test_a_clock_that_starts_again_or_jumps_loses_nothing(
    tmp_path: Path, container: str, clocks: tuple[float, ...]
) -> None:
    pieces = [Piece(6.0, clock=clock) for clock in clocks]
    codec = "mpeg2video" if container == "mpg" else "mpeg4"
    path = write(tmp_path / f"joined.{container}", pieces, codec)
    _, media, _ = check(path, pieces)
    assert heard(media) == list(range(6 * len(pieces)))


def test_pictures_at_other_rates_follow_each_other(tmp_path: Path) -> None:
    pieces = [Piece(4.0, 25), Piece(4.0, 50), Piece(4.0, 25)]
    check(write(tmp_path / "rates.ts", pieces), pieces)


@pytest.mark.parametrize("late", [-0.4, 0.4, 3.0])
def test_picture_and_sound_stay_in_step_over_a_restart(tmp_path: Path, late: float) -> None:
    pieces = [Piece(8.0), Piece(8.0, sound_after=late)]
    _, media, _ = run(write(tmp_path / "step.ts", pieces))
    seconds = heard(media)
    at = next(i for i, second in enumerate(seconds) if second is not None and second > 8)
    (frame, *_) = (n for t, n in moments(media, 16.0) if t >= at + 0.5)
    (time_s, *_) = (t for t, _ in moments(media, 16.0) if t >= at + 0.5)
    # Sound of the second piece is written as late as its pitch says; its picture is in time.
    assert frame / 25 - time_s == pytest.approx(seconds[at] - at, abs=0.6)


def test_sound_before_the_first_picture_is_kept(tmp_path: Path) -> None:
    path = tmp_path / "late.mkv"
    write(path, [Piece(20.0, fps=0)])
    with_picture = tmp_path / "both.mkv"
    with av.open(str(path)) as sound, av.open(str(with_picture), "w") as output:
        heard_stream = output.add_stream_from_template(sound.streams.audio[0])
        video = output.add_stream("mpeg4", rate=25)
        video.width, video.height, video.pix_fmt = media_cases.WIDTH, HEIGHT, "yuv420p"
        packets = []
        for i in range(100):
            frame = picture(i)
            frame.pts, frame.time_base = 15 * 25 + i, Fraction(1, 25)
            packets += video.encode(frame)
        packets += video.encode(None)
        for packet in sound.demux(audio=0):
            if packet.size:
                packet.stream = heard_stream
                packets.append(packet)
        for packet in sorted(packets, key=lambda p: float(p.dts * p.time_base)):
            output.mux(packet)
    opened, media, _ = run(with_picture)
    assert opened.duration_s == pytest.approx(20.0, abs=0.1)
    assert heard(media)[:19] == list(range(19))
    first, second = media
    assert not first.frames
    assert [number_of(f) for f in second.frames["x"]] == [6, 18, 31, 43, 56, 68, 81, 93]


@pytest.mark.parametrize("last", [0.04, 11.0])
@pytest.mark.parametrize("container", ["mkv", "mp4"])
def test_the_last_picture_stays_as_long_as_it_says(
    tmp_path: Path, container: str, last: float
) -> None:
    path = tmp_path / f"stays.{container}"
    with av.open(str(path), "w") as output:
        video = output.add_stream("mpeg4", rate=25)
        video.width, video.height, video.pix_fmt = media_cases.WIDTH, HEIGHT, "yuv420p"
        packets = []
        for i in range(25):
            frame = picture(i)
            frame.pts, frame.time_base = i, Fraction(1, 25)
            packets += video.encode(frame)
        packets += video.encode(None)
        packets[-1].duration = round(last / packets[-1].time_base)
        for packet in packets:
            output.mux(packet)
    opened, media, lost = run(path)
    assert opened.duration_s == pytest.approx(0.96 + last, abs=0.05)
    assert not lost.picture_s, "a still end is no damage"
    shown = [n for _, n in moments(media, 99)]
    assert shown.count(24) == (7 if last > 1 else 0)


def damaged(path: Path, seconds: float, from_s: float, to_s: float) -> Path:
    """A clip of whose packets those from one second to another hold nothing that decodes."""
    write(path, [Piece(seconds, has_sound=False)], "libx264")
    with av.open(str(path)) as container:
        packets = [p for p in container.demux(video=0) if p.size]
        bad = [p for p in packets if from_s <= float(p.pts * p.time_base) < to_s]
        places = [(p.pos, p.size) for p in bad]

    def change(content: bytearray) -> None:
        for at, size in places:
            content[at : at + size] = b"\xff" * size

    return media_cases.patch(path, change)


def test_a_damaged_end_is_left_out_and_told(tmp_path: Path) -> None:
    path = damaged(tmp_path / "end.mp4", 20, 13, 20)
    opened, media, lost = run(path)
    assert opened.duration_s == pytest.approx(20.0, abs=0.1)
    bounds = [(m.segment.start_s, round(m.segment.end_s)) for m in media]
    assert bounds == [(0.0, 10), (10.0, 13)]
    assert sum(end - start for start, end in lost.picture_s) == pytest.approx(7.0, abs=0.5)
    said = lost.damage(opened.duration_s).describe()
    assert said.startswith("of 20.0 s, ")
    assert said.endswith(" did not decode")


def test_a_picture_that_does_not_decode_at_all_is_told(tmp_path: Path) -> None:
    path = write(tmp_path / "heard.mkv", [Piece(5.0)], "libx264")
    with av.open(str(path)) as container:
        packets = [p for p in container.demux(video=0) if p.size]
        places = [(p.pos, p.size) for p in packets]

    def change(content: bytearray) -> None:
        for at, size in places:  # from inside a block, so that the container stays whole
            content[at + 8 : at + size] = b"\xff" * (size - 8)

    _, media, lost = run(media_cases.patch(path, change))
    assert not any(m.frames for m in media)
    assert sum(end - start for start, end in lost.picture_s) == pytest.approx(5.0, abs=0.1)


def test_a_picture_that_stands_still_for_long_is_no_damage(tmp_path: Path) -> None:
    """Moving for 5 s, still until 19.9 s, moving to 30 s: every segment shows something."""
    path = tmp_path / "screen.mkv"
    times = [i / 25 for i in range(125)] + [19.92 + i / 25 for i in range(250)]
    with av.open(str(path), "w") as output:
        video = output.add_stream("mpeg4", rate=25)
        video.width, video.height, video.pix_fmt = media_cases.WIDTH, HEIGHT, "yuv420p"
        packets = []
        for number, time_s in enumerate(times):
            frame = picture(number)
            frame.pts, frame.time_base = round(time_s * 25), Fraction(1, 25)
            packets += video.encode(frame)
        for packet in [*packets, *video.encode(None)]:
            output.mux(packet)
    _, media, lost = run(path)
    assert [m.segment.start_s for m in media if m.frames] == [0.0, 10.0, 20.0]
    assert {number_of(f) for f in media[1].frames["x"]} <= {124, 125}
    assert not lost.picture_s


@pytest.mark.parametrize("number", [errno.EIO, errno.ESTALE])
def test_a_disk_that_fails_in_the_middle_fails_the_file(tmp_path: Path, number: int) -> None:
    path = write(tmp_path / "disk.ts", [Piece(4.0)])

    def demux(chosen: object) -> Iterator[object]:
        for count, packet in enumerate(container.demux(chosen)):
            if count == 40:
                raise OSError(number, os.strerror(number))
            yield packet

    with decode_container.open_local(str(path)) as container:
        failing = types.SimpleNamespace(streams=container.streams, demux=demux)
        with pytest.raises(MediaError, match="could not be read to its end"):
            list(decode_container.packets(failing, None, decode_container.Skipped()))


def test_a_good_tail_after_damage_is_kept(tmp_path: Path) -> None:
    path = damaged(tmp_path / "hole.mp4", 30, 11, 16)
    _, media, lost = run(path)
    assert sum(end - start for start, end in lost.picture_s) == pytest.approx(5.0, abs=0.8)
    assert media[-1].segment.end_s == pytest.approx(30.0, abs=0.1)
    assert [n for t, n in moments(media, 99) if t > 21] == [
        int(t * 25 + 1e-3) for t, _ in moments(media, 99) if t > 21
    ]


def test_what_is_lost_of_a_file_is_told_wherever_the_file_is_spoken_of(
    tmp_path: Path,
    place: Place,
    monkeypatch: pytest.MonkeyPatch,
    capsys: pytest.CaptureFixture[str],
) -> None:
    (tmp_path / "lib").mkdir()
    write(tmp_path / "lib" / "good.mp4", [Piece(3.0, has_sound=False)], "libx264")
    path = damaged(tmp_path / "lib" / "bad.mp4", 6, 3, 5)
    options = EmbedOptions(choose_backbones([Modality.COLOR]), workers=1)
    (told,) = ingest(tmp_path / "lib", place, options, Silent()).damaged
    assert told.path == str(path)
    assert re.fullmatch(
        r"of 6\.0 s, [12]\.\d s of the picture \([\d.-]+\) did not decode", told.reason
    )
    assert not ingest(tmp_path / "lib", place, options, Silent()).damaged, "it was told before"
    assert [v.damage for v in list_videos(place.home)] == [told.reason, ""]
    monkeypatch.setattr(sys, "argv", ["vidsim", "libraries", "--videos"])
    with pytest.raises(SystemExit):
        main()
    assert f"lib/bad.mp4  ({told.reason})\n" in capsys.readouterr().out
    found = query(str(path), place, QueryOptions(device="cpu"), Silent())
    assert found.notes == [f"{path}: {told.reason}"]


def test_a_still_picture_is_no_video_beside_a_real_one(tmp_path: Path) -> None:
    path = tmp_path / "cover.mkv"
    with av.open(str(path), "w") as output:
        still = output.add_stream("mjpeg", rate=25)
        video = output.add_stream("mpeg4", rate=25)
        for stream in (still, video):
            stream.width, stream.height = media_cases.WIDTH, HEIGHT
        still.pix_fmt, video.pix_fmt = "yuvj420p", "yuv420p"
        still.disposition, video.disposition = Disposition.default, Disposition(0)
        cover = picture(4000).reformat(format="yuvj420p")
        cover.pts, cover.time_base = 0, Fraction(1, 25)
        packets = [*still.encode(cover), *still.encode(None)]
        for i in range(100):
            frame = picture(i)
            frame.pts, frame.time_base = i, Fraction(1, 25)
            packets += video.encode(frame)
        for packet in [*packets, *video.encode(None)]:
            output.mux(packet)
    opened, media, _ = run(path)
    assert opened.duration_s == pytest.approx(4.0, abs=0.05)
    assert [n for _, n in moments(media, 99)] == [6, 18, 31, 43, 56, 68, 81, 93]


@pytest.mark.parametrize(("track", "second"), [(None, 0), (1, 0), (2, 20), (9, 0)])
def test_a_track_of_sound_can_be_chosen(tmp_path: Path, track: int | None, second: int) -> None:
    path = tmp_path / "tracks.mkv"
    with av.open(str(path), "w") as output:
        packets = []
        for start in (0, 20):
            stream = output.add_stream("pcm_s16le", rate=RATE)
            stream.layout = "mono"
            frame = av.AudioFrame.from_ndarray(media_cases.tone(start, 2)[None], "s16", "mono")
            frame.sample_rate, frame.pts, frame.time_base = RATE, 0, Fraction(1, RATE)
            packets += [*stream.encode(frame), *stream.encode(None)]
        for packet in packets:
            output.mux(packet)
    _, media, _ = run(path, audio_track=track)
    assert heard(media) == [second, second + 1]


@pytest.mark.parametrize("codec", ["mpeg4", "libx264"])
def test_avi_with_reordered_pictures_loses_none_of_them(tmp_path: Path, codec: str) -> None:
    path = write(tmp_path / "reordered.avi", [Piece(4.0)], codec, reordered=True)
    opened, media, _ = run(path, frames={"x": FrameSampling(100, 96, "stretch")})
    assert opened.duration_s == pytest.approx(4.0, abs=0.1)
    assert [number_of(frame) for frame in media[0].frames["x"]] == list(range(100))


def test_sound_that_the_container_leaves_out_is_not_left_out_twice(tmp_path: Path) -> None:
    """AAC in MP4: the first packet is not presented, by the edit list."""
    _, media, _ = run(write(tmp_path / "primed.mp4", [Piece(4.0, fps=0)], audio_codec="aac"))
    (part,) = media
    assert part.audio is not None
    assert len(part.audio) / SAMPLE_RATE == pytest.approx(4.0, abs=0.002)
    wanted = media_cases.tone(0, 4) / 32_768
    assert np.corrcoef(part.audio[:2000], wanted[:2000])[0, 1] > 0.9


# --- channels


def sine(hertz: float = 440.0, seconds: float = 2.0) -> np.ndarray:
    return np.float32(0.5) * np.sin(
        2 * np.pi * hertz * np.arange(round(seconds * SAMPLE_RATE)) / SAMPLE_RATE
    ).astype(np.float32)


def mixed(channels: np.ndarray) -> np.ndarray:
    """Mixes as a reader does, a little at a time."""
    mixer = Mixer()
    parts = np.array_split(channels, 40, axis=1)
    return np.concatenate([mixer.mix(part) for part in parts])


def test_which_channel_leads_does_not_flip_the_mix() -> None:
    noise = np.random.default_rng(0).standard_normal((2, 2 * SAMPLE_RATE)).astype(np.float32)
    channels = np.stack([sine(), -sine()]) + 0.005 * noise
    found = mixed(channels)
    assert np.corrcoef(found, sine())[0, 1] > 0.99


def test_opposite_phases_do_not_cancel() -> None:
    assert mixed(np.stack([sine(), -sine()])).std() == pytest.approx(sine().std(), rel=0.01)


@pytest.mark.parametrize("count", [2, 3, 6, 8, 24, 64])
def test_one_channel_alone_is_as_loud_as_it_is(count: int) -> None:
    channels = np.zeros((count, 2 * SAMPLE_RATE), np.float32)
    channels[count // 2] = sine()
    np.testing.assert_allclose(mixed(channels), sine(), atol=1e-6)


def test_channels_of_their_own_are_averaged() -> None:
    channels = np.stack([sine(440), sine(1000)])
    np.testing.assert_allclose(mixed(channels), channels.mean(axis=0), atol=1e-6)


@pytest.mark.parametrize("layout", ["mono", "stereo", "5.1", "7.1", "hexadecagonal", "22.2"])
def test_any_number_of_channels_is_read(tmp_path: Path, layout: str) -> None:
    path = tmp_path / "many.wav"
    with av.open(str(path), "w") as output:
        stream = output.add_stream("pcm_s16le", rate=RATE)
        stream.layout = layout
        count = stream.codec_context.layout.nb_channels
        samples = np.zeros((RATE * 2, count), np.int16)
        samples[:, count // 2] = media_cases.tone(3, 2)
        frame = av.AudioFrame.from_ndarray(samples.reshape(1, -1), "s16", layout)
        frame.sample_rate, frame.pts, frame.time_base = RATE, 0, Fraction(1, RATE)
        for packet in [*stream.encode(frame), *stream.encode(None)]:
            output.mux(packet)
    _, media, _ = run(path)
    assert heard(media) == [3, 4]
    assert media[0].audio is not None
    assert media[0].audio.std() == pytest.approx(12_000 / 32_768 / 2**0.5, rel=0.02)


# --- a decoder that dies


DEADLY = """
import os, signal
from vidsim.ingest.decode import worker as decode_worker
from vidsim.ingest.decode.events import SegmentMedia
from vidsim.ingest.decode.segments import decode

def main(channel):
    def dies(request, on_progress, until):
        for event in decode(request, on_progress):
            yield event
            if request.audio and isinstance(event, SegmentMedia) == AFTER_A_SEGMENT:
                os.kill(os.getpid(), signal.SIGSEGV)
    decode_worker.decode = dies
    decode_worker.main(channel)
"""


@pytest.mark.parametrize("after_a_segment", [False, True])
def test_a_file_of_which_the_sound_kills_the_decoder_keeps_its_picture(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch, after_a_segment: bool
) -> None:
    (tmp_path / "deadly.py").write_text(DEADLY.replace("AFTER_A_SEGMENT", str(after_a_segment)))
    monkeypatch.syspath_prepend(str(tmp_path))
    path = write(tmp_path / "deadly.ts", [Piece(4.0)])
    request = DecodeRequest(str(path), {"x": EIGHT}, audio=True)
    limits = DecodeLimits(worker="deadly:main")
    events = [event for _, event in decode_all([(0, request)], 1, limits)]
    assert not [event for event in events if isinstance(event, Failed)]
    assert sum(isinstance(event, Opened) for event in events) == 1
    media = [event for event in events if isinstance(event, SegmentMedia)]
    assert [n for _, n in moments(media, 99)] == [6, 18, 31, 43, 56, 68, 81, 93]
    (finished,) = (event for event in events if isinstance(event, Finished))
    assert finished.damage.sound.startswith("its sound was left out (")
    assert finished.without_sound
