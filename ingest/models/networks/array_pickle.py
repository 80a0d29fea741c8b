"""Unpickle numpy arrays without running any other code that a pickle may name."""

from __future__ import annotations

import pickle
from typing import Any

import numpy as np


class ArrayUnpickler(pickle.Unpickler):
    """Builds dictionaries, strings, numbers and numpy arrays, and calls nothing else.

    A pickle is a program; the three functions here are all that one of plain arrays needs.
    """

    def find_class(self, module: str, name: str) -> Any:
        """Return the requested numpy function, or raise an error."""
        # numpy 2 moved numpy.core to numpy._core; older files use the old name.
        if (module, name) in (
            ("numpy.core.multiarray", "_reconstruct"),
            ("numpy._core.multiarray", "_reconstruct"),
        ):
            return np._core.multiarray._reconstruct  # type: ignore[attr-defined]
        if (module, name) == ("numpy", "ndarray"):
            return np.ndarray
        if (module, name) == ("numpy", "dtype"):
            return np.dtype
        raise pickle.UnpicklingError(f"it asks for {module}.{name}")
