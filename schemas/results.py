"""What ``--json`` prints: the pydantic models are the schema."""

from __future__ import annotations

from pydantic import BaseModel, ConfigDict, Field


class _Result(BaseModel):
    # A command uses one or two of these; the rest need not be built.
    model_config = ConfigDict(extra="forbid", frozen=True, defer_build=True)


class FailedFile(_Result):
    """A file that gave no rows, and why."""

    path: str
    reason: str


class StageTime(_Result):
    """What one stage of an ingest took, in seconds, over all files."""

    cpu_s: float = Field(description="processor time, all threads of the stage's process")
    busy_s: float = Field(description="time in which it worked, all its processes together")
    held_s: float = Field(description="time for which the main loop stood still for it")
    blocked_s: float = Field(description="time for which nobody took its results")


class IngestTiming(_Result):
    """Where the time of an ingest went; the stages' ``held_s`` add up to it after the start."""

    seconds: float = Field(description="in all")
    startup_s: float = Field(description="of those, until networks were loaded")
    stages: dict[str, StageTime] = Field(description="decode, color, frame, audio, motion, write")


class IngestReport(_Result):
    """What ``vidsim ingest`` or ``ingest-audioset`` did, and what the library holds afterwards.

    ``videos``, ``segments`` and ``rows`` count the whole library; ``embedded`` and
    ``unchanged`` count this run's files, or the clips in them. ``moved`` are neither, unless they
    lacked something that was wanted: then they are ``embedded``, too.
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
    passed_over: dict[str, list[str]] = Field(
        default={}, description="what is in the folder and was not tried, by kind"
    )
    notes: list[str] = Field(default=[], description="what was repaired or went wrong")
    timing: IngestTiming | None = None


class ImportedLibrary(_Result):
    """What ``vidsim import`` did with one library, and what it holds afterwards."""

    library: str
    imported: int = Field(description="videos that had something new")
    unchanged: int = Field(description="videos that were stored already")
    videos: int
    segments: int
    rows: dict[str, int] = Field(description="rows by backbone")


class ImportReport(_Result):
    """What ``vidsim import`` did."""

    libraries: list[ImportedLibrary]
    notes: list[str] = Field(default=[], description="what was repaired or went wrong")


class ModalityMatch(_Result):
    """How one modality compares the query with one result.

    ``rank`` is among all candidates; the four times say which stretch of the query is
    most alike to which stretch of the result, in seconds.
    """

    rank: int = Field(ge=1)
    similarity: float
    share: float = Field(ge=0, le=1, description="part of the fused score, all sum to 1")
    query_start_s: float
    query_end_s: float
    start_s: float
    end_s: float


class QueryMatch(_Result):
    """One video of the ranking, with the reason for its place."""

    rank: int = Field(ge=1)
    video_id: str
    path: str
    label: str
    score: float
    modalities: dict[str, ModalityMatch]


class QueryResult(_Result):
    """What ``vidsim query`` answers."""

    query: str
    modalities: list[str] = Field(description="compared, in order")
    missing_modalities: list[str] = Field(description="asked for, but the query has none")
    fusion: str
    results: list[QueryMatch]
    notes: list[str] = Field(default=[], description="what a person should know about it")


class LibrarySummary(_Result):
    """One library as ``vidsim libraries`` lists it."""

    library: str
    videos: int
    segments: int
    hours: float
    rows: dict[str, int] = Field(description="rows by backbone")
    root: str


class StoredVideo(_Result):
    """One video as ``vidsim libraries --videos`` lists it."""

    video_id: str
    damage: str = Field(description="what of it did not decode, in words; empty where nothing")


class LevelComparison(_Result):
    """How one library's rows, or segments, of one backbone in Milvus compare with its shards."""

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
        """Rows that were missing, extra or differing."""
        return self.missing + self.extra + self.differing


class VerifyReport(_Result):
    """What ``vidsim verify`` found, and mended with ``--repair``."""

    milvus: str = Field(description="its host and port, or embedded")
    comparisons: list[LevelComparison]
    elsewhere: dict[str, int] = Field(
        description="rows by library of libraries that have no shard here; they are left alone"
    )
    notes: list[str] = Field(default=[], description="what a person should know, such as indexes")


class Estimate(_Result):
    """A figure with its 95 % interval, a bootstrap over videos."""

    value: float
    low: float
    high: float


class Figures(_Result):
    """The figures of one configuration under one protocol.

    Under leaky protocols rows ask and vote, but are not ranked: ``recall`` is empty there and
    ``mean_average_precision`` None.
    """

    protocol: str
    leaky: bool = Field(description="a query's own rows are among its neighbours")
    configuration: str = Field(
        description="a modality, a colour metric, or fused; against:NAME of a second export"
    )
    queries: int
    classes: int
    accuracy: Estimate = Field(description="mean over classes of the vote of k being right")
    recall: dict[int, Estimate] = Field(description="right within the first 1, 5, 10, 20")
    mean_average_precision: Estimate | None


class PairedTest(_Result):
    """How two configurations differ on the queries that both have."""

    protocol: str
    first: str
    second: str
    queries: int
    accuracy: Estimate = Field(description="first minus second")
    accuracy_p: float
    mean_average_precision: Estimate = Field(description="first minus second")
    mean_average_precision_p: float


class Confusion(_Result):
    """How many queries of one class were taken for another."""

    protocol: str
    configuration: str
    label: str
    predicted: str
    queries: int
    share: float = Field(description="of the queries of the class")


class TunedWeights(_Result):
    """Fusion weights found on a training part, and where query reads them."""

    weights: dict[str, float]
    backbones: dict[str, str]
    protocol: str
    training_videos: int


class AgainstExport(_Result):
    """The second of two exports, whose configurations are called ``against:NAME``."""

    folder: str
    libraries: list[str]
    backbones: dict[str, str]
    videos: int = Field(description="that it holds")
    first_videos: int = Field(description="that the first export holds")


class EvaluationReport(_Result):
    """What ``vidsim evaluate`` measured."""

    videos: int = Field(description="measured; with a second export those in common")
    libraries: list[str]
    backbones: dict[str, str]
    against: AgainstExport | None
    k: int
    seed: int
    resamples: int
    figures: list[Figures]
    comparisons: list[PairedTest]
    confusions: list[Confusion] = Field(description="the worst of each configuration")
    tuned: TunedWeights | None
    files: list[str]
    notes: list[str]


class KmeansTiming(_Result):
    """One way of k-means on one picture."""

    method: str = Field(
        description="sklearn, faiss (the capstone's way) or vidsim; with gpu, on a GPU"
    )
    k: int = Field(ge=1, description="colours wanted")
    ms: float = Field(description="median time of a run, milliseconds")
    inertia: float = Field(description="sum over pixels of squared distance, RGB in 0..1")
    time_ratio: float = Field(description="ms as a part of faiss's at the same k")
    inertia_ratio: float = Field(description="inertia as a part of faiss's at the same k")


class KmeansBench(_Result):
    """What ``vidsim bench kmeans`` measured."""

    image: str
    pixels: int
    runs: int
    threads: int
    faiss: str = Field(description="which faiss, and what it runs on")
    timings: list[KmeansTiming]


class Machine(_Result):
    """Where a benchmark ran."""

    cpu: str
    features: list[str] = Field(description="instructions that matter to networks")
    cores: int
    load: float = Field(description="mean of running processes in the minute before")
    versions: dict[str, str]


class IngestRun(_Result):
    """One measured run over a folder, from the start of its process to the end."""

    clips: int
    seconds: float
    startup_s: float = Field(description="of those, for imports and for loading networks")
    clips_per_s: float
    working_clips_per_s: float = Field(description="without the start")
    peak_mb: float = Field(description="most resident memory of all its processes together")


class StageCost(_Result):
    """What one stage of vidsim's ingest costs a clip, in milliseconds; medians of the runs."""

    stage: str
    cpu_ms: float = Field(description="processor time")
    busy_ms: float = Field(description="time in which it worked")
    held_ms: float = Field(description="time for which the main loop stood still for it")
    blocked_ms: float = Field(description="time for which nobody took its results")
    cores: float = Field(description="kept at work meanwhile")
    bound: str = Field(description="what keeps it from being faster")


class IngestBench(_Result):
    """What ``vidsim bench ingest`` measured: vidsim beside the capstone's way, in turn."""

    folder: str
    files: int
    backbones: dict[str, str] = Field(description="by modality")
    device: str
    machine: Machine
    vidsim: list[IngestRun]
    capstone: list[IngestRun]
    vidsim_clips_per_s: float = Field(description="median")
    capstone_clips_per_s: float = Field(description="median")
    ratio: float = Field(description="of clips a second, vidsim's over the capstone's; median")
    working_ratio: float = Field(description="the same without the start of either")
    stages: list[StageCost]
    capstone_ms: dict[str, float] = Field(description="milliseconds a clip by modality; medians")


class MemoryBench(_Result):
    """What ``vidsim bench memory`` measured: the memory of one long ingest."""

    folder: str
    files: int = Field(description="in the folder; ingested again and again")
    videos: int = Field(description="that were ingested")
    backbones: dict[str, str] = Field(description="by modality")
    device: str
    machine: Machine
    seconds: float
    peak_mb: float = Field(description="most resident memory of all its processes together")
    peaks_mb: list[float] = Field(description="the same in parts of the run, of equal length")


class KnnTiming(_Result):
    """One search of one index."""

    engine: str = Field(description="faiss, faiss gpu or milvus")
    index: str = Field(description="FLAT or IVF_FLAT")
    queries: int = Field(ge=1, description="vectors searched for in one call")
    k: int = Field(ge=1, description="neighbours wanted of each")
    ms: float = Field(description="median time of a call, milliseconds")
    recall: float = Field(ge=0, le=1, description="part of the exact neighbours that it found")


class KnnBench(_Result):
    """What ``vidsim bench knn`` measured; every vector has length 1, compared by inner product."""

    data: str
    rows: int
    dim: int
    lists: int = Field(description="IVF lists (nlist)")
    probes: int = Field(description="lists searched (nprobe)")
    milvus: str = Field(description="its version and where it ran")
    faiss: str = Field(description="which faiss, and what it runs on")
    runs: int
    threads: int
    build_s: dict[str, float] = Field(
        description="seconds an engine takes to take in the vectors and index them"
    )
    timings: list[KnnTiming]


class QueryTiming(_Result):
    """What one way of answering, or one part of it, takes a query."""

    what: str = Field(
        description="query; search, compare, fetch and count, for how long such calls of Milvus "
        "ran, on a server several at a time, and rest, for how long none did; faiss segments and "
        "faiss rows: exact searches of every modality for the same query; new clip: a query for "
        "a file in a process that has loaded the networks"
    )
    p50_ms: float
    p95_ms: float


class QueryBench(_Result):
    """What ``vidsim bench query`` measured on a synthetic library."""

    videos: int
    rows: dict[str, int] = Field(description="rows by backbone")
    milvus: str = Field(description="its version and where it ran")
    queries: int = Field(description="stored ids that were asked for, each once")
    threads: int
    fill_s: float | None = Field(
        description="seconds to make the library, write its shards and fill Milvus; "
        "None where it was kept from an earlier run"
    )
    recall: float = Field(
        ge=0, le=1, description="part of the ten best of all videos that the ten results hold"
    )
    timings: list[QueryTiming]
    first_clip_s: float | None = Field(
        default=None,
        description="seconds of the first query for a new clip, which loads the networks",
    )
    notes: list[str] = Field(default=[], description="what queries said of the library")


class ScaleStep(_Result):
    """A library of one size; peaks are of the process that holds Milvus: vidsim's own on Lite."""

    videos: int
    rows: dict[str, int] = Field(description="rows by backbone")
    fill_s: float = Field(
        description="seconds from the size before: videos made, shards written, Milvus filled"
    )
    fill_peak_mb: float | None = Field(description="resident memory meanwhile; None: unknown")
    build_s: float | None = Field(
        description="seconds to build the inverted indexes anew; None where search is exact"
    )
    open_s: float = Field(description="seconds to open the store and answer the first query")
    p50_ms: float = Field(description="of a query by id of a store that is open")
    p95_ms: float
    recall: float = Field(
        ge=0, le=1, description="part of the ten best of all videos that the ten results hold"
    )
    query_peak_mb: float | None = Field(description="resident memory meanwhile; None: unknown")
    shards_mb: float = Field(description="on disk")
    milvus_mb: float | None = Field(description="on disk; None on a server: unknown")


class ScaleFit(_Result):
    """A straight line through what was measured, by least squares."""

    what: str
    fixed: float
    per_1000_videos: float
    miss: float = Field(description="largest distance of a step, as a part of its value")


class ScaleLimit(_Result):
    """How far a library may grow until something is reached, by its line."""

    what: str
    videos: int | None = Field(description="None where it does not grow")


class ScaleBench(_Result):
    """What ``vidsim bench scale`` measured of a growing synthetic library."""

    milvus: str = Field(description="its version and where it ran")
    embedded: bool = Field(description="whether it was Milvus Lite in vidsim's own process")
    backbones: list[str]
    queries: int = Field(description="stored ids that were asked for at each step, each once")
    machine: Machine
    memory_gb: float = Field(description="of the machine that limits are told for")
    steps: list[ScaleStep]
    fits: list[ScaleFit]
    limits: list[ScaleLimit]
    notes: list[str] = Field(default=[], description="what queries said of the library")


class TunedIndex(_Result):
    """The index of one collection after ``vidsim tune-index``."""

    collection: str
    rows: int
    index_type: str
    lists: int = Field(description="IVF lists (nlist), 0 for an exact index")
    probes: int = Field(description="lists that a search looks into (nprobe), 0 for all")
    recall: float = Field(ge=0, le=1, description="part of the ten exact neighbours found")
    ms_before: float = Field(description="median time of a search for one vector, milliseconds")
    ms_after: float


class IndexTuning(_Result):
    """What ``vidsim tune-index`` did."""

    target: str = Field(description="lite, server, or server with GPU indexes")
    recall: float = Field(description="asked for")
    collections: list[TunedIndex]
    notes: list[str] = Field(default=[], description="what a person should know about it")


class Stretch(_Result):
    """A stretch of a video, in seconds."""

    video_id: str
    path: str
    start_s: float
    end_s: float


class DuplicatePair(_Result):
    """Two videos that show the same, and where."""

    first: Stretch
    second: Stretch
    hash_distance: float = Field(description="mean differing bits (of 64) of matching frames")
    similarity: float = Field(description="cosine of the mean frame embeddings of the stretch")
    coverage: float = Field(ge=0, le=1, description="matching part of the shorter video")
    identical: bool = Field(
        default=False, description="the files are the same byte for byte; nothing was compared"
    )


class DuplicatesReport(_Result):
    """What ``vidsim duplicates`` found, surest first."""

    libraries: list[str]
    videos: int = Field(description="compared with each other")
    max_distance: int
    min_similarity: float
    pairs: list[DuplicatePair]
    failed: list[FailedFile] = Field(description="videos whose file cannot be read any more")
    notes: list[str] = Field(default=[], description="what a person should know about it")


class ServiceStatus(_Result):
    """A service of the deployment."""

    service: str
    state: str = Field(description="as the engine says: running, exited ...; absent without one")
    ready: bool = Field(description="whether its health check succeeds")
    image: str
    address: str | None = Field(description="where it is reached from this machine")


class DeploymentStatus(_Result):
    """What ``vidsim status`` found."""

    services: list[ServiceStatus]
    uri: str | None = Field(description="where Milvus is reached; none where it was not started")
    used: bool = Field(description="whether vidsim's settings name it")
