"""What an ingest job is: what a client asks for, and what it is told of the work."""

from __future__ import annotations

from typing import Annotated, Any, Literal, get_args

from pydantic import ConfigDict, Field, model_validator
from pydantic.config import JsonDict

from ....schemas.modality import Modality
from ....schemas.presets import PresetName
from ....schemas.results import IngestReport, Result
from ..clips.asking import Asked, Name
from ..http.refusals import Refusal
from .steps import StageNow

JobState = Literal["queued", "running", "done", "failed", "cancelled", "interrupted"]
"""``interrupted``: its process or the server ended before it was done."""

STATES: tuple[JobState, ...] = get_args(JobState)

ENDED: frozenset[JobState] = frozenset({"done", "failed", "cancelled", "interrupted"})


LibraryName = Annotated[str, Field(max_length=255, pattern=r"^[^./\x00-\x1f][^/\x00-\x1f]*$")]
"""Without slashes, control characters, and a dot at its beginning: it becomes a folder's name."""


class IngestOptions(Asked):
    """How to ingest; all fields are those of ``vidsim ingest``."""

    name: LibraryName | None = Field(
        default=None, description="the library's name; none for the folder's"
    )
    modalities: list[Modality] | None = Field(default=None, min_length=1, description="none: all")
    preset: PresetName | None = None
    models: dict[Modality, Name] = Field(default={}, description="backbones that replace others")
    segment_seconds: float | None = Field(default=None, ge=1, le=86_400)
    audio_track: int | None = Field(default=None, ge=1, le=1000, description="from 1")
    device: Literal["auto", "cpu", "cuda"] | None = None
    workers: int | None = Field(default=None, ge=1, le=256, description="decoder processes")
    prune: bool = Field(default=False, description="remove stored videos whose file is gone")
    retry: bool = Field(default=False, description="try files again that failed before")

    def arguments(self) -> dict[str, Any]:
        """Return the arguments of `Library.ingest` as JSON values, without folder and library."""
        return self.model_dump(mode="json", exclude={"name"})


class IngestRequest(IngestOptions):
    """A folder to ingest, and how."""

    model_config = ConfigDict(
        json_schema_extra={
            "examples": [
                {"folder": "d41f0c2b9a7e35c8aa10", "modalities": ["frame", "color"]},
                {"library": "ucf101", "prune": True},
            ]
        }
    )

    folder: Name | None = Field(default=None, description="id of a folder, of /v1/folders")
    library: Name | None = Field(default=None, description="a known library, whose folder is read")
    path: Name | None = Field(
        default=None, description="absolute path; by the socket in the home alone"
    )

    @model_validator(mode="after")
    def _one(self) -> IngestRequest:
        if [self.folder, self.library, self.path].count(None) != 2:
            raise ValueError("give one of 'folder', 'library' and 'path'")
        return self

    def options(self) -> IngestOptions:
        """Return how to ingest, without what."""
        return IngestOptions(**{name: getattr(self, name) for name in IngestOptions.model_fields})


_EXAMPLE: JsonDict = {
    "job": "5f0c2b9a7e35c8aa",
    "state": "running",
    "folder": "/videos/UCF-101",
    "library": "UCF-101",
    "options": {"modalities": ["frame", "color"]},
    "created_at": "2026-05-01T12:00:00Z",
    "started_at": "2026-05-01T12:00:01Z",
    "ended_at": None,
    "waiting": "",
    "cancelling": False,
    "steps": [
        {
            "stage": "embedding",
            "done": 12e6,
            "total": 530e6,
            "unit": "bytes of video",
            "finished": False,
            "note": "31 of 1320 files done, now UCF-101/YoYo/v_YoYo_g01_c01.avi",
            "elapsed_s": 10.0,
            "said": "12 of 530 MB of video, 1.2 MB/s, about 0:07:12 left",
        }
    ],
    "report": None,
    "error": None,
    "retry_of": None,
}


class Job(Result):
    """An ingest that runs, waits for its turn, or has ended."""

    model_config = ConfigDict(json_schema_extra={"examples": [_EXAMPLE]})

    job: str = Field(description="its id", examples=["5f0c2b9a7e35c8aa"])
    state: JobState
    folder: str = Field(description="the folder that is read")
    library: str = Field(description="name of the library that it goes into")
    options: IngestOptions
    created_at: str = Field(description="UTC", examples=["2026-05-01T12:00:00Z"])
    started_at: str | None = None
    ended_at: str | None = None
    waiting: str = Field(
        default="", description="for which other process it waits, in words; empty where for none"
    )
    cancelling: bool = Field(default=False, description="it was asked to end, and has not yet")
    steps: list[StageNow] = Field(default=[], description="its stages, in the order they began")
    report: IngestReport | None = Field(default=None, description="once it is done")
    error: Refusal | None = Field(default=None, description="why it failed or was interrupted")
    retry_of: str | None = Field(default=None, description="the job that this one tries again")

    @property
    def ended(self) -> bool:
        """Whether nothing of it will change any more."""
        return self.state in ENDED


class JobList(Result):
    """All jobs that are known."""

    jobs: list[Job] = Field(description="the newest first; of those that ended the newest 100")
