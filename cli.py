"""The command line: parse arguments, call a `Library`, print.

A command returns its output; only `main` prints it, data on stdout and the rest on stderr. Heavy
imports wait until a command needs them, so that ``vidsim --help`` answers immediately.
"""

from __future__ import annotations

import gc
import io
import os
import shlex
import shutil
import sys
import textwrap
from collections.abc import Iterator
from contextlib import suppress
from pathlib import Path
from typing import TYPE_CHECKING, Annotated, Literal

import typer

from .ingest.models import commands as models
from .schemas.answer import Answer, Control, Heading, Line, Table, count
from .schemas.duplicates import DuplicateOptions
from .schemas.errors import LibraryError, SettingsError, VidsimError
from .schemas.options import (
    AudioTrack,
    Csv,
    Device,
    Html,
    IndexOption,
    Json,
    Label,
    Modalities,
    Model,
    Preset,
    SegmentSeconds,
    Server,
    Uri,
    VideoFilter,
    Wait,
)
from .schemas.serve import ServeOptions
from .schemas.video import VideoOrder
from .search.bench import commands as bench
from .search.completion import clips, library_names, names_and_ids

if TYPE_CHECKING:
    from .schemas.results import IngestReport

_OPEN_FILES = 4096
"""Limit of open files to ask for: that of two thousand shards."""

Names = Annotated[
    list[str] | None,
    typer.Argument(
        metavar="NAME",
        help="Libraries, folders in them (ucf101/YoYo), ids, or patterns ('ucf101/*/v_YoYo_*').",
        autocompletion=names_and_ids,
    ),
]
_NOTHING_STORED = "Nothing is stored yet; run 'vidsim ingest FOLDER'."

_WIDE = 120
"""Columns of a terminal from which paths are told too."""

_INTERRUPTED = 130
"""Exit code after Ctrl-C, the same as typer's."""

_FILES_FAILED = 3
"""Exit code of ``ingest --strict`` where some files gave nothing."""

app = typer.Typer(
    name="vidsim",
    invoke_without_command=True,
    pretty_exceptions_enable=False,
    rich_markup_mode=None,  # rich takes longer to load than all that plain help needs
    context_settings={"help_option_names": ["-h", "--help"]},
    help="""Find similar videos by colour, frame content, sound and motion.

    Start with 'vidsim demo', or:

    \b
      vidsim ingest ucf101/   reads a folder of videos (again: only what has changed)
      vidsim query clip.avi   ranks them by likeness to a clip, and says why
    """,
)


def _help_alone(context: typer.Context) -> None:
    """Show the help of what was called without any command.

    typer's own ``no_args_is_help`` raises the help as an error or prints it on stderr, as the
    release has it.
    """
    if context.invoked_subcommand is None:
        print(context.get_help())
        raise typer.Exit


for _name, _group in (("models", models.app), ("bench", bench.app)):
    app.add_typer(_group, name=_name, invoke_without_command=True, callback=_help_alone)


def _allow_open_files() -> None:
    """Raise the limit of open files, of which each shard takes two, as far as this user may."""
    try:
        import resource
    except ImportError:  # Windows has no such limit
        return
    soft, hard = resource.getrlimit(resource.RLIMIT_NOFILE)
    wanted = _OPEN_FILES if hard == resource.RLIM_INFINITY else min(_OPEN_FILES, hard)
    if soft < wanted:
        resource.setrlimit(resource.RLIMIT_NOFILE, (wanted, hard))


def main() -> None:
    """Run the command line; turn exceptions into one sentence and an exit code."""
    # Imports create a million lasting objects: at the default of 700, scanning them for garbage
    # takes a tenth of the time of a query.
    gc.set_threshold(100_000)
    _allow_open_files()
    debug = "--debug" in sys.argv[1:]
    sys.argv[1:] = [word for word in sys.argv[1:] if word != "--debug"]
    for stream in (sys.stdout, sys.stderr):
        if isinstance(stream, io.TextIOWrapper):
            stream.reconfigure(encoding="utf-8", errors="backslashreplace")
    try:
        found = app(prog_name="vidsim", standalone_mode=False)
        code = _print(found) if isinstance(found, Answer) else found
        print(end="", flush=True)
    except BrokenPipeError:  # "| head" has read enough; the flush at exit must not fail again
        os.dup2(os.open(os.devnull, os.O_WRONLY), sys.stdout.fileno())
        code = 1
    except typer.Abort:
        _say("Nothing was done.")
        code = 1
    except ImportError as error:
        if debug:
            raise
        from .ingest.health.doctor import without_package

        code = without_package(error, sys.argv[1:])
    except Exception as error:
        if debug:
            raise
        code = _explain(error)
    except KeyboardInterrupt:
        code = _INTERRUPTED
    if code == _INTERRUPTED:
        _say("Interrupted; the same command goes on from what was finished.")
    gc.freeze()  # else the interpreter scans all of them once more before it exits
    sys.exit(code)


def _explain(error: Exception) -> int:
    """Print in one sentence what went wrong; return the exit code."""
    if isinstance(error, VidsimError):
        _say(f"Error: {error}")
        return 1
    usage = getattr(error, "format_message", None)
    if usage:  # typer's own, which has no public base class
        command = getattr(getattr(error, "ctx", None), "command_path", "vidsim")
        said = usage().rstrip(".").replace("Value error, ", "")
        _say(f"Error: {said}; see '{command} --help'.")
        return 2
    _say(
        f"Error: vidsim failed unexpectedly ({type(error).__name__}: {error}); "
        "please report it with what --debug prints."
    )
    return 1


def _version(wanted: bool) -> None:
    if wanted:
        from . import __version__

        print(f"vidsim {__version__}")
        raise typer.Exit


@app.callback()
def _options(
    context: typer.Context,
    version: Annotated[
        bool, typer.Option("--version", callback=_version, is_eager=True, help="Print the version.")
    ] = False,
    debug: Annotated[
        bool, typer.Option("--debug", help="Show the traceback of an error (with any command).")
    ] = False,
    verbose: Annotated[
        int,
        typer.Option("--verbose", "-v", count=True, help="Log what is done; -vv: all of it."),
    ] = 0,
) -> None:
    """Options before any command; ``--debug`` itself is read in `main`."""
    del version, debug
    _help_alone(context)
    _log_to(verbose, os.environ.get("VIDSIM_LOG", ""))


@app.command()
def ingest(
    folder: Annotated[
        Path, typer.Argument(metavar="FOLDER", help="A folder of videos and sounds, or one file.")
    ],
    library: Annotated[
        str | None,
        typer.Option(
            metavar="NAME",
            help="The library's name [default: the folder's].",
            autocompletion=library_names,
        ),
    ] = None,
    modalities: Modalities = None,
    preset: Preset = None,
    model: Model = None,
    segment_seconds: SegmentSeconds = None,
    audio_track: AudioTrack = None,
    device: Device = None,
    workers: Annotated[
        int | None,
        typer.Option(min=1, metavar="N", help="Decoder processes [default: half the cores]."),
    ] = None,
    prune: Annotated[
        bool, typer.Option("--prune", help="Remove stored videos whose file is gone.")
    ] = False,
    retry: Annotated[
        bool,
        typer.Option("--retry", help="Try files again that failed and have not changed since."),
    ] = False,
    strict: Annotated[
        bool, typer.Option("--strict", help="Exit with 3 where some files failed.")
    ] = False,
    index: IndexOption = None,
    verbose: Annotated[
        bool, typer.Option("--verbose", "-v", help="List all that was passed over.")
    ] = False,
    wait: Wait = False,
    server: Server = True,
    json: Json = False,
) -> Answer:
    """Read a folder of videos and store what is new or changed.

    What was renamed or moved, the whole folder too, is known by its content and not read anew.
    """
    from .ingest.system.progress import Bars
    from .search.report_text import ingest_notes, ingest_text
    from .search.server.client import open_asking

    ask = server and index is None
    with Bars() as bars, open_asking(bars, ask=ask, index=index, wait=wait) as opened:
        report = opened.ingest(
            folder,
            library=library,
            modalities=modalities,
            models=model or (),
            preset=preset,
            segment_seconds=segment_seconds,
            audio_track=audio_track,
            device=device,
            workers=workers,
            prune=prune,
            retry=retry,
            stop=bars.stop,
        )
    return Answer(
        report,
        ingest_text(report),
        ingest_notes(report, verbose),
        json,
        None
        if bars.stop.asked
        else _nothing_stored(report, f"Nothing of {folder} could be read; give videos or sounds."),
        code=_INTERRUPTED if bars.stop.asked else _FILES_FAILED if strict and report.failed else 0,
    )


@app.command("ingest-audioset")
def ingest_audioset(
    folder: Annotated[
        Path, typer.Argument(metavar="FOLDER", help="The folder of AudioSet's .tfrecord files.")
    ],
    library: Annotated[
        str | None,
        typer.Option(
            metavar="NAME",
            help="The library's name [default: the folder's].",
            autocompletion=library_names,
        ),
    ] = None,
    class_labels: Annotated[
        Path | None,
        typer.Option(metavar="CSV", help="AudioSet's class_labels_indices.csv, to name labels."),
    ] = None,
    wait: Wait = False,
    json: Json = False,
) -> Answer:
    """Read AudioSet's published VGGish embeddings."""
    from .ingest.system.progress import Bars
    from .search.library import Library
    from .search.report_text import ingest_notes, ingest_text

    with Bars() as bars, Library.open(wait=wait, progress=bars) as opened:
        report = opened.ingest_audioset(folder, library=library, class_labels=class_labels)
    wrong = f"No clip in {folder} could be read; fetch AudioSet's features again."
    error = _nothing_stored(report, wrong)
    return Answer(report, ingest_text(report), ingest_notes(report), json, error)


def _nothing_stored(report: IngestReport, wrong: str) -> LibraryError | None:
    from .search.report_text import worked

    return None if worked(report) else LibraryError(wrong)


@app.command()
def query(
    examples: Annotated[
        list[str],
        typer.Argument(
            metavar="CLIP",
            help="A video, sound or still picture, or the id of a stored video; several of them "
            "for what is like all.",
            autocompletion=clips,
        ),
    ],
    start: Annotated[
        str | None,
        typer.Option("--from", metavar="TIME", help="Only this part of the clip: 78 or 1:18.5."),
    ] = None,
    end: Annotated[
        str | None,
        typer.Option(
            "--to", metavar="TIME", help="Where that part ends [default: the clip's end]."
        ),
    ] = None,
    region: Annotated[
        str | None,
        typer.Option(
            metavar="X,Y,W,H",
            help="Only this rectangle of the picture, in pixels or in fractions (0.5,0,0.5,1).",
        ),
    ] = None,
    unlike: Annotated[
        list[str] | None,
        typer.Option(
            "--not",
            metavar="CLIP",
            help="What the results are not to be like; may be given again.",
            autocompletion=clips,
        ),
    ] = None,
    modalities: Modalities = None,
    k: Annotated[
        int, typer.Option("-k", "--k", min=1, max=1000, metavar="N", help="Results wanted.")
    ] = 10,
    min_score: Annotated[
        float,
        typer.Option(
            "--min-score", min=0, max=1, metavar="L", help="Least likeness of a result, 0 to 1."
        ),
    ] = 0.0,
    library: Annotated[
        list[str] | None,
        typer.Option(
            metavar="NAME",
            help="Search this library only; may be given again.",
            autocompletion=library_names,
        ),
    ] = None,
    filter: Annotated[
        str, typer.Option(metavar="EXPR", help="Milvus filter, e.g. 'label == \"snow\"'.")
    ] = "",
    fusion: Annotated[
        Literal["calibrated", "rrf"], typer.Option(help="How modalities are combined.")
    ] = "calibrated",
    weights: Annotated[
        str | None,
        typer.Option(metavar="LIST", help="Weights, e.g. frame=2,color=0.5; or default."),
    ] = None,
    preset: Preset = None,
    model: Model = None,
    exclude_self: Annotated[
        bool | None,
        typer.Option(
            "--exclude-self/--include-self",
            help="Leave the clips' own videos out [default: for stored ids].",
        ),
    ] = None,
    segment_seconds: SegmentSeconds = None,
    audio_track: AudioTrack = None,
    device: Device = None,
    html: Html = None,
    pictures: Annotated[
        bool, typer.Option("--pictures", help="Draw both in the terminal, where it can.")
    ] = False,
    server: Server = True,
    csv: Csv = False,
    json: Json = False,
) -> Answer:
    """Rank stored videos by likeness to a clip or several, and say why."""
    from .ingest.system.progress import Bars
    from .search.csv_text import query_csv
    from .search.report_text import query_notes, query_text
    from .search.server.client import open_asking
    from .search.terminal_pictures import CANNOT, NO_TERMINAL, drawn, protocol

    _not_both(csv, json)
    if pictures and (csv or json):
        raise typer.BadParameter("leave it out with --csv and --json.", param_hint="--pictures")
    on_terminal = os.isatty(1)
    how = protocol(os.environ) if pictures and on_terminal else None
    with Bars() as bars, open_asking(bars, ask=server) as opened:
        result = opened.query(
            examples,
            start=start,
            end=end,
            region=region,
            unlike=unlike or (),
            k=k,
            min_score=min_score,
            modalities=modalities,
            libraries=library or (),
            filter=filter,
            fusion=fusion,
            weights=weights,
            models=model or (),
            preset=preset,
            exclude_self=exclude_self,
            segment_seconds=segment_seconds,
            audio_track=audio_track,
            device=device,
        )
        pages = [opened.write_html(result, html)] if html else []
        images = [Control(drawn(png, how)) for png in opened.thumbnails(result)] if how else []
    asked = " and ".join(examples)
    wrong = (
        f"Nothing was found for {asked}; widen --filter and --library, "
        "or ask for other modalities with -m."
        if result.best_likeness is None
        else f"Nothing is as much like {asked} as {min_score:g}, but up to "
        f"{int(result.best_likeness * 100) / 100:.2f}; take a smaller --min-score."
    )
    error = None if result.results else LibraryError(wrong)
    wide = on_terminal and shutil.get_terminal_size().columns >= _WIDE
    text = query_csv(result) if csv else query_text(result, wide, images)
    notes = [*query_notes(result), *map(_page_note, pages)]
    if pictures and not how:
        notes.append(CANNOT if on_terminal else NO_TERMINAL)
    return Answer(result, text, notes, json, error)


def _not_both(csv: bool, json: bool) -> None:
    if csv and json:
        raise typer.BadParameter("choose one of --csv and --json.", param_hint="--csv")


def _page_note(page: Path) -> str:
    return f"Page: {page}"


Clip = Annotated[
    str,
    typer.Argument(help="A file, or the id of a stored video.", autocompletion=clips),
]


@app.command()
def serve(
    host: Annotated[
        str, typer.Option(metavar="ADDRESS", help="Where to listen; others need a token.")
    ] = ServeOptions.host,
    port: Annotated[
        int, typer.Option(min=0, max=65535, metavar="N", help="The port; 0 for any that is free.")
    ] = ServeOptions.port,
    open_page: Annotated[bool, typer.Option("--open", help="Open the page in a browser.")] = False,
    root: Annotated[
        list[Path] | None,
        typer.Option(
            metavar="FOLDER",
            exists=True,
            file_okay=False,
            help="A folder that may be ingested from the page, or parts of it; may be given again.",
        ),
    ] = None,
    allow_host: Annotated[
        list[str] | None,
        typer.Option(metavar="NAME", help="Another name of this server; may be given again."),
    ] = None,
    max_upload_mb: Annotated[
        int, typer.Option(min=1, metavar="MB", help="Size of a clip that is sent.")
    ] = ServeOptions.max_upload_mb,
    max_clip_seconds: Annotated[
        float, typer.Option(min=1, metavar="S", help="Length of a clip that is sent.")
    ] = ServeOptions.max_clip_s,
    max_waiting: Annotated[
        int, typer.Option(min=1, metavar="N", help="Queries that may wait; others are told so.")
    ] = ServeOptions.most_waiting,
) -> None:
    """Serve a page and an HTTP API, until Ctrl-C.

    Commands on the same home ask the server, which has all loaded.
    """
    from .schemas.settings import settings
    from .search.library import Library
    from .search.server.run import serve as run

    token = settings().serve_token
    options = ServeOptions(
        host=host,
        port=port,
        token=token.get_secret_value() if token else "",
        hosts=frozenset(allow_host or ()),
        roots=tuple(path.resolve() for path in root or ()),
        most_waiting=max_waiting,
        max_upload_mb=max_upload_mb,
        max_clip_s=max_clip_seconds,
    )

    def started(url: str) -> None:
        _say(f"Open {url} (Ctrl-C ends it).")
        if open_page:
            import webbrowser

            webbrowser.open(url)

    with Library.open(pull=False) as opened:
        run(opened, options, started)


@app.command()
def explain(
    first: Clip,
    second: Clip,
    modalities: Modalities = None,
    preset: Preset = None,
    model: Model = None,
    device: Device = None,
    html: Html = None,
    json: Json = False,
) -> Answer:
    """Compare two videos: how alike, by what, and where.

    --html has frames side by side, colours, likeness over time and sound.
    """
    from .ingest.system.progress import Bars
    from .search.library import Library
    from .search.report_text import explain_notes, explain_text

    with Bars() as bars, Library.open(progress=bars) as opened:
        found = opened.explain(
            first, second, modalities=modalities, models=model or (), preset=preset, device=device
        )
        pages = [opened.write_html(found, html)] if html else []
    notes = [*explain_notes(found), *map(_page_note, pages)]
    return Answer(found, explain_text(found), notes, json)


@app.command("open")
def open_(
    video: Annotated[
        str,
        typer.Argument(
            metavar="VIDEO", help="The id of a stored video, or a file.", autocompletion=clips
        ),
    ],
    at: Annotated[
        str, typer.Option("--at", metavar="TIME", help="Where to begin: 78 or 1:18.5.")
    ] = "0",
    json: Json = False,
) -> Answer:
    """Open a video in a player or the browser, at a time."""
    from .search.library import Library
    from .search.report_text import played_notes

    played = Library.open().play(video, at_s=at)
    return Answer(played, [played.path], played_notes(played), json)


@app.command()
def libraries(
    videos: Annotated[bool, typer.Option("--videos", help="List ids alone; see 'videos'.")] = False,
    server: Server = True,
    json: Json = False,
) -> Answer:
    """List what is stored, and of which libraries the folder or files are missing."""
    from .search.report_text import libraries_text, videos_text
    from .search.server.client import open_asking
    from .search.status_text import root_note

    opened = open_asking(None, ask=server)
    notes = [note] if (note := opened.being_written()) else []
    if videos:
        listed = opened.videos()
        notes += [*opened.problems(), *([] if listed else [_NOTHING_STORED])]
        return Answer(listed, videos_text(listed), notes, json)
    found = opened.libraries()
    notes += [sentence for item in found for sentence in item.damage]
    notes += [told for item in found if (told := root_note(item))]
    notes += [] if found else [_NOTHING_STORED]
    return Answer(found, libraries_text(found), notes, json)


@app.command()
def videos(
    names: Names = None,
    label: Label = None,
    filter: VideoFilter = "",
    damaged: Annotated[
        bool, typer.Option("--damaged", help="Only videos of which a part did not decode.")
    ] = False,
    sort: Annotated[VideoOrder, typer.Option(help="What to sort by.")] = "id",
    reverse: Annotated[bool, typer.Option("--reverse", help="The last one first.")] = False,
    csv: Csv = False,
    json: Json = False,
) -> Answer:
    """List stored videos: length, size, sound, modalities, label, id, damage.

    --csv and --json tell more: path, rows by backbone, when it was stored.
    """
    from .search.csv_text import catalogue_csv
    from .search.library import Library
    from .search.report_text import catalogue_text

    _not_both(csv, json)
    opened = Library.open()
    notes = [note] if (note := opened.being_written()) else []
    listed = opened.videos(
        *names or (), label=label, filter=filter, damaged=damaged, sort=sort, reverse=reverse
    )
    if not listed:
        chosen = names or filter or damaged
        notes.append("No stored video is like that." if chosen else _NOTHING_STORED)
    text = catalogue_csv(listed) if csv else catalogue_text(listed)
    return Answer(listed, text, notes, json)


@app.command()
def labels(names: Names = None, json: Json = False) -> Answer:
    """List labels with their number of videos."""
    from .search.library import Library
    from .search.report_text import labels_text

    found = Library.open().labels(*names or ())
    return Answer(found, labels_text(found), [] if found else [_NOTHING_STORED], json)


@app.command()
def label(
    file: Annotated[
        Path,
        typer.Argument(
            metavar="FILE.csv",
            help="Columns video_id and label among others, as 'vidsim videos --csv' prints.",
        ),
    ],
    wait: Wait = False,
    json: Json = False,
) -> Answer:
    """Set labels of videos by a CSV; later ingests keep them.

    Without, a video's label is the name of the folder it lies in.
    """
    from .ingest.system.progress import Bars
    from .search.library import Library
    from .search.report_text import noted

    with Bars() as bars, Library.open(wait=wait, progress=bars) as opened:
        report = opened.set_labels(file)
    done = f"{count(report.changed, 'label')} set, {report.unchanged:,} were so already."
    return Answer(report, notes=[done, *noted(report.notes)], as_json=json)


@app.command()
def remove(
    names: Names = None,
    label: Label = None,
    filter: VideoFilter = "",
    yes: Annotated[bool, typer.Option("--yes", "-y", help="Do not ask.")] = False,
    wait: Wait = False,
) -> Answer:
    """Remove libraries, folders or videos from what is stored; the files themselves stay."""
    from .search.library import Library
    from .search.report_text import removal_notes, videos_of

    if not names and label is None and not filter:
        what = "say what to remove: libraries, folders, ids, patterns, --label or --filter."
        raise typer.BadParameter(what, param_hint="NAME")
    with Library.open(wait=wait) as opened:
        found = opened.find(*names or (), label=label, filter=filter)
        if not found:
            raise LibraryError("No stored video is like that; 'vidsim videos' lists them.")
        if not yes and not os.isatty(0):
            asked = f"add --yes to remove {videos_of(found)}"
            raise LibraryError(f"There is no terminal to ask at; {asked}.")
        if not yes:
            for note in removal_notes(found):
                _say(note)
            typer.confirm(f"Remove {videos_of(found)}?", abort=True, err=True)
        gone = opened.remove(*names or (), label=label, filter=filter)
    done = f"Removed {videos_of(gone)}; the files themselves are untouched."
    return Answer(notes=[*(removal_notes(gone) if yes else ()), done])


@app.command()
def reindex(
    libraries: Annotated[
        list[str] | None,
        typer.Argument(
            metavar="LIBRARY", help="Libraries [default: all].", autocompletion=library_names
        ),
    ] = None,
    uri: Uri = None,
    fresh: Annotated[
        bool, typer.Option("--fresh", help="Delete what is there first, and write all of it.")
    ] = False,
    index: IndexOption = None,
    wait: Wait = False,
) -> Answer:
    """Bring Milvus in step with the shards; no video is read.

    Only rows that it lacks or that are outdated are written, so an interrupted run resumes.
    With --uri it fills a server from what was embedded without one.
    """
    from .ingest.system.progress import Bars
    from .search.library import Library
    from .search.report_text import how_to_use, reindex_notes

    with Bars() as bars, Library.open(uri=uri, index=index, wait=wait, progress=bars) as opened:
        report = opened.reindex(*libraries or (), fresh=fresh)
    change = how_to_use(opened.place, Library.open().place)
    return Answer(report, notes=[*reindex_notes(report), *([change] if change else [])])


@app.command()
def verify(
    libraries: Annotated[
        list[str] | None,
        typer.Argument(
            metavar="LIBRARY", help="Libraries [default: all].", autocompletion=library_names
        ),
    ] = None,
    repair: Annotated[
        bool,
        typer.Option("--repair", help="Write what is missing or differs, delete what is extra."),
    ] = False,
    give_up: Annotated[
        bool,
        typer.Option(
            "--give-up",
            help="With --repair: forget missing shards, and delete what Milvus alone has of them.",
        ),
    ] = False,
    deep: Annotated[
        bool,
        typer.Option(
            "--deep",
            help="Compare all vectors, and read every other file too, and the weights.",
        ),
    ] = False,
    sample: Annotated[
        str,
        typer.Option(
            metavar="N|all|P%",
            help="Vectors compared per library and collection; or a share of the shards, whose "
            "turn it is, with all of their vectors.",
        ),
    ] = "100",
    uri: Uri = None,
    wait: Wait = False,
    json: Json = False,
) -> Answer:
    """Check the shards, and compare Milvus with them row by row.

    It exits with 1 where anything is wrong. For a schedule: '--sample 5%' reads other shards each
    time, all of them in twenty; '--deep' reads everything.
    """
    from .ingest.system.progress import Bars
    from .schemas.errors import StoreError
    from .search.library import Library
    from .search.report_text import files_table, verify_notes, verify_table

    percent = _percent(sample)
    if percent is None and sample != "all" and not sample.isdecimal():
        unknown = f"{sample!r} is no number, no share such as 5%, and not all."
        raise typer.BadParameter(unknown, param_hint="--sample")
    if percent is not None and (deep or repair):
        raise typer.BadParameter(
            "leave it out: --deep and --repair read all.", param_hint="--sample"
        )
    if give_up and not repair:
        raise typer.BadParameter("it is a part of --repair; add that.", param_hint="--give-up")
    with Bars() as bars, Library.open(uri=uri, wait=wait, progress=bars) as opened:
        report = opened.verify(
            *libraries or (),
            sample=int(sample) if sample.isdecimal() else "all",
            repair=repair,
            give_up=give_up,
            deep=deep,
            percent=percent,
        )
    wrong = sum(c.wrong for c in report.comparisons)
    error = None
    done = []
    if percent is not None:
        done = [f"Read {report.shards_read:,} of {count(report.shards_known, 'shard')}, by turns."]
    elif deep and not wrong and not report.damage:
        done = ["All that there is was read, and is right."]
    if report.damage:
        error = StoreError(
            f"{count(len(report.damage), 'file')} of the home cannot be relied on (above)"
            + ("." if repair else "; add --repair to mend what can be mended.")
        )
    elif wrong and not repair:
        error = StoreError(
            f"Milvus and the shards differ in {count(wrong, 'row')}; add --repair to mend that."
        )
    tables: list[Line] = [verify_table(report)]
    tables += ["", files_table(report)] if deep else []
    return Answer(report, tables, [*verify_notes(report), *done], json, error, True)


def _percent(sample: str) -> float | None:
    """Return the number of ``5%``; None where it is no share."""
    try:
        share = float(sample.removesuffix("%"))
    except ValueError:
        return None
    return share if sample.endswith("%") and 0 < share <= 100 else None


@app.command("compact")
def compact_(
    libraries: Annotated[
        list[str] | None,
        typer.Argument(
            metavar="LIBRARY", help="Libraries [default: all].", autocompletion=library_names
        ),
    ] = None,
    wait: Wait = False,
    json: Json = False,
) -> Answer:
    """Merge small shards into few; an ingest does so by itself where many come together."""
    from .ingest.system.progress import Bars
    from .search.library import Library

    with Bars() as bars, Library.open(wait=wait, progress=bars) as opened:
        found = opened.compact(*libraries or ())
    lines = [f"{c.library}: {count(c.before, 'shard')} before, {c.after} now" for c in found]
    return Answer(found, lines, as_json=json)


@app.command("tune-index")
def tune_index(
    recall: Annotated[
        float,
        typer.Option(
            min=0.5, max=1.0, metavar="SHARE", help="Part of the ten exact neighbours to find."
        ),
    ] = 0.99,
    index: IndexOption = None,
    wait: Wait = False,
    json: Json = False,
) -> Answer:
    """Give each collection the index that its size needs."""
    from .ingest.system.progress import Bars
    from .search.library import Library
    from .search.report_text import noted, tuning_table

    with Bars() as bars, Library.open(index=index, wait=wait, progress=bars) as opened:
        report = opened.tune_index(recall=recall)
    tables = [tuning_table(report)] if report.collections else []
    return Answer(report, tables, noted(report.notes), json, always=True)


@app.command()
def export(
    folder: Annotated[
        Path, typer.Argument(metavar="FOLDER", help="Where to write the HDF5 files.")
    ],
    library: Annotated[
        list[str] | None,
        typer.Option(
            metavar="NAME",
            help="Only this library; may be given again.",
            autocompletion=library_names,
        ),
    ] = None,
    layout: Annotated[
        Literal["native", "capstone"],
        typer.Option(help="vidsim's files, or those of the capstone."),
    ] = "native",
) -> Answer:
    """Write vectors, ids, labels and times to HDF5 files."""
    from .ingest.system.progress import Bars
    from .search.library import Library

    with Bars() as bars, Library.open(progress=bars) as opened:
        files = opened.export(folder, libraries=library or (), layout=layout)
        notes = [f"Of what was exported: {told}" for told in opened.problems(*library or ())]
        notes += [note] if (note := opened.being_written()) else []
    return Answer(text=[str(path) for path in files], notes=notes)


@app.command("import")
def import_(
    files: Annotated[
        list[Path], typer.Argument(metavar="FILE", help="HDF5 files that an export wrote.")
    ],
    library: Annotated[
        str | None,
        typer.Option(
            metavar="NAME",
            help="The library's name, for files that do not say one.",
            autocompletion=library_names,
        ),
    ] = None,
    wait: Wait = False,
    json: Json = False,
) -> Answer:
    """Store what export files hold, the capstone's too."""
    from .ingest.system.progress import Bars
    from .search.library import Library
    from .search.report_text import import_text, noted

    with Bars() as bars, Library.open(wait=wait, progress=bars) as opened:
        report = opened.import_files(*files, library=library)
    imported = any(found.imported for found in report.libraries)
    notes = noted(report.notes) + ([] if imported else ["Nothing new to do."])
    return Answer(report, import_text(report), notes, json)


@app.command()
def evaluate(
    folder: Annotated[Path, typer.Argument(metavar="FOLDER", help="What 'vidsim export' wrote.")],
    k: Annotated[
        int, typer.Option("-k", "--k", min=1, metavar="N", help="Nearest videos that vote.")
    ] = 3,
    protocol: Annotated[
        list[str] | None,
        typer.Option(
            metavar="NAME",
            help="leave-one-out (default), split, group, official, or the leaky capstone-all, "
            "capstone-split; may be given again.",
        ),
    ] = None,
    train_list: Annotated[
        Path | None, typer.Option(metavar="FILE", help="UCF101's trainlistNN.txt (official).")
    ] = None,
    test_list: Annotated[
        Path | None, typer.Option(metavar="FILE", help="UCF101's testlistNN.txt (official).")
    ] = None,
    allow_missing: Annotated[
        bool,
        typer.Option("--allow-missing", help="Leave out what the lists name and the export lacks."),
    ] = False,
    color: Annotated[
        str | None, typer.Option(metavar="LIST", help="Compare l2,mse,ssim,labhist on colour.")
    ] = None,
    compare: Annotated[
        list[str] | None,
        typer.Option(metavar="A,B", help="Test two configurations [default: each with fused]."),
    ] = None,
    against: Annotated[
        Path | None,
        typer.Option(
            metavar="DIR2",
            help="Another export of the same videos: test each configuration against its own. "
            "--model is of the first alone.",
        ),
    ] = None,
    model: Model = None,
    tune_weights: Annotated[
        bool,
        typer.Option(
            "--tune-weights",
            help="Find fusion weights on the training part; query uses them if they are better "
            "beyond doubt.",
        ),
    ] = False,
    apply: Annotated[
        bool, typer.Option("--apply", help="Use the tuned weights even if they may be no better.")
    ] = False,
    seed: Annotated[int, typer.Option(min=0, metavar="N", help="Of splits and resamples.")] = 0,
    out: Annotated[
        Path | None,
        typer.Option(
            metavar="DIR", help="For the report [default: a new one in FOLDER/evaluation]."
        ),
    ] = None,
    json: Json = False,
) -> Answer:
    """Measure how well videos find others of their class."""
    if apply and not tune_weights:
        raise typer.BadParameter("it needs --tune-weights.", param_hint="--apply")
    from .ingest.system.progress import Bars
    from .search.evaluation.report import text_lines, weights_left
    from .search.library import Library
    from .search.report_text import noted

    with Bars() as bars, Library.open(progress=bars) as opened:
        report = opened.evaluate(
            folder,
            k=k,
            protocols=protocol or (),
            train_list=train_list,
            test_list=test_list,
            allow_missing=allow_missing,
            color=color,
            compare=compare or (),
            against=against,
            models=model or (),
            tune_weights=tune_weights,
            apply=apply,
            seed=seed,
            out=out,
        )
    notes = noted(report.notes)
    if kept := report.weights_file:
        notes.append(f"The tuned weights are in {kept}; query uses them until it is deleted.")
    elif report.tuned:
        notes.append(weights_left(report.tuned))
    notes.append(f"Report: {report.files[0]}")
    return Answer(report, text_lines(report), notes, json, always=True)


@app.command()
def duplicates(
    libraries: Annotated[
        list[str] | None,
        typer.Argument(
            metavar="LIBRARY", help="Libraries [default: all].", autocompletion=library_names
        ),
    ] = None,
    max_distance: Annotated[
        int,
        typer.Option(
            min=0, max=32, metavar="N", help="Most differing bits of two frames' 64-bit hashes."
        ),
    ] = DuplicateOptions.max_distance,
    min_similarity: Annotated[
        float,
        typer.Option(
            min=-1, max=1, metavar="COSINE", help="Least cosine of the mean frame embeddings."
        ),
    ] = DuplicateOptions.min_similarity,
    html: Html = None,
    server: Server = True,
    csv: Csv = False,
    json: Json = False,
) -> Answer:
    """List videos that show the same: near-duplicates."""
    from .ingest.system.progress import Bars
    from .search.csv_text import duplicates_csv
    from .search.report_text import duplicates_notes, duplicates_text
    from .search.server.client import open_asking

    _not_both(csv, json)
    with Bars() as bars, open_asking(bars, ask=server) as opened:
        report = opened.duplicates(
            *libraries or (), max_distance=max_distance, min_similarity=min_similarity
        )
        pages = [opened.write_html(report, html)] if html else []
    text = duplicates_csv(report) if csv else duplicates_text(report)
    return Answer(report, text, [*duplicates_notes(report), *map(_page_note, pages)], json)


@app.command()
def up(
    gpu: Annotated[bool, typer.Option("--gpu", help="Milvus with GPU indexes.")] = False,
    no_attu: Annotated[bool, typer.Option("--no-attu", help="Without Attu, the console.")] = False,
) -> Answer:
    """Start a Milvus server with Docker, and use it."""
    from .deploy.connection import SECRETS_FILE
    from .deploy.deployment import start
    from .search.library import Library

    home = Library.open().home
    found = start(home, gpu=gpu, attu=not no_attu, tell=_say)
    if found.used:
        with Library.open() as opened:
            opened.wait_for_milvus(tell=_say)
    notes = [f"Log in as root; the password is in {home / SECRETS_FILE}."]
    if not found.used:
        notes.append("note: VIDSIM_URI is set and names another Milvus; unset it to use this one.")
    notes.append(
        "Next: vidsim reindex writes what is stored already; vidsim ingest FOLDER adds to it."
    )
    ready = [service for service in found.services if service.address and service.ready]
    return Answer(text=[f"{s.service:<8}{s.address}" for s in ready], notes=notes)


@app.command()
def down(
    volumes: Annotated[
        bool, typer.Option("--volumes", help="Remove what Milvus stored too; the shards stay.")
    ] = False,
    yes: Annotated[bool, typer.Option("--yes", "-y", help="Do not ask.")] = False,
) -> Answer:
    """Stop that server; what it stored stays."""
    from .deploy.deployment import stop
    from .schemas.errors import DeployError
    from .search.library import Library

    if volumes and not yes and not os.isatty(0):
        raise DeployError("There is no terminal to ask at; add --yes to remove the volumes.")
    if volumes and not yes:
        typer.confirm("Remove everything that server stored?", abort=True, err=True)
    stopped = stop(Library.open().home, volumes=volumes, tell=_say)
    if volumes:
        return Answer(notes=["Removed."])
    left = "Stopped; 'vidsim up' finds its data again." if stopped else "Nothing was started."
    return Answer(notes=[left])


@app.command()
def status(json: Json = False) -> Answer:
    """Show home, cache, versions, libraries, who is writing, and the server if any."""
    from .deploy.deployment import status_table, with_deployment
    from .search.library import Library
    from .search.status_text import status_notes, status_text

    opened = Library.open()
    found = with_deployment(opened.status(), opened.home)
    text = [*status_text(found)]
    if found.server and found.server.deployment:
        text += ["", status_table(found.server.deployment)]
    return Answer(found, text, status_notes(found), json)


@app.command()
def doctor(json: Json = False) -> Answer:
    """Look at all that vidsim needs, and say what to do where something is wrong.

    Python, packages, CPU, GPU, FFmpeg, settings, disks, weights, what is stored, the Milvus server.
    """
    from .ingest.health.doctor import examine, report_of
    from .ingest.health.finding import lines, summary
    from .schemas.health import Health  # not later: without pydantic, `main` has the doctor do less

    found = examine()
    report = Health.model_validate(report_of(found))
    return Answer(report, lines(found), [summary(found)], json, code=0 if report.works else 1)


@app.command()
def prepare(
    modalities: Modalities = None,
    preset: Preset = None,
    model: Model = None,
    json: Json = False,
) -> Answer:
    """Get all that a machine without a network needs: weights, and the demo's clips.

    Carry the cache that it names there, and set VIDSIM_CACHE to it.
    """
    from .ingest.system.progress import Bars
    from .search.library import Library
    from .search.status_text import prepared_notes, prepared_text

    with Bars() as bars, Library.open(progress=bars) as opened:
        report = opened.prepare(modalities=modalities, models=model or (), preset=preset)
    return Answer(report, prepared_text(report), prepared_notes(report), json)


@app.command()
def logs(
    service: Annotated[
        str, typer.Argument(metavar="SERVICE", help="etcd, minio, milvus or attu.")
    ] = "milvus",
    follow: Annotated[bool, typer.Option("--follow", "-f", help="Go on as it grows.")] = False,
    tail: Annotated[int, typer.Option(min=1, metavar="N", help="Only the last lines.")] = 100,
) -> Answer:
    """Show the log of the server of 'vidsim up'."""
    from .deploy.deployment import read_log

    def lines() -> Iterator[Line]:
        with suppress(KeyboardInterrupt):  # which is how one stops to follow
            yield from read_log(service, tail=tail, follow=follow)

    return Answer(text=lines())


@app.command()
def demo(json: Json = False) -> Answer:
    """Run the whole job on a few real and generated clips."""
    from .ingest.system.progress import Bars
    from .search.demo import run
    from .search.library import Library
    from .search.report_text import ingest_notes, ingest_text, query_notes, query_text

    with Bars() as bars, Library.open(progress=bars) as opened:
        shown = run(opened, bars)
    if not json:
        _print(Answer(text=ingest_text(shown.report), notes=ingest_notes(shown.report)))
        _say("")
        _say(f"Query: {shown.clip}, a copy of {shown.original}: {shown.change}.")
    called = _called()
    notes = [
        *query_notes(shown.result),
        "",
        *(f"{what:<12}{where}" for what, where in shown.places.items()),
        "",
        f"Next: {called} serve --open",
        f"      {called} explain {shlex.quote(str(shown.clip))} {shown.original}",
        f"      {called} libraries --videos",
        f"      {called} remove demo",
    ]
    return Answer(shown.result, query_text(shown.result), notes, json)


def _called() -> str:
    """Return how to call this program again: by its name where the shell finds it."""
    here, found = Path(sys.argv[0]), shutil.which("vidsim")
    if here.name != "vidsim" or (found and Path(found).resolve() == here.resolve()):
        return "vidsim"
    return shlex.quote(str(here))


def _log_to(verbose: int, file: str) -> None:
    """Send the log to stderr, at the requested level, and all of it to a file."""
    import logging

    logger = logging.getLogger("vidsim")
    for handler in logger.handlers[:]:
        logger.removeHandler(handler)
    shown = logging.StreamHandler()
    shown.setLevel([logging.WARNING, logging.INFO, logging.DEBUG][min(verbose, 2)])
    if verbose:
        shown.setFormatter(logging.Formatter("%(levelname)s %(name)s: %(message)s"))
    logger.addHandler(shown)
    logger.setLevel(shown.level)
    if file:
        try:
            kept = logging.FileHandler(file, encoding="utf-8")
        except OSError as error:
            raise SettingsError(
                f"VIDSIM_LOG={file} cannot be written ({error.strerror}); name another file."
            ) from error
        kept.setFormatter(
            logging.Formatter("%(asctime)s %(process)d %(levelname)s %(name)s: %(message)s")
        )
        logger.addHandler(kept)
        logger.setLevel(logging.DEBUG)


def _print(answer: Answer) -> int:
    """Print a command's output; return the exit code."""
    if answer.as_json:
        print(_to_json(answer.data))
    else:
        for line in answer.text:
            _show(line)
    for note in answer.notes if answer.always or not answer.as_json else ():
        _say(note)
    return _explain(answer.error) if answer.error else answer.code


def _to_json(data: object) -> str:
    import json

    from pydantic import BaseModel

    from .schemas.rounding import rounded

    def plain(item: object) -> object:
        return item.model_dump(mode="json") if isinstance(item, BaseModel) else item

    found = [plain(item) for item in data] if isinstance(data, list) else plain(data)
    return json.dumps(rounded(found), indent=2, ensure_ascii=False)


def _say(text: str) -> None:
    """Print a note on stderr, wrapped between words on a terminal."""
    text = _printable(text)
    if os.isatty(2):
        indent = " " * (len(text) - len(text.lstrip()))
        text = textwrap.fill(
            text,
            shutil.get_terminal_size().columns,
            subsequent_indent=indent,
            break_long_words=False,
            break_on_hyphens=False,
        )
    print(text, file=sys.stderr)


def _show(line: Line) -> None:
    """Print data on stdout, without wrapping lines of text."""
    if isinstance(line, Control):
        print(line.sequence)
        return
    if isinstance(line, Table):
        columns = shutil.get_terminal_size().columns if os.isatty(1) else None
        print("\n".join(table_lines(line, columns)))
        return
    text = _printable(line.text if isinstance(line, Heading) else line)
    if isinstance(line, Heading) and os.isatty(1) and _styled():
        text = typer.style(text, bold=True)
    print(text)


def _styled() -> bool:
    """Return whether to send a terminal more than text (https://no-color.org)."""
    return not os.environ.get("NO_COLOR") and os.environ.get("TERM") != "dumb"


def table_lines(table: Table, columns: int | None) -> list[str]:
    """Return the lines of a table; cells fold if they do not fit side by side in `columns`."""
    from rich import box
    from rich.console import Console
    from rich.table import Table as Drawn
    from rich.text import Text

    drawn = Drawn(
        box=box.MARKDOWN if table.markdown else None,
        pad_edge=table.markdown,
        padding=(0, 1, 0, 1) if table.markdown else (0, 2, 0, 0),
    )
    for n, name in enumerate(table.header):
        right = table.markdown or n in table.numbers
        drawn.add_column(Text(name), justify="right" if right else "left", overflow="fold")
    for row in table.rows:
        drawn.add_row(*(Text(_printable(cell)) for cell in row))
    paper = io.StringIO()
    console = Console(file=paper, width=(columns or _ANY_WIDTH) - table.indent, color_system=None)
    console.print(drawn)
    lines = [" " * table.indent + line.rstrip() for line in paper.getvalue().splitlines()]
    return [*lines, ""] if table.markdown else lines


_ANY_WIDTH = 100_000
"""Column count for a file or a pipe."""


def _printable(text: str) -> str:
    """Escape unprintable characters, such as newlines and terminal controls in file names."""
    return "".join(c if c.isprintable() else ascii(c)[1:-1] for c in text)
