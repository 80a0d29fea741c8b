"""What a child that was taken over says, to every part that has one which reads what others wrote.

Answers of real children are recorded; then a pretended child says them again, spoiled.
"""

from __future__ import annotations

import io
import json
import math
import random
from collections.abc import Callable, Iterator, Sequence
from contextlib import ExitStack, closing, contextmanager
from pathlib import Path
from typing import Any
from unittest import mock

import numpy as np

from vidsim.ingest.decode import pictures, pool, viewer
from vidsim.ingest.decode.events import Failed, Opened, SegmentMedia
from vidsim.ingest.decode.pool import decode_all
from vidsim.ingest.decode.segments import DecodeRequest
from vidsim.ingest.exchange import h5_reader
from vidsim.ingest.exchange.export import export
from vidsim.ingest.exchange.export_capstone import export_capstone
from vidsim.ingest.exchange.h5_reader import H5Reader
from vidsim.ingest.extract import audio
from vidsim.ingest.models import audio_worker
from vidsim.ingest.shards.home import Place
from vidsim.ingest.system.channel import Channel, Message
from vidsim.ingest.system.progress import Silent
from vidsim.schemas.backbones import BACKBONES
from vidsim.schemas.modality import FrameSampling
from vidsim.schemas.video import Segment

from ..clips import write_clip
from ..embedded_videos import embedded, store
from ..pretended_child import PretendedChild, on_the_wire
from .hdf5 import read_export
from .mutations import json_of, mutated, mutated_value
from .targets import Feed, Outcome

_FRAMES = {"a": FrameSampling(2, 16, "stretch")}


@contextmanager
def started(folder: Path) -> Iterator[Feed]:
    """Feeds answers of decoders, of the viewer's and HDF5's children and of the audio network."""
    folder.mkdir(parents=True, exist_ok=True)
    clip = str(
        write_clip(
            folder / "clip.mkv", times=[n / 5 for n in range(11)], tone=(440.0, 2.0, 16_000, 1)
        )
    )
    names = ("labhist", "efficientnet_lite0")
    place = Place(folder / "home")
    store(place, *(embedded(f"lib/{n}.mp4", backbones=names, seed=n) for n in range(2)))
    exports = [
        *export(place.home, folder / "native", [], Silent()),
        *export_capstone(place.home, folder / "capstone", [], Silent()),
    ]
    readers: dict[str, Callable[[], object]] = {
        "pool": lambda: _decoded(clip),
        "pictures": lambda: _looked(clip),
        "describe": lambda: _viewed(lambda v: v.describe(clip)),
        "look": lambda: _viewed(lambda v: v.look(clip, [0.0, 1.0])),
        "hear": lambda: _viewed(lambda v: v.hear(clip, 0.0, 1.0)),
        "clip": lambda: _viewed(lambda v: v.clip(clip, 0.0, 1.0, io.BytesIO())),
        **{f"HDF5 {n}": lambda p=path: _imported(p) for n, path in enumerate(exports)},
    }
    recorded = {name: _recorded(read) for name, read in readers.items()}
    readers["audio"] = _heard
    patches = np.zeros((1, BACKBONES["yamnet"].dim), np.float32)
    recorded["audio"] = [
        Message("ready", {}, {}),
        Message("embeddings", {"cpu_s": 0.1, "busy_s": 0.1}, {"vectors": patches}),
    ]
    bodies = [a.tobytes() for of in recorded.values() for m in of for a in m.arrays.values()]

    def feed(chance: random.Random) -> Outcome:
        name = chance.choice([*readers])
        messages = _shuffled(chance, recorded[name], [m for of in recorded.values() for m in of])
        PretendedChild.said = b"".join(_packed(chance, message, bodies) for message in messages)
        if chance.random() < 0.2:
            PretendedChild.said = mutated(chance, PretendedChild.said, bodies)
        done = readers[name]()
        return Outcome.REFUSED if isinstance(done, Failed) else Outcome.ACCEPTED

    with ExitStack() as patched:
        for module in (pool, pictures, viewer, h5_reader, audio_worker):
            patched.enter_context(mock.patch.object(module, "Child", PretendedChild))
        patched.enter_context(mock.patch.object(audio, "ensure", return_value=folder))
        yield feed


def _recorded(read: Callable[[], object]) -> list[Message]:
    """What children say while something is read."""
    found: list[Message] = []
    receive = Channel.receive

    def heard(self: Channel, timeout_s: float | None = None) -> Message:
        message = receive(self, timeout_s)
        if message.kind != "ready":
            found.append(message)
        return message

    with mock.patch.object(Channel, "receive", heard):
        read()
    assert found
    return found


def _shuffled(
    chance: random.Random, messages: Sequence[Message], others: Sequence[Message]
) -> list[Message]:
    found = list(messages)
    for _ in range(chance.choice((0, 0, 0, 1, 2))):
        at = chance.randrange(len(found) + 1)
        match chance.randrange(4):
            case 0:
                found[at:at] = [chance.choice(others)]
            case 1:
                del found[at:]
            case 2:
                found[at : at + 1] = found[at : at + 1] * chance.choice((2, 20))
            case _:
                chance.shuffle(found)
    return found


def _packed(chance: random.Random, message: Message, bodies: Sequence[bytes]) -> bytes:
    """A message on the wire; two of three have something that is not right."""
    fields: Any = message.fields
    described: Any = [[n, a.dtype.name, list(a.shape)] for n, a in message.arrays.items()]
    arrays = [a.tobytes() for a in message.arrays.values()]
    kind: Any = message.kind
    how = chance.randrange(12)
    if how < 3:
        fields = mutated_value(chance, fields)
    elif how == 3 and arrays:
        at = chance.randrange(len(arrays))
        listed = message.arrays.get("json")
        if listed is not None and chance.random() < 0.7:
            arrays[at] = json_of(chance, mutated_value(chance, json.loads(listed.tobytes())))
            described[at][2] = [len(arrays[at])]
        else:
            arrays[at] = mutated(chance, arrays[at][:10_000], bodies)
    elif how == 4:
        described = mutated_value(chance, described)
    elif how == 5 and described:
        described, arrays = _other_arrays(chance, described)
    elif how == 6:
        kind = chance.choice(("alive", "failed", "refused", "done", "", 7, None, "segment"))
    header: Any = {"kind": kind, "fields": fields, "arrays": described}
    if how == 7:
        header = mutated_value(chance, header)
    text = json_of(chance, header) if how == 8 else json.dumps(header).encode()
    body = b"".join(arrays)
    size, length = len(body), len(text)
    if how == 9:
        size = chance.choice((0, size + 1, 2**30, 2**30 + 1, 2**63, 2**64 - 1))
        length = chance.choice((length, length, 0, 2**20, 2**32 - 1))
    return on_the_wire(text, body, length, size)


def _other_arrays(chance: random.Random, described: list[Any]) -> tuple[Any, list[bytes]]:
    """Arrays of the same names, of other dtypes and shapes, that are as long as they say."""
    made, arrays = [], []
    for name, dtype, shape in described:
        if chance.random() < 0.6:
            dtype = chance.choice(("float16", "float32", "float64", "int8", "uint64", "bool"))
        if chance.random() < 0.6:
            shape = [chance.choice((0, 1, 2, 7, 2**40, 2**64))] * chance.choice((0, 1, 2, 3, 40))
            shape = shape if math.prod(shape) < 1000 else [*shape, 0]
        count = math.prod(shape)
        size = count * (np.dtype(dtype).itemsize if count else 1)
        kind = chance.randrange(3)
        arrays.append((b"\xff" * size, bytes(size), chance.randbytes(min(size, 1 << 20)))[kind])
        made.append([name, dtype, shape])
    return made, arrays


def _decoded(clip: str) -> Failed | None:
    request = DecodeRequest(clip, _FRAMES, audio=True)
    for _, event in decode_all([(0, request)], 1):
        if isinstance(event, Failed):
            assert event.reason
            return event
        if isinstance(event, SegmentMedia):
            segment = event.segment
            assert segment.index >= 0
            assert 0 <= segment.start_s <= segment.end_s < math.inf
            assert event.audio is None or np.isfinite(event.audio).all()
        if isinstance(event, Opened):
            assert 0 <= event.duration_s < math.inf
            assert event.segments >= 0
    return None


def _looked(clip: str) -> object:
    with pictures.PictureReader() as reader:
        return reader.look(clip, [0.0, 1.0])


def _viewed(ask: Callable[[viewer.Viewer], object]) -> object:
    with closing(viewer.Viewer()) as found:
        return ask(found)


def _imported(path: Path) -> None:
    with H5Reader() as reader:
        read_export(path, reader)


def _heard() -> None:
    samples = np.sin(np.arange(16_000, dtype=np.float32))
    network = audio.AudioExtractor(BACKBONES["yamnet"], "cpu", 1)
    with closing(network):
        media = [SegmentMedia(Segment(0, 0.0, 1.0), {}, samples)]
        for part in network.embed(media):
            for rows in part.rows.values():
                assert rows.vectors.shape[1:] == (BACKBONES["yamnet"].dim,)
                assert np.isfinite(rows.vectors).all()
