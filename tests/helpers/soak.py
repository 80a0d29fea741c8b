"""Thousands of short clips in one ingest: are memory, open files and child processes flat?

``python -m vidsim.tests.helpers.soak CLIPS`` runs the genuine command, looks once a second, and
prints how each measure went; ``-m`` names modalities (colour and sound unless told otherwise, as
all four take several times as long), ``--plot`` draws it, ``--samples`` keeps every look in a CSV.
Ctrl-C interrupts the ingest as it does a person's, and prints what was seen so far.
"""

from __future__ import annotations

import argparse
import csv
import json
import signal
import subprocess
import tempfile
import time
from collections.abc import Iterator, Sequence
from contextlib import suppress
from dataclasses import asdict, astuple, dataclass, fields
from pathlib import Path

import numpy as np
import psutil

from vidsim.ingest.shards.lock import read_holder

from .clips import write_clip
from .command_line import command, environment

_KINDS = 120
"""Clips of different content: all others are copies of these with a byte or two more at the end,
other files to vidsim, which embeds them too."""

_SIDE, _FRAMES = 64, 8
_PER_FOLDER = 500


@dataclass(frozen=True)
class Look:
    """What was seen at one moment.

    Attributes:
        seconds: Since the start.
        done: Clips that were stored.
        parent_mb: Resident memory of the command.
        children_mb: Of its child processes together; shared pages count for each.
        files: Open file descriptors of the command.
        children: Number of child processes.
        threads: Of the command.
    """

    seconds: float
    done: int
    parent_mb: float
    children_mb: float
    files: int
    children: int
    threads: int


@dataclass(frozen=True)
class Trend:
    """How a measure went.

    Attributes:
        name: Its name, as `Look` has it.
        early: Its mean in the second tenth of the looks.
        late: Its mean in the last tenth.
        per_thousand: Slope by least squares over the last 80 % of the looks, per 1,000 clips.
        most: Its maximum.
    """

    name: str
    early: float
    late: float
    per_thousand: float
    most: float


def write_clips(folder: Path, clips: int, first: int = 0) -> Path:
    """Writes short clips with a tone: Motion JPEG, and every fourth H.264."""
    folder.mkdir(parents=True)
    kinds = [_kind(folder.parent, number).read_bytes() for number in range(min(_KINDS, clips))]
    for number in range(clips):
        suffix = _suffix(number % len(kinds))
        path = folder / f"{number // _PER_FOLDER:03}" / f"{first + number:06}{suffix}"
        path.parent.mkdir(exist_ok=True)
        path.write_bytes(kinds[number % len(kinds)] + b"%d" % (first + number))
    return folder


def _suffix(kind: int) -> str:
    return ".mkv" if kind % 4 else ".mp4"


def _kind(folder: Path, kind: int) -> Path:
    random = np.random.default_rng(kind)
    path = folder / f"kind{_suffix(kind)}"
    rough = random.integers(0, 256, (4, 4, 3), np.uint8)
    pictures = [np.roll(rough, n // 2, axis=1).repeat(_SIDE // 4, 0) for n in range(_FRAMES)]
    tone = (float(random.uniform(200, 2000)), 1.0, 16_000, 1)
    mjpeg = {"codec": "mjpeg", "pix_fmt": "yuvj420p", "audio_codec": "pcm_s16le"}
    h264 = {"codec": "libx264", "pix_fmt": "yuv420p", "audio_codec": "aac"}
    return write_clip(
        path,
        times=[n / 25 for n in range(_FRAMES)],
        images=[picture.repeat(_SIDE // 4, 1) for picture in pictures],
        tone=tone,
        **(mjpeg if kind % 4 else h264),
    )


def watch(process: psutil.Process, home: Path, every_s: float = 1.0) -> Iterator[Look]:
    """Looks at a process until it ends."""
    began = time.monotonic()
    with suppress(psutil.NoSuchProcess):
        while process.status() != psutil.STATUS_ZOMBIE:
            holder = read_holder(home)
            yield look_at(process, time.monotonic() - began, holder.done if holder else 0)
            time.sleep(every_s)


def look_at(process: psutil.Process, seconds: float, done: int) -> Look:
    children_mb, children = 0.0, process.children(recursive=True)
    for child in children:
        with suppress(psutil.NoSuchProcess):
            children_mb += child.memory_info().rss / 1e6
    with process.oneshot():
        mb, threads = process.memory_info().rss / 1e6, process.num_threads()
    files = process.num_fds()
    return Look(seconds, done, mb, children_mb, files, len(children), threads)


def _working(looks: Sequence[Look]) -> list[Look]:
    """Those between the first clips that were stored and the last: not while it starts and ends."""
    most = max((look.done for look in looks), default=0)
    last = next((n for n, look in enumerate(looks) if look.done == most), 0)
    return [look for look in looks[: last + 1] if look.done]


MEASURES = ("parent_mb", "children_mb", "files", "children", "threads")


def trends(looks: Sequence[Look]) -> list[Trend]:
    """How each measure went, from the first clips that were stored to the last ones."""
    working = _working(looks)
    if len(working) < 10:
        return []
    done = np.array([look.done for look in working], float)
    tenth, fifth = len(working) // 10, len(working) // 5
    found = []
    for name in MEASURES:
        values = np.array([getattr(look, name) for look in working], float)
        slope = np.polyfit(done[fifth:], values[fifth:], 1)[0] if np.ptp(done[fifth:]) else 0.0
        early, late = values[tenth : 2 * tenth].mean(), values[-tenth:].mean()
        found.append(Trend(name, early, late, 1000 * float(slope), values.max()))
    return found


def table(found: Sequence[Trend]) -> str:
    """Trends in Markdown."""
    lines = ["| measure | second tenth | last tenth | growth | per 1,000 clips | most |"]
    lines.append("|---|---|---|---|---|---|")
    lines += [
        f"| {t.name} | {t.early:.1f} | {t.late:.1f} | {t.late - t.early:+.1f} "
        f"({(t.late - t.early) / max(t.early, 1e-9):+.1%}) | {t.per_thousand:+.2f} | {t.most:.0f} |"
        for t in found
    ]
    return "\n".join(lines)


def plot(looks: Sequence[Look], path: Path, title: str) -> None:
    """Draws each measure over the clips that were stored, as a PNG."""
    from matplotlib.figure import Figure

    working = _working(looks)
    done = [look.done for look in working]
    figure = Figure(figsize=(9, 5), layout="constrained")
    memory, counts = figure.subplots(2, 1, sharex=True)
    for axes, names in ((memory, MEASURES[:2]), (counts, MEASURES[2:])):
        for name in names:
            values = [getattr(look, name) for look in working]
            axes.plot(done, values, label=name.removesuffix("_mb"))
        axes.set_ylim(0, None)
        axes.legend(loc="center right")
        axes.grid(visible=True, alpha=0.3)
    memory.set(ylabel="resident MB", title=title)
    counts.set(ylabel="number", xlabel="clips stored")
    figure.savefig(path, dpi=150)


def soak(work: Path, clips: int, modalities: str) -> tuple[list[Look], dict[str, object]]:
    """Ingests so many clips into an empty home; gives what was seen, and the report."""
    folder, home = write_clips(work / "clips", clips), work / "home"
    with (work / "said").open("w") as said:
        process = subprocess.Popen(
            command("ingest", str(folder), "-m", modalities, "--json"),
            env=environment(home),
            stdout=subprocess.PIPE,
            stderr=said,
            text=True,
            start_new_session=True,
        )
    looks = []
    try:
        for look in watch(psutil.Process(process.pid), home):
            looks.append(look)
            if len(looks) % 60 == 0:
                print(json.dumps(asdict(look)), flush=True)
    except KeyboardInterrupt:
        process.send_signal(signal.SIGINT)
    told, _ = process.communicate()
    report = json.loads(told) if told else {"notes": [(work / "said").read_text()[-500:]]}
    return looks, report


def main() -> None:
    """Runs `soak` for the command line."""
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument("clips", type=int)
    parser.add_argument("-m", "--modalities", default="color,audio")
    parser.add_argument("--plot", type=Path, metavar="PNG")
    parser.add_argument("--samples", type=Path, metavar="CSV")
    given = parser.parse_args()
    with tempfile.TemporaryDirectory() as folder:
        looks, report = soak(Path(folder), given.clips, given.modalities)
    if given.samples:
        with given.samples.open("w", newline="") as file:
            lines = csv.writer(file)
            lines.writerow(each.name for each in fields(Look))
            lines.writerows(map(astuple, looks))
    seconds = looks[-1].seconds if looks else 0.0
    failed = report.get("failed", [])
    what = f"{given.modalities}: {report.get('videos', 0)} of {given.clips} clips"
    print(f"{what} in {seconds:.0f} s, {len(failed) if isinstance(failed, list) else 0} failed")
    print(report.get("notes"))
    print(table(trends(looks)))
    if given.plot:
        plot(looks, given.plot, what)
    raise SystemExit(report.get("videos") != given.clips)


if __name__ == "__main__":
    main()
