"""Evaluation from exports alone: protocols, figures, comparisons, and the files that show them."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import dataclass, replace
from pathlib import Path

import numpy as np
import numpy.typing as npt

from ..ingest.progress import Progress
from ..schemas.errors import ModelError
from ..schemas.modality import Modality
from ..schemas.results import (
    Confusion,
    Estimate,
    EvaluationReport,
    Figures,
    PairedTest,
    TunedWeights,
)
from .exported import Exported, ExportedRows, background_of, read_exports
from .fusion import WEIGHTS, Background
from .measures import (
    RECALL_AT,
    FloatVector,
    Outcomes,
    class_mean,
    interval,
    mean,
    resample,
    sign_flip_p,
)
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
from .tuning import tune, write_tuned

FUSED = "fused"
TUNED = "fused tuned"

_NOT_BY_ROW = ("color:mse", "color:ssim")
"""Not measured under leaky protocols.

MSE ranks single rows as L2 does, and SSIM is no distance to search by.
"""

_FLIPS = 10_000
_WORST = 10
"""Confusions listed of a configuration."""


@dataclass(frozen=True)
class EvaluateOptions:
    """What to measure.

    Attributes:
        protocols: One or more; none for leave-one-out (split where weights are tuned).
        k: How many nearest videos vote.
        overrides: Backbones such as ``frame=resnet50``.
        color: Colour metrics to compare: l2, mse, ssim, labhist.
        compare: Pairs of configurations to test; none for each against fused.
        train_list: Of the official protocol.
        test_list: Of the official protocol.
        tune_weights: Whether to find fusion weights on the training part.
        seed: Of splits, resamples and tests.
        resamples: Of the bootstrap.
    """

    protocols: tuple[ProtocolName, ...] = ()
    k: int = 3
    overrides: tuple[str, ...] = ()
    color: tuple[str, ...] = ()
    compare: tuple[tuple[str, str], ...] = ()
    train_list: Path | None = None
    test_list: Path | None = None
    tune_weights: bool = False
    seed: int = 0
    resamples: int = 1000


@dataclass(frozen=True)
class Evaluation:
    """The report, and the predictions it sums up."""

    report: EvaluationReport
    predictions: list[Predictions]
    classes: Classes


def parse_protocols(names: Sequence[str]) -> tuple[ProtocolName, ...]:
    """The protocols named.

    Raises:
        ModelError: A name that is no protocol.
    """
    known = {name: name for name in (*CLEAN, *LEAKY)}
    for name in names:
        if name not in known:
            raise ModelError(f"No protocol is called {name!r}; choose from {', '.join(known)}.")
    return tuple(known[n] for n in known if n in names)


def parse_comparison(text: str) -> tuple[str, str]:
    """Reads ``frame,fused``.

    Raises:
        ModelError: Not two names.
    """
    names = [name.strip() for name in text.split(",")]
    if len(names) != 2 or not all(names):
        raise ModelError(
            f"{text!r} is no pair of configurations; write for example --compare frame,fused."
        )
    return names[0], names[1]


def evaluate(folder: Path, options: EvaluateOptions, progress: Progress) -> Evaluation:
    """Measures how well exported videos find others of their class.

    Args:
        folder: What ``vidsim export`` wrote.
        options: What to measure.
        progress: Told about each protocol.

    Raises:
        StoreError: The exports are missing, damaged or of another layout.
        ModelError: A protocol, configuration or backbone that does not fit.
        LibraryError: A list of the official protocol that does not fit.
    """
    names = options.protocols or (("split",) if options.tune_weights else ("leave-one-out",))
    if options.tune_weights and len({"split", "official"} & set(names)) != 1:
        raise ModelError(
            "Weights are tuned on one training part; give --protocol split or official, not both."
        )
    exported = read_exports(folder, options.overrides, progress)
    classes = classes_of(exported.labels)
    protocols = [_protocol(n, exported, options) for n in names if n in CLEAN]
    modalities = [single(m.value, r, exported.ids) for m, r in exported.modalities.items()]
    colors = {f"color:{metric}": _color_rows(exported, metric) for metric in options.color}
    singles = modalities + [
        single(name, rows, exported.ids, metric if metric != "labhist" else None)
        for (name, rows), metric in zip(colors.items(), options.color, strict=True)
    ]
    predictions: list[Predictions] = []
    notes = [note for protocol in protocols for note in protocol.notes]
    tuned = None
    for protocol in protocols:
        progress.start(protocol.name, int(protocol.queries.sum()), "queries")
        background = _background(exported, protocol)
        fusions: dict[str, Mapping[Modality, float]] = {}
        if len(modalities) > 1:
            fusions[FUSED] = WEIGHTS["calibrated"]
        if options.tune_weights and protocol.name in ("split", "official"):
            tuned = _tune(modalities, background, protocol, classes, exported, options.seed)
            fusions[TUNED] = {Modality(m): w for m, w in tuned.weights.items()}
        found: dict[str, list[Predictions]] = {}
        for name, queries, part in rank_all(
            exported, classes, protocol, singles, fusions, background, options.k
        ):
            found.setdefault(name, []).append(part)
            if name == modalities[0].name:
                progress.advance(protocol.name, len(queries))
        predictions += [j for parts in found.values() if len((j := join(parts)).videos)]
        progress.finish(protocol.name)
    by_rows = {m.value: rows for m, rows in exported.modalities.items()} | colors
    skipped = " and ".join(name for name in _NOT_BY_ROW if name in colors)
    for leaky in (n for n in names if n in LEAKY):
        if skipped:
            notes.append(f"{leaky}: {skipped} not measured; rows are compared by L2 alone.")
        for name, rows in by_rows.items():
            if name not in _NOT_BY_ROW:
                said = rank_rows(
                    name, rows, exported, classes, leaky, options.k, options.seed, progress
                )
                predictions += [said] if said else []
    if not predictions:
        raise ModelError(
            "No video has another of its class to find; export videos that lie in one folder "
            "a class."
        )
    drawn = resample(len(exported.ids), options.resamples, options.seed)
    report = EvaluationReport(
        videos=len(exported.ids),
        libraries=sorted(set(exported.libraries)),
        backbones={m.value: r.backbone.name for m, r in exported.modalities.items()},
        k=options.k,
        seed=options.seed,
        resamples=options.resamples,
        figures=[_figures(p, classes, drawn) for p in predictions],
        comparisons=_comparisons(predictions, classes, drawn, options),
        confusions=[c for p in predictions for c in confusions(p, classes)[:_WORST]],
        tuned=tuned,
        files=[],
        notes=notes + _asking_nothing(exported, protocols, predictions, classes),
    )
    return Evaluation(report, predictions, classes)


def keep_tuned(home: Path, report: EvaluationReport) -> Path | None:
    """Writes tuned weights where query reads them; None where none were tuned."""
    return write_tuned(home, report.tuned) if report.tuned else None


def confusions(predictions: Predictions, classes: Classes) -> list[Confusion]:
    """Every pair of classes confused, worst share of its class first."""
    matrix = confusion_matrix(predictions, classes)
    shares = confusion_shares(predictions, classes)
    wrong = np.where(np.eye(len(matrix), dtype=bool), 0, matrix)
    pairs = [(int(i), int(j)) for i, j in np.argwhere(wrong)]
    pairs.sort(key=lambda p: (-shares[p], -matrix[p], p))
    return [
        Confusion(
            protocol=predictions.protocol,
            configuration=predictions.configuration,
            label=classes.names[i],
            predicted=classes.names[j],
            queries=int(matrix[i, j]),
            share=float(shares[i, j]),
        )
        for i, j in pairs
    ]


def confusion_matrix(predictions: Predictions, classes: Classes) -> npt.NDArray[np.int64]:
    """(classes, classes) queries by their class and the predicted one."""
    from sklearn.metrics import confusion_matrix as count

    own = classes.numbers[predictions.videos]
    named = predictions.predicted >= 0  # a vote of videos without a class names none
    labels = range(len(classes.names))
    if not named.any():
        return np.zeros((len(labels), len(labels)), np.int64)
    return np.asarray(count(own[named], predictions.predicted[named], labels=list(labels)))


def confusion_shares(predictions: Predictions, classes: Classes) -> npt.NDArray[np.float64]:
    """(classes, classes) `confusion_matrix` over all queries of the class, voted on or not."""
    own = classes.numbers[predictions.videos]
    queries = np.bincount(own, minlength=len(classes.names))
    return np.asarray(confusion_matrix(predictions, classes) / np.maximum(queries, 1)[:, None])


def _protocol(name: ProtocolName, exported: Exported, options: EvaluateOptions) -> Protocol:
    if name == "split":
        return split(exported.labels, options.seed)
    if name == "group":
        return group(exported.ids)
    if name == "official":
        if options.train_list is None or options.test_list is None:
            raise ModelError("The official protocol needs --train-list FILE and --test-list FILE.")
        return official(exported.ids, options.train_list, options.test_list)
    return leave_one_out(exported.ids)


def _color_rows(exported: Exported, metric: str) -> ExportedRows:
    backbone = "labhist" if metric == "labhist" else "vid2img"
    if backbone not in exported.colors:
        raise ModelError(
            f"No vectors of {backbone} are exported to compare colour by; ingest with "
            "-m color and export again."
        )
    return exported.colors[backbone]


def _background(exported: Exported, protocol: Protocol) -> dict[Modality, Background]:
    """Of the videos that may be neighbours."""
    libraries: dict[str, list[str]] = {}
    for i in np.flatnonzero(protocol.gallery):
        libraries.setdefault(exported.libraries[i], []).append(exported.ids[i])
    ordered = dict(sorted(libraries.items()))
    return {m: background_of(rows, ordered) for m, rows in exported.modalities.items()}


def _tune(
    modalities: Sequence[Single],
    background: Mapping[Modality, Background],
    protocol: Protocol,
    classes: Classes,
    exported: Exported,
    seed: int,
) -> TunedWeights:
    if len(modalities) < 2:
        raise ModelError("Only one modality is exported; there is nothing to weigh.")
    # Clips of one group would find each other whatever the weights.
    training = replace(protocol, groups=group_codes(exported.ids))
    weights = tune(modalities, background, training, classes, seed)
    return TunedWeights(
        weights={m.value: w for m, w in weights.items()},
        backbones={m.value: r.backbone.name for m, r in exported.modalities.items()},
        protocol=protocol.name,
        training_videos=int(protocol.gallery.sum()),
    )


def _outcomes(predictions: Predictions, classes: Classes, values: FloatVector) -> Outcomes:
    """Sums a video: a video asks once, or with each of its rows."""
    videos, owner = np.unique(predictions.videos, return_inverse=True)
    return Outcomes(
        videos=videos,
        sums=np.bincount(owner, values).astype(float),
        counts=np.bincount(owner).astype(float),
        classes=classes.numbers[videos],
    )


def _right(predictions: Predictions, classes: Classes) -> FloatVector:
    return np.equal(predictions.predicted, classes.numbers[predictions.videos]).astype(float)


def _figures(predictions: Predictions, classes: Classes, drawn: npt.NDArray[np.float32]) -> Figures:
    def average(values: FloatVector) -> Estimate:
        return _estimate(*mean(_outcomes(predictions, classes, values), drawn))

    right = _outcomes(predictions, classes, _right(predictions, classes))
    hits = predictions.first_hit
    return Figures(
        protocol=predictions.protocol,
        leaky=predictions.protocol in LEAKY,
        configuration=predictions.configuration,
        queries=len(predictions.videos),
        classes=len(set(right.classes.tolist())),
        accuracy=_estimate(*class_mean(right, drawn)),
        recall={}
        if hits is None
        else {n: average(((hits > 0) & (hits <= n)).astype(float)) for n in RECALL_AT},
        mean_average_precision=None
        if predictions.precision is None
        else average(predictions.precision),
    )


def _estimate(value: float, resampled: FloatVector) -> Estimate:
    found = interval(value, resampled)
    return Estimate(value=found.value, low=found.low, high=found.high)


def _comparisons(
    predictions: Sequence[Predictions],
    classes: Classes,
    drawn: npt.NDArray[np.float32],
    options: EvaluateOptions,
) -> list[PairedTest]:
    known = {(p.protocol, p.configuration): p for p in predictions if p.precision is not None}
    names = list(dict.fromkeys(configuration for _, configuration in known))
    if options.compare and not names:
        raise ModelError(
            "Configurations are not tested under leaky protocols; add --protocol leave-one-out."
        )
    for name in [name for pair in options.compare for name in pair]:
        if name not in names:
            raise ModelError(f"There is no configuration {name!r}; choose from {', '.join(names)}.")
    pairs = options.compare or [(name, FUSED) for name in names if name != FUSED]
    return [
        tested
        for protocol in dict.fromkeys(protocol for protocol, _ in known)
        for a, b in pairs
        if (protocol, a) in known and (protocol, b) in known
        if (tested := _test(known[protocol, a], known[protocol, b], classes, drawn, options.seed))
    ]


def _test(
    a: Predictions, b: Predictions, classes: Classes, drawn: npt.NDArray[np.float32], seed: int
) -> PairedTest | None:
    """Tests two configurations on the queries that both have; None where there are none."""
    videos, in_a, in_b = np.intersect1d(a.videos, b.videos, return_indices=True)
    if not len(videos) or a.precision is None or b.precision is None:
        return None
    own = classes.numbers[videos]
    right = _right(a, classes)[in_a] - _right(b, classes)[in_b]
    precision = a.precision[in_a] - b.precision[in_b]
    ones = np.ones(len(videos))
    _, codes, sizes = np.unique(own, return_inverse=True, return_counts=True)
    return PairedTest(
        protocol=a.protocol,
        first=a.configuration,
        second=b.configuration,
        queries=len(videos),
        accuracy=_estimate(*class_mean(Outcomes(videos, right, ones, own), drawn)),
        accuracy_p=sign_flip_p(right / (sizes[codes] * len(sizes)), _FLIPS, seed),
        mean_average_precision=_estimate(*mean(Outcomes(videos, precision, ones, own), drawn)),
        mean_average_precision_p=sign_flip_p(precision / len(videos), _FLIPS, seed),
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
            f"Videos at the top of their library have no class and ask nothing ({unnamed})."
        )
    for protocol in protocols:
        alone = protocol.queries & (classes.numbers >= 0)
        for said in predictions:
            if said.protocol == protocol.name:
                alone[said.videos] = False
        if alone.any():
            notes.append(
                f"{protocol.name}: videos with none of their class to find ask nothing "
                f"({alone.sum()})."
            )
    return notes
