"""Fixtures shared by the tests: generated clips, and the collection of real ones."""

from __future__ import annotations

import os
from collections.abc import Callable, Iterator, Mapping, Sequence
from contextlib import contextmanager
from dataclasses import replace
from fractions import Fraction
from pathlib import Path
from types import MappingProxyType
from typing import cast

import av
import numpy as np
import pytest
from av.audio.stream import AudioStream
from av.video.stream import VideoStream
from hypothesis import settings as hypothesis_settings

from vidsim.ingest.models.networks.quantization import dequantize, quantize
from vidsim.ingest.models.weights import ensure
from vidsim.ingest.shards.home import Place
from vidsim.schemas.backbones import BACKBONES, DEFAULT_PRESET, PRESETS, VID2IMG_SHAPE
from vidsim.schemas.embedding import EmbeddedVideo, Rows, SegmentEmbedding
from vidsim.schemas.errors import WeightsError
from vidsim.schemas.video import Segment, Video

from .milvus_targets import lite_server, milvus_server, target_place

__all__ = ["lite_server", "milvus_server", "target_place"]  # fixtures, for pytest to find

hypothesis_settings.register_profile("vidsim", deadline=None)  # machines differ, and are shared
hypothesis_settings.load_profile("vidsim")

MakeClip = Callable[..., Path]


@pytest.fixture(scope="session", autouse=True)
def own_folders(tmp_path_factory: pytest.TempPathFactory) -> Iterator[Path]:
    """A cache of this run, whichever process asks, so that no test leans on an earlier run's.

    VIDSIM_CACHE, where it is set, names another. The user's own home is out of every test's way.
    """
    run = tmp_path_factory.getbasetemp()
    if "PYTEST_XDIST_WORKER" in os.environ:
        run = run.parent
    with pytest.MonkeyPatch.context() as patch:
        cache = os.environ.get("VIDSIM_CACHE", str(run / "cache"))
        patch.setenv("VIDSIM_CACHE", cache)
        patch.setenv("VIDSIM_HOME", str(tmp_path_factory.mktemp("nobody") / "home"))
        yield Path(cache)


@contextmanager
def pulling(what: str) -> Iterator[None]:
    """Skips, with the reason, what needs the package index where it is out of reach.

    Continuous integration must reach it: there it fails.
    """
    try:
        yield
    except WeightsError as error:
        if "out of reach" not in str(error) or os.environ.get("CI"):
            raise
        pytest.skip(f"needs {what}: {error}")


@pytest.fixture(scope="session")
def weights(own_folders: Path) -> Path:
    """The cache, with the weights of the default preset, pulled once per run."""
    for name in PRESETS[DEFAULT_PRESET].values():
        if BACKBONES[name].weights is not None:
            with pulling(f"the weights of {name}"):
                ensure(BACKBONES[name])
    return own_folders


@pytest.fixture(scope="session")
def shared_data() -> Path:
    """The folder of real videos: VIDSIM_TEST_DATA, or ../shared/data beside the repository."""
    default = Path(__file__).resolve().parents[2] / "shared" / "data"
    folder = Path(os.environ.get("VIDSIM_TEST_DATA", default))
    if not folder.is_dir():
        pytest.skip(f"no test data at {folder}")
    return folder.resolve()  # paths are stored without links


def _grey(number: int, size: tuple[int, int], pix_fmt: str) -> av.VideoFrame:
    """A flat grey frame whose luma is 16 + number, so that decoding tells the number."""
    frame = av.VideoFrame(*size, pix_fmt)
    deep = pix_fmt.endswith("10le")
    for plane, level in zip(frame.planes, (16 + number, 128, 128), strict=True):
        if deep:
            plane.update(np.full(plane.buffer_size // 2, level * 4, "<u2").tobytes())
        else:
            plane.update(bytes([level]) * plane.buffer_size)
    return frame


def _tone(
    hertz: float, seconds: float, rate: int, channels: int, from_s: float
) -> Iterator[av.AudioFrame]:
    """A sine of amplitude 0.5 in frames of about 1,024 samples."""
    at = np.arange(round(seconds * rate))
    wave = 0.5 * np.sin(2 * np.pi * hertz * at / rate)
    done = round(from_s * rate)
    for chunk in np.array_split(wave, max(1, len(wave) // 1024)):
        packed = np.repeat((chunk * 32767).astype(np.int16), channels)[None]
        frame = av.AudioFrame.from_ndarray(packed, "s16", "mono" if channels == 1 else "stereo")
        frame.sample_rate, frame.pts, frame.time_base = rate, done, Fraction(1, rate)
        done += len(chunk)
        yield frame


@pytest.fixture
def make_clip(tmp_path: Path) -> MakeClip:
    """Writes a clip whose n-th frame is grey level n (lossless ffv1 unless told otherwise)."""

    def make(
        name: str = "clip.mkv",
        *,
        times: Sequence[float] = (),
        images: Sequence[np.ndarray] = (),
        size: tuple[int, int] = (64, 48),
        codec: str = "ffv1",
        pix_fmt: str = "yuv420p",
        tone: tuple[float, float, int, int] | None = None,
        audio_codec: str = "pcm_s16le",
        audio_from_s: float = 0.0,
        rotation: int = 0,
        aspect: Fraction | None = None,
        options: dict[str, str] | None = None,
    ) -> Path:
        """`times` in seconds; `tone` is (hertz, seconds, rate, channels), amplitude 0.5."""
        path = tmp_path / name
        with av.open(str(path), "w", options=options or {}) as container:
            video = sound = None
            if times:
                video = cast(VideoStream, container.add_stream(codec, rate=25))
                video.width, video.height = images[0].shape[1::-1] if len(images) else size
                video.pix_fmt = pix_fmt
                video.time_base = video.codec_context.time_base = Fraction(1, 1000)
                if aspect:
                    video.codec_context.sample_aspect_ratio = aspect
                if rotation:
                    video.set_display_rotation(rotation)
            if tone:
                sound = cast(AudioStream, container.add_stream(audio_codec, rate=tone[2]))
                sound.layout = "mono" if tone[3] == 1 else "stereo"
            if sound and tone:
                for chunk in _tone(*tone, from_s=audio_from_s):
                    container.mux(sound.encode(chunk))
                container.mux(sound.encode(None))
            if video:
                for number, time in enumerate(times):
                    if len(images):
                        frame = av.VideoFrame.from_ndarray(images[number % len(images)], "rgb24")
                        frame = frame.reformat(format=pix_fmt)
                    else:
                        frame = _grey(number % 220, size, pix_fmt)
                    frame.pts, frame.time_base = round(time * 1000), Fraction(1, 1000)
                    container.mux(video.encode(frame))
                container.mux(video.encode(None))
        return path

    return make


def embedded(
    video_id: str,
    *,
    fingerprint: str = "f0",
    backbones: Sequence[str] = ("labhist", "efficientnet_lite0"),
    segments: int = 1,
    seed: int = 0,
    label: str = "snow",
    silent: bool = False,
    dims: Mapping[str, int] = MappingProxyType({}),
) -> EmbeddedVideo:
    """A video with random vectors, as extraction would give it; `dims` are of other backbones."""
    random = np.random.default_rng(seed)
    sounds = 0 if silent else 10
    rows_a_segment = {"efficientnet_lite0": 8, "resnet50": 8, "yamnet": sounds, "vggish": sounds}
    parts, embeddings = [], []
    for i in range(segments):
        parts.append(Segment(i, 10.0 * i, 10.0 * (i + 1)))
        rows = {}
        for name in backbones:
            count = rows_a_segment.get(name, 1)
            if count:
                edges = np.linspace(10 * i, 10 * (i + 1), count + 1, dtype=np.float32)
                dim = dims.get(name) or BACKBONES[name].dim
                vectors = random.standard_normal((count, dim), np.float32)
                if name == "vggish":  # 256 levels are all that its post-processor gives
                    vectors = dequantize(quantize(vectors))
                rows[name] = Rows(vectors, edges[:-1], edges[1:])
        strip = None
        if {"labhist", "vid2img"} & set(backbones):
            strip = random.integers(0, 256, VID2IMG_SHAPE, np.uint8)
        if strip is not None and "vid2img" in backbones:
            pixels = (strip.reshape(1, -1) / 255).astype(np.float32)
            rows["vid2img"] = Rows(pixels, rows["vid2img"].start_s, rows["vid2img"].end_s)
        embeddings.append(SegmentEmbedding(rows, strip))
    library = video_id.split("/")[0]
    return EmbeddedVideo(
        video=Video(video_id, library, f"/videos/{video_id}", label, fingerprint, 100, 7),
        duration_s=10.0 * segments,
        segment_seconds=10.0,
        backbones=frozenset(backbones),
        segments=tuple(parts),
        embeddings=tuple(embeddings),
    )


def audioset_clip(video_id: str, label: str, seed: int = 0) -> EmbeddedVideo:
    """A clip as `vidsim ingest-audioset` stores it."""
    clip = embedded(video_id, backbones=("vggish",), seed=seed, label=label)
    address = f"https://www.youtube.com/watch?v={seed:011d}&t=30"
    return replace(clip, video=replace(clip.video, path=address))


@pytest.fixture
def place(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Place:
    """An empty home."""
    monkeypatch.setenv("VIDSIM_HOME", str(tmp_path / "home"))
    monkeypatch.delenv("VIDSIM_URI", raising=False)
    return Place(tmp_path / "home")
