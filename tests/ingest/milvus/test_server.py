"""The genuine Milvus server: wrong tokens, indexes that it cannot build, and its death."""

from __future__ import annotations

import os
import subprocess
import sys
import time
from dataclasses import replace

import pytest

from vidsim.ingest import pipeline
from vidsim.ingest.milvus.connection import open_client, server_name
from vidsim.ingest.milvus.index_notes import read_notes
from vidsim.ingest.milvus.indexes import described_index, gpu_refusal, rebuild
from vidsim.ingest.milvus.store import open_store
from vidsim.ingest.shards.home import Place, distrusted
from vidsim.schemas.backbones import BACKBONES
from vidsim.schemas.collections import GPU_SERVER, SERVER, Index, collection_name
from vidsim.schemas.errors import StoreError

from ...helpers.embedded_videos import embedded
from ...helpers.ingests import in_step, ingest, pretend, write_files
from ...helpers.milvus_targets import MilvusServer, empty_place

pytestmark = pytest.mark.server
LAB = BACKBONES["labhist"]
MODALITIES = ("color", "audio")


@pytest.fixture
def server_place(request, tmp_path):
    return empty_place("server", tmp_path / "home", request)


# --- rows that are looked up and never searched ---


def test_only_what_is_searched_gets_an_index_for_searches(server_place):
    yamnet = BACKBONES["yamnet"]
    videos = [embedded(f"lib/{i}.mp4", backbones=("yamnet",), seed=i) for i in range(8)]
    with open_store(server_place, writing=True) as store:
        store.upsert(yamnet, videos)
        store.flush(yamnet)
    rows = collection_name(yamnet)
    with open_client(server_place) as milvus:
        rebuild(milvus, rows, Index("IVF_FLAT", 2), SERVER)  # as earlier versions did
        assert described_index(milvus, rows) == Index("IVF_FLAT", 2)
    with open_store(server_place, writing=True) as store:  # as a reindex does
        assert store.count(yamnet, "") == 80
        assert store.index(yamnet, "rows") == Index("FLAT")
        ((fetched, _),) = store.fetch_videos(yamnet, ["lib/3.mp4"])
        assert len(fetched) == 10


# --- GPU indexes, which this build has not ---


def test_without_a_gpu_auto_says_so_once_and_uses_cpu_indexes(server_place, tmp_path, monkeypatch):
    monkeypatch.setattr(pipeline, "embed_all", pretend)
    place = replace(server_place, index="auto")
    folder = write_files(tmp_path / "lib", {"a.mp4": "a"})
    began = time.monotonic()
    (note,) = ingest(folder, place).notes
    assert time.monotonic() - began < 60
    assert "builds no GPU indexes (GPU_BRUTE_FORCE: " in note
    assert "CPU indexes are used ('--index gpu' tries again)" in note
    assert read_notes(place.home, place.uri.removeprefix("http://")).gpu is False
    write_files(tmp_path / "lib", {"b.mp4": "b"})
    assert ingest(folder, place).notes == []
    with open_store(place) as store:
        assert store.index(LAB, "rows") == Index("FLAT")
    with open_client(place) as milvus:
        assert not [n for n in milvus.client.list_collections() if "probe" in n]


def test_a_gpu_index_that_must_be_is_an_error(server_place):
    wanted = replace(server_place, index="gpu")
    with (
        pytest.raises(StoreError, match=r"builds no GPU indexes \(.*\); run a Milvus with GPU"),
        open_store(wanted, writing=True),
    ):
        pass


def test_an_index_that_never_finishes_is_given_up_in_time(server_place):
    """A server without a GPU accepts GPU_IVF_FLAT and says InProgress for ever."""
    with open_client(server_place) as milvus:
        began = time.monotonic()
        assert gpu_refusal(milvus, "GPU_IVF_FLAT", 3.0) == (
            "GPU_IVF_FLAT: it was not finished within 3 s"
        )
        assert time.monotonic() - began < 30


def test_a_collection_is_searched_exactly_after_a_failed_rebuild(server_place):
    videos = [embedded(f"lib/{i}", backbones=("labhist",), seed=i) for i in range(1100)]
    with open_store(server_place, writing=True) as store:
        store.upsert(LAB, videos)
    name = collection_name(LAB)
    with open_client(server_place) as milvus:
        with pytest.raises(StoreError, match="did not build GPU_IVF_FLAT for vidsim_color"):
            rebuild(milvus, name, Index("GPU_IVF_FLAT", 16), GPU_SERVER, 3.0)
        assert described_index(milvus, name) == Index("FLAT")
        rebuild(milvus, name, Index("IVF_FLAT", 16), SERVER)
        assert described_index(milvus, name) == Index("IVF_FLAT", 16)
    with open_store(server_place, writing=True) as store:
        assert store.count(LAB) == 1100


# --- access ---


def test_a_wrong_token_is_explained(milvus_server, tmp_path, server_place):
    guarded = MilvusServer(tmp_path / "guarded", milvus_server.binaries, authorization=True)
    try:
        guarded.start()
        place = replace(server_place, uri=guarded.uri)
        for token in ("", "root:wrong", "nobody:wrong"):
            with (
                pytest.raises(StoreError, match="does not accept the token; set VIDSIM_TOKEN"),
                open_store(replace(place, token=token)) as store,
            ):
                store.backbones()
        with open_store(replace(place, token="root:Milvus")) as store:
            assert store.backbones() == []
        environment = {
            **os.environ,
            "VIDSIM_HOME": str(place.home),
            "VIDSIM_URI": guarded.uri,
            "VIDSIM_TOKEN": "root:wrong",
        }
        code = "from vidsim.cli import main; main()"
        done = subprocess.run(
            [sys.executable, "-c", code, "query", "lib/a.mp4"],
            env=environment,
            capture_output=True,
            text=True,
        )
        assert done.returncode == 1
        assert "does not accept the token" in done.stderr
        assert "wrong" not in done.stderr
    finally:
        guarded.kill()


# --- death ---


def test_a_server_killed_in_mid_ingest_holds_everything_after_the_next(
    tmp_path, milvus_server, monkeypatch
):
    mortal = MilvusServer(tmp_path / "mortal", milvus_server.binaries)
    place = Place(tmp_path / "home", mortal.uri, index="cpu")
    folder = write_files(tmp_path / "lib", {f"snow/{i:02}.mp4": f"text {i}" for i in range(30)})
    monkeypatch.setattr("vidsim.ingest.sync.writer._FLUSH_SEGMENTS", 10)
    monkeypatch.setattr("vidsim.ingest.milvus.store.WRITE_PATIENCE_S", 3.0)

    def dying(videos, options, progress, meter=None, stop=None):
        for number, embedded_video in enumerate(pretend(videos, options, progress)):
            if number == 12:
                mortal.kill()
            yield embedded_video

    try:
        mortal.start()
        monkeypatch.setattr(pipeline, "embed_all", dying)
        report = ingest(folder, place, *MODALITIES)
        assert report.embedded == 30
        (note,) = report.notes
        assert "went away" in note
        assert "The embeddings are safe in the shards; 'vidsim reindex' writes the rest" in note
        assert distrusted(place.home, "lib", server_name(place))

        with pytest.raises(StoreError, match="does not answer"):  # and it costs no time
            ingest(folder, place, *MODALITIES)

        mortal.start()
        monkeypatch.setattr(pipeline, "embed_all", pretend)
        again = ingest(folder, place, *MODALITIES)
        assert (again.embedded, again.unchanged) == (0, 30)
        assert again.notes == [
            "lib: Milvus may have been outdated; it was compared with the shards."
        ]
        held = in_step(place)
    finally:
        mortal.kill()
    undisturbed = Place(tmp_path / "undisturbed")
    ingest(folder, undisturbed, *MODALITIES)
    assert in_step(undisturbed) == held
