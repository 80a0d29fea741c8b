"""Near-duplicates: wavelet hashes propose pairs of videos, frame embeddings confirm them.

Every frame hash looks for its neighbours among all others (Hamming distance, faiss). Two
frames that match say by how much the two videos are shifted against each other; a pair of
videos counts where enough frames agree on one shift. Over the stretch that both show at that
shift, the cosines of their frame embeddings must then be high.
"""

from __future__ import annotations

from collections.abc import Iterator, Mapping, Sequence
from dataclasses import dataclass
from itertools import pairwise
from pathlib import Path

import numpy as np
import numpy.typing as npt

from ..ingest.frame_hashes import CROPS, HASH_BITS, FrameHashes, frame_hashes
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

_SHIFT_STEP_S = 0.25
_SHIFT_STEPS = 3
"""Shifts that fall into as many steps in a row are the same: frames lie up to 0.375 s apart
(see `frame_hashes`), so those of a copy lie up to half of that beside the original's."""

@dataclass(frozen=True)
class Match:
    """Frames of one video that match those of another at one crop and one shift of time.

    Attributes:
        first: Number of the video whose crops match.
        second: Number of the video whose whole frames they match.
        times_s: (n,) float64, when the matching frames are seen in the first video.
        shift_s: What to add for their time in the second.
        distance: Mean differing bits of the matching frames.
        share: Matching frames as a part of those that the two videos have in common at
            this shift.
    """

    first: int
    second: int
    times_s: npt.NDArray[np.float64]
    shift_s: float
    distance: float
    share: float


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


def match_videos(
    videos: Sequence[FrameHashes], max_distance: int, min_share: float
) -> list[Match]:
    """The best match of each pair of videos of which enough frames match.

    Every crop looks for whole frames of other videos within `max_distance` bits (faiss).
    """
    import faiss

    sizes = [len(v.whole) for v in videos]
    if not sum(sizes):
        return []
    owner = np.repeat(np.arange(len(videos)), sizes)
    times_s = np.concatenate([v.whole_s for v in videos])
    index = faiss.IndexBinaryFlat(HASH_BITS)
    index.add(np.concatenate([v.whole for v in videos]))
    best: dict[tuple[int, int], Match] = {}
    for number, video in enumerate(videos):
        if not len(video.crops):
            continue
        # faiss finds what is nearer than the radius, not what is just as far.
        limits, distances, found = index.range_search(
            video.crops.reshape(-1, HASH_BITS // 8), max_distance + 1
        )
        code = np.repeat(np.arange(len(limits) - 1), np.diff(limits.astype(np.int64)))
        foreign = owner[found] != number
        frame, crop = np.divmod(code[foreign], len(CROPS))
        found = found[foreign]
        hits = _Hits(frame, crop, owner[found], times_s[found], distances[foreign])
        for match in _best_shifts(number, hits, videos):
            pair = match.first, match.second
            if match.share >= min_share and (
                pair not in best or match.share > best[pair].share
            ):
                best[pair] = match
    return [best[pair] for pair in sorted(best)]


@dataclass(frozen=True)
class _Hits:
    """Crops of one video and the frames that they match; each (n,)."""

    frame: npt.NDArray[np.int64]
    crop: npt.NDArray[np.int64]
    video: npt.NDArray[np.int64]
    time_s: npt.NDArray[np.float64]
    distance: npt.NDArray[np.float32]


def _best_shifts(number: int, hits: _Hits, videos: Sequence[FrameHashes]) -> Iterator[Match]:
    """For each video that was hit, the match at the crop and shift with most frames."""
    if not len(hits.frame):
        return
    ours_s = videos[number].crops_s
    step = np.floor((hits.time_s - ours_s[hits.frame]) / _SHIFT_STEP_S).astype(np.int64)
    # Each hit votes in bins that overlap, so that no bin's edge divides a shift.
    votes = np.concatenate(
        [
            np.stack([hits.video, hits.crop, step - k, hits.frame], axis=1)
            for k in range(_SHIFT_STEPS)
        ]
    )
    order = np.lexsort((np.tile(hits.distance, _SHIFT_STEPS), *votes.T[::-1]))
    votes, distance = votes[order], np.tile(hits.distance, _SHIFT_STEPS)[order]
    new = np.diff(votes, axis=0, prepend=-1).any(axis=1)  # a frame's nearest hit in a bin
    votes, distance = votes[new], distance[new]
    first = np.flatnonzero(np.diff(votes[:, :3], axis=0, prepend=-1).any(axis=1))
    count = np.diff(first, append=len(votes))
    bits = np.add.reduceat(distance, first) / count
    other = votes[first, 0]
    shift = (votes[first, 2] + _SHIFT_STEPS / 2) * _SHIFT_STEP_S
    slack = _SHIFT_STEPS * _SHIFT_STEP_S / 2
    ends = np.array([(v.whole_s[0], v.whole_s[-1]) if len(v.whole) else (0, 0) for v in videos])
    common = np.searchsorted(ours_s, ends[other, 1] - shift + slack, side="right")
    common -= np.searchsorted(ours_s, ends[other, 0] - shift - slack)
    order = np.lexsort((bits, -count, other))
    for i in order[np.flatnonzero(np.diff(other[order], prepend=-1))].tolist():
        frames = votes[first[i] : first[i] + count[i], 3]
        times, moved = ours_s[frames], float(shift[i])
        pair = number, int(other[i])
        if pair[0] > pair[1]:
            pair, times, moved = pair[::-1], times + moved, -moved
        yield Match(*pair, times, moved, float(bits[i]), float(count[i] / common[i]))


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
