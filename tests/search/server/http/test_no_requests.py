"""Bytes that are no request, or come after the last one: refused or hung up on, without a trace."""

from __future__ import annotations

import logging
import time
from collections.abc import Iterator
from pathlib import Path

import pytest

from ....helpers.listening import Listening, listening
from ....helpers.web import copied


@pytest.fixture(scope="module")
def server(colors: Path, tmp_path_factory: pytest.TempPathFactory) -> Iterator[Listening]:
    home = copied(colors / "home", tmp_path_factory.mktemp("no-requests") / "home")
    with listening(home, max_upload_mb=1) as server:
        yield server


ENDS = b"GET /v1/videos HTTP/1.1\r\nHost: localhost\r\nConnection: close\r\n\r\n"
HEAD = b"HEAD /healthz HTTP/1.1\r\nHost: localhost\r\nConnection: close\r\n\r\n"
CHUNKED = (
    b"POST /v1/compare HTTP/1.1\r\nHost: localhost\r\nTransfer-Encoding: chunked\r\n"
    b"Content-Type: application/json\r\n\r\n"
)


@pytest.mark.parametrize(
    "pieces",
    [
        (ENDS, b"GET / HTTP/1.1\r\n\r\n" * 9),
        (ENDS + b"more", b"and more"),
        (CHUNKED + b"4\r\n{}  \r\n", b"zz\r\n"),
        (CHUNKED, b"zz\r\n", b"more"),
        (b"\x16\x03\x01\x02", b"\r\n\r\n\r\n"),
        (HEAD + b"more",),
        (HEAD, b"more"),
        (HEAD.replace(b"HEAD", b"GET") + b"more",),
    ],
)
def test_what_is_no_request_leaves_no_trace(
    server: Listening, caplog: pytest.LogCaptureFixture, pieces: tuple[bytes, ...]
) -> None:
    for pause_s in (0.0, 0.003, 0.01, 0.05):
        with server.connect() as client:
            client.settimeout(10)
            try:
                for piece in pieces:
                    client.sendall(piece)
                    time.sleep(pause_s)
                while client.recv(4096):
                    pass
            except ConnectionError:  # hung up
                pass
    assert not [r.getMessage() for r in caplog.records if r.levelno >= logging.ERROR]
    assert server.say(b"GET /healthz HTTP/1.1\r\nHost: localhost\r\n\r\n", within_s=2).status == 200
