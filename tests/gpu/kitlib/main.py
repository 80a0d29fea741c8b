"""The verbs: ``prepare`` here, ``receive`` and ``run`` on the machine with the GPU."""

from __future__ import annotations

import argparse
import os
import sys
import tempfile
from collections.abc import Sequence
from pathlib import Path

from .parts import KitError, receive


def main(arguments: Sequence[str] | None = None) -> int:
    """Runs a verb; 1 where something failed."""
    chosen = _parser().parse_args(arguments)
    try:
        if chosen.verb == "prepare":
            return _prepare(chosen)
        if chosen.verb == "receive":
            for part in chosen.parts:
                print(f"{part}: {len(receive(part, chosen.into))} files are in {chosen.into}")
            return 0
        from .run import run

        return run(chosen.into, chosen.out, chosen.device, chosen.small, chosen.seconds)
    except KitError as error:
        print(error, file=sys.stderr)
        return 1


def _prepare(chosen: argparse.Namespace) -> int:
    try:
        from vidsim.schemas.errors import VidsimError

        from .prepare import prepare
    except ImportError as error:
        raise KitError(
            f"{error.name} is not installed for this Python; run it with the one that has vidsim, "
            "such as .venv/bin/python."
        ) from error
    try:
        prepare(chosen.folder, chosen.clips, chosen.limit_mb)
    except VidsimError as error:
        raise KitError(str(error)) from error
    return 0


def _parser() -> argparse.ArgumentParser:
    parser = argparse.ArgumentParser("kit", description=__doc__)
    verbs = parser.add_subparsers(dest="verb", required=True)
    kept = Path(tempfile.gettempdir(), "vidsim-gpu-kit")

    one = verbs.add_parser("prepare", help="gather what the machine lacks, in parts")
    one.add_argument("folder", type=Path, help="where the parts are written")
    one.add_argument("--clips", type=Path, help="class folders of clips (default: ucf101_mini)")
    one.add_argument("--limit-mb", type=float, default=55, help="of a part (default: %(default)s)")

    one = verbs.add_parser("receive", help="copy parts to where they stay, and check them")
    one.add_argument("parts", type=Path, nargs="+", help="folders part-1, part-2, ...")
    one.add_argument("--into", type=Path, default=kept, help="default: %(default)s")

    one = verbs.add_parser("run", help="install, measure, and write kit.json and kit.md")
    one.add_argument("--into", type=Path, default=kept, help="where parts were received")
    out = Path(os.environ.get("OUT") or "gpu-kit-results")
    one.add_argument("--out", type=Path, default=out, help="default: $OUT, or ./gpu-kit-results")
    one.add_argument("--device", choices=("cuda", "cpu"), default="cuda")
    one.add_argument(
        "--small",
        action=argparse.BooleanOptionalAction,
        help="few clips and vectors (default: on a CPU)",
    )
    one.add_argument("--seconds", type=float, default=540, help="for all (default: %(default)s)")
    return parser
