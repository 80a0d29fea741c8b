"""The page that explains what makes two videos alike."""

from __future__ import annotations

from collections.abc import Callable, Iterator
from pathlib import Path

import numpy as np

from ...ingest.decode.pictures import png
from ...ingest.decode.sounds import sound_between
from ...schemas.answer import clock, decimals
from ...schemas.explanation import ExplainedVideo, Explanation
from ...schemas.results import MatchedMoment
from ..not_compared import pair_lacks
from ..places import is_address
from .chart import likeness_chart
from .document import COLORS, bars, figure, link, name, notes, opening, picture, text
from .spectrogram import spectrogram
from .thumbnails import Thumbnails

_FRAMES = 6
"""Pairs of frames that are shown (a choice)."""

_HEARD_S = 60.0
"""Most seconds of a spectrogram."""


def explanation_title(found: Explanation) -> str:
    """Return the title of an explanation's page."""
    return f"{Path(found.first.name).name} and {Path(found.second.name).name}"


def explanation_page(
    found: Explanation, thumbnails: Thumbnails, step: Callable[[], None]
) -> Iterator[str]:
    """Yield the HTML of an explanation."""
    first, second = (name(Path(video.name).name) for video in (found.first, found.second))
    yield f"<h1>{first} and {second}</h1>"
    for which, video in (("First", found.first), ("Second", found.second)):
        path = f' <span class="soft">{name(video.path)}</span>' if video.path != video.name else ""
        yield f"<p>{link(video.path, 0, which)}: {name(video.name)}{path}</p>"
    yield (
        f"<p><strong>{decimals(found.likeness)}</strong> "
        f'<span class="word">{text(found.word)}</span></p>'
    )
    yield from notes([*pair_lacks(found.missing_modalities), *found.notes])
    yield "<section><h2>Why</h2>"
    likeness = {m: of.likeness for m, of in found.modalities.items()}
    yield bars(likeness, "Likeness by modality")
    yield "</section>"
    yield "<section><h2>Where</h2>"
    yield from _moments(found)
    yield "</section>"
    yield "<section><h2>Frames</h2>"
    yield from _frames(found, thumbnails)
    yield "</section>"
    yield "<section><h2>Likeness over time</h2>"
    yield likeness_chart(found.over_time, found.moments[0], COLORS)
    yield "</section>"
    yield from _strips(found)
    yield from _sounds(found)
    step()


def _moments(found: Explanation) -> Iterator[str]:
    for moment in found.moments:
        ours = opening(found.first.path, moment.query_start_s, moment.query_end_s)
        theirs = opening(found.second.path, moment.start_s, moment.end_s)
        yield f"<p>First at {ours}, second at {theirs}: {decimals(moment.likeness)}</p>"


def _frames(found: Explanation, thumbnails: Thumbnails) -> Iterator[str]:
    best = found.moments[0]
    length = best.query_end_s - best.query_start_s
    yield '<div class="pairs">'
    for part in (np.arange(_FRAMES) + 0.5) / _FRAMES:
        at, other = best.query_start_s + part * length, best.start_s + part * length
        first = thumbnails.at(found.first.path, at, "Frame of the first")
        second = thumbnails.at(found.second.path, other, "Frame of the second")
        both = figure(first, f"First, {at:.1f} s") + figure(second, f"Second, {other:.1f} s")
        yield f'<div class="pair">{both}</div>'
    yield "</div>"


def _strips(found: Explanation) -> Iterator[str]:
    both = [(which, video.strip) for which, video in _named(found) if video.strip]
    if not both:
        return
    yield '<section class="wide"><h2>Colours over time</h2>'
    for which, strip in both:
        alt = f"Colour strip of the {which}: its dominant colours from start to end"
        yield figure(picture(strip, alt), f"The {which}, whole")
    yield "</section>"


def _sounds(found: Explanation) -> Iterator[str]:
    """Yield spectrograms of the best moment, where both have a sound there."""
    best = found.moments[0]
    drawn = []
    for which, video in _named(found):
        start, end = _stretch(best, which)
        end = min(end, start + _HEARD_S)
        here = video.path and not is_address(video.path)
        sound = sound_between(video.path, start, end) if here else None
        if sound is None:
            return
        alt = f"Spectrogram of the {which}, low pitch at the bottom"
        caption = f"The {which}, {clock(start)} to {clock(end)}"
        drawn.append(figure(picture(png(spectrogram(sound)), alt), caption))
    yield "\n".join(['<section class="wide"><h2>Sound</h2>', *drawn, "</section>"])


def _named(found: Explanation) -> list[tuple[str, ExplainedVideo]]:
    return [("first", found.first), ("second", found.second)]


def _stretch(moment: MatchedMoment, which: str) -> tuple[float, float]:
    if which == "first":
        return moment.query_start_s, moment.query_end_s
    return moment.start_s, moment.end_s
