"""Clips for the steps: decoded, generated, and the same ones again under other names."""

from __future__ import annotations

from collections.abc import Iterator
from itertools import cycle, islice
from pathlib import Path

import av
import cv2
import numpy as np
import torch

from vidsim.ingest.decode.events import SegmentMedia
from vidsim.ingest.decode.pool import decode_all
from vidsim.ingest.decode.segments import DecodeRequest
from vidsim.ingest.discover.videos import find_media
from vidsim.ingest.extract.color import ColorExtractor
from vidsim.ingest.extract.embed import default_workers
from vidsim.ingest.extract.frame import FrameExtractor
from vidsim.ingest.extract.motion import MotionExtractor
from vidsim.ingest.extract.scheduler import Extractor
from vidsim.schemas.backbones import Backbone
from vidsim.schemas.embedding import ByteArray
from vidsim.schemas.modality import Modality
from vidsim.schemas.presets import choose_backbones

from .common import Bench

FPS = 25


def backbones_of(bench: Bench) -> dict[Modality, Backbone]:
    """The backbone of every modality that can be computed."""
    return choose_backbones(Modality(name) for name in bench.modalities)


def load_extractor(backbone: Backbone, device: str) -> Extractor:
    """The extractor of one backbone alone, to be called from this thread."""
    if backbone.modality is Modality.COLOR:
        return ColorExtractor(backbone, device)
    if backbone.modality is Modality.FRAME:
        return FrameExtractor(backbone, torch.device(device))
    return MotionExtractor(backbone, torch.device(device))


def load_media(bench: Bench, count: int) -> list[SegmentMedia]:
    """First segments of at most `count` clips, spread over the folder."""
    files = find_media(bench.clips)
    files = files[:: max(1, len(files) // count)][:count]
    frames = {m.value: b.frames for m, b in backbones_of(bench).items() if b.frames}
    requests = [(i, DecodeRequest(str(file), frames, audio=False)) for i, file in enumerate(files)]
    found: dict[int, SegmentMedia] = {}
    for i, event in decode_all(requests, default_workers()):
        if isinstance(event, SegmentMedia):
            found.setdefault(i, event)
    return [found[i] for i in sorted(found)]


def link_clips(files: list[Path], count: int, target: Path) -> Path:
    """A folder with `count` clips, which are `files` again and again under other names."""
    target.mkdir(parents=True)
    for i, file in enumerate(islice(cycle(files), count)):
        (target / f"{i:05}-{file.name}").symlink_to(file.absolute())
    return target


def write_clip(path: Path, seconds: float, size: tuple[int, int], seed: int, codec: str) -> None:
    """A clip of coarse noise that moves, (width, height) pixels: no two of them look alike."""
    path.parent.mkdir(parents=True, exist_ok=True)
    with av.open(str(path), "w") as container:
        stream = container.add_stream(codec, rate=FPS)
        assert isinstance(stream, av.VideoStream)
        stream.width, stream.height = size
        stream.pix_fmt, stream.bit_rate = "yuv420p", size[0] * size[1] * 4
        if codec == "libx264":
            stream.options = {"preset": "veryfast"}
        for picture in _pictures(round(seconds * FPS), size, seed):
            container.mux(stream.encode(av.VideoFrame.from_ndarray(picture, "rgb24")))
        container.mux(stream.encode(None))


def _pictures(count: int, size: tuple[int, int], seed: int) -> Iterator[ByteArray]:
    random = np.random.default_rng(seed)
    noise = random.integers(0, 256, (9, 16, 3), np.uint8)
    step = int(random.integers(2, 9))
    picture = cv2.resize(noise, size, interpolation=cv2.INTER_CUBIC)
    for i in range(count):
        yield np.ascontiguousarray(np.roll(picture, i * step, 1))
