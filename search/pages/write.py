"""Writes the page of a result, whole or not at all."""

from __future__ import annotations

from collections.abc import Callable, Iterator
from pathlib import Path

from ...ingest.decode.pictures import PictureReader
from ...ingest.system.atomic_file import whole_file
from ...ingest.system.progress import Progress
from ...schemas.errors import StoreError
from ...schemas.explanation import Explanation
from ...schemas.results import DuplicatesReport, QueryResult
from .answers import duplicates_page, query_page, query_title
from .document import document
from .explanation import explanation_page, explanation_title
from .thumbnails import Thumbnails

_STAGE = "drawing pictures"


def write_page(
    result: QueryResult | DuplicatesReport | Explanation, file: Path, progress: Progress
) -> Path:
    """Write the page of a result; return its path.

    Raises:
        StoreError: The file cannot be written.
    """
    if file.is_dir():
        raise StoreError(f"{file} is a folder; name a file for the page.")
    if not file.absolute().parent.is_dir():
        raise StoreError(f"There is no folder {file.absolute().parent}; create it first.")
    title, parts, body = _page(result)
    progress.start(_STAGE, parts, "results")
    with PictureReader() as reader:
        lines = [*body(Thumbnails(reader), lambda: progress.advance(_STAGE, 1))]
    progress.finish(_STAGE)
    try:
        with whole_file(file) as partial:
            partial.write_text(document(title, lines), encoding="utf-8")
    except OSError as error:
        raise StoreError(
            f"The page {file} cannot be written ({error.strerror}); name another file."
        ) from error
    return file


def _page(
    result: QueryResult | DuplicatesReport | Explanation,
) -> tuple[str, int, Callable[[Thumbnails, Callable[[], None]], Iterator[str]]]:
    """Return the title of a page, how many parts it has, and what draws its body."""
    if isinstance(result, QueryResult):
        return query_title(result), len(result.results), lambda t, s: query_page(result, t, s)
    if isinstance(result, DuplicatesReport):
        found = result
        return (
            "Videos that share footage",
            len(found.pairs),
            lambda t, s: duplicates_page(found, t, s),
        )
    return explanation_title(result), 1, lambda t, s: explanation_page(result, t, s)
