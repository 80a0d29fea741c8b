"""Files that were renamed or moved within their library, known again by their content.

Their embeddings are written under the new id before the old id goes, so a moment comes when
both are there. A list beside the shards says which ids go then, and outlasts a kill.
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
from ..shards.catalog import CatalogEntry, Shards
from ..shards.home import Home
from ..system.atomic_file import whole_file
from .writer import Writer

_CHUNK_SEGMENTS = 512
"""Segments that are in memory at once: a few shards' worth."""

_log = logging.getLogger(__name__)

_LIST = TypeAdapter(dict[str, str])


@dataclass(frozen=True)
class Move:
    """A stored video and where its file lies now."""

    stored: CatalogEntry
    video: Video

    @property
    def renamed(self) -> bool:
        """Whether its id is another one now."""
        return self.stored.video.video_id != self.video.video_id


def match(new: Sequence[Video], gone: Iterable[CatalogEntry]) -> list[Move]:
    """Which of the `new` videos are files that are `gone` from where they were.

    The content must be the same. Where several are gone that have it, one of the same file name
    and label is taken first, then one of the same name, then the one with the most rows; each
    once.
    """
    moves: dict[str, Move] = {}
    left = sorted(gone, key=lambda entry: (-sum(entry.rows.values()), entry.video.video_id))
    for key in (_by_name_and_label, _by_name, _by_content):
        waiting: dict[tuple[str, ...], deque[CatalogEntry]] = {}
        for entry in left:
            waiting.setdefault(key(entry.video), deque()).append(entry)
        for video in new:
            if video.video_id not in moves and (alike := waiting.get(key(video))):
                moves[video.video_id] = Move(alike.popleft(), video)
        taken = {move.stored.video.video_id for move in moves.values()}
        left = [entry for entry in left if entry.video.video_id not in taken]
    return [moves[video.video_id] for video in new if video.video_id in moves]


def carry_out(
    moves: Sequence[Move],
    store: Store,
    home: Home,
    library: str,
    catalog: dict[str, CatalogEntry],
) -> list[str]:
    """Writes what is stored of moved files under their new path, and takes the old ids out.

    `catalog`, what the library holds, is kept up to date. A kill loses nothing: `unfinished`
    tells the next run which old ids are still to go.

    Returns:
        Notes for a person.

    Raises:
        StoreError: A shard or the list of the moves cannot be read or written.
    """
    renamed = {m.stored.video.video_id: m.video.video_id for m in moves if m.renamed}
    if renamed:
        _write_list(home.path, library, unfinished(home.path, library) | renamed)
    notes: list[str] = []
    for weights, of in _by_weights(moves):
        writer = Writer(store, home, library, catalog, weights=weights)
        for chunk in _chunks(of):
            for video in _read(chunk, home.shards, library):
                writer.add(video)
            writer.flush()
        writer.forget([m.stored.video.video_id for m in of if m.renamed])
        writer.finish()
        notes += writer.notes
    return notes


def finish(
    old_ids: Collection[str],
    unfinished: dict[str, str],
    store: Store,
    home: Home,
    library: str,
    catalog: dict[str, CatalogEntry],
) -> list[str]:
    """Takes old ids out that a run which was stopped has left, and ends the list of moves.

    Of moves that cannot be ended yet the `unfinished` stay listed.

    Returns:
        Notes for a person.

    Raises:
        StoreError: A shard or the list of the moves cannot be read or written.
    """
    writer = Writer(store, home, library, catalog)
    if old_ids:
        writer.forget(old_ids)
        writer.finish()
    if unfinished:
        _write_list(home.path, library, unfinished)
        return writer.notes
    try:
        _list_path(home.path, library).unlink(missing_ok=True)
    except OSError as error:
        raise StoreError(_unwritable(_list_path(home.path, library), error)) from error
    return writer.notes


def unfinished(home: Path, library: str) -> dict[str, str]:
    """New ids by old ones, of moves that a run which was stopped had begun."""
    try:
        return _LIST.validate_json(_list_path(home, library).read_bytes())
    except FileNotFoundError:
        return {}
    except (OSError, ValidationError) as error:
        # Both ids stay stored then: the old one is told to be missing, and goes with --prune.
        _log.warning("%s cannot be read: %s", _list_path(home, library), error)
        return {}


def _by_name_and_label(video: Video) -> tuple[str, ...]:
    return *_by_name(video), video.label


def _by_name(video: Video) -> tuple[str, ...]:
    return *_by_content(video), video.video_id.rpartition("/")[2]


def _by_content(video: Video) -> tuple[str, ...]:
    return (video.fingerprint,)


def _by_weights(moves: Sequence[Move]) -> list[tuple[dict[str, str], list[Move]]]:
    """Moves by the weights of their rows, which may be others than those here."""
    found: dict[frozenset[tuple[str, str]], list[Move]] = {}
    for move in moves:
        found.setdefault(frozenset(move.stored.weights.items()), []).append(move)
    return [(dict(weights), of) for weights, of in found.items()]


def _chunks(moves: Sequence[Move]) -> Iterator[list[Move]]:
    """Moves in pieces that fit into memory, those of one shard beside each other."""
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


def _read(moves: Sequence[Move], shards: Shards, library: str) -> list[EmbeddedVideo]:
    """What is stored of moved files, each whole, as if it had been read at its new path."""
    pieces: dict[str, EmbeddedVideo] = {}
    for piece in shards.read(library, [m.stored for m in moves]):
        first = pieces.get(piece.video.video_id)
        pieces[piece.video.video_id] = merge(first, piece) if first else piece
    return [replace(pieces[m.stored.video.video_id], video=m.video) for m in moves]


def _write_list(home: Path, library: str, renamed: dict[str, str]) -> None:
    path = _list_path(home, library)
    try:
        path.parent.mkdir(parents=True, exist_ok=True)
        with whole_file(path, sync=True) as partial:
            partial.write_bytes(_LIST.dump_json(renamed))
    except OSError as error:
        raise StoreError(_unwritable(path, error)) from error


def _unwritable(path: Path, error: OSError) -> str:
    return f"{path} cannot be written ({error}); free some space or change its permissions."


def _list_path(home: Path, library: str) -> Path:
    return home / "moves" / f"{library}.json"
