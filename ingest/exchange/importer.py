"""Imports: restore shards and Milvus rows from export files, without a video or a network."""

from __future__ import annotations

from collections.abc import Collection, Iterator, Mapping, Sequence
from dataclasses import replace
from pathlib import Path

import numpy as np

from ...schemas.backbones import BACKBONES, Backbone
from ...schemas.embedding import EmbeddedVideo, SegmentEmbedding, merge
from ...schemas.errors import LibraryError
from ...schemas.exports import AUDIOSET_LABELS
from ...schemas.modality import Modality
from ...schemas.results import ImportedLibrary, ImportReport
from ..discover.videos import library_name
from ..milvus.store import open_store
from ..models.registry import keep
from ..shards.catalog import CatalogEntry, Totals, stored_weights
from ..shards.home import Home, Place
from ..shards.lock import writing
from ..shards.shard_files import Shards
from ..sync.repair import bring_in_step
from ..sync.writer import Writer
from ..system.progress import Progress
from .h5_reader import H5Reader
from .layout import IndexedVideo
from .reader import open_export
from .source import Source, content_hash, read_videos, strip_rows

_CHUNK = 128
"""Videos whose modalities are read and joined at once."""

_COLORS = frozenset(b.name for b in BACKBONES.values() if b.modality is Modality.COLOR)


def import_files(
    paths: Sequence[Path], place: Place, progress: Progress, library: str | None = None
) -> ImportReport:
    """Import export files: those of either layout, and the capstone's own.

    Modalities of the same video are joined. Everything is checked before anything is written;
    rows that are already stored are left alone. The videos' files need not exist.

    Args:
        paths: The files, of one or several libraries.
        place: Home and Milvus to write to.
        progress: Receives the progress of the stages.
        library: The library's name, for files that do not name one.

    Raises:
        LibraryError: A file is missing, no library is named, a video is stored or given in
            another version, or a library's rows of one backbone, including stored ones, had
            different weights.
        StoreError: A file is damaged or does not fit, or the home cannot be written.
    """
    if library is not None:
        library_name(Path(), library)
    home = Home(place)
    with H5Reader() as reader:
        sources = []
        progress.start("checking", len(paths), "files")
        for path in paths:
            if path.name != AUDIOSET_LABELS:  # read with the features beside it
                sources.append(open_export(path, library, home.backbones, reader))
            progress.advance("checking", 1)
        progress.finish("checking")
        if not sources:
            raise LibraryError("Only labels were given; give the features beside them too.")
        return _import(sources, home, place, progress)


def _import(
    sources: Sequence[Source], home: Home, place: Place, progress: Progress
) -> ImportReport:
    """Import checked files."""
    shards = home.shards
    given = _by_library(sources)
    weights = {name: _weights(name, sources) for name in given}
    reports, notes = [], []
    with writing(place.home, f"import of {', '.join(given)}", place.wait):
        for name in given:
            shards.finish_deletions(name)
        catalogs = {name: shards.catalog(name) for name in given}
        for name, videos in given.items():
            _check_versions(videos, catalogs[name])
            _check_contents(shards, sources, catalogs[name])
            _check_stored(name, weights[name], stored_weights(catalogs[name]))
        for source in sources:
            keep(place.home, source.backbone)
        with open_store(place, writing=True) as store:
            for name, videos in given.items():
                notes += bring_in_step(store, home, name, progress)
                writer = Writer(store, home, name, catalogs[name], weights=weights[name])
                striped = _with_strips(shards, sources, catalogs[name])
                imported = _write(writer, sources, list(videos), striped, progress)
                notes += writer.notes
                totals = Totals.of(writer.catalog)
                reports.append(
                    ImportedLibrary(
                        library=name,
                        imported=imported,
                        unchanged=len(videos) - imported,
                        videos=totals.videos,
                        segments=totals.segments,
                        rows=home.rows(totals),
                    )
                )
            notes += store.notes
    return ImportReport(libraries=reports, notes=notes)


def _by_library(sources: Sequence[Source]) -> dict[str, dict[str, IndexedVideo]]:
    """Join the videos of all sources by library and id.

    Raises:
        LibraryError: Two sources hold two versions of a video, or of its rows by one backbone,
            or a name cannot be stored.
    """
    found: dict[str, dict[str, IndexedVideo]] = {}
    contents: dict[tuple[str, str], str] = {}
    for source in sources:
        for video_id, block in source.blocks.items():
            item = block.item
            library = library_name(Path(), item.video.library)
            if not video_id.startswith(f"{library}/"):
                raise LibraryError(
                    f"{source.path} names a video {video_id!r} in the library {library}, where "
                    "ids begin with the library's name; export it again."
                )
            first = found.setdefault(library, {}).setdefault(video_id, item)
            content = contents.setdefault((video_id, source.backbone.name), block.content)
            if (first.video, first.segments, content) != (item.video, item.segments, block.content):
                raise LibraryError(
                    f"{source.path} has another version of {video_id} than the files before it; "
                    "import files of one export only."
                )
    return found


def _weights(library: str, sources: Sequence[Source]) -> dict[str, str]:
    """Return the SHA-256 of the weights by backbone, from the sources with videos of `library`.

    Raises:
        LibraryError: Two sources name different weights of one backbone.
    """
    found = {"vid2img": ""}  # strips become its rows; it has no weights
    for source in sources:
        if all(block.item.video.library != library for block in source.blocks.values()):
            continue
        name = source.backbone.name
        first = found.get(name, "")
        if first and source.weights_sha256 and first != source.weights_sha256:
            raise LibraryError(
                f"{source.path} has rows of {library} by other weights of {name} than the files "
                "before it; import files of one export only."
            )
        found[name] = first or source.weights_sha256
    return found


def _check_stored(library: str, given: Mapping[str, str], stored: Mapping[str, str]) -> None:
    """Raise LibraryError where stored rows were computed with other weights than those given."""
    for name, digest in given.items():
        theirs = stored.get(name, "")
        if digest and theirs and digest != theirs:
            raise LibraryError(
                f"{library} is stored with rows by other weights of {name} than those to import; "
                f"run 'vidsim remove {library}' first."
            )


def _check_versions(
    videos: Mapping[str, IndexedVideo], catalog: Mapping[str, CatalogEntry]
) -> None:
    """Raise LibraryError where a stored video came from another file, or was cut differently."""
    for video_id, item in videos.items():
        entry = catalog.get(video_id)
        if entry is not None and (entry.video.fingerprint, entry.segment_seconds) != (
            item.video.fingerprint,
            item.segment_seconds,
        ):
            raise LibraryError(
                f"{video_id} is stored in another version than the one to import; run "
                f"'vidsim remove {video_id}' first."
            )


def _check_contents(
    shards: Shards, sources: Sequence[Source], catalog: Mapping[str, CatalogEntry]
) -> None:
    """Compare rows where no fingerprint shows whether they belong to the stored video.

    Files that the capstone wrote name videos without identifying their content.

    Raises:
        LibraryError: A video is stored with other rows of the backbone.
    """
    for source in sources:
        name = source.backbone.name
        contents = {i: block.content for i, block in source.blocks.items() if block.content}
        stored = [e for i, e in catalog.items() if i in contents and name in e.rows]
        for video in shards.read(stored, [name]):
            video_id = video.video.video_id
            if _stored_content(video, source.backbone) != contents[video_id]:
                raise LibraryError(
                    f"{video_id} is stored with other rows of {name} than {source.path} has; run "
                    f"'vidsim remove {video_id}' first, or name another --library."
                )


def _stored_content(video: EmbeddedVideo, backbone: Backbone) -> str:
    """Return the `content_hash` that an export of the stored rows would have."""
    if backbone.name == "vid2img":
        return content_hash(
            np.array([e.vid2img for e in video.embeddings if e.vid2img is not None])
        )
    rows = [e.rows[backbone.name].vectors for e in video.embeddings if backbone.name in e.rows]
    return content_hash(np.concatenate([np.zeros((0, backbone.dim), np.float32), *rows]))


def _with_strips(
    shards: Shards, sources: Sequence[Source], catalog: Mapping[str, CatalogEntry]
) -> set[str]:
    """Return the stored videos that have colour strips, if `sources` bring any."""
    if all(source.form != "strips" for source in sources):
        return set()
    return {
        video.video.video_id
        for video in shards.read(catalog.values(), _COLORS)
        if any(e.vid2img is not None for e in video.embeddings)
    }


def _write(
    writer: Writer,
    sources: Sequence[Source],
    video_ids: Sequence[str],
    striped: Collection[str],
    progress: Progress,
) -> int:
    """Write what is not stored yet; return the number of videos with new rows."""
    stage, imported = f"importing {writer.library}", 0
    progress.start(stage, len(video_ids), "videos")
    try:
        for video in _joined(sources, video_ids):
            video_id = video.video.video_id
            new = _missing(video, writer.catalog.get(video_id), video_id in striped)
            if new is not None:
                writer.add(new)
                imported += 1
            progress.advance(stage, 1)
    finally:
        writer.flush()
    writer.finish()
    progress.finish(stage)
    return imported


def _joined(sources: Sequence[Source], video_ids: Sequence[str]) -> Iterator[EmbeddedVideo]:
    for start in range(0, len(video_ids), _CHUNK):
        parts: dict[str, EmbeddedVideo] = {}
        for video_id, part in read_videos(sources, video_ids[start : start + _CHUNK]):
            parts[video_id] = merge(parts[video_id], part) if video_id in parts else part
        yield from parts.values()


def _missing(
    video: EmbeddedVideo, entry: CatalogEntry | None, striped: bool
) -> EmbeddedVideo | None:
    """Return the part of `video` that is not stored, under the stored entry; None for nothing."""
    stored = entry.rows.keys() if entry else set()
    brings_strips = any(e.vid2img is not None for e in video.embeddings)
    if brings_strips and not striped and not (video.backbones - stored) & _COLORS:
        video = strip_rows(video)  # shards keep a strip with the rows of a backbone
    new = video.backbones - stored
    if not new:
        return None
    embeddings = tuple(
        SegmentEmbedding(
            {name: rows for name, rows in e.rows.items() if name in new},
            e.vid2img if new & _COLORS else None,
        )
        for e in video.embeddings
    )
    if entry is not None:
        video = replace(video, video=entry.video)  # the file's path may differ here
    return replace(video, backbones=new, embeddings=embeddings)
