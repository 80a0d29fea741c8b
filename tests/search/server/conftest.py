"""A home with three clips by colour, which the server's tests share."""

from __future__ import annotations

from pathlib import Path

import pytest

from ...helpers.colors import home_of_colors


@pytest.fixture(scope="session")
def colors(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """A folder with ``lib/red.mkv``, green and blue, and ``home``, to be left as it is."""
    folder = tmp_path_factory.mktemp("colors")
    home_of_colors(folder)
    return folder
