"""The front door: an opened home, and all that can be done with its libraries.

The command line, servers and Python programs call this and nothing below it. Each call loads only
what it needs: neither torch nor TensorFlow for a stored video, no Milvus for a listing.
"""

from __future__ import annotations

import os
from collections.abc import Callable, Iterable, Iterator, Mapping, Sequence
from contextlib import ExitStack, contextmanager
from dataclasses import replace
from pathlib import Path
from threading import Lock
from types import TracebackType
from typing import TYPE_CHECKING, Literal, Self

from ..ingest.shards.home import EMBEDDED, Place
from ..ingest.system.progress import Progress, Report, listening
from ..ingest.system.stop import Stop
from ..schemas.duplicates import DuplicateOptions
from ..schemas.errors import StoreError
from ..schemas.modality import Modality, parse_modalities
from ..schemas.part import parse_part, parse_time
from ..schemas.presets import DEFAULT_PRESET, choose_backbones, named_modalities
from ..schemas.settings import settings
from .background import refresh
from .recent_clips import RecentClips

if TYPE_CHECKING:
    from ..ingest.extract.batching import FailedVideo
    from ..ingest.extract.embed import Embedder, EmbedOptions
    from ..schemas.collections import IndexPolicy
    from ..schemas.embedding import EmbeddedVideo
    from ..schemas.evaluation import EvaluationReport
    from ..schemas.explanation import Explanation, Played
    from ..schemas.health import Prepared
    from ..schemas.results import (
        CompactedLibrary,
        DuplicatesReport,
        ImportReport,
        IndexTuning,
        IngestReport,
        LabelReport,
        LabelSummary,
        LibrarySummary,
        QueryResult,
        StoredVideo,
        VerifyReport,
    )
    from ..schemas.status import Status
    from ..schemas.video import Video, VideoOrder
    from .search_index import SearchIndex

Watcher = Progress | Report | None
"""Receiver of progress reports: a display, a function that takes a `Step`, or None."""

Models = Mapping[str, str] | Iterable[str]
"""Backbones that replace a preset's: ``{"color": "vid2img"}`` or ``["color=vid2img"]``."""

Modalities = str | Iterable[str] | None
"""``"color,audio"`` or ``["color", "audio"]``; None for all of them."""

Device = Literal["auto", "cpu", "cuda"]


class Library:
    """An opened home with all of its libraries, to ingest into and to search.

    A query after the first loads nothing: networks, decoder and what is searched stay open. Any
    number of threads may call one `Library`: queries take turns, and so do calls that write, which
    queries need not wait for. Other processes may read the same home at any time; one of them
    writes at a time.

    Use it as a context manager, or call `close`, which ends the decoder and audio processes.
    """

    def __init__(self, place: Place, progress: Watcher = None, pull: bool = True) -> None:
        """Prepare a library at `place`, opening nothing yet; `Library.open` reads the settings.

        Raises:
            SettingsError: A setting has an invalid value.
        """
        self._place = place
        self._settings = settings(place.home)
        self._progress = progress
        self._pull = pull
        self._lock = Lock()
        self._write_lock = Lock()
        self._index: SearchIndex | None = None
        self._opened = ExitStack()
        self._embedding = Lock()
        self._embedder: tuple[str, Embedder] | None = None
        self._embedded = RecentClips()

    @classmethod
    def open(
        cls,
        home: str | os.PathLike[str] | None = None,
        *,
        uri: str | None = None,
        index: IndexPolicy | None = None,
        wait: bool = False,
        progress: Watcher = None,
        pull: bool = True,
    ) -> Self:
        """Open a home as the command line does, with its settings, server, token and certificates.

        Args:
            home: The folder; None for ``VIDSIM_HOME``, or the platform's own.
            uri: A Milvus server, or ``embedded``; None for what the settings say.
            index: Indexes of a server's new collections: ``auto``, ``cpu`` or ``gpu``.
            wait: Whether calls that write wait for another process that writes to the home.
            progress: Receives the progress of every call that has no other.
            pull: Whether queries fetch weights that are missing.

        Raises:
            SettingsError: A setting has an invalid value.
        """
        chosen = settings(None if home is None else Path(home))
        wanted = uri or chosen.uri
        place = Place(
            chosen.home,
            None if wanted == EMBEDDED else wanted,
            chosen.token.get_secret_value() if chosen.token else "",
            chosen.ca_cert,
            chosen.client_cert,
            chosen.client_key,
            index or chosen.index,
            wait,
        )
        return cls(place, progress, pull)

    @property
    def home(self) -> Path:
        """Folder of the shards, the settings and the embedded Milvus."""
        return self._place.home

    @property
    def place(self) -> Place:
        """Home and Milvus of this library."""
        return self._place

    def ingest(
        self,
        folder: str | os.PathLike[str],
        *,
        library: str | None = None,
        modalities: Modalities = None,
        models: Models = (),
        preset: str | None = None,
        segment_seconds: float | None = None,
        audio_track: int | None = None,
        device: Device | None = None,
        workers: int | None = None,
        prune: bool = False,
        retry: bool = False,
        stop: Stop | None = None,
        progress: Watcher = None,
    ) -> IngestReport:
        """Read a folder of videos and store what is new or has changed.

        Files that were renamed or moved, from the folder of another library too, keep their
        embeddings.

        Args:
            folder: A folder of videos and sounds, or one file.
            library: The library's name; None for the folder's. The name that it had keeps the ids
                of a folder that was renamed.
            modalities: What to describe videos by.
            models: Backbones that replace the preset's.
            preset: A name in `PRESETS`; None for ``compact``, in the sampling that the home has.
            segment_seconds: Segment length in seconds; None for the settings'.
            audio_track: Number of the audio track, from 1; None for the picture's own.
            device: Device of the networks; None for the settings'.
            workers: Decoder processes; None for the settings', or half the cores.
            prune: Whether to remove stored videos whose file is gone.
            retry: Whether to try files again that failed and are unchanged.
            stop: Its ``ask()``, from another thread or a signal handler, has what is under way
                finished and stored, and nothing else begun.
            progress: Receives the progress.

        Raises:
            LibraryError: The folder is missing or has no media, or the name belongs to
                another folder.
            ModelError: A modality, backbone, preset or device is unknown.
            StoreError: The home cannot be written, or another process holds it.
            WeightsError: Weights are missing and cannot be fetched, or stored rows had others.
            WorkerError: The audio process failed.
        """
        from ..ingest.extract.embed import EmbedOptions
        from ..ingest.models.registry import register_overrides
        from ..ingest.pipeline import ingest

        replaced = overrides(models)
        with self._writing() as place:
            known = register_overrides(place.home, replaced)
            backbones = choose_backbones(
                _modalities(modalities), replaced, preset or DEFAULT_PRESET, known
            )
            options = EmbedOptions(
                backbones,
                asked=[m for m in backbones if preset or m in named_modalities(replaced)],
                segment_seconds=segment_seconds or self._settings.segment_seconds,
                device=device or self._settings.device,
                workers=workers or self._settings.workers,
                nvdec=self._settings.nvdec,
                audio_track=audio_track,
            )
            told = self._told(progress)
            report = ingest(Path(folder), place, options, told, library, prune, retry, stop)
            refresh(place.home, report.library)
        return report

    def ingest_audioset(
        self,
        folder: str | os.PathLike[str],
        *,
        library: str | None = None,
        class_labels: str | os.PathLike[str] | None = None,
        progress: Watcher = None,
    ) -> IngestReport:
        """Read AudioSet's published embeddings.

        Args:
            folder: The folder of its .tfrecord files.
            library: The library's name; None for the folder's.
            class_labels: AudioSet's class_labels_indices.csv, to name labels.
            progress: Receives the progress.

        Raises:
            LibraryError: The folder is missing or has no record file, or the library holds videos.
            StoreError: The home cannot be written, or another process holds it.
        """
        from ..ingest.exchange.audioset import ingest_audioset, read_class_names

        names = read_class_names(Path(class_labels)) if class_labels else None
        with self._writing() as place:
            report = ingest_audioset(Path(folder), place, self._told(progress), library, names)
            refresh(place.home, report.library)
        return report

    def query(
        self,
        clip: str | os.PathLike[str] | Sequence[str | os.PathLike[str]],
        *,
        k: int = 10,
        min_score: float = 0.0,
        modalities: Modalities = None,
        libraries: Sequence[str] = (),
        filter: str = "",
        fusion: Literal["calibrated", "rrf"] = "calibrated",
        weights: Mapping[str, float] | str | None = None,
        models: Models = (),
        preset: str | None = None,
        exclude_self: bool | None = None,
        segment_seconds: float | None = None,
        audio_track: int | None = None,
        device: Device | None = None,
        start: float | str | None = None,
        end: float | str | None = None,
        region: Sequence[float] | str | None = None,
        unlike: str | os.PathLike[str] | Sequence[str | os.PathLike[str]] = (),
        progress: Watcher = None,
    ) -> QueryResult:
        """Rank stored videos by similarity to a clip or several, with evidence per modality.

        Args:
            clip: A video, sound or still picture, or the id of a stored video (then nothing is
                decoded); a sequence of them for what is like all.
            k: Number of results.
            min_score: Least likeness of a result, from 0 to 1.
            modalities: What to compare by; None for all that the libraries have.
            libraries: Libraries to search; none for all.
            filter: Milvus filter over the fields, such as ``label == "snow"``.
            fusion: How modalities are combined.
            weights: By modality, ``"default"`` for the measured ones; None for tuned ones where
                there are some.
            models: Backbones that replace the preset's.
            preset: Restricts the search to this preset's backbones; None for what is stored.
            exclude_self: Whether to leave the query's own video out; None does so for stored ids.
            segment_seconds: Segment length of a new clip; None for the settings'.
            audio_track: Number of a new clip's audio track, from 1; None for the picture's own.
            device: Device that embeds a new clip; None for the settings'.
            start: Where the part of the clip begins that counts: seconds, or ``"1:18"``.
            end: Where it ends; None for the clip's end.
            region: The rectangle of the picture that counts: x, y, width and height, in pixels or
                in fractions of the picture.
            unlike: Clips that the results are not to be like, as files or ids.
            progress: Receives the progress.

        Raises:
            LibraryError: Nothing is stored, or a clip or a library does not exist.
            ModelError: A modality, backbone, weight, least score, filter or device is invalid.
            MediaError: A clip cannot be read, or has nothing to compare, or the part is none.
            WeightsError: Weights are missing, or stored rows were computed with others.
            StoreError: Milvus cannot be read.
        """
        from .query import QueryOptions, answer

        if weights is not None and not isinstance(weights, str):
            weights = ",".join(f"{name}={weight}" for name, weight in weights.items())
        options = QueryOptions(
            modalities=None if modalities is None else _modalities(modalities),
            overrides=overrides(models),
            preset=preset,
            k=k,
            min_score=min_score,
            libraries=tuple(libraries),
            expression=filter,
            fusion=fusion,
            weights=weights,
            exclude_self=exclude_self,
            device=device or self._settings.device,
            segment_seconds=segment_seconds or self._settings.segment_seconds,
            audio_track=audio_track,
            part=parse_part(start, end, region),
            unlike=_clips(unlike),
        )
        with self._lock:
            told = self._told(progress)
            index = self._searched()
            return answer(_clips(clip), index, self._place, options, told, self._embed)

    def warm(self) -> None:
        """Load what the next query needs: what is searched, and the networks for a new clip.

        Raises:
            LibraryError: Nothing is stored.
            WeightsError: Weights are missing and cannot be fetched.
            StoreError: Milvus or a shard cannot be read.
        """
        from ..ingest.extract.embed import EmbedOptions
        from .stored_backbones import choose_stored_backbones

        with self._lock:
            index = self._searched()
            held = {name for of in index.weights().values() for name in of}
            backbones = choose_stored_backbones(index, held)
        with self._embedding:
            options = EmbedOptions(backbones, device=self._settings.device)
            self._loaded(options, self._told(None)).load()

    def explain(
        self,
        first: str | os.PathLike[str],
        second: str | os.PathLike[str],
        *,
        modalities: Modalities = None,
        models: Models = (),
        preset: str | None = None,
        device: Device | None = None,
        progress: Watcher = None,
    ) -> Explanation:
        """Compare two clips, each a file or the id of a stored video: how alike, and where.

        Args:
            first: Taken for the query.
            second: Taken for its result.
            modalities: What to compare by; None for all.
            models: Backbones that replace the preset's.
            preset: Whose backbones; None for what is stored, of two files for ``compact``.
            device: Device that embeds a file; None for the settings'.
            progress: Receives the progress.

        Raises:
            LibraryError: A clip does not exist.
            ModelError: A modality, backbone or device is invalid.
            MediaError: A file cannot be read, or the two have nothing to be compared by.
            WeightsError: Weights are missing, or stored rows were computed with others.
            StoreError: Milvus or a shard cannot be read.
        """
        from .explain import explain
        from .query import QueryOptions

        options = QueryOptions(
            modalities=None if modalities is None else _modalities(modalities),
            overrides=overrides(models),
            preset=preset,
            device=device or self._settings.device,
            segment_seconds=self._settings.segment_seconds,
        )
        with self._lock:
            told, index = self._told(progress), self._searched()
            names = os.fspath(first), os.fspath(second)
            return explain(*names, index, self._place, options, told, self._embed)

    def write_html(
        self,
        result: QueryResult | DuplicatesReport | Explanation,
        file: str | os.PathLike[str],
        *,
        progress: Watcher = None,
    ) -> Path:
        """Write a result as one self-contained HTML file, with pictures; return its path.

        A video whose file is gone has a note in the place of its picture.

        Args:
            result: Of `query`, `duplicates` or `explain`.
            file: What to write or replace.
            progress: Receives the progress.

        Raises:
            StoreError: The file cannot be written.
        """
        from .pages.write import write_page

        return write_page(result, Path(file), self._told(progress))

    def thumbnails(self, result: QueryResult) -> list[bytes]:
        """Return a PNG per result: the query and the video side by side, where they match.

        A file that is gone, or does not decode, leaves its half grey.

        Args:
            result: Of `query`.
        """
        from .pages.thumbnails import side_by_side

        return side_by_side(result)

    def play(self, video: str | os.PathLike[str], *, at_s: float | str = 0.0) -> Played:
        """Open a video in a player or the browser, at a time where that can be asked for.

        Args:
            video: The id of a stored video, or a file.
            at_s: Seconds from its start, or a time such as ``"1:18.5"``.

        Raises:
            LibraryError: It is neither stored nor a file, or its file is gone.
            MediaError: `at_s` is no time.
            SettingsError: The player of the settings cannot be started.
        """
        from .player import locate, play

        seconds = parse_time(at_s, "--at")
        return play(locate(self.home, os.fspath(video)), seconds, self._settings.player)

    def libraries(self) -> list[LibrarySummary]:
        """Summarise what each library holds, by name, and whether its folder is still there.

        Raises:
            StoreError: A shard cannot be read.
        """
        from ..ingest.sync.libraries import summarize

        return summarize(self._place)

    def status(self) -> Status:
        """Describe home, cache, versions, libraries, who holds the lock, and the server if any.

        Containers of ``vidsim up`` are not looked at, which the command does.

        Raises:
            StoreError: The home's folder cannot be read.
        """
        from ..ingest.sync.status import look

        return look(self._place)

    def prepare(
        self,
        *,
        modalities: Modalities = None,
        models: Models = (),
        preset: str | None = None,
        progress: Watcher = None,
    ) -> Prepared:
        """Get all that ingests and queries need of the network, for a machine without one.

        Args:
            modalities: What videos will be described by; None for all.
            models: Backbones that replace the preset's.
            preset: A name in `PRESETS`; None for ``compact``.
            progress: Receives the progress.

        Raises:
            ModelError: A modality, backbone or preset is unknown.
            WeightsError: Weights cannot be fetched, or are not what they should be.
        """
        from ..ingest.models.offline import prepare_offline
        from ..ingest.models.registry import register_overrides

        replaced = overrides(models)
        known = register_overrides(self.home, replaced)
        chosen = choose_backbones(
            _modalities(modalities), replaced, preset or DEFAULT_PRESET, known
        )
        return prepare_offline(chosen.values(), self._told(progress))

    def being_written(self) -> str:
        """Return a sentence about the process that is writing to the home; "" where none is."""
        from ..ingest.shards.lock import writer

        found = writer(self.home)
        return found.note() if found else ""

    def problems(self, *libraries: str) -> list[str]:
        """Return what is known to be missing or wrong in the shards of libraries, in sentences.

        Args:
            *libraries: Their names; none for all.

        Raises:
            StoreError: The list of a library's shards cannot be read.
        """
        from ..ingest.shards.home import open_shards

        shards = open_shards(self.home)
        return [told for name in libraries or shards.libraries() for told in shards.problems(name)]

    def videos(
        self,
        *names: str,
        label: str | None = None,
        filter: str = "",
        damaged: bool = False,
        sort: VideoOrder = "id",
        reverse: bool = False,
    ) -> list[StoredVideo]:
        """List stored videos.

        Args:
            *names: Libraries, folders in them, ids, or patterns such as ``ucf101/*/v_YoYo_*``, of
                which each part matches one part of an id, and what lies below; none for all.
            label: Only videos that have this label, "" for those without any.
            filter: Milvus filter over the fields of a video, such as ``label == "snow"``.
            damaged: Only videos of which a part did not decode.
            sort: What to sort by, then by library and id.
            reverse: Whether the last one comes first.

        Raises:
            LibraryError: There is nothing of a name, or no video has the label.
            ModelError: The filter is not understood.
            StoreError: A shard cannot be read.
        """
        from ..ingest.sync.stored_videos import Wanted, list_videos

        return list_videos(self.home, Wanted(names, label, filter, damaged), sort, reverse)

    def labels(self, *names: str) -> list[LabelSummary]:
        """List the labels of stored videos, with the number of videos that have each.

        Args:
            *names: As for `videos`.

        Raises:
            LibraryError: There is nothing of a name.
            StoreError: A shard cannot be read.
        """
        from ..ingest.sync.stored_videos import list_labels

        return list_labels(self.home, names)

    def set_labels(
        self, labels: Mapping[str, str] | str | os.PathLike[str], progress: Watcher = None
    ) -> LabelReport:
        """Give stored videos other labels, which later ingests keep.

        Args:
            labels: By video id, or a CSV with the columns ``video_id`` and ``label``. A label that
                is the name of the video's folder again follows it when that is renamed.
            progress: Receives the progress.

        Raises:
            LibraryError: The CSV cannot be read, a video is not stored or of AudioSet, or a label
                is too long; nothing was changed then.
            StoreError: The home cannot be written, or another process holds it.
        """
        from ..ingest.sync.labels import read_labels, set_labels

        if not isinstance(labels, Mapping):
            labels = read_labels(Path(labels))
        with self._writing() as place:
            report = set_labels(place, labels, self._told(progress))
            for library in sorted({video_id.partition("/")[0] for video_id in labels}):
                refresh(place.home, library)
        return report

    def find(self, *names: str, label: str | None = None, filter: str = "") -> dict[str, list[str]]:
        """Find video ids by library; none where nothing is asked for.

        Args:
            *names: As for `videos`.
            label: As for `videos`.
            filter: As for `videos`.

        Raises:
            LibraryError: There is nothing of a name, or no video has the label.
            ModelError: The filter is not understood.
            StoreError: A shard cannot be read.
        """
        from ..ingest.sync.stored_videos import find

        return find(self.home, names, label, filter)

    def remove(
        self, *names: str, label: str | None = None, filter: str = ""
    ) -> dict[str, list[str]]:
        """Remove what `find` finds, whose files stay; return the ids by library.

        Raises:
            LibraryError: There is nothing of a name, or no video has the label.
            ModelError: The filter is not understood.
            StoreError: The home or Milvus cannot be written, or another process holds it.
        """
        from ..ingest.sync.libraries import mend_interrupted, remove_all

        with self._writing() as place:
            try:
                found = self.find(*names, label=label, filter=filter)
            finally:  # it may complete what is asked for, begun before
                mend_interrupted(place)
            only = not filter and label is None
            remove_all(place, found, whole=set(names) & found.keys() if only else ())
        return found

    def reindex(
        self, *libraries: str, fresh: bool = False, progress: Watcher = None
    ) -> VerifyReport:
        """Bring Milvus in step with the shards; no video is read.

        Args:
            *libraries: Libraries to reindex; none for all.
            fresh: Whether to delete all rows first.
            progress: Receives the progress.

        Raises:
            LibraryError: A library does not exist.
            StoreError: Milvus or a shard cannot be read or written, or another process holds it.
        """
        from ..ingest.sync.libraries import reindex_all

        with self._writing() as place:
            return reindex_all(place, libraries, self._told(progress), fresh)

    def verify(
        self,
        *libraries: str,
        sample: int | Literal["all"] = 100,
        repair: bool = False,
        give_up: bool = False,
        deep: bool = False,
        percent: float | None = None,
        progress: Watcher = None,
    ) -> VerifyReport:
        """Compare Milvus with the shards row by row.

        Args:
            *libraries: Libraries to verify; none for all.
            sample: Videos per library and collection whose vectors are compared too.
            repair: Whether to write what is missing or differs, and to delete what is extra.
            give_up: With `repair`, whether to forget missing shards, and to delete what Milvus
                alone still has of them.
            deep: Whether to compare all vectors, and to read every other file of the home and
                the weights in the cache.
            percent: Of the shards of each library, those to read now, with all vectors of their
                videos: those that were read so longest ago. None for all.
            progress: Receives the progress.

        Raises:
            ValueError: `percent` is none, or comes with `deep` or `repair`.
            LibraryError: A library does not exist.
            StoreError: Milvus or a shard cannot be read or written, or another process holds it.
        """
        from ..ingest.sync.libraries import verify_all

        if percent is not None and (deep or repair or not 0 < percent <= 100):
            raise ValueError("percent is above 0 and at most 100, and goes without deep and repair")
        with self._writing() as place:
            return verify_all(
                place,
                libraries,
                sample if percent is None and not deep else "all",
                self._told(progress),
                repair,
                give_up,
                deep,
                percent,
            )

    def compact(self, *libraries: str, progress: Watcher = None) -> list[CompactedLibrary]:
        """Merge the small shards of libraries, and bring those of older versions up to date.

        Args:
            *libraries: Libraries to compact; none for all.
            progress: Receives the progress.

        Raises:
            LibraryError: A library does not exist.
            StoreError: A shard cannot be read or written, or another process holds the home.
        """
        from ..ingest.sync.libraries import compact_all

        with self._writing() as place:
            return compact_all(place, libraries, self._told(progress))

    def tune_index(self, *, recall: float = 0.99, progress: Watcher = None) -> IndexTuning:
        """Give each collection the index that its size needs.

        Args:
            recall: Fraction of the ten exact neighbours that a search must find.
            progress: Receives the progress.

        Raises:
            LibraryError: Nothing is stored.
            StoreError: Milvus cannot be read, or cannot build an index.
        """
        from ..ingest.milvus.index_tuning import tune

        with self._writing() as place:
            return tune(place, recall, self._told(progress))

    def export(
        self,
        folder: str | os.PathLike[str],
        *,
        libraries: Sequence[str] = (),
        layout: Literal["native", "capstone"] = "native",
        progress: Watcher = None,
    ) -> list[Path]:
        """Write vectors, ids, labels and times to HDF5 files; return the files.

        Args:
            folder: Target folder, created if missing.
            libraries: Libraries to export; none for all.
            layout: vidsim's own files, or those of the capstone.
            progress: Receives the progress.

        Raises:
            LibraryError: A library does not exist, or there is none at all.
            StoreError: A file cannot be read or written.
        """
        if layout == "capstone":
            from ..ingest.exchange.export_capstone import export_capstone as run
        else:
            from ..ingest.exchange.export import export as run
        return run(self.home, Path(folder), libraries, self._told(progress))

    def import_files(
        self,
        *files: str | os.PathLike[str],
        library: str | None = None,
        progress: Watcher = None,
    ) -> ImportReport:
        """Import export files, including the capstone's.

        Args:
            *files: The HDF5 files.
            library: The library's name, for files that do not name one.
            progress: Receives the progress.

        Raises:
            LibraryError: A file is missing, no library is named, or a video is stored in another
                version.
            StoreError: A file is damaged or does not fit, or the home cannot be written.
        """
        from ..ingest.exchange.importer import import_files

        with self._writing() as place:
            paths = [Path(file) for file in files]
            report = import_files(paths, place, self._told(progress), library=library)
            for found in report.libraries:
                refresh(place.home, found.library)
        return report

    def evaluate(
        self,
        folder: str | os.PathLike[str],
        *,
        k: int = 3,
        protocols: Sequence[str] = (),
        train_list: str | os.PathLike[str] | None = None,
        test_list: str | os.PathLike[str] | None = None,
        allow_missing: bool = False,
        color: str | None = None,
        compare: Sequence[str] = (),
        against: str | os.PathLike[str] | None = None,
        models: Models = (),
        tune_weights: bool = False,
        apply: bool = False,
        seed: int = 0,
        out: str | os.PathLike[str] | None = None,
        progress: Watcher = None,
    ) -> EvaluationReport:
        """Measure how well exported videos find others of their class; write a report.

        Args:
            folder: Written by `export`.
            k: Nearest videos that vote.
            protocols: ``leave-one-out``, ``split``, ``group``, ``official``, or the leaky
                ``capstone-all`` and ``capstone-split``; none for leave-one-out.
            train_list: UCF101's trainlistNN.txt (official).
            test_list: UCF101's testlistNN.txt (official).
            allow_missing: Whether to skip videos that the lists name and the export lacks.
            color: Colour metrics to compare, ``"l2,mse,ssim,labhist"``.
            compare: Pairs of configurations to test, such as ``"frame,fused"``.
            against: Another export of the same videos to test each configuration against.
            models: Backbones that replace the default ones.
            tune_weights: Whether to find fusion weights on the training part. `query` uses them if
                the interval of what they gain lies above 0.
            apply: Whether it uses them all the same.
            seed: Seed of splits and resamples.
            out: Folder of the report; None for a new one in ``folder/evaluation``.
            progress: Receives the progress.

        Raises:
            LibraryError: There is no export, or the lists do not fit it.
            ModelError: A protocol, metric, configuration or backbone does not exist.
            StoreError: A file is damaged, or the report cannot be written.
        """
        from ..ingest.models.registry import known_backbones
        from .evaluation.color_metrics import parse_color_metrics
        from .evaluation.comparisons import parse_comparison
        from .evaluation.evaluate import EvaluateOptions, evaluate, keep_tuned, parse_protocols
        from .evaluation.report import new_folder, write_files

        options = EvaluateOptions(
            protocols=parse_protocols(protocols),
            k=k,
            overrides=overrides(models),
            color=parse_color_metrics(color) if color is not None else (),
            compare=tuple(parse_comparison(pair) for pair in compare),
            train_list=Path(train_list) if train_list else None,
            test_list=Path(test_list) if test_list else None,
            allow_missing=allow_missing,
            tune_weights=tune_weights,
            against=Path(against) if against else None,
            seed=seed,
            known=known_backbones(self.home),
        )
        told = self._told(progress)
        found = evaluate(Path(folder), options, told)
        into = Path(out) if out else new_folder(Path(folder) / "evaluation")
        written = write_files(found, into, told)
        kept = keep_tuned(self.home, found.report.tuned, apply)
        return found.report.model_copy(
            update={
                "files": [str(path) for path in written],
                "weights_file": str(kept) if kept else None,
            }
        )

    def duplicates(
        self,
        *libraries: str,
        max_distance: int = DuplicateOptions.max_distance,
        min_similarity: float = DuplicateOptions.min_similarity,
        progress: Watcher = None,
    ) -> DuplicatesReport:
        """List the pairs of stored videos that share footage, and where.

        Args:
            *libraries: Libraries to compare, within and across; none for all.
            max_distance: Most differing bits of two frames' 64-bit hashes.
            min_similarity: Least cosine of the mean frame embeddings.
            progress: Receives the progress.

        Raises:
            LibraryError: Nothing is stored, a library does not exist, or there is nothing to
                compare.
            StoreError: A shard cannot be read.
        """
        from ..ingest.extract.embed import default_workers
        from .duplicates.find import find_duplicates

        options = DuplicateOptions(max_distance, min_similarity)
        workers = self._settings.workers or default_workers()
        return find_duplicates(self.home, libraries, options, workers, self._told(progress))

    def wait_for_milvus(self, tell: Callable[[str], None] = lambda _: None) -> None:
        """Wait until a freshly started server answers searches.

        Args:
            tell: Receives messages about what is waited for.

        Raises:
            StoreError: It does not answer, or not in time.
        """
        from ..ingest.milvus.connection import open_client
        from ..ingest.milvus.indexes import wait_until_searchable

        with open_client(self._place) as milvus:
            wait_until_searchable(milvus, tell=tell)

    def close(self) -> None:
        """Close Milvus and end the embedding processes; the library can be used again."""
        with self._embedding:
            self._unload()
            self._embedded.clear()
        with self._lock:
            self._release()

    def __enter__(self) -> Self:
        """Return itself."""
        return self

    def __exit__(
        self,
        kind: type[BaseException] | None,
        error: BaseException | None,
        trace: TracebackType | None,
    ) -> None:
        """Close."""
        self.close()

    def _told(self, progress: Watcher) -> Progress:
        return listening(progress or self._progress)

    @contextmanager
    def _writing(self) -> Iterator[Place]:
        """Have calls that write take turns."""
        with self._write_lock:
            yield self._place

    def _searched(self) -> SearchIndex:
        """Return what is searched, opened at the first query, as it is now."""
        from .search_index import open_index

        if self._index is None:
            self._index = self._opened.enter_context(open_index(self._place))
        else:
            self._index.refresh()
        return self._index

    def _release(self) -> None:
        self._index = None
        self._opened.close()

    def _embed(
        self, video: Video, options: EmbedOptions, progress: Progress
    ) -> EmbeddedVideo | FailedVideo:
        """Embed a clip, while other threads search; one that was embedded lately is not again.

        Raises:
            WeightsError: As `ingest.extract.embed.embed_all`.
            StoreError: The library was closed meanwhile.
        """
        from ..ingest.models.weights import check_stored

        searched = self._index
        self._lock.release()
        try:
            with self._embedding:
                check_stored(options.backbones.values(), options.stored)
                return self._embedded.get(video, options) or self._embed_anew(
                    video, options, progress
                )
        finally:
            self._lock.acquire()
            if self._index is not searched:
                raise StoreError("The library was closed meanwhile; ask again.")

    def _embed_anew(
        self, video: Video, options: EmbedOptions, progress: Progress
    ) -> EmbeddedVideo | FailedVideo:
        embedder = self._loaded(options, progress)
        try:
            result = embedder.embed(video, options)
        except BaseException:
            self._unload()
            raise
        self._embedded.keep(video, options, result)
        return result

    def _loaded(self, options: EmbedOptions, progress: Progress) -> Embedder:
        """Return an embedder that has these backbones and all those requested before."""
        from ..ingest.extract.embed import Embedder
        from ..ingest.models.pull import check_there

        before = {}
        if self._embedder:
            device, embedder = self._embedder
            before = embedder.backbones
            if device == options.device and options.backbones.items() <= before.items():
                return embedder
            self._unload()
        wanted = replace(options, backbones={**before, **options.backbones})
        if not self._pull:
            check_there(wanted.backbones.values())
        embedder = Embedder(wanted, progress)
        self._embedder = options.device, embedder
        return embedder

    def _unload(self) -> None:
        if self._embedder:
            self._embedder[1].close()
            self._embedder = None


def _modalities(wanted: Modalities) -> tuple[Modality, ...]:
    """Return the named modalities; all where none are named.

    Raises:
        ModelError: A name is not a modality.
    """
    if wanted is None or isinstance(wanted, str):
        return parse_modalities(wanted)
    return parse_modalities(",".join(wanted))


def _clips(clips: str | os.PathLike[str] | Sequence[str | os.PathLike[str]]) -> tuple[str, ...]:
    if isinstance(clips, (str, os.PathLike)):
        return (os.fspath(clips),)
    return tuple(os.fspath(clip) for clip in clips)


def overrides(models: Models) -> tuple[str, ...]:
    """Return backbones that replace a preset's as ``color=vid2img``."""
    if isinstance(models, Mapping):
        return tuple(f"{modality}={name}" for modality, name in models.items())
    return tuple(models)
