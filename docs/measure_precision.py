"""Measures how near the networks' ways on this CPU come to float32 as it is published.

    python docs/measure_precision.py FOLDER...

The first segments of all videos of the folders are embedded by every sampling of I3D and of
EfficientNet-Lite0, by the way that this CPU takes and by that of a CPU without 8-bit integers and
bfloat16, and compared with the network as it was loaded. `ONEDNN_MAX_CPU_ISA` (of oneDNN) hides
instructions, as ``AVX512_CORE_BF16`` does AMX.

With ``--outliers`` it prints `OUTLIERS` of ingest/models/networks/i3d_int8.py in their place: the
channels of I3D's integer layers that exceed the largest activation, and by how much.
"""

from __future__ import annotations

import argparse
import os
from collections.abc import Callable, Iterator
from pathlib import Path

import numpy as np
import torch

from vidsim.ingest.decode.events import SegmentMedia
from vidsim.ingest.decode.pool import decode_all
from vidsim.ingest.decode.segments import DecodeRequest
from vidsim.ingest.discover.videos import find_media
from vidsim.ingest.extract.frame import FrameExtractor
from vidsim.ingest.extract.motion import MotionExtractor
from vidsim.ingest.extract.pixels import to_network_input
from vidsim.ingest.models.networks.i3d import Conv
from vidsim.ingest.models.networks.i3d_int8 import LARGEST
from vidsim.ingest.models.networks.loading import load_network
from vidsim.ingest.models.weights import ensure
from vidsim.schemas.backbones import BACKBONES, Backbone
from vidsim.schemas.embedding import FloatArray, unit
from vidsim.schemas.modality import Modality
from vidsim.search.bench.machine import cpu_paths

CPU = torch.device("cpu")
AT_ONCE = 24
"""Files whose frames are in memory together."""
WORTH_IT = 1.2
"""Channels that exceed the largest activation by less are left as they are."""


def main() -> None:
    """Decodes, embeds, compares, and prints a table in Markdown."""
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument("folders", type=Path, nargs="+")
    parser.add_argument("--outliers", action="store_true")
    given = parser.parse_args()
    if given.outliers:
        print_outliers(given.folders)
        return
    measured = [b for b in BACKBONES.values() if b.network in ("efficientnet_lite0", "i3d")]
    exact = {b.name: load_network(b, ensure(b)) for b in measured}
    ways = {}
    for path in ("auto", "float32"):
        os.environ["VIDSIM_CPU_PATH"] = path
        for backbone in measured:
            extractor = FrameExtractor if backbone.modality is Modality.FRAME else MotionExtractor
            way = cpu_paths([backbone])[backbone.name]
            ways[backbone.name, way] = extractor(backbone, CPU)
    cosines: dict[tuple[str, str], list[FloatArray]] = {key: [] for key in ways}
    count = 0
    for media in segments(given.folders, measured):
        count += 1
        for backbone in measured:
            expected = in_float32(exact[backbone.name], backbone, media)
            of_it = {backbone.modality: media.frames[backbone.name]}
            for (name, way), extractor in ways.items():
                if name == backbone.name:
                    (found,) = extractor.embed([with_frames(media, of_it)])
                    rows = unit(found.rows[name].vectors)
                    # Frames of one colour get no rows; then nothing is compared.
                    if len(rows) == len(expected):
                        cosines[name, way].append((rows * expected).sum(axis=1))
    print(f"{count} clips\n\n| backbone | way | rows | smallest cosine | mean |")
    print("|---|---|---:|---:|---:|")
    for (name, way), found_cosines in cosines.items():
        each = np.concatenate(found_cosines).astype(float)
        print(f"| {name} | {way} | {len(each):,} | {each.min():.5f} | {each.mean():.5f} |")


def segments(folders: list[Path], measured: list[Backbone]) -> Iterator[SegmentMedia]:
    """Yield the first segment of each video, with the frames of each backbone by its name."""
    samplings = {b.name: b.frames for b in measured if b.frames}
    files = [file for folder in folders for file in find_media(folder)]
    for first in range(0, len(files), AT_ONCE):
        part = files[first : first + AT_ONCE]
        requests = [(i, DecodeRequest(str(p), samplings, False)) for i, p in enumerate(part)]
        for _, event in decode_all(requests, 2):
            if isinstance(event, SegmentMedia) and event.frames and event.segment.index == 0:
                yield event


def with_frames(media: SegmentMedia, frames: dict[Modality, np.ndarray]) -> SegmentMedia:
    """Return a segment with the frames of one backbone, under its modality as extractors ask."""
    return SegmentMedia(media.segment, {m.value: of for m, of in frames.items()})


def in_float32(network: torch.nn.Module, backbone: Backbone, media: SegmentMedia) -> FloatArray:
    """Return the rows of a segment by the network as it was loaded."""
    assert backbone.pixels is not None
    frames = media.frames[backbone.name]
    pictures = frames[None] if backbone.modality is Modality.MOTION else frames
    with torch.inference_mode():
        found = network(to_network_input(pictures, backbone.pixels, CPU))
    return unit(found.numpy())


def print_outliers(folders: list[Path]) -> None:
    """Print, by convolution and channel, the largest value over the largest activation."""
    backbone = BACKBONES["i3d_160"]  # in small pictures a channel that saturates weighs most
    assert backbone.pixels is not None
    network = load_network(backbone, ensure(backbone))
    largest: dict[str, torch.Tensor] = {}

    def note(name: str) -> Callable[..., None]:
        def hook(_module: object, _inputs: object, output: torch.Tensor) -> None:
            found = output.amax((0, 2, 3, 4))
            largest[name] = torch.maximum(largest.get(name, found), found)

        return hook

    for name, module in network.named_modules():
        if isinstance(module, Conv) and name.startswith(("layers.Mixed_3", "layers.Mixed_4")):
            module.register_forward_hook(note(name.removeprefix("layers.")))
    for media in segments(folders, [backbone]):
        in_float32(network, backbone, media)
    for name, values in largest.items():
        channels = (values > WORTH_IT * LARGEST).nonzero()[:, 0].tolist()
        if channels:
            over = ", ".join(f"{c}: {float(values[c]) / LARGEST:.1f}" for c in channels)
            print(f'    "{name}": {{{over}}},')


if __name__ == "__main__":
    main()
