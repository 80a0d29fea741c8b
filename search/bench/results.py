"""Models of the benchmarks' reports."""

from __future__ import annotations

from pydantic import Field

from ...schemas.results import Result


class KmeansTiming(Result):
    """One method of k-means on one picture."""

    method: str = Field(
        description="sklearn, faiss (the capstone's way) or vidsim; with gpu, on a GPU"
    )
    k: int = Field(ge=1, description="colours wanted")
    ms: float = Field(description="median time of a run, milliseconds")
    inertia: float = Field(description="sum over pixels of squared distance, RGB in 0..1")
    time_ratio: float = Field(description="ms as a part of faiss's at the same k")
    inertia_ratio: float = Field(description="inertia as a part of faiss's at the same k")


class KmeansBench(Result):
    """Report of ``vidsim bench kmeans``."""

    image: str
    pixels: int
    runs: int
    threads: int
    faiss: str = Field(description="which faiss, and what it runs on")
    timings: list[KmeansTiming]


class Machine(Result):
    """The machine that a benchmark ran on."""

    cpu: str
    features: list[str] = Field(description="instructions that matter to networks")
    cores: int
    load: float = Field(description="mean of running processes in the minute before")
    versions: dict[str, str]


class IngestRun(Result):
    """One measured run over a folder, from the start of its process to the end."""

    clips: int
    seconds: float
    startup_s: float = Field(description="of those, for imports and for loading networks")
    clips_per_s: float
    working_clips_per_s: float = Field(description="without the start")
    peak_mb: float = Field(description="most resident memory of all its processes together")


class StageCost(Result):
    """Cost per clip of one stage of vidsim's ingest, in milliseconds; medians of the runs."""

    stage: str
    cpu_ms: float = Field(description="processor time")
    busy_ms: float = Field(description="time in which it worked")
    held_ms: float = Field(description="time for which the main loop stood still for it")
    blocked_ms: float = Field(description="time in which its results waited to be taken")
    cores: float = Field(description="kept at work meanwhile")
    bound: str = Field(description="what keeps it from being faster")


class IngestBench(Result):
    """Report of ``vidsim bench ingest``: vidsim against the capstone's pipeline, interleaved."""

    folder: str
    files: int
    backbones: dict[str, str] = Field(description="by modality")
    device: str
    machine: Machine
    cpu_paths: dict[str, str] = Field(
        description="how a CPU computes networks that have several ways, by backbone"
    )
    vidsim: list[IngestRun]
    capstone: list[IngestRun]
    vidsim_clips_per_s: float = Field(description="median")
    capstone_clips_per_s: float = Field(description="median")
    ratio: float = Field(description="of clips a second, vidsim's over the capstone's; median")
    working_ratio: float = Field(description="the same without the start of either")
    stages: list[StageCost]
    capstone_ms: dict[str, float] = Field(description="milliseconds a clip by modality; medians")


class MemoryBench(Result):
    """Report of ``vidsim bench memory``: the memory of one long ingest."""

    folder: str
    files: int = Field(description="in the folder; ingested again and again")
    videos: int = Field(description="that were ingested")
    backbones: dict[str, str] = Field(description="by modality")
    device: str
    machine: Machine
    seconds: float
    peak_mb: float = Field(description="most resident memory of all its processes together")
    peaks_mb: list[float] = Field(description="the same in parts of the run, of equal length")


class KnnTiming(Result):
    """One search of one index."""

    engine: str = Field(description="faiss, faiss gpu or milvus")
    index: str = Field(description="FLAT or IVF_FLAT")
    queries: int = Field(ge=1, description="vectors searched for in one call")
    k: int = Field(ge=1, description="neighbours wanted of each")
    ms: float = Field(description="median time of a call, milliseconds")
    recall: float = Field(ge=0, le=1, description="part of the exact neighbours that it found")


class KnnBench(Result):
    """Report of ``vidsim bench knn``; all vectors have length 1, compared by inner product."""

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


class QueryTiming(Result):
    """Time per query of one method, or of one part of it."""

    what: str = Field(
        description="query; search, compare, fetch and count, for how long such calls of Milvus "
        "ran, on a server several at a time, and rest, for how long none did; faiss segments and "
        "faiss rows: exact searches of every modality for the same query; new clip: a query for "
        "a file in a process that has loaded the networks"
    )
    p50_ms: float
    p95_ms: float


class QueryBench(Result):
    """Report of ``vidsim bench query`` on a synthetic library."""

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


class ServeLoad(Result):
    """What clients that ask all the time got of a server, and what it took meanwhile."""

    clients: int
    seconds: float
    statuses: dict[str, int] = Field(description="answers by HTTP status")
    p50_ms: float | None = Field(description="of answers with a result; None without any")
    p95_ms: float | None
    p99_ms: float | None
    memory_mb: list[float] = Field(
        description="resident memory of the server, the median of each quarter of the time"
    )
    files: list[int] = Field(description="open files of the server: at first, at most, at last")


class ServeBench(Result):
    """Report of ``vidsim bench serve`` on a synthetic library."""

    videos: int
    queries: int = Field(description="stored ids that were asked for by each way, in turn")
    timings: list[QueryTiming]
    load: ServeLoad


class ScaleStep(Result):
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


class ScaleFit(Result):
    """A least-squares line through the measurements."""

    what: str
    fixed: float
    per_1000_videos: float
    miss: float = Field(description="largest distance of a step, as a part of its value")


class ScaleLimit(Result):
    """The library size at which a fitted line reaches a limit."""

    what: str
    videos: int | None = Field(description="None where it does not grow")


class ScaleBench(Result):
    """Report of ``vidsim bench scale`` on a growing synthetic library."""

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
