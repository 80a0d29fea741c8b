"""The child process of an ingest job.

It ends with the server (`worker_process`); what it finished until then is stored, and the next
ingest of the folder goes on from there.
"""

from __future__ import annotations

import gc
import os
import signal
import sys
import time
import traceback
from pathlib import Path
from threading import Event, Thread
from typing import Any

import numpy as np

from ....ingest.shards.home import Place
from ....ingest.shards.lock import holder
from ....ingest.system.channel import Channel
from ....ingest.system.step import Step
from ....schemas.errors import VidsimError
from ...library import Library
from .steps import Stages

_NICE = 5
"""By how much its priority is lower than the server's, whose queries are waited for (a choice)."""

_TELL_S = 0.25
"""Least time between two messages: what people see need not change faster."""

_AT_LEAST_S = 5.0
"""Most time between two messages while it works."""

_LOOK_S = 1.0
"""Time between two looks at who holds the home's lock."""


def main(channel: Channel) -> None:
    """Run one ingest: ``steps`` while it works, then ``done``, ``failed`` or ``stopped``."""
    os.nice(_NICE)
    gc.set_threshold(100_000)  # as `cli.main` does
    asked = channel.receive().fields
    place = place_of(asked["place"])
    teller = _Teller(channel, place.home)
    signal.signal(signal.SIGINT, teller.interrupt)
    channel.send("begun")
    try:
        teller.start()
        try:
            with Library(place, teller.take) as library:
                report = library.ingest(
                    asked["folder"], library=asked["library"], **asked["arguments"]
                )
        finally:
            teller.stop()
    except KeyboardInterrupt:
        channel.send("stopped")
    except VidsimError as error:
        channel.send("failed", {"kind": type(error).__name__, "message": str(error)})
    except Exception as error:
        traceback.print_exc(file=sys.stderr)
        said = f"The ingest failed unexpectedly ({type(error).__name__}: {error})"
        channel.send("failed", {"kind": "InternalError", "message": f"{said}; please report it."})
    else:
        data = np.frombuffer(report.model_dump_json().encode(), np.uint8)
        channel.send("done", {}, {"report": data})  # a header may hold less


def fields_of(place: Place) -> dict[str, Any]:
    """Return a place as JSON values."""
    return {
        name: str(value) if isinstance(value, Path) else value
        for name, value in vars(place).items()
    }


def place_of(fields: dict[str, Any]) -> Place:
    """Return the place that `fields_of` packed."""
    paths = ("home", "ca_cert", "client_cert", "client_key")
    unpacked = {name: Path(fields[name]) for name in paths if fields[name] is not None}
    return Place(**{**fields, **unpacked})


class _Teller:
    """Tells the server from a thread of its own how far the ingest is."""

    def __init__(self, channel: Channel, home: Path) -> None:
        self._channel = channel
        self._home = home
        self._stages = Stages()
        self._changed = False
        self._waiting = ""
        self._running = True
        self._interrupted = False
        self._ended = Event()
        self._thread = Thread(target=self._tell, name="vidsim-teller", daemon=True)

    def start(self) -> None:
        """Begin to tell."""
        self._thread.start()

    def stop(self) -> None:
        """Tell what has not been told, and end."""
        self._running = False
        self._ended.set()
        self._thread.join()
        self._send()

    def take(self, step: Step) -> None:
        """Note a step; called from whichever thread works."""
        if self._interrupted and not step.finished:  # C code may swallow the signal's exception
            raise KeyboardInterrupt
        self._stages.take(step)
        self._changed = True

    def interrupt(self, *_: object) -> None:
        """End the ingest, which finishes what it is writing."""
        if self._running:
            self._interrupted = True
            raise KeyboardInterrupt

    def _tell(self) -> None:
        told = looked = 0.0
        while not self._ended.wait(_TELL_S):
            now = time.monotonic()
            if not self._stages and now - looked > _LOOK_S:
                self._look()
                looked = time.monotonic()
            if self._changed or now - told > _AT_LEAST_S:
                try:
                    self._send()
                except OSError:  # the server is gone
                    self._interrupted = True
                    return
                told = now

    def _look(self) -> None:
        """Notice whether another process holds the home's lock, which the ingest waits for."""
        found = holder(self._home)
        waiting = "" if found is None or found.pid == os.getpid() else str(found)
        self._changed = self._changed or waiting != self._waiting
        self._waiting = waiting

    def _send(self) -> None:
        self._changed = False
        steps = [stage.model_dump() for stage in self._stages.now()]
        waiting = "" if steps else self._waiting
        self._channel.send("steps", {"steps": steps, "waiting": waiting})
