"""What the server measures of itself, for Prometheus: queries, their queue, jobs, library sizes."""

from __future__ import annotations

import time
from collections import Counter as Counted
from collections.abc import Callable, Iterator, Mapping
from contextlib import contextmanager
from pathlib import Path

from prometheus_client import CollectorRegistry, Counter, Histogram, generate_latest
from prometheus_client.core import GaugeMetricFamily, Metric
from prometheus_client.process_collector import ProcessCollector
from prometheus_client.registry import Collector

from ....ingest.shards.home import LibraryNote, read_notes
from ....schemas.errors import StoreError
from ..clips.uploads import Uploads
from ..http.turns import Turns
from ..jobs.job import STATES
from ..jobs.jobs import Jobs

CONTENT_TYPE = "text/plain; version=0.0.4; charset=utf-8"
"""Of Prometheus' text format (prometheus.io/docs/instrumenting/exposition_formats)."""

_BUCKETS_S = (0.005, 0.01, 0.025, 0.05, 0.1, 0.25, 0.5, 1, 2.5, 5, 10, 30, 60)
"""A stored video is answered in some 10 ms, a new clip in about a second."""

Values = Callable[[], float | Mapping[str, float]]
"""Called at each look: a number, or numbers by the value of a label."""


class Meters:
    """Counts and times of one server, in a registry of its own."""

    def __init__(self, home: Path) -> None:
        """Begin to count.

        Args:
            home: The home of the libraries whose sizes are told.
        """
        self._registry = CollectorRegistry()
        self._queries = Counter(
            "vidsim_queries",
            "Queries by kind, and ok or the kind of the error.",
            ("kind", "outcome"),
            registry=self._registry,
        )
        self._seconds = Histogram(
            "vidsim_query_seconds",
            "Time of queries from their arrival to their answer, waiting included.",
            ("kind",),
            buckets=_BUCKETS_S,
            registry=self._registry,
        )
        ProcessCollector(registry=self._registry)  # memory, processor time, open files
        self._registry.register(_Libraries(home))

    @contextmanager
    def query(self, kind: str) -> Iterator[None]:
        """Count and time what a query does; its errors go on.

        Args:
            kind: Of the query: by an ``upload``, by a ``stored`` video, a ``comparison``.
        """
        began, outcome = time.monotonic(), "ok"
        try:
            yield
        except BaseException as error:  # one whose client went away is cancelled
            outcome = type(error).__name__
            raise
        finally:
            self._queries.labels(kind, outcome).inc()
            self._seconds.labels(kind).observe(time.monotonic() - began)

    def watch(self, name: str, about: str, values: Values, label: str = "") -> None:
        """Tell a value as it is at each look.

        Args:
            name: Of the metric, with its unit, such as ``vidsim_uploads``.
            about: A sentence about it.
            values: Returns it.
            label: Name of the label, where it returns several.
        """
        self._registry.register(_Watched(name, about, values, label))

    def text(self) -> bytes:
        """Return all values in Prometheus' text format."""
        return generate_latest(self._registry)


class _Watched(Collector):
    def __init__(self, name: str, about: str, values: Values, label: str) -> None:
        self._name, self._about, self._values, self._label = name, about, values, label

    def describe(self) -> Iterator[Metric]:
        yield GaugeMetricFamily(self._name, self._about)

    def collect(self) -> Iterator[Metric]:
        found = self._values()
        if isinstance(found, Mapping):
            family = GaugeMetricFamily(self._name, self._about, labels=[self._label])
            for value, number in found.items():
                family.add_metric([value], number)
        else:
            family = GaugeMetricFamily(self._name, self._about, found)
        yield family


class _Libraries(Collector):
    """What libraries hold, from the notes beside their shards, without a look at the videos."""

    _SIZES: Mapping[str, tuple[str, Callable[[LibraryNote], float]]] = {
        "vidsim_library_videos": ("Stored videos.", lambda note: note.videos),
        "vidsim_library_segments": ("Segments of stored videos.", lambda note: note.segments),
        "vidsim_library_seconds": ("Length of stored videos.", lambda note: note.seconds),
    }

    def __init__(self, home: Path) -> None:
        self._home = home

    def describe(self) -> Iterator[Metric]:
        for name, (about, _) in self._SIZES.items():
            yield GaugeMetricFamily(name, about)

    def collect(self) -> Iterator[Metric]:
        notes: Mapping[str, LibraryNote] = {}
        readable = True
        try:
            notes = read_notes(self._home)
        except StoreError:
            readable = False
        for name, (about, size) in self._SIZES.items():
            family = GaugeMetricFamily(name, about, labels=["library"])
            for library, note in notes.items():
                family.add_metric([library], size(note))
            yield family
        rows = GaugeMetricFamily("vidsim_library_rows", "Rows.", labels=["library", "backbone"])
        for library, note in notes.items():
            for backbone, counts in note.counts.items():
                rows.add_metric([library, backbone], counts.get("rows", 0))
        yield rows
        yield GaugeMetricFamily(
            "vidsim_home_readable", "Whether the home could be read.", float(readable)
        )


def metered(home: Path, turns: Turns, uploads: Uploads, jobs: Jobs) -> Meters:
    """Return meters that tell of the queue, the uploads and the jobs, too."""
    meters = Meters(home)
    meters.watch("vidsim_queries_running", "Queries that run now.", lambda: turns.running)
    meters.watch(
        "vidsim_queries_waiting", "Queries that wait now.", lambda: turns.inside - turns.running
    )
    meters.watch("vidsim_uploads", "Uploads that are kept.", lambda: len(uploads))

    def by_state() -> Mapping[str, float]:
        return {**dict.fromkeys(STATES, 0.0), **Counted(job.state for job in jobs.all())}

    meters.watch("vidsim_jobs", "Ingests that are known, by state.", by_state, "state")
    return meters
