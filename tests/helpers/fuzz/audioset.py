"""AudioSet's files: frames of TFRecord, the records in them, and lists of classes."""

from __future__ import annotations

import random
import struct
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path
from typing import Any

from vidsim.ingest.exchange.audioset import _read_files, parse_clip
from vidsim.ingest.exchange.sequence_example import _SEQUENCE_EXAMPLE
from vidsim.ingest.exchange.tfrecord import Record, masked_crc, read_records
from vidsim.ingest.system.progress import Silent
from vidsim.schemas.results import FailedFile

from .mutations import mutated
from .targets import Feed, Outcome


@contextmanager
def started(folder: Path) -> Iterator[Feed]:
    """Feeds records alone, and files of them as an import reads those."""
    clips = [_clip(f"abcdefghij{n}", seconds) for n, seconds in enumerate((10, 1, 3))]
    whole = b"".join(map(_framed, clips))
    path = folder / "spoiled.tfrecord"

    def feed(chance: random.Random) -> Outcome:
        record = mutated(chance, chance.choice(clips), clips)
        if chance.random() < 0.6:
            try:
                clip = parse_clip(record)
            except ValueError:
                return Outcome.REFUSED
            assert clip.levels.shape[1] == 128
            return Outcome.ACCEPTED
        if chance.random() < 0.5:
            path.write_bytes(mutated(chance, whole, [whole]))
        else:  # spoiled records in frames that are right
            records = [record, *(mutated(chance, clip, clips) for clip in clips), record, clips[0]]
            path.write_bytes(b"".join(map(_framed, records)))
        assert sum(len(r.data) for r in read_records(path) if isinstance(r, Record)) < 1 << 24
        found = [*_read_files([path], "lib", {}, {1: "a"}, Silent())]
        failed = [of for of in found if isinstance(of, FailedFile)]
        assert all(of.reason for of in failed)
        return Outcome.REFUSED if len(failed) == len(found) else Outcome.ACCEPTED

    yield feed


def _clip(youtube_id: str, seconds: int) -> bytes:
    """A record as AudioSet has it."""
    example: Any = _SEQUENCE_EXAMPLE()

    def feature(name: str) -> Any:
        entry = example.context.feature.add(key=name)
        return entry.value

    feature("video_id").bytes_list.value.append(youtube_id.encode())
    feature("start_time_seconds").float_list.value.append(30.0)
    feature("end_time_seconds").float_list.value.append(30.0 + seconds)
    feature("labels").int64_list.value.extend([0, 5])
    steps = example.feature_lists.feature_list.add(key="audio_embedding").value
    for second in range(seconds):
        steps.feature.add().bytes_list.value.append(bytes(range(second, second + 128)))
    data: bytes = example.SerializeToString()
    return data


def _framed(data: bytes) -> bytes:
    head = struct.pack("<Q", len(data))
    checksums = (struct.pack("<I", masked_crc(of)) for of in (head, data))
    return head + next(checksums) + data + next(checksums)
