"""Paired tests of configurations, within one export or across two of the same videos."""

from __future__ import annotations

from collections.abc import Sequence

import numpy as np
import numpy.typing as npt

from ...schemas.errors import ModelError
from ...schemas.evaluation import PairedTest
from .against import AGAINST
from .figures import estimate, right_votes
from .measures import Outcomes, class_mean, mean, sign_flip_p
from .ranking import Classes, Predictions

FUSED = "fused"

_FLIPS = 10_000


def parse_comparison(text: str) -> tuple[str, str]:
    """Read ``frame,fused``.

    Raises:
        ModelError: `text` is not two names.
    """
    names = [name.strip() for name in text.split(",")]
    if len(names) != 2 or not all(names):
        raise ModelError(
            f"{text!r} is no pair of configurations; write for example --compare frame,fused."
        )
    return names[0], names[1]


def paired_tests(
    predictions: Sequence[Predictions],
    classes: Classes,
    drawn: npt.NDArray[np.float32],
    asked: Sequence[tuple[str, str]],
    against: bool,
    seed: int,
) -> list[PairedTest]:
    """Test pairs of configurations under every clean protocol.

    Args:
        predictions: Predictions of all configurations.
        classes: Of all videos.
        drawn: (times, videos) from `resample`.
        asked: Pairs of names to test; none for each against fused, or against its counterpart in
            the second export.
        against: Whether there is a second export.
        seed: Seed of the random sign flips.

    Raises:
        ModelError: A configuration is unknown, or nothing can be tested.
    """
    known = {(p.protocol, p.configuration): p for p in predictions if p.precision is not None}
    names = list(dict.fromkeys(configuration for _, configuration in known))
    if (asked or against) and not names:
        raise ModelError(
            "Configurations are not tested under leaky protocols; add --protocol leave-one-out."
        )
    for name in [name for pair in asked for name in pair]:
        if name not in names:
            raise ModelError(f"There is no configuration {name!r}; choose from {', '.join(names)}.")
    pairs = asked or _pairs(names, against)
    return [
        tested
        for protocol in dict.fromkeys(protocol for protocol, _ in known)
        for a, b in pairs
        if (protocol, a) in known and (protocol, b) in known
        if (tested := _paired_test(known[protocol, a], known[protocol, b], classes, drawn, seed))
    ]


def in_one_only(predictions: Sequence[Predictions]) -> list[str]:
    """Note the configurations that only one of two exports has."""
    names = dict.fromkeys(p.configuration for p in predictions)
    first = [n for n in names if not n.startswith(AGAINST) and AGAINST + n not in names]
    second = [n for n in names if n.startswith(AGAINST) and n.removeprefix(AGAINST) not in names]
    return [f"{name}: the other export lacks it." for name in first + second]


def _pairs(names: Sequence[str], against: bool) -> list[tuple[str, str]]:
    """Return the default pairs: each against fused, or its counterpart in the other export."""
    if not against:
        return [(name, FUSED) for name in names if name != FUSED]
    pairs = [(name, AGAINST + name) for name in names if AGAINST + name in names]
    if not pairs:
        raise ModelError(
            "The two exports have no modality in common; name two configurations with "
            f"--compare {names[0]},{names[-1]}."
        )
    return pairs


def _paired_test(
    a: Predictions, b: Predictions, classes: Classes, drawn: npt.NDArray[np.float32], seed: int
) -> PairedTest | None:
    """Test two configurations on the queries that both have; None where there are none.

    Args:
        a: Predictions under a clean protocol.
        b: Predictions under the same protocol, over the same videos.
        classes: Of all videos.
        drawn: (times, videos) from `resample`.
        seed: Of the random sign flips.
    """
    videos, in_a, in_b = np.intersect1d(a.videos, b.videos, return_indices=True)
    if not len(videos) or a.precision is None or b.precision is None:
        return None
    own = classes.numbers[videos]
    right = right_votes(a, classes)[in_a] - right_votes(b, classes)[in_b]
    precision = a.precision[in_a] - b.precision[in_b]
    ones = np.ones(len(videos))
    _, codes, sizes = np.unique(own, return_inverse=True, return_counts=True)
    return PairedTest(
        protocol=a.protocol,
        first=a.configuration,
        second=b.configuration,
        queries=len(videos),
        accuracy=estimate(*class_mean(Outcomes(videos, right, ones, own), drawn)),
        accuracy_p=sign_flip_p(right / (sizes[codes] * len(sizes)), _FLIPS, seed),
        mean_average_precision=estimate(*mean(Outcomes(videos, precision, ones, own), drawn)),
        mean_average_precision_p=sign_flip_p(precision / len(videos), _FLIPS, seed),
    )
