"""The server as a process: one a home, its own socket, and what a crash leaves."""

from __future__ import annotations

import os
import stat
from pathlib import Path

import pytest

from ...helpers.command_line import vidsim
from ...helpers.web import Server, copied


def test_a_server_answers_at_its_port_and_at_the_home_and_ends_when_told(
    colors: Path, tmp_path: Path
) -> None:
    home = copied(colors / "home", tmp_path / "home")
    with Server(home) as server:
        note = server.note()
        assert (note["pid"], note["url"]) == (server.process.pid, server.url)
        assert stat.S_IMODE(os.stat(home / "server").st_mode) == 0o700
        assert stat.S_IMODE(os.stat(home / "server/socket").st_mode) == 0o600
        with server.client() as client, server.inside() as inside:
            for each in (client, inside):
                assert each.get("/v1/videos").json()["total"] == 3
            assert client.get("/v1/videos", headers={"host": "home"}).status_code == 403
        again = vidsim(home, "serve", "--port", "0")
        assert again.returncode == 1
        assert server.url in again.stderr
        assert f"process {server.process.pid}" in again.stderr
    assert server.process.returncode == 0
    assert not (home / "server/socket").exists()
    assert not (home / "server/uploads").exists()


@pytest.mark.acceptance
def test_a_killed_server_is_replaced(colors: Path, tmp_path: Path) -> None:
    home = copied(colors / "home", tmp_path / ("long " * 30) / "home")
    with Server(home) as server:
        with server.client() as client:
            clip = (colors / "lib/red.mkv").read_bytes()
            assert client.post("/v1/uploads", content=clip).status_code == 201
        server.kill()
        assert list((home / "server/uploads").iterdir())
        with Server(home) as second, second.inside() as inside:
            assert inside.get("/v1/videos").json()["total"] == 3
            assert not list((home / "server/uploads").iterdir())


@pytest.mark.acceptance
def test_others_need_a_token(colors: Path, tmp_path: Path) -> None:
    home = copied(colors / "home", tmp_path / "home")
    refused = vidsim(home, "serve", "--host", "0.0.0.0", "--port", "0")
    assert refused.returncode == 1
    assert "VIDSIM_SERVE_TOKEN" in refused.stderr
    for token in ("a\nb", " secret", "gehe\N{LATIN SMALL LETTER I WITH DIAERESIS}m"):
        refused = vidsim(home, "serve", "--port", "0", VIDSIM_SERVE_TOKEN=token)
        assert refused.returncode == 1
        assert "ASCII" in refused.stderr
    with Server(home, VIDSIM_SERVE_TOKEN="se+c/ret=") as server, server.client() as client:
        assert server.said.split()[1].endswith("/#token=se%2Bc%2Fret%3D")
        right = {"authorization": "Bearer se+c/ret="}
        assert client.get("/v1/videos", headers=right).status_code == 200
        assert client.get("/v1/videos").status_code == 401
        with server.inside() as inside:
            assert inside.get("/v1/videos").status_code == 200


@pytest.mark.acceptance
def test_a_port_that_is_taken_is_told(colors: Path, tmp_path: Path) -> None:
    home = copied(colors / "home", tmp_path / "home")
    with Server(home) as server:
        port = server.url.rpartition(":")[2]
        other = copied(colors / "home", tmp_path / "other")
        refused = vidsim(other, "serve", "--port", port)
        assert refused.returncode == 1
        assert "--port 0" in refused.stderr
