"""Health, readiness and metrics."""

from __future__ import annotations

import shutil
from collections.abc import Mapping
from pathlib import Path

import pytest
from prometheus_client.parser import text_string_to_metric_families
from starlette.testclient import TestClient

from ....helpers.web import client_of, copied

Labels = Mapping[str, str]


def measured(client: TestClient) -> dict[str, list[tuple[Labels, float]]]:
    """What Prometheus reads: values by name of the sample."""
    answer = client.get("/metrics")
    assert answer.headers["content-type"] == "text/plain; version=0.0.4; charset=utf-8"
    found: dict[str, list[tuple[Labels, float]]] = {}
    for family in text_string_to_metric_families(answer.text):
        assert family.documentation
        for sample in family.samples:
            found.setdefault(sample.name, []).append((sample.labels, sample.value))
    return found


def test_metrics_tell_of_queries_jobs_and_libraries(colors: Path, tmp_path: Path) -> None:
    with client_of(copied(colors / "home", tmp_path / "home")) as client:
        before = measured(client)
        assert "vidsim_queries_total" not in before
        assert before["vidsim_library_videos"] == [({"library": "lib"}, 3)]
        assert before["vidsim_library_segments"] == [({"library": "lib"}, 3)]
        assert before["vidsim_library_rows"] == [({"library": "lib", "backbone": "labhist"}, 3)]
        assert before["vidsim_home_readable"] == [({}, 1)]
        assert before["vidsim_uploads"] == [({}, 0)]
        assert {labels["state"]: n for labels, n in before["vidsim_jobs"]} == dict.fromkeys(
            ("queued", "running", "done", "failed", "cancelled", "interrupted"), 0
        )
        assert before["vidsim_queries_running"] == before["vidsim_queries_waiting"] == [({}, 0)]
        asked = {"clips": [{"video": "lib/red.mkv"}], "modalities": ["color"]}
        assert client.post("/v1/query", json=asked).status_code == 200
        assert client.get("/v1/videos/lib%2Fnone.mkv/neighbours").status_code == 404
        now = measured(client)
        assert {(of["kind"], of["outcome"]): n for of, n in now["vidsim_queries_total"]} == {
            ("stored", "ok"): 1,
            ("stored", "LibraryError"): 1,
        }
        assert now["vidsim_query_seconds_count"] == [({"kind": "stored"}, 2)]


def test_each_app_counts_for_itself(colors: Path, tmp_path: Path) -> None:
    homes = [copied(colors / "home", tmp_path / name) for name in ("one", "other")]
    with client_of(homes[0]) as one, client_of(homes[1]) as other:
        one.post("/v1/query", json={"clips": [{"video": "lib/red.mkv"}]})
        assert "vidsim_queries_total" in measured(one)
        assert "vidsim_queries_total" not in measured(other)


def test_it_is_ready_until_something_is_wrong(colors: Path, tmp_path: Path) -> None:
    home = copied(colors / "home", tmp_path / "home")
    with client_of(home) as client:
        assert client.get("/healthz").json() == {"status": "ok"}
        assert client.get("/readyz").json() == {"status": "ready", "reasons": []}
        shutil.rmtree(home / "server" / "uploads")
        answer = client.get("/readyz")
        assert answer.status_code == 503
        assert answer.json()["status"] == "not ready"
        assert "Uploads cannot be kept" in answer.json()["reasons"][0]
        assert client.get("/healthz").json() == {"status": "ok"}


def test_a_home_that_cannot_be_read_is_told(
    colors: Path, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    home = copied(colors / "home", tmp_path / "home")
    with client_of(home) as client:
        for shard in (home / "shards" / "lib").glob("*.h5"):
            shard.write_bytes(b"no shard")
        shutil.rmtree(home / "counts")
        answer = client.get("/readyz")
        assert answer.status_code == 503
        assert str(home) in answer.json()["reasons"][0]
        assert measured(client)["vidsim_home_readable"] == [({}, 0)]
