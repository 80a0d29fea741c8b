"""The package index, which may be out of reach."""

from __future__ import annotations

import os
from collections.abc import Iterator
from contextlib import contextmanager

import pytest

from vidsim.schemas.errors import WeightsError


@contextmanager
def pulling(what: str) -> Iterator[None]:
    """Skips, with the reason, what needs the package index where it is out of reach.

    Continuous integration must reach it: there it fails.
    """
    try:
        yield
    except WeightsError as error:
        if "out of reach" not in str(error) or os.environ.get("CI"):
            raise
        pytest.skip(f"needs {what}: {error}")
