"""The front door: an opened home, and all that can be done with its libraries.

The command line, a server and people's Python call this and nothing below it. What a call does
not need is not loaded: neither torch nor TensorFlow for a stored video, no Milvus for a listing.
"""

from __future__ import annotations

import os
from collections.abc import Callable, Iterable, Iterator, Mapping, Sequence
from contextlib import ExitStack, contextmanager
from dataclasses import replace
from pathlib import Path
from threading import RLock
from types import TracebackType
from typing import TYPE_CHECKING, Literal, Self

from ..ingest.shards.home import EMBEDDED, Place
from ..ingest.system.progress import Progress, Report, listening
from ..schemas.backbones import DEFAULT_PRESET, choose_backbones
from ..schemas.duplicates import DuplicateOptions
from ..schemas.modality import Modality, parse_modalities
from ..schemas.settings import settings
from .background import refresh

if TYPE_CHECKING:
    from ..ingest.extract.batching import FailedVideo
    from ..ingest.extract.embed import Embedder, EmbedOptions
    from ..ingest.milvus.store import Store
    from ..schemas.collections import IndexPolicy
    from ..schemas.embedding import EmbeddedVideo
    from ..schemas.evaluation import EvaluationReport
    from ..schemas.results import (
        DuplicatesReport,
        ImportReport,
        IndexTuning,
        IngestReport,
        LibrarySummary,
        QueryResult,
        StoredVideo,
        VerifyReport,
    )
    from ..schemas.video import Video

Watcher = Progress | Report | None
"""Who is told how far work is: a display, a function that takes a `Step`, or nobody."""

Models = Mapping[str, str] | Iterable[str]
"""Backbones that stand in for a preset's: ``{"color": "vid2img"}`` or ``["color=vid2img"]``."""

Modalities = str | Iterable[str] | None
"""``"color,audio"`` or ``["color", "audio"]``; None for all of them."""

Device = Literal["auto", "cpu", "cuda"]


class Library:
    """An opened home with all of its libraries, to ingest into and to search.

    A query after the first loads nothing: networks, decoder and Milvus stay open. Any number of
    threads may call one `Library`; calls that need Milvus or the networks take turns. While the
    embedded Milvus is open (from the first query on, until `close` or a call that writes), no
    other process can use it; a server has no such limit.

    Use it as a context manager, or call `close`: it ends the processes that decode and hear.
    """

    def __init__(self, place: Place, progress: Watcher = None) -> None:
        """Opens nothing yet; `Library.open` fills in what the settings say.

        Raises:
            SettingsError: A setting has a value that it cannot have.
        """
        self._place = place
        self._settings = settings(place.home)
        self._progress = progress
        self._lock = RLock()
        self._store: Store | None = None
        self._opened = ExitStack()
        self._embedder: tuple[str, Embedder] | None = None

    @classmethod
    def open(
        cls,
        home: str | os.PathLike[str] | None = None,
        *,
        uri: str | None = None,
        index: IndexPolicy | None = None,
        progress: Watcher = None,
    ) -> Self:
        """Opens a home as the command line does: settings, server, token and certificates.

        Args:
            home: The folder; None for ``VIDSIM_HOME``, or the platform's own.
            uri: A Milvus server, or ``embedded``; None for what the settings say.
            index: Indexes of a server's new collections: ``auto``, ``cpu`` or ``gpu``.
            progress: Told of every call that is not given another.

        Raises:
            SettingsError: A setting has a value that it cannot have.
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
        )
        return cls(place, progress)

    @property
    def home(self) -> Path:
        """The folder of shards, settings and the embedded Milvus."""
        return self._place.home

    @property
    def place(self) -> Place:
        """Where it is, and which Milvus it uses."""
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
        progress: Watcher = None,
    ) -> IngestReport:
        """Reads a folder of videos and stores what is new or has changed.

        Args:
            folder: A folder of videos and sounds, or one file.
            library: The library's name; None for the folder's.
            modalities: What to describe videos by.
            models: Backbones that stand in for the preset's.
            preset: ``compact`` or ``classic``; None for ``compact``.
            segment_seconds: Length of the segments of a long video; None for the settings'.
            audio_track: Which track of sound, from 1; None for the one that goes with the picture.
            device: Where networks run; None for the settings'.
            workers: Decoder processes; None for the settings', or half the cores.
            prune: Whether to remove stored videos whose file is gone.
            progress: Told how far it is.

        Raises:
            LibraryError: No such folder, nothing in it, or the name belongs to another folder.
            ModelError: No such modality, backbone, preset or device.
            StoreError: The home cannot be written, or another process holds it.
            WeightsError: Weights are missing and cannot be fetched, or stored rows had others.
            WorkerError: The process that hears failed.
        """
        from ..ingest.extract.embed import EmbedOptions
        from ..ingest.models.registry import register_overrides
        from ..ingest.pipeline import ingest

        overrides = _overrides(models)
        with self._writing() as place:
            known = register_overrides(place.home, overrides)
            options = EmbedOptions(
                backbones=choose_backbones(
                    _modalities(modalities), overrides, preset or DEFAULT_PRESET, known
                ),
                segment_seconds=segment_seconds or self._settings.segment_seconds,
                device=device or self._settings.device,
                workers=workers or self._settings.workers,
                nvdec=self._settings.nvdec,
                audio_track=audio_track,
            )
            told = self._told(progress)
            report = ingest(Path(folder), place, options, told, library=library, prune=prune)
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
        """Reads AudioSet's published embeddings.

        Args:
            folder: The folder of its .tfrecord files.
            library: The library's name; None for the folder's.
            class_labels: AudioSet's class_labels_indices.csv, to name labels.
            progress: Told how far it is.

        Raises:
            LibraryError: No such folder, no record file in it, or the library holds videos.
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
        clip: str | os.PathLike[str],
        *,
        k: int = 10,
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
        progress: Watcher = None,
    ) -> QueryResult:
        """Ranks stored videos by their likeness to a clip, and says why.

        Args:
            clip: A file, or the id of a stored video (then nothing is decoded).
            k: Results wanted.
            modalities: What to compare by; None for all that the libraries have.
            libraries: Those to search; none for all.
            filter: Milvus filter over the fields, such as ``label == "snow"``.
            fusion: How modalities are combined.
            weights: By modality, ``"default"`` for the measured ones; None for tuned ones where
                there are some.
            models: Backbones that stand in for the preset's.
            preset: The preset whose backbones alone count; None for what is stored.
            exclude_self: Whether to leave the query's own video out; None does so for stored ids.
            segment_seconds: How a new clip is cut; None for the settings'.
            audio_track: Which track of a new clip's sound, from 1; None for the picture's own.
            device: Where a new clip is embedded; None for the settings'.
            progress: Told how far it is.

        Raises:
            LibraryError: Nothing is stored, or no such clip or library.
            ModelError: A modality, backbone, weight, filter or device that does not fit.
            MediaError: The clip cannot be read, or has nothing to be compared by.
            WeightsError: Weights are missing, or stored rows had others.
            StoreError: Milvus cannot be read.
        """
        from .query import QueryOptions, answer

        if weights is not None and not isinstance(weights, str):
            weights = ",".join(f"{name}={weight}" for name, weight in weights.items())
        options = QueryOptions(
            modalities=None if modalities is None else _modalities(modalities),
            overrides=_overrides(models),
            preset=preset,
            k=k,
            libraries=tuple(libraries),
            expression=filter,
            fusion=fusion,
            weights=weights,
            exclude_self=exclude_self,
            device=device or self._settings.device,
            segment_seconds=segment_seconds or self._settings.segment_seconds,
            audio_track=audio_track,
        )
        with self._lock:
            told = self._told(progress)
            store = self._searched()
            return answer(os.fspath(clip), store, self._place, options, told, self._embed)

    def libraries(self) -> list[LibrarySummary]:
        """What each library holds, by name.

        Raises:
            StoreError: A shard cannot be read.
        """
        from ..ingest.sync.libraries import summarize

        return summarize(self._place)

    def videos(self) -> list[StoredVideo]:
        """All stored videos, by library and id.

        Raises:
            StoreError: A shard cannot be read.
        """
        from ..ingest.sync.libraries import list_videos

        return list_videos(self.home)

    def find(self, *names: str) -> dict[str, list[str]]:
        """Ids of videos by library, for names of libraries and ids of videos.

        Raises:
            LibraryError: A name that is neither.
            StoreError: A shard cannot be read.
        """
        from ..ingest.sync.libraries import find

        return find(self.home, names)

    def remove(self, *names: str) -> dict[str, list[str]]:
        """Removes libraries or videos, of which the files stay; gives the ids by library.

        Raises:
            LibraryError: A name that is neither.
            StoreError: The home or Milvus cannot be written, or another process holds it.
        """
        from ..ingest.sync.libraries import remove_all

        with self._writing() as place:
            found = self.find(*names)
            remove_all(place, found)
        return found

    def reindex(
        self, *libraries: str, fresh: bool = False, progress: Watcher = None
    ) -> VerifyReport:
        """Has Milvus hold what the shards do; no video is read.

        Args:
            *libraries: Which; none for all.
            fresh: Whether to delete all rows first.
            progress: Told how far it is.

        Raises:
            LibraryError: A library that is not there.
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
        progress: Watcher = None,
    ) -> VerifyReport:
        """Compares Milvus with the shards row by row.

        Args:
            *libraries: Which; none for all.
            sample: Of how many videos a library and collection the vectors are compared too.
            repair: Whether to write what is missing or differs, and to delete what is extra.
            progress: Told how far it is.

        Raises:
            LibraryError: A library that is not there.
            StoreError: Milvus or a shard cannot be read or written, or another process holds it.
        """
        from ..ingest.sync.libraries import verify_all

        with self._writing() as place:
            return verify_all(place, libraries, sample, self._told(progress), repair)

    def tune_index(self, *, recall: float = 0.99, progress: Watcher = None) -> IndexTuning:
        """Gives each collection the index that its size needs.

        Args:
            recall: Part of the ten exact neighbours that a search is to find.
            progress: Told how far it is.

        Raises:
            LibraryError: Nothing is stored.
            StoreError: Milvus cannot be read, or does not build an index.
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
        """Writes vectors, ids, labels and times to HDF5 files; gives the files.

        Args:
            folder: Where to write; made if it is not there.
            libraries: Which; none for all.
            layout: vidsim's files, or those of the capstone.
            progress: Told how far it is.

        Raises:
            LibraryError: A library that is not there, or none at all.
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
        """Stores what export files hold, the capstone's too.

        Args:
            *files: The HDF5 files.
            library: The library's name, for files that do not say one.
            progress: Told how far it is.

        Raises:
            LibraryError: No such file, no library named, or a video is stored in another version.
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
        seed: int = 0,
        out: str | os.PathLike[str] | None = None,
        progress: Watcher = None,
    ) -> EvaluationReport:
        """Measures how well exported videos find others of their class; writes a report.

        Args:
            folder: What `export` wrote.
            k: How many nearest videos vote.
            protocols: ``leave-one-out``, ``split``, ``group``, ``official``, or the leaky
                ``capstone-all`` and ``capstone-split``; none for leave-one-out.
            train_list: UCF101's trainlistNN.txt (official).
            test_list: UCF101's testlistNN.txt (official).
            allow_missing: Whether to leave out what the lists name and the export lacks.
            color: Metrics of colour to compare, ``"l2,mse,ssim,labhist"``.
            compare: Pairs of configurations to test, such as ``"frame,fused"``.
            against: Another export of the same videos to test each configuration against.
            models: Backbones that stand in for the default ones.
            tune_weights: Whether to find fusion weights on the training part, for `query` to use.
            seed: Of splits and resamples.
            out: Folder of the report; None for ``folder/evaluation``.
            progress: Told how far it is.

        Raises:
            LibraryError: No export, or lists that do not fit.
            ModelError: A protocol, metric, configuration or backbone that is not there.
            StoreError: A file is damaged, or the report cannot be written.
        """
        from ..ingest.models.registry import known_backbones
        from .evaluation.color_metrics import parse_color_metrics
        from .evaluation.comparisons import parse_comparison
        from .evaluation.evaluate import EvaluateOptions, evaluate, keep_tuned, parse_protocols
        from .evaluation.report import write_files

        options = EvaluateOptions(
            protocols=parse_protocols(protocols),
            k=k,
            overrides=_overrides(models),
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
        written = write_files(found, Path(out) if out else Path(folder) / "evaluation", told)
        kept = keep_tuned(self.home, found.report)
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
        """Lists the pairs of stored videos that show the same, and where.

        Args:
            *libraries: Which to compare, within and between each other; none for all.
            max_distance: Most differing bits of two frames' 64-bit hashes.
            min_similarity: Least cosine of the mean frame embeddings.
            progress: Told how far it is.

        Raises:
            LibraryError: Nothing is stored, no such library, or there is nothing to compare by.
            StoreError: A shard cannot be read.
        """
        from ..ingest.extract.embed import default_workers
        from .duplicates.find import find_duplicates

        options = DuplicateOptions(max_distance, min_similarity)
        workers = self._settings.workers or default_workers()
        return find_duplicates(self.home, libraries, options, workers, self._told(progress))

    def wait_for_milvus(self, tell: Callable[[str], None] = lambda _: None) -> None:
        """Waits until a server that has just been started answers searches.

        Args:
            tell: Told in words what is waited for.

        Raises:
            StoreError: It does not answer, or not in time.
        """
        from ..ingest.milvus.connection import open_client
        from ..ingest.milvus.indexes import wait_until_searchable

        with open_client(self._place) as milvus:
            wait_until_searchable(milvus, tell=tell)

    def close(self) -> None:
        """Closes Milvus, and ends the processes that embed. The library can be used again."""
        with self._lock:
            self._unload()
            self._release()

    def __enter__(self) -> Self:
        """Returns itself."""
        return self

    def __exit__(
        self,
        kind: type[BaseException] | None,
        error: BaseException | None,
        trace: TracebackType | None,
    ) -> None:
        """Closes."""
        self.close()

    def _told(self, progress: Watcher) -> Progress:
        return listening(progress or self._progress)

    @contextmanager
    def _writing(self) -> Iterator[Place]:
        """Keeps other threads from Milvus, which a writer opens for itself."""
        with self._lock:
            self._release()
            yield self._place

    def _searched(self) -> Store:
        """The Milvus to search, opened by the first query."""
        from ..ingest.milvus.store import open_store

        if self._store is None:
            self._store = self._opened.enter_context(open_store(self._place))
        return self._store

    def _release(self) -> None:
        self._store = None
        self._opened.close()

    def _embed(
        self, video: Video, options: EmbedOptions, progress: Progress
    ) -> EmbeddedVideo | FailedVideo:
        embedder = self._loaded(options, progress)
        try:
            return embedder.embed(video, options)
        except BaseException:
            self._unload()
            raise

    def _loaded(self, options: EmbedOptions, progress: Progress) -> Embedder:
        """An embedder that has the backbones, and those that were asked for before."""
        from ..ingest.extract.embed import Embedder

        before = {}
        if self._embedder:
            device, embedder = self._embedder
            before = embedder.backbones
            if device == options.device and options.backbones.items() <= before.items():
                return embedder
            self._unload()
        wanted = replace(options, backbones={**before, **options.backbones})
        embedder = Embedder(wanted, progress)
        self._embedder = options.device, embedder
        return embedder

    def _unload(self) -> None:
        if self._embedder:
            self._embedder[1].close()
            self._embedder = None


def _modalities(wanted: Modalities) -> tuple[Modality, ...]:
    """Those named; all where none are.

    Raises:
        ModelError: A name that is no modality.
    """
    if wanted is None or isinstance(wanted, str):
        return parse_modalities(wanted)
    return parse_modalities(",".join(wanted))


def _overrides(models: Models) -> tuple[str, ...]:
    if isinstance(models, Mapping):
        return tuple(f"{modality}={name}" for modality, name in models.items())
    return tuple(models)
