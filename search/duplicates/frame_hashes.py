"""Wavelet hashes of the frames of stored videos, computed on first use.

They are computed from the files, not at ingest: few libraries are ever searched for
duplicates, shards and Milvus stay as they are, and frames can be taken at four per second
(the 8 of a segment lie too far apart to tell where a copy starts). The hashes are cached under
vidsim's home by the file's fingerprint, so each file is decoded for them once.
"""

from __future__ import annotations

import logging
import os
from collections.abc import Iterator, Sequence
from contextlib import closing
from dataclasses import dataclass
from pathlib import Path

import cv2
import numpy as np
import numpy.typing as npt

from ...ingest.decode.events import Failed, SegmentMedia
from ...ingest.decode.flat import BAR, MOST_BAR
from ...ingest.decode.pool import decode_all
from ...ingest.decode.sampling import sample_times
from ...ingest.decode.segments import DecodeRequest
from ...ingest.system.atomic_file import whole_file
from ...ingest.system.progress import Progress
from ...schemas.embedding import ByteArray
from ...schemas.modality import FrameSampling
from ...schemas.results import FailedFile
from ...schemas.video import Video

_log = logging.getLogger(__name__)

HASH_BITS = 64

CROPS = (1.0, 0.9, 0.8)
"""Fractions of width and height, around the centre, that are hashed: a copy cut at its edges is
like one of them. docs/duplicates.md measures copies cut to these fractions and in between."""

_CROPPED_EVERY = 2
"""One frame in this many has its crops hashed, which saves a third of the hashes (a choice)."""

_SAMPLING = FrameSampling(count=16, size=128, fit="stretch")
_SEGMENT_SECONDS = 4.0
"""Segment length: 16 frames per 4 s (at most 6 s, see `cut_segments`), or per shorter clip."""

_FLAT = 4.0
"""Standard deviation in grey levels below which a frame (black, a fade) has no hash: the
signs of its wavelets are noise."""

_TELLING = 0.4
"""Grey levels by which the hashed cells must stray (see `telling`). Pages of text stray by
0.0, linear and radial gradients, with grain of 5 levels too, by up to 0.2. Of real frames 23 of
4,400 in capstone70 stray by less (most are sparks on black), 1 of 528 in neardup_semi, none of
2,144 in ucf101_mini; 144 of 1,520 in drone_visible, which are clear skies."""

_SIDE = 32
"""Side of the hashed frames in pixels, a power of two as the wavelets require."""

_FOLDER = "hashes-2"
"""Its number changes with the way hashes are computed."""


@dataclass(frozen=True)
class FrameHashes:
    """The hashes of one video, without frames whose hash would be uninformative.

    Attributes:
        whole: (n, 8) uint8: 64 bits per frame.
        whole_s: (n,) float64, time of each frame in seconds, ascending.
        crops: (m, len(CROPS), 8) uint8: the crops of some of these frames; where a crop is
            uninformative, the whole frame's hash.
        crops_s: (m,) float64, times of those frames in seconds.
    """

    whole: ByteArray
    whole_s: npt.NDArray[np.float64]
    crops: ByteArray
    crops_s: npt.NDArray[np.float64]


def frame_hashes(
    home: Path, videos: Sequence[Video], workers: int, progress: Progress
) -> tuple[dict[str, FrameHashes], list[FailedFile]]:
    """Return hashes of videos by id, and the files that cannot be read (any more).

    Cached hashes come from ``hashes-2`` under `home`. A file that has changed since its ingest
    is hashed as it is now, and these hashes are not cached.
    """
    folder = home / _FOLDER
    found = {v.video_id: kept for v in videos if (kept := _load(folder, v)) is not None}
    failed = []
    missing = [v for v in videos if v.video_id not in found]
    if missing:
        progress.start("hashing frames", len(missing), "videos")
        for video, result in _hash_all(missing, workers):
            if isinstance(result, str):
                failed.append(FailedFile(path=video.path, reason=result))
            else:
                found[video.video_id] = result
                if _is_as_stored(video):
                    _save(folder, video, result)
            progress.advance("hashing frames", 1)
        progress.finish("hashing frames")
    return found, failed


def _is_as_stored(video: Video) -> bool:
    """Return whether the file is still the one that was fingerprinted."""
    try:
        stat = os.stat(video.path)
    except OSError:
        return False
    return (stat.st_size, stat.st_mtime_ns) == (video.size, video.mtime_ns)


def _hash_all(videos: Sequence[Video], workers: int) -> Iterator[tuple[Video, FrameHashes | str]]:
    """Yield each video with its hashes, or with the reason why there are none."""
    requests = (
        (i, DecodeRequest(v.path, {"hash": _SAMPLING}, False, _SEGMENT_SECONDS))
        for i, v in enumerate(videos)
    )
    parts: dict[int, list[SegmentMedia]] = {}
    with closing(decode_all(requests, workers)) as events:
        for i, event in events:
            if isinstance(event, SegmentMedia):
                parts.setdefault(i, []).append(event)
            elif isinstance(event, Failed):
                parts.pop(i, None)
                yield videos[i], event.reason
            elif not hasattr(event, "duration_s"):
                yield videos[i], _hash_video(parts.pop(i, []))


def _hash_video(segments: Sequence[SegmentMedia]) -> FrameHashes:
    in_order = sorted(segments, key=lambda media: media.segment.index)
    shown = [s for s in in_order if "hash" in s.frames]
    grey = [cv2.cvtColor(f, cv2.COLOR_RGB2GRAY) for s in shown for f in s.frames["hash"]]
    times = [sample_times(_SAMPLING, s.segment) for s in shown]
    size = _SAMPLING.size
    return hash_frames(
        np.asarray(grey, np.uint8).reshape(-1, size, size), np.concatenate([*times, np.zeros(0)])
    )


def hash_frames(grey: ByteArray, times_s: npt.NDArray[np.float64]) -> FrameHashes:
    """Hash the frames (n, h, w) of one video, shown at `times_s`."""
    if len(grey):
        grey = without_bars(grey)
    shown = telling(grey)
    grey, times = grey[shown], times_s[shown]
    whole = wavelet_hashes(grey)
    some, whole_of_some = grey[::_CROPPED_EVERY], whole[::_CROPPED_EVERY]
    crops = []
    for part in CROPS:
        crop = _center(some, part)
        crops.append(np.where(telling(crop)[:, None], wavelet_hashes(crop), whole_of_some))
    return FrameHashes(
        whole=whole,
        whole_s=times,
        crops=np.stack(crops, axis=1),
        crops_s=times[::_CROPPED_EVERY],
    )


def telling(grey: ByteArray) -> npt.NDArray[np.bool_]:
    """Return which frames (n, h, w) have an informative hash, (n,).

    Each bit of a hash tells on which side of the median one of 8x8 cells lies. Where half of the
    cells share one level, as on a page with some text, their bits are rounding noise and the hash
    fits any such page; where half of them lie on a smooth surface, it fits any gradient.
    """
    cells = np.array(
        [cv2.resize(f.astype(np.float32), (8, 8), interpolation=cv2.INTER_AREA) for f in grey],
        np.float64,
    ).reshape(-1, HASH_BITS)
    half, ordered = HASH_BITS // 2, np.sort(cells, axis=1)
    from_level = (ordered[:, half:] - ordered[:, :-half]).min(axis=1) / 2
    from_surface = np.median(np.abs(cells @ _off_surface()), axis=1)
    strays = np.minimum(from_level, from_surface) >= _TELLING
    return np.asarray(strays & (grey.std(axis=(1, 2)) >= _FLAT), np.bool_)


def _off_surface() -> npt.NDArray[np.float64]:
    """Return the projection of 8x8 cells onto their residuals off a fitted surface, (64, 64).

    The surface is quadratic, with a cone around the centre for radial gradients.
    """
    y, x = (np.mgrid[:8, :8].reshape(2, -1) - 3.5) / 4
    terms = np.stack([np.ones_like(x), x, y, x * x, y * y, x * y, np.hypot(x, y)], axis=1)
    return np.asarray(np.eye(HASH_BITS) - terms @ np.linalg.pinv(terms), np.float64)


def _center(grey: ByteArray, part: float) -> ByteArray:
    """Crop frames (n, h, w) to the central `part` of their width and height."""
    top, left = (round(n * (1 - part) / 2) for n in grey.shape[1:])
    return grey[:, top : grey.shape[1] - top, left : grey.shape[2] - left]


def without_bars(grey: ByteArray) -> ByteArray:
    """Cut off the edges of frames (n, h, w) that are dark in every one of them."""
    brightest = grey.max(axis=0)
    top, bottom = _content(brightest.max(axis=1))
    left, right = _content(brightest.max(axis=0))
    return grey[:, top:bottom, left:right]


def _content(brightest: ByteArray) -> tuple[int, int]:
    """Return the first and end index of the content between the bars on both edges."""
    bright = np.flatnonzero(brightest > BAR)
    size = len(brightest)
    if not len(bright) or max(bright[0], size - 1 - bright[-1]) > MOST_BAR * size:
        return 0, size
    return int(bright[0]), int(bright[-1]) + 1


def wavelet_hashes(grey: ByteArray) -> ByteArray:
    """Compute wavelet hashes (n, 8) uint8 of frames (n, h, w): 64 bits each.

    Haar wavelets down to 8x8, compared with their median (imagehash's ``whash``). It omits
    ``remove_max_haar_ll``, which subtracts a constant from all values before they are compared
    with their median: the bits are the same.
    """
    import imagehash
    from PIL import Image

    bits = [
        imagehash.whash(
            Image.fromarray(cv2.resize(frame, (_SIDE, _SIDE), interpolation=cv2.INTER_AREA)),
            image_scale=_SIDE,
            remove_max_haar_ll=False,
        ).hash.reshape(-1)
        for frame in grey
    ]
    return np.packbits(np.array(bits, np.bool_).reshape(-1, HASH_BITS), axis=1)


def _load(folder: Path, video: Video) -> FrameHashes | None:
    path = folder / f"{video.fingerprint}.npz"
    try:
        with np.load(path, allow_pickle=False) as kept:
            if "fingerprint" in kept and str(kept["fingerprint"]) != video.fingerprint:
                return None  # another video's, under this name; vidsim 0.2 kept no fingerprint
            return FrameHashes(**{name: kept[name] for name in FrameHashes.__annotations__})
    except Exception:  # not cached yet, or damaged, of which zipfile and numpy say much
        return None


def _save(folder: Path, video: Video, hashes: FrameHashes) -> None:
    path = folder / f"{video.fingerprint}.npz"
    try:
        folder.mkdir(parents=True, exist_ok=True)
        with whole_file(path) as partial, partial.open("wb") as file:
            np.savez(file, fingerprint=np.array(video.fingerprint), **vars(hashes))
    except OSError as error:  # they are computed again when needed
        _log.info("%s cannot be written (%s).", path, error)
