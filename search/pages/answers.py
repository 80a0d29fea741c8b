"""Pages of rankings and of duplicates."""

from __future__ import annotations

from collections.abc import Callable, Iterator
from pathlib import Path

from ...schemas.answer import clock, count, decimals
from ...schemas.results import DuplicatesReport, QueryMatch, QueryResult, Stretch
from ..likeness import nothing_alike, word_among
from ..not_compared import query_lacks
from .document import bars, figure, link, name, notes, opening, text
from .thumbnails import Thumbnails, middles

Step = Callable[[], None]
"""Called after each result or pair."""


def query_title(result: QueryResult) -> str:
    """Return the title of a query's page."""
    return f"Videos like {_asked(result)}"


def query_page(result: QueryResult, thumbnails: Thumbnails, step: Step) -> Iterator[str]:
    """Yield the HTML of a query's answer."""
    yield f"<h1>Videos like {name(_asked(result))}</h1>"
    for example, path in zip(result.examples, result.example_paths, strict=True):
        yield f"<p>{link(path, 0, 'Open the query')}: {name(example)}</p>"
    for negative in result.negatives:
        yield f"<p>Not like {name(negative)}</p>"
    compared = ", ".join(result.modalities)
    yield f'<p class="soft">{count(len(result.results), "result")}, compared by {compared}.</p>'
    best = result.best_likeness or 0.0
    told = [nothing_alike(best, result.chance)] if result.nothing_alike else []
    yield from notes([*told, *query_lacks(result.missing_modalities), *result.notes])
    yield '<ol class="items">'
    for found in result.results:
        yield "<li><article>"
        yield from _match(result, found, thumbnails)
        yield "</article></li>"
        step()
    yield "</ol>"


def _asked(result: QueryResult) -> str:
    return " and ".join(Path(example).name for example in result.examples)


def _match(result: QueryResult, found: QueryMatch, thumbnails: Thumbnails) -> Iterator[str]:
    yield f"<h2>{found.rank}. {name(found.video_id)}</h2>"
    label = f", label {name(found.label)}" if found.label else ""
    yield (
        f"<p><strong>{decimals(found.likeness)}</strong> "
        f'<span class="word">{text(word_among(found.likeness, result.chance))}</span>{label}</p>'
    )
    best, *others = found.moments
    query_s, video_s = middles(best)
    theirs = opening(found.path, best.start_s, best.end_s)
    example = result.path_of(best.example)
    ours = opening(example, best.query_start_s, best.query_end_s)
    shown = thumbnails.at(found.path, video_s, f"Frame of {found.video_id}")
    asked = thumbnails.at(example, query_s, "Frame of the query")
    by_modality = {
        m: found.modalities[m].likeness if m in found.modalities else None
        for m in result.modalities
    }
    yield '<div class="beside"><div class="pair">'
    yield figure(asked, f"The query, at {ours}")
    yield figure(shown, f"This video, at {theirs}")
    yield "</div>"
    yield bars(by_modality, "Likeness by modality")
    yield "</div>"
    if others:
        also = ", ".join(link(found.path, m.start_s, clock(m.start_s)) for m in others)
        yield f"<p>Also at {also}.</p>"
    yield f'<p class="soft">{name(found.path)}</p>'


def duplicates_page(report: DuplicatesReport, thumbnails: Thumbnails, step: Step) -> Iterator[str]:
    """Yield the HTML of a report on duplicates."""
    pairs, videos = count(len(report.pairs), "pair"), count(report.videos, "video")
    yield "<h1>Videos that share footage</h1>"
    libraries = ", ".join(name(library) for library in report.libraries)
    yield f'<p class="soft">{pairs} among {videos} of {libraries}.</p>'
    yield from notes([*(f"{f.path}: {f.reason}" for f in report.failed), *report.notes])
    yield '<ol class="items">'
    for number, pair in enumerate(report.pairs, 1):
        yield "<li><article>"
        how = (
            "identical files"
            if pair.identical
            else f"{pair.coverage:.0%} of the shorter one, cosine {pair.similarity:.3f}, "
            f"{pair.hash_distance:.1f} of 64 bits differ"
        )
        yield f"<h2>{number}. {how}</h2>"
        yield '<div class="pair">'
        yield _stretch(pair.first, thumbnails)
        yield _stretch(pair.second, thumbnails)
        yield "</div></article></li>"
        step()
    yield "</ol>"


def _stretch(of: Stretch, thumbnails: Thumbnails) -> str:
    shown = thumbnails.at(of.path, (of.start_s + of.end_s) / 2, f"Frame of {of.video_id}")
    where = opening(of.path, of.start_s, of.end_s)
    return figure(shown, f"{name(of.video_id)}<br>at {where}<br>{name(of.path)}")
