"""The command line: parses, calls, prints.

Data goes to stdout, progress and messages to stderr. Nothing heavy is imported before a
command needs it, so that ``vidsim --help`` answers at once.
"""

from __future__ import annotations

import gc
import io
import os
import shutil
import sys
import textwrap
from collections.abc import Iterable, Sequence
from contextlib import nullcontext, suppress
from pathlib import Path
from typing import TYPE_CHECKING, Annotated, Any, cast

import typer

from .schemas.duplicates import DuplicateOptions
from .schemas.errors import LibraryError, VidsimError

if TYPE_CHECKING:
    from .ingest.shards.home import Place
    from .schemas.collections import IndexPolicy
    from .schemas.results import IngestReport, LibrarySummary, ModalityMatch, QueryResult

_INTERRUPTED = 130
"""Exit code after Ctrl-C, which typer gives too."""

_MOST_LINES = 20
"""Files listed in a report; --json has them all."""

app = typer.Typer(
    name="vidsim",
    invoke_without_command=True,
    add_completion=False,
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
    """Shows the help of what was called without any command.

    typer's own ``no_args_is_help`` raises the help as an error or prints it on stderr, as the
    release has it.
    """
    if context.invoked_subcommand is None:
        print(context.get_help())
        raise typer.Exit


def _group(name: str, about: str) -> typer.Typer:
    """A group of commands that shows its help when it is called alone."""
    group = typer.Typer(invoke_without_command=True, callback=_help_alone, help=about)
    app.add_typer(group, name=name)
    return group


models_app = _group("models", "The networks and their weights.")
bench_app = _group("bench", "Run-time tables, as text and as plots.")

Plot = Annotated[Path | None, typer.Option(metavar="FILE.png", help="Draw it as a PNG too.")]
Runs = Annotated[
    int, typer.Option(min=1, metavar="N", help="Measured runs, of which the median counts.")
]
Json = Annotated[bool, typer.Option("--json", help="Print JSON for machines on stdout.")]
Model = Annotated[
    list[str] | None,
    typer.Option(
        "--model",
        metavar="MODALITY=NAME",
        help="Another backbone, for example color=vid2img; frame=timm:NAME is any of timm's.",
    ),
]
Preset = Annotated[
    str | None,
    typer.Option(metavar="compact|classic", help="One backbone a modality [default: compact]."),
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
Uri = Annotated[
    str | None,
    typer.Option(
        metavar="URI", help="A Milvus, or 'embedded' [default: the one that other commands use]."
    ),
]
IndexOption = Annotated[
    str | None,
    typer.Option(
        "--index", metavar="auto|cpu|gpu", help="Indexes on a server's GPU, or not [default: auto]."
    ),
]
AudioTrack = Annotated[
    int | None,
    typer.Option(
        "--audio-track",
        min=1,
        metavar="N",
        help="Which track of sound, from 1 [default: the one that goes with the picture].",
    ),
]
SegmentSeconds = Annotated[
    float | None,
    typer.Option(
        min=1.0,
        metavar="SECONDS",
        help="Length of the segments a long video is cut into [default: 10].",
    ),
]


def main() -> None:
    """Runs the command line; turns what is raised into one sentence and an exit code."""
    # Imports make a million objects that stay: at the default of 700, looking for garbage
    # among them takes a tenth of the time of a query.
    gc.set_threshold(100_000)
    debug = "--debug" in sys.argv[1:]
    sys.argv[1:] = [word for word in sys.argv[1:] if word != "--debug"]
    for stream in (sys.stdout, sys.stderr):
        if isinstance(stream, io.TextIOWrapper):
            stream.reconfigure(encoding="utf-8", errors="backslashreplace")
    try:
        code = app(prog_name="vidsim", standalone_mode=False)
        print(end="", flush=True)
    except BrokenPipeError:  # "| head" has read enough; the flush at exit must not fail again
        os.dup2(os.open(os.devnull, os.O_WRONLY), sys.stdout.fileno())
        code = 1
    except typer.Abort:
        _say("Nothing was done.")
        code = 1
    except Exception as error:
        if debug:
            raise
        code = _explain(error)
    except KeyboardInterrupt:
        code = _INTERRUPTED
    if code == _INTERRUPTED:
        _say("Interrupted; the same command goes on from what was finished.")
    gc.freeze()  # else the interpreter looks through all of them once more before it ends
    sys.exit(code)


def _explain(error: Exception) -> int:
    """Says in one sentence what went wrong; gives the exit code."""
    if isinstance(error, VidsimError):
        _say(f"Error: {error}")
        return 1
    usage = getattr(error, "format_message", None)
    if usage:  # typer's own, which has no public base class
        command = getattr(getattr(error, "ctx", None), "command_path", "vidsim")
        _say(f"Error: {usage().rstrip('.')}; see '{command} --help'.")
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
) -> None:
    """Options before any command; ``--debug`` itself is read in `main`."""
    del version, debug
    _help_alone(context)


@app.command()
def ingest(
    folder: Annotated[
        Path, typer.Argument(metavar="FOLDER", help="A folder of videos and sounds, or one file.")
    ],
    library: Annotated[
        str | None, typer.Option(metavar="NAME", help="The library's name [default: the folder's].")
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
    index: IndexOption = None,
    verbose: Annotated[
        bool, typer.Option("--verbose", "-v", help="List all that was passed over.")
    ] = False,
    json: Json = False,
) -> None:
    """Read a folder of videos and store what is new or changed."""
    from .ingest.extract.embed import EmbedOptions
    from .ingest.models.registry import register_overrides
    from .ingest.pipeline import ingest as run
    from .ingest.system.progress import Bars
    from .schemas.backbones import DEFAULT_PRESET, choose_backbones
    from .schemas.modality import parse_modalities
    from .schemas.settings import settings
    from .search.background import refresh

    chosen = settings()
    register_overrides(chosen.home, model or ())
    options = EmbedOptions(
        backbones=choose_backbones(
            parse_modalities(modalities), model or (), preset or DEFAULT_PRESET
        ),
        segment_seconds=segment_seconds or chosen.segment_seconds,
        device=_device(device or chosen.device),
        workers=workers or chosen.workers,
        nvdec=chosen.nvdec,
        audio_track=audio_track,
    )
    with Bars() as bars:
        report = run(folder, _place(index=index), options, bars, library=library, prune=prune)
        refresh(_place().home, report.library)
    if json:
        print(report.model_dump_json(indent=2))
    else:
        _print_report(report, verbose)
    if not _worked(report):
        raise LibraryError(f"Nothing of {folder} could be read; give videos or sounds.")


@app.command("ingest-audioset")
def ingest_audioset(
    folder: Annotated[
        Path, typer.Argument(metavar="FOLDER", help="The folder of AudioSet's .tfrecord files.")
    ],
    library: Annotated[
        str | None, typer.Option(metavar="NAME", help="The library's name [default: the folder's].")
    ] = None,
    class_labels: Annotated[
        Path | None,
        typer.Option(metavar="CSV", help="AudioSet's class_labels_indices.csv, to name labels."),
    ] = None,
    json: Json = False,
) -> None:
    """Read AudioSet's published VGGish embeddings."""
    from .ingest.exchange.audioset import ingest_audioset as run
    from .ingest.exchange.audioset import read_class_names
    from .ingest.system.progress import Bars
    from .search.background import refresh

    names = read_class_names(class_labels) if class_labels else None
    with Bars() as bars:
        report = run(folder, _place(), bars, library, names)
        refresh(_place().home, report.library)
    if json:
        print(report.model_dump_json(indent=2))
    else:
        _print_report(report)
    if not _worked(report):
        raise LibraryError(f"No clip in {folder} could be read; fetch AudioSet's features again.")


@app.command()
def query(
    clip: Annotated[
        str, typer.Argument(metavar="CLIP", help="A file, or the id of a stored video.")
    ],
    modalities: Modalities = None,
    k: Annotated[
        int, typer.Option("-k", "--k", min=1, max=1000, metavar="N", help="Results wanted.")
    ] = 10,
    library: Annotated[
        list[str] | None,
        typer.Option(metavar="NAME", help="Search this library only; may be given again."),
    ] = None,
    filter: Annotated[
        str, typer.Option(metavar="EXPR", help="Milvus filter, e.g. 'label == \"snow\"'.")
    ] = "",
    fusion: Annotated[
        str, typer.Option(metavar="calibrated|rrf", help="How modalities are combined.")
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
            help="Leave the query's own video out [default: for stored ids].",
        ),
    ] = None,
    segment_seconds: SegmentSeconds = None,
    audio_track: AudioTrack = None,
    device: Device = None,
    json: Json = False,
) -> None:
    """Rank stored videos by likeness to a clip, and say why."""
    from .ingest.system.progress import Bars
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
        preset=preset,
        k=k,
        libraries=tuple(library or ()),
        expression=filter,
        fusion="rrf" if fusion == "rrf" else "calibrated",
        weights=weights,
        exclude_self=exclude_self,
        device=_device(device or chosen.device),
        segment_seconds=segment_seconds or chosen.segment_seconds,
        audio_track=audio_track,
    )
    with Bars() as bars:
        result = run(clip, _place(), options, bars)
    if json:
        print(result.model_dump_json(indent=2))
    else:
        _print_result(result)
    if not result.results:
        raise LibraryError(
            f"Nothing was found for {clip}; widen --filter and --library, "
            "or ask for other modalities with -m."
        )


@app.command()
def libraries(
    videos: Annotated[bool, typer.Option("--videos", help="List every video's id.")] = False,
    json: Json = False,
) -> None:
    """List what is stored."""
    from .ingest.sync.libraries import list_videos, summarize

    home = _place().home
    listed = list_videos(home) if videos else []
    summaries = [] if videos else summarize(home)
    if json:
        print(_to_json([found.model_dump() for found in listed or summaries]))
        return
    for video in listed:
        _show(video.video_id + (f"  ({video.damage})" if video.damage else ""))
    for summary in summaries:
        _print_library(summary)
    if not listed and not summaries:
        _say("Nothing is stored yet; run 'vidsim ingest FOLDER'.")


@app.command()
def remove(
    names: Annotated[
        list[str], typer.Argument(metavar="NAME", help="Libraries, or ids of videos.")
    ],
    yes: Annotated[bool, typer.Option("--yes", "-y", help="Do not ask.")] = False,
) -> None:
    """Remove libraries or videos; the files themselves stay."""
    from .ingest.sync.libraries import find, remove_all

    place = _place()
    found = find(place.home, names)
    what = f"{_count(sum(map(len, found.values())), 'video')} of {', '.join(found)}"
    if not yes and not os.isatty(0):
        raise LibraryError(f"There is no terminal to ask at; add --yes to remove {what}.")
    if not yes:
        typer.confirm(f"Remove {what}?", abort=True, err=True)
    remove_all(place, found)
    _say(f"Removed {what}; the files themselves are untouched.")


@app.command()
def reindex(
    libraries: Annotated[
        list[str] | None, typer.Argument(metavar="LIBRARY", help="Libraries [default: all].")
    ] = None,
    uri: Uri = None,
    fresh: Annotated[
        bool, typer.Option("--fresh", help="Delete what is there first, and write all of it.")
    ] = False,
    index: IndexOption = None,
) -> None:
    """Bring Milvus in step with the shards; no video is read.

    Only rows that it lacks or that are outdated are written, so what was interrupted is gone on
    with. With --uri it fills a server from what was embedded without one.
    """
    from .ingest.sync.libraries import describe_reindex, how_to_use, reindex_all
    from .ingest.system.progress import Bars

    place = _place(uri, index)
    with Bars() as bars:
        report = reindex_all(place, libraries or [], bars, fresh)
    for note in report.notes:
        _say(f"note: {note}")
    _say(describe_reindex(report))
    if change := how_to_use(place, _place()):
        _say(change)


@app.command()
def verify(
    libraries: Annotated[
        list[str] | None, typer.Argument(metavar="LIBRARY", help="Libraries [default: all].")
    ] = None,
    repair: Annotated[
        bool,
        typer.Option("--repair", help="Write what is missing or differs, delete what is extra."),
    ] = False,
    sample: Annotated[
        str, typer.Option(metavar="N|all", help="Vectors compared a library and collection.")
    ] = "100",
    uri: Uri = None,
    json: Json = False,
) -> None:
    """Compare Milvus with the shards row by row."""
    from .ingest.sync.libraries import verify_all, verify_notes, verify_table
    from .ingest.system.progress import Bars
    from .schemas.errors import StoreError

    if sample != "all" and not sample.isdecimal():
        raise typer.BadParameter(f"{sample!r} is no number and not all.", param_hint="--sample")
    with Bars() as bars:
        report = verify_all(
            _place(uri), libraries or [], "all" if sample == "all" else int(sample), bars, repair
        )
    if json:
        print(report.model_dump_json(indent=2))
    else:
        for line in verify_table(report):
            _show(line)
    for line in verify_notes(report):
        _say(line)
    wrong = sum(c.wrong for c in report.comparisons)
    if wrong and not repair:
        raise StoreError(
            f"Milvus and the shards differ in {_count(wrong, 'row')}; add --repair to mend that."
        )


@app.command("tune-index")
def tune_index(
    recall: Annotated[
        float,
        typer.Option(
            min=0.5, max=1.0, metavar="SHARE", help="Part of the ten exact neighbours to find."
        ),
    ] = 0.99,
    index: IndexOption = None,
    json: Json = False,
) -> None:
    """Give each collection the index that its size needs."""
    from .ingest.milvus.index_tuning import tune, tuning_table
    from .ingest.system.progress import Bars

    with Bars() as bars:
        report = tune(_place(index=index), recall, bars)
    if json:
        print(report.model_dump_json(indent=2))
    else:
        for line in tuning_table(report):
            _show(line)
    for note in report.notes:
        _say(f"note: {note}")


@app.command()
def export(
    folder: Annotated[
        Path, typer.Argument(metavar="FOLDER", help="Where to write the HDF5 files.")
    ],
    library: Annotated[
        list[str] | None,
        typer.Option(metavar="NAME", help="Only this library; may be given again."),
    ] = None,
    layout: Annotated[
        str,
        typer.Option(metavar="native|capstone", help="vidsim's files, or those of the capstone."),
    ] = "native",
) -> None:
    """Write vectors, ids, labels and times to HDF5 files."""
    from .ingest.exchange.export import export as export_native
    from .ingest.exchange.export_capstone import export_capstone
    from .ingest.system.progress import Bars

    if layout not in ("native", "capstone"):
        raise typer.BadParameter(f"{layout!r} is not native or capstone.", param_hint="--layout")
    run = export_capstone if layout == "capstone" else export_native
    with Bars() as bars:
        files = run(_place().home, folder, library or [], bars)
    for path in files:
        print(path)


@app.command("import")
def import_(
    files: Annotated[
        list[Path], typer.Argument(metavar="FILE", help="HDF5 files that an export wrote.")
    ],
    library: Annotated[
        str | None,
        typer.Option(metavar="NAME", help="The library's name, for files that do not say one."),
    ] = None,
    json: Json = False,
) -> None:
    """Store what export files hold, the capstone's too."""
    from .ingest.exchange.importer import describe_import, import_files
    from .ingest.system.progress import Bars
    from .search.background import refresh

    with Bars() as bars:
        report = import_files(files, _place(), bars, library=library)
        for found in report.libraries:
            refresh(_place().home, found.library)
    if json:
        print(report.model_dump_json(indent=2))
        return
    for line in describe_import(report):
        _show(line)
    for note in report.notes:
        _say(f"note: {note}")
    if not any(found.imported for found in report.libraries):
        _say("Nothing new to do.")


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
            "--tune-weights", help="Find fusion weights on the training part, for query to use."
        ),
    ] = False,
    seed: Annotated[int, typer.Option(min=0, metavar="N", help="Of splits and resamples.")] = 0,
    out: Annotated[
        Path | None,
        typer.Option(metavar="DIR", help="For the report [default: FOLDER/evaluation]."),
    ] = None,
    json: Json = False,
) -> None:
    """Measure how well videos find others of their class."""
    from .ingest.models.registry import load_registered
    from .ingest.system.progress import Bars
    from .search.evaluation.color_metrics import parse_color_metrics
    from .search.evaluation.comparisons import parse_comparison
    from .search.evaluation.evaluate import EvaluateOptions, keep_tuned, parse_protocols
    from .search.evaluation.evaluate import evaluate as run
    from .search.evaluation.report import text_lines, write_files

    options = EvaluateOptions(
        protocols=parse_protocols(protocol or ()),
        k=k,
        overrides=tuple(model or ()),
        color=parse_color_metrics(color) if color is not None else (),
        compare=tuple(parse_comparison(pair) for pair in compare or ()),
        train_list=train_list,
        test_list=test_list,
        allow_missing=allow_missing,
        tune_weights=tune_weights,
        against=against,
        seed=seed,
    )
    load_registered(_place().home)
    with Bars() as bars:
        evaluation = run(folder, options, bars)
        files = write_files(evaluation, out or folder / "evaluation", bars)
    report = evaluation.report.model_copy(update={"files": [str(path) for path in files]})
    kept = keep_tuned(_place().home, report)
    if json:
        print(report.model_dump_json(indent=2))
    else:
        for line in text_lines(report):
            _show(line)
    for note in report.notes:
        _say(f"note: {note}")
    if kept:
        _say(f"The tuned weights are in {kept}; query uses them until it is deleted.")
    _say(f"Report: {files[0]}")


@app.command()
def duplicates(
    libraries: Annotated[
        list[str] | None, typer.Argument(metavar="LIBRARY", help="Libraries [default: all].")
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
    json: Json = False,
) -> None:
    """List videos that show the same: near-duplicates."""
    from .ingest.extract.embed import default_workers
    from .ingest.system.progress import Bars
    from .schemas.settings import settings
    from .search.duplicates.find import duplicates_table, find_duplicates

    options = DuplicateOptions(max_distance, min_similarity)
    workers = settings().workers or default_workers()
    with Bars() as bars:
        report = find_duplicates(_place().home, libraries or [], options, workers, bars)
    if json:
        print(report.model_dump_json(indent=2))
        return
    for line in duplicates_table(report):
        _show(line)
    _say(f"{_count(len(report.pairs), 'pair')} among {_count(report.videos, 'video')}.")
    _list([f"failed: {f.path}: {f.reason}" for f in report.failed])
    for note in report.notes:
        _say(f"note: {note}")


@bench_app.command("kmeans")
def bench_kmeans(
    image: Annotated[Path, typer.Argument(metavar="IMAGE", help="A picture.")],
    runs: Runs = 7,
    plot: Plot = None,
    json: Json = False,
) -> None:
    """Time the dominant colours of a picture, in three ways."""
    from .ingest.system.progress import Bars
    from .search.bench.kmeans import bench_kmeans as run
    from .search.bench.plots import plot_kmeans
    from .search.bench.tables import kmeans_table
    from .search.bench.timing import check_plot

    check_plot(plot)
    with Bars() as bars:
        result = run(image, runs, bars)
    if plot:
        plot_kmeans(result, plot)
    _print_bench(result.model_dump_json(indent=2) if json else kmeans_table(result))


@bench_app.command("knn")
def bench_knn(
    export: Annotated[
        Path | None,
        typer.Argument(
            metavar="EXPORT", help="HDF5 of 'vidsim export' [default: synthetic vectors]."
        ),
    ] = None,
    rows: Annotated[int, typer.Option(min=1000, metavar="N", help="Synthetic vectors.")] = 20_000,
    dim: Annotated[int, typer.Option(min=2, metavar="N", help="Their dimension.")] = 512,
    runs: Runs = 5,
    plot: Plot = None,
    json: Json = False,
) -> None:
    """Time nearest-neighbour search by faiss and Milvus."""
    from .ingest.system.progress import Bars
    from .search.bench.knn import bench_knn as run
    from .search.bench.plots import plot_knn
    from .search.bench.tables import knn_table
    from .search.bench.timing import check_plot

    check_plot(plot)
    with Bars() as bars:
        result = run(export, rows, dim, runs, _place(), bars)
    if plot:
        plot_knn(result, plot)
    _print_bench(result.model_dump_json(indent=2) if json else knn_table(result))


@bench_app.command("ingest")
def bench_ingest(
    folder: Annotated[
        Path | None, typer.Argument(help="A folder of videos; none with --smoke.")
    ] = None,
    modalities: Modalities = None,
    preset: Preset = None,
    device: Device = None,
    runs: Annotated[int, typer.Option(min=1, help="Interleaved runs of each way.")] = 3,
    smoke: Annotated[
        bool, typer.Option("--smoke", help="One run over a few generated clips, for CI.")
    ] = False,
    plot: Plot = None,
    json: Json = False,
) -> None:
    """Measure ingest beside the 2019 capstone's way: clips a second, stages, memory."""
    from .ingest.system.progress import Bars
    from .schemas.backbones import DEFAULT_PRESET, choose_backbones
    from .schemas.modality import parse_modalities
    from .schemas.settings import settings
    from .search.bench.ingest import bench_ingest as run
    from .search.bench.ingest import smoke_clips
    from .search.bench.plots import plot_ingest
    from .search.bench.tables import ingest_table
    from .search.bench.timing import check_plot

    if (folder is None) != smoke:
        raise typer.BadParameter("Give a folder, or --smoke.", param_hint="FOLDER")
    check_plot(plot)
    chosen = preset or DEFAULT_PRESET
    backbones = choose_backbones(parse_modalities(modalities), (), chosen)
    where = _device(device or settings().device)
    with Bars() as bars, smoke_clips() if folder is None else nullcontext(folder) as clips:
        result = run(clips, backbones, chosen, where, 1 if smoke else runs, bars)
    if plot:
        plot_ingest(result, plot)
    _print_bench(result.model_dump_json(indent=2) if json else ingest_table(result))


@bench_app.command("memory")
def bench_memory(
    folder: Annotated[Path, typer.Argument(help="A folder of videos.")],
    videos: Annotated[
        int, typer.Option(min=1, help="Videos to ingest: those of the folder, again and again.")
    ] = 2000,
    modalities: Modalities = None,
    preset: Preset = None,
    device: Device = None,
    plot: Plot = None,
    json: Json = False,
) -> None:
    """Measure the memory of a long ingest, from its start to its end."""
    from .ingest.system.progress import Bars
    from .schemas.backbones import DEFAULT_PRESET, choose_backbones
    from .schemas.modality import parse_modalities
    from .schemas.settings import settings
    from .search.bench.memory import bench_memory as run
    from .search.bench.plots import plot_memory
    from .search.bench.tables import memory_table
    from .search.bench.timing import check_plot

    check_plot(plot)
    chosen = preset or DEFAULT_PRESET
    backbones = choose_backbones(parse_modalities(modalities), (), chosen)
    with Bars() as bars:
        result = run(folder, backbones, chosen, _device(device or settings().device), videos, bars)
    if plot:
        plot_memory(result, plot)
    _print_bench(result.model_dump_json(indent=2) if json else memory_table(result))


@bench_app.command("query")
def bench_query(
    uri: Uri = None,
    videos: Annotated[int, typer.Option(min=20, help="Synthetic videos.")] = 13_320,
    queries: Annotated[int, typer.Option(min=1, help="Stored ids to ask for.")] = 50,
    model: Model = None,
    home: Annotated[
        Path | None,
        typer.Option(
            metavar="DIR", help="Keep the embedded library here, and use it again if it is there."
        ),
    ] = None,
    clip: Annotated[
        Path | None,
        typer.Option(metavar="FILE", help="Ask for this file as well, with networks loaded."),
    ] = None,
    json: Json = False,
) -> None:
    """Time a query of a synthetic library of UCF101's size: vidsim and faiss."""
    from .ingest.system.progress import Bars
    from .schemas.backbones import choose_backbones
    from .schemas.modality import Modality
    from .search.bench.query import bench_query as run
    from .search.bench.tables import query_table

    backbones = choose_backbones(tuple(Modality), model or ())
    place = _place(uri)
    if home and place.uri:
        raise typer.BadParameter("It is for '--uri embedded' only.", param_hint="--home")
    with Bars() as bars:
        result = run(videos, queries, tuple(backbones.values()), place, home, bars, clip)
    _print_bench(result.model_dump_json(indent=2) if json else query_table(result))


@bench_app.command("scale")
def bench_scale(
    uri: Uri = None,
    videos: Annotated[
        int, typer.Option(min=40, metavar="N", help="Videos of the largest library.")
    ] = 10_000,
    queries: Annotated[int, typer.Option(min=1, help="Stored ids to ask for at each size.")] = 30,
    modalities: Annotated[
        str, typer.Option("--modalities", "-m", metavar="LIST", help="Of color,frame,audio,motion.")
    ] = "color,frame",
    model: Model = None,
    memory: Annotated[
        float | None,
        typer.Option(min=1.0, metavar="GB", help="Of a machine to plan for [default: this one's]."),
    ] = None,
    json: Json = False,
) -> None:
    """Let a synthetic library grow: time, memory and disk at each size, and what fits."""
    from .ingest.system.progress import Bars
    from .schemas.backbones import choose_backbones
    from .schemas.modality import parse_modalities
    from .search.bench.scale import bench_scale as run
    from .search.bench.tables import scale_table

    backbones = choose_backbones(parse_modalities(modalities), model or ())
    with Bars() as bars:
        result = run(videos, queries, tuple(backbones.values()), _place(uri), memory, bars)
    _print_bench(result.model_dump_json(indent=2) if json else scale_table(result))


@models_app.command("list")
def models_list(json: Json = False) -> None:
    """List the backbones, their sizes and whether their weights are here."""
    from .ingest.models.registry import load_registered
    from .ingest.models.weights import status
    from .schemas.backbones import BACKBONES, DEFAULT_PRESET, PRESETS
    from .schemas.weights import PublishedFiles

    load_registered(_place().home)
    defaults = PRESETS[DEFAULT_PRESET].values()
    rows = [
        {
            "modality": b.modality.value,
            "name": b.name,
            "dim": b.dim,
            "default": b.name in defaults,
            "weights": status(b),
            "licence": b.weights.licence if b.weights else "",
            "from": b.weights.how if isinstance(b.weights, PublishedFiles) else "",
            "about": b.about,
        }
        for b in BACKBONES.values()
    ]
    if json:
        print(_to_json(rows))
        return
    for row in rows:
        known = [row["weights"], row["licence"], row["default"] and "default"]
        _show(
            f"{row['name']:<18}  {row['modality']:<6}  {row['dim']:>5}-d  "
            + ", ".join(str(item) for item in known if item)
        )
        more = [row["about"]]
        if row["from"] and row["weights"] != "pulled":
            more.append(f"weights: {row['from']}")
        for text in more:
            for line in textwrap.wrap(str(text), 76, break_long_words=False):
                _show(f"    {line}")


@models_app.command("pull")
def models_pull(
    names: Annotated[
        list[str] | None,
        typer.Argument(metavar="NAME", help="Backbones [default: those of the default preset]."),
    ] = None,
) -> None:
    """Get weights, check them, and keep them for offline use.

    Without names, only what the default preset needs; nothing else is asked for.
    """
    from .ingest.extract.embed import pull
    from .ingest.system.progress import Bars

    chosen = _backbones(names)
    with Bars() as bars:
        pull(chosen, bars)
    _register(names or ())
    _say("Here: " + ", ".join(b.name for b in chosen))


@models_app.command("add")
def models_add(
    name: Annotated[str, typer.Argument(metavar="NAME", help="A backbone, or timm:NAME.")],
    files: Annotated[list[Path], typer.Argument(metavar="FILE", help="All of its weight files.")],
) -> None:
    """Take weights that were got by hand, if they hold that network.

    The checksum is held against the known one where there is one, and every tensor against
    the network; on an error nothing is kept.
    """
    from .ingest.models.weights import add

    (backbone,) = _backbones([name])
    add(backbone, files)
    _register([name])
    _say(f"Here: {backbone.name}")


@models_app.command("path")
def models_path(name: Annotated[str, typer.Argument(metavar="NAME", help="A backbone.")]) -> None:
    """Print the folder that holds a backbone's weights."""
    from .ingest.models.weights import locate

    print(locate(_backbones([name])[0]))


@app.command()
def up(
    gpu: Annotated[bool, typer.Option("--gpu", help="Milvus with GPU indexes.")] = False,
    no_attu: Annotated[bool, typer.Option("--no-attu", help="Without Attu, the console.")] = False,
) -> None:
    """Start a Milvus server with Docker, and use it."""
    from .deploy.connection import SECRETS_FILE
    from .deploy.deployment import start
    from .ingest.milvus.connection import open_client
    from .ingest.milvus.indexes import wait_until_searchable
    from .schemas.settings import settings

    home = settings().home
    found = start(home, gpu=gpu, attu=not no_attu, tell=_say)
    if found.used:
        with open_client(_place()) as milvus:
            wait_until_searchable(milvus, tell=_say)
    for service in found.services:
        if service.address and service.ready:
            _show(f"{service.service:<8}{service.address}")
    _say(f"Log in as root; the password is in {home / SECRETS_FILE}.")
    if not found.used:
        _say("note: VIDSIM_URI is set and names another Milvus; unset it to use this one.")
    _say("Next: vidsim reindex writes what is stored already; vidsim ingest FOLDER adds to it.")


@app.command()
def down(
    volumes: Annotated[
        bool, typer.Option("--volumes", help="Remove what Milvus stored too; the shards stay.")
    ] = False,
    yes: Annotated[bool, typer.Option("--yes", "-y", help="Do not ask.")] = False,
) -> None:
    """Stop that server; what it stored stays."""
    from .deploy.deployment import stop
    from .schemas.errors import DeployError
    from .schemas.settings import settings

    if volumes and not yes and not os.isatty(0):
        raise DeployError("There is no terminal to ask at; add --yes to remove the volumes.")
    if volumes and not yes:
        typer.confirm("Remove everything that server stored?", abort=True, err=True)
    stopped = stop(settings().home, volumes=volumes, tell=_say)
    if volumes:
        _say("Removed.")
    else:
        _say("Stopped; 'vidsim up' finds its data again." if stopped else "Nothing was started.")


@app.command()
def status(json: Json = False) -> None:
    """Say how that server is, and whether it is used."""
    from .deploy.deployment import look, status_table

    found = look()
    if json:
        print(found.model_dump_json(indent=2))
        return
    for line in status_table(found):
        _show(line)
    if found.uri is not None:
        _say(f"vidsim {'uses' if found.used else 'does not use'} {found.uri}.")
    if not any(service.ready for service in found.services if service.service == "milvus"):
        _say("Milvus is not ready; run 'vidsim up'.")


@app.command()
def logs(
    service: Annotated[
        str, typer.Argument(metavar="SERVICE", help="etcd, minio, milvus or attu.")
    ] = "milvus",
    follow: Annotated[bool, typer.Option("--follow", "-f", help="Go on as it grows.")] = False,
    tail: Annotated[int, typer.Option(min=1, metavar="N", help="Only the last lines.")] = 100,
) -> None:
    """Show the log of that server."""
    from .deploy.deployment import read_log

    with suppress(KeyboardInterrupt):  # which is how one stops to follow
        for line in read_log(service, tail=tail, follow=follow):
            _show(line)


@app.command()
def demo(json: Json = False) -> None:
    """Run the whole job on a few real and generated clips."""
    from .ingest.system.progress import Bars
    from .search.demo import run

    with Bars() as bars:
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
    _say("")
    _say(f"Next: vidsim query {shown.original} -m color,motion")
    _say("      vidsim libraries --videos")
    _say("      vidsim remove demo")


def _print_bench(result: str | list[str]) -> None:
    print(result if isinstance(result, str) else "\n".join(result))


def _place(uri: str | None = None, index: str | None = None) -> Place:
    """Where things are; `uri` and `index` go before what the settings name."""
    from .ingest.shards.home import EMBEDDED, Place
    from .schemas.settings import settings

    chosen = settings()
    if index not in (None, "auto", "cpu", "gpu"):
        raise typer.BadParameter(f"{index!r} is not auto, cpu or gpu.", param_hint="--index")
    token = chosen.token.get_secret_value() if chosen.token else ""
    wanted = uri or chosen.uri
    return Place(
        chosen.home,
        None if wanted == EMBEDDED else wanted,
        token,
        chosen.ca_cert,
        chosen.client_cert,
        chosen.client_key,
        cast("IndexPolicy", index) if index else chosen.index,
    )


def _device(name: str) -> str:
    if name not in ("auto", "cpu", "cuda"):
        raise typer.BadParameter(f"{name!r} is not auto, cpu or cuda.", param_hint="--device")
    return name


def _backbones(names: Iterable[str] | None) -> list[Any]:
    from .ingest.models.registry import describe_timm, load_registered
    from .schemas.backbones import BACKBONES, DEFAULT_PRESET, PRESETS
    from .schemas.errors import ModelError
    from .schemas.weights import TIMM_SCHEME

    home = _place().home
    load_registered(home)
    chosen = []
    for name in names or ():
        if name.startswith(TIMM_SCHEME):
            chosen.append(describe_timm(home, name))
        elif name in BACKBONES:
            chosen.append(BACKBONES[name])
        else:
            raise ModelError(f"No backbone is called {name!r}; choose from {', '.join(BACKBONES)}.")
    default = [BACKBONES[n] for n in PRESETS[DEFAULT_PRESET].values()]
    return chosen or [b for b in default if b.weights]


def _register(names: Iterable[str]) -> None:
    """Writes down the networks of timm among `names`, whose weights are here now."""
    from .ingest.models.registry import register_timm
    from .schemas.weights import TIMM_SCHEME

    for name in names:
        if name.startswith(TIMM_SCHEME):
            register_timm(_place().home, name)


def _to_json(value: object) -> str:
    import json

    return json.dumps(value, indent=2, ensure_ascii=False)


def _say(text: str) -> None:
    """Prints a note on stderr; a terminal gets it wrapped between words."""
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


def _show(text: str, bold: bool = False) -> None:
    """Prints a line of data on stdout, however long."""
    text = _printable(text)
    typer.echo(typer.style(text, bold=True) if bold else text)


def _printable(text: str) -> str:
    """Names of files may hold anything, such as a newline or what drives a terminal."""
    return "".join(c if c.isprintable() else ascii(c)[1:-1] for c in text)


def _count(number: int, noun: str) -> str:
    return f"{number:,} {noun}" + ("" if number == 1 else "s")


def _worked(report: IngestReport) -> bool:
    return bool(report.embedded or report.unchanged or report.moved)


def _print_report(report: IngestReport, verbose: bool = False) -> None:
    if _worked(report):
        _show(
            f"{report.library}: {_count(report.videos, 'video')}, "
            f"{_count(report.segments, 'segment')}",
            bold=True,
        )
        for modality, rows in report.rows.items():
            silent = f" ({_count(report.no_audio, 'video')} without sound)"
            note = silent if modality == "audio" and report.no_audio else ""
            _show(f"    {modality:<6}  {_count(rows, 'row')}{note}")
    done = f"{report.embedded:,} embedded, {report.unchanged:,} unchanged"
    moved = f", {report.moved:,} moved" if report.moved else ""
    removed = f", {report.removed:,} removed" if report.removed else ""
    _say(f"{done}{moved}{removed}, {len(report.failed):,} failed.")
    _list([f"failed: {f.path}: {f.reason}" for f in report.failed])
    _list([f"damaged: {f.path}: {f.reason}" for f in report.damaged])
    if report.missing:
        _say(f"Of {_count(len(report.missing), 'stored video')} the file is gone (see --prune):")
        _list(report.missing)
    _print_passed_over(report, verbose)
    for note in report.notes:
        _say(f"note: {note}")
    if report.embedded:
        _say("Next: vidsim query CLIP, or vidsim libraries --videos for ids to query with.")
    elif not report.failed and not report.moved:
        _say("Nothing new to do.")


def _print_passed_over(report: IngestReport, verbose: bool) -> None:
    if not report.passed_over:
        return
    from .ingest.discover.listing import describe_kind, describe_passed_over

    more = "" if verbose else " (-v lists them)"
    _say(f"Passed over: {describe_passed_over(report.passed_over)}{more}.")
    for kind, paths in report.passed_over.items() if verbose else ():
        for path in paths:
            _say(f"  {describe_kind(kind)}: {path}")


def _list(items: Sequence[str]) -> None:
    for item in items[:_MOST_LINES]:
        _say(f"  {item}")
    if len(items) > _MOST_LINES:
        _say(f"  and {len(items) - _MOST_LINES:,} more (--json lists all)")


def _print_result(result: QueryResult) -> None:
    width = len(str(len(result.results)))
    for found in result.results:
        _show(f"{found.rank:>{width}}  {found.score:.3f}  {found.video_id}", bold=True)
        for modality in result.modalities:
            match = found.modalities.get(modality)
            how = _describe(match) if match else "  none"
            _show(f"{'':{width}}  {modality:<6}  {how}")
    if result.results:
        _say("Each modality: similarity, rank, share of the score, query ~ video seconds.")
    if result.missing_modalities:
        missing = ", ".join(result.missing_modalities)
        _say(f"The query has no {missing} (no track, or silence); it did not count.")
    for note in result.notes:
        _say(f"note: {note}")


def _describe(match: ModalityMatch) -> str:
    return (
        f"{match.similarity:6.3f}  {f'#{match.rank}':<4}  {match.share:>4.0%}  "
        f"{match.query_start_s:.1f}-{match.query_end_s:.1f} ~ {match.start_s:.1f}-{match.end_s:.1f}"
    )


def _print_library(item: LibrarySummary) -> None:
    _show(item.library, bold=True)
    _show(
        f"    {_count(item.videos, 'video')}, {_count(item.segments, 'segment')}, "
        f"{item.hours:.2f} hours"
    )
    _show("    rows: " + ", ".join(f"{name} {count:,}" for name, count in item.rows.items()))
    _show(f"    from {item.root}")
