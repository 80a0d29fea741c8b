"""Models of the report of an evaluation."""

from __future__ import annotations

from pydantic import Field

from .results import Result


class Estimate(Result):
    """A figure with its 95 % interval, a bootstrap over videos."""

    value: float
    low: float
    high: float


class Figures(Result):
    """The figures of one configuration under one protocol.

    Under leaky protocols rows are queries and votes, but are not ranked: ``recall`` is then empty
    and ``mean_average_precision`` None.
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


class PairedTest(Result):
    """A test of the difference of two configurations on the queries that both have."""

    protocol: str
    first: str
    second: str
    queries: int
    accuracy: Estimate = Field(description="first minus second")
    accuracy_p: float
    mean_average_precision: Estimate = Field(description="first minus second")
    mean_average_precision_p: float


class Confusion(Result):
    """Number of queries of one class that were predicted as another."""

    protocol: str
    configuration: str
    label: str
    predicted: str
    queries: int
    share: float = Field(description="of the queries of the class")


class TunedWeights(Result):
    """Fusion weights tuned on a training part, and the file that queries read."""

    weights: dict[str, float]
    backbones: dict[str, str]
    protocol: str
    training_videos: int
    gain: Estimate | None = Field(
        default=None, description="mean average precision of queries, minus the measured weights'"
    )


class AgainstExport(Result):
    """The second of two exports, whose configurations are called ``against:NAME``."""

    folder: str
    libraries: list[str]
    backbones: dict[str, str]
    videos: int = Field(description="that it holds")
    first_videos: int = Field(description="that the first export holds")


class EvaluationReport(Result):
    """Report of ``vidsim evaluate``."""

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
    weights_file: str | None = Field(
        default=None, description="where query reads the tuned weights until it is deleted"
    )
    notes: list[str]
