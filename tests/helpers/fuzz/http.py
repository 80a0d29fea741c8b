"""Requests to the app: whatever is asked for, the answer is none of 500."""

from __future__ import annotations

import random
from collections.abc import Iterator, Mapping
from contextlib import contextmanager
from pathlib import Path
from typing import Any
from urllib.parse import quote, quote_from_bytes

from starlette.testclient import TestClient

from ..colors import home_of_colors
from ..web import client_of
from .mutations import ODD_TEXTS, json_of, mutated, mutated_text, mutated_value
from .targets import Feed, Outcome

_ID = "lib%2Fred.mkv"

_BODIES: dict[tuple[str, str], Any] = {
    ("POST", "/v1/query"): {
        "clips": [{"video": "lib/red.mkv"}],
        "not": [{"video": "lib/blue.mkv"}],
        "k": 3,
        "min_score": 0.0,
        "start_s": 0.0,
        "end_s": 1.0,
        "region": [0, 0, 0.5, 0.5],
        "modalities": ["color"],
        "libraries": ["lib"],
        "filter": 'label == "x"',
        "labels": [""],
        "min_s": 0,
        "max_s": 1e3,
        "since": "2019-05-01",
        "until": "",
        "fusion": "rrf",
        "weights": {"color": 1.0},
        "models": {"color": "labhist"},
        "preset": "compact",
        "exclude_self": True,
    },
    ("POST", "/v1/compare"): {"first": {"video": "lib/red.mkv"}, "second": {"upload": "abc"}},
    ("POST", "/v1/session"): {"token": "abc"},
    ("POST", "/v1/ingest"): {"library": "other", "name": "x", "folder": "abc", "path": "../.."},
    ("PUT", "/v1/duplicates/decisions"): {
        "first": "lib/red.mkv",
        "second": "lib/blue.mkv",
        "choice": "keep",
        "keep": "lib/red.mkv",
    },
    ("POST", "/v1/local/query"): {"clips": [], "k": 3},
}

_LISTED = {
    "filter": 'label == ""',
    "library": "lib",
    "label": "x",
    "folder": "lib",
    "contains": "red",
    "damaged": "false",
    "min_s": "1",
    "max_s": "9",
    "since": "2020",
    "until": "2030-01-01",
}

_QUERIES: dict[str, Mapping[str, str]] = {
    "/v1/videos": {**_LISTED, "sort": "name", "reverse": "true", "limit": "5", "offset": "0"},
    "/v1/facets": _LISTED,
    "/v1/libraries": {},
    f"/v1/videos/{_ID}": {},
    f"/v1/videos/{_ID}/neighbours": {
        "k": "3",
        "min_score": "0.1",
        "modality": "color",
        "library": "lib",
        "filter": "",
    },
    f"/v1/videos/{_ID}/media": {},
    f"/v1/videos/{_ID}/thumbnail": {"at_s": "0.5", "size": "200"},
    f"/v1/videos/{_ID}/clip": {"start_s": "0", "end_s": "0.2"},
    f"/v1/videos/{_ID}/spectrogram": {"start_s": "0", "end_s": "1"},
    f"/v1/videos/{_ID}/storyboard": {},
    f"/v1/videos/{_ID}/preview": {},
    f"/v1/videos/{_ID}/strip": {},
    "/v1/duplicates": {
        "library": "lib",
        "undecided": "true",
        "limit": "3",
        "offset": "0",
        "wait_s": "0",
        "max_distance": "9",
        "min_similarity": "0.9",
    },
    "/v1/duplicates.csv": {"library": "lib", "wait_s": "0.1"},
    "/v1/duplicates/decisions": {},
    "/v1/map": {"library": "nope", "modality": "color"},
    "/v1/folders": {"parent": "abc"},
    "/v1/ingest": {},
    "/v1/ingest/abc": {},
    "/v1/ingest/abc/events": {},
    "/v1/uploads/abc": {},
    "/v1/uploads/abc/media": {},
    "/healthz": {},
    "/readyz": {},
    "/metrics": {},
    "/v1/openapi.json": {},
    "/page/main.js": {},
    "/": {},
}

_HEADERS = {
    "content-type": "application/json",
    "host": "localhost",
    "origin": "http://localhost",
    "range": "bytes=0-3",
    "if-range": '"abc"',
    "if-none-match": '"abc"',
    "cookie": "vidsim=abc",
    "authorization": "Bearer abc",
    "accept": "text/html",
    "accept-encoding": "gzip",
    "content-length": "7",
    "transfer-encoding": "chunked",
    "sec-fetch-site": "same-origin",
    "x-forwarded-for": "127.0.0.1",
    "last-event-id": "3",
}

_WORDS = (
    "/",
    "%2F",
    "%00",
    "..",
    "lib",
    "?",
    "&",
    "=",
    "media",
    "bytes=",
    "-",
    ",",
    "%ff",
    "multipart/form-data; boundary=x",
)


@contextmanager
def started(folder: Path) -> Iterator[Feed]:
    """Feeds requests that are spoiled in one place or in all."""
    home = home_of_colors(folder)
    clip = (folder / "lib/blue.mkv").read_bytes()
    with client_of(home, max_upload_mb=1) as client:

        def feed(chance: random.Random) -> Outcome:
            answer = _asked(chance, client, clip)
            assert answer.status_code < 500 or answer.status_code == 503, answer.text[:200]
            kind = answer.headers.get("content-type", "")
            if answer.status_code >= 400 and answer.content and kind == "application/json":
                assert answer.json()["error"]["message"].strip()
            return Outcome.ACCEPTED if answer.status_code < 400 else Outcome.REFUSED

        yield feed


def _asked(chance: random.Random, client: TestClient, clip: bytes) -> Any:
    headers = {"host": "localhost"}
    if chance.random() < 0.4:
        for name in chance.sample([*_HEADERS], chance.randrange(1, 4)):
            value = _HEADERS[name]
            headers[name] = mutated_text(chance, value, _WORDS) if chance.random() < 0.7 else value
    sent = {name: value.encode("utf-8", "replace")[:20_000] for name, value in headers.items()}
    kind = chance.random()
    if kind < 0.5:
        (method, path), value = chance.choice([*_BODIES.items()])
        content = json_of(chance, mutated_value(chance, value))
        sent.setdefault("content-type", b"application/json")
        return client.request(method, _path(chance, path, 0.05), content=content, headers=sent)
    if kind < 0.6:
        return _sent(chance, client, clip, sent)
    path = chance.choice([*_QUERIES])
    given = dict(_QUERIES[path])
    for name in [*given]:
        if chance.random() < 0.4:
            del given[name]
        elif chance.random() < 0.4:
            given[name] = mutated_text(chance, given[name], _WORDS)
    if chance.random() < 0.1:
        given[chance.choice(ODD_TEXTS)[:100]] = chance.choice(ODD_TEXTS)
    query = "&".join(f"{_quoted(name)}={_quoted(value)}" for name, value in given.items())
    address = f"{_path(chance, path, 0.3)}?{query}"[:60_000]
    method = chance.choice(("GET", "GET", "GET", "GET", "HEAD", "OPTIONS", "DELETE", "PATCH"))
    return client.request(method, address, headers=sent, follow_redirects=False)


def _quoted(text: str) -> str:
    return quote(text, safe="", errors="replace")


def _path(chance: random.Random, path: str, how_often: float) -> str:
    if chance.random() >= how_often:
        return path
    spoiled = mutated_text(chance, path, _WORDS)[:20_000].lstrip("/")
    return "/" + quote(spoiled, safe="/%", errors="replace")[:60_000]


def _sent(chance: random.Random, client: TestClient, clip: bytes, headers: dict[str, bytes]) -> Any:
    """A clip as an upload or as part of a form, whole or spoiled."""
    content = clip if chance.random() < 0.3 else mutated(chance, clip[:2000], [clip[:2000]])
    if chance.random() < 0.3:
        name = _quoted(mutated_text(chance, "a.mkv", ("/", "..", "\0"))[:3000])
        return client.post(f"/v1/uploads?name={name}", content=content, headers=headers)
    form = (
        b'--x\r\nContent-Disposition: form-data; name="clip"; filename="a.mkv"\r\n\r\n'
        + content
        + b'\r\n--x\r\nContent-Disposition: form-data; name="options"\r\n\r\n{"k": 3}\r\n--x--\r\n'
    )
    if chance.random() < 0.7:
        form = mutated(chance, form, [form])
    kind = quote_from_bytes(
        mutated_text(chance, "multipart/form-data; boundary=x", _WORDS).encode("utf-8", "replace")
        if chance.random() < 0.2
        else b"multipart/form-data; boundary=x",
        safe="/;= -",
    )
    return client.post(
        "/v1/query", content=form, headers={**headers, "content-type": kind.encode()[:5000]}
    )
