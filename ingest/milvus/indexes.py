"""Vector indexes in Milvus: build them to completion, and detect what a server can build."""

from __future__ import annotations

import logging
import os
import time
from collections.abc import Callable
from contextlib import suppress

import numpy as np

from ...schemas.collections import (
    COLLECTION_PREFIX,
    GPU_SERVER,
    LITE,
    METRIC,
    SERVER,
    Index,
    Target,
)
from ...schemas.errors import StoreError
from ..shards.home import Place
from .connection import Connection, reason, server_name
from .index_notes import read_notes, write_notes

_log = logging.getLogger(__name__)

BUILD_SECONDS = 1800.0
"""Time limit of an index build, seconds; a million rows of 2048 take minutes on two cores."""

LOAD_SECONDS = 300.0
"""Time limit of loading a collection, seconds; pymilvus itself would wait forever."""

_FLUSH_SECONDS = 120.0
"""Time limit of sealing a collection, seconds; a server usually took two or three."""

_PAUSE_SECONDS = 5.0
"""Seconds between two attempts to search a collection that is loading."""

_PROBE_SECONDS = 20.0
_PROBE_ROWS = 1500
"""Milvus builds no index in a segment of fewer than 1,024 rows
(``rootCoord.minSegmentSizeToEnableIndex``), and reports it as finished."""


class _IndexNotBuiltError(StoreError):
    """A server refused an index or did not finish it."""

    def __init__(self, why: str, name: str, index: Index) -> None:
        super().__init__(
            f"Milvus did not build {index.index_type} for {name} ({why}); "
            "look at the server's log, or use --index cpu."
        )
        self.why = why


def load(milvus: Connection, name: str) -> None:
    """Load a collection, which a server needs before it is read.

    Raises:
        StoreError: It cannot be loaded.
    """
    milvus.call(f"load {name}", milvus.client.load_collection, name, timeout=LOAD_SECONDS)


def wait_until_searchable(milvus: Connection, tell: Callable[[str], None]) -> None:
    """Wait until the collections that a server loads can be searched.

    After a start its health check succeeds up to half a minute earlier.

    Args:
        milvus: A server; the embedded Milvus loads nothing by itself.
        tell: Receives, from time to time, a message about the wait.

    Raises:
        StoreError: A collection did not answer in time.
    """
    from pymilvus.client.types import LoadState

    client = milvus.client
    found = milvus.call("list collections", client.list_collections)
    for name in sorted(name for name in found if name.startswith(COLLECTION_PREFIX)):
        state = milvus.call(f"look at {name}", client.get_load_state, name)["state"]
        if state != LoadState.NotLoad:
            _wait_until_counted(milvus, name, tell)


def _wait_until_counted(milvus: Connection, name: str, tell: Callable[[str], None]) -> None:
    began = time.monotonic()
    while True:
        try:
            milvus.call(f"count {name}", milvus.client.query, name, output_fields=["count(*)"])
            return
        except StoreError:  # a starting server fails in many ways
            if time.monotonic() - began > LOAD_SECONDS:
                raise
        time.sleep(_PAUSE_SECONDS)
        tell(f"Waiting for {name} ({time.monotonic() - began:.0f} s) ...")


def flush(milvus: Connection, name: str) -> None:
    """Seal what was written to a collection; unsealed rows are searched without its index.

    Raises:
        StoreError: It cannot be written.
    """
    milvus.call(f"flush {name}", milvus.client.flush, name, timeout=_FLUSH_SECONDS)


def described_index(milvus: Connection, name: str) -> Index | None:
    """Return the index of a collection; None without one, as after an interrupted rebuild.

    Lite echoes the requested index, whatever it built.
    """
    found = milvus.call(f"describe {name}", milvus.client.describe_index, name, "vector")
    if not found:
        return None
    lists = found.get("nlist", 0) or dict(found.get("params") or {}).get("nlist", 0)
    return Index(str(found["index_type"]), int(lists))


def rebuild(
    milvus: Connection, name: str, index: Index, target: Target, limit_s: float = BUILD_SECONDS
) -> None:
    """Replace the index of a collection, and load it.

    Raises:
        StoreError: It was not built in time; the collection then has its target's exact CPU
            index, and is loaded.
    """
    client = milvus.client
    flush(milvus, name)
    milvus.call(f"release {name}", client.release_collection, name)
    _drop(milvus, name)
    try:
        _build(milvus, name, index, target, limit_s)
    except StoreError:
        _drop(milvus, name)
        _build(milvus, name, Index(), target, BUILD_SECONDS)
        raise
    finally:
        load(milvus, name)


def _drop(milvus: Connection, name: str) -> None:
    list_indexes = milvus.client.list_indexes
    for found in milvus.call(f"list indexes of {name}", list_indexes, name, "vector"):
        milvus.call(f"drop the index of {name}", milvus.client.drop_index, name, found)


def _build(milvus: Connection, name: str, index: Index, target: Target, limit_s: float) -> None:
    """Build an index and wait until it covers every row.

    A server that cannot build an index that it accepted reports InProgress forever, and still
    loads the collection.

    Raises:
        StoreError: It was refused, or was not finished within `limit_s`.
    """
    parameters = milvus.client.prepare_index_params()
    parameters.add_index(
        "vector",
        index_type=index.index_type,
        metric_type=METRIC,
        params=target.build_parameters(index),
    )
    until = time.monotonic() + limit_s
    try:
        # pymilvus does not wait: its time limits are whole seconds only.
        milvus.client.create_index(name, parameters, timeout=limit_s, sync=False)
        while time.monotonic() < until:
            state = milvus.client.describe_index(name, "vector")
            if state.get("state") == "Finished" and not state.get("pending_index_rows"):
                return
            time.sleep(0.2)
    except milvus.errors as error:
        if time.monotonic() < until:
            raise _IndexNotBuiltError(reason(error), name, index) from error
    raise _IndexNotBuiltError(f"it was not finished within {limit_s:g} s", name, index)


def choose_target(milvus: Connection, place: Place) -> tuple[Target, list[str]]:
    """Choose the index types for this Milvus, with notes for the user.

    Whether a server builds GPU indexes is tested once, and again for ``--index gpu``.

    Raises:
        StoreError: A GPU index was requested, and this Milvus builds none.
    """
    if milvus.lite:
        if place.index == "gpu":
            raise StoreError(
                "Milvus Lite has no GPU indexes; set VIDSIM_URI to a Milvus server with a GPU, "
                "or use --index auto."
            )
        return LITE, []
    if place.index == "cpu":
        return SERVER, []
    server = server_name(place)
    notes = read_notes(place.home, server)
    if place.index == "auto" and notes.gpu is not None:
        return (GPU_SERVER if notes.gpu else SERVER), []
    refusal = gpu_refusal(milvus)
    try:
        write_notes(place.home, server, notes.model_copy(update={"gpu": not refusal}))
    except StoreError as error:  # it is tested again next time
        _log.info("%s", error)
    if not refusal:
        return GPU_SERVER, []
    if place.index == "gpu":
        raise StoreError(
            f"Milvus at {server} builds no GPU indexes ({refusal}); run a Milvus with GPU "
            "support, or use --index auto."
        )
    return SERVER, [
        f"Milvus at {server} builds no GPU indexes ({refusal}); CPU indexes are used "
        "('--index gpu' tries again)."
    ]


def gpu_refusal(
    milvus: Connection, index_type: str = GPU_SERVER.exact, limit_s: float = _PROBE_SECONDS
) -> str:
    """Return why the server does not build GPU indexes; "" where it does.

    The test uses a small temporary collection: a server without a GPU may refuse the index, or
    accept it and never finish.

    Raises:
        StoreError: The server cannot be written to.
    """
    from pymilvus import DataType

    client = milvus.client
    name = f"vidsim_probe_{os.getpid()}"
    schema = client.create_schema(auto_id=False, enable_dynamic_field=False)
    schema.add_field("id", DataType.INT64, is_primary=True)
    schema.add_field("vector", DataType.FLOAT_VECTOR, dim=8)
    milvus.call(f"create {name}", client.create_collection, name, schema=schema)
    try:
        vectors = np.random.default_rng(0).random((_PROBE_ROWS, 8), np.float32)
        rows = [{"id": i, "vector": vector} for i, vector in enumerate(vectors)]
        milvus.call(f"write to {name}", client.upsert, name, rows)
        flush(milvus, name)
        index = Index(index_type, 16 if index_type == GPU_SERVER.inverted else 0)
        _build(milvus, name, index, GPU_SERVER, limit_s)
    except _IndexNotBuiltError as error:
        return f"{index_type}: {error.why}"
    finally:
        with suppress(*milvus.errors):  # the finding counts
            client.drop_collection(name)
    return ""
