"""What clients ask for, as JSON, and how it becomes a call of the library."""

from __future__ import annotations

from collections.abc import Callable, Iterator, Mapping, Sequence
from contextlib import contextmanager
from pathlib import Path
from typing import Annotated, Any, Literal, TypeVar

from pydantic import BaseModel, ConfigDict, Field, model_validator

from ....schemas.errors import VidsimError
from ....schemas.modality import Modality
from ....schemas.presets import PresetName
from ....schemas.results import Result
from ....schemas.video import VideoId
from .listing import Facets
from .uploads import Uploads

R = TypeVar("R", bound=Result)

Name = Annotated[str, Field(max_length=4096)]

Second = Annotated[float, Field(ge=0, le=1e6)]

Weight = Annotated[float, Field(ge=0, le=1000)]


class Asked(BaseModel):
    """Base of what clients send: unknown fields are refused."""

    model_config = ConfigDict(extra="forbid", frozen=True, allow_inf_nan=False)


class Clip(Asked):
    """A stored video, or an upload."""

    model_config = ConfigDict(
        json_schema_extra={"examples": [{"video": "demo/copy_of_siren.mp4"}, {"upload": "8Yb..."}]}
    )

    video: Name | None = Field(default=None, description="id of a stored video")
    upload: Name | None = Field(default=None, description="token of an upload")

    @model_validator(mode="after")
    def _one(self) -> Clip:
        if (self.video is None) == (self.upload is None):
            raise ValueError("give either 'video' or 'upload'")
        return self


class QueryWithout(Asked):
    """How to search; all fields are those of ``vidsim query``."""

    k: int = Field(default=10, ge=1, le=1000, description="results wanted")
    min_score: float = Field(default=0.0, ge=0, le=1, description="least likeness of a result")
    start_s: Second | None = Field(default=None, description="where the part begins")
    end_s: Second | None = Field(default=None, description="where the part ends")
    region: tuple[float, float, float, float] | None = Field(
        default=None, description="x, y, width and height, in pixels or fractions of the picture"
    )
    modalities: list[Modality] | None = Field(default=None, description="none for all")
    libraries: list[Name] = Field(default=[], description="none for all")
    filter: Name = Field(default="", description="Milvus filter", examples=['label == "snow"'])
    labels: list[Name] = Field(default=[], description="results have one of these")
    min_s: float | None = Field(default=None, ge=0, description="least duration of a result")
    max_s: float | None = Field(default=None, ge=0, description="most")
    since: Name = Field(default="", description="not stored before", examples=["2019-05-01"])
    until: Name = Field(default="", description="not stored after")
    fusion: Literal["calibrated", "rrf"] = "calibrated"
    weights: dict[Modality, Weight] | None = Field(default=None, description="by modality")
    models: dict[Modality, Name] = Field(default={}, description="backbones that replace others")
    preset: PresetName | None = None
    exclude_self: bool | None = Field(default=None, description="none: for stored videos")

    def facets(self) -> Facets:
        """Return what a result has to have besides the filter."""
        return Facets(
            labels=frozenset(self.labels),
            min_s=self.min_s,
            max_s=self.max_s,
            since=self.since,
            until=self.until,
        )

    def arguments(self) -> dict[str, Any]:
        """Return the arguments of `Library.query`, without the clips and the facets."""
        return {
            "k": self.k,
            "min_score": self.min_score,
            "start": self.start_s,
            "end": self.end_s,
            "region": self.region,
            "modalities": self.modalities,
            "libraries": self.libraries,
            "filter": self.filter,
            "fusion": self.fusion,
            "weights": self.weights,
            "models": self.models,
            "preset": self.preset,
            "exclude_self": self.exclude_self,
        }


class Query(QueryWithout):
    """A query by clips that are stored or were uploaded."""

    model_config = ConfigDict(
        json_schema_extra={
            "examples": [
                {"clips": [{"video": "demo/copy_of_siren.mp4"}], "k": 5, "modalities": ["audio"]}
            ]
        }
    )

    clips: list[Clip] = Field(min_length=1, max_length=16, description="to be like all of them")
    unlike: list[Clip] = Field(default=[], max_length=16, alias="not", description="not like these")


class Comparison(Asked):
    """Two clips to be compared."""

    first: Clip
    second: Clip


class Named:
    """The clips of a request as the library takes them, and as clients know them."""

    def __init__(self, uploads: Uploads) -> None:
        """Begin without any."""
        self._uploads = uploads
        self._names: dict[str, str] = {}

    def taken(self, clip: Clip) -> str | Path:
        """Return a clip as the library takes it: an id that is no path, or an upload's file.

        Raises:
            LibraryError: The upload is not kept any more.
        """
        if clip.video is not None:
            return VideoId(clip.video)
        upload = self._uploads.get(clip.upload or "")
        return self.file(str(upload.path), upload.name)

    def file(self, path: str, name: str) -> Path:
        """Return a file as the library takes it; of two with one name the second gets a number."""
        if path not in self._names:
            taken, number, unique = set(self._names.values()), 2, name
            while unique in taken:
                unique, number = f"{name} ({number})", number + 1
            self._names[path] = unique
        return Path(path)

    def renamed(self, result: R) -> R:
        """Return a result that names uploads as the client did, and tells no path of theirs."""
        if not self._names:
            return result
        return type(result).model_validate(self._renamed(result.model_dump()))

    def _renamed(self, value: Any) -> Any:
        if isinstance(value, str):
            for path, name in self._names.items():
                value = value.replace(path, name)
            return value
        if isinstance(value, Mapping):
            return {self._renamed(key): self._renamed(each) for key, each in value.items()}
        if isinstance(value, Sequence) and not isinstance(value, bytes):
            return [self._renamed(each) for each in value]
        return value

    @contextmanager
    def telling(self) -> Iterator[None]:
        """Have errors name uploads as the client did."""
        try:
            yield
        except VidsimError as error:
            said = self._renamed(str(error))
            if said == str(error):
                raise
            raise type(error)(said) from error


def answered(uploads: Uploads, ask: Callable[[Named], R]) -> R:
    """Return what the library answers to `ask`, in the client's names."""
    named = Named(uploads)
    with named.telling():
        return named.renamed(ask(named))
