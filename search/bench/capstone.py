"""The capstone's ingest pipeline, rebuilt as the baseline of vidsim's.

It stands for four notebooks (CoderHam/VideoSimilarity, 2019), which ran one after another. Each
decodes every video again, writes its network's input to files (frames as JPEG, sound as WAV),
reads them back, and embeds one clip at a time, in float32. Colour is k-means by faiss on all
40,000 pixels of each of 20 frames. The networks, the moments they look at and the rows that come
out are vidsim's: the way differs, not the work. But as a program it feeds networks with pictures of
the size that they were published for, 224 pixels, as the notebooks did, where vidsim may take less.

Where the notebooks left a choice, it is made in their favour. libav decodes in this process, with
all cores, where they started an ffmpeg process per video; only the needed frames are written, at
the needed size, where the motion notebook wrote every frame at full size; each network is loaded
once, with its batch normalisation folded; one process imports torch for all of them. Tensors have
torch's default memory order. The notebooks had a GPU: so does this, given ``device``, except for
k-means.

It runs as a program, ``python -m vidsim.search.bench.capstone``; see `main`.
"""

from __future__ import annotations

import json
import os
import sys
import time
import wave
from collections.abc import Callable, Iterator, Mapping, Sequence
from contextlib import contextmanager
from dataclasses import asdict, dataclass
from pathlib import Path
from tempfile import TemporaryDirectory

import av
import cv2
import h5py
import numpy as np

from ...ingest.decode.audio import AudioReader
from ...ingest.decode.container import Skipped
from ...ingest.decode.events import SegmentMedia
from ...ingest.decode.looks import visible_part
from ...ingest.decode.sampling import ShownReader, sample_times
from ...ingest.decode.scan import Scan, scan
from ...ingest.decode.segments import MAX_PIXELS
from ...ingest.decode.video import video_frames
from ...ingest.extract.strips import COLORS, embed_strip, lay_out
from ...ingest.models.weights import ensure
from ...schemas.backbones import BACKBONES, Backbone
from ...schemas.embedding import ByteArray, FloatArray, SegmentEmbedding
from ...schemas.errors import MediaError
from ...schemas.modality import SAMPLE_RATE, FrameSampling, Modality
from ...schemas.video import SEGMENT_SECONDS, Segment, cut_segments

ITERATIONS = 20
"""Iterations of faiss' k-means in the capstone."""

_JPEG_QUALITY = 100
"""The highest, since EfficientNet-Lite0 is sensitive to less: rows have cosines of 0.98 and more
to those of the original frames. Writing and reading a frame takes a millisecond at any quality.
"""

Way = Callable[[Path, Path], FloatArray]
"""From a clip and an empty folder to its rows (n, dim)."""


@dataclass(frozen=True)
class CapstoneRun:
    """Timings of a run.

    Attributes:
        startup_s: Seconds for imports and for loading networks.
        seconds: Seconds by modality, without the startup.
        clips: Clips embedded in every modality.
    """

    startup_s: float
    seconds: dict[str, float]
    clips: int


@dataclass(frozen=True)
class _Timeline:
    """A clip's streams and segments."""

    found: Scan
    segments: list[Segment]


def embed_folder(
    files: Sequence[Path], backbones: Sequence[Backbone], device: str, target: Path
) -> CapstoneRun:
    """Embed `files` modality by modality, and write ``MODALITY.h5`` for each.

    A file holds `vectors` (n, dim) float32 and `videos` (n,), the name of each row's clip. A clip
    that cannot be decoded is skipped.

    Args:
        files: Clips.
        backbones: One per modality.
        device: ``auto``, ``cpu`` or ``cuda``.
        target: An existing folder.
    """
    startup_s, seconds = 0.0, {}
    failed: set[Path] = set()
    for backbone in backbones:
        began = time.perf_counter()
        with _open(backbone, device) as way:
            loaded = time.perf_counter()
            rows: dict[str, FloatArray] = {}
            for file in files:
                try:
                    with TemporaryDirectory(prefix="vidsim-capstone-") as folder:
                        rows[str(file)] = way(file, Path(folder))
                except (MediaError, av.FFmpegError):
                    failed.add(file)
            _write(target / f"{backbone.modality}.h5", rows)
            seconds[backbone.modality.value] = time.perf_counter() - loaded
        startup_s += loaded - began
    return CapstoneRun(startup_s, seconds, len(files) - len(failed))


def cluster_pixels(pixels: FloatArray, k: int, gpu: bool = False) -> tuple[FloatArray, FloatArray]:
    """Find dominant colours as the capstone did: faiss' k-means on all pixels (n, 3).

    Args:
        pixels: RGB in 0..1.
        k: Number of colours.
        gpu: Whether to cluster on a GPU that faiss sees; without one it uses the CPU.

    Returns:
        Colours (k, 3) and each one's share of the pixels (k,), the largest first.
    """
    import faiss

    clustering = faiss.Kmeans(
        3, k, niter=ITERATIONS, seed=0, max_points_per_centroid=len(pixels), gpu=gpu
    )
    clustering.train(pixels)
    _, nearest = clustering.index.search(pixels, 1)
    shares = np.bincount(nearest[:, 0], minlength=k) / len(pixels)
    order = np.argsort(-shares, kind="stable")
    return np.asarray(clustering.centroids, np.float32)[order], shares[order].astype(np.float32)


@contextmanager
def _open(backbone: Backbone, device: str) -> Iterator[Way]:
    """Load the network of a modality."""
    if backbone.modality is Modality.AUDIO:
        from ...ingest.extract.audio import AudioExtractor

        extractor = AudioExtractor(backbone, device, _cores())
        try:
            extractor.wait_ready()
            yield lambda clip, folder: _sound(extractor.embed, backbone, clip, folder)
        finally:
            extractor.close()
    elif backbone.modality is Modality.COLOR:
        import faiss

        faiss.omp_set_num_threads(_cores())

        def strips(frames: ByteArray) -> FloatArray:
            found = [cluster_pixels(_unit_pixels(f), COLORS) for f in frames]
            colors, shares = (np.stack(part) for part in zip(*found, strict=True))
            return embed_strip(backbone, lay_out(255 * colors, shares))[None]

        yield lambda clip, folder: _pictures(strips, backbone, clip, folder)
    else:
        embed = _network(backbone, device)
        yield lambda clip, folder: _pictures(embed, backbone, clip, folder)


def _network(backbone: Backbone, device: str) -> Callable[[ByteArray], FloatArray]:
    """Load a torch image network: frames (count, size, size, 3) uint8 -> rows (n, dim)."""
    import torch

    from ...ingest.extract.pixels import to_network_input
    from ...ingest.models.device import choose_device
    from ...ingest.models.networks.loading import load_network

    torch.set_num_threads(_cores())
    assert backbone.pixels is not None
    scale, where = backbone.pixels, torch.device(choose_device(device))
    network = load_network(backbone, ensure(backbone)).to(where)
    a_clip = backbone.modality is Modality.MOTION

    def embed(frames: ByteArray) -> FloatArray:
        with torch.inference_mode():
            pixels = frames[None] if a_clip else frames
            features = network(to_network_input(pixels, scale, where).contiguous())
        return np.asarray(features.float().cpu().numpy(), np.float32)

    return embed


def _pictures(
    embed: Callable[[ByteArray], FloatArray], backbone: Backbone, clip: Path, folder: Path
) -> FloatArray:
    """Embed a clip's picture: write frames to JPEG files, read them back, and call `embed`."""
    assert backbone.frames is not None
    rows = [np.zeros((0, backbone.dim), np.float32)]
    for paths in _write_frames(clip, backbone.frames, folder):
        rows.append(embed(np.stack([_read_rgb(path) for path in paths])))
    return np.concatenate(rows)


def _write_frames(clip: Path, sampling: FrameSampling, folder: Path) -> list[list[Path]]:
    """Write the frames that a backbone samples; return their paths by segment."""
    timeline = _read_timeline(clip)
    picture = timeline.found.picture
    if picture is None:
        return []
    frames = ShownReader(
        video_frames(str(clip), timeline.found, MAX_PIXELS, _cores(), Skipped(), lambda: None)
    )
    written = []
    for segment in timeline.segments:
        visible = visible_part(picture, picture.end_s, segment)
        if visible is None:
            continue
        paths = []
        for i, moment in enumerate(sample_times(sampling, visible)):
            paths.append(folder / f"{segment.index:05d}_{i:05d}.jpg")
            rgb = frames.at(moment)[1].fitted(sampling)
            bgr = cv2.cvtColor(rgb, cv2.COLOR_RGB2BGR)
            cv2.imwrite(str(paths[-1]), bgr, [cv2.IMWRITE_JPEG_QUALITY, _JPEG_QUALITY])
        written.append(paths)
    return written


def _sound(
    embed: Callable[[Sequence[SegmentMedia]], Sequence[SegmentEmbedding]],
    backbone: Backbone,
    clip: Path,
    folder: Path,
) -> FloatArray:
    """Embed a clip's sound: write a WAV file, read it back, and call `embed`."""
    timeline = _read_timeline(clip)
    rows = [np.zeros((0, backbone.dim), np.float32)]
    path = folder / "sound.wav"
    if _write_wav(clip, timeline, path):
        samples = _read_wav(path)
        for segment in timeline.segments:
            first, end = (round(s * SAMPLE_RATE) for s in (segment.start_s, segment.end_s))
            (found,) = embed([SegmentMedia(segment, audio=samples[first:end])])
            rows += [r.vectors for r in found.rows.values()]
    return np.concatenate(rows)


def _write_wav(clip: Path, timeline: _Timeline, target: Path) -> bool:
    """Write the sound as 16-bit mono at 16 kHz; False where there is none."""
    found = timeline.found
    if found.audio is None or found.sound is None:
        return False
    reader = AudioReader(str(clip), found.audio, found.sound, Skipped(), lambda: None)
    samples = reader.take(0.0, timeline.segments[-1].end_s)
    if samples is None:
        return False
    with wave.open(str(target), "wb") as file:
        file.setnchannels(1)
        file.setsampwidth(2)
        file.setframerate(SAMPLE_RATE)
        file.writeframes((np.clip(samples, -1, 1) * 32767).astype("<i2").tobytes())
    return True


def _read_wav(path: Path) -> FloatArray:
    with wave.open(str(path), "rb") as file:
        samples = np.frombuffer(file.readframes(file.getnframes()), "<i2")
    return np.asarray(samples / 32767, np.float32)


def _read_rgb(path: Path) -> ByteArray:
    return np.asarray(cv2.cvtColor(cv2.imread(str(path)), cv2.COLOR_BGR2RGB), np.uint8)


def _cores() -> int:
    return len(os.sched_getaffinity(0))


def _unit_pixels(frame: ByteArray) -> FloatArray:
    return np.asarray(frame.reshape(-1, 3) / 255, np.float32)


def _read_timeline(clip: Path) -> _Timeline:
    """Read a clip's timeline as vidsim does, so that both sample the same moments.

    Raises:
        MediaError: It is neither a video nor a sound.
    """
    found = scan(str(clip.absolute()), MAX_PIXELS, lambda: None)
    if not found.packets:
        raise MediaError("it holds no frame and no sound")
    return _Timeline(found, cut_segments(found.duration_s, SEGMENT_SECONDS))


def _write(path: Path, rows: Mapping[str, FloatArray]) -> None:
    with h5py.File(path, "w") as file:
        file["vectors"] = np.concatenate(list(rows.values())) if rows else np.zeros((0, 0))
        file["videos"] = [name for name, found in rows.items() for _ in found]


def as_published(backbone: Backbone) -> Backbone:
    """Return the sampling of its network that has the pictures of the network's publisher."""
    published = BACKBONES.get(backbone.network, backbone)
    return published if published.is_sampling_of(backbone) else backbone


def main() -> None:
    """Read the arguments of `embed_folder` as JSON from stdin; print a `CapstoneRun` as JSON."""
    order = json.load(sys.stdin)
    run = embed_folder(
        [Path(file) for file in order["files"]],
        [as_published(BACKBONES[name]) for name in order["backbones"]],
        order["device"],
        Path(order["target"]),
    )
    json.dump(asdict(run), sys.stdout)


if __name__ == "__main__":
    main()
