"""Maps of what is stored, made in other processes: a quick one at once, then a better one."""

from __future__ import annotations

import json
import logging
import threading
from collections import OrderedDict
from collections.abc import Iterator, Mapping
from concurrent.futures import Future
from contextlib import contextmanager, suppress
from dataclasses import asdict, dataclass, replace
from pathlib import Path
from typing import Any, BinaryIO

import numpy as np
import numpy.typing as npt

from ....ingest.system.sandbox import Confinement
from ....ingest.system.worker_process import Child
from ....schemas.embedding import FloatArray
from ....schemas.errors import StoreError, VidsimError, WorkerError
from ..http.refusals import BusyError
from ..media.derived import Derived, Wanted

MODALITIES = {
    "color": ("color",),
    "frame": ("frame",),
    "audio": ("audio",),
    "motion": ("motion",),
    "fused": ("color", "frame", "audio", "motion"),
}
"""What a map may show, and the modalities that it comes from."""

_QUICK_S, _BETTER_S = 300.0, 3600.0
"""Seconds after which a process that makes a map is given up."""

_AT_ONCE = 2
"""Processes that make a quick map at once; one makes a better one."""

_MOST_MAKING = 16
_RETRY_S = 10.0
"""Maps that may be made or wait for that, each of which has a thread."""

_KEPT = 16
_KEPT_BYTES = 64 << 20
"""Maps in memory, and bytes of those on the disk."""

_ENV = {"OMP_NUM_THREADS": "1", "OPENBLAS_NUM_THREADS": "1"}
"""One core, so that another is left for queries."""

_log = logging.getLogger(__name__)


@dataclass(frozen=True)
class Map:
    """Where videos lie on a plane.

    Attributes:
        method: How they were laid out.
        refining: Whether a better map is being made.
        ids: The videos that have what the map shows.
        x: From -1 to 1, one for each.
        y: The same.
        clusters: A cluster for each, the largest 0.
    """

    method: str
    refining: bool
    ids: list[str]
    x: list[float]
    y: list[float]
    clusters: list[int]


_What = tuple[str, tuple[str, ...]]
"""What a map shows, and the libraries."""


class Maps:
    """Makes maps of a home, and keeps them for as long as it does not change."""

    def __init__(
        self, home: Path, folder: Path, worker: str = f"{__package__}.worker:main"
    ) -> None:
        """Prepare; nothing is made yet.

        Args:
            home: Whose shards are read.
            folder: Where maps are kept.
            worker: What a child runs, for which tests substitute another.

        Raises:
            OSError: The folder cannot be written.
        """
        self._home = home
        self._worker = worker
        self._files = Derived(folder, _KEPT_BYTES)
        self._lock = threading.Lock()
        self._kept: OrderedDict[_What, tuple[str, Map]] = OrderedDict()
        self._jobs: dict[_What, Future[Map]] = {}
        self._children: set[Child] = set()
        self._quick = threading.Semaphore(_AT_ONCE)
        self._better = threading.Semaphore(1)
        self._closed = False

    def get(self, shown: str, libraries: tuple[str, ...], stamp: str) -> Map:
        """Return a map, the quick one where there is none yet; a better one is begun then.

        While one is being made of what was stored before, that is returned.

        Args:
            shown: A name in `MODALITIES`.
            libraries: Whose videos, sorted; none for all.
            stamp: Changes with what is stored.

        Raises:
            BusyError: Too many others are being made.
            StoreError: A shard cannot be read.
            WorkerError: The process that makes it fails.
        """
        what = shown, libraries
        with self._lock:
            found = self._kept.get(what)
            job = self._jobs.get(what)
            if found is not None:
                self._kept.move_to_end(what)
                if found[0] == stamp:
                    return found[1]
                if job is not None:
                    return replace(found[1], refining=True)
            if job is None:
                if len(self._jobs) >= _MOST_MAKING:
                    raise BusyError(_RETRY_S)
                job = self._jobs[what] = Future()
                arguments = what, stamp, job
                threading.Thread(
                    target=self._make, args=arguments, name="vidsim-map", daemon=True
                ).start()
        return job.result()

    def close(self) -> None:
        """End the processes that make maps."""
        with self._lock:
            self._closed = True
            for child in self._children:
                child.kill()

    def _make(self, what: _What, stamp: str, job: Future[Map]) -> None:
        """Make a map, the quick one for those that wait for `job`, then the better one."""
        found: Map | None = None
        try:
            found = self._read(what, stamp)
            if found is None:
                with self._quick, self._process() as child:
                    found, components = self._begun(child, what)
                self._keep(what, stamp, found)
                job.set_result(found)
                with self._better, self._process() as child:
                    found = _bettered(child, found, components)
                self._write(what, stamp, found)
        except VidsimError as error:
            if not self._closed:  # else its process was ended
                _log.warning("The map of %s: %s", what[0], error)
            if not job.done():
                job.set_exception(error)
        finally:
            if found is not None:
                self._keep(what, stamp, replace(found, refining=False))
            if not job.done():
                job.cancel() if found is None else job.set_result(found)
            with self._lock:
                del self._jobs[what]

    def _begun(self, child: Child, what: _What) -> tuple[Map, FloatArray]:
        shown, libraries = what
        asked = {
            "home": str(self._home),
            "modalities": MODALITIES[shown],
            "libraries": libraries,
        }
        child.send("begin", asked)
        arrays = _answer(child, _QUICK_S)
        names = bytes(arrays["ids"]).decode()
        ids = names.split("\0") if names else []
        xy, of = _rounded(arrays["xy"]), arrays["clusters"].tolist()
        return Map("PCA", True, ids, *xy, of), arrays["components"]

    @contextmanager
    def _process(self) -> Iterator[Child]:
        with self._lock:
            if self._closed:
                raise WorkerError("The server is stopping; ask again once it runs.")
            child = Child(self._worker, None, _ENV, name="map", confinement=Confinement.COMPUTING)
            self._children.add(child)
        try:
            yield child
        finally:
            with self._lock:
                self._children.discard(child)
            child.close()

    def _keep(self, what: _What, stamp: str, found: Map) -> None:
        with self._lock:
            self._kept[what] = stamp, found
            self._kept.move_to_end(what)
            while len(self._kept) > _KEPT:
                self._kept.popitem(last=False)

    def _read(self, what: _What, stamp: str) -> Map | None:
        """Return the better map that an earlier server wrote; None where there is none."""
        file = self._files.opened(_file(what, stamp))
        if file is None:
            return None
        with file:
            try:
                return Map(**json.load(file))
            except (ValueError, TypeError):  # damaged: another is made
                return None

    def _write(self, what: _What, stamp: str, found: Map) -> None:
        data = json.dumps(asdict(replace(found, refining=False))).encode()
        with suppress(StoreError):  # it stays in memory
            self._files.made(_file(what, stamp, data)).close()


def _file(what: _What, stamp: str, data: bytes = b"") -> Wanted:
    def write(file: BinaryIO) -> None:
        file.write(data)

    return Wanted(stamp, f"map {what}", ".json", write)


def _bettered(child: Child, found: Map, components: FloatArray) -> Map:
    child.send("better", {}, {"components": components})
    x, y = _rounded(_answer(child, _BETTER_S)["xy"])
    return replace(found, method="t-SNE", x=x, y=y, refining=False)


def _answer(child: Child, within_s: float) -> Mapping[str, npt.NDArray[Any]]:
    message = child.receive(within_s)
    if message.kind == "failed":
        raise StoreError(str(message.fields["reason"]))
    return message.arrays


def _rounded(xy: FloatArray) -> tuple[list[float], list[float]]:
    """Return both axes, to a thousandth of a screen's width or so."""
    x, y = np.round(xy.T.astype(float), 4).tolist()
    return x, y
