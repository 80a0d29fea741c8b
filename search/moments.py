"""Moments: the stretches of a query and of a video that correspond, by all modalities together.

The two are laid out on grids of time. A cell holds how alike the query is at one time and the video
at another; a run along a diagonal is a stretch of the query that the video shows at the same speed.
"""

from __future__ import annotations

from collections.abc import Iterator, Mapping
from dataclasses import dataclass

import numpy as np

from ..schemas.embedding import FloatArray, IntArray
from ..schemas.modality import Modality
from .likeness import Values, Yardstick, likeness
from .videos import VideoVectors, row_by_row, similarities

_STEP_S = 0.25
"""Seconds between times of the grid: a fifth of the distance between frames that are described."""

_CELLS = 1_000_000
"""Most cells of a grid: ten seconds at `_STEP_S` against two hours. Where there would be more the
steps are larger, and what corresponds is looked at again in small ones."""

_INTERPOLATED_S = 1.0
"""Largest steps at which cells are interpolated: about the distance between rows."""

_REFINED_S = 60.0
"""Most seconds of a stretch that are looked at again (a choice)."""

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

_APART_S = 2.0
"""Seconds between moments at least, and what a further one lasts at least, or half of the best one
where that is shorter (a choice)."""

_POINTS = 240
"""Most points of a likeness over time (a choice)."""


@dataclass(frozen=True)
class Moment:
    """A stretch of the query, and one of the video that is like it; in seconds.

    They are as long, but where the query is a picture: then the video's is as long as it is seen.
    """

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


@dataclass(frozen=True)
class _Compared:
    """A query and a video, with the modalities that both have."""

    query: Mapping[Modality, VideoVectors]
    video: Mapping[Modality, VideoVectors]
    yardsticks: Mapping[Modality, Yardstick]
    weights: Mapping[Modality, float]

    def laid_out(self, ours: Values, theirs: Values, exact: bool) -> tuple[Values, Values]:
        """Return (query times, video times) log-odds, and cosines of what changes.

        With `exact` they are interpolated between rows, else those of the rows nearest in time.
        """
        odds, changes = {}, {}
        for m, query in self.query.items():
            left, right = _places(query, ours, exact), _places(self.video[m], theirs, exact)
            rows, columns = query.rows[left.used], self.video[m].rows[right.used]
            alike = similarities(self.yardsticks[m].backbone, rows, columns).astype(np.float64)
            odds[m] = right.between(left.between(self.yardsticks[m].log_odds(alike)).T).T
            changes[m] = right.between(left.between(_changes(rows, columns)).T).T
        return _mean(odds, self.weights), _mean(changes, _OF_CHANGES)


@dataclass(frozen=True)
class _Places:
    """Where times lie among rows.

    Attributes:
        used: Indexes of the rows that count.
        left: (times,) index in `used` of the row before each time.
        right: (times,) that of the row after it.
        part: (times,) how far it is from the former to the latter, 0 to 1.
    """

    used: IntArray
    left: IntArray
    right: IntArray
    part: Values

    def between(self, values: Values) -> Values:
        """Return (times, n) from (rows, n)."""
        return (
            values[self.left] * (1 - self.part[:, None]) + values[self.right] * self.part[:, None]
        )


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
    ours, theirs = ({m: of[m] for m in both} for of in (query, video))
    compared = _Compared(ours, theirs, yardsticks, weights)
    spans = _span(ours), _span(theirs)
    lengths = [end - start for start, end in spans]
    step = max(_STEP_S, float(np.sqrt(lengths[0] * lengths[1] / _CELLS)))
    found = []
    for pair in _stretches(compared, spans, step):
        asked, seen = _refined(compared, *pair, step) if step > _STEP_S else pair
        count = max(round((asked[1] - asked[0]) / step), 1)
        parts = (np.arange(count) + 0.5) / count
        at = [start + parts * (end - start) for start, end in (asked, seen)]
        odds = _odds_at(compared.query, compared.video, yardsticks, at[0], at[1])
        alike = float(likeness(_mean(odds, weights).mean()))
        found.append(Moment(*asked, *seen, alike))
    return found


_Stretch = tuple[float, float]
"""Start and end, in seconds."""


def _span(vectors: Mapping[Modality, VideoVectors]) -> _Stretch:
    starts, ends = zip(*((float(v.start_s[0]), float(v.end_s[-1])) for v in vectors.values()))
    return min(starts), max(ends)


def _stretches(
    compared: _Compared, spans: tuple[_Stretch, _Stretch], step: float, most: int = _MOST
) -> Iterator[tuple[_Stretch, _Stretch]]:
    """Yield stretches of the query and of the video that correspond, the best first."""
    times = [
        start + step * (np.arange(max(round((end - start) / step), 1), dtype=np.float64) + 0.5)
        for start, end in spans
    ]
    grid, changes = compared.laid_out(times[0], times[1], exact=step <= _INTERPOLATED_S)
    for run, columns in _runs(grid, changes, step, most):
        begin, other = spans[0][0] + run.row * step, spans[1][0] + columns.start * step
        yield (
            (begin, min(begin + run.length * step, spans[0][1])),
            (other, min(other + len(columns) * step, spans[1][1])),
        )


def _refined(
    compared: _Compared, ours: _Stretch, theirs: _Stretch, step: float
) -> tuple[_Stretch, _Stretch]:
    """Return stretches that were found in large steps, shifted to where they agree best."""
    middle = sum(ours) / 2
    half = min(ours[1] - ours[0], _REFINED_S) / 2
    shift = theirs[0] - ours[0]
    spans = [_span(compared.query), _span(compared.video)]
    wide = (middle - half, middle + half), (middle - half + shift, middle + half + shift)
    cut = tuple(
        (max(start - 2 * step * n, span[0]), min(end + 2 * step * n, span[1]))
        for n, ((start, end), span) in enumerate(zip(wide, spans))
    )
    fine, other = next(_stretches(compared, (cut[0], cut[1]), _STEP_S, most=1))
    closer = other[0] - fine[0]
    start = max(ours[0], spans[1][0] - closer)
    end = max(start, min(ours[1], spans[1][1] - closer))
    return (start, end), (start + closer, end + closer)


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
    odds = _odds_at(query, video, yardsticks, times, times + shift_s)
    return times, likeness(_mean(odds, weights)), {m: likeness(of) for m, of in odds.items()}


def _odds_at(
    query: Mapping[Modality, VideoVectors],
    video: Mapping[Modality, VideoVectors],
    yardsticks: Mapping[Modality, Yardstick],
    ours: Values,
    theirs: Values,
) -> dict[Modality, Values]:
    """Return (times,) log-odds by modality, of the rows nearest to times of both."""
    odds = {}
    for m, of in query.items():
        rows = of.rows[_nearest(of, ours)], video[m].rows[_nearest(video[m], theirs)]
        alike = row_by_row(yardsticks[m].backbone, *rows)
        odds[m] = yardsticks[m].log_odds(alike.astype(np.float64))
    return odds


def _mean(parts: Mapping[Modality, Values], weights: Mapping[Modality, float]) -> Values:
    """Return the weighted mean of parts that hold no NaN."""
    total = sum(weights[m] * part for m, part in parts.items())
    return np.asarray(total / sum(weights[m] for m in parts))


def _changes(ours: FloatArray, theirs: FloatArray) -> Values:
    """Return (query rows, video rows) cosines of how rows differ from the mean of their side.

    In a scene that hardly changes all rows are alike; what changes tells the time.
    """
    sides = []
    for rows in (ours, theirs):
        apart = rows - rows.mean(axis=0)
        sides.append(apart / (np.linalg.norm(apart, axis=1, keepdims=True) + _NO_CHANGE))
    return np.asarray(sides[0] @ sides[1].T, np.float64)


def _places(vectors: VideoVectors, times: Values, exact: bool) -> _Places:
    """Find the rows before and after each time, or with `exact` off the nearest one."""
    middles = (vectors.start_s + vectors.end_s) / 2
    after = np.searchsorted(middles, times)
    left, right = np.maximum(after - 1, 0), np.minimum(after, len(middles) - 1)
    apart = middles[right] - middles[left]
    part = np.where(apart > 0, (times - middles[left]) / np.where(apart > 0, apart, 1), 0)
    if not exact:
        left = right = np.where(part > 0.5, right, left)
        part = np.zeros(len(times))
    if len(middles) <= 2 * len(times):  # then nothing is saved by leaving rows out
        return _Places(np.arange(len(middles)), left, right, part)
    used, inverse = np.unique(np.concatenate([left, right]), return_inverse=True)
    return _Places(used, inverse[: len(times)], inverse[len(times) :], part)


def _nearest(vectors: VideoVectors, times: Values) -> IntArray:
    """Return the index of the row nearest to each time."""
    found = _places(vectors, times, exact=False)
    return np.asarray(found.used[found.left])


def _runs(grid: Values, changes: Values, step: float, most: int) -> Iterator[tuple[_Run, range]]:
    """Yield the run that stands out most, then others of the video that are about as good.

    With each come the columns that it is seen in: as many as it is long, or more where the query
    is hardly longer than a picture.
    """
    above = grid - np.median(grid)
    gain = above + _CHANGES * changes + _MARGIN
    least, shortest = -np.inf, 1
    apart = round(_APART_S / step)
    for _ in range(most):
        if (found := _best_run(gain)) is None:
            return
        run = _core(found, above)
        along = np.arange(run.length)
        mean = float(above[run.row + along, run.column + along].mean())
        if mean < least or run.length < shortest:
            return
        if least == -np.inf:
            least = max(_NEXT * mean, _STANDS_OUT)
            shortest = max(1, min(apart, (run.length + 1) // 2))
        columns = range(run.column, run.column + run.length)
        if len(grid) <= 2:
            columns = _seen(above[run.row], columns, _NEXT * mean)
        yield run, columns
        taken = slice(max(columns.start - apart, 0), columns.stop + apart)
        gain[:, taken] = above[:, taken] = -np.inf
        if above.max() < least:  # no run has a mean above its best cell
            return


def _seen(above: Values, columns: range, least: float) -> range:
    """Return `columns` with those beside them that have `least`."""
    start, stop = columns.start, columns.stop
    while start > 0 and above[start - 1] >= least:
        start -= 1
    while stop < len(above) and above[stop] >= least:
        stop += 1
    return range(start, stop)


def _core(run: _Run, above: Values) -> _Run:
    """Return the part of a run that is alike, without ends that only agree better than most."""
    along = np.arange(run.length)
    cells = above[run.row + along, run.column + along]
    level = max(float(np.quantile(cells, 0.75)) / 2, 0.0)
    sums = np.concatenate([[0.0], np.cumsum(cells - level + _MARGIN)])
    end = 1 + int((sums[1:] - np.minimum.accumulate(sums[:-1])).argmax())
    start = int(sums[:end].argmin())
    return _Run(run.row + start, run.column + start, end - start)


def _best_run(gain: Values) -> _Run | None:
    """Return the run along a diagonal whose sum is largest (Kadane's algorithm on each).

    None where every cell is minus infinity.
    """
    if len(gain) > gain.shape[1]:  # numpy takes the longer side at once
        run = _best_run(gain.T)
        return run and _Run(run.column, run.row, run.length)
    columns = gain.shape[1]
    sums = np.full(columns, -np.inf)
    lengths = np.zeros(columns, np.int64)
    best, found = -np.inf, None
    for row, gained in enumerate(gain):
        sums[1:], lengths[1:] = sums[:-1].copy(), lengths[:-1].copy()
        sums[0], lengths[0] = 0.0, 0
        ended = sums <= 0
        sums[ended], lengths[ended] = 0.0, 0
        sums += gained
        lengths += 1
        column = int(sums.argmax())
        if sums[column] > best:
            best, length = sums[column], int(lengths[column])
            found = _Run(row - length + 1, column - length + 1, length)
    return found
