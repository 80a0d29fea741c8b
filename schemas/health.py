"""Models of the reports of ``vidsim doctor`` and ``vidsim prepare``."""

from __future__ import annotations

from typing import Literal

from pydantic import Field

from .results import Result


class CheckedThing(Result):
    """What the doctor found of one thing."""

    name: str
    state: Literal["fine", "advice", "wrong"] = Field(
        description="wrong stops work, or some of it; advice does not"
    )
    found: str = Field(description="what there is")
    step: str = Field(description="what to do; empty where it is fine")


class Health(Result):
    """Report of ``vidsim doctor``."""

    works: bool = Field(description="whether nothing is wrong")
    checks: list[CheckedThing]


class PreparedWeights(Result):
    """The weights of one network, in the cache."""

    network: str
    backbones: list[str] = Field(description="what it computes")
    bytes: int
    sha256: list[str] = Field(description="of its files, in the order of their names")
    fetched: bool = Field(description="just now; else they were here")
    pinned: str = Field(description="by what vidsim knows them; empty where by nothing")


class Prepared(Result):
    """Report of ``vidsim prepare``."""

    cache: str = Field(description="the folder to carry to another machine")
    bytes: int = Field(description="of all that is in it")
    weights: list[PreparedWeights]
    notes: list[str] = Field(default=[], description="what a person should know about it")
