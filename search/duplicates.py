"""Near-duplicates: wavelet hashes propose pairs of videos, frame embeddings confirm them.

Every frame hash looks for its neighbours among all others (Hamming distance, faiss). Two
frames that match say by how much the two videos are shifted against each other; a pair of
videos counts where enough frames agree on one shift. Over the stretch that both show at that
shift, the cosines of their frame embeddings must then be high.
"""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from itertools import pairwise
from pathlib import Path

import numpy as np
import numpy.typing as npt

from ..ingest.frame_hashes import HASH_BITS, FrameHashes, frame_hashes
from ..ingest.home import open_shards
from ..ingest.progress import Progress
from ..ingest.shards import CatalogEntry
from ..schemas.errors import LibraryError
from ..schemas.modality import BACKBONES, DEFAULT_PRESET, PRESETS, Modality
from ..schemas.results import DuplicatePair, DuplicatesReport, Stretch
from .videos import VideoVectors, from_embedded

MAX_DISTANCE = 14
MIN_SIMILARITY = 0.7
"""Measured on copies, near-duplicates and distractors; docs/duplicates.md has the figures."""

_NEIGHBOURS = 64
"""Matches looked at of each frame; a scene that is on screen for half a minute fills them."""

_SHIFT_BIN_S = 1.0
"""Shifts that differ by less are the same: frames are hashed twice a second."""

_MIN_SHARE = 0.4
"""Part of the frames under the stretch, of the video with fewer, that must match."""


@dataclass(frozen=True)
class _Match:
    """Two videos, by number, and the frames (i of the one, j of the other) that match."""

    first: int
    second: int
    frames: npt.NDArray[np.int64]
    distances: npt.NDArray[np.int64]


def find_duplicates(
    home: Path,
    libraries: Sequence[str],
    max_distance: int,
    min_similarity: float,
    workers: int,
    progress: Progress,
) -> DuplicatesReport:
    """Lists the pairs of stored videos that show the same, and where.

    Args:
        home: vidsim's home.
        libraries: Which to compare, within and between each other; none for all.
        max_distance: Most bits of 64 in which the hashes of two frames may differ.
        min_similarity: Least mean cosine of frame embeddings over the common stretch.
        workers: Decoder processes.
        progress: Told about the hashing.

    Raises:
        LibraryError: Nothing is stored, no such library, or none with frame embeddings.
        StoreError: A shard cannot be read.
    """
    entries, name = _entries(home, libraries)
    hashes, failed = frame_hashes(home, [e.video for e in entries], workers, progress)
    entries = [e for e in entries if e.video.video_id in hashes]
    pairs = []
    matches = match_videos([hashes[e.video.video_id] for e in entries], max_distance)
    wanted = sorted({n for m in matches for n in (m.first, m.second)})
    vectors = _vectors(home, [entries[n] for n in wanted], name)
    for match in matches:
        first, second = entries[match.first], entries[match.second]
        ids = first.video.video_id, second.video.video_id
        if ids[0] not in vectors or ids[1] not in vectors:
            continue
        pair = _confirm(match, first, second, hashes, vectors)
        if pair is not None and pair.similarity >= min_similarity:
            pairs.append(pair)
    return DuplicatesReport(
        libraries=sorted({e.video.library for e in entries}),
        videos=len(entries),
        max_distance=max_distance,
        min_similarity=min_similarity,
        pairs=sorted(pairs, key=lambda p: (-p.similarity, p.first.video_id, p.second.video_id)),
        failed=failed,
    )


def duplicates_table(report: DuplicatesReport) -> list[str]:
    """Lines a person reads: three a pair."""
    lines = []
    for p in report.pairs:
        lines.append(
            f"{p.similarity:.3f} cosine, {p.hash_distance:.1f} bits, {p.coverage:.0%} covered"
        )
        lines += [
            f"    {s.start_s:7.1f} - {s.end_s:7.1f} s  {s.video_id}" for s in (p.first, p.second)
        ]
    return lines


def match_videos(videos: Sequence[FrameHashes], max_distance: int) -> list[_Match]:
    """Pairs of videos with frames that match at one shift, as `_MIN_SHARE` asks."""
    import faiss

    sizes = [len(v.hashes) for v in videos]
    if not sum(sizes):
        return []
    codes = np.concatenate([v.hashes for v in videos])
    owner = np.repeat(np.arange(len(videos)), sizes)
    first_code = np.cumsum([0, *sizes])
    index = faiss.IndexBinaryFlat(HASH_BITS)
    index.add(codes)
    distances, neighbours = index.search(codes, min(_NEIGHBOURS, len(codes)))
    code = np.repeat(np.arange(len(codes)), neighbours.shape[1])
    other, distance = neighbours.reshape(-1), distances.reshape(-1).astype(np.int64)
    near = (other >= 0) & (distance <= max_distance) & (owner[code] != owner[other])
    code, other, distance = code[near], other[near], distance[near]
    flip = owner[code] > owner[other]
    a, b = np.where(flip, other, code), np.where(flip, code, other)
    # Both frames of a match may have found each other: once is enough.
    _, once = np.unique(a * len(codes) + b, return_index=True)
    a, b, distance = a[once], b[once], distance[once]
    order = np.lexsort((owner[b], owner[a]))
    a, b, distance = a[order], b[order], distance[order]
    pair = owner[a] * len(videos) + owner[b]
    edges = np.flatnonzero(np.diff(pair, prepend=-1, append=-1))
    found = []
    for start, end in pairwise(edges.tolist()):
        i, j = int(owner[a[start]]), int(owner[b[start]])
        frames = np.stack([a[start:end] - first_code[i], b[start:end] - first_code[j]], axis=1)
        match = _best_shift(_Match(i, j, frames, distance[start:end]), videos)
        if match is not None:
            found.append(match)
    return found


def _best_shift(match: _Match, videos: Sequence[FrameHashes]) -> _Match | None:
    """The frames of a match that agree on the shift with most votes; None if too few do."""
    first, second = videos[match.first], videos[match.second]
    shifts = second.times_s[match.frames[:, 1]] - first.times_s[match.frames[:, 0]]
    agree = np.abs(shifts[:, None] - shifts[None]) <= _SHIFT_BIN_S / 2
    kept = agree[int(agree.sum(axis=1).argmax())]
    shift = float(np.median(shifts[kept]))
    under = [
        int(((v.times_s >= low) & (v.times_s <= high)).sum())
        for v, low, high in (
            (first, second.times_s[0] - shift, second.times_s[-1] - shift),
            (second, first.times_s[0] + shift, first.times_s[-1] + shift),
        )
    ]
    matched = [len(np.unique(match.frames[kept, side])) for side in (0, 1)]
    least = min(under)
    if least == 0 or min(matched) < max(2, _MIN_SHARE * least):
        return None
    return _Match(match.first, match.second, match.frames[kept], match.distances[kept])


def _confirm(
    match: _Match,
    first: CatalogEntry,
    second: CatalogEntry,
    hashes: Mapping[str, FrameHashes],
    vectors: Mapping[str, VideoVectors],
) -> DuplicatePair | None:
    """The pair with the stretch it was found on, and how alike its embeddings are there."""
    ids = first.video.video_id, second.video.video_id
    times = [hashes[i].times_s[match.frames[:, side]] for side, i in enumerate(ids)]
    shift = float(np.median(times[1] - times[0]))
    start = max(0.0, -shift, float(times[0].min()) - _SHIFT_BIN_S / 2)
    end = min(first.duration_s, second.duration_s - shift, float(times[0].max()) + _SHIFT_BIN_S / 2)
    ours, theirs = vectors[ids[0]], vectors[ids[1]]
    middle = (ours.start_s + ours.end_s) / 2
    inside = np.flatnonzero((middle >= start) & (middle <= end))
    if not len(inside):
        inside = np.array([int(np.abs(middle - (start + end) / 2).argmin())])
    wanted = middle[inside] + shift
    nearest = np.abs((theirs.start_s + theirs.end_s)[None] / 2 - wanted[:, None]).argmin(axis=1)
    cosines = (ours.rows[inside] * theirs.rows[nearest]).sum(axis=1)
    return DuplicatePair(
        first=_stretch(first, start, end),
        second=_stretch(second, start + shift, end + shift),
        hash_distance=float(match.distances.mean()),
        similarity=float(cosines.mean()),
        coverage=min(1.0, (end - start) / max(min(first.duration_s, second.duration_s), 1e-9)),
    )


def _stretch(entry: CatalogEntry, start: float, end: float) -> Stretch:
    return Stretch(
        video_id=entry.video.video_id,
        path=entry.video.path,
        start_s=max(0.0, start),
        end_s=min(entry.duration_s, end),
    )


def _entries(home: Path, libraries: Sequence[str]) -> tuple[list[CatalogEntry], str]:
    """Stored videos with frame embeddings, and the backbone: the preset's, else any."""
    shards = open_shards(home)
    known = shards.libraries()
    if not known:
        raise LibraryError("Nothing is stored yet; run 'vidsim ingest FOLDER' first.")
    for library in libraries:
        if library not in known:
            raise LibraryError(f"No library is called {library}; there is {', '.join(known)}.")
    entries = [e for name in libraries or known for e in shards.catalog(name).values()]
    stored = {n for e in entries for n, rows in e.rows.items() if rows}
    frame = [b.name for b in BACKBONES.values() if b.modality is Modality.FRAME]
    preset = PRESETS[DEFAULT_PRESET][Modality.FRAME]
    usable = [n for n in (preset, *frame) if n in stored]
    if not usable:
        raise LibraryError(
            f"{', '.join(libraries or known)} has no frame embeddings to confirm duplicates "
            "with; run 'vidsim ingest FOLDER -m frame'."
        )
    return [e for e in entries if e.rows.get(usable[0])], usable[0]


def _vectors(home: Path, entries: Sequence[CatalogEntry], backbone: str) -> dict[str, VideoVectors]:
    shards = open_shards(home)
    found = {}
    for library in sorted({e.video.library for e in entries}):
        mine = [e for e in entries if e.video.library == library]
        for video in shards.read(library, mine, [backbone]):
            vectors = from_embedded(BACKBONES[backbone], video)
            if vectors is not None:
                found[video.video.video_id] = vectors
    return found
