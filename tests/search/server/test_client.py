"""Commands ask the server on their home: the same answers, and no loading."""

from __future__ import annotations

from collections.abc import Iterator
from pathlib import Path
from typing import Any

import pytest

from vidsim.ingest.system.progress import Step
from vidsim.schemas.errors import LibraryError, ModelError, VidsimError
from vidsim.search.library import Library
from vidsim.search.server.client import AskingLibrary, open_asking

from ...helpers.colors import BLUE, write_plain
from ...helpers.command_line import vidsim
from ...helpers.web import Server, copied


@pytest.fixture(scope="module")
def server(colors: Path, tmp_path_factory: pytest.TempPathFactory) -> Iterator[Server]:
    home = copied(colors / "home", tmp_path_factory.mktemp("asked") / "home")
    with Server(home, VIDSIM_DEVICE="cpu") as server:
        yield server


@pytest.fixture(scope="module")
def blue(tmp_path_factory: pytest.TempPathFactory) -> Path:
    return write_plain(tmp_path_factory.mktemp("clips") / "blue.mkv", BLUE)


def said(library: Library, clips: list[str], **options: Any) -> Any:
    try:
        return library.query(clips, **options)
    except VidsimError as error:
        return type(error), str(error)


@pytest.mark.parametrize(
    ("clips", "options"),
    [
        (["lib/red.mkv"], {"k": 2}),
        (["CLIP"], {"start": "0:00.5", "min_score": 0.5, "modalities": "color"}),
        (["lib/red.mkv", "CLIP"], {"unlike": "lib/green.mkv", "weights": "color=2"}),
        (["CLIP"], {"region": "0,0,0.5,1", "segment_seconds": 5.0, "device": "cpu"}),
        (["lib/purple.mkv"], {}),
        (["lib/red.mkv"], {"filter": "label =="}),
        (["lib/red.mkv"], {"libraries": ["other"]}),
    ],
)
def test_the_answer_is_that_of_a_library_of_ones_own(
    server: Server, blue: Path, monkeypatch: pytest.MonkeyPatch, clips: list[str], options: Any
) -> None:
    monkeypatch.chdir(blue.parent)
    clips = [blue.name if clip == "CLIP" else clip for clip in clips]
    with open_asking(None, home=server.home) as asking, Library.open(server.home) as alone:
        assert isinstance(asking, AskingLibrary)
        assert said(asking, clips, **options) == said(alone, clips, **options)
        assert asking.libraries() == alone.libraries()


@pytest.mark.acceptance
def test_the_command_asks_the_server(server: Server, tmp_path: Path) -> None:
    words = ["query", str(write_plain(tmp_path / "new.mkv", BLUE)), "-k", "1", "--json"]
    found, alone = vidsim(server.home, *words), vidsim(server.home, *words, "--no-server")
    assert (found.returncode, found.stdout) == (0, alone.stdout)


@pytest.mark.acceptance
def test_an_ingest_is_a_job_of_the_server(server: Server, tmp_path: Path) -> None:
    (tmp_path / "more").mkdir()
    write_plain(tmp_path / "more/a.mkv", BLUE)
    steps: list[Step] = []
    with open_asking(steps.append, home=server.home) as asking:
        report = asking.ingest(tmp_path / "more", modalities="color", workers=1)
        assert (report.library, report.embedded) == ("more", 1)
        assert {step.stage for step in steps if step.finished} >= {"embedding"}
        (tmp_path / "none").mkdir()
        with pytest.raises(LibraryError, match="none"):
            asking.ingest(tmp_path / "none")
        with server.inside() as inside:
            found = inside.get("/v1/ingest").json()["jobs"]
        assert [job["state"] for job in found] == ["failed", "done"]
        asking.remove("more")


@pytest.mark.parametrize("model", ["nonsense", "smell=labhist", "color=none", "frame=timm:none"])
def test_backbones_are_refused_as_without_a_server(server: Server, blue: Path, model: str) -> None:
    told = []
    for ask in (True, False):
        with open_asking(None, ask=ask, home=server.home) as opened:
            with pytest.raises(ModelError) as refused:
                opened.ingest(blue.parent, models=[model])
            told.append(str(refused.value))
    assert told[0] == told[1]


def test_a_server_of_another_milvus_is_not_asked(
    server: Server, caplog: pytest.LogCaptureFixture
) -> None:
    opened = open_asking(None, home=server.home, uri="http://127.0.0.1:1")
    assert not isinstance(opened, AskingLibrary)
    assert "of another Milvus" in caplog.text


@pytest.mark.acceptance
def test_a_server_that_was_killed_is_not_missed(colors: Path, tmp_path: Path) -> None:
    home = copied(colors / "home", tmp_path / "home")
    with Server(home) as server:
        server.kill()
        assert (home / "server/socket").exists()
        with open_asking(None, home=home) as opened:
            assert opened.query("lib/red.mkv").results


def test_strangers_do_not_find_what_commands_ask(server: Server) -> None:
    with server.client() as client:
        assert client.post("/local/libraries", json={}).status_code == 404
        clip = {"name": "x", "file": "/etc/passwd"}
        asked = {"clips": [clip], "unlike": [], "arguments": {}}
        assert client.post("/local/query", json=asked).status_code == 404
