"""AudioSet: its published embeddings become a library, without a video or a network.

The files hold one clip per record: a SequenceExample with the YouTube id, start, end and labels
of the clip, and 128 bytes for every second of it, which are VGGish's embedding after PCA and
quantisation (https://research.google.com/audioset/download.html).
"""

from __future__ import annotations

import csv
import hashlib
import math
import re
from collections import defaultdict
from collections.abc import Iterable, Iterator, Mapping
from dataclasses import dataclass
from pathlib import Path

import numpy as np

from ...schemas.backbones import BACKBONES
from ...schemas.collections import MAX_ID_LENGTH
from ...schemas.embedding import ByteArray, EmbeddedVideo, Rows, SegmentEmbedding
from ...schemas.errors import LibraryError, MediaError
from ...schemas.modality import Modality
from ...schemas.results import FailedFile, IngestReport
from ...schemas.video import LABEL_SEPARATOR, SEGMENT_SECONDS, Segment, Video
from ..discover.videos import check_id, library_name
from ..milvus.store import open_store
from ..models.networks.quantization import dequantize
from ..shards.catalog import CatalogEntry
from ..shards.home import Home, Place, stored_root
from ..shards.lock import writing
from ..sync.repair import bring_in_step
from ..sync.writer import Writer
from ..system.list_text import read_lines
from ..system.progress import Progress
from .sequence_example import Feature, parse_sequence_example
from .tfrecord import DamagedRecord, read_records

_BACKBONE = BACKBONES["vggish"]

_FLUSH_SEGMENTS = 4096
"""Clips per shard, 20 MB of vectors: AudioSet has two million clips."""

_YOUTUBE_ID = re.compile(rb"[\w-]{11}")


@dataclass(frozen=True)
class Clip:
    """A clip, as its record describes it.

    Attributes:
        youtube_id: The 11 letters that name the video on YouTube.
        start_s: Start of the clip within that video, seconds.
        end_s: Its end.
        labels: Indexes into AudioSet's class list, in the record's order.
        levels: (seconds, 128) uint8 as published.
    """

    youtube_id: str
    start_s: float
    end_s: float
    labels: tuple[int, ...]
    levels: ByteArray

    @property
    def address(self) -> str:
        """The clip's address on YouTube."""
        return f"https://www.youtube.com/watch?v={self.youtube_id}&t={self.start_s:.0f}"


def ingest_audioset(
    folder: Path,
    place: Place,
    progress: Progress,
    library: str | None = None,
    class_names: Mapping[int, str] | None = None,
) -> IngestReport:
    """Store the clips of every ``.tfrecord`` file under `folder` that are new or changed.

    Ids are ``library/YOUTUBE_ID@START``, the start in seconds of that video: the same whichever
    folder is given. Clips whose file is gone stay: splits may be imported one by one.

    Args:
        folder: AudioSet's features, for example ``audioset_v1_embeddings``.
        place: Home and Milvus to write to.
        progress: Receives the progress of the stages.
        library: The library's name; None for the folder's own.
        class_names: Display names by label, from `read_class_names`; a label without one is
            called ``label 123``. None leaves the names of unchanged clips as they are stored.

    Raises:
        LibraryError: The folder is missing or has no record file, or the library holds videos.
        StoreError: The home cannot be written or another process holds it.
    """
    if not folder.is_dir():
        raise LibraryError(f"There is no folder {folder}; give the one of AudioSet's features.")
    files = sorted(folder.rglob("*.tfrecord"))
    if not files:
        raise LibraryError(f"{folder} holds no .tfrecord file; give the folder of the features.")
    name = library_name(folder, library)
    failed: list[FailedFile] = []
    embedded = unchanged = 0
    with writing(place.home, f"import of {name}", place.wait):
        home = Home(place)
        home.shards.finish_deletions(name)
        catalog = home.shards.catalog(name)
        _check_imported(catalog, name)
        with open_store(place, writing=True) as store:
            notes = bring_in_step(store, home, name, progress)
            # Google's weights computed these rows, not the files that may be here.
            weights = {_BACKBONE.name: ""}
            writer = Writer(store, home, name, catalog, _FLUSH_SEGMENTS, weights)
            progress.start("importing", len(files), "files")
            try:
                for found in _read_files(files, name, catalog, class_names, progress):
                    if isinstance(found, FailedFile):
                        failed.append(found)
                        continue
                    entry = catalog.get(found.video.video_id)
                    if entry is not None and entry.version == found.version:
                        unchanged += 1
                    else:
                        writer.add(found)
                        embedded += 1
            finally:
                writer.flush()
            progress.finish("importing")
            writer.finish()
            notes += writer.notes + store.notes
    return IngestReport(
        library=name,
        videos=len(catalog),
        segments=sum(e.segments for e in catalog.values()),
        rows={Modality.AUDIO.value: sum(e.rows.get(_BACKBONE.name, 0) for e in catalog.values())},
        embedded=embedded,
        unchanged=unchanged,
        no_audio=0,
        missing=[],
        removed=0,
        failed=failed,
        notes=notes,
    )


def read_class_names(path: Path) -> dict[int, str]:
    """Read display names by label from AudioSet's ``class_labels_indices.csv``.

    The columns may be in any order and case, separated by commas, semicolons or tabs.

    Raises:
        LibraryError: It cannot be read, is another table, or leaves a label without a name.
    """
    give = (
        "it has the columns index,mid,display_name and is called class_labels_indices.csv, in UTF-8"
    )
    lines = [
        line
        for line in read_lines(path, "a list of AudioSet's classes", give)
        if line and not line.startswith("#")
    ]
    try:
        head = lines[0] if lines else ""
        delimiter = max(",;\t", key=head.count)
        table = csv.reader(lines, delimiter=delimiter, skipinitialspace=True)
        columns = [name.strip().casefold() for name in next(table, [])]
        at, named = columns.index("index"), columns.index("display_name")
        names = {int(row[at]): row[named].strip() for row in table}
        if not names or not all(names.values()):
            raise ValueError("a display name is missing" if names else "it has no rows")
    except (ValueError, IndexError, csv.Error) as error:
        raise LibraryError(f"{path} is no list of AudioSet's classes ({error}); {give}.") from error
    return names


def parse_clip(data: bytes) -> Clip:
    """Read one record.

    Raises:
        ValueError: It holds no clip; the message gives the reason in a few words.
    """
    example = parse_sequence_example(data)
    context = defaultdict(Feature, example.context)
    ids = context["video_id"].of_bytes
    if len(ids) != 1 or not _YOUTUBE_ID.fullmatch(ids[0]):
        raise ValueError("it names no YouTube video")
    times = context["start_time_seconds"].floats + context["end_time_seconds"].floats
    if len(times) != 2 or not 0 <= times[0] < times[1] < math.inf:
        raise ValueError("it has no start and end")
    labels = context["labels"].integers
    if any(label < 0 for label in labels):
        raise ValueError("it has a negative label")
    seconds = [feature.of_bytes for feature in example.steps.get("audio_embedding", ())]
    if not seconds or any(
        [len(value) for value in values] != [_BACKBONE.dim] for values in seconds
    ):
        raise ValueError(f"it has no embeddings of {_BACKBONE.dim} bytes")
    levels = np.frombuffer(b"".join(values[0] for values in seconds), np.uint8)
    return Clip(ids[0].decode(), *times, labels, levels.reshape(-1, _BACKBONE.dim))


def _check_imported(catalog: Mapping[str, CatalogEntry], library: str) -> None:
    """Raise LibraryError where `library` was made from files."""
    stored = next((stored_root(entry.video) for entry in catalog.values()), None)
    if stored is not None:
        raise LibraryError(
            f"The library {library} was made from {stored}; name AudioSet's with --library."
        )


def _read_files(
    files: Iterable[Path],
    library: str,
    catalog: Mapping[str, CatalogEntry],
    class_names: Mapping[int, str] | None,
    progress: Progress,
) -> Iterator[EmbeddedVideo | FailedFile]:
    """Yield the clips of all files, one at a time, and what was skipped."""
    seen: set[str] = set()
    for path in files:
        shown = str(path).encode(errors="backslashreplace").decode()  # JSON takes UTF-8 only
        try:
            modified_ns = path.stat().st_mtime_ns
            for record in read_records(path):
                try:
                    if isinstance(record, DamagedRecord):
                        raise ValueError(record.reason)
                    clip = parse_clip(record.data)
                    video_id = f"{library}/{clip.youtube_id}@{clip.start_s:g}"
                    if video_id in seen:
                        raise ValueError("the same clip came before")
                    check_id(video_id)
                    seen.add(video_id)
                    label = _label(clip, class_names or {})
                    stored = catalog.get(video_id)
                    if class_names is None and stored is not None:
                        kept = stored.video.label
                        if stored.video.fingerprint == _fingerprint(record.data, kept):
                            label = kept
                    yield _embedded(clip, video_id, library, label, record.data, modified_ns)
                except (ValueError, MediaError) as error:
                    reason = f"The record at byte {record.offset:,} was skipped: {error}."
                    yield FailedFile(path=shown, reason=reason)
        except OSError as error:
            yield FailedFile(path=shown, reason=f"It cannot be read: {error.strerror or error}.")
        progress.advance("importing", 1)


def _label(clip: Clip, class_names: Mapping[int, str]) -> str:
    label = LABEL_SEPARATOR.join(class_names.get(n, f"label {n}") for n in clip.labels)
    if len(label.encode()) > MAX_ID_LENGTH:
        raise ValueError(f"its labels are longer than {MAX_ID_LENGTH} bytes")
    return label


def _fingerprint(data: bytes, label: str) -> str:
    """Hash a record and its labels' names: a class list given later changes the clip."""
    return hashlib.blake2b(data + label.encode(), digest_size=16).hexdigest()


def _embedded(
    clip: Clip, video_id: str, library: str, label: str, data: bytes, modified_ns: int
) -> EmbeddedVideo:
    """Convert a clip to a video of one segment, with a row per second; times are YouTube's."""
    seconds = clip.start_s + np.arange(len(clip.levels) + 1)
    edges = np.minimum(seconds, clip.end_s).astype(np.float32)
    rows = Rows(dequantize(clip.levels), edges[:-1], edges[1:])
    return EmbeddedVideo(
        video=Video(
            video_id=video_id,
            library=library,
            path=clip.address,
            label=label,
            fingerprint=_fingerprint(data, label),
            size=len(data),
            mtime_ns=modified_ns,
        ),
        duration_s=clip.end_s - clip.start_s,
        segment_seconds=SEGMENT_SECONDS,
        backbones=frozenset({_BACKBONE.name}),
        segments=(Segment(0, clip.start_s, clip.end_s),),
        embeddings=(SegmentEmbedding({_BACKBONE.name: rows}),),
    )
