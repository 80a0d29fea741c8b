"""The command line: parses, calls, prints.

Data goes to stdout, progress and messages to stderr. Nothing heavy is imported before a
command needs it, so that ``vidsim --help`` answers at once.
"""

from __future__ import annotations

import sys
from collections.abc import Iterable
from pathlib import Path
from typing import TYPE_CHECKING, Annotated, Any

import typer

from .schemas.errors import VidsimError

if TYPE_CHECKING:
    from .ingest.home import Place
    from .schemas.results import IngestReport, LibrarySummary, QueryResult

app = typer.Typer(
    name="vidsim",
    no_args_is_help=True,
    add_completion=False,
    pretty_exceptions_enable=False,
    rich_markup_mode="markdown",
    context_settings={"help_option_names": ["-h", "--help"]},
    help="""Find similar videos by **colour**, **frame** content, **sound** and **motion**.

    Start with `vidsim demo`, or:

    - `vidsim ingest ucf101/` reads a folder of videos (again: only what has changed);

    - `vidsim query clip.avi` ranks them by likeness to a clip, and says why.
    """,
)
models_app = typer.Typer(no_args_is_help=True, help="The networks and their weights.")
app.add_typer(models_app, name="models")

Json = Annotated[bool, typer.Option("--json", help="Print JSON for machines on stdout.")]
Model = Annotated[
    list[str] | None,
    typer.Option(
        "--model", metavar="MODALITY=NAME", help="Another backbone, for example color=vid2img."
    ),
]
Modalities = Annotated[
    str | None,
    typer.Option(
        "--modalities", "-m", metavar="LIST", help="Of color,frame,audio,motion; default all."
    ),
]
Device = Annotated[
    str | None, typer.Option(metavar="auto|cpu|cuda", help="Where networks run [default: auto].")
]
SegmentSeconds = Annotated[
    float | None,
    typer.Option(min=1.0, help="Length of the segments a long video is cut into [default: 10]."),
]


def main() -> None:
    """Runs the command line; turns what is raised into one sentence and exit code 1."""
    debug = "--debug" in sys.argv[1:]
    sys.argv[1:] = [word for word in sys.argv[1:] if word != "--debug"]
    try:
        app()
    except VidsimError as error:
        if debug:
            raise
        _say(f"Error: {error}")
        sys.exit(1)
    except BrokenPipeError:
        sys.stderr.close()
        sys.exit(1)
    except Exception as error:
        if debug:
            raise
        _say(
            f"Error: vidsim failed unexpectedly ({type(error).__name__}: {error}); "
            "please report it with what --debug prints."
        )
        sys.exit(1)


def _version(wanted: bool) -> None:
    if wanted:
        from . import __version__

        print(f"vidsim {__version__}")
        raise typer.Exit


@app.callback()
def _options(
    version: Annotated[
        bool, typer.Option("--version", callback=_version, is_eager=True, help="Print the version.")
    ] = False,
    debug: Annotated[
        bool, typer.Option("--debug", help="Show the traceback of an error (with any command).")
    ] = False,
) -> None:
    """Options before any command; ``--debug`` itself is read in `main`."""


@app.command()
def ingest(
    folder: Annotated[Path, typer.Argument(help="A folder of videos and sounds, or one file.")],
    library: Annotated[
        str | None, typer.Option(help="The library's name [default: the folder's].")
    ] = None,
    modalities: Modalities = None,
    model: Model = None,
    segment_seconds: SegmentSeconds = None,
    device: Device = None,
    workers: Annotated[
        int | None, typer.Option(min=1, help="Decoder processes [default: half the cores].")
    ] = None,
    prune: Annotated[
        bool, typer.Option("--prune", help="Remove stored videos whose file is gone.")
    ] = False,
    json: Json = False,
) -> None:
    """Read a folder of videos: embed what is new or changed, and store it."""
    from .ingest.embed import EmbedOptions
    from .ingest.pipeline import ingest as run
    from .schemas.modality import choose_backbones, parse_modalities
    from .schemas.settings import settings
    from .search.background import refresh

    chosen = settings()
    options = EmbedOptions(
        backbones=choose_backbones(parse_modalities(modalities), model or ()),
        segment_seconds=segment_seconds or chosen.segment_seconds,
        device=_device(device or chosen.device),
        workers=workers or chosen.workers,
    )
    with _Bars() as bars:
        report = run(folder, _place(), options, bars, library=library, prune=prune)
        refresh(_place().home, report.library)
    if json:
        print(report.model_dump_json(indent=2))
    else:
        _print_report(report)


@app.command()
def query(
    clip: Annotated[str, typer.Argument(help="A file, or the id of a stored video.")],
    modalities: Modalities = None,
    k: Annotated[int, typer.Option("-k", "--k", min=1, max=1000, help="Results wanted.")] = 10,
    library: Annotated[
        list[str] | None, typer.Option(help="Search this library only; may be given again.")
    ] = None,
    filter: Annotated[
        str, typer.Option(metavar="EXPR", help="Milvus filter, e.g. 'label == \"snow\"'.")
    ] = "",
    fusion: Annotated[
        str, typer.Option(metavar="calibrated|rrf", help="How modalities are combined.")
    ] = "calibrated",
    weights: Annotated[
        str | None, typer.Option(metavar="LIST", help="Weights, e.g. frame=2,color=0.5.")
    ] = None,
    model: Model = None,
    exclude_self: Annotated[
        bool | None,
        typer.Option(
            "--exclude-self/--include-self",
            help="Leave the query's own video out [default: for stored ids].",
        ),
    ] = None,
    segment_seconds: SegmentSeconds = None,
    device: Device = None,
    json: Json = False,
) -> None:
    """Rank stored videos by their likeness to a clip, and say why."""
    from .schemas.modality import parse_modalities
    from .schemas.settings import settings
    from .search.query import QueryOptions
    from .search.query import query as run

    if fusion not in ("calibrated", "rrf"):
        raise typer.BadParameter(f"{fusion!r} is not calibrated or rrf.", param_hint="--fusion")
    chosen = settings()
    options = QueryOptions(
        modalities=parse_modalities(modalities) if modalities is not None else None,
        overrides=tuple(model or ()),
        k=k,
        libraries=tuple(library or ()),
        expression=filter,
        fusion="rrf" if fusion == "rrf" else "calibrated",
        weights=weights,
        exclude_self=exclude_self,
        device=_device(device or chosen.device),
        segment_seconds=segment_seconds or chosen.segment_seconds,
    )
    with _Bars() as bars:
        result = run(clip, _place(), options, bars)
    if json:
        print(result.model_dump_json(indent=2))
    else:
        _print_result(result)


@app.command()
def libraries(
    videos: Annotated[bool, typer.Option("--videos", help="List every video's id.")] = False,
    json: Json = False,
) -> None:
    """List what is stored."""
    from .ingest.library import list_videos, summarize

    home = _place().home
    if videos:
        ids = list_videos(home)
        print(_to_json(ids) if json else "\n".join(ids))
        return
    found = summarize(home)
    if json:
        print(_to_json([summary.model_dump() for summary in found]))
    elif found:
        _print_libraries(found)
    else:
        _say("Nothing is stored yet; run 'vidsim ingest FOLDER'.")


@app.command()
def remove(
    names: Annotated[list[str], typer.Argument(help="Libraries, or ids of videos.")],
    yes: Annotated[bool, typer.Option("--yes", "-y", help="Do not ask.")] = False,
) -> None:
    """Remove libraries or videos from the store; the files themselves stay."""
    from .ingest.library import find, remove_all

    place = _place()
    found = find(place.home, names)
    count = sum(len(ids) for ids in found.values())
    if not yes:
        typer.confirm(f"Remove {count} videos of {', '.join(found)}?", abort=True, err=True)
    remove_all(place, found)
    _say(f"Removed {count} videos of {', '.join(found)}; the files themselves are untouched.")


@app.command()
def reindex(
    libraries: Annotated[list[str] | None, typer.Argument(help="Libraries [default: all].")] = None,
) -> None:
    """Build the Milvus collections anew from the shards; no video is read."""
    from .ingest.library import reindex_all

    with _Bars() as bars:
        written = reindex_all(_place(), libraries or [], bars)
    _say("Written: " + (", ".join(f"{n} rows of {b}" for b, n in written.items()) or "nothing"))


@app.command()
def export(
    folder: Annotated[Path, typer.Argument(help="Where to write the HDF5 files.")],
    library: Annotated[
        list[str] | None, typer.Option(help="Only this library; may be given again.")
    ] = None,
) -> None:
    """Write one HDF5 file a backbone, with vectors, ids, labels and times."""
    from .ingest.export import export as run

    with _Bars() as bars:
        files = run(_place().home, folder, library or [], bars)
    for path in files:
        print(path)


@models_app.command("list")
def models_list(json: Json = False) -> None:
    """List the backbones, their sizes and whether their weights are here."""
    from .ingest.weights import status
    from .schemas.modality import BACKBONES, DEFAULT_PRESET, PRESETS

    defaults = PRESETS[DEFAULT_PRESET].values()
    rows = [
        {
            "modality": b.modality.value,
            "name": b.name,
            "dim": b.dim,
            "default": b.name in defaults,
            "weights": status(b),
            "licence": b.weights.licence if b.weights else "",
            "about": b.about,
        }
        for b in BACKBONES.values()
    ]
    if json:
        print(_to_json(rows))
        return
    table = _table("modality", "name", "dim", "weights", "licence", "about")
    for row in rows:
        name = f"{row['name']} (default)" if row["default"] else str(row["name"])
        table.add_row(
            str(row["modality"]),
            name,
            *(str(row[c]) for c in ("dim", "weights", "licence", "about")),
        )
    _print(table)


@models_app.command("pull")
def models_pull(
    names: Annotated[list[str] | None, typer.Argument(help="Backbones [default: all].")] = None,
) -> None:
    """Get weights, check them, and keep them for offline use."""
    from .ingest.embed import pull

    chosen = _backbones(names)
    with _Bars() as bars:
        pull(chosen, bars)
    _say("Here: " + ", ".join(b.name for b in chosen))


@models_app.command("path")
def models_path(name: Annotated[str, typer.Argument(help="A backbone.")]) -> None:
    """Print the folder that holds a backbone's weights."""
    from .ingest.weights import locate

    print(locate(_backbones([name])[0]))


@app.command()
def demo(json: Json = False) -> None:
    """Run the whole job on a small library of real and generated clips."""
    from .search.demo import run

    with _Bars() as bars:
        shown = run(_place(), bars)
    if json:
        print(shown.result.model_dump_json(indent=2))
        return
    _print_report(shown.report)
    _say("")
    _say(f"Query: {shown.clip}, a copy of {shown.original}: {shown.change}.")
    _print_result(shown.result)
    _say("")
    for what, where in shown.places.items():
        _say(f"{what:<12}{where}")
    _say(
        f"Try: vidsim query {shown.original} -m color,motion; vidsim libraries; vidsim remove demo"
    )


def _place() -> Place:
    from .ingest.home import Place
    from .schemas.settings import settings

    chosen = settings()
    token = chosen.token.get_secret_value() if chosen.token else ""
    return Place(chosen.home, chosen.uri, token)


def _device(name: str) -> str:
    if name not in ("auto", "cpu", "cuda"):
        raise typer.BadParameter(f"{name!r} is not auto, cpu or cuda.", param_hint="--device")
    return name


def _backbones(names: Iterable[str] | None) -> list[Any]:
    from .schemas.errors import ModelError
    from .schemas.modality import BACKBONES

    for name in names or ():
        if name not in BACKBONES:
            raise ModelError(f"No backbone is called {name!r}; choose from {', '.join(BACKBONES)}.")
    return [BACKBONES[n] for n in names] if names else [b for b in BACKBONES.values() if b.weights]


def _to_json(value: object) -> str:
    import json

    return json.dumps(value, indent=2, ensure_ascii=False)


def _say(text: str) -> None:
    print(text, file=sys.stderr)


def _print(renderable: object) -> None:
    from rich.console import Console

    Console(highlight=False).print(renderable)


def _table(*columns: str) -> Any:
    from rich.box import SIMPLE_HEAD
    from rich.table import Table

    table = Table(box=SIMPLE_HEAD, header_style="bold")
    for column in columns:
        table.add_column(column, overflow="fold")
    return table


def _print_report(report: IngestReport) -> None:
    table = _table("library", "videos", "segments", *(f"{m} rows" for m in report.rows), "no sound")
    counts = (report.videos, report.segments, *report.rows.values(), report.no_audio)
    table.add_row(report.library, *(str(n) for n in counts))
    _print(table)
    _say(f"{report.embedded} embedded, {report.unchanged} unchanged, {len(report.failed)} failed.")
    for failed in report.failed:
        _say(f"  failed: {failed.path}: {failed.reason}")
    if report.missing:
        _say(f"  {len(report.missing)} stored videos have no file any more (--prune removes them):")
        for video_id in report.missing:
            _say(f"    {video_id}")
    for note in report.notes:
        _say(f"  note: {note}")
    if report.videos and not report.embedded:
        _say("Nothing new to do.")
    elif report.videos:
        _say("Next: vidsim query CLIP, or vidsim libraries --videos for ids to query with.")


def _print_result(result: QueryResult) -> None:
    table = _table("#", "video", "score", *result.modalities)
    for found in result.results:
        cells = []
        for modality in result.modalities:
            match = found.modalities.get(modality)
            cells.append(
                f"{match.similarity:.3f} (#{match.rank}, {match.share:.0%})\n"
                f"{_span(match.query_start_s, match.query_end_s)} ~ "
                f"{_span(match.start_s, match.end_s)}"
                if match
                else "none"
            )
        table.add_row(str(found.rank), found.video_id, f"{found.score:.3f}", *cells)
    _print(table)
    _say("Per modality: similarity (rank, share of the score), query seconds ~ video seconds.")
    if result.missing_modalities:
        missing = ", ".join(result.missing_modalities)
        _say(f"The query has no {missing} (no track, or silence); it did not count.")
    for note in result.notes:
        _say(f"note: {note}")


def _span(start_s: float, end_s: float) -> str:
    return f"{start_s:.1f}-{end_s:.1f}"


def _print_libraries(found: Iterable[LibrarySummary]) -> None:
    table = _table("library", "videos", "segments", "hours", "rows", "from")
    for item in found:
        rows = "\n".join(f"{count} {name}" for name, count in item.rows.items())
        table.add_row(
            item.library, str(item.videos), str(item.segments), f"{item.hours:.2f}", rows, item.root
        )
    _print(table)


class _Bars:
    """Progress bars on stderr, one line a stage; nothing where stderr is no terminal."""

    def __init__(self) -> None:
        from rich import progress
        from rich.console import Console

        self._tasks: dict[str, Any] = {}
        self._progress = progress.Progress(
            progress.TextColumn("{task.description:<28}"),
            progress.BarColumn(),
            progress.TextColumn("{task.fields[amount]}"),
            progress.TimeElapsedColumn(),
            progress.TimeRemainingColumn(),
            console=Console(stderr=True),
        )

    def start(self, stage: str, total: float | None, unit: str) -> None:
        """Begins a line."""
        self._tasks[stage] = self._progress.add_task(stage, total=total, amount="", unit=unit)

    def advance(self, stage: str, amount: float) -> None:
        """Moves a line on."""
        task = self._tasks[stage]
        self._progress.advance(task, amount)
        state = self._progress.tasks[self._progress.task_ids.index(task)]
        scale, unit = (1e-6, "MB") if state.fields["unit"] == "bytes" else (1, state.fields["unit"])
        total = "?" if state.total is None else f"{state.total * scale:.0f}"
        rate = state.completed / state.elapsed if state.elapsed else 0
        text = f"{state.completed * scale:.0f}/{total} {unit}, {rate * scale:.1f}/s"
        self._progress.update(task, amount=text)

    def finish(self, stage: str) -> None:
        """Ends a line."""
        self._progress.stop_task(self._tasks[stage])

    def __enter__(self) -> _Bars:
        """Shows them."""
        self._progress.start()
        return self

    def __exit__(self, *_: object) -> None:
        """Leaves them as they are."""
        self._progress.stop()
