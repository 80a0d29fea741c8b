"""The parts of a page: escaped text, links, pictures as data, bars, and the document around them.

A page asks nothing of any network and runs no script; its policy forbids browsers both. Names,
paths and labels come from files that strangers may have named: whatever is not made here passes
`text`.
"""

from __future__ import annotations

import html
import os
from base64 import b64encode
from collections.abc import Iterable, Mapping, Sequence
from string import Template

from ...schemas.answer import clock
from ..places import address_at, is_address

COLORS = {"color": "#e69f00", "frame": "#0072b2", "audio": "#009e73", "motion": "#cc79a7"}
"""Of the modalities; by Okabe and Ito, told apart by most people."""

_TYPES = {b"\xff\xd8": "image/jpeg", b"\x89P": "image/png"}
"""Media type by a picture's first two bytes."""

_PAGE = Template("""<!DOCTYPE html>
<html lang="en">
<head>
<meta charset="utf-8">
<meta name="viewport" content="width=device-width, initial-scale=1">
<meta http-equiv="Content-Security-Policy"
 content="default-src 'none'; img-src data:; style-src 'unsafe-inline'">
<meta name="referrer" content="no-referrer">
<meta name="generator" content="vidsim">
<title>$title</title>
<style>
:root { color-scheme: light dark; --paper: #fff; --ink: #1b1f24; --soft: #59636e; --line: #d1d9e0;
  --fill: #f3f5f7; --link: #0550ae }
@media (prefers-color-scheme: dark) {
  :root { --paper: #12161b; --ink: #e6eaef; --soft: #9aa5b1; --line: #39424d; --fill: #1d232b;
    --link: #79b8ff } }
* { box-sizing: border-box }
body { margin: 0 auto; padding: 1rem; max-width: 60rem; background: var(--paper);
  color: var(--ink); font: 1rem/1.45 system-ui, sans-serif; overflow-wrap: anywhere }
h1 { font-size: 1.4rem; line-height: 1.25 } h2 { font-size: 1.1rem; margin: 0 0 .25rem }
p { margin: .25rem 0 } a { color: var(--link) }
.soft, figcaption, caption { color: var(--soft); font-size: .9rem; text-align: left }
.note { border-left: .25rem solid #bf8700; background: var(--fill); padding: .5rem .75rem }
ol.items { list-style: none; margin: 1rem 0; padding: 0 }
ol.items > li { border-top: 1px solid var(--line); padding: 1rem 0 }
section { margin-top: 1.5rem }
.pair { display: grid; gap: .5rem 1rem; grid-template-columns: repeat(2, minmax(0, 15rem)) }
.pairs, .beside { display: grid; gap: 1rem 2rem; margin: .5rem 0;
  grid-template-columns: repeat(auto-fill, minmax(min(22rem, 100%), 1fr)) }
.beside { align-items: center; grid-template-columns:
  minmax(0, 31rem) repeat(auto-fit, minmax(min(16rem, 100%), 1fr)) }
@media (max-width: 50rem) { .beside { grid-template-columns: minmax(0, 1fr) } }
figure { margin: 0 } img { display: block; max-width: 100%; height: auto; border-radius: 4px }
.none { display: grid; place-items: center; min-height: 6rem; padding: .5rem; border-radius: 4px;
  border: 1px dashed var(--line); color: var(--soft); font-size: .9rem; text-align: center }
.word { border: 1px solid var(--line); border-radius: 1rem; padding: 0 .6rem; white-space: nowrap }
.wide img { width: 100%; height: 5rem; image-rendering: pixelated }
table { border-collapse: collapse; width: 100%; max-width: 31rem; font-size: .9rem }
th { text-align: left; font-weight: normal; width: 4.5rem; padding: .1rem 0 }
td.bar { width: auto } td.bar div { height: .7rem; border-radius: 2px; background: var(--fill) }
td.bar i { display: block; height: 100%; border-radius: 2px }
td.number { width: 3rem; text-align: right; font-variant-numeric: tabular-nums }
svg { width: 100%; max-width: 45rem; height: auto; font-size: 12px; fill: var(--ink) }
</style>
</head>
<body>
$body
</body>
</html>
""")


def document(title: str, body: Iterable[str]) -> str:
    """Return a whole page; `title` is plain text, `body` is HTML."""
    return _PAGE.substitute(title=text(title), body="\n".join(body))


def text(value: str) -> str:
    """Return plain text as HTML, with what does not print (controls, half characters) spelt out."""
    return html.escape("".join(c if c.isprintable() else ascii(c)[1:-1] for c in value))


def name(value: str) -> str:
    """Return a name as HTML whose script, from right to left perhaps, moves nothing around it."""
    return f"<bdi>{text(value)}</bdi>"


def picture(data: bytes, alt: str) -> str:
    """Return a JPEG or PNG as an image that holds its own data; `alt` says what it shows."""
    source = f"data:{_TYPES[data[:2]]};base64,{b64encode(data).decode('ascii')}"
    return f'<img src="{source}" alt="{text(alt)}">'


def no_picture(reason: str) -> str:
    """Return what stands in the place of a picture, and why."""
    return f'<div class="none">No picture: {text(reason)}</div>'


def figure(content: str, caption: str) -> str:
    """Return a picture, or what stands in its place, over its caption; both HTML."""
    return f"<figure>{content}<figcaption>{caption}</figcaption></figure>"


def link(path: str, at_s: float, words: str) -> str:
    """Return a link that opens a video at a time; only the words where there is no such file."""
    if is_address(path) or (os.path.isabs(path) and os.path.exists(path)):
        return f'<a href="{text(address_at(path, at_s))}">{text(words)}</a>'
    return text(words)


def opening(path: str, start_s: float, end_s: float) -> str:
    """Return a link that opens a video at the start of a stretch."""
    return link(path, start_s, f"{clock(start_s)}, {end_s - start_s:.0f} s")


def bars(values: Mapping[str, float | None], caption: str) -> str:
    """Return a table of bars from 0 to 1, with their numbers; None is told as "none"."""
    rows = [f"<table><caption>{text(caption)}</caption>"]
    for what, value in values.items():
        width = 100 * min(max(value or 0.0, 0.0), 1.0)
        color = COLORS.get(what, "var(--ink)")
        rows.append(
            f'<tr><th scope="row">{text(what)}</th><td class="bar"><div>'
            f'<i style="width: {width:.1f}%; background: {color}"></i></div></td>'
            f'<td class="number">{"none" if value is None else f"{value:.2f}"}</td></tr>'
        )
    return "\n".join([*rows, "</table>"])


def notes(sentences: Sequence[str]) -> list[str]:
    """Return a paragraph per sentence."""
    return [f'<p class="note">{text(sentence)}</p>' for sentence in sentences]
