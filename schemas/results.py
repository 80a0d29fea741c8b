"""Results that ``--json`` prints: the pydantic models are the schema."""

from __future__ import annotations

from typing import Literal

from pydantic import BaseModel, ConfigDict, Field


class Result(BaseModel):
    """Base of all results: extra fields are forbidden, and all are frozen."""

    # A command uses one or two of these models; the rest need not be built.
    model_config = ConfigDict(extra="forbid", frozen=True, defer_build=True)


class FailedFile(Result):
    """A file that gave no rows, and why."""

    path: str
    reason: str
    tried: bool = Field(
        default=True,
        description="false: it failed in an earlier ingest, is unchanged, and was not tried again",
    )


class StageTime(Result):
    """Times of one stage of an ingest, in seconds, over all files."""

    cpu_s: float = Field(description="processor time, all threads of the stage's process")
    busy_s: float = Field(description="time in which it worked, all its processes together")
    held_s: float = Field(description="time for which the main loop stood still for it")
    blocked_s: float = Field(description="time in which its results waited to be taken")


class IngestTiming(Result):
    """Times of an ingest; the stages' ``held_s`` add up to the duration after the start."""

    seconds: float = Field(description="in all")
    startup_s: float = Field(description="of those, until networks were loaded")
    stages: dict[str, StageTime] = Field(description="decode, color, frame, audio, motion, write")


class IngestReport(Result):
    """Report of ``vidsim ingest`` or ``ingest-audioset``, and the library's contents afterwards.

    ``videos``, ``segments`` and ``rows`` count the whole library; ``embedded`` and
    ``unchanged`` count this run's files, or the clips in them. ``moved`` are neither, unless they
    lacked requested rows: then they are ``embedded``, too.
    """

    library: str
    videos: int
    segments: int
    rows: dict[str, int]
    embedded: int
    unchanged: int
    no_audio: int = Field(description="videos without a sound: no track, or silence")
    missing: list[str] = Field(description="stored videos whose file is gone")
    removed: int = Field(description="of those, taken out by --prune")
    failed: list[FailedFile]
    damaged: list[FailedFile] = Field(
        default=[], description="of this run: files of which a part did not decode, and how much"
    )
    moved: int = Field(default=0, description="files known again under another path, not read anew")
    moved_from: dict[str, int] = Field(
        default={}, description="of those moved, the ones of other libraries, by library"
    )
    passed_over: dict[str, list[str]] = Field(
        default={}, description="what is in the folder and was not tried, by kind"
    )
    left: int = Field(default=0, description="files not begun, as it was asked to stop")
    notes: list[str] = Field(default=[], description="what was repaired or went wrong")
    timing: IngestTiming | None = None


class ImportedLibrary(Result):
    """Report of ``vidsim import`` on one library, and its contents afterwards."""

    library: str
    imported: int = Field(description="videos that had something new")
    unchanged: int = Field(description="videos that were stored already")
    videos: int
    segments: int
    rows: dict[str, int] = Field(description="rows by backbone")


class ImportReport(Result):
    """Report of ``vidsim import``."""

    libraries: list[ImportedLibrary]
    notes: list[str] = Field(default=[], description="what was repaired or went wrong")


class ModalityMatch(Result):
    """One modality's comparison of the query with one result.

    ``rank`` is among all candidates; the four times give the most similar stretches of the query
    (of several examples, of the one that is most similar) and of the result, in seconds.
    """

    rank: int = Field(ge=1)
    similarity: float
    likeness: float = Field(ge=0, le=1, description="as that of the video, by this modality alone")
    share: float = Field(ge=0, le=1, description="part of relative_score, all sum to 1")
    query_start_s: float
    query_end_s: float
    start_s: float
    end_s: float
    to_examples: dict[str, float] = Field(
        default={}, description="similarity to each example that has the modality"
    )
    to_negatives: dict[str, float] = Field(
        default={}, description="to each clip that the results are not to be like"
    )


class MatchedMoment(Result):
    """A stretch of the query, and one of a result, as long, that is like it."""

    example: str = Field(
        default="", description="the clip that it is of: of several examples the one most alike"
    )
    query_start_s: float
    query_end_s: float
    start_s: float
    end_s: float
    likeness: float = Field(ge=0, le=1, description="of this stretch alone, by all modalities")


class QueryMatch(Result):
    """One video of the ranking, with the evidence for its rank."""

    rank: int = Field(ge=1)
    video_id: str
    path: str
    label: str
    likeness: float = Field(
        ge=0,
        le=1,
        description="the same for the same two videos and weights, whatever else is stored (but by "
        "networks of timm): about a third for the same kind of thing, two thirds for the same "
        "scene, 1 for the same footage",
    )
    word: Literal["same footage", "very alike", "alike", "weak"] = Field(
        description="the likeness in words"
    )
    relative_score: float = Field(
        gt=0,
        description="part of the query's attention, or with rrf the sum of reciprocal ranks; "
        "comparable within one result only",
    )
    moments: list[MatchedMoment] = Field(
        description="where the query and the video correspond by all modalities together: the best "
        "stretch first, then others of the video that are about as good"
    )
    modalities: dict[str, ModalityMatch]


class QueryResult(Result):
    """Result of ``vidsim query``."""

    query: str
    examples: list[str] = Field(default=[], description="clips that the results are to be like")
    example_paths: list[str] = Field(default=[], description="where their files are, or were")
    negatives: list[str] = Field(default=[], description="clips that they are not to be like")
    modalities: list[str] = Field(description="compared, in order")
    missing_modalities: list[str] = Field(description="asked for, but the query has none")
    fusion: str
    chance: float = Field(
        ge=0, le=1, description="likeness that a best result may have by chance in these libraries"
    )
    nothing_alike: bool = Field(description="no video is more like the query than by chance")
    best_likeness: float | None = Field(
        default=None,
        ge=0,
        le=1,
        description="of all that was found, also what --min-score leaves out; null for nothing",
    )
    results: list[QueryMatch]
    notes: list[str] = Field(default=[], description="what a person should know about it")

    def path_of(self, example: str) -> str:
        """Return where the file of an example is, "" where that is unknown."""
        return dict(zip(self.examples, self.example_paths)).get(example, "")


RootState = Literal["here", "partly missing", "missing", "no folder", "unknown"]
"""State of a library's folder.

``missing`` also where no file is in it, as of a disk that is not mounted; ``no folder`` where the
library was imported; ``unknown`` where its shards are lost or cannot be read.
"""


class LibrarySummary(Result):
    """One library as ``vidsim libraries`` lists it."""

    library: str
    videos: int
    segments: int
    hours: float
    rows: dict[str, int] = Field(description="rows by backbone")
    root: str
    root_state: RootState
    looked_at: int = Field(description="files of stored videos that were looked for")
    missing: int = Field(description="of those, not there")
    damage: list[str] = Field(
        default=[], description="sentences about shards that are missing or not as written"
    )


class StoredVideo(Result):
    """One video as ``vidsim videos`` lists it."""

    video_id: str
    path: str = Field(description="where its file was, or its address")
    label: str
    duration_s: float
    size: int = Field(description="bytes of its file; 0 where they are not known")
    segments: int
    sound: bool | None = Field(
        description="False for no track or silence, None where no sound was embedded"
    )
    modalities: list[str] = Field(description="of which it has rows")
    rows: dict[str, int] = Field(description="rows by backbone, 0 where it gave none")
    damage: str = Field(description="what of it did not decode, in words; empty where nothing")
    stored_at: str = Field(
        description="when its newest rows were embedded or imported: UTC, as 2019-05-01T12:00:00Z"
    )


class LabelReport(Result):
    """Report of ``vidsim label``."""

    changed: int = Field(description="videos that have another label now")
    unchanged: int = Field(description="videos that had the label already")
    notes: list[str] = Field(default=[], description="what went wrong")


class LabelSummary(Result):
    """One label as ``vidsim labels`` lists it."""

    label: str = Field(description="empty for videos without one")
    videos: int


class LevelComparison(Result):
    """Comparison of a library's rows, or segments, of one backbone in Milvus with its shards."""

    library: str
    backbone: str
    level: str = Field(description="rows, or segments: the means that are searched")
    shards: int = Field(description="what the shards hold")
    milvus: int = Field(description="what Milvus held")
    missing: int = Field(description="of the shards' that Milvus did not hold")
    extra: int = Field(description="of Milvus' that no shard knows")
    differing: int = Field(description="of which a field or the vector was another")
    vectors: int = Field(description="of which the vector was compared too")
    repaired: int = Field(description="written or deleted")
    examples: list[str] = Field(description="ids of the first few that were wrong")

    @property
    def wrong(self) -> int:
        """Number of missing, extra or differing rows."""
        return self.missing + self.extra + self.differing


class FilesChecked(Result):
    """Files of one kind that ``vidsim verify --deep`` read whole."""

    what: str
    files: int
    bytes: int
    wrong: int


class VerifyReport(Result):
    """Report of ``vidsim verify``, and of its repairs with ``--repair``."""

    milvus: str = Field(description="its host and port, or embedded")
    comparisons: list[LevelComparison]
    elsewhere: dict[str, int] = Field(
        description="rows by library of libraries that have no shard here; they are left alone"
    )
    damage: list[str] = Field(
        default=[], description="sentences about shards that are missing, damaged or changed"
    )
    mended: list[str] = Field(
        default=[], description="sentences about files that were damaged and are well again"
    )
    lost: list[str] = Field(
        default=[], description="sentences about videos that no shard has any more, with --deep"
    )
    files: list[FilesChecked] = Field(default=[], description="what was read beside, with --deep")
    shards_read: int = Field(default=0, description="shards that were read whole")
    shards_known: int = Field(default=0, description="all shards of these libraries")
    notes: list[str] = Field(default=[], description="what a person should know, such as indexes")


class CompactedLibrary(Result):
    """The shards of one library before and after ``vidsim compact``."""

    library: str
    before: int
    after: int


class TunedIndex(Result):
    """The index of one collection after ``vidsim tune-index``."""

    collection: str
    rows: int
    index_type: str
    lists: int = Field(description="IVF lists (nlist), 0 for an exact index")
    probes: int = Field(description="lists that a search looks into (nprobe), 0 for all")
    recall: float = Field(ge=0, le=1, description="part of the ten exact neighbours found")
    ms_before: float = Field(description="median time of a search for one vector, milliseconds")
    ms_after: float


class IndexTuning(Result):
    """Report of ``vidsim tune-index``."""

    target: str = Field(description="lite, server, or server with GPU indexes")
    recall: float = Field(description="asked for")
    collections: list[TunedIndex]
    notes: list[str] = Field(default=[], description="what a person should know about it")


class ServiceStatus(Result):
    """A service of the deployment."""

    service: str
    state: str = Field(description="as the engine says: running, exited ...; absent without one")
    ready: bool = Field(description="whether its health check succeeds")
    image: str
    address: str | None = Field(description="where it is reached from this machine")


class DeploymentStatus(Result):
    """Report of ``vidsim status``."""

    services: list[ServiceStatus]
    uri: str | None = Field(description="where Milvus is reached; none where it was not started")
    used: bool = Field(description="whether vidsim's settings name it")


class Stretch(Result):
    """A stretch of a video, in seconds."""

    video_id: str
    path: str
    start_s: float
    end_s: float


class DuplicatePair(Result):
    """Two videos that share footage, and where."""

    first: Stretch
    second: Stretch
    hash_distance: float = Field(description="mean differing bits (of 64) of matching frames")
    similarity: float = Field(description="cosine of the mean frame embeddings of the stretch")
    coverage: float = Field(ge=0, le=1, description="matching part of the shorter video")
    identical: bool = Field(
        default=False, description="the files are the same byte for byte; nothing was compared"
    )


class DuplicatesReport(Result):
    """Report of ``vidsim duplicates``, most certain pairs first."""

    libraries: list[str]
    videos: int = Field(description="compared with each other")
    max_distance: int
    min_similarity: float
    pairs: list[DuplicatePair]
    failed: list[FailedFile] = Field(description="videos whose file cannot be read any more")
    notes: list[str] = Field(default=[], description="what a person should know about it")
