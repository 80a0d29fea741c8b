"""Moments: the stretches of a query and of a video that correspond, by all modalities together.

The two are laid out on grids of time. A cell holds how alike the query is at one time and the video
at another; a run along a diagonal is a stretch of the query that the video shows at the same speed.
"""

from __future__ import annotations

from collections.abc import Iterator, Mapping
from dataclasses import dataclass

import numpy as np

from ..schemas.modality import Modality
from .likeness import Values, Yardstick, average, likeness
from .videos import VideoVectors, similarities

_STEP_S = 0.25
"""Seconds between times of the grid, where the videos are short: a fifth of the distance between
frames that are described."""

_CELLS = 1_000_000
"""Most cells of a grid: half a minute at `_STEP_S` against an hour and a half, or an hour against
an hour at 3.6 seconds; some 0.1 s for a result."""

_MOST = 5
"""Most moments of a result (a choice)."""

_CHANGES = 20.0
"""Log-odds that a cosine of 1 between changes counts as: of 2, 5, 10 and 20 the one that puts most
of 200 cut-out clips within a second of where they are from (docs/fusion.md)."""

_OF_CHANGES: Mapping[Modality, float] = {
    Modality.COLOR: 0.2,
    Modality.FRAME: 1.0,
    Modality.AUDIO: 1.0,
    Modality.MOTION: 0.2,
}
"""Weights of the modalities' changes: colour and motion have a row a segment (a choice)."""

_NO_CHANGE = 0.1
"""Length of a difference from the mean that counts half: rows have length 1."""

_MARGIN = 0.05
"""Log-odds by which each cell counts more than the median: of equal runs the longest is taken."""

_STANDS_OUT = 0.5
"""Log-odds over the median that a further moment has at least: where all of a video is alike, no
stretch of it is one (a choice)."""

_NEXT = 0.8
"""Part of what the best moment has over the median that a further one has at least (a choice)."""

_POINTS = 240
"""Most points of a likeness over time (a choice)."""

_LEAST_S = 1.0
"""Seconds that a further moment lasts at least, or half of the best one where that is shorter."""


@dataclass(frozen=True)
class Moment:
    """A stretch of the query, and one of the video, as long, that is like it; in seconds."""

    query_start_s: float
    query_end_s: float
    start_s: float
    end_s: float
    likeness: float


@dataclass(frozen=True)
class _Run:
    """Cells along a diagonal: (row, column) to (row + length, column + length)."""

    row: int
    column: int
    length: int


def find_moments(
    query: Mapping[Modality, VideoVectors],
    video: Mapping[Modality, VideoVectors],
    yardsticks: Mapping[Modality, Yardstick],
    weights: Mapping[Modality, float],
) -> list[Moment]:
    """Find where a query and a video correspond, the best stretch first.

    Args:
        query: Its vectors.
        video: Its vectors; modalities that it lacks do not count.
        yardsticks: For each modality of the query.
        weights: For each of those modalities, above 0.
    """
    both = [m for m in query if m in video]
    starts = tuple(min(of[m].start_s[0] for m in both) for of in (query, video))
    ends = tuple(max(of[m].end_s[-1] for m in both) for of in (query, video))
    lengths = [end - start for start, end in zip(starts, ends, strict=True)]
    step = max(_STEP_S, float(np.sqrt(lengths[0] * lengths[1] / _CELLS)))
    times = [
        start + step * (np.arange(max(round(length / step), 1)) + 0.5)
        for start, length in zip(starts, lengths, strict=True)
    ]
    parts = {m: (_between(query[m], times[0]), _between(video[m], times[1])) for m in both}

    def laid_out(values: Mapping[Modality, Values], weights: Mapping[Modality, float]) -> Values:
        return average({m: parts[m][0] @ of @ parts[m][1].T for m, of in values.items()}, weights)

    grid = laid_out({m: _odds(yardsticks[m], query[m], video[m]) for m in both}, weights)
    changes = laid_out({m: _changes(query[m], video[m]) for m in both}, _OF_CHANGES)
    found = []
    for run in _runs(grid, changes, step):
        cells = grid[run.row + np.arange(run.length), run.column + np.arange(run.length)]
        begin, other = starts[0] + run.row * step, starts[1] + run.column * step
        found.append(
            Moment(
                query_start_s=begin,
                query_end_s=min(begin + run.length * step, ends[0]),
                start_s=other,
                end_s=min(other + run.length * step, ends[1]),
                likeness=float(likeness(cells.mean())),
            )
        )
    return found


def likeness_along(
    query: Mapping[Modality, VideoVectors],
    video: Mapping[Modality, VideoVectors],
    yardsticks: Mapping[Modality, Yardstick],
    weights: Mapping[Modality, float],
    shift_s: float,
) -> tuple[Values, Values, dict[Modality, Values]]:
    """Return how alike a query and a video are over time, both played at once.

    Args:
        query: Its vectors.
        video: Its vectors, of the same modalities.
        yardsticks: For each of those modalities.
        weights: For each of those modalities, above 0.
        shift_s: How much later than the query's the video's times are.

    Returns:
        (n,) times of the query, seconds; (n,) likeness; and (n,) likeness by modality.
    """
    start = max(
        min(of.start_s[0] for of in query.values()),
        min(of.start_s[0] for of in video.values()) - shift_s,
    )
    end = min(
        max(of.end_s[-1] for of in query.values()),
        max(of.end_s[-1] for of in video.values()) - shift_s,
    )
    count = int(np.clip(round((end - start) / _STEP_S), 1, _POINTS))
    times = start + max(end - start, 0) * (np.arange(count) + 0.5) / count
    odds = {}
    for m, ours in query.items():
        theirs = video[m]
        parts = zip(_between(ours, times), _between(theirs, times + shift_s), strict=True)
        odds[m] = np.array([_meeting(yardsticks[m], ours, theirs, *each) for each in parts])
    return times, likeness(average(odds, weights)), {m: likeness(of) for m, of in odds.items()}


def _meeting(
    yardstick: Yardstick, query: VideoVectors, video: VideoVectors, ours: Values, theirs: Values
) -> float:
    """Return the log-odds of rows of which each side has these parts."""
    left, right = np.flatnonzero(ours), np.flatnonzero(theirs)
    rows = similarities(yardstick.backbone, query.rows[left], video.rows[right])
    return float(ours[left] @ yardstick.log_odds(rows.astype(np.float64)) @ theirs[right])


def _odds(yardstick: Yardstick, query: VideoVectors, video: VideoVectors) -> Values:
    """Return (query rows, video rows) log-odds."""
    rows = similarities(yardstick.backbone, query.rows, video.rows)
    return yardstick.log_odds(rows.astype(np.float64))


def _changes(query: VideoVectors, video: VideoVectors) -> Values:
    """Return (query rows, video rows) cosines of how rows differ from the mean of their side.

    In a scene that hardly changes all rows are alike; what changes tells the time.
    """
    sides = []
    for rows in (query.rows, video.rows):
        apart = rows - rows.mean(axis=0)
        sides.append(apart / (np.linalg.norm(apart, axis=1, keepdims=True) + _NO_CHANGE))
    return np.asarray(sides[0] @ sides[1].T, np.float64)


def _between(vectors: VideoVectors, times: Values) -> Values:
    """Return (times, rows) parts that rows have at each time; they sum to 1."""
    middles = (vectors.start_s + vectors.end_s) / 2
    after = np.searchsorted(middles, times)
    left, right = np.maximum(after - 1, 0), np.minimum(after, len(middles) - 1)
    apart = middles[right] - middles[left]
    part = np.where(apart > 0, (times - middles[left]) / np.where(apart > 0, apart, 1), 0)
    parts = np.zeros((len(times), len(middles)))
    at = np.arange(len(times))
    parts[at, left] = 1 - part
    parts[at, right] += part
    return parts


def _runs(grid: Values, changes: Values, step: float) -> Iterator[_Run]:
    """Yield the run that stands out most, then others of the video that are about as good."""
    above = grid - np.median(grid)
    gain = above + _CHANGES * changes + _MARGIN
    least = -np.inf
    shortest = 1
    for _ in range(_MOST):
        run = _core(_best_run(gain), above)
        along = np.arange(run.length)
        mean = float(above[run.row + along, run.column + along].mean())
        if mean < least or run.length < shortest:
            return
        if least == -np.inf:
            least = max(_NEXT * mean, _STANDS_OUT)
            shortest = min(round(_LEAST_S / step), (run.length + 1) // 2)
        yield run
        gain[:, run.column : run.column + run.length] = -np.inf


def _core(run: _Run, above: Values) -> _Run:
    """Return the part of a run that is alike, without ends that only agree better than most."""
    along = np.arange(run.length)
    cells = above[run.row + along, run.column + along]
    level = max(float(np.quantile(cells, 0.75)) / 2, 0.0)
    sums = np.concatenate([[0.0], np.cumsum(cells - level + _MARGIN)])
    end = 1 + int((sums[1:] - np.minimum.accumulate(sums[:-1])).argmax())
    start = int(sums[:end].argmin())
    return _Run(run.row + start, run.column + start, end - start)


def _best_run(gain: Values) -> _Run:
    """Return the run along a diagonal whose sum is largest (Kadane's algorithm on each)."""
    rows, columns = gain.shape
    sums = np.full(columns, -np.inf)
    lengths = np.zeros(columns, np.int64)
    best, found = -np.inf, _Run(0, 0, 1)
    for row in range(rows):
        sums[1:], lengths[1:] = sums[:-1].copy(), lengths[:-1].copy()
        sums[0], lengths[0] = 0.0, 0
        ended = sums <= 0
        sums[ended], lengths[ended] = 0.0, 0
        sums += gain[row]
        lengths += 1
        column = int(sums.argmax())
        if sums[column] > best:
            best, length = sums[column], int(lengths[column])
            found = _Run(row - length + 1, column - length + 1, length)
    return found
