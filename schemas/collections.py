"""Milvus collections: names, fields, index parameters and limits."""

from __future__ import annotations

from dataclasses import dataclass
from typing import Literal

from .modality import BACKBONES, Backbone, Modality

COLLECTION_PREFIX = "vidsim_"

MAX_ID_LENGTH = 2048
"""Longest id, path or label in bytes; Milvus itself stops at 65,535."""

BATCH_BYTES = 16 * 2**20
"""Vectors sent in one upsert; a server refuses messages over 64 MiB."""

MAX_TOP_K = 16_384
"""Most rows one search or query may return on a Milvus server; Lite has no limit of its own,
so vidsim keeps to the server's everywhere."""


@dataclass(frozen=True)
class Field:
    """A scalar field of every collection, with the words Attu shows for it."""

    name: str
    kind: Literal["string", "integer", "number"]
    description: str


FIELDS: tuple[Field, ...] = (
    Field("id", "string", "key of the row: video_id#segment.row"),
    Field("video_id", "string", "the video, as 'vidsim query' takes it: library/path/in/library"),
    Field("library", "string", "the set of videos it was ingested with"),
    Field("path", "string", "where the file was when it was ingested, or its address"),
    Field("label", "string", "its class: the folder it lies in, or its labels joined by '; '"),
    Field("segment", "integer", "number of the segment within the video, from 0"),
    Field("start_s", "number", "where in the video the row begins, seconds"),
    Field("end_s", "number", "where in the video the row ends, seconds"),
    Field("fingerprint", "string", "hash of the file's content; an edited file has another"),
)
"""Scalar fields in order; `id` is the primary key, and ``vector`` follows them."""

INDEX_TYPES = frozenset({"FLAT", "IVF_FLAT", "IVF_SQ8", "HNSW", "HNSW_SQ", "AUTOINDEX"})
"""What Milvus Lite really builds. It accepts any other name too, searches by brute force
and then fails at the next load, so the name is checked before it is sent."""


@dataclass(frozen=True)
class Index:
    """How a collection's vectors are indexed; the metric is inner product everywhere."""

    index_type: str = "FLAT"
    metric_type: str = "IP"

    def __post_init__(self) -> None:
        """Raises ValueError for an index type that Lite would only pretend to build."""
        if self.index_type not in INDEX_TYPES:
            raise ValueError(f"{self.index_type} is not one of {sorted(INDEX_TYPES)}")


Level = Literal["rows", "segments"]
"""What an entity of a collection is: a row as the network gave it, or the mean of a segment's."""


def levels(backbone: Backbone) -> tuple[Level, ...]:
    """Levels at which `backbone` has a collection, the one that is searched last.

    Whole segments are what videos are compared by. Where a segment has one row, that is it;
    where it has many, searching and fetching their means costs a fraction of doing so with
    all rows, which are read for the few videos that an answer names.
    """
    many = backbone.modality in {Modality.FRAME, Modality.AUDIO}
    return ("rows", "segments") if many else ("rows",)


def collection_name(backbone: Backbone, level: Level = "rows") -> str:
    """The collection of a backbone: ``vidsim_frame_efficientnet_lite0``, ``..._segments``."""
    name = f"{COLLECTION_PREFIX}{backbone.modality}_{backbone.name}"
    return name if level == "rows" else f"{name}_{level}"


def collection_description(backbone: Backbone, level: Level = "rows") -> str:
    """One line that tells a person in Attu what the collection holds, and what for."""
    what = f"{backbone.modality} ({backbone.about}), {level}"
    searched = "'vidsim query' searches these"
    if level == "segments":
        return f"{what}: the mean of a segment's rows; {searched}"
    looked_up = "looked up for the videos of an answer"
    return f"{what}: {backbone.rows}; {searched if levels(backbone)[-1] == level else looked_up}"


def vector_description(backbone: Backbone) -> str:
    """One line that tells a person in Attu how vectors are compared."""
    if backbone.similarity == "cosine":
        return f"{backbone.name} embedding of length 1; the inner product of two is their cosine"
    return (
        f"{backbone.name} embedding and, last, half its squared length; "
        "search with -1 there, and the inner product ranks by L2 distance"
    )


def backbone_of(collection: str) -> Backbone | None:
    """The backbone whose rows a collection holds, None for any other collection."""
    for backbone in BACKBONES.values():
        if collection_name(backbone) == collection:
            return backbone
    return None
