"""The file of tuned fusion weights: evaluation writes it, queries read it."""

from __future__ import annotations

from collections.abc import Mapping
from pathlib import Path

from pydantic import ValidationError

from ..ingest.system.checked_json import ChangedError, read_checked, write_checked
from ..ingest.system.unreadable import unwritten
from ..schemas.backbones import Backbone
from ..schemas.errors import StoreError
from ..schemas.evaluation import TunedWeights
from ..schemas.modality import Modality


def tuned_path(home: Path) -> Path:
    """Return the path of the tuned weights; without this file the measured ones apply."""
    return home / "fusion-weights.json"


def write_tuned(home: Path, tuned: TunedWeights) -> Path:
    """Store weights for later queries, replacing any earlier ones.

    Raises:
        StoreError: The file cannot be written.
    """
    path = tuned_path(home)
    try:
        write_checked(path, tuned.model_dump(mode="json"))
    except OSError as error:
        raise StoreError(unwritten(str(path), error)) from error
    return path


def read_tuned(
    home: Path, backbones: Mapping[Modality, Backbone]
) -> tuple[dict[Modality, float], list[str]]:
    """Read the tuned weights, if they were tuned for the compared backbones.

    Returns:
        The weights, none where there are none that fit; and notes for a person.

    Raises:
        StoreError: The file cannot be read, or is damaged.
    """
    path = tuned_path(home)
    try:
        found = read_checked(path)
        if found is None:
            return {}, []
        tuned = TunedWeights.model_validate(found)
        weights = {Modality(m): w for m, w in tuned.weights.items()}
    except (ChangedError, ValidationError, ValueError) as error:
        raise StoreError(
            f"{path} is damaged; delete it, or write it anew with 'vidsim evaluate --tune-weights'."
        ) from error
    if not all(tuned.backbones.get(m.value) == b.name for m, b in backbones.items()):
        return {}, []
    if "gain" not in found:
        return {}, [
            f"The weights in {path} were tuned by vidsim 0.2, whose scores were others, and are "
            "not used; tune them again, or delete it."
        ]
    used = {m: weights[m] for m in backbones if m in weights}
    if len(used) < len(backbones):
        return {}, []
    named = ", ".join(f"{m} {weight:g}" for m, weight in used.items())
    return used, [
        f"Tuned weights are used ({named}); --weights default takes the measured ones, "
        f"deleting {path} goes back for good."
    ]
