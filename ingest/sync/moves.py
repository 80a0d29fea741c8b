"""Files renamed or moved, within their library or from another one, recognised by their content.

Their embeddings are written under the new id before the old id is removed, so both exist for a
moment. A list beside the shards records the ids to remove, and survives a kill.
"""

from __future__ import annotations

import logging
from collections import deque
from collections.abc import Collection, Iterable, Iterator, Sequence
from dataclasses import dataclass, replace
from pathlib import Path

from pydantic import TypeAdapter, ValidationError

from ...schemas.embedding import EmbeddedVideo, merge
from ...schemas.errors import StoreError
from ...schemas.video import Video
from ..milvus.store import Store
from ..shards.catalog import CatalogEntry
from ..shards.home import Home
from ..shards.shard_files import Shards
from ..system.checked_json import ChangedError, read_checked, write_checked
from .failed_files import write_failures
from .repair import remove
from .writer import Writer

_CHUNK_SEGMENTS = 512
"""Segments in memory at once: a few shards' worth."""

_log = logging.getLogger(__name__)

_LIST = TypeAdapter(dict[str, str])


@dataclass(frozen=True)
class Move:
    """A stored video and the current path of its file."""

    stored: CatalogEntry
    video: Video

    @property
    def renamed(self) -> bool:
        """Whether its id has changed."""
        return self.stored.video.video_id != self.video.video_id

    @property
    def source(self) -> str:
        """Library that it was of."""
        return self.stored.video.library


def match(new: Sequence[Video], gone: Iterable[CatalogEntry]) -> list[Move]:
    """Match `new` videos with files that are `gone` from their old paths.

    The content must be the same. Of several such files, one of the same file name and label comes
    first, then one of the same name, then the one with the most rows; each matches once.
    """
    moves: dict[str, Move] = {}
    left = sorted(gone, key=lambda entry: (-sum(entry.rows.values()), entry.video.video_id))
    for key in (_by_name_and_label, _by_name, _by_content):
        waiting: dict[tuple[str, ...], deque[CatalogEntry]] = {}
        for entry in left:
            waiting.setdefault(key(entry.video), deque()).append(entry)
        for video in new:
            if video.video_id not in moves and (alike := waiting.get(key(video))):
                moves[video.video_id] = _moved(alike.popleft(), video)
        taken = {move.stored.video.video_id for move in moves.values()}
        left = [entry for entry in left if entry.video.video_id not in taken]
    return [moves[video.video_id] for video in new if video.video_id in moves]


def replaces(new: CatalogEntry | None, old: CatalogEntry) -> bool:
    """Return whether all stored rows of a moved file are also stored under its new id."""
    return (
        new is not None
        and new.video.fingerprint == old.video.fingerprint
        and old.rows.keys() <= new.rows.keys()
    )


def carry_out(
    moves: Sequence[Move],
    store: Store,
    home: Home,
    library: str,
    catalog: dict[str, CatalogEntry],
) -> list[str]:
    """Rewrite the stored rows of moved files under their new ids, and remove the old ids.

    It updates `catalog`, the library's contents. A kill loses nothing: `unfinished` gives the
    next run the old ids that remain to be removed.

    Returns:
        Notes for the user.

    Raises:
        StoreError: A shard or the list of the moves cannot be read or written, or a server not
            forget videos of another library.
    """
    renamed = {m.stored.video.video_id: m.video.video_id for m in moves if m.renamed}
    if renamed:
        _write_list(home.path, library, unfinished(home.path, library) | renamed)
    notes: list[str] = []
    for weights, of in _by_weights(moves):
        writer = Writer(store, home, library, catalog, weights=weights, merging=False)
        for chunk in _chunks(of):
            for video in _read(chunk, home.shards):
                writer.add(video)
            writer.flush()
        old_ids = [m.stored.video.video_id for m in of if m.renamed and m.source == library]
        writer.forget(old_ids)
        writer.finish()
        notes += writer.notes
    others = [m.stored.video.video_id for m in moves if m.source != library]
    return notes + _forget_elsewhere(others, store, home)


def _forget_elsewhere(old_ids: Collection[str], store: Store, home: Home) -> list[str]:
    """Remove old ids from the other libraries that they are of; return notes for the user."""
    notes: list[str] = []
    for source in sorted({old.partition("/")[0] for old in old_ids}):
        stored = home.shards.catalog(source)
        ids = [old for old in old_ids if old in stored and old.startswith(f"{source}/")]
        notes += remove(store, home, source, ids)
        if len(ids) == len(stored):
            write_failures(home.path, source, {})  # they have been noted anew, or are tried again
    return notes


def finish(
    old_ids: Collection[str],
    unfinished: dict[str, str],
    store: Store,
    home: Home,
    library: str,
    catalog: dict[str, CatalogEntry],
) -> list[str]:
    """Remove the old ids that an interrupted run left, and clear the list of moves.

    Moves in `unfinished`, which cannot be completed yet, stay on the list.

    Returns:
        Notes for the user.

    Raises:
        StoreError: As `carry_out`.
    """
    writer = Writer(store, home, library, catalog)
    if here := [old for old in old_ids if old in catalog]:
        writer.forget(here)
        writer.finish()
    others = [old for old in old_ids if not old.startswith(f"{library}/")]
    notes = writer.notes + _forget_elsewhere(others, store, home)
    if unfinished:
        _write_list(home.path, library, unfinished)
        return notes
    try:
        _list_path(home.path, library).unlink(missing_ok=True)
    except OSError as error:
        raise StoreError(_unwritable(_list_path(home.path, library), error)) from error
    return notes


def unfinished(home: Path, library: str) -> dict[str, str]:
    """Return new ids by old ids, of moves that an interrupted run had begun."""
    try:
        return _LIST.validate_python(read_checked(_list_path(home, library)) or {})
    except (StoreError, ChangedError, ValidationError) as error:
        # Both ids then stay stored: the old one is reported as missing, and --prune removes it.
        _log.warning("%s cannot be read: %s", _list_path(home, library), error)
        return {}


def _moved(stored: CatalogEntry, video: Video) -> Move:
    """Return the move of a stored video, which keeps a label that a person gave it."""
    if stored.video.relabelled:
        video = replace(video, label=stored.video.label)
    return Move(stored, video)


def _by_name_and_label(video: Video) -> tuple[str, ...]:
    return *_by_name(video), video.label


def _by_name(video: Video) -> tuple[str, ...]:
    return *_by_content(video), video.video_id.rpartition("/")[2]


def _by_content(video: Video) -> tuple[str, ...]:
    return (video.fingerprint,)


def _by_weights(moves: Sequence[Move]) -> list[tuple[dict[str, str], list[Move]]]:
    """Group moves by the weights of their rows, which may differ from those here."""
    found: dict[frozenset[tuple[str, str]], list[Move]] = {}
    for move in moves:
        found.setdefault(frozenset(move.stored.weights.items()), []).append(move)
    return [(dict(weights), of) for weights, of in found.items()]


def _chunks(moves: Sequence[Move]) -> Iterator[list[Move]]:
    """Yield moves in chunks that fit into memory, those of one shard together."""
    chunk: list[Move] = []
    segments = 0
    for move in sorted(moves, key=lambda m: sorted(m.stored.shards.values())):
        chunk.append(move)
        segments += move.stored.segments
        if segments >= _CHUNK_SEGMENTS:
            yield chunk
            chunk, segments = [], 0
    if chunk:
        yield chunk


def _read(moves: Sequence[Move], shards: Shards) -> list[EmbeddedVideo]:
    """Read the stored rows of moved files, each video whole, under its new path."""
    pieces: dict[str, EmbeddedVideo] = {}
    for piece in shards.read([m.stored for m in moves]):
        first = pieces.get(piece.video.video_id)
        pieces[piece.video.video_id] = merge(first, piece) if first else piece
    return [replace(pieces[m.stored.video.video_id], video=m.video) for m in moves]


def _write_list(home: Path, library: str, renamed: dict[str, str]) -> None:
    path = _list_path(home, library)
    try:
        write_checked(path, renamed)
    except OSError as error:
        raise StoreError(_unwritable(path, error)) from error


def _unwritable(path: Path, error: OSError) -> str:
    return f"{path} cannot be written ({error}); free some space or change its permissions."


def _list_path(home: Path, library: str) -> Path:
    return home / "moves" / f"{library}.json"
