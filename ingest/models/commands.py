"""vidsim models: the networks and their weights, on the command line."""

from __future__ import annotations

import textwrap
from collections.abc import Iterable, Iterator
from pathlib import Path
from typing import TYPE_CHECKING, Annotated, Any

import typer

from ...schemas.answer import Answer, Line
from ...schemas.options import Json

if TYPE_CHECKING:
    from ...schemas.backbones import Backbone

app = typer.Typer(help="The networks and their weights.")

Names = Annotated[
    list[str] | None,
    typer.Argument(metavar="NAME", help="Backbones [default: those of the default preset]."),
]


@app.command("list")
def list_models(json: Json = False) -> Answer:
    """List the backbones, their sizes and whether their weights are here."""
    from ...schemas.presets import DEFAULT_PRESET, PRESETS
    from ...schemas.settings import settings
    from ...schemas.weights import PublishedFiles
    from .registry import known_backbones
    from .weights import pinned_by, status

    defaults = PRESETS[DEFAULT_PRESET].values()
    rows = [
        {
            "modality": b.modality.value,
            "name": b.name,
            "dim": b.dim,
            "default": b.name in defaults,
            "weights": status(b),
            "pinned": pinned_by(b) if b.weights else None,
            "licence": b.weights.licence if b.weights else "",
            "from": b.weights.how if isinstance(b.weights, PublishedFiles) else "",
            "about": b.about,
        }
        for b in known_backbones(settings().home).values()
    ]
    return Answer(rows, _lines(rows), as_json=json)


_PINNED = {"": "not pinned", "MD5": "MD5 only"}
"""What is said of weights that are not pinned by their SHA-256."""


def _lines(rows: Iterable[dict[str, Any]]) -> Iterator[Line]:
    for row in rows:
        pinned = _PINNED.get(row["pinned"])
        known = [row["weights"], row["licence"], pinned, row["default"] and "default"]
        listed = ", ".join(str(item) for item in known if item)
        yield f"{row['name']:<22}  {row['modality']:<6}  {row['dim']:>5}-d  {listed}"
        more = [row["about"]]
        if row["from"] and row["weights"] != "pulled":
            more.append(f"weights: {row['from']}")
        for text in more:
            for line in textwrap.wrap(str(text), 76, break_long_words=False):
                yield f"    {line}"


@app.command()
def pull(names: Names = None) -> Answer:
    """Get weights, check them, and keep them for offline use.

    Without names, only what the default preset needs; nothing else is asked for.
    """
    from ..system.progress import Bars
    from .pull import prepare, pull

    chosen = _backbones(names or ())
    with Bars() as bars:
        pull(chosen, bars)
        prepare(chosen, bars)
    _register(names or ())
    return Answer(notes=["Here: " + ", ".join(b.name for b in chosen)])


@app.command()
def add(
    name: Annotated[str, typer.Argument(metavar="NAME", help="A backbone, or timm:NAME.")],
    files: Annotated[list[Path], typer.Argument(metavar="FILE", help="All of its weight files.")],
) -> Answer:
    """Take weights that were got by hand, if they hold that network.

    The checksum is held against the known one where there is one, and every tensor against
    the network; on an error nothing is kept.
    """
    from .weights import add

    (backbone,) = _backbones([name])
    add(backbone, files)
    _register([name])
    return Answer(notes=[f"Here: {backbone.name}"])


@app.command()
def path(name: Annotated[str, typer.Argument(metavar="NAME", help="A backbone.")]) -> Answer:
    """Print the folder that holds a backbone's weights."""
    from .weights import locate

    return Answer(text=[str(locate(_backbones([name])[0]))])


def _backbones(names: Iterable[str]) -> list[Backbone]:
    """Return the named backbones; by default those of the default preset that have weights.

    Raises:
        ModelError: A name is not a backbone.
    """
    from ...schemas.errors import ModelError
    from ...schemas.presets import DEFAULT_PRESET, PRESETS
    from ...schemas.settings import settings
    from ...schemas.weights import TIMM_SCHEME
    from .registry import describe_timm, known_backbones

    home = settings().home
    known = known_backbones(home)
    chosen = []
    for name in names:
        if name.startswith(TIMM_SCHEME):
            chosen.append(describe_timm(home, name))
        elif name in known:
            chosen.append(known[name])
        else:
            raise ModelError(f"No backbone is called {name!r}; choose from {', '.join(known)}.")
    default = [known[n] for n in PRESETS[DEFAULT_PRESET].values()]
    return chosen or [b for b in default if b.weights]


def _register(names: Iterable[str]) -> None:
    """Register the timm networks among `names`, whose weights are now in the cache."""
    from ...schemas.settings import settings
    from ...schemas.weights import TIMM_SCHEME
    from .registry import register_timm

    for name in names:
        if name.startswith(TIMM_SCHEME):
            register_timm(settings().home, name)
