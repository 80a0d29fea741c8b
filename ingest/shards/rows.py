"""Random access to the rows of a few videos in the shards.

What a Milvus lacks of the videos of an answer is read from here: a few pages of a shard.
"""

from __future__ import annotations

import logging
import os
from collections import OrderedDict
from collections.abc import Collection, Mapping
from pathlib import Path

import numpy as np

from ...schemas.backbones import Backbone
from ...schemas.embedding import Version
from ...schemas.errors import StoreError
from ..system.unreadable import too_many_files
from .open_shard import DAMAGE, is_shard, open_shard, texts
from .opened import FoundRows, OpenShard, opened
from .shard_files import Shards

_log = logging.getLogger(__name__)

_OPEN_SHARDS = 256
"""Shards kept open: all that an ingest of UCF101 writes, and a quarter of the usual limit of open
files per process."""

_MOST_SHARDS = 1000
"""Most shards per library. The first look into one of 1,000 videos took 0.8 ms."""

_State = tuple[str, int, int]
"""The path of a file, and the values that change when it is replaced."""


class ShardRows:
    """Rows by video; a replaced shard is noticed at the next call."""

    def __init__(self, directory: Path) -> None:
        """Read the shards under `directory`, which need not exist."""
        self._shards = Shards(directory)
        self._known: dict[str, list[_State]] = {}
        self._places: dict[_State, dict[str, int]] = {}
        self._open: OrderedDict[_State, OpenShard] = OrderedDict()
        self._told: set[str] = set()

    def find(self, backbone: Backbone, video_ids: Collection[str]) -> dict[str, FoundRows]:
        """Return the rows of a backbone by video, without videos that are in no shard.

        Libraries with an unreadable shard are left out, as are those with so many shards that
        opening each would take long: Milvus may have their rows.
        """
        found: dict[str, FoundRows] = {}
        for library in {video_id.partition("/")[0] for video_id in video_ids}:
            ids = {video_id for video_id in video_ids if video_id.startswith(f"{library}/")}
            try:
                found |= self._find(library, backbone, ids)
            except FileNotFoundError:
                pass  # a library of another machine, or a shard replaced just now
            except (StoreError, *DAMAGE) as error:
                if too_many_files(error):
                    self.close()  # Milvus needs file handles too
                if str(error) not in self._told:
                    self._told.add(str(error))
                    _log.warning(
                        "The rows of %s come from Milvus, as a shard is not read (%s).",
                        library,
                        str(error).rstrip("."),
                    )
        return found

    def close(self) -> None:
        """Close all open shards; may be called again."""
        while self._open:
            self._open.popitem()[1].file.close()

    def _find(self, library: str, backbone: Backbone, ids: set[str]) -> Mapping[str, FoundRows]:
        found: dict[str, FoundRows] = {}
        newest: dict[str, Version] = {}
        sought = set(ids)
        states = self._states(library)
        self._forget(library, states)
        if len(states) > _MOST_SHARDS:
            return found
        for state in reversed(states):
            places = self._places_in(state)
            for video_id in sought & places.keys():
                shard = self._opened(state)
                if shard.videos[places[video_id]].video_id != video_id:
                    raise StoreError(f"{state[0]} is being written anew; ask again.")
                version = shard.version(places[video_id])
                if newest.setdefault(video_id, version) != version:
                    sought.remove(video_id)  # it was rewritten without this backbone
                elif (rows := shard.rows(backbone, places[video_id])) is not None:
                    found[video_id] = rows
                    sought.remove(video_id)
            if not sought:
                break
        return found

    def _states(self, library: str) -> list[_State]:
        """Return the current state of a library's shards, oldest first.

        It avoids pathlib, which for some hundred shards takes longer than a search.
        """
        with os.scandir(self._shards.directory / library) as entries:
            shards = [entry for entry in entries if is_shard(entry.name)]
            return sorted((e.path, e.stat().st_ino, e.stat().st_mtime_ns) for e in shards)

    def _forget(self, library: str, states: list[_State]) -> None:
        """Forget shards of the library that no longer exist."""
        for state in set(self._known.get(library, ())) - set(states):
            self._places.pop(state, None)
            if stale := self._open.pop(state, None):
                stale.file.close()
        self._known[library] = states

    def _places_in(self, state: _State) -> dict[str, int]:
        if state not in self._places:
            with open_shard(Path(state[0]), patience_s=0) as file:
                names = texts(file["videos/video_id"])
            self._places[state] = {name: place for place, name in enumerate(names)}
        return self._places[state]

    def _opened(self, state: _State) -> OpenShard:
        if state not in self._open:
            if len(self._open) == _OPEN_SHARDS:
                self._open.popitem(last=False)[1].file.close()
            self._open[state] = opened(Path(state[0]), patience_s=0)
        self._open.move_to_end(state)
        return self._open[state]


def in_order(backbone: Backbone, found: Mapping[str, FoundRows]) -> FoundRows:
    """Join the rows of several videos, ordered by the videos' ids."""
    parts = [found[video_id] for video_id in sorted(found)]
    vectors = [np.empty((0, backbone.dim), np.float32), *(vectors for _, vectors in parts)]
    return [row for rows, _ in parts for row in rows], np.concatenate(vectors)
