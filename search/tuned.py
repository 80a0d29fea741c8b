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


def read_tuned(home: Path, backbones: Mapping[Modality, Backbone]) -> dict[Modality, float] | None:
    """Read the tuned weights, if they were tuned for the compared backbones.

    Raises:
        StoreError: The file cannot be read, or is damaged.
    """
    path = tuned_path(home)
    try:
        found = read_checked(path)
        if found is None:
            return None
        tuned = TunedWeights.model_validate(found)
        weights = {Modality(m): w for m, w in tuned.weights.items()}
    except (ChangedError, ValidationError, ValueError) as error:
        raise StoreError(
            f"{path} is damaged; delete it, or write it anew with 'vidsim evaluate --tune-weights'."
        ) from error
    fits = all(tuned.backbones.get(m.value) == b.name for m, b in backbones.items())
    return weights if fits and all(m in weights for m in backbones) else None
