"""Ingest: a folder becomes shards and Milvus rows, and again only what has changed."""

from __future__ import annotations

from collections.abc import Sequence
from concurrent.futures import ThreadPoolExecutor, wait
from contextlib import closing
from dataclasses import dataclass, field, replace
from pathlib import Path

from ..schemas.embedding import EmbeddedVideo, merge
from ..schemas.errors import LibraryError, MediaError
from ..schemas.modality import Modality
from ..schemas.results import FailedFile, IngestReport, IngestTiming, StageTime
from ..schemas.video import Video
from .assembly import FailedVideo
from .discover import describe, find_media, library_name
from .embed import EmbedOptions, embed_all
from .home import Place, open_shards, stored_root, writing
from .index import bring_in_step, remove
from .progress import Progress
from .shards import CatalogEntry, Shards, stored_weights
from .stages import Meter, Stage
from .store import open_store
from .writer import Writer


@dataclass
class _Plan:
    """What an ingest has to do."""

    todo: list[Video] = field(default_factory=list)
    moved: list[Video] = field(default_factory=list)
    unchanged: int = 0
    failed: list[FailedFile] = field(default_factory=list)
    missing: list[str] = field(default_factory=list)


def ingest(
    folder: Path,
    place: Place,
    options: EmbedOptions,
    progress: Progress,
    library: str | None = None,
    prune: bool = False,
) -> IngestReport:
    """Embeds every video and sound file under `folder` that is new or has changed.

    Finished videos are safe in a shard before the next ones are; whatever stops the run,
    the next one goes on from there.

    Args:
        folder: A folder of videos, or one file.
        place: Where to keep the result.
        options: Backbones, segment length, device, workers.
        progress: Told about the stages.
        library: The library's name; None for the folder's own.
        prune: Whether to remove stored videos whose file is gone.

    Raises:
        LibraryError: No such folder, nothing in it, or the name belongs to another folder.
        StoreError: The home cannot be written or another process holds it.
        WeightsError, ModelError, WorkerError: As `embed_all`.
    """
    meter = Meter()
    files = find_media(folder)
    name = library_name(folder, library)
    root = folder if folder.is_dir() else folder.parent
    with writing(place.home):
        shards = open_shards(place.home)
        catalog = shards.catalog(name)
        _check_root(catalog, root, name)
        plan = _plan(files, root, name, catalog, options, progress, folder.is_dir())
        with open_store(place, writing=True) as store:
            notes = bring_in_step(store, shards, name, place.home, progress)
            removed = []
            if prune and plan.missing:
                removed = plan.missing
                remove(store, shards, name, removed, place.home)
                catalog = shards.catalog(name)
            for weights, videos in _by_weights(plan.moved, catalog):
                mover = Writer(store, shards, name, place.home, catalog, weights=weights)
                _rehome(mover, shards, videos)
                notes += mover.notes
            writer = Writer(store, shards, name, place.home, catalog)
            joining = replace(options, stored={name: stored_weights(catalog)})
            failed = plan.failed + _embed(writer, plan.todo, joining, progress, meter)
            with meter.working(Stage.WRITE):
                writer.finish()
            notes += [note for note in writer.notes if note not in notes] + store.notes
    report = _report(name, catalog, options, plan, failed, removed, notes)
    return report.model_copy(update={"timing": _timing(meter)})


def _check_root(catalog: dict[str, CatalogEntry], root: Path, library: str) -> None:
    """Raises LibraryError where `library` was made from another folder that still exists."""
    for entry in catalog.values():
        stored = stored_root(entry.video)
        if stored is None:
            raise LibraryError(
                f"The library {library} was imported, not made from a folder of videos; name "
                f"this folder's with --library, or run 'vidsim remove {library}' first."
            )
        if stored != root.resolve() and stored.is_dir() and not stored.samefile(root):
            raise LibraryError(
                f"The library {library} was made from {stored}; name this folder's with "
                f"--library, or run 'vidsim remove {library}' first."
            )
        return


def _plan(
    files: Sequence[Path],
    root: Path,
    library: str,
    catalog: dict[str, CatalogEntry],
    options: EmbedOptions,
    progress: Progress,
    whole: bool,
) -> _Plan:
    """Compares files with the catalog; `whole` says that they are all the library has."""
    plan = _Plan()
    wanted = {b.name for b in options.backbones.values()}
    found: set[str] = set()
    progress.start("checking", len(files), "files")
    for path in files:
        video_id = f"{library}/{path.relative_to(root).as_posix()}"
        found.add(video_id)
        entry = catalog.get(video_id)
        try:
            video = describe(path, root, library, entry.video if entry else None)
        except MediaError as error:
            name = str(path).encode(errors="backslashreplace").decode()  # JSON takes UTF-8 only
            plan.failed.append(FailedFile(path=name, reason=str(error)))
            progress.advance("checking", 1)
            continue
        same = entry is not None and (
            (entry.video.fingerprint, entry.segment_seconds)
            == (video.fingerprint, options.segment_seconds)
        )
        if entry is not None and same and entry.video.path != video.path:
            plan.moved.append(video)
        if entry is None or not same or not wanted <= entry.rows.keys():
            plan.todo.append(video)
        else:
            plan.unchanged += 1
        progress.advance("checking", 1)
    progress.finish("checking")
    if whole:
        plan.missing = [video_id for video_id in catalog if video_id not in found]
    return plan


def _embed(
    writer: Writer,
    videos: Sequence[Video],
    options: EmbedOptions,
    progress: Progress,
    meter: Meter,
) -> list[FailedFile]:
    """Embeds and writes `videos`, side by side; what is complete is written whatever happens."""
    failed: list[FailedFile] = []
    if not videos:
        return failed

    def write(video: EmbeddedVideo) -> None:
        with meter.beside(Stage.WRITE):
            writer.add(video)

    with ThreadPoolExecutor(1, "vidsim-writer") as beside:
        writing = beside.submit(lambda: None)
        try:
            with closing(embed_all(videos, options, progress, meter=meter)) as results:
                for result in results:
                    if isinstance(result, FailedVideo):
                        failed.append(FailedFile(path=result.video.path, reason=result.reason))
                        continue
                    with meter.waiting(Stage.WRITE):
                        writing.result()  # one at a time: what waits to be written stays bounded
                    writing = beside.submit(write, result)
        finally:
            with meter.waiting(Stage.WRITE):
                wait([writing])
            with meter.working(Stage.WRITE):
                writer.flush()
        writing.result()
    return failed


def _by_weights(
    videos: Sequence[Video], catalog: dict[str, CatalogEntry]
) -> list[tuple[dict[str, str], list[Video]]]:
    """Stored videos by the weights of their rows, which may be others than those here."""
    found: dict[frozenset[tuple[str, str]], list[Video]] = {}
    for video in videos:
        found.setdefault(frozenset(catalog[video.video_id].weights.items()), []).append(video)
    return [(dict(weights), of) for weights, of in found.items()]


def _rehome(writer: Writer, shards: Shards, moved: Sequence[Video]) -> None:
    """Writes the entries of files that lie elsewhere now under their new path."""
    by_id = {video.video_id: video for video in moved}
    pieces: dict[str, EmbeddedVideo] = {}
    for piece in shards.read(writer.library, [writer.catalog[i] for i in by_id]):
        first = pieces.get(piece.video.video_id)
        pieces[piece.video.video_id] = merge(first, piece) if first else piece
    for video_id, whole in pieces.items():
        writer.add(replace(whole, video=by_id[video_id]))
    writer.finish()


def _timing(meter: Meter) -> IngestTiming:
    return IngestTiming(
        seconds=meter.elapsed_s,
        startup_s=meter.startup_s,
        stages={stage.value: StageTime(**vars(spent)) for stage, spent in meter.spent.items()},
    )


def _report(
    library: str,
    catalog: dict[str, CatalogEntry],
    options: EmbedOptions,
    plan: _Plan,
    failed: Sequence[FailedFile],
    removed: Sequence[str],
    notes: Sequence[str],
) -> IngestReport:
    rows = {
        modality.value: sum(e.rows.get(backbone.name, 0) for e in catalog.values())
        for modality, backbone in options.backbones.items()
    }
    audio = options.backbones.get(Modality.AUDIO)
    silent = [e for e in catalog.values() if audio and e.rows.get(audio.name) == 0]
    return IngestReport(
        library=library,
        videos=len(catalog),
        segments=sum(e.segments for e in catalog.values()),
        rows=rows,
        embedded=len(plan.todo) + len(plan.failed) - len(failed),
        unchanged=plan.unchanged,
        no_audio=len(silent),
        missing=[i for i in plan.missing if i not in removed],
        removed=len(removed),
        failed=sorted(failed, key=lambda f: f.path),
        damaged=[
            FailedFile(path=entry.video.path, reason=entry.damage)
            for video in plan.todo
            if (entry := catalog.get(video.video_id)) and entry.damage
        ],
        notes=list(notes),
    )
