"""What the tests of the server share: a home of three clips by colour, and one for a browser."""

from __future__ import annotations

from collections.abc import Iterator
from pathlib import Path

import pytest

from ...helpers.browser import axe, browser, visit
from ...helpers.colors import home_of_colors
from ...helpers.page_home import home_to_show
from ...helpers.web import Server

# Fixtures, for pytest to find.
__all__ = ["axe", "browser", "visit"]


@pytest.fixture(scope="session")
def colors(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """A folder with ``lib/red.mkv``, green and blue, and ``home``, to be left as it is."""
    folder = tmp_path_factory.mktemp("colors")
    home_of_colors(folder)
    return folder


@pytest.fixture(scope="session")
def footage(tmp_path_factory: pytest.TempPathFactory, weights: Path) -> Path:
    """The folder of `home_to_show`."""
    folder = tmp_path_factory.mktemp("page")
    home_to_show(folder)
    return folder


@pytest.fixture(scope="session")
def shown(footage: Path) -> Iterator[str]:
    """The address of a server of that home, which the tests of the page share."""
    with Server(footage / "home", "--root", str(footage / "more")) as server:
        yield server.url
