"""An evaluation as text: tables for a terminal, a Markdown report, and a CSV of predictions."""

from __future__ import annotations

import csv
import io
import time
from collections.abc import Callable, Iterable, Sequence
from functools import partial
from itertools import chain, count
from pathlib import Path

from ...ingest.system.atomic_file import whole_file
from ...ingest.system.progress import Progress
from ...schemas.answer import Line, Table
from ...schemas.errors import StoreError
from ...schemas.evaluation import (
    AgainstExport,
    Confusion,
    Estimate,
    EvaluationReport,
    Figures,
    PairedTest,
    TunedWeights,
)
from ...schemas.modality import Modality
from .confusions import confusion_shares, queries_of
from .evaluate import Evaluation
from .measures import RECALL_AT
from .plots import plot_confusions

LEAKY_NOTE = "LEAKY: a query's own video is among its neighbours"

_COLUMNS = (
    "protocol", "configuration", "query", "label", "predicted", "correct", "nearest",
    "first_hit", "average_precision",
)  # fmt: skip

_IN_FILE_NAMES = str.maketrans(" :", "__")


def text_lines(report: EvaluationReport) -> list[Line]:
    """Format the figures as tables for a terminal, one per protocol."""
    lines: list[Line] = []
    if report.against:
        lines += [_in_common(report, report.against)]
        lines += [_aligned(_BACKBONES_HEADER, _backbone_cells(report, report.against))]
    for protocol in dict.fromkeys(f.protocol for f in report.figures):
        figures = [f for f in report.figures if f.protocol == protocol]
        lines.append(protocol + (f" ({LEAKY_NOTE})" if figures[0].leaky else ""))
        lines += [_aligned(_header(report.k), map(_short_cells, figures))]
        tests = [t for t in report.comparisons if t.protocol == protocol]
        if tests:
            lines.append(f"{protocol}: first minus second, p by random sign flips")
            lines += [_aligned(_TEST_HEADER[1:], (_test_cells(test)[1:] for test in tests))]
    return lines


def weights_left(tuned: TunedWeights) -> str:
    """Say that queries keep the measured weights, and why."""
    gained = f" (mAP {_estimate(tuned.gain)})" if tuned.gain else ""
    return (
        f"The tuned weights may be no better{gained}, so query keeps the measured ones; "
        "--apply takes them all the same."
    )


def new_folder(parent: Path) -> Path:
    """Return a path in `parent` that does not exist, named by the time (UTC)."""
    name = time.strftime("%Y-%m-%dT%H-%M-%SZ", time.gmtime())
    names = chain([name], (f"{name}-{n}" for n in count(2)))
    return next(parent / each for each in names if not (parent / each).exists())


def write_files(evaluation: Evaluation, folder: Path, progress: Progress) -> list[Path]:
    """Write report.md, figures.csv, predictions.csv and a confusion matrix per configuration.

    Each file is written atomically; the report comes first, so that the figures survive a plot
    that fails. `progress` counts the files: a matrix of 101 classes takes seconds.

    Raises:
        StoreError: The folder cannot be written.
    """
    files: list[Path] = []
    stage = "writing the report"

    def write(name: str, make: Callable[[Path], object]) -> None:
        with whole_file(folder / name) as beside:
            make(beside)
        files.append(folder / name)
        progress.advance(stage, 1)

    pictures = [_picture(figures) for figures in evaluation.report.figures]
    page = markdown(evaluation.report, pictures)
    tables = {
        "figures.csv": "".join(figure_lines(evaluation.report)),
        "predictions.csv": "".join(csv_lines(evaluation)),
    }
    progress.start(stage, len(pictures) + 1 + len(tables), "files")
    try:
        folder.mkdir(parents=True, exist_ok=True)
        write("report.md", lambda path: path.write_text(page, encoding="utf-8"))
        for name, table in tables.items():
            write(name, partial(Path.write_text, data=table, encoding="utf-8"))
        for (title, name), said in zip(pictures, evaluation.predictions, strict=True):
            shares = confusion_shares(said, evaluation.classes)
            asked = queries_of(said, evaluation.classes)
            write(name, partial(plot_confusions, shares, asked, evaluation.classes.names, title))
    except OSError as error:
        raise StoreError(
            f"{folder} cannot be written ({error.strerror}); choose another folder with --out."
        ) from error
    progress.finish(stage)
    return files


def _picture(figures: Figures) -> tuple[str, str]:
    """Return the title and the file name of a configuration's confusion matrix."""
    name = f"confusions_{figures.protocol}_{figures.configuration}".translate(_IN_FILE_NAMES)
    leaky = " (leaky)" if figures.leaky else ""
    return f"{figures.protocol}, {figures.configuration}{leaky}", f"{name}.png"


def figure_lines(report: EvaluationReport) -> Iterable[str]:
    """Yield a line of column names, then a line per figure with its interval."""
    yield _csv(("protocol", "leaky", "configuration", "queries", "figure", "value", "low", "high"))
    for found in report.figures:
        values = {"accuracy": found.accuracy}
        values |= {f"recall@{n}": value for n, value in found.recall.items()}
        if found.mean_average_precision:
            values["mAP"] = found.mean_average_precision
        for name, value in values.items():
            numbers = (f"{n:.6f}" for n in (value.value, value.low, value.high))
            start = (found.protocol, int(found.leaky), found.configuration, found.queries)
            yield _csv((*start, name, *numbers))


def csv_lines(evaluation: Evaluation) -> Iterable[str]:
    """Yield a line of column names, then one line per prediction."""
    names, numbers = evaluation.classes.names, evaluation.classes.numbers
    yield _csv(_COLUMNS)
    for said in evaluation.predictions:
        for i, query in enumerate(said.queries):
            label, predicted = numbers[said.videos[i]], said.predicted[i]
            yield _csv(
                (
                    said.protocol,
                    said.configuration,
                    query,
                    names[label],
                    names[predicted] if predicted >= 0 else "",
                    int(label == predicted),
                    said.nearest[i],
                    "" if said.first_hit is None else said.first_hit[i],
                    "" if said.precision is None else f"{said.precision[i]:.6f}",
                )
            )


def markdown(report: EvaluationReport, pictures: Sequence[tuple[str, str]]) -> str:
    """Format the whole report as a page; `pictures` are (title, file name) beside it."""
    backbones = ", ".join(f"{m} {b}" for m, b in report.backbones.items())
    parts = [
        f"# Evaluation of {', '.join(report.libraries)}",
        f"{report.videos:,} videos; {backbones}; k = {report.k}; seed {report.seed}. "
        f"In brackets: 95 % intervals of {report.resamples:,} bootstrap samples of the videos.",
    ]
    if report.against:
        parts.append(f"{_in_common(report, report.against)}.")
        parts.append(_table(_BACKBONES_HEADER, _backbone_cells(report, report.against)))
    parts += [f"- {note}" for note in report.notes]
    if report.tuned:
        weights = ", ".join(f"{m} {w:g}" for m, w in report.tuned.weights.items())
        parts.append(
            f"Weights tuned on the {report.tuned.training_videos:,} training videos of "
            f"{report.tuned.protocol}: {weights}."
        )
    for protocol in dict.fromkeys(f.protocol for f in report.figures):
        figures = [f for f in report.figures if f.protocol == protocol]
        parts.append(f"## {protocol}" + (" (leaky)" if figures[0].leaky else ""))
        parts += [f"**{LEAKY_NOTE}.**"] if figures[0].leaky else []
        parts.append(_table(_header(report.k), map(_cells, figures)))
    if report.comparisons:
        parts.append("## Paired differences")
        parts.append("First minus second, on the queries both have; p by random sign flips.")
        parts.append(_table(_TEST_HEADER, map(_test_cells, report.comparisons)))
    parts.append("## Worst confusions")
    header = ["protocol", "configuration", "confusion", "queries"]
    parts.append(_table(header, map(_confusion_cells, report.confusions)))
    parts.append("## Confusion matrices")
    parts += [f"![{title}]({name})" for title, name in pictures]
    return "\n\n".join(parts) + "\n"


def confusion_text(confusion: Confusion) -> str:
    """Format a confusion: ``Kayaking -> Rafting 22.9 %``."""
    return f"{confusion.label} -> {confusion.predicted} {100 * confusion.share:.1f} %"


_BACKBONES_HEADER = ["", "first", "against"]

_TEST_HEADER = ["protocol", "first", "second", "queries", "k-NN", "p", "mAP", "p"]


def _in_common(report: EvaluationReport, against: AgainstExport) -> str:
    return (
        f"{report.videos:,} videos in common, of {against.first_videos:,} in the first export and "
        f"{against.videos:,} in {against.folder} (against)"
    )


def _backbone_cells(report: EvaluationReport, against: AgainstExport) -> list[list[str]]:
    return [
        [m, report.backbones.get(m, "-"), against.backbones.get(m, "-")]
        for m in Modality
        if m in report.backbones or m in against.backbones
    ]


def _header(k: int) -> list[str]:
    return ["", "queries", f"{k}-NN by class", *(f"R@{n}" for n in RECALL_AT), "mAP"]


def _cells(figures: Figures) -> list[str]:
    return [
        figures.configuration,
        f"{figures.queries:,}",
        _estimate(figures.accuracy),
        *(_estimate(figures.recall.get(n)) for n in RECALL_AT),
        _estimate(figures.mean_average_precision),
    ]


def _short_cells(figures: Figures) -> list[str]:
    """Return `_cells` for a terminal, with recall without its intervals."""
    cells = _cells(figures)
    return [*cells[:3], *(cell.split(" ")[0] for cell in cells[3:-1]), cells[-1]]


def _test_cells(test: PairedTest) -> list[str]:
    return [
        test.protocol,
        test.first,
        test.second,
        f"{test.queries:,}",
        _estimate(test.accuracy, "+"),
        f"{test.accuracy_p:.4f}",
        _estimate(test.mean_average_precision, "+"),
        f"{test.mean_average_precision_p:.4f}",
    ]


def _confusion_cells(confusion: Confusion) -> list[str]:
    return [
        confusion.protocol,
        confusion.configuration,
        confusion_text(confusion),
        str(confusion.queries),
    ]


def _estimate(found: Estimate | None, sign: str = "") -> str:
    if found is None:
        return "-"
    return f"{found.value:{sign}.3f} [{found.low:{sign}.3f}, {found.high:{sign}.3f}]"


def _aligned(header: Sequence[str], rows: Iterable[Sequence[str]]) -> Table:
    return Table(header, [*rows], indent=2)


def _table(header: Sequence[str], rows: Iterable[Sequence[str]]) -> str:
    lines = [header, ["---"] * len(header), *rows]
    return "\n".join("| " + " | ".join(c.replace("|", r"\|") for c in row) + " |" for row in lines)


def _csv(values: Iterable[object]) -> str:
    line = io.StringIO()
    csv.writer(line, lineterminator="\n").writerow(list(values))
    return line.getvalue()
