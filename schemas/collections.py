"""Milvus collections: names, fields, index parameters and limits."""

from __future__ import annotations

from dataclasses import dataclass
from typing import Literal

from .backbones import BACKBONES, Backbone, Backbones
from .modality import Modality

COLLECTION_PREFIX = "vidsim_"

MAX_ID_LENGTH = 2048
"""Longest id, path or label in bytes; Milvus' own limit is 65,535."""

METRIC = "IP"
"""Inner product, which every target and index supports well; vectors are converted to fit it."""

BATCH_BYTES = 16 * 2**20
"""Bytes of vectors and texts per upsert; a server refuses messages over 64 MiB."""

FETCH_BYTES = 48 * 2**20
"""Bytes of vectors per fetch; a server refuses to send over 100 MiB
(``quotaAndLimits.limits.maxOutputSize``)."""

MAX_TOP_K = 16_384
"""Most rows one search or query may return on a Milvus server; Lite has no limit of its own,
so vidsim keeps to the server's everywhere."""


@dataclass(frozen=True)
class Field:
    """A scalar field of every collection, with the description that Attu shows."""

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
"""The user's choice of indexes: on a GPU, on the CPU, or on a GPU if the server can."""

EXACT_COMPONENTS = 50_000_000
"""Vector components (rows x dimension) up to which an exact search is quick enough. Milvus 2.3.5
took 90 ms for 106,557 rows of 2048 on two cores, so about 20 ms for this many, which is less
than the rest of a query takes."""

_SEGMENT_BYTES = 512 * 2**20
"""Milvus cuts a collection into segments of this size, its ``dataCoord.segment.maxSize`` where
that is smallest, and builds an index in each."""

_LITE_SEGMENT_BYTES = 128 * 2**20
"""The same for Milvus Lite: it seals what it has in memory at this size."""

_ROWS_A_LIST = 39
"""Fewest rows for which faiss trains a centroid without a warning."""

GPU_MAX_TOP_K = 1024
"""Most neighbours that a search of a GPU index returns (Milvus' documentation of GPU_IVF_FLAT and
GPU_CAGRA)."""


@dataclass(frozen=True)
class Index:
    """The index of a collection's vectors; the metric is inner product everywhere.

    Attributes:
        index_type: Milvus' name for it.
        lists: IVF lists (nlist), 0 for an exact index.
    """

    index_type: str = "FLAT"
    lists: int = 0

    @property
    def exact(self) -> bool:
        """Whether a search compares every vector."""
        return not self.lists

    @property
    def on_gpu(self) -> bool:
        """Whether it needs a server with a GPU."""
        return self.index_type.startswith("GPU_")

    @property
    def max_top_k(self) -> int:
        """Most neighbours that one search may request."""
        return GPU_MAX_TOP_K if self.on_gpu else MAX_TOP_K


@dataclass(frozen=True)
class Target:
    """The capabilities of a kind of Milvus.

    Attributes:
        name: Its common name.
        exact: The index that compares with every vector.
        inverted: The index that compares with the nearest lists only.
        index_types: Types that it really builds. Milvus Lite accepts any other name too, searches
            by brute force and then fails at the next load; a server without a GPU accepts
            GPU_IVF_FLAT and never finishes. So a name is checked before it is sent.
        nested_parameters: Whether it reads nlist one level deeper than a server, and ignores it
            elsewhere.
        segment_bytes: Bytes of vectors per index.
    """

    name: Literal["lite", "server", "server with GPU indexes"]
    exact: str
    inverted: str
    index_types: frozenset[str]
    nested_parameters: bool = False
    segment_bytes: int = _SEGMENT_BYTES

    def build_parameters(self, index: Index) -> dict[str, object]:
        """Return the ``params`` of Milvus' ``create_index``.

        Raises:
            ValueError: This target would only pretend to build the index.
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
    segment_bytes=_LITE_SEGMENT_BYTES,
)
SERVER = Target("server", "FLAT", "IVF_FLAT", _CPU_INDEXES)
GPU_SERVER = Target(
    "server with GPU indexes",
    "GPU_BRUTE_FORCE",
    "GPU_IVF_FLAT",
    _CPU_INDEXES | {"GPU_BRUTE_FORCE", "GPU_IVF_FLAT", "GPU_CAGRA"},
)


def choose_index(rows: int, dim: int, target: Target) -> Index:
    """Choose the index of a collection: exact while that is fast, then inverted lists.

    The number of lists is 4 sqrt(n) for n rows per segment, as Milvus' performance FAQ
    advises, but no more than can be trained on n rows.

    Args:
        rows: Number of rows in the collection.
        dim: Their dimension.
        target: The kind of Milvus.
    """
    if rows * dim <= EXACT_COMPONENTS:
        return Index(target.exact)
    in_segment = min(rows, target.segment_bytes // (4 * dim))
    lists = min(round(4 * in_segment**0.5), in_segment // _ROWS_A_LIST)
    return Index(target.inverted, max(1, lists))


Level = Literal["rows", "segments"]
"""The entities of a collection: rows as the network output them, or their means per segment."""


def levels(backbone: Backbone) -> tuple[Level, ...]:
    """Return the levels at which `backbone` has a collection, the searched one last.

    Videos are compared by whole segments. Where a segment has one row, that row stands for it;
    where it has many, searching and fetching their mean costs a fraction of doing so with all
    rows, which are read only for the few videos in an answer.
    """
    many = backbone.modality in {Modality.FRAME, Modality.AUDIO}
    return ("rows", "segments") if many else ("rows",)


def collection_name(backbone: Backbone, level: Level = "rows") -> str:
    """Return a backbone's collection: ``vidsim_frame_efficientnet_lite0``, ``..._segments``."""
    name = f"{COLLECTION_PREFIX}{backbone.modality}_{backbone.name}"
    return name if level == "rows" else f"{name}_{level}"


def is_looked_up(collection: str) -> bool:
    """Return whether rows of a collection are looked up by video and never searched.

    Those are the single rows of frames and sound, whose segments are searched.
    """
    modality = collection.removeprefix(COLLECTION_PREFIX).partition("_")[0]
    return modality in {Modality.FRAME, Modality.AUDIO} and not collection.endswith("_segments")


def collection_description(backbone: Backbone, level: Level = "rows") -> str:
    """Describe in one line, for Attu, what the collection holds, and its purpose."""
    what = f"{backbone.modality} ({backbone.about}), {level}"
    searched = "'vidsim query' searches these"
    if level == "segments":
        return f"{what}: the mean of a segment's rows; {searched}"
    looked_up = "looked up for the videos of an answer"
    return f"{what}: {backbone.rows}; {searched if levels(backbone)[-1] == level else looked_up}"


def vector_description(backbone: Backbone) -> str:
    """Describe in one line, for Attu, how vectors are compared."""
    if backbone.similarity == "cosine":
        return f"{backbone.name} embedding of length 1; the inner product of two is their cosine"
    return (
        f"{backbone.name} embedding and, last, half its squared length; "
        "search with -1 there, and the inner product ranks by L2 distance"
    )


def backbone_of(collection: str, known: Backbones = BACKBONES) -> Backbone | None:
    """Return the backbone of `known` whose rows a collection holds; None for any other."""
    for backbone in known.values():
        if collection_name(backbone) == collection:
            return backbone
    return None
