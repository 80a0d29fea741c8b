"""The searched vectors of a home, mapped into memory from its shards.

A shard is replaced whole or not at all, and an open one stays as it was: so any number of processes
may read while another one writes. What they see is what was finished when they opened it.
"""

from __future__ import annotations

import logging
import os
from collections.abc import Callable, Collection, Iterable, Iterator, Mapping
from concurrent.futures import ThreadPoolExecutor
from contextlib import suppress
from dataclasses import dataclass, field
from pathlib import Path
from typing import TypeVar

import numpy as np
import numpy.typing as npt

from ...schemas.backbones import Backbone
from ...schemas.embedding import FloatArray, Version, from_index
from ...schemas.errors import StoreError
from ...schemas.rows import SCALARS, Hit, StoredRow
from ..system.blas import single_threaded_blas
from ..system.unreadable import hindrance, listed, told
from .home import Home
from .manifest import LISTS
from .open_shard import DAMAGE, UnusableShardError, is_shard
from .opened import FoundRows, OpenShard, opened
from .row_filter import RowFilter
from .searched_part import SearchedPart, nearest
from .settled import ATTEMPTS

_log = logging.getLogger(__name__)

_Item = TypeVar("_Item")
_Result = TypeVar("_Result")

_Entry = tuple[str, int, int, int]
"""Name, inode, time and size of a file in a library's folder: others once it is replaced."""


@dataclass
class _Library:
    """A library's shards as they were opened together.

    Attributes:
        state: The entries of its shards, and of their list.
        shards: By entry, oldest first; without those that cannot be read.
        newest: Versions of the videos that several shards hold.
        problems: Sentences about what cannot be read.
    """

    state: tuple[_Entry, ...]
    shards: dict[_Entry, OpenShard] = field(default_factory=dict)
    newest: dict[str, Version] = field(default_factory=dict)
    problems: list[str] = field(default_factory=list)

    def open(self) -> list[OpenShard]:
        """Return its shards, oldest first."""
        return list(self.shards.values())


class SearchedVectors:
    """What can be searched in a home, as of the last `refresh`.

    Attributes:
        known: The home's backbones by name.
    """

    def __init__(self, home: Home) -> None:
        """Look at the shards of `home`, which need not exist."""
        self._home = home
        self._directory = home.shards.directory
        self._shards = home.shards
        self.known = home.backbones
        self._libraries: dict[str, _Library] = {}
        self._places: dict[str, list[tuple[OpenShard, int]]] = {}
        self._parts: dict[str, list[SearchedPart]] = {}
        self._damaged: dict[tuple[str, str, str], str] = {}
        self._pool = ThreadPoolExecutor(os.cpu_count(), "vidsim-search")
        self.refresh()

    def refresh(self) -> None:
        """Take in what has been written or removed since.

        Raises:
            StoreError: The folder of shards cannot be listed.
        """
        before = self._libraries
        states = self._states()
        if states == {name: library.state for name, library in before.items()}:
            return
        for attempt in range(ATTEMPTS):
            found: dict[str, _Library] = {}
            try:
                for name, state in states.items():
                    kept = before[name].shards if name in before else {}
                    found[name] = self._opened(name, state, kept)
                again = self._states()
            except StoreError:
                again = self._states()
                if again == states or attempt == ATTEMPTS - 1:
                    _close_others(found, before)
                    raise
            if again == states:
                break
            _close_others(found, before)  # a writer has replaced or removed a shard meanwhile
            states = again
        else:
            raise StoreError(
                f"The shards in {self._directory} change faster than they can be opened; ask again."
            )
        self._libraries = found
        _close_others(before, found)
        self._parts, self._damaged, self._places = {}, {}, {}
        for library in self._libraries.values():
            several = set()
            for shard in reversed(library.open()):
                for place, video in enumerate(shard.videos):
                    places = self._places.setdefault(video.video_id, [])
                    places.append((shard, place))
                    if len(places) > 1:
                        several.add(video.video_id)
            for video_id in several:
                shard, place = self._places[video_id][0]
                library.newest[video_id] = shard.version(place)

    def _states(self) -> dict[str, tuple[_Entry, ...]]:
        folders = listed(self._directory, f"The folder {self._directory}")
        states = {path.name: _state(path) for path in folders}
        return {name: state for name, state in states.items() if state}

    def _opened(
        self, name: str, state: tuple[_Entry, ...], kept: Mapping[_Entry, OpenShard]
    ) -> _Library:
        library = _Library(state, problems=self._shards.problems(name))
        for entry in state:
            if not is_shard(entry[0]):
                continue
            try:
                library.shards[entry] = kept.get(entry) or opened(self._directory / name / entry[0])
            except UnusableShardError as error:
                library.problems.append(f"{str(error).rstrip('.')}. Its videos are not searched.")
        names = {n for shard in library.open() for n in shard.row_counts}
        if names - self.known.keys():  # registered since
            self.known = Home(self._home.place).backbones
        unknown = names - self.known.keys()
        library.problems += [
            f"{name} rows of the library are not compared: backbones/{name}.json, which describes "
            "it, is missing; name the network once more, with 'vidsim ingest FOLDER --model'."
            for name in sorted(unknown)
        ]
        return library

    def close(self) -> None:
        """Close the shards, and end the threads."""
        self._pool.shutdown()
        for library in self._libraries.values():
            for shard in library.open():
                shard.file.close()
        self._libraries, self._places, self._parts = {}, {}, {}

    def problems(self, libraries: Collection[str], backbones: Collection[str]) -> list[str]:
        """Return sentences about what of these libraries and backbones could not be read so far."""
        found = [p for name in libraries if (of := self._libraries.get(name)) for p in of.problems]
        return found + [
            sentence
            for (library, _, backbone), sentence in self._damaged.items()
            if library in libraries and backbone in backbones
        ]

    def weights(self) -> dict[str, dict[str, str]]:
        """Return what the rows of each library were computed with.

        Returns:
            By library and backbone (those that it has rows of), a SHA-256 as `stored_weights`
            gives it.
        """
        found: dict[str, dict[str, set[str]]] = {}
        for name, library in sorted(self._libraries.items()):
            found[name] = {}
            for shard in library.open():
                for backbone, digest in shard.weights.items():
                    if shard.row_counts[backbone]:
                        found[name].setdefault(backbone, set()).add(digest)
        return {
            name: {backbone: ";".join(sorted(of - {""})) for backbone, of in held.items()}
            for name, held in found.items()
        }

    def backbones(self) -> list[Backbone]:
        """Return the backbones that some shard holds rows of."""
        names = {n for of in self._libraries.values() for s in of.open() for n in s.weights}
        return [b for b in self.known.values() if b.name in names]

    def knows(self, video_id: str) -> bool:
        """Return whether a video of this id is stored."""
        return video_id in self._places

    def ids(self) -> Collection[str]:
        """Return the ids of all stored videos."""
        return self._places.keys()

    def count(self, backbone: Backbone, wanted: RowFilter | None = None) -> int:
        """Count the searched rows of `backbone` that match."""
        masks = ((part, part.mask(wanted)) for part in self.parts(backbone))
        return sum(len(p.owner) if mask is None else int(mask.sum()) for p, mask in masks)

    def search(
        self, backbone: Backbone, queries: FloatArray, limit: int, wanted: RowFilter | None = None
    ) -> list[list[Hit]]:
        """Return the searched rows nearest to each query by inner product, best first.

        Args:
            backbone: Whose rows to search.
            queries: (nq, dim) float32 in the form of `schemas.embedding.to_query`.
            limit: Most rows per query.
            wanted: Which rows count; None for all.
        """
        parts = self.parts(backbone)
        found = self._spread(lambda part: nearest(part, queries, limit, wanted), parts)
        scores = np.concatenate([np.empty((len(queries), 0)), *(s for s, _ in found)], axis=1)
        rows = np.concatenate([np.empty((len(queries), 0), int), *(r for _, r in found)], axis=1)
        of_part = np.repeat(np.arange(len(parts)), [s.shape[1] for s, _ in found])
        best = np.argsort(-scores, axis=1, kind="stable")[:, :limit]
        return [
            [
                Hit(parts[of_part[n]].id(row), parts[of_part[n]].video_id(row), score)
                for n, row, score in zip(places, row_of[places].tolist(), of[places].tolist())
            ]
            for places, row_of, of in zip(best, rows, scores)
        ]

    def largest_products(
        self, backbone: Backbone, queries: FloatArray, video_ids: Collection[str]
    ) -> tuple[list[str], FloatArray]:
        """Return, per query and video, the largest inner product over the video's rows.

        Args:
            backbone: Backbone whose rows to compare.
            queries: (nq, dim) float32 in the form of `schemas.embedding.to_query`.
            video_ids: The videos; those without such a row are left out.

        Returns:
            Ids of the n videos, ascending, and the products (nq, n) float32.
        """
        best: dict[str, FloatArray] = {}
        for part, rows in self._rows_of(backbone, video_ids):
            products = queries @ part.rows.vectors[rows].T
            first = np.flatnonzero(np.diff(part.owner[rows], prepend=-1))
            for row, largest in zip(
                rows[first].tolist(), np.maximum.reduceat(products, first, axis=1).T
            ):
                best[part.video_id(row)] = largest
        ids = sorted(best)
        if not ids:
            return [], np.empty((len(queries), 0), np.float32)
        return ids, np.stack([best[i] for i in ids], axis=1)

    def fetch(self, backbone: Backbone, video_ids: Collection[str]) -> dict[str, FoundRows]:
        """Return all rows of videos, by id; of a damaged shard, what is searched of them."""
        found: dict[str, FoundRows] = {}
        for video_id in video_ids:
            for shard, place in self._places.get(video_id, ()):
                newest = self._libraries[shard.path.parent.name].newest.get(video_id)
                if newest is not None and shard.version(place) != newest:
                    break  # it was stored anew without this backbone
                try:
                    rows = shard.rows(backbone, place)
                except DAMAGE as error:
                    self._note_damage(shard, backbone, error)
                    rows = self._searched_rows(backbone, video_id)
                if rows is not None:
                    found[video_id] = rows
                    break
        return found

    def _searched_rows(self, backbone: Backbone, video_id: str) -> FoundRows | None:
        for part, rows in self._rows_of(backbone, [video_id]):
            columns = [part.column(name)[rows].tolist() for name in SCALARS]
            stored = [StoredRow(*values) for values in zip(*columns)]
            return stored, from_index(backbone, part.rows.vectors[rows])
        return None

    def _rows_of(
        self, backbone: Backbone, video_ids: Collection[str]
    ) -> Iterator[tuple[SearchedPart, npt.NDArray[np.int64]]]:
        """Yield, per shard, the rows of videos, video by video."""
        places: dict[int, list[int]] = {}
        for video_id in video_ids:
            for shard, place in self._places.get(video_id, ()):
                places.setdefault(id(shard), []).append(place)
        for part in self.parts(backbone):
            of_part = sorted(places.get(id(part.shard), ()))
            begin = np.searchsorted(part.owner, of_part)
            end = np.searchsorted(part.owner, of_part, side="right")
            rows = np.concatenate([np.arange(0), *map(np.arange, begin, end)]).astype(np.int64)
            if part.live is not None:
                rows = rows[part.live[rows]]
            if len(rows):
                yield part, rows

    def parts(self, backbone: Backbone) -> list[SearchedPart]:
        """Return the parts of a backbone, opened and checked at the first call."""
        if backbone.name not in self._parts:
            shards = [s for of in self._libraries.values() for s in of.open()]
            parts = self._spread(lambda shard: self._part(shard, backbone), shards)
            self._parts[backbone.name] = [part for part in parts if part is not None]
        return self._parts[backbone.name]

    def _spread(self, do: Callable[[_Item], _Result], items: Iterable[_Item]) -> list[_Result]:
        """Do something with each shard, one per core.

        Numpy's own threads would wait for each other at every shard, for tens of milliseconds
        each where another process computes.
        """
        with single_threaded_blas():
            return list(self._pool.map(do, items))

    def _part(self, shard: OpenShard, backbone: Backbone) -> SearchedPart | None:
        if backbone.name not in shard.weights:
            return None
        try:
            rows = shard.searched(backbone)
            owner = shard.owner[rows.of_row]
            live = self._live(shard, backbone, owner)
        except DAMAGE as error:
            self._note_damage(shard, backbone, error)
            return None
        return SearchedPart(shard, rows, owner, live)

    def _live(
        self, shard: OpenShard, backbone: Backbone, owner: npt.NDArray[np.int32]
    ) -> npt.NDArray[np.bool_] | None:
        library = self._libraries[shard.path.parent.name]
        if not library.newest:
            return None
        dead = [
            place
            for place in shard.computed(backbone.name)
            if (version := library.newest.get(shard.videos[place].video_id)) is not None
            and (version != shard.version(place) or self._is_newer(shard, backbone, place))
        ]
        return ~np.isin(owner, dead) if dead else None

    def _is_newer(self, shard: OpenShard, backbone: Backbone, place: int) -> bool:
        """Return whether a newer shard holds this backbone of a video too."""
        for other, there in self._places[shard.videos[place].video_id]:
            if other is shard:
                return False
            try:
                if there in other.computed(backbone.name):
                    return True
            except DAMAGE as error:  # nothing is wrong with this shard's rows
                self._note_damage(other, backbone, error)
        return False

    def _note_damage(self, shard: OpenShard, backbone: Backbone, error: BaseException) -> None:
        if (found := hindrance(error)) is not None:  # nothing is wrong with the shard
            raise StoreError(found.sentence(f"The shard {shard.path}")) from error
        why = str(error).rstrip(".")
        _log.warning("%s, %s: %s", shard.path, backbone.name, why)
        library = shard.path.parent.name
        self._damaged[library, shard.path.name, backbone.name] = (
            f"The shard {shard.path} is damaged ({why}): its {backbone.modality} rows are not or "
            f"not wholly compared; 'vidsim verify {library}' says more."
        )


def _state(folder: Path) -> tuple[_Entry, ...]:
    """Return the entries of a library's folder; none where it is no folder or was just removed.

    Raises:
        StoreError: It cannot be listed.
    """
    found = []
    with told(f"The folder {folder}"):
        try:
            with os.scandir(folder) as entries:
                names = [e.name for e in entries if is_shard(e.name) or e.name in LISTS]
        except (FileNotFoundError, NotADirectoryError):
            return ()
        for name in names:
            with suppress(FileNotFoundError):  # removed just now
                stat = os.stat(folder / name)
                found.append((name, stat.st_ino, stat.st_mtime_ns, stat.st_size))
    return tuple(sorted(found))


def _close_others(libraries: Mapping[str, _Library], but: Mapping[str, _Library]) -> None:
    """Close the shards of `libraries` that are not also open in the others."""
    kept = {id(shard) for library in but.values() for shard in library.open()}
    for library in libraries.values():
        for shard in library.open():
            if id(shard) not in kept:
                shard.file.close()
