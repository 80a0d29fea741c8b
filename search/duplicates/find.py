"""Near-duplicates: wavelet hashes propose pairs of videos, frame embeddings confirm them.

Files of the same content are duplicates whatever they show, and sound alone too.

The crops of a video's frames are matched against the whole frames of all others (Hamming
distance, faiss), so that a copy cut at its edges is found. Matching frames give the time shift
between the two videos; a pair counts where enough frames agree on one crop and one shift, in one
stretch. Over this stretch the mean frame embeddings must be similar too.

The scan compares every crop with every frame: its time grows with the square of the library's size.
"""

from __future__ import annotations

from collections.abc import Iterator, Mapping, Sequence
from dataclasses import dataclass
from pathlib import Path

import numpy as np
import numpy.typing as npt

from ...ingest.shards.catalog import CatalogEntry
from ...ingest.shards.home import open_shards
from ...ingest.shards.shard_files import Shards
from ...ingest.system.progress import Progress
from ...ingest.system.unknown_names import unknown_library
from ...schemas.backbones import Backbones
from ...schemas.duplicates import DuplicateOptions
from ...schemas.embedding import FloatArray, unit
from ...schemas.errors import LibraryError
from ...schemas.modality import Modality
from ...schemas.presets import DEFAULT_PRESET, PRESETS
from ...schemas.results import DuplicatePair, DuplicatesReport, Stretch
from ..faiss_device import search_codes
from ..videos import VideoVectors, from_embedded
from .frame_hashes import CROPS, HASH_BITS, FrameHashes, frame_hashes
from .identical import has_content, have_same_content, same_content

_MIN_COVERAGE = 0.4
"""Fraction of the shorter video's frames that must match. A choice, not a measured optimum:
trimmed copies match almost completely, but half a video is worth listing too."""

_MIN_FRAMES = 3
"""Fewest matching frames that count as evidence, however short the other video is: one or two
match by chance, as in a logo or a fade. A choice."""

_FRAME_S = 0.5
"""Approximate duration that a matching frame stands for: the interval of hashed crops."""

_SHIFT_STEP_S = 0.25
_SHIFT_STEPS = 3
"""Shifts within this many consecutive steps are the same: frames lie up to 0.375 s apart (see
`frame_hashes`), so those of a copy lie up to half of that beside the original's."""


@dataclass(frozen=True, slots=True)
class Match:
    """Frames of two videos that match at one crop (of either) and one shift of time.

    Attributes:
        first: Number of one video, the smaller one.
        second: Number of the other.
        times_s: (n,) float64, times of the stretch's matching frames in the first video.
        shift_s: Added to them, gives the times in the second.
        distance: Mean number of differing bits of these frames.
        coverage: Their number as a fraction of the shorter video's frames.
    """

    first: int
    second: int
    times_s: npt.NDArray[np.float64]
    shift_s: float
    distance: float
    coverage: float


def find_duplicates(
    home: Path,
    libraries: Sequence[str],
    options: DuplicateOptions,
    workers: int,
    progress: Progress,
) -> DuplicatesReport:
    """List the pairs of stored videos that share footage, and where.

    Args:
        home: vidsim's home.
        libraries: Libraries to compare, within and across; none for all.
        options: The thresholds.
        workers: Decoder processes.
        progress: Receives the progress of the hashing.

    Raises:
        LibraryError: Nothing is stored, a library does not exist, or there are no frame
            embeddings and no identical files.
        StoreError: A shard cannot be read.
    """
    with open_shards(home).pinned() as shards:
        stored = _stored(shards, libraries)
        pairs = [_identical(a, b) for a, b in same_content(stored)]
        damage = [p for name in libraries or shards.libraries() for p in shards.problems(name)]
        try:
            name, notes = _backbone(shards.backbones, stored, libraries, bool(pairs))
        except LibraryError as error:
            if damage:
                raise LibraryError(
                    f"{error} They may be among what is lost: {damage[0]}"
                ) from error
            raise
        usable = [e for e in stored if e.rows.get(name)]
        hashes, failed = frame_hashes(home, [e.video for e in usable], workers, progress)
        entries = [e for e in usable if e.video.video_id in hashes]
        compared = [hashes[e.video.video_id] for e in entries]
        matches = [
            match
            for match in match_videos(compared, options.max_distance, progress)
            if not have_same_content(entries[match.first], entries[match.second])
        ]
        wanted = sorted({n for m in matches for n in (m.first, m.second)})
        vectors = _vectors(shards, [entries[n] for n in wanted], name)
        for match in matches:
            first, second = entries[match.first], entries[match.second]
            pair = _confirm(match, first, second, vectors)
            if pair.similarity >= options.min_similarity:
                pairs.append(pair)
    looked_at = {e.video.video_id for e in (*entries, *filter(has_content, stored))}
    return DuplicatesReport(
        libraries=sorted({e.video.library for e in stored}),
        videos=len(looked_at),
        max_distance=options.max_distance,
        min_similarity=options.min_similarity,
        pairs=sorted(pairs, key=_surest_first),
        failed=failed,
        notes=notes + damage,
    )


def _surest_first(pair: DuplicatePair) -> tuple[bool, float, str, str]:
    return not pair.identical, -pair.similarity, pair.first.video_id, pair.second.video_id


def match_videos(
    videos: Sequence[FrameHashes], max_distance: int, progress: Progress
) -> list[Match]:
    """Return the best match of each pair of videos with enough matching frames.

    Every crop is searched for among the whole frames of other videos, within `max_distance` bits
    (faiss). `progress` counts the videos whose crops have been searched for.
    """
    sizes = [len(v.whole) for v in videos]
    if not sum(sizes):
        return []
    owner = np.repeat(np.arange(len(videos)), sizes)
    times_s = np.concatenate([v.whole_s for v in videos])
    lengths_s = np.array([np.ptp(v.whole_s) if len(v.whole) else 0.0 for v in videos])
    search = search_codes(np.concatenate([v.whole for v in videos]))
    best: dict[tuple[int, int], Match] = {}
    progress.start("comparing hashes", len(videos), "videos")
    for number, video in enumerate(videos):
        progress.advance("comparing hashes", 1)
        if not len(video.crops):
            continue
        # faiss finds codes nearer than the radius, not those exactly at it.
        edges, distances, found = search(video.crops.reshape(-1, HASH_BITS // 8), max_distance + 1)
        code = np.repeat(np.arange(len(edges) - 1), np.diff(edges))
        foreign = owner[found] != number
        frame, crop = np.divmod(code[foreign], len(CROPS))
        found = found[foreign]
        hits = _Hits(frame, crop, owner[found], times_s[found], distances[foreign])
        for match in _best_shifts(number, video.crops_s, lengths_s, hits, max_distance):
            pair = match.first, match.second
            if pair not in best or match.coverage > best[pair].coverage:
                best[pair] = match
    progress.finish("comparing hashes")
    return [best[pair] for pair in sorted(best)]


@dataclass(frozen=True)
class _Hits:
    """Crops of one video and the frames that they match; each (n,)."""

    frame: npt.NDArray[np.int64]
    crop: npt.NDArray[np.int64]
    video: npt.NDArray[np.int64]
    time_s: npt.NDArray[np.float64]
    distance: npt.NDArray[np.int64]


def _best_shifts(
    number: int,
    ours_s: npt.NDArray[np.float64],
    lengths_s: npt.NDArray[np.float64],
    hits: _Hits,
    max_distance: int,
) -> Iterator[Match]:
    """Yield, for each video hit, the crop and shift at which most frames match best.

    Args:
        number: The video whose crops hit.
        ours_s: Times of its crops.
        lengths_s: Lengths of all videos, from the first hashed frame to the last.
        hits: Frames that the crops match.
        max_distance: Most differing bits of a crop and a frame.
    """
    if not len(hits.frame):
        return
    step = np.floor((hits.time_s - ours_s[hits.frame]) / _SHIFT_STEP_S).astype(np.int64)
    lowest = step.min() - _SHIFT_STEPS + 1
    steps, frames = step.max() - lowest + 1, len(ours_s)
    # Video, crop, shift, frame and distance in one integer, which sorts fast by the million.
    place = (hits.video * len(CROPS) + hits.crop) * steps + step - lowest
    vote = (place * frames + hits.frame) * HASH_BITS + hits.distance
    # Each hit votes in overlapping bins, so that no bin's edge splits a shift.
    votes = np.concatenate([vote - k * frames * HASH_BITS for k in range(_SHIFT_STEPS)])
    votes.sort()
    voters = votes // HASH_BITS
    nearest = np.diff(voters, prepend=-1) != 0  # a frame's nearest hit in a bin
    voters, distance = voters[nearest], votes[nearest] % HASH_BITS
    bins, frame = np.divmod(voters, frames)
    first = np.flatnonzero(np.diff(bins, prepend=-1))
    count = np.diff(first, append=len(bins))
    bits = np.add.reduceat(distance, first) / count
    pairs, moved = np.divmod(bins[first], steps)
    other = pairs // len(CROPS)
    shorter = np.minimum(lengths_s[other] / max(lengths_s[number], 1e-9), 1.0)
    coverage = np.minimum(count / np.maximum(len(ours_s) * shorter, 1.0), 1.0)
    closeness = count * (max_distance + 1 - bits)
    order = np.lexsort((-closeness, other))
    by_video = np.argsort(hits.video, kind="stable")
    bounds = np.searchsorted(hits.video, np.arange(len(lengths_s) + 1), sorter=by_video)
    for i in order[np.flatnonzero(np.diff(other[order], prepend=-1))].tolist():
        if coverage[i] < _MIN_COVERAGE or count[i] < _MIN_FRAMES:
            continue
        votes_of = slice(first[i], first[i] + count[i])
        stretch = _stretch_of(frame[votes_of], frames)
        matching, bits_of = frame[votes_of][stretch], distance[votes_of][stretch]
        covered = min(len(matching) / max(frames * float(shorter[i]), 1.0), 1.0)
        if covered < _MIN_COVERAGE or len(matching) < _MIN_FRAMES:
            continue
        video = int(other[i])
        of_video = by_video[bounds[video] : bounds[video + 1]]
        lies_in = step[of_video] - lowest - moved[i]
        voted = of_video[
            (hits.crop[of_video] == pairs[i] % len(CROPS))
            & (lies_in >= 0)
            & (lies_in < _SHIFT_STEPS)
            & np.isin(hits.frame[of_video], matching)
        ]
        times, later = ours_s[matching], _shift(hits, voted, ours_s)
        pair = number, video
        if pair[0] > pair[1]:
            pair, times, later = pair[::-1], times + later, -later
        yield Match(*pair, times, later, float(bits_of.mean()), covered)


def _stretch_of(matching: npt.NDArray[np.int64], frames: int) -> slice:
    """Return which of the matching frames lie in the matching stretch.

    It is the stretch with the largest sum over its frames, where a matching frame adds and any
    other subtracts so much that it ends where fewer than `_MIN_COVERAGE` of them match. A few
    chance matches far from the rest do not extend it.

    Args:
        matching: (n,) numbers of the frames that match, ascending.
        frames: Number of all frames.
    """
    gain = np.full(frames, -_MIN_COVERAGE)
    gain[matching] += 1
    sums = np.concatenate([[0.0], np.cumsum(gain)])
    lowest = np.minimum.accumulate(sums)
    end = int((sums - lowest).argmax())
    start = int(sums[: end + 1].argmin())
    first, last = np.searchsorted(matching, [start, end])
    return slice(int(first), int(last))


def _shift(hits: _Hits, voted: npt.NDArray[np.int64], ours_s: npt.NDArray[np.float64]) -> float:
    """Return the median shift of the hits `voted`, over each frame's nearest one."""
    nearest = voted[np.lexsort((hits.distance[voted], hits.frame[voted]))]
    nearest = nearest[np.diff(hits.frame[nearest], prepend=-1) != 0]
    return float(np.median(hits.time_s[nearest] - ours_s[hits.frame[nearest]]))


def _confirm(
    match: Match,
    first: CatalogEntry,
    second: CatalogEntry,
    vectors: Mapping[str, VideoVectors],
) -> DuplicatePair:
    """Return the pair with its matching stretch, and the similarity of its embeddings there."""
    shift = match.shift_s
    start = max(0.0, -shift, float(match.times_s.min()) - _FRAME_S / 2)
    end = float(match.times_s.max()) + _FRAME_S / 2
    end = max(start, min(first.duration_s, second.duration_s - shift, end))
    ours = _mean(vectors[first.video.video_id], start, end)
    theirs = _mean(vectors[second.video.video_id], start + shift, end + shift)
    return DuplicatePair(
        first=_stretch(first, start, end),
        second=_stretch(second, start + shift, end + shift),
        hash_distance=match.distance,
        similarity=float(ours @ theirs),
        coverage=match.coverage,
    )


def _mean(video: VideoVectors, start_s: float, end_s: float) -> FloatArray:
    """Return the normalised mean of the rows in a stretch, or the one nearest to its middle."""
    middle = (video.start_s + video.end_s) / 2
    inside = (middle >= start_s) & (middle <= end_s)
    if not inside.any():
        inside[np.abs(middle - (start_s + end_s) / 2).argmin()] = True
    mean: FloatArray = unit(video.rows[inside].mean(axis=0, keepdims=True))[0]
    return mean


def _stretch(entry: CatalogEntry, start: float, end: float) -> Stretch:
    return Stretch(
        video_id=entry.video.video_id,
        path=entry.video.path,
        start_s=max(0.0, start),
        end_s=min(entry.duration_s, end),
    )


def _identical(first: CatalogEntry, second: CatalogEntry) -> DuplicatePair:
    return DuplicatePair(
        first=_stretch(first, 0.0, first.duration_s),
        second=_stretch(second, 0.0, second.duration_s),
        hash_distance=0.0,
        similarity=1.0,
        coverage=1.0,
        identical=True,
    )


def _stored(shards: Shards, libraries: Sequence[str]) -> list[CatalogEntry]:
    known = shards.libraries()
    if not known:
        raise LibraryError("Nothing is stored yet; run 'vidsim ingest FOLDER' first.")
    for library in libraries:
        if library not in known:
            raise unknown_library(library, known)
    return [e for name in dict.fromkeys(libraries or known) for e in shards.catalog(name).values()]


def _backbone(
    known: Backbones, stored: Sequence[CatalogEntry], libraries: Sequence[str], listed: bool
) -> tuple[str, list[str]]:
    """Choose the frame backbone that confirms, the preset's or else any, with notes about it.

    "" where no video has such rows: then only identical files are found, if any are `listed`.
    """
    frame = [b.name for b in known.values() if b.modality is Modality.FRAME]
    names = (PRESETS[DEFAULT_PRESET][Modality.FRAME], *frame)
    for name in names:
        if any(e.rows.get(name) for e in stored):
            return name, _of_other_backbones(name, names, stored)
    where = ", ".join(libraries) or ", ".join(sorted({e.video.library for e in stored}))
    if any(name in e.rows for e in stored for name in names):
        return "", [f"{where} has no pictures, so only identical files were looked for."]
    lacking = f"{where} has no frame embeddings to confirm duplicates with"
    if not listed:
        raise LibraryError(f"{lacking}; run 'vidsim ingest FOLDER -m frame'.")
    return "", [
        f"{lacking}, so only identical files were looked for; run 'vidsim ingest FOLDER -m frame' "
        "for others."
    ]


def _of_other_backbones(
    chosen: str, frame: Sequence[str], stored: Sequence[CatalogEntry]
) -> list[str]:
    """Return a note on libraries whose frames are of other backbones than the chosen one."""
    has: dict[str, set[str]] = {}
    for entry in stored:
        has.setdefault(entry.video.library, set()).update(n for n in frame if entry.rows.get(n))
    others = sorted(library for library, names in has.items() if names and chosen not in names)
    if not others:
        return []
    return [
        f"{' and '.join(others)} {'has' if len(others) == 1 else 'have'} no frames by {chosen}, "
        "so only identical files were looked for there; name libraries alike with --library, or "
        f"run 'vidsim ingest FOLDER -m frame --model frame={chosen}' for the folder."
    ]


def _vectors(
    shards: Shards, entries: Sequence[CatalogEntry], backbone: str
) -> dict[str, VideoVectors]:
    found = {}
    for library in sorted({e.video.library for e in entries}):
        mine = [e for e in entries if e.video.library == library]
        for video in shards.read(mine, [backbone]):
            vectors = from_embedded(shards.backbones[backbone], video)
            if vectors is not None:
                found[video.video.video_id] = vectors
    return found
