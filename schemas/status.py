"""Models of the report of ``vidsim status``."""

from __future__ import annotations

from typing import Literal

from pydantic import AwareDatetime, Field

from .results import DeploymentStatus, Result, RootState


class FolderStatus(Result):
    """A folder, its size, and the space left beside it."""

    path: str
    bytes: int = Field(description="of all files in it; 0 where there is no such folder")
    free_bytes: int = Field(description="that this user may still write on its disk")


class CacheStatus(FolderStatus):
    """The cache, and the weights in it."""

    weights: list[str] = Field(
        description="backbones whose weight files are there; 'vidsim models list' reads them whole"
    )
    missing_weights: list[str] = Field(description="backbones whose weight files are not")


class CpuStatus(Result):
    """The CPU, and how it computes the motion network."""

    name: str
    cores: int = Field(description="that vidsim may use")
    features: list[str] = Field(description="instructions that matter to networks")
    motion: Literal["integers", "bfloat16", "winograd"] = Field(
        description="how I3D is computed on it: in 8-bit integers, in bfloat16, or in float32 by "
        "Winograd's algorithm"
    )


class LibraryStatus(Result):
    """One library, and whether the folder that it was ingested from is still there."""

    library: str
    videos: int
    hours: float
    root: str
    root_state: RootState
    looked_at: int = Field(description="files of stored videos that were looked for")
    missing: int = Field(description="of those, not there")
    shard_problems: list[str] = Field(
        description="sentences about shards that are missing or not as written"
    )


class LockHolder(Result):
    """The process that holds the home's lock."""

    pid: int = Field(description="0 where it has not said")
    doing: str = Field(description="such as ingest of ucf101")
    host: str
    since: AwareDatetime
    writes: bool = Field(description="whether it changes what is stored")
    done: int = Field(description="videos finished, where it tells")
    total: int = Field(description="videos to finish; 0 where it does not tell")


class ServerStatus(Result):
    """The Milvus server that is set, or that ``vidsim up`` started."""

    uri: str | None = Field(description="what is set; none where the embedded Milvus is used")
    answers: bool = Field(description="whether anything listens at that address")
    deployment: DeploymentStatus | None = Field(
        description="the containers of 'vidsim up'; none where it was not run with this home"
    )


class Status(Result):
    """Report of ``vidsim status``."""

    home: FolderStatus
    cache: CacheStatus
    cpu: CpuStatus
    versions: dict[str, str] = Field(description="of vidsim and of what it computes with")
    libraries: list[LibraryStatus]
    lock: LockHolder | None = Field(description="none where nobody holds it")
    server: ServerStatus | None = Field(description="none where none is set and none was started")
    notes: list[str] = Field(default=[], description="what a person should know about it")
