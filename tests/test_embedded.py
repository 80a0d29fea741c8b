"""Milvus Lite in process: its files are any Milvus Lite's, and a write is never cut in two."""

from __future__ import annotations

import signal
import sys
import time

import pytest
from milvus_lite import Collection
from pymilvus import MilvusClient

from vidsim.ingest.embedded import EmbeddedClient, EmbeddedError
from vidsim.ingest.home import Place
from vidsim.ingest.store import open_store
from vidsim.schemas.collections import collection_name
from vidsim.schemas.modality import BACKBONES

from .conftest import embedded

LITE0 = BACKBONES["efficientnet_lite0"]
NAME = collection_name(LITE0)


def test_what_was_written_in_process_is_there_for_every_client_of_milvus_lite(tmp_path):
    with open_store(Place(tmp_path), writing=True) as store:
        store.upsert(LITE0, [embedded("lib/a.mp4")])
    client = MilvusClient(str(tmp_path / "milvus.db"))
    try:
        described = client.describe_collection(NAME)
        fields = {f["name"]: (f["type"].name, f["params"]) for f in described["fields"]}
        assert fields["id"] == ("VARCHAR", {"max_length": 2048})
        assert fields["segment"] == ("INT64", {})
        assert fields["start_s"] == ("DOUBLE", {})
        assert fields["vector"] == ("FLOAT_VECTOR", {"dim": 1280})
        assert client.describe_index(NAME, "vector")["index_type"] == "FLAT"
        client.load_collection(NAME)
        rows = client.query(NAME, filter='label == "snow"', output_fields=["id", "start_s"])
        assert len(rows) == 8
        assert rows[0]["id"] == "lib/a.mp4#00000.0"
    finally:
        client.close()
        sys.modules["milvus_lite.server_manager"].server_manager_instance.release_all()


def test_ctrl_c_ends_the_waiting_and_not_the_write(tmp_path, monkeypatch):
    upsert = Collection.upsert

    def slow(self, records, *args):
        time.sleep(0.5)
        return upsert(self, records, *args)

    def interrupt(*_):
        raise KeyboardInterrupt

    def write():
        with open_store(Place(tmp_path), writing=True) as store:
            store.create(LITE0)
            store.create(LITE0, "segments")
            monkeypatch.setattr(Collection, "upsert", slow)
            signal.setitimer(signal.ITIMER_REAL, 0.2)
            store.upsert(LITE0, [embedded("lib/a.mp4")])

    before = signal.signal(signal.SIGALRM, interrupt)
    try:
        with pytest.raises(KeyboardInterrupt):
            write()
    finally:
        signal.signal(signal.SIGALRM, before)
    with open_store(Place(tmp_path)) as store:
        assert store.count(LITE0) == 8


def test_rows_by_key_are_those_that_are_there_in_that_order(tmp_path):
    with open_store(Place(tmp_path), writing=True) as store:
        store.upsert(LITE0, [embedded("lib/a.mp4")])
    client = EmbeddedClient(str(tmp_path / "milvus.db"))
    try:
        client.load_collection(NAME)
        asked = ["lib/a.mp4#00000.3", "lib/b.mp4#00000.0", "lib/a.mp4#00000.0"]
        found = client.query(NAME, ids=asked, output_fields=["id"])
        assert [row["id"] for row in found] == [asked[0], asked[2]]
        with pytest.raises(EmbeddedError, match="absent"):
            client.load_collection("absent")
    finally:
        client.close()
