"""A chart of the likeness over time, as SVG."""

from __future__ import annotations

from collections.abc import Iterator, Mapping, Sequence

from ...schemas.answer import clock
from ...schemas.explanation import LikenessAt
from ...schemas.results import MatchedMoment
from .document import text

_WIDE, _HIGH = 600, 220
_LEFT, _TOP, _RIGHT, _BOTTOM = 36, 10, 590, 170
"""Of the chart and of the plot in it, in units of the SVG."""


def likeness_chart(
    points: Sequence[LikenessAt], best: MatchedMoment, colors: Mapping[str, str]
) -> str:
    """Return the likeness over time, by all modalities and by each, as SVG.

    Args:
        points: In the order of time.
        best: The moment that is shaded.
        colors: Of the modalities.
    """
    start, end = points[0].first_s, points[-1].first_s
    span = max(end - start, 1e-6)

    def x(time_s: float) -> float:
        part = min(max((time_s - start) / span, 0.0), 1.0)
        return _LEFT + (_RIGHT - _LEFT) * part

    def y(likeness: float) -> float:
        return _BOTTOM - (_BOTTOM - _TOP) * likeness

    def lines() -> Iterator[str]:
        yield (
            f'<svg viewBox="0 0 {_WIDE} {_HIGH}" role="img" aria-label="Likeness over the time of '
            f'the first video, from {clock(start)} to {clock(end)}; the best moment is shaded">'
        )
        left, right = x(best.query_start_s), x(best.query_end_s)
        yield (
            f'<rect x="{left:.1f}" y="{_TOP}" width="{max(right - left, 1):.1f}" '
            f'height="{_BOTTOM - _TOP}" fill="var(--fill)"/>'
        )
        for level in (0.0, 0.5, 1.0):
            yield (
                f'<line x1="{_LEFT}" x2="{_RIGHT}" y1="{y(level):.1f}" y2="{y(level):.1f}" '
                f'stroke="var(--line)"/><text x="{_LEFT - 6}" y="{y(level) + 4:.1f}" '
                f'text-anchor="end">{level:g}</text>'
            )
        for modality in points[0].modalities:
            values = [(x(p.first_s), y(p.modalities[modality])) for p in points]
            yield _line(values, colors.get(modality, "var(--soft)"), 1.5)
        yield _line([(x(p.first_s), y(p.likeness)) for p in points], "var(--ink)", 3)
        yield f'<text x="{_LEFT}" y="{_BOTTOM + 16}">{clock(start)}</text>'
        yield f'<text x="{_RIGHT}" y="{_BOTTOM + 16}" text-anchor="end">{clock(end)}</text>'
        for n, (modality, color) in enumerate(
            [("all", "var(--ink)"), *((m, colors.get(m, "")) for m in points[0].modalities)]
        ):
            at = _LEFT + n * 90
            yield (
                f'<rect x="{at}" y="{_HIGH - 20}" width="14" height="4" fill="{color}"/>'
                f'<text x="{at + 20}" y="{_HIGH - 14}">{text(modality)}</text>'
            )
        yield "</svg>"

    return "\n".join(lines())


def _line(points: Sequence[tuple[float, float]], color: str, width: float) -> str:
    path = " ".join(f"{x:.1f},{y:.1f}" for x, y in points)
    return (
        f'<polyline points="{path}" fill="none" stroke="{color}" stroke-width="{width}" '
        'stroke-linejoin="round"/>'
    )
