"""What ``--json`` prints: the pydantic models are the schema."""

from __future__ import annotations

from pydantic import BaseModel, ConfigDict, Field


class _Result(BaseModel):
    model_config = ConfigDict(extra="forbid", frozen=True)


class FailedFile(_Result):
    """A file that gave no rows, and why."""

    path: str
    reason: str


class IngestReport(_Result):
    """What ``vidsim ingest`` or ``ingest-audioset`` did, and what the library holds afterwards.

    ``videos``, ``segments`` and ``rows`` count the whole library; ``embedded`` and
    ``unchanged`` count this run's files, or the clips in them.
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
    notes: list[str] = Field(default=[], description="what was repaired or went wrong")


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
