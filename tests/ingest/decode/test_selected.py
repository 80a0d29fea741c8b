"""Only what wanted pictures are made from is decoded, and what comes out is the same."""

from __future__ import annotations

import os
import random
import shutil
import time
from pathlib import Path

import av
import numpy as np
import pytest

from vidsim.ingest.decode import segments
from vidsim.ingest.decode.events import SegmentMedia
from vidsim.ingest.decode.lost import Lost
from vidsim.ingest.decode.segments import DecodeRequest, decode
from vidsim.ingest.decode.selection import needed, select
from vidsim.ingest.decode.structure import Structure
from vidsim.schemas.modality import FrameSampling

from ...helpers import media_cases, random_files
from ...helpers.both_ways import RARE, decode_both_ways
from ...helpers.structured_clips import KINDS, write

MEDIA = {"3gp", "avi", "flv", "gif", "mkv", "mov", "mp4", "mpg", "ts", "webm", "wmv"}

LEAST_SELECTIVE = 25
"""Files of the test data that must be decoded so, lest nothing is compared."""


def numbers_of_packets(path: Path) -> list[tuple[int, int]]:
    """Place and size of each packet of the picture in the file."""
    with av.open(str(path)) as container:
        return [(p.pos, p.size) for p in container.demux(video=0) if p.size]


def spoiled(path: Path, packets: range) -> Path:
    """Puts noise in the middle of packets."""
    chance = random.Random(0)
    places = numbers_of_packets(path)

    def change(content: bytearray) -> None:
        for number in packets:
            at, size = places[number]
            for place in range(at + size // 3, at + 2 * size // 3):
                content[place] = chance.randrange(1, 255)

    return media_cases.patch(path, change)


@pytest.mark.parametrize("name", KINDS)
def test_wanted_pictures_are_the_same_however_pictures_depend_on_each_other(
    tmp_path: Path, name: str
) -> None:
    path = write(tmp_path / name, KINDS[name])
    wanted = [KINDS[name].is_selective]
    assert decode_both_ways(path)[1] == wanted
    assert decode_both_ways(path, RARE, 3.7)[1] == wanted


@pytest.mark.parametrize("name", ["h264", "mpeg2-stream", "mpeg2-closed"])
def test_a_second_look_at_other_moments_is_the_same(tmp_path: Path, name: str) -> None:
    path = write(tmp_path / name, KINDS[name], dark_s=(4.0, 8.0))
    found, ways = decode_both_ways(path)
    assert ways == [True, True]
    first = next(e for e in found if isinstance(e, SegmentMedia) and e.segment.index == 0)
    assert first.frames["motion"].std() > 1, "it looks where something is"


@pytest.mark.parametrize("name", ["h264", "h264-stream", "mpeg2-closed"])
@pytest.mark.parametrize("packets", [range(60, 61), range(130, 145)])
def test_damage_is_told_and_shown_as_by_decoding_everything(
    tmp_path: Path, name: str, packets: range
) -> None:
    decode_both_ways(spoiled(write(tmp_path / name, KINDS[name]), packets))


@pytest.mark.parametrize(
    "name", ["h264", "h264-one-group", "mpeg2", "mpeg2-no-reordering", "mjpeg"]
)
@pytest.mark.parametrize("part", [0.3, 0.999])
def test_a_file_that_breaks_off_is_the_same(tmp_path: Path, name: str, part: float) -> None:
    path = write(tmp_path / name, KINDS[name])
    os.truncate(path, int(path.stat().st_size * part))
    decode_both_ways(path)


def test_stamps_in_the_order_of_decoding_are_not_believed(tmp_path: Path) -> None:
    written = write(tmp_path / "right", KINDS["h264"])
    path = tmp_path / "decoding_order.mkv"
    with av.open(str(written)) as source, av.open(str(path), "w") as output:
        video = output.add_stream_from_template(source.streams.video[0])
        for packet in source.demux(video=0):
            if packet.size:
                packet.pts, packet.stream = packet.dts, video
                output.mux(packet)
    assert decode_both_ways(path)[1] == [False]


@pytest.mark.parametrize("name", ["h264-stream", "mpeg2-stream"])
def test_parameters_that_change_on_the_way_are_not_passed_over(tmp_path: Path, name: str) -> None:
    kind = KINDS[name]
    first = write(tmp_path / "first", kind, 12.0)
    wide = kind.__class__(**{**vars(kind), "size": (192, 96)})
    second = write(tmp_path / "second", wide, 12.0)
    path = tmp_path / "both.ts"
    path.write_bytes(first.read_bytes() + second.read_bytes())
    assert decode_both_ways(path)[1] == [False]


def test_what_is_said_beside_a_packet_is_not_passed_over(tmp_path: Path) -> None:
    """MP4 says other parameters of the codec in another description of samples, say."""
    path = write(tmp_path / "plain", KINDS["mjpeg"])
    assert decode_both_ways(path)[1] == [True]
    turned = tmp_path / "turned.mkv"
    with av.open(str(path)) as source, av.open(str(turned), "w") as output:
        video = output.add_stream_from_template(source.streams.video[0])
        for number, packet in enumerate(source.demux(video=0)):
            if packet.size:
                content = bytes(packet)
                if number == 120:  # a comment that the others do not have
                    content = content[:2] + b"\xff\xfe\0\x0bCS=ITU601"[:13] + content[2:]
                changed = av.Packet(content)
                changed.pts, changed.dts = packet.pts, packet.dts
                changed.time_base, changed.stream = packet.time_base, video
                changed.is_keyframe = True
                output.mux(changed)
    assert decode_both_ways(turned)[1] == [False]


def test_a_file_that_changes_after_the_scan_is_decoded_whole(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    path = write(tmp_path / "short", KINDS["h264-stream"], 12.0)
    longer = write(tmp_path / "longer", KINDS["h264-stream"], 22.0)
    scan = segments.scan
    scans = []

    def scan_then_change(*args, **named):
        found = scan(*args, **named)
        if not scans:
            shutil.copy(longer, path)
        scans.append(found)
        return found

    monkeypatch.setattr(segments, "scan", scan_then_change)
    *_, lost = decode(DecodeRequest(str(path), {"x": FrameSampling(8, 64, "stretch")}, audio=True))
    assert lost == Lost()


def test_no_part_of_a_clip_and_no_sound_alone_is_selected(tmp_path: Path) -> None:
    path = write(tmp_path / "plain", KINDS["h264"])
    assert decode_both_ways(path, {})[1] == []


def test_a_million_groups_are_planned_in_a_second() -> None:
    groups, size = 1_000_000, 3
    begins = np.zeros(groups * size, np.bool_)
    begins[::size] = True
    number = np.arange(groups * size, dtype=np.int64)
    structure = Structure(begins, ~begins & (number % size == 2), number, number)
    began = time.process_time()
    everything = select(structure, number / 25, number / 25)
    assert everything is not None
    found = needed(structure, everything, number[::250])
    assert time.process_time() - began < 2.0
    assert found is not None
    assert np.flatnonzero(found.chosen)[:4].tolist() == [0, 249, 250, 498]


@pytest.mark.parametrize("seed", range(12))
def test_random_files_are_the_same(tmp_path: Path, seed: int) -> None:
    path, _ = random_files.build(seed, tmp_path)
    decode_both_ways(path)
    decode_both_ways(path, RARE, 2.3)


@pytest.mark.acceptance
@pytest.mark.parametrize("first", range(3000, 3200, 100))
def test_hundreds_of_random_files_are_the_same(tmp_path: Path, first: int) -> None:
    for seed in range(first, first + 100):
        path, _ = random_files.build(seed, tmp_path)
        decode_both_ways(path)
        decode_both_ways(path, RARE, 2.3)
        path.unlink()


@pytest.mark.acceptance
def test_real_files_are_the_same(shared_data: Path) -> None:
    folders = [shared_data, shared_data.parent / "cases"]
    paths = [p for folder in folders for p in sorted(folder.rglob("*")) if p.is_file()]
    paths = [path for path in paths if path.suffix[1:].lower() in MEDIA]
    selective = [decode_both_ways(path)[1][:1] == [True] for path in paths]
    selective += [decode_both_ways(path, RARE, audio=False)[1][:1] == [True] for path in paths]
    assert sum(selective) >= LEAST_SELECTIVE


def test_a_mark_that_changes_how_all_that_follows_is_decoded_is_not_left_out(
    tmp_path: Path,
) -> None:
    path = write(tmp_path / "plain", KINDS["mpeg1"])
    data = bytearray(path.read_bytes())
    assert decode_both_ways(path)[1] == [True]
    # Where a later group begins: the mark is user data behind its header.
    at = data.find(b"\0\0\1\xb8", len(data) // 2) + 8
    data[at:at] = b"\0\0\1\xb2\0TMPGEXS\0"
    path.write_bytes(data)
    assert decode_both_ways(path)[1] == [False]
