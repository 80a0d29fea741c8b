"""Evaluation from exports alone: protocols, figures, comparisons, and the report files."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import dataclass, replace
from pathlib import Path

import numpy as np

from ...ingest.system.progress import Progress
from ...schemas.backbones import BACKBONES, Backbones
from ...schemas.errors import ModelError
from ...schemas.evaluation import AgainstExport, EvaluationReport, TunedWeights
from ...schemas.modality import Modality
from ..fusion import WEIGHTS
from ..likeness import Yardstick
from ..tuned import write_tuned
from .against import AGAINST, in_common
from .comparisons import FUSED, in_one_only, paired_tests
from .confusions import confusions
from .exported import Exported, ExportedRows, read_exports, yardstick_of
from .figures import figures_of
from .measures import resample
from .protocols import (
    CLEAN,
    LEAKY,
    Protocol,
    ProtocolName,
    group,
    group_codes,
    leave_one_out,
    official,
    split,
)
from .ranking import Classes, Predictions, Single, classes_of, join, rank_all, rank_rows, single
from .tuning import tune

TUNED = "fused tuned"

_NOT_BY_ROW = ("color:mse", "color:ssim")
"""Colour metrics that leaky protocols leave out.

MSE ranks single rows as L2 does, and SSIM is not a distance that can be searched by.
"""

_WORST = 10
"""Confusions listed per configuration."""


@dataclass(frozen=True)
class EvaluateOptions:
    """Evaluation options.

    Attributes:
        protocols: One or more; none for leave-one-out (split where weights are tuned).
        k: Nearest videos that vote.
        overrides: Backbones such as ``frame=resnet50``.
        color: Colour metrics to compare: l2, mse, ssim, labhist.
        compare: Pairs of configurations to test; none for each against fused, or against its
            counterpart in a second export.
        train_list: Training list of the official protocol.
        test_list: Test list of the official protocol.
        allow_missing: Whether to skip videos that the lists name and the export lacks.
        tune_weights: Whether to find fusion weights on the training part.
        against: A second export to measure on the same videos, and to test the first against;
            `overrides` apply to the first alone.
        seed: Seed of splits, resamples and tests.
        resamples: Number of bootstrap resamples.
        known: Backbones that exports may hold, None for vidsim's own; backbones that an export
            describes are added.
    """

    protocols: tuple[ProtocolName, ...] = ()
    k: int = 3
    overrides: tuple[str, ...] = ()
    color: tuple[str, ...] = ()
    compare: tuple[tuple[str, str], ...] = ()
    train_list: Path | None = None
    test_list: Path | None = None
    allow_missing: bool = False
    tune_weights: bool = False
    against: Path | None = None
    seed: int = 0
    resamples: int = 1000
    known: Backbones | None = None


@dataclass(frozen=True)
class Evaluation:
    """A report, and the predictions that it summarises."""

    report: EvaluationReport
    predictions: list[Predictions]
    classes: Classes


def parse_protocols(names: Sequence[str]) -> tuple[ProtocolName, ...]:
    """Check the names of protocols.

    Raises:
        ModelError: A name is not a protocol.
    """
    known = {name: name for name in (*CLEAN, *LEAKY)}
    for name in names:
        if name not in known:
            raise ModelError(f"No protocol is called {name!r}; choose from {', '.join(known)}.")
    return tuple(known[n] for n in known if n in names)


def evaluate(folder: Path, options: EvaluateOptions, progress: Progress) -> Evaluation:
    """Measure how well exported videos find others of their class.

    Args:
        folder: Written by ``vidsim export``.
        options: What to measure.
        progress: Receives the progress of each protocol.

    Raises:
        StoreError: The exports are missing, damaged or of another layout.
        ModelError: A protocol, configuration or backbone does not fit.
        LibraryError: A list of the official protocol does not fit, or the second export shares
            no video with the first or has other classes.
    """
    names = options.protocols or (("split",) if options.tune_weights else ("leave-one-out",))
    if options.tune_weights and len({"split", "official"} & set(names)) != 1:
        raise ModelError(
            "Weights are tuned on one training part; give --protocol split or official, not both."
        )
    if options.tune_weights and options.against:
        raise ModelError("Weights are tuned on one export; leave --against out.")
    exported = read_exports(folder, options.overrides, progress, options.known or BACKBONES)
    sides, against = {"": exported}, None
    if options.against:
        second = read_exports(options.against, (), progress, options.known or BACKBONES)
        ours, theirs = in_common(exported, second, (folder, options.against))
        against = AgainstExport(
            folder=str(options.against),
            libraries=sorted(set(theirs.libraries)),
            backbones=_backbones(theirs),
            videos=len(second.ids),
            first_videos=len(exported.ids),
        )
        exported, sides = ours, {"": ours, AGAINST: theirs}
    classes = classes_of(exported.labels)
    protocols = [_protocol(n, exported, options) for n in names if n in CLEAN]
    leaky = [n for n in names if n in LEAKY]
    notes = [note for protocol in protocols for note in protocol.notes]
    skipped = [f"color:{m}" for m in options.color if f"color:{m}" in _NOT_BY_ROW]
    if skipped:
        notes += [
            f"{name}: {' and '.join(skipped)} not measured; rows are compared by L2 alone."
            for name in leaky
        ]
    predictions: list[Predictions] = []
    tuned = None
    for prefix, side in sides.items():
        found, tuned = _rank_videos(side, classes, protocols, options, progress)
        found += _rank_rows(side, classes, leaky, options, progress)
        predictions += [replace(p, configuration=prefix + p.configuration) for p in found]
    if not predictions:
        raise ModelError(
            "No video has another of its class to find; export videos that lie in one folder "
            "a class."
        )
    drawn = resample(len(exported.ids), options.resamples, options.seed)
    if tuned:
        pair = paired_tests(predictions, classes, drawn, [(TUNED, FUSED)], False, options.seed)
        gain = next((test.mean_average_precision for test in pair), None)
        tuned = tuned.model_copy(update={"gain": gain})
    report = EvaluationReport(
        videos=len(exported.ids),
        libraries=sorted(set(exported.libraries)),
        backbones=_backbones(exported),
        against=against,
        k=options.k,
        seed=options.seed,
        resamples=options.resamples,
        figures=[figures_of(p, classes, drawn) for p in predictions],
        comparisons=paired_tests(
            predictions, classes, drawn, options.compare, against is not None, options.seed
        ),
        confusions=[c for p in predictions for c in confusions(p, classes)[:_WORST]],
        tuned=tuned,
        files=[],
        notes=notes
        + _asking_nothing(exported, protocols, predictions, classes)
        + (in_one_only(predictions) if against else []),
    )
    return Evaluation(report, predictions, classes)


def keep_tuned(home: Path, tuned: TunedWeights | None, apply: bool) -> Path | None:
    """Write tuned weights where queries read them, if they are better beyond doubt.

    Args:
        home: The home of the queries.
        tuned: The weights; None where none were tuned.
        apply: Whether to write them even if they may be no better.

    Returns:
        The file; None if nothing was written.
    """
    if tuned is None or not (apply or (tuned.gain and tuned.gain.low > 0)):
        return None
    return write_tuned(home, tuned)


def _protocol(name: ProtocolName, exported: Exported, options: EvaluateOptions) -> Protocol:
    if name == "split":
        return split(exported.labels, options.seed)
    if name == "group":
        return group(exported.ids)
    if name == "official":
        if options.train_list is None or options.test_list is None:
            raise ModelError("The official protocol needs --train-list FILE and --test-list FILE.")
        return official(exported.ids, options.train_list, options.test_list, options.allow_missing)
    return leave_one_out(exported.ids)


def _backbones(exported: Exported) -> dict[str, str]:
    return {m.value: rows.backbone.name for m, rows in exported.modalities.items()}


def _rank_videos(
    exported: Exported,
    classes: Classes,
    protocols: Sequence[Protocol],
    options: EvaluateOptions,
    progress: Progress,
) -> tuple[list[Predictions], TunedWeights | None]:
    """Predict with every configuration under clean protocols, and tune weights if requested."""
    modalities = [single(m.value, r, exported.ids) for m, r in exported.modalities.items()]
    singles = modalities + [
        single(
            f"color:{metric}",
            _color_rows(exported, metric),
            exported.ids,
            metric if metric != "labhist" else None,
        )
        for metric in options.color
    ]
    predictions: list[Predictions] = []
    tuned = None
    for protocol in protocols:
        progress.start(protocol.name, int(protocol.queries.sum()), "queries")
        yardsticks = _yardsticks(exported, protocol)
        fusions: dict[str, Mapping[Modality, float]] = {}
        if len(modalities) > 1:
            fusions[FUSED] = WEIGHTS["calibrated"]
        if options.tune_weights and protocol.name in ("split", "official"):
            tuned = _tune(modalities, yardsticks, protocol, classes, exported, options.seed)
            fusions[TUNED] = {Modality(m): w for m, w in tuned.weights.items()}
        found: dict[str, list[Predictions]] = {}
        for name, queries, part in rank_all(
            exported, classes, protocol, singles, fusions, yardsticks, options.k
        ):
            found.setdefault(name, []).append(part)
            if name == modalities[0].name:
                progress.advance(protocol.name, len(queries))
        predictions += [j for parts in found.values() if len((j := join(parts)).videos)]
        progress.finish(protocol.name)
    return predictions, tuned


def _rank_rows(
    exported: Exported,
    classes: Classes,
    protocols: Sequence[ProtocolName],
    options: EvaluateOptions,
    progress: Progress,
) -> list[Predictions]:
    """Predict with every modality and colour metric under leaky protocols."""
    by_rows = {m.value: rows for m, rows in exported.modalities.items()}
    by_rows |= {f"color:{metric}": _color_rows(exported, metric) for metric in options.color}
    predictions: list[Predictions] = []
    for protocol in protocols:
        for name, rows in by_rows.items():
            if name not in _NOT_BY_ROW:
                said = rank_rows(
                    name, rows, exported, classes, protocol, options.k, options.seed, progress
                )
                predictions += [said] if said else []
    return predictions


def _color_rows(exported: Exported, metric: str) -> ExportedRows:
    backbone = "labhist" if metric == "labhist" else "vid2img"
    if backbone not in exported.colors:
        raise ModelError(
            f"No vectors of {backbone} are exported to compare colour by; ingest with "
            "-m color and export again."
        )
    return exported.colors[backbone]


def _yardsticks(exported: Exported, protocol: Protocol) -> dict[Modality, Yardstick]:
    """Measure the background of the videos in a protocol's gallery."""
    libraries: dict[str, list[str]] = {}
    for i in np.flatnonzero(protocol.gallery):
        libraries.setdefault(exported.libraries[i], []).append(exported.ids[i])
    ordered = dict(sorted(libraries.items()))
    return {m: yardstick_of(rows, ordered) for m, rows in exported.modalities.items()}


def _tune(
    modalities: Sequence[Single],
    yardsticks: Mapping[Modality, Yardstick],
    protocol: Protocol,
    classes: Classes,
    exported: Exported,
    seed: int,
) -> TunedWeights:
    if len(modalities) < 2:
        raise ModelError("Only one modality is exported; there is nothing to weigh.")
    # Clips of one group find each other under any weights.
    training = replace(protocol, groups=group_codes(exported.ids))
    weights = tune(modalities, yardsticks, training, classes, seed)
    return TunedWeights(
        weights={m.value: w for m, w in weights.items()},
        backbones=_backbones(exported),
        protocol=protocol.name,
        training_videos=int(protocol.gallery.sum()),
    )


def _asking_nothing(
    exported: Exported,
    protocols: Sequence[Protocol],
    predictions: Sequence[Predictions],
    classes: Classes,
) -> list[str]:
    notes = []
    unnamed = sum(label == "" for label in exported.labels)
    if unnamed:
        notes.append(
            "Videos at the top of their library are unlabelled and not used as queries "
            f"({unnamed})."
        )
    for protocol in protocols:
        alone = protocol.queries & (classes.numbers >= 0)
        for said in predictions:
            if said.protocol == protocol.name:
                alone[said.videos] = False
        if alone.any():
            notes.append(
                f"{protocol.name}: videos without another of their class are not queries "
                f"({alone.sum()})."
            )
    return notes
