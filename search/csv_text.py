"""Results as CSV, flat: a row per video, result or pair under a header, for tables and pandas."""

from __future__ import annotations

import csv
import io
from collections.abc import Iterator, Mapping, Sequence
from typing import TYPE_CHECKING

from ..schemas.answer import Line
from ..schemas.rounding import rounded

if TYPE_CHECKING:  # pydantic models, loaded by whatever creates them
    from ..schemas.results import DuplicatesReport, QueryMatch, QueryResult, StoredVideo


def catalogue_csv(videos: Sequence[StoredVideo]) -> Iterator[Line]:
    """Format a line of CSV per video under a header, with all that is known of it."""
    from ..schemas.results import StoredVideo

    names = list(StoredVideo.model_fields)
    yield csv_line(names)
    for video in videos:
        yield csv_line([_csv_cell(getattr(video, name)) for name in names])


def query_csv(result: QueryResult) -> Iterator[Line]:
    """Format a line per result; the times are those of its best moment."""
    names = [f"likeness_{modality}" for modality in result.modalities]
    yield csv_line([*_RESULT, *names])
    for found in result.results:
        cells = _of_result(found)
        likeness = [found.modalities.get(modality) for modality in result.modalities]
        by_modality = {n: m.likeness if m else None for n, m in zip(names, likeness)}
        yield csv_line([_csv_cell(rounded(v, n)) for n, v in {**cells, **by_modality}.items()])


_RESULT = (
    *("rank", "video_id", "path", "label", "likeness", "word"),
    *("start_s", "end_s", "query_start_s", "query_end_s"),
)


def _of_result(found: QueryMatch) -> dict[str, object]:
    moment = found.moments[0]
    return {name: getattr(found if hasattr(found, name) else moment, name) for name in _RESULT}


def duplicates_csv(report: DuplicatesReport) -> Iterator[Line]:
    """Format a line per pair."""
    yield csv_line([*_OF_PAIR, *(f"{side}_{name}" for side in _SIDES for name in _OF_STRETCH)])
    for pair in report.pairs:
        cells = {name: getattr(pair, name) for name in _OF_PAIR}
        for side in _SIDES:
            stretch = getattr(pair, side)
            cells |= {f"{side}_{name}": getattr(stretch, name) for name in _OF_STRETCH}
        yield csv_line([_csv_cell(rounded(value, name)) for name, value in cells.items()])


_SIDES = ("first", "second")
_OF_PAIR = ("identical", "similarity", "hash_distance", "coverage")
_OF_STRETCH = ("video_id", "path", "start_s", "end_s")


def csv_line(cells: Sequence[str]) -> str:
    """Format the cells of a line."""
    paper = io.StringIO()
    csv.writer(paper, lineterminator="").writerow(cells)
    return paper.getvalue()


def _csv_cell(value: object) -> str:
    """Return a value as a cell: names and numbers of rows are joined by spaces."""
    if isinstance(value, Mapping):
        return " ".join(f"{name}={number}" for name, number in value.items())
    if isinstance(value, list):
        return " ".join(value)
    return "" if value is None else str(value)
