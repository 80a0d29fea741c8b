"""vidsim bench: run-time tables, on the command line."""

from __future__ import annotations

from contextlib import nullcontext
from pathlib import Path
from typing import Annotated

import typer

from ...schemas.answer import Answer
from ...schemas.options import Device, Json, Modalities, Model, Plot, Preset, Runs, Uri

app = typer.Typer(help="Run-time tables, as text and as plots.")

Kept = Annotated[
    Path | None,
    typer.Option(
        "--home",
        metavar="DIR",
        help="Keep the embedded library here, and use it again if it is there.",
    ),
]


@app.command()
def kmeans(
    image: Annotated[Path, typer.Argument(metavar="IMAGE", help="A picture.")],
    runs: Runs = 7,
    plot: Plot = None,
    json: Json = False,
) -> Answer:
    """Time the dominant colours of a picture, in three ways."""
    from ...ingest.system.progress import Bars
    from .kmeans import bench_kmeans
    from .plots import plot_kmeans
    from .tables import kmeans_table
    from .timing import check_plot

    check_plot(plot)
    with Bars() as bars:
        result = bench_kmeans(image, runs, bars)
    if plot:
        plot_kmeans(result, plot)
    return Answer(result, kmeans_table(result), as_json=json)


@app.command()
def knn(
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
) -> Answer:
    """Time nearest-neighbour search by faiss and Milvus."""
    from ...ingest.system.progress import Bars
    from ..library import Library
    from .knn import bench_knn
    from .plots import plot_knn
    from .tables import knn_table
    from .timing import check_plot

    check_plot(plot)
    with Bars() as bars:
        result = bench_knn(export, rows, dim, runs, Library.open().place, bars)
    if plot:
        plot_knn(result, plot)
    return Answer(result, knn_table(result), as_json=json)


@app.command()
def ingest(
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
) -> Answer:
    """Measure ingest beside the 2019 capstone's way: clips per second, stages, memory."""
    from ...ingest.system.progress import Bars
    from ...schemas.modality import parse_modalities
    from ...schemas.presets import DEFAULT_PRESET, choose_backbones
    from ...schemas.settings import settings
    from .ingest import bench_ingest, smoke_clips
    from .plots import plot_ingest
    from .tables import ingest_table
    from .timing import check_plot

    if (folder is None) != smoke:
        raise typer.BadParameter("Give a folder, or --smoke.", param_hint="FOLDER")
    check_plot(plot)
    chosen = preset or DEFAULT_PRESET
    backbones = choose_backbones(parse_modalities(modalities), (), chosen)
    where = device or settings().device
    with Bars() as bars, smoke_clips() if folder is None else nullcontext(folder) as clips:
        result = bench_ingest(clips, backbones, chosen, where, 1 if smoke else runs, bars)
    if plot:
        plot_ingest(result, plot)
    return Answer(result, ingest_table(result), as_json=json)


@app.command()
def memory(
    folder: Annotated[Path, typer.Argument(help="A folder of videos.")],
    videos: Annotated[
        int, typer.Option(min=1, help="Videos to ingest: those of the folder, again and again.")
    ] = 2000,
    modalities: Modalities = None,
    preset: Preset = None,
    device: Device = None,
    plot: Plot = None,
    json: Json = False,
) -> Answer:
    """Measure the memory of a long ingest, from its start to its end."""
    from ...ingest.system.progress import Bars
    from ...schemas.modality import parse_modalities
    from ...schemas.presets import DEFAULT_PRESET, choose_backbones
    from ...schemas.settings import settings
    from .memory import bench_memory
    from .plots import plot_memory
    from .tables import memory_table
    from .timing import check_plot

    check_plot(plot)
    chosen = preset or DEFAULT_PRESET
    backbones = choose_backbones(parse_modalities(modalities), (), chosen)
    with Bars() as bars:
        result = bench_memory(folder, backbones, chosen, device or settings().device, videos, bars)
    if plot:
        plot_memory(result, plot)
    return Answer(result, memory_table(result), as_json=json)


@app.command()
def query(
    uri: Uri = None,
    videos: Annotated[int, typer.Option(min=20, help="Synthetic videos.")] = 13_320,
    queries: Annotated[int, typer.Option(min=1, help="Stored ids to ask for.")] = 50,
    model: Model = None,
    home: Kept = None,
    clip: Annotated[
        Path | None,
        typer.Option(metavar="FILE", help="Ask for this file as well, with networks loaded."),
    ] = None,
    json: Json = False,
) -> Answer:
    """Time a query of a synthetic library of UCF101's size: vidsim and faiss."""
    from ...ingest.system.progress import Bars
    from ...schemas.modality import Modality
    from ...schemas.presets import choose_backbones
    from ..library import Library
    from .query import bench_query
    from .tables import query_table

    backbones = choose_backbones(tuple(Modality), model or ())
    place = Library.open(uri=uri).place
    if home and place.uri:
        raise typer.BadParameter("It is for '--uri embedded' only.", param_hint="--home")
    with Bars() as bars:
        result = bench_query(videos, queries, tuple(backbones.values()), place, home, bars, clip)
    return Answer(result, query_table(result), as_json=json)


@app.command()
def serve(
    videos: Annotated[int, typer.Option(min=20, help="Synthetic videos.")] = 13_320,
    queries: Annotated[int, typer.Option(min=1, help="Stored ids to ask for.")] = 50,
    model: Model = None,
    home: Kept = None,
    clip: Annotated[
        Path | None, typer.Option(metavar="FILE", help="Ask by this file as well, as a new one.")
    ] = None,
    clients: Annotated[int, typer.Option(min=1, metavar="N", help="Clients at once.")] = 50,
    seconds: Annotated[float, typer.Option(min=1, metavar="S", help="How long they ask.")] = 120.0,
    json: Json = False,
) -> Answer:
    """Time 'vidsim serve': over HTTP and by a Library in turn, then many clients at once."""
    from ...ingest.system.progress import Bars
    from ...schemas.modality import Modality
    from ...schemas.presets import choose_backbones
    from .serve import bench_serve
    from .tables import serve_table

    backbones = tuple(choose_backbones(tuple(Modality), model or ()).values())
    with Bars() as bars:
        result = bench_serve(videos, queries, backbones, home, bars, clip, clients, seconds)
    return Answer(result, serve_table(result), as_json=json)


@app.command()
def scale(
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
) -> Answer:
    """Let a synthetic library grow: time, memory and disk at each size, and what fits."""
    from ...ingest.system.progress import Bars
    from ...schemas.modality import parse_modalities
    from ...schemas.presets import choose_backbones
    from ..library import Library
    from .scale import bench_scale
    from .tables import scale_table

    backbones = choose_backbones(parse_modalities(modalities), model or ())
    place = Library.open(uri=uri).place
    with Bars() as bars:
        result = bench_scale(videos, queries, tuple(backbones.values()), place, memory, bars)
    return Answer(result, scale_table(result), as_json=json)
