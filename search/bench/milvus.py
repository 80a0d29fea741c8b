"""Temporary Milvus collections of bare vectors, for a benchmark."""

from __future__ import annotations

import os
import time
from collections.abc import Iterator
from contextlib import contextmanager, suppress
from dataclasses import replace
from pathlib import Path
from tempfile import TemporaryDirectory
from urllib.parse import urlsplit

import numpy as np
import numpy.typing as npt
from pymilvus import DataType

from ...ingest.milvus.connection import Connection, open_client
from ...ingest.shards.home import Place
from ...schemas.collections import BATCH_BYTES, LITE, METRIC, SERVER, Index
from ...schemas.embedding import FloatArray
from ...schemas.errors import StoreError

_INDEX_SECONDS = 600.0
"""Time limit of an index build, seconds: a server hangs forever on one that it cannot build."""


class Searcher:
    """One loaded collection per index type."""

    def __init__(self, milvus: Connection) -> None:
        """Wrap an open Milvus, creating nothing yet."""
        self._client = milvus.client
        self._target = LITE if milvus.lite else SERVER
        self._names: dict[str, str] = {}
        self.about = about(milvus)

    def build(self, index: Index, vectors: FloatArray) -> None:
        """Write vectors (n, dim) and index them; ids are their row numbers.

        Rows are flushed before they are indexed: Lite searches unflushed ones by brute force, a
        server through another index.

        Raises:
            StoreError: The index was not built in time.
        """
        name = f"vidsim_bench_{os.getpid()}_{index.index_type.lower()}"
        schema = self._client.create_schema(auto_id=False, enable_dynamic_field=False)
        schema.add_field("id", DataType.INT64, is_primary=True)
        schema.add_field("vector", DataType.FLOAT_VECTOR, dim=vectors.shape[1])
        self._client.create_collection(name, schema=schema)
        self._names[index.index_type] = name
        batch = max(1, BATCH_BYTES // (4 * vectors.shape[1]))
        for start in range(0, len(vectors), batch):
            part = enumerate(vectors[start : start + batch], start)
            self._client.upsert(name, [{"id": i, "vector": vector} for i, vector in part])
        self._client.flush(name)
        parameters = self._client.prepare_index_params()
        parameters.add_index(
            "vector",
            index_type=index.index_type,
            metric_type=METRIC,
            params=self._target.build_parameters(index),
        )
        # pymilvus' own wait polls twice per second, and takes only whole seconds as its time limit.
        self._client.create_index(name, parameters, sync=False)
        self._wait(name)
        self._client.load_collection(name)

    def _wait(self, name: str) -> None:
        until = time.monotonic() + _INDEX_SECONDS
        while time.monotonic() < until:
            state = self._client.describe_index(name, "vector")
            if state.get("state") == "Finished" and not state.get("pending_index_rows"):
                return
            time.sleep(0.2)
        raise StoreError(
            f"Milvus did not build an index within {_INDEX_SECONDS:g} s; "
            "run with fewer --rows, or look at the server's log."
        )

    def search(
        self, index_type: str, queries: FloatArray, k: int, probes: int
    ) -> npt.NDArray[np.int64]:
        """Return row numbers (nq, k) of the nearest by inner product; -1 where there are fewer."""
        answers = self._client.search(
            self._names[index_type],
            data=queries,
            limit=k,
            output_fields=["id"],
            search_params={"metric_type": METRIC, "params": {"nprobe": probes}},
            consistency_level="Bounded",
        )
        found = np.full((len(queries), k), -1, np.int64)
        for row, hits in zip(found, answers):
            row[: len(hits)] = [hit["id"] for hit in hits]
        return found

    def drop(self) -> None:
        """Drop the collections that `build` created."""
        for name in self._names.values():
            self._client.drop_collection(name)


@contextmanager
def open_searcher(place: Place) -> Iterator[Searcher]:
    """Open a Milvus to measure: the server of `place`, or Lite in a temporary directory.

    Raises:
        StoreError: The server does not answer, or refuses a request.
    """
    with (
        TemporaryDirectory(prefix="vidsim-bench-") as folder,
        open_client(replace(place, home=Path(folder))) as milvus,
    ):
        searcher = None
        try:
            searcher = Searcher(milvus)
            yield searcher
        except milvus.errors as error:
            raise StoreError(
                f"Milvus gave up during the benchmark ({error}); run it with fewer --rows."
            ) from error
        finally:
            if searcher is not None:
                with suppress(*milvus.errors):  # the first error says more
                    searcher.drop()


def about(milvus: Connection) -> str:
    """Return the version of a Milvus and where it runs."""
    where = milvus.about if milvus.version else "Lite, in process"
    return f"{milvus.client.get_server_version()} ({where})"


@contextmanager
def own_database(place: Place) -> Iterator[Place]:
    """Provide a place with an empty Milvus: on a server a database, dropped afterwards.

    The embedded Milvus is as empty as its home, which the caller chooses.

    Raises:
        StoreError: The server does not answer, or this token may not create databases.
    """
    if not place.uri:
        yield place
        return
    name = f"vidsim_bench_{os.getpid()}"
    own = replace(place, uri=urlsplit(place.uri)._replace(path=f"/{name}").geturl())
    with open_client(place) as milvus:
        milvus.call(f"make the database {name}", milvus.client.create_database, name)
        try:
            yield own
        finally:
            with suppress(StoreError):  # the first error says more
                with open_client(own) as inside:
                    for collection in inside.client.list_collections():
                        inside.client.drop_collection(collection)
                milvus.call(f"drop the database {name}", milvus.client.drop_database, name)
