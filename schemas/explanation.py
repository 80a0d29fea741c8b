"""What ``vidsim explain`` and ``vidsim open`` tell."""

from __future__ import annotations

from typing import Literal

from pydantic import Field

from .results import MatchedMoment, Result


class ExplainedVideo(Result):
    """One of the two videos of ``vidsim explain``."""

    name: str = Field(description="as it was asked for")
    path: str = Field(description="where its file is, or was")
    strip: bytes = Field(
        default=b"",
        exclude=True,
        repr=False,
        description="PNG of its vid2img colour strips, time from left to right, where colour was "
        "compared; not in JSON",
    )


class ModalityLikeness(Result):
    """How alike two videos are by one modality."""

    similarity: float
    likeness: float = Field(ge=0, le=1)
    weight: float = Field(gt=0, description="in the likeness over all modalities")


class LikenessAt(Result):
    """How alike two videos are at one time of each."""

    first_s: float
    second_s: float
    likeness: float = Field(ge=0, le=1)
    modalities: dict[str, float] = Field(description="the likeness by each")


class Explanation(Result):
    """Result of ``vidsim explain``: what makes two videos alike, and where.

    In ``moments`` the query is the first of the two.
    """

    first: ExplainedVideo
    second: ExplainedVideo
    likeness: float = Field(ge=0, le=1, description="of the second to the first, as a query has it")
    word: Literal["same footage", "very alike", "alike", "weak"]
    modalities: dict[str, ModalityLikeness]
    missing_modalities: list[str] = Field(description="one of the two has none")
    moments: list[MatchedMoment] = Field(description="where they correspond, the best first")
    over_time: list[LikenessAt] = Field(
        description="along the best moment and beyond it, both at the same speed"
    )
    notes: list[str] = Field(default=[], description="what a person should know about it")


class Played(Result):
    """Result of ``vidsim open``."""

    path: str = Field(description="the file, or the address")
    at_s: float = Field(description="seconds from its start")
    player: str = Field(description="what was started; empty where there is nothing to show it")
