"""Routes of the map: where stored videos lie by how alike they are."""

from __future__ import annotations

from typing import Annotated, Any, Literal

from fastapi import APIRouter, Query
from pydantic import ConfigDict, Field

from ....schemas.errors import LibraryError
from ....schemas.results import Result
from .serving import Here, Serving

router = APIRouter(prefix="/v1", tags=["map"])

_EXAMPLE: dict[str, Any] = {
    "method": "t-SNE",
    "refining": False,
    "ids": ["ucf101/YoYo/v_YoYo_g01_c01.avi", "ucf101/Drumming/v_Drumming_g01_c01.avi"],
    "x": [-0.4, 1.0],
    "y": [0.31, -0.2],
    "labels": ["YoYo", "Drumming"],
    "clusters": [0, 1],
}


class VideoMap(Result):
    """A plane on which videos that are alike lie near each other; the lists go together."""

    model_config = ConfigDict(json_schema_extra={"examples": [_EXAMPLE]})

    method: Literal["PCA", "t-SNE"]
    refining: bool = Field(description="a better map is being made: ask again in some seconds")
    ids: list[str] = Field(description="of the videos that have what is shown")
    x: list[float] = Field(description="from -1 to 1")
    y: list[float]
    labels: list[str]
    clusters: list[int] = Field(description="of videos that are alike, the largest 0")


@router.get("/map", summary="Lay stored videos out on a plane")
async def map_of(
    here: Here,
    modality: Annotated[
        Literal["color", "frame", "audio", "motion", "fused"],
        Query(description="what counts; 'fused' is all, by their usual weights"),
    ] = "fused",
    library: Annotated[list[str] | None, Query(description="may be given again")] = None,
) -> VideoMap:
    """Answer with a quick map at once; where a better one is being made, `refining` says so."""
    libraries = tuple(sorted(set(library or ())))
    return await here.pictures.turns.run(lambda: _laid_out(here, modality, libraries))


def _laid_out(here: Serving, modality: str, libraries: tuple[str, ...]) -> VideoMap:
    stored = here.catalogue.now()
    for name in libraries:
        if name not in stored.roots:
            raise LibraryError(f"There is no library {name}; /v1/libraries lists them.")
    found = here.maps.get(modality, libraries, stored.stamp)
    labels = [of.label if (of := stored.videos.get(each)) else "" for each in found.ids]
    return VideoMap(**vars(found), labels=labels)
