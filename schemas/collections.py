"""Milvus collections: names, fields, index parameters and limits."""

from __future__ import annotations

from dataclasses import dataclass
from typing import Literal

from .backbones import BACKBONES, Backbone, Backbones
from .modality import Modality

COLLECTION_PREFIX = "vidsim_"

MAX_ID_LENGTH = 2048
"""Longest id, path or label in bytes; Milvus itself stops at 65,535."""

METRIC = "IP"
"""Inner product, which every target and index does well; vectors are made to fit it."""

BATCH_BYTES = 16 * 2**20
"""Vectors and texts sent in one upsert; a server refuses messages over 64 MiB."""

FETCH_BYTES = 48 * 2**20
"""Vectors asked for in one fetch; a server refuses to send over 100 MiB
(``quotaAndLimits.limits.maxOutputSize``)."""

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

IndexPolicy = Literal["auto", "cpu", "gpu"]
"""Which indexes a person wants: on a GPU, not there, or there if the server can."""

EXACT_COMPONENTS = 50_000_000
"""Vector components (rows x dimension) up to which an exact search is quick enough. Milvus 2.3.5
took 90 ms for 106,557 rows of 2048 on two cores, so about 20 ms for this many, which is less
than the rest of a query takes."""

_SEGMENT_BYTES = 512 * 2**20
"""Milvus cuts a collection into segments of this size, its ``dataCoord.segment.maxSize`` where
that is smallest, and builds an index in each."""

LITE_SEGMENT_BYTES = 32 * 2**20
"""The same for the embedded Milvus, which vidsim has seal a file when this much has gathered, and
merge files up to this size: either takes a few times as much memory for a moment."""

_ROWS_A_LIST = 39
"""Fewest rows for which faiss trains a centroid without a warning."""

GPU_MAX_TOP_K = 1024
"""Most neighbours that a search of a GPU index gives (Milvus' documentation of GPU_IVF_FLAT and
GPU_CAGRA)."""


@dataclass(frozen=True)
class Index:
    """How a collection's vectors are indexed; the metric is inner product everywhere.

    Attributes:
        index_type: Milvus' name for it.
        lists: IVF lists (nlist), 0 for an exact index.
    """

    index_type: str = "FLAT"
    lists: int = 0

    @property
    def exact(self) -> bool:
        """Whether a search compares with every vector."""
        return not self.lists

    @property
    def on_gpu(self) -> bool:
        """Whether it needs a server with a GPU."""
        return self.index_type.startswith("GPU_")

    @property
    def max_top_k(self) -> int:
        """Most neighbours that one search may ask for."""
        return GPU_MAX_TOP_K if self.on_gpu else MAX_TOP_K


@dataclass(frozen=True)
class Target:
    """What a kind of Milvus can do.

    Attributes:
        name: What people call it.
        exact: The index that compares with every vector.
        inverted: The index that compares with the nearest lists only.
        index_types: What it really builds. Milvus Lite accepts any other name too, searches by
            brute force and then fails at the next load; a server without a GPU accepts
            GPU_IVF_FLAT and never finishes. So a name is checked before it is sent.
        nested_parameters: Whether it reads nlist one level deeper than a server, and ignores it
            elsewhere.
        segment_bytes: Vectors in one index.
    """

    name: Literal["lite", "server", "server with GPU indexes"]
    exact: str
    inverted: str
    index_types: frozenset[str]
    nested_parameters: bool = False
    segment_bytes: int = _SEGMENT_BYTES

    def build_parameters(self, index: Index) -> dict[str, object]:
        """The ``params`` of Milvus' ``create_index``.

        Raises:
            ValueError: An index that this target would only pretend to build.
        """
        if index.index_type not in self.index_types:
            raise ValueError(f"{index.index_type} is not one of {sorted(self.index_types)}")
        lists = {"nlist": index.lists} if index.lists else {}
        return {"params": lists} if self.nested_parameters and lists else dict(lists)


_CPU_INDEXES = frozenset({"FLAT", "IVF_FLAT", "IVF_SQ8", "HNSW", "AUTOINDEX"})

LITE = Target(
    "lite",
    "FLAT",
    "IVF_FLAT",
    _CPU_INDEXES | {"HNSW_SQ"},
    nested_parameters=True,
    segment_bytes=LITE_SEGMENT_BYTES,
)
SERVER = Target("server", "FLAT", "IVF_FLAT", _CPU_INDEXES)
GPU_SERVER = Target(
    "server with GPU indexes",
    "GPU_BRUTE_FORCE",
    "GPU_IVF_FLAT",
    _CPU_INDEXES | {"GPU_BRUTE_FORCE", "GPU_IVF_FLAT", "GPU_CAGRA"},
)


def choose_index(rows: int, dim: int, target: Target) -> Index:
    """The index for a collection: exact while that is quick, then inverted lists.

    The number of lists is 4 sqrt(n) for n rows in a segment, as Milvus' performance FAQ
    advises, but no more than can be trained on n rows.

    Args:
        rows: Rows that the collection holds.
        dim: Their dimension.
        target: Where.
    """
    if rows * dim <= EXACT_COMPONENTS:
        return Index(target.exact)
    in_segment = min(rows, target.segment_bytes // (4 * dim))
    lists = min(round(4 * in_segment**0.5), in_segment // _ROWS_A_LIST)
    return Index(target.inverted, max(1, lists))


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


def backbone_of(collection: str, known: Backbones = BACKBONES) -> Backbone | None:
    """The backbone of `known` whose rows a collection holds, None for any other collection."""
    for backbone in known.values():
        if collection_name(backbone) == collection:
            return backbone
    return None
