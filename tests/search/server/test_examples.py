"""The example clients of docs/examples do what docs/serve.md says of them."""

from __future__ import annotations

import shutil
import subprocess
import sys
from collections.abc import Iterator
from pathlib import Path

import pytest

from ...helpers.colors import BLUE, write_plain
from ...helpers.repository import ROOT
from ...helpers.web import Server, copied

pytestmark = pytest.mark.acceptance

EXAMPLES = ROOT / "docs" / "examples"
TOKEN = "a long random text"


@pytest.fixture(scope="module")
def server(colors: Path, tmp_path_factory: pytest.TempPathFactory) -> Iterator[Server]:
    home = copied(colors / "home", tmp_path_factory.mktemp("examples") / "home")
    with Server(home, VIDSIM_DEVICE="cpu", VIDSIM_SERVE_TOKEN=TOKEN) as server:
        yield server


def said(*words: str) -> list[str]:
    done = subprocess.run(
        words, env={"VIDSIM_SERVE_TOKEN": TOKEN}, capture_output=True, text=True, timeout=240
    )
    assert done.returncode == 0, done.stderr
    return done.stdout.splitlines()


def test_the_one_in_python_ingests_and_asks(server: Server, tmp_path: Path) -> None:
    clip = write_plain(tmp_path / "my clip.mkv", BLUE)
    url = server.url.partition("/#")[0]
    job, *answers = said(sys.executable, str(EXAMPLES / "client.py"), url, str(clip))
    assert job == "lib: done"
    assert answers[0].split()[3] == "lib/blue.mkv"
    assert len(answers) == 6


def test_the_one_in_javascript_asks(server: Server, tmp_path: Path) -> None:
    node = shutil.which("node")
    if node is None:
        pytest.skip("there is no node")
    clip = write_plain(tmp_path / "my clip.mkv", BLUE)
    url = server.url.partition("/#")[0]
    answers = said(node, str(EXAMPLES / "client.mjs"), str(clip), url)
    assert answers[0].split()[3] == "lib/blue.mkv"
    assert len(answers) == 6
