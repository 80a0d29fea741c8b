"""Fixtures that tests of several rooms use: homes, weights, and clips, real ones and made."""

from __future__ import annotations

import os
from collections.abc import Iterator
from importlib.metadata import version
from pathlib import Path
from typing import Any

import pytest
from hypothesis import settings as hypothesis_settings

from vidsim.ingest.models.weights import ensure
from vidsim.ingest.shards.home import Place
from vidsim.schemas.backbones import BACKBONES
from vidsim.schemas.presets import DEFAULT_PRESET, PRESETS

from .helpers.clips import MakeClip, write_clip
from .helpers.command_line import vidsim_here
from .helpers.h5_in_thread import h5_in_thread
from .helpers.milvus_targets import lite_server, milvus_server, target_place
from .helpers.package_index import pulling
from .helpers.repository import ROOT

# Fixtures, for pytest to find.
__all__ = ["h5_in_thread", "lite_server", "milvus_server", "target_place", "vidsim_here"]

hypothesis_settings.register_profile("vidsim", deadline=None)  # machines differ, and are shared
hypothesis_settings.load_profile("vidsim")


def pytest_terminal_summary(terminalreporter: pytest.TerminalReporter) -> None:
    """Says which Milvus Lite was tested with: the Makefile's LITE chooses one."""
    terminalreporter.write_line(f"Milvus Lite {version('milvus-lite')}")


@pytest.fixture(scope="session", autouse=True)
def own_folders(tmp_path_factory: pytest.TempPathFactory) -> Iterator[Path]:
    """A cache of this run, whichever process asks, so that no test leans on an earlier run's.

    VIDSIM_CACHE, where it is set, names another. The user's own home is out of every test's way.
    """
    run = tmp_path_factory.getbasetemp()
    if "PYTEST_XDIST_WORKER" in os.environ:
        run = run.parent
    with pytest.MonkeyPatch.context() as patch:
        cache = os.environ.get("VIDSIM_CACHE", str(run / "cache"))
        patch.setenv("VIDSIM_CACHE", cache)
        patch.setenv("VIDSIM_HOME", str(tmp_path_factory.mktemp("nobody") / "home"))
        yield Path(cache)


@pytest.fixture(scope="session")
def weights(own_folders: Path) -> Path:
    """The cache, with the weights of the default preset, pulled once per run."""
    for name in PRESETS[DEFAULT_PRESET].values():
        if BACKBONES[name].weights is not None:
            with pulling(f"the weights of {name}"):
                ensure(BACKBONES[name])
    return own_folders


@pytest.fixture(scope="session")
def shared_data() -> Path:
    """The folder of real videos: VIDSIM_TEST_DATA, or ../shared/data beside the repository."""
    default = ROOT.parent / "shared" / "data"
    folder = Path(os.environ.get("VIDSIM_TEST_DATA", default))
    if not folder.is_dir():
        pytest.skip(f"no test data at {folder}")
    return folder.resolve()  # paths are stored without links


@pytest.fixture
def make_clip(tmp_path: Path) -> MakeClip:
    """Writes a clip whose n-th frame is grey level n (lossless ffv1 unless told otherwise)."""

    def make(name: str = "clip.mkv", **content: Any) -> Path:
        return write_clip(tmp_path / name, **content)

    return make


@pytest.fixture
def place(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Place:
    """An empty home."""
    monkeypatch.setenv("VIDSIM_HOME", str(tmp_path / "home"))
    monkeypatch.delenv("VIDSIM_URI", raising=False)
    return Place(tmp_path / "home")
