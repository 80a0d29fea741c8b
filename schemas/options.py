"""typer options shared by several commands."""

from __future__ import annotations

from pathlib import Path
from typing import Annotated, Literal

import typer

from .presets import PresetName

Plot = Annotated[Path | None, typer.Option(metavar="FILE.png", help="Draw it as a PNG too.")]
Runs = Annotated[
    int, typer.Option(min=1, metavar="N", help="Measured runs, of which the median counts.")
]


def _beside(file: Path | None) -> Path | None:
    """Refuse a file that could not be written, before the work is done."""
    if file is not None and not file.absolute().parent.is_dir():
        raise typer.BadParameter(f"there is no folder {file.absolute().parent}.")
    return file


Html = Annotated[
    Path | None,
    typer.Option(
        "--html",
        metavar="FILE",
        dir_okay=False,
        callback=_beside,
        help="Write a page with pictures, one file that needs nothing else.",
    ),
]
Csv = Annotated[bool, typer.Option("--csv", help="Print CSV on stdout.")]
Server = Annotated[
    bool,
    typer.Option("--server/--no-server", help="Ask a 'vidsim serve' that runs on the home."),
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
    PresetName | None,
    typer.Option(help="One backbone per modality [default: compact]."),
]
Modalities = Annotated[
    str | None,
    typer.Option(
        "--modalities", "-m", metavar="LIST", help="Of color,frame,audio,motion; default all."
    ),
]
Device = Annotated[
    Literal["auto", "cpu", "cuda"] | None,
    typer.Option(help="Where networks run [default: auto]."),
]
Label = Annotated[
    str | None, typer.Option(metavar="NAME", help="Only videos that have this label.")
]
VideoFilter = Annotated[
    str,
    typer.Option("--filter", metavar="EXPR", help="Milvus filter, e.g. 'label like \"s%\"'."),
]
Wait = Annotated[
    bool, typer.Option("--wait", help="Wait where another process writes to the home.")
]
Uri = Annotated[
    str | None,
    typer.Option(
        metavar="URI", help="A Milvus, or 'embedded' [default: the one that other commands use]."
    ),
]
IndexOption = Annotated[
    Literal["auto", "cpu", "gpu"] | None,
    typer.Option("--index", help="Indexes on a server's GPU, or not [default: auto]."),
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
