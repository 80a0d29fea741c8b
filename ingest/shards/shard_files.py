"""Shards: HDF5 files that hold every embedding, and the catalog of their contents.

A shard is written to a temporary file, synced, and renamed into place, so it exists whole or not
at all. The shards of a library are numbered; where two hold the same video, the later one counts.
`Shards.drop` removes videos from the oldest shard first, so an interrupted run never brings an
outdated entry back.
"""

from __future__ import annotations

from collections.abc import Collection, Iterator, Mapping, Sequence
from contextlib import contextmanager, suppress
from dataclasses import replace
from pathlib import Path
from typing import TYPE_CHECKING, Self

from ...schemas.backbones import BACKBONES, Backbones
from ...schemas.embedding import EmbeddedVideo, Version
from ...schemas.errors import StoreError
from ..system.atomic_file import make_folder, whole_file
from ..system.unreadable import listed, unwritten
from ..system.written_h5 import written_h5
from . import manifest
from .catalog import CatalogEntry, join_entries, stored_weights
from .layout import (
    ALIGNMENT,
    entries_in,
    videos_in,
    weights_in,
    write_shard,
)
from .lock import writer
from .manifest import GIVEN_UP, MANIFEST, ShardNote, note_of, read_manifest, write_manifest
from .open_shard import (
    UnusableShardError,
    damage_told,
    is_shard,
    open_shard,
    reading_shard,
)
from .settled import ATTEMPTS, FileState, settled, state_of

if TYPE_CHECKING:  # a query may read no shard, and then need not load HDF5
    import h5py


class Shards:
    """All shards under one directory, one folder per library."""

    def __init__(self, directory: Path, backbones: Backbones = BACKBONES) -> None:
        """Open `directory`, without creating it yet; its rows are those of `backbones`."""
        self.directory = directory
        self.backbones = backbones
        self._pins: dict[Path, h5py.File] | None = None
        self._read: dict[str, tuple[list[FileState], dict[str, CatalogEntry]]] = {}
        self._entries: dict[str, dict[FileState, list[CatalogEntry]]] = {}

    def libraries(self) -> list[str]:
        """Return the names of the libraries that have a shard, or had one that is lost.

        Raises:
            StoreError: A folder of shards cannot be listed.
        """
        folders = listed(self.directory, f"The folder {self.directory}")
        return [f.name for f in folders if self.files(f.name) or manifest.missing(f, ())]

    def files(self, library: str) -> list[Path]:
        """Return the shards of `library`, oldest first.

        Raises:
            StoreError: Their folder cannot be listed.
        """
        folder = self.directory / library
        return [p for p in listed(folder, f"The folder {folder}") if is_shard(p.name)]

    def problems(self, library: str) -> list[str]:
        """Return a sentence per shard that is missing, unlisted or another than listed.

        Raises:
            StoreError: The folder or its list cannot be read.
        """
        folder = self.directory / library
        return settled(
            lambda: [*self.files(library), folder / MANIFEST],
            lambda: manifest.problems(
                folder, self.files(library), writer(self.directory.parent) is not None
            ),
        )

    def is_changed(self, path: Path) -> bool:
        """Return whether a shard's content is not what was written, reading all of it.

        Raises:
            StoreError: It cannot be read.
        """
        return bool(manifest.changed(path.parent, [path]))

    def is_replaced(self, path: Path) -> bool:
        """Return whether a shard is another than the one that was written, however intact.

        Raises:
            StoreError: It or the list cannot be read.
        """
        return bool(manifest.replaced(path.parent, [path]))

    def unlisted(self, library: str) -> list[str]:
        """Return the names of shards that are there and not listed, nor announced.

        Raises:
            StoreError: The folder or its list cannot be read.
        """
        return manifest.unlisted(self.directory / library, self.files(library))

    def missing(self, library: str) -> list[str]:
        """Return the names of shards that are listed and not there.

        Raises:
            StoreError: The folder or its list cannot be read.
        """
        return manifest.missing(self.directory / library, self.files(library))

    def videos_of_missing(self, library: str) -> int:
        """Return how many videos the shards held that are listed and not there.

        Raises:
            StoreError: The folder or its list cannot be read.
        """
        notes = read_manifest(self.directory / library) or {}
        return sum(notes[name].videos for name in self.missing(library))

    def held_by(self, library: str, names: Collection[str]) -> set[str]:
        """Return the backbones of which shards that are listed hold, or held, rows."""
        notes = read_manifest(self.directory / library) or {}
        return {backbone for name in names for backbone in notes[name].backbones}

    def stamp(self, library: str) -> str:
        """Return a text that changes with the shards of a library, and with nothing else.

        Raises:
            StoreError: Their folder or a shard cannot be read.
        """
        return manifest.stamp(self.directory / library, self.files(library))

    def adopt(
        self, library: str, changed: Collection[str] = (), damaged: Collection[str] = ()
    ) -> None:
        """List what an interrupted run had announced and written, or all where there is no list.

        Args:
            library: The library.
            changed: File names of others that were found to be whole, though not as listed.
            damaged: File names of damaged ones, which are told as missing once they are moved away.

        Raises:
            StoreError: The list cannot be read or written, or another shard lies in the place of
                one: what follows would take it for the truth.
        """
        for path in manifest.replaced(self.directory / library, self.files(library)):
            if path.name not in {*changed, *damaged}:
                raise StoreError(manifest.ANOTHER.format(path=path, library=library))
        self._list(library, {}, changed=changed, damaged=damaged)

    def finish_deletions(self, library: str) -> None:
        """Delete the shards that an interrupted run was about to delete.

        Raises:
            StoreError: The list cannot be read or written, or a shard not be deleted.
        """
        folder = self.directory / library
        if manifest.given_up(folder, read_manifest(folder) or {}):
            self.adopt(library)

    def settle(self, library: str) -> None:
        """List the shards as they are, after what was missing is stored again or given up.

        Raises:
            StoreError: A shard cannot be read, or the list not be written.
        """
        self._list(library, {}, keep_missing=False)

    def _list(
        self,
        library: str,
        written: Mapping[str, ShardNote | None],
        keep_missing: bool = True,
        changed: Collection[str] = (),
        damaged: Collection[str] = (),
    ) -> None:
        """Bring the list of a library's shards in step after a change.

        Args:
            library: The library.
            written: By file name, the notes of the shards written just now; None for one to
                delete.
            keep_missing: Whether to keep what is listed and not there, so that it is still told.
            changed: Names of shards to list as they are now.
            damaged: Names of shards to list though they cannot be read.
        """
        folder = self.directory / library
        files = {path.name: path for path in self.files(library)}
        try:
            before = read_manifest(folder)
            notes = manifest.carried_out(folder, before or {})
            notes = {name: n for name, n in notes.items() if name in files or keep_missing}
            notes = {name: n for name, n in notes.items() if name not in written}
            notes |= {name: note for name, note in written.items() if note is not None}
            others = set(files) if before is None else {*changed, *damaged}
            for name in others - written.keys():
                if name in damaged:
                    notes.setdefault(name, note_of(files[name], 0, ()))
                    continue
                with suppress(UnusableShardError), reading_shard(files[name]) as file:
                    count = len(file["videos/video_id"])
                    notes[name] = note_of(files[name], count, weights_in(file))
            gone = [files[name] for name, note in written.items() if note is None]
            if gone:  # a kill before they are deleted leaves that to the next command
                said = {path.name + GIVEN_UP: note_of(path, 0, ()) for path in gone}
                write_manifest(folder, notes | said)
            for path in [*gone, *manifest.given_up(folder, before or {})]:
                path.unlink(missing_ok=True)
            if gone or not manifest.is_written(folder, notes):
                write_manifest(folder, notes)
        except OSError as error:
            raise StoreError(unwritten(f"The list of shards in {folder}", error)) from error

    def catalog(self, library: str) -> dict[str, CatalogEntry]:
        """Return the entries of `library` by video id, in order of first appearance.

        Of its shards only those are read again that have changed.

        Raises:
            StoreError: A shard cannot be read.
        """
        for attempt in range(ATTEMPTS):
            if self._pins is not None and library in self._read:
                break
            stamp = self._state(library)
            if library in self._read and self._read[library][0] == stamp:
                break
            entries: dict[str, CatalogEntry] = {}
            try:
                read = {state: self._entries_of(library, state) for state in stamp}
            except StoreError:
                if attempt == ATTEMPTS - 1 or self._state(library) == stamp:
                    raise
                continue  # a writer has replaced or removed a shard meanwhile
            if self._state(library) == stamp:
                for of in read.values():
                    join_entries(entries, of)
                self._entries[library] = read
                self._read[library] = stamp, entries
                break
        else:
            raise StoreError(f"Shards of {library} change faster than they are read; ask again.")
        return dict(self._read[library][1])

    def _entries_of(self, library: str, state: FileState) -> list[CatalogEntry]:
        path = state[0]
        if self._pins is not None:
            if path in self._pins:
                self._pins[path].close()
            self._pins[path] = open_shard(path)
        elif (known := self._entries.get(library, {}).get(state)) is not None:
            return known
        with self._reading(path) as file:
            return entries_in(file, path)

    @contextmanager
    def pinned(self) -> Iterator[Self]:
        """Keep what is read within the block as it was when each library was first looked at.

        Its shards stay open, so that a writer may replace or remove them meanwhile.
        """
        self._pins, self._read = {}, {}
        try:
            yield self
        finally:
            for file in self._pins.values():
                file.close()
            self._pins = None

    @contextmanager
    def _reading(self, path: Path) -> Iterator[h5py.File]:
        pinned = self._pins and self._pins.get(path)
        if not pinned:
            with reading_shard(path) as file:
                yield file
            return
        with damage_told(path):
            yield pinned

    def _state(self, library: str) -> list[FileState]:
        return state_of(self.files(library))

    def write(
        self,
        library: str,
        videos: Sequence[EmbeddedVideo],
        weights: Mapping[str, str] | None = None,
    ) -> Path:
        """Write `videos` as one new shard and return its path.

        `weights` are the SHA-256 of the backbones' weights, None for the installed ones.

        Raises:
            StoreError: The disk is full or cannot be written.
        """
        directory = self.directory / library
        try:
            make_folder(directory)
            for stale in directory.glob("*.partial"):
                stale.unlink()
            # Not the number of one that is missing: it may be put back.
            known = {*(read_manifest(directory) or {}), *(p.name for p in self.files(library))}
            number = max((int(name.partition(".")[0]) for name in known), default=0) + 1
            path = directory / f"{number:06d}.h5"
            if weights is None:
                from ..models.weights import (
                    digests,  # archives and downloads, which reading does not need
                )

                names = set().union(*(v.backbones for v in videos))
                weights = {n: digests(self.backbones[n]) for n in names}
            self._write_whole(path, library, videos, weights)
            note = note_of(path, len(videos), weights)
        except OSError as error:
            raise StoreError(unwritten(f"The shard in {directory}", error)) from error
        self._list(library, {path.name: note})
        return path

    def read(
        self,
        entries: Collection[CatalogEntry],
        backbones: Collection[str] | None = None,
    ) -> Iterator[EmbeddedVideo]:
        """Yield the stored `entries` with their vectors, shard by shard.

        A video whose backbones lie in several shards comes once per shard.

        Args:
            entries: From `catalog`.
            backbones: Rows to load; None for all.
        """
        wanted: dict[Path, dict[str, set[str]]] = {}
        for entry in entries:
            for backbone, path in entry.shards.items():
                if backbones is None or backbone in backbones:
                    wanted.setdefault(path, {}).setdefault(entry.video.video_id, set()).add(
                        backbone
                    )
        for path in sorted(wanted):
            with self._reading(path) as file:
                yield from videos_in(file, wanted[path])

    def weights(self, library: str, backbone: str) -> str:
        """Return the `stored_weights` of a backbone; "" where there are no such rows."""
        return stored_weights(self.catalog(library)).get(backbone, "")

    def drop(self, library: str, keep: Mapping[str, Version | None]) -> None:
        """Remove videos from the shards permanently.

        Raises:
            StoreError: A shard cannot be read or written.

        Args:
            library: The library.
            keep: By video id, the version to keep: the id's entries of other versions are
                removed. None keeps none. Other ids are left alone.
        """
        for path in self.files(library):
            with reading_shard(path) as file:
                entries, weights = entries_in(file, path), weights_in(file)
            staying = [
                e
                for e in entries
                if e.video.video_id not in keep or keep[e.video.video_id] == e.version
            ]
            if len(staying) == len(entries):
                continue
            names = {e.video.video_id: set(e.rows) for e in staying}
            videos: list[EmbeddedVideo] = []
            if staying:
                with reading_shard(path) as file:
                    videos = list(videos_in(file, names))
            try:
                if staying:
                    self._write_whole(path, library, videos, weights)
                    self._list(library, {path.name: note_of(path, len(videos), weights)})
                else:
                    self._list(library, {path.name: None})
            except OSError as error:
                raise StoreError(unwritten(f"The shard {path}", error)) from error
        directory = self.directory / library
        with suppress(OSError):  # it is not empty, or a file manager holds it
            directory.rmdir()

    def relabel(self, library: str, labels: Mapping[str, str]) -> None:
        """Give videos other labels, in every shard that holds them.

        Args:
            library: The library.
            labels: By video id.

        Raises:
            StoreError: A shard cannot be read or written.
        """
        for path in self.files(library):
            with reading_shard(path) as file:
                entries, weights = entries_in(file, path), weights_in(file)
                stored = {e.video.video_id: e.video.label for e in entries}
                if stored == {
                    video_id: labels.get(video_id, stored[video_id]) for video_id in stored
                }:
                    continue
                videos = list(videos_in(file, {e.video.video_id: set(e.rows) for e in entries}))
            self.replace(library, [path], [_relabelled(v, labels) for v in videos], weights)

    def replace(
        self,
        library: str,
        files: Sequence[Path],
        videos: Sequence[EmbeddedVideo],
        weights: Mapping[str, str],
    ) -> None:
        """Write the videos of several adjacent shards into the last of them; delete the others.

        Raises:
            StoreError: A shard cannot be written or deleted.
        """
        *others, path = files
        try:
            self._write_whole(path, library, videos, weights)
            note = note_of(path, len(videos), weights)
            self._list(library, {path.name: note, **{other.name: None for other in others}})
        except OSError as error:
            raise StoreError(unwritten(f"The shard {path}", error)) from error

    def _write_whole(
        self,
        path: Path,
        library: str,
        videos: Sequence[EmbeddedVideo],
        weights: Mapping[str, str],
    ) -> None:
        """Write a shard; `weights` are the SHA-256 of its backbones' weights."""
        aligned = {"alignment_threshold": ALIGNMENT, "alignment_interval": ALIGNMENT}
        with whole_file(path, sync=True) as partial:
            with written_h5(partial, libver="latest", **aligned) as file:
                write_shard(file, library, videos, weights, self.backbones)
            manifest.announce(path, note_of(partial, len(videos), weights))


def _relabelled(video: EmbeddedVideo, labels: Mapping[str, str]) -> EmbeddedVideo:
    label = labels.get(video.video.video_id, video.video.label)
    return replace(video, video=replace(video.video, label=label))


def add_entries(catalog: dict[str, CatalogEntry], path: Path) -> None:
    """Add the entries of the newest shard to a catalog.

    Raises:
        StoreError: The shard cannot be read.
    """
    with reading_shard(path) as file:
        join_entries(catalog, entries_in(file, path))
