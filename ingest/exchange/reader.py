"""Read and check export files, vidsim's and the capstone's, before anything is stored."""

from __future__ import annotations

from pathlib import Path

import numpy as np

from ...schemas.backbones import Backbone
from ...schemas.errors import LibraryError, StoreError
from ...schemas.exports import EXPORT_FORMAT, INDEX, LAYOUT_VERSION
from ..models.registry import adopt
from ..models.weights import digests
from .capstone_files import read_capstone
from .h5_reader import H5File, H5Reader
from .layout import ATTRIBUTES_DIGEST, attributes_digest, read_index
from .source import Block, Form, Source, check_shape, checked, merged_dataset, refuse


def open_export(
    path: Path, library: str | None, known: dict[str, Backbone], reader: H5Reader
) -> Source:
    """Open an export file and check every row of it.

    Args:
        path: An export of either layout, or a file that the capstone wrote.
        library: The library's name, for files that do not name one.
        known: Backbones by name; one that the file describes is added.
        reader: What reads the file, now and later.

    Raises:
        LibraryError: The file is missing, or names no library and none was given.
        StoreError: It is damaged, is not an export, or holds rows that do not fit.
    """
    if not path.is_file():
        raise LibraryError(f"There is no file {path}; give the files that an export wrote.")
    try:
        file = reader.open(path)
        indexed = INDEX in file.attributes
        return checked(_indexed(file, known) if indexed else read_capstone(file, library))
    except (
        OSError,
        KeyError,
        ValueError,
        TypeError,
        IndexError,
        AttributeError,
        RuntimeError,
    ) as error:
        reason = str(error).strip("'\"").splitlines()[0]
        raise StoreError(
            f"{path} is no HDF5 file that can be read ({reason}); export it again."
        ) from error


def _indexed(file: H5File, known: dict[str, Backbone]) -> Source:
    """Read a file of vidsim's, in either layout."""
    path, attributes = file.path, file.attributes[INDEX]
    found = attributes.get("format"), attributes.get("version")
    if found != (EXPORT_FORMAT, LAYOUT_VERSION):
        refuse(path, "it is no export of this version of vidsim")
    if attributes.get(ATTRIBUTES_DIGEST, digest := attributes_digest(attributes)) != digest:
        refuse(path, f"the attributes of its {INDEX} are damaged (their checksum is another)")
    try:
        if "description" in attributes:
            described = adopt(str(attributes["description"]), known)
            known[described.name] = described
    except ValueError as error:
        refuse(path, str(error))
    backbone = known.get(str(attributes["backbone"]))
    if backbone is None or ("description" in attributes and described != backbone):
        refuse(path, f"this vidsim knows no backbone {attributes['backbone']}")
    theirs, ours = str(attributes["weights_sha256"]), digests(backbone)
    if theirs and ours and theirs != ours:
        refuse(path, f"its {backbone.name} had other weights than this vidsim's")
    items = read_index(file)
    capstone = attributes["layout"] == "capstone"
    form: Form = "strips" if backbone.name == "vid2img" else "vectors"
    if capstone and backbone.name == "vggish":
        form = "levels"
    blocks: dict[str, Block] = {}
    if capstone and not merged_dataset(file):
        for item in items:
            name = item.video.video_id
            if len(item.owners):
                if name not in file.datasets:
                    refuse(path, f"it has neither a dataset of all rows nor one of {name}")
                check_shape(file, name, backbone, len(item.owners))
            blocks[name] = Block(item, name, 0, len(item.owners))
        return Source(file, backbone, form, theirs, blocks)
    dataset = (merged_dataset(file) if capstone else None) or "vectors"
    if dataset not in file.datasets:
        refuse(path, f"it has no dataset {dataset}")
    clips = capstone and len(file.datasets[dataset].shape) == 3
    counts = [1 if clips else len(i.owners) for i in items]
    edges = np.cumsum([0, *counts]).tolist()
    check_shape(file, dataset, backbone, edges[-1])
    for item, first, last in zip(items, edges, edges[1:]):
        blocks[item.video.video_id] = Block(item, dataset, first, last)
    return Source(file, backbone, form, theirs, blocks)
