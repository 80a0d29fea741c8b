"""The guard: pages of other sites, strangers, and names that lead astray are refused."""

from __future__ import annotations

from collections.abc import Iterator
from pathlib import Path

import pytest
from starlette.testclient import TestClient

from ....helpers.web import client_of, copied

TOKEN = "a long random text"


@pytest.fixture(scope="module")
def client(colors: Path, tmp_path_factory: pytest.TempPathFactory) -> Iterator[TestClient]:
    home = copied(colors / "home", tmp_path_factory.mktemp("guard") / "home")
    with client_of(home) as client:
        yield client


@pytest.fixture(scope="module")
def locked(colors: Path, tmp_path_factory: pytest.TempPathFactory) -> Iterator[TestClient]:
    home = copied(colors / "home", tmp_path_factory.mktemp("locked") / "home")
    with client_of(home, token=TOKEN, hosts=frozenset({"Videos.example"})) as client:
        yield client


@pytest.mark.parametrize("host", ["localhost", "localhost:80", "127.0.0.1:8000", "[::1]:8000"])
def test_names_of_this_machine_are_answered(client: TestClient, host: str) -> None:
    assert client.get("/v1/videos", headers={"host": host}).status_code == 200


@pytest.mark.parametrize(
    "host",
    [
        "evil.example",
        "localhost.evil.example",
        "127.0.0.1.evil.example",
        "8.8.8.8",
        "",
        "[",
        "evil.example@localhost",
        "localhost/evil.example",
        "localhost?evil.example",
        "localhost#",
    ],
)
def test_other_names_are_not(client: TestClient, host: str) -> None:
    answer = client.get("/v1/videos", headers={"host": host})
    assert answer.status_code == 403
    assert "--allow-host" in answer.json()["error"]["message"]


def test_a_name_that_is_allowed_is(locked: TestClient) -> None:
    assert locked.get("/healthz", headers={"host": "videos.example:80"}).status_code != 403
    assert locked.get("/healthz", headers={"host": "other.example"}).status_code == 403


@pytest.mark.parametrize(
    "headers",
    [
        {"origin": "https://evil.example"},
        {"origin": "null"},
        {"origin": "http://localhost:1"},
        {"origin": "http://["},
        {"sec-fetch-site": "cross-site"},
        {"sec-fetch-site": "same-site", "sec-fetch-mode": "no-cors"},
    ],
)
def test_pages_of_other_sites_get_nothing(client: TestClient, headers: dict[str, str]) -> None:
    for answer in (
        client.get("/v1/videos", headers=headers),
        client.post("/v1/query", json={"clips": [{"video": "lib/red.mkv"}]}, headers=headers),
        client.post("/v1/uploads", content=b"x", headers=headers),
    ):
        assert answer.status_code == 403


def test_a_link_elsewhere_leads_to_the_page(client: TestClient) -> None:
    led = {"sec-fetch-site": "cross-site", "sec-fetch-mode": "navigate"}
    assert client.get("/", headers=led).status_code == 200
    assert client.post("/v1/uploads", content=b"x", headers=led).status_code == 403


def test_the_own_page_is_answered(client: TestClient) -> None:
    own = {"origin": "http://localhost", "sec-fetch-site": "same-origin"}
    assert client.get("/v1/videos", headers=own).status_code == 200


def test_every_answer_forbids_browsers_what_it_can(client: TestClient) -> None:
    for path in ("/", "/v1/videos", "/nothing", "/page/../../serving.py"):
        headers = client.get(path).headers
        assert "default-src 'none'" in headers["content-security-policy"]
        assert "unsafe" not in headers["content-security-policy"]
        assert headers["x-content-type-options"] == "nosniff"
        assert "access-control-allow-origin" not in headers
    answer = client.get("/v1/videos", headers={"host": "evil.example"})
    assert "default-src 'none'" in answer.headers["content-security-policy"]


def test_a_token_is_asked_for(locked: TestClient) -> None:
    for headers in ({}, {"authorization": "Bearer wrong"}, {"authorization": f"Basic {TOKEN}"}):
        answer = locked.get("/v1/videos", headers=headers)
        assert answer.status_code == 401
        assert "Authorization: Bearer" in answer.json()["error"]["message"]
    right = {"authorization": f"Bearer {TOKEN}"}
    assert locked.get("/v1/videos", headers=right).status_code == 200
    assert locked.get("/").status_code == 200


def test_the_page_gives_the_token_once(locked: TestClient) -> None:
    assert locked.post("/v1/session", json={"token": "wrong"}).status_code == 403
    assert not locked.cookies
    answer = locked.post("/v1/session", json={"token": TOKEN})
    assert answer.status_code == 204
    said = answer.headers["set-cookie"].lower()
    assert "httponly" in said
    assert "samesite=strict" in said
    assert locked.get("/v1/videos").status_code == 200
    locked.cookies.clear()


def test_a_cookie_is_found_among_those_of_other_servers(locked: TestClient) -> None:
    for cookie, status in (
        (f'theirs={{"a": [1]}}; vidsim="{TOKEN}"; b[c]=1', 200),
        (f"vidsim={TOKEN}", 200),
        ("vidsim=an older one", 401),
        ("vidsim=", 401),
        ("vidsim", 401),
        (f"vidsim={TOKEN}\N{NO-BREAK SPACE}x".encode("latin-1").decode("latin-1"), 401),
        (f"Vidsim={TOKEN}", 401),
        (f"{'a=b; ' * 2000}vidsim={TOKEN}", 200),
    ):
        headers = [(b"cookie", cookie.encode("latin-1"))]
        assert locked.get("/v1/videos", headers=headers).status_code == status, cookie[:60]


def test_no_other_header_is_taken_for_the_token(locked: TestClient) -> None:
    for value in (b"Bearer", b"Bearer ", b"Bearer a\xff", b"Bearer " + TOKEN[:-1].encode(), b"\t"):
        headers = [(b"authorization", value)]
        assert locked.get("/v1/videos", headers=headers).status_code == 401, value
    assert locked.get("/v1/videos", params={"token": TOKEN}).status_code == 401
    for path in ("/metrics", "/readyz", "/v1/openapi.json", "/v1/uploads/x/media", "/local/query"):
        assert locked.get(path).status_code == 401, path
    for path in ("/page/../v1/videos", "/page/%2e%2e/v1/videos", "http://localhost//v1/videos"):
        assert locked.get(path).status_code in (401, 404), path


def test_an_id_is_one_segment_whatever_is_in_it(client: TestClient) -> None:
    answer = client.get("/v1/videos/lib%2Fred.mkv/neighbours")
    assert answer.status_code == 200
    assert answer.json()["query"] == "lib/red.mkv"
    for name in ("..%2F..%2Fetc%2Fpasswd", "%2Fetc%2Fpasswd", "lib%252Fred.mkv", "lib%2F%00"):
        answer = client.get(f"/v1/videos/{name}/neighbours")
        assert answer.status_code == 404
        assert "stored video" in answer.json()["error"]["message"]


def test_what_is_asked_for_may_not_be_large(client: TestClient) -> None:
    body = b'{"clips": [' + b'{"video": "a"},' * 100_000
    for path in ("/v1/compare", "/v1/ingest", "/v1/session"):
        for content in (body, iter([body[:700_000], body[700_000:]])):
            as_json = {"content-type": "application/json"}
            answer = client.post(path, content=content, headers=as_json)
            assert answer.status_code == 413
            assert "bytes" in answer.json()["error"]["message"]
