"""A Milvus server dies while real footage is ingested; run by ``make server-acceptance``."""

from __future__ import annotations

import subprocess
import time
from pathlib import Path

import pytest

from vidsim.ingest.shards.home import Place, open_shards
from vidsim.ingest.sync.libraries import verify_all
from vidsim.ingest.system.progress import Silent
from vidsim.schemas.results import IngestReport

from .helpers.command_line import command, environment_of
from .helpers.milvus_targets import MilvusServer

pytestmark = [pytest.mark.server, pytest.mark.acceptance]


def start_ingest(place: Place, folder: Path) -> subprocess.Popen[str]:
    return subprocess.Popen(
        command("ingest", str(folder), "--json"),
        env=environment_of(place),
        stdout=subprocess.PIPE,
        stderr=subprocess.DEVNULL,
        text=True,
    )


def finish(process: subprocess.Popen[str]) -> IngestReport:
    told, _ = process.communicate()
    assert process.returncode == 0
    return IngestReport.model_validate_json(told)


def counts(place: Place) -> dict[tuple[str, str], int]:
    """Rows in Milvus by backbone and level; asserts that they are what the shards hold."""
    report = verify_all(place, [], "all", Silent())
    assert not [c for c in report.comparisons if c.wrong]
    return {(c.backbone, c.level): c.milvus for c in report.comparisons}


def test_an_ingest_outlives_its_server(tmp_path, shared_data):
    folder = shared_data / "capstone70"
    began = time.monotonic()
    undisturbed = Place(tmp_path / "undisturbed")
    assert finish(start_ingest(undisturbed, folder)).embedded == 70
    print(f"\nundisturbed: {time.monotonic() - began:.0f} s, {counts(undisturbed)}")

    server = MilvusServer(tmp_path / "server")
    place = Place(tmp_path / "home", server.uri, index="cpu")
    try:
        server.start()
        began = time.monotonic()
        process = start_ingest(place, folder)
        while (written := len(open_shards(place.home).catalog("capstone70"))) < 20:
            assert process.poll() is None, "it ended before the server was killed"
            time.sleep(0.5)
        server.kill()
        print(f"killed after {time.monotonic() - began:.0f} s, {written} videos in the shards")
        time.sleep(10)
        server.start()
        print(f"healthy again after {time.monotonic() - began:.0f} s")
        report = finish(process)
        print(f"ended after {time.monotonic() - began:.0f} s, notes: {report.notes}")
        assert (report.embedded, report.failed) == (70, [])
        if report.notes:  # it went on with the shards alone, and said so
            again = finish(start_ingest(place, folder))
            print(f"second run: {again.unchanged} unchanged, notes: {again.notes}")
            assert (again.embedded, again.unchanged) == (0, 70)
        assert counts(place) == counts(undisturbed)
    finally:
        server.kill()
