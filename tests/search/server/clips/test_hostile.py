"""What is sent with ill intent, or by accident: refused in a sentence, or harmless."""

from __future__ import annotations

import asyncio
import json
import shutil
import tempfile
from collections.abc import AsyncIterator, Iterator
from concurrent.futures import ThreadPoolExecutor
from pathlib import Path
from typing import Any

import pytest
from starlette.formparsers import MultiPartParser
from starlette.testclient import TestClient

from vidsim.schemas.errors import LibraryError
from vidsim.search.library import Library
from vidsim.search.server.clips.uploads import Upload, Uploads
from vidsim.search.server.http.refusals import BusyError

from ....helpers.web import client_of, copied

NAMES = [
    "<script>alert(1)</script>.mkv",
    "../../../etc/passwd",
    "/etc/passwd",
    "..",
    ".",
    "/",
    " ",
    "a\0b.mkv",
    'a"\r\nSet-Cookie: x=y\r\n\r\n<h1>.mkv',
    "\N{RIGHT-TO-LEFT OVERRIDE}4pm.exe",
    "C:\\Windows\\a.mkv",
    "-rf",
    "file:/etc/passwd",
    "concat:a|b",
    "%2e%2e%2f.mkv",
    "x" * 1024,
    "\N{GRINNING FACE}" * 300,
]


@pytest.fixture(scope="module")
def clip(colors: Path) -> bytes:
    return (colors / "lib/blue.mkv").read_bytes()


@pytest.fixture(scope="module")
def home(colors: Path, tmp_path_factory: pytest.TempPathFactory) -> Path:
    return copied(colors / "home", tmp_path_factory.mktemp("hostile") / "home")


@pytest.fixture(scope="module")
def client(home: Path) -> Iterator[TestClient]:
    with client_of(home) as client:
        yield client


def kept(home: Path) -> list[Path]:
    return [path for path in (home / "server/uploads").rglob("*") if path.is_file()]


def refusal(answer: Any) -> tuple[int, str]:
    """The status and sentence of an answer, which is in the one form that errors have."""
    assert answer.status_code >= 400, answer.text
    assert "default-src 'none'" in answer.headers["content-security-policy"]
    return answer.status_code, answer.json()["error"]["message"]


@pytest.mark.parametrize("name", NAMES)
def test_a_name_is_text_and_never_a_path(
    client: TestClient, home: Path, clip: bytes, name: str
) -> None:
    sent = client.post("/v1/uploads", params={"name": name}, content=clip)
    assert sent.status_code == 201, sent.text
    assert sent.json()["name"] == name
    (file,) = kept(home)
    assert file.parent.parent == home / "server/uploads"
    assert not {*file.name} & {*'<>"\0\r\n/\\'}
    address = f"/v1/uploads/{sent.json()['upload']}"
    media = client.get(f"{address}/media", headers={"range": "bytes=0-3"})
    assert (media.status_code, media.content) == (206, clip[:4])
    assert media.headers["content-type"] == "video/x-matroska"
    assert media.headers["content-disposition"].startswith("inline; filename")
    assert "set-cookie" not in media.headers
    assert client.delete(address).status_code == 204
    assert kept(home) == []


def form(client: TestClient, clip: bytes, disposition: bytes, kind: str = "") -> Any:
    part = b"--x\r\nContent-Disposition: " + disposition + b"\r\n\r\n" + clip + b"\r\n--x--\r\n"
    headers = {"content-type": f"multipart/form-data; boundary=x{kind}"}
    return client.post("/v1/query", content=part, headers=headers)


@pytest.mark.parametrize(
    ("charset", "name"),
    [
        ("utf-7", b"+2AA-.mkv"),  # half a character
        ("raw_unicode_escape", b"\\ud800.mkv"),
        ("utf-8", b"\xff\xfe.mkv"),
        ("hex", b"a.mkv"),
        ("utf-8", b"../../<b>.mkv"),
    ],
)
def test_a_form_may_say_any_charset(
    client: TestClient, home: Path, clip: bytes, charset: str, name: bytes
) -> None:
    said = b'form-data; name="clip"; filename="' + name + b'"'
    answer = form(client, clip, said, f"; charset={charset}")
    assert answer.json()["results"][0]["video_id"] == "lib/blue.mkv"
    assert kept(home) == []


def test_a_form_that_is_none_is_refused(client: TestClient, home: Path, clip: bytes) -> None:
    file = b'form-data; name="clip"; filename="a.mkv"'
    for disposition, kind, status in (
        (file, "; charset=undefined", 422),
        (b'form-data; filename="a.mkv"', "", 400),
        (b'form-data; name="clip"', "", 400),  # a field of more than it may have
        (b'form-data; name="other"; filename="a.mkv"', "", 422),
        (b'form-data; name="clip"; filename="' + b"a" * 100_000 + b'"', "", 400),
        (b"nothing", "", 400),
        (file, "y", 400),
    ):
        body = clip if b"filename" in disposition else bytes(2_000_000)
        assert refusal(form(client, body, disposition, kind))[0] == status, disposition[:50]
    two = {"a": ("a.mkv", clip), "clip": ("b.mkv", clip)}
    assert refusal(client.post("/v1/query", files=two))[0] == 400
    assert kept(home) == []


@pytest.mark.parametrize(
    ("path", "status"),
    [
        ("/page/%2e%2e/%2e%2e/guard.py", 404),
        ("/page/..%2f..%2fguard.py", 404),
        ("/page/..%5c..%5cguard.py", 404),
        ("/page/%252e%252e/guard.py", 404),
        ("/page//etc/passwd", 404),
        ("/page/%00", 404),
        ("/page/%ff", 404),
        ("/page/" + "a" * 5000, 404),
        ("/v1/videos/" + "a" * 20_000, 404),
        ("/v1/videos/" + "a" * 20_000 + "/neighbours", 422),
        ("/v1/videos/lib%2Fred.mkv/neighbours?library=" + "a" * 5000, 422),
        ("/v1/videos/%F0%9F%98%80%zz%c3%28/media", 404),
        ("/v1/videos/lib%252Fred.mkv/media", 404),
        ("/v1/videos/lib%2F..%2Flib%2Fred.mkv/media", 404),
        ("/v1/videos/lib%2Fred.mkv%00/media", 404),
        ("/v1/videos/lib/red.mkv/media", 404),
        ("/v1/uploads/..%2f..%2fshards/media", 404),
        ("/v1/ingest/..%2f..%2fdecisions", 404),
        ("/v1/folders?parent=..%2f..", 404),
        ("/v1/map?library=%00", 404),
        ("/v1/duplicates?library=..%2f..", 404),
        ("/v1/videos?offset=" + "9" * 5000, 422),
        ("/v1/videos?min_s=nan", 422),
        ("/v1/videos?filter=" + "(" * 4000, 422),
        ("/v1/videos?filter=" + "not%20" * 600 + "x", 422),
    ],
)
def test_no_address_leads_astray(client: TestClient, path: str, status: int) -> None:
    assert refusal(client.get(path))[0] == status


@pytest.mark.parametrize(
    ("path", "body"),
    [
        ("/v1/compare", b"[" * 500_000),
        ("/v1/query", b"[" * 500_000),
        ("/v1/query", b'{"clips": [{"video": "\\ud800"}]}'),
        ("/v1/compare", b'{"\\ud800": 1}'),
        ("/v1/query", b'{"clips": [{"video": "lib/red.mkv"}], "start_s": 1e308}'),
        ("/v1/query", b'{"clips": [{"video": "lib/red.mkv"}], "k": 1e400}'),
        ("/v1/query", b'{"clips": [{"video": "lib/red.mkv"}], "weights": {"color": NaN}}'),
        ("/v1/query", b'{"clips": [{"video": "lib/red.mkv"}], "region": [0, 0, -1, 1e308]}'),
        ("/v1/query", b'{"clips": [{"video": "lib/red.mkv"}], "models": {"color": "\\u0000"}}'),
        ("/v1/query", b'{"clips": [{"video": "lib/red.mkv"}], "models": {"frame": "timm:../x"}}'),
        ("/v1/ingest", b'{"library": "lib", "name": "../x"}'),
        ("/v1/ingest", b'{"library": "lib", "name": "a\\u0000"}'),
        ("/v1/session", b"{}"),
    ],
)
def test_no_body_is_too_odd_to_be_refused(client: TestClient, path: str, body: bytes) -> None:
    answer = client.post(path, content=body, headers={"content-type": "application/json"})
    assert refusal(answer)[0] in (400, 422)


def test_a_session_without_a_token_sets_nothing(client: TestClient) -> None:
    for token in ("a\r\nSet-Cookie: x=y", "\N{SNOWMAN}", "\0"):
        answer = client.post("/v1/session", json={"token": token})
        assert answer.status_code == 204
        assert "set-cookie" not in answer.headers


def test_what_fails_unexpectedly_is_told_in_the_one_form(
    home: Path, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    def fail(*_: Any, **__: Any) -> Any:
        raise ZeroDivisionError("a secret")

    monkeypatch.setattr(Library, "query", fail)
    with client_of(copied(home, tmp_path / "home")) as client:
        patient = TestClient(client.app, "http://localhost", raise_server_exceptions=False)
        answer = patient.get("/v1/videos/lib%2Fred.mkv/neighbours")
        status, said = refusal(answer)
        assert (status, "ZeroDivisionError" in said, "secret" in said) == (500, True, False)


def test_a_full_disk_is_told_and_nothing_is_left(
    client: TestClient, home: Path, clip: bytes, monkeypatch: pytest.MonkeyPatch
) -> None:
    real = Path.open

    def full(self: Path, mode: str = "r", *rest: Any, **more: Any) -> Any:
        return real(Path("/dev/full") if mode == "xb" else self, mode.replace("x", "w"))

    monkeypatch.setattr(Path, "open", full)
    status, said = refusal(client.post("/v1/uploads?name=a.mkv", content=clip))
    assert (status, "a.mkv cannot be kept (No space left on device)" in said) == (503, True)
    monkeypatch.undo()
    monkeypatch.setattr(MultiPartParser, "spool_max_size", 1)
    monkeypatch.setattr(tempfile, "tempdir", "/dev/full")
    status, said = refusal(client.post("/v1/query", files={"clip": ("a.mkv", clip)}))
    assert (status, "cannot be kept" in said) == (503, True)
    monkeypatch.undo()
    assert kept(home) == [] == [*(home / "server/uploads").iterdir()]
    assert client.post("/v1/query", files={"clip": ("a.mkv", clip)}).status_code == 200


def test_a_home_that_was_deleted_is_told(home: Path, tmp_path: Path, clip: bytes) -> None:
    gone = copied(home, tmp_path / "home")
    with client_of(gone) as client:
        assert client.get("/v1/videos").json()["total"] == 3
        shutil.rmtree(gone)
        assert refusal(client.post("/v1/uploads", content=clip))[0] == 503
        assert client.get("/v1/videos").json()["total"] == 0
        assert client.get("/readyz").status_code == 503
        assert refusal(client.get("/v1/videos/lib%2Fred.mkv/neighbours"))[0] in (404, 503)
        assert client.get("/").status_code == client.get("/healthz").status_code == 200


@pytest.mark.acceptance
def test_all_who_send_at_once_are_answered_or_told_to_wait(client: TestClient, clip: bytes) -> None:
    def ask(number: int) -> int:
        name = f"{number}.mkv"
        if number % 2:
            answer = client.post("/v1/query", files={"clip": (name, clip)})
        else:
            sent = client.post("/v1/uploads", params={"name": name}, content=clip)
            if sent.status_code == 429:
                return 429
            asked = {"clips": [{"upload": sent.json()["upload"]}]}
            answer = client.post("/v1/query", json=asked)
        return answer.status_code

    with ThreadPoolExecutor(40) as threads:
        found = [*threads.map(ask, range(80))]
    assert {*found} <= {200, 429}
    assert found.count(200) >= 8  # that many may come in at once, and the first are cold


async def received(kept: Uploads, number: int) -> Upload:
    async def pieces() -> AsyncIterator[bytes]:
        yield b"x"

    async def look(path: Path) -> None:
        assert path.read_bytes() == b"x"

    with kept.place():
        upload, _ = await kept.receive(f"{number}.mkv", pieces(), None, look)
    return upload


def test_an_upload_in_use_is_kept_however_many_come(tmp_path: Path) -> None:
    async def ask() -> None:
        kept = Uploads(tmp_path / "uploads", 1)
        first = await received(kept, 0)
        with kept.held([first.token]), kept.held([first.token]):
            for number in range(1, 40):
                await received(kept, number)
            assert first.path.read_bytes() == b"x"
            assert len(kept) == 32
        await received(kept, 40)
        assert not first.path.exists()
        with pytest.raises(LibraryError, match="send it again"), kept.held([first.token]):
            pass
        with kept.held([*kept._kept]), pytest.raises(BusyError):
            await received(kept, 41)
        await received(kept, 42)

    asyncio.run(ask())


def test_an_upload_that_is_refused_leaves_nothing(tmp_path: Path) -> None:
    async def ask() -> None:
        dropped: list[Path] = []
        kept = Uploads(tmp_path / "uploads", 1, dropped.append)

        async def pieces() -> AsyncIterator[bytes]:
            yield b"x"

        async def look(path: Path) -> None:
            raise LibraryError("no clip")

        with pytest.raises(LibraryError), kept.place():
            await kept.receive("a.mkv", pieces(), None, look)
        assert len(kept) == 0
        assert len(dropped) == 1
        assert not [*(tmp_path / "uploads").iterdir()]

    asyncio.run(ask())


def test_labels_and_ids_with_markup_stay_text(client: TestClient) -> None:
    answer = client.get("/v1/videos", params={"filter": 'label == "<script>alert(1)</script>'})
    assert answer.headers["content-type"] == "application/json"
    assert json.loads(answer.text)["error"]["kind"] == "ModelError"
