"""Ingest: embed a folder into shards and Milvus rows; a later run embeds only changes."""

from __future__ import annotations

import logging
from collections.abc import Collection, Iterator, Mapping, Sequence
from concurrent.futures import ThreadPoolExecutor, wait
from contextlib import closing
from dataclasses import dataclass, field, replace
from functools import partial
from pathlib import Path

from ..schemas.embedding import EmbeddedVideo
from ..schemas.errors import LibraryError, StoreError
from ..schemas.modality import Modality
from ..schemas.results import FailedFile, IngestReport, IngestTiming, StageTime
from ..schemas.video import Video
from .discover.listing import Listing, printable
from .discover.videos import is_as_described, library_name, list_media, of_unknown_content
from .extract.batching import FailedVideo
from .extract.embed import EmbedOptions, embed_all
from .milvus.store import open_store
from .plan import Plan, make_plan, tried_with
from .shards.catalog import CatalogEntry, stored_weights
from .shards.home import Home, Place, stored_root
from .shards.lock import HeldLock, writing
from .sync import moves
from .sync.elsewhere import look_elsewhere
from .sync.failed_files import Failure, killing, read_failures, write_failures
from .sync.repair import bring_in_step, remove, settle_missing
from .sync.samplings import kept_samplings, sampling_notes
from .sync.writer import Writer
from .system.progress import Progress
from .system.stages import Meter, Stage
from .system.stop import Stop

_log = logging.getLogger(__name__)


def ingest(
    folder: Path,
    place: Place,
    options: EmbedOptions,
    progress: Progress,
    library: str | None = None,
    prune: bool = False,
    retry: bool = False,
    stop: Stop | None = None,
) -> IngestReport:
    """Embed every video and sound file under `folder` that is new or has changed.

    Finished videos are written to shards batch by batch, so an interrupted run resumes. A file
    that was renamed or moved within the folder keeps its embeddings, and so does one that was moved
    here from the folder of another library. A file whose content failed is tried again once it has
    changed. Files in a folder that cannot be listed do not count as gone.

    Args:
        folder: A folder of videos, or one file.
        place: Home and Milvus to write to.
        options: Backbones, segment length, device, workers.
        progress: Receives the progress of the stages.
        library: The library's name; None for the folder's own.
        prune: Whether to remove stored videos whose file is gone.
        retry: Whether to try files again that failed and are unchanged.
        stop: Once it asks for that, no other file is begun; what is under way is stored.

    Raises:
        LibraryError: The folder is missing or has no media, or the name belongs to another folder.
        StoreError: The home cannot be written or another process holds it.
        WeightsError, ModelError, WorkerError: As `embed_all`.
    """
    meter, stop = Meter(), stop or Stop()
    listing = list_media(folder)
    name = library_name(folder, library)
    root = folder if folder.is_dir() else folder.parent
    with writing(place.home, f"ingest of {name}", place.wait) as held:
        home = Home(place)
        home.shards.finish_deletions(name)
        catalog = home.shards.catalog(name)
        _check_root(catalog, root, name)
        unfinished = moves.unfinished(home.path, name)
        noted = read_failures(home.path, name)
        usual, options = options.backbones, _going_on(options, home, name, catalog)
        plan = make_plan(
            listing,
            root,
            name,
            catalog,
            unfinished,
            noted,
            partial(look_elsewhere, home, name, root, catalog=catalog, unfinished=unfinished),
            options,
            progress,
            whole=folder.is_dir(),
            retry=retry,
        )
        _log.info(
            "%s: %d to embed, %d unchanged, %d moved, %d gone, %d cannot be read or failed before",
            name,
            len(plan.todo),
            plan.unchanged,
            plan.moved,
            len(plan.missing),
            len(plan.failed),
        )
        with open_store(place, writing=True) as store:
            notes = plan.notes + bring_in_step(store, home, name, progress)
            for other in plan.moved_from(name):
                notes += bring_in_step(store, home, other, progress)
            if plan.moves:
                notes += moves.carry_out(plan.moves, store, home, name, catalog)
            if plan.left or plan.moved or unfinished:
                notes += moves.finish(plan.left, plan.unfinished, store, home, name, catalog)
            removed = []
            if prune and plan.missing:
                removed = plan.missing
                notes += remove(store, home, name, removed)
                catalog = home.shards.catalog(name)
            writer = Writer(store, home, name, catalog)
            joining = replace(options, stored={name: stored_weights(catalog)})
            with stop.finishing():
                came = _embed(writer, plan.todo, joining, progress, meter, held, stop)
                with meter.working(Stage.WRITE):
                    writer.finish()
            given_up, unheard = came.failed, came.unheard
            left = len(plan.todo) - stop.begun if stop.asked else 0
            conditions = tried_with(options)
            untried = {v.video_id for v in plan.todo} - came.tried
            failures = plan.failures | {i: noted[i] for i in untried & noted.keys()}
            failures |= {
                f.video.video_id: Failure(f.video, f.reason, conditions)
                for f in given_up
                if f.lasting
            }
            for f in (*given_up, *unheard):
                if f.killed:
                    before = noted.get(f.video.video_id)
                    failure = killing(f.video, f.reason, conditions, before)
                    failures[f.video.video_id] = failure
            if failures != noted or not failures:
                write_failures(home.path, name, failures)
            failed = plan.failed + [
                FailedFile(
                    path=f.video.path,
                    reason=failures[f.video.video_id].reason if f.killed else f.reason,
                )
                for f in given_up
            ]
            whole = folder.is_dir() and not failed and not listing.unlisted and not left
            embedded = {backbone.name for backbone in options.backbones.values()}
            missing = home.shards.missing(name)
            if missing and whole and home.shards.held_by(name, missing) <= embedded:
                notes.append(settle_missing(store, home, name))
            notes += [note for note in writer.notes if note not in notes] + store.notes
            notes += _changed_notes(came.changed)
            if plan.todo:
                notes += sampling_notes(name, usual, options.backbones)
    report = _report(name, catalog, options, plan, listing, failed, removed, notes)
    done = {"left": left, "embedded": report.embedded - left}
    return report.model_copy(update={"timing": _timing(meter), **done})


def _going_on(
    options: EmbedOptions, home: Home, library: str, catalog: Mapping[str, CatalogEntry]
) -> EmbedOptions:
    """Return options with the samplings that the library or the home has already."""

    def others() -> Iterator[Collection[str]]:
        return (_backbones_of(home, name) for name in home.shards.libraries() if name != library)

    own, known = stored_weights(catalog).keys(), home.shards.backbones
    kept = kept_samplings(options.backbones, options.asked, own, others, known)
    return replace(options, backbones=kept)


def _backbones_of(home: Home, library: str) -> Collection[str]:
    """Return the backbones with rows in a library; none where it cannot be read, which stops none.

    What came of it is told where moved files are looked for (`look_elsewhere`).
    """
    try:
        return home.note(library).weights.keys()
    except StoreError:
        return ()


def _check_root(catalog: dict[str, CatalogEntry], root: Path, library: str) -> None:
    """Raise LibraryError where `library` was made from another folder that still exists."""
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


@dataclass(frozen=True)
class _Apart:
    """Videos of which something is to be told.

    Attributes:
        failed: Those that gave no rows.
        unheard: Those written without their sound, over which a decoder died.
        changed: Those whose file changed while it was read.
        tried: Ids of all that were decided.
    """

    failed: list[FailedVideo] = field(default_factory=list)
    unheard: list[FailedVideo] = field(default_factory=list)
    changed: list[Video] = field(default_factory=list)
    tried: set[str] = field(default_factory=set)


def _embed(
    writer: Writer,
    videos: Sequence[Video],
    options: EmbedOptions,
    progress: Progress,
    meter: Meter,
    held: HeldLock,
    stop: Stop,
) -> _Apart:
    """Embed and write `videos` in parallel; complete videos are written whatever happens.

    Returns:
        Those of which there is something to tell.
    """
    apart = _Apart()
    failed, unheard, changed = apart.failed, apart.unheard, apart.changed
    if not videos:
        return apart
    wanted = {backbone.name for backbone in options.backbones.values()}
    held.tell(0, len(videos))

    def write(video: EmbeddedVideo, done: int) -> None:
        with meter.beside(Stage.WRITE):
            writer.add(video)
        if not writer.waiting:
            held.tell(done, len(videos))

    with ThreadPoolExecutor(1, "vidsim-writer") as beside:
        writing = beside.submit(lambda: None)
        try:
            with closing(embed_all(videos, options, progress, meter=meter, stop=stop)) as results:
                for done, result in enumerate(results, start=1):
                    apart.tried.add(result.video.video_id)
                    if not is_as_described(result.video):
                        changed.append(result.video)
                        result = _of_another(result)
                    if isinstance(result, FailedVideo):
                        _log.info("%s failed: %s", result.video.path, result.reason)
                        failed.append(result)
                        continue
                    _log.debug("%s: %s", result.video.video_id, result.row_counts())
                    if not wanted <= result.backbones:
                        reason = result.damage.sound
                        reason = f"{reason[:1].upper()}{reason[1:]}."
                        unheard.append(FailedVideo(result.video, reason, killed=True))
                    with meter.waiting(Stage.WRITE):
                        writing.result()  # one at a time, which bounds the queue of writes
                    writing = beside.submit(write, result, done)
        finally:
            with meter.waiting(Stage.WRITE):
                wait([writing])
            with meter.working(Stage.WRITE):
                writer.flush()
        writing.result()
    return apart


def _of_another(result: EmbeddedVideo | FailedVideo) -> EmbeddedVideo | FailedVideo:
    """Return what came of a file that changed since it was hashed, for the next ingest to read.

    Else that would take rows of one content for those of another, to which a file was renamed.
    """
    if isinstance(result, FailedVideo):
        return replace(result, lasting=False)
    return replace(result, video=of_unknown_content(result.video))


def _changed_notes(videos: Sequence[Video]) -> list[str]:
    if not videos:
        return []
    others = f" and {len(videos) - 1} more" if len(videos) > 1 else ""
    return [
        f"{videos[0].path}{others} changed while it was read; "
        "the next ingest reads what changed again."
    ]


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
    plan: Plan,
    listing: Listing,
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
        moved=plan.moved,
        moved_from=plan.moved_from(library),
        no_audio=len(silent),
        missing=[i for i in plan.missing if i not in removed],
        removed=len(removed),
        failed=sorted(failed, key=lambda f: f.path),
        damaged=[
            FailedFile(path=entry.video.path, reason=damage)
            for video in plan.todo
            if (entry := catalog.get(video.video_id)) and (damage := entry.damage.describe())
        ],
        passed_over={
            kind: [printable(path) for path in paths] for kind, paths in listing.passed_over.items()
        },
        notes=list(notes),
    )
