"""Registry of timm networks as backbones, readable later without timm.

The first use of ``frame=timm:NAME`` writes timm's description of the network under vidsim's home.
From then on it is among the backbones of that home whenever it is opened: stored vectors can be
searched, indexed and exported without importing timm. An export holds the same description, so
that another home knows the network too.
"""

from __future__ import annotations

import re
from collections.abc import Iterable
from pathlib import Path

from pydantic import TypeAdapter, ValidationError

from ...schemas.backbones import (
    BACKBONES,
    Backbone,
    Backbones,
    timm_backbone_name,
    timm_files,
    timm_name,
)
from ...schemas.errors import ModelError, StoreError
from ...schemas.modality import Modality
from ...schemas.weights import TIMM_SCHEME, PublishedFiles
from ..system.checked_json import ChangedError, read_checked, write_checked
from ..system.unreadable import listed, unwritten

_BACKBONE = TypeAdapter(Backbone)


def known_backbones(home: Path) -> dict[str, Backbone]:
    """Return vidsim's own backbones and those used in `home`, by name.

    Raises:
        StoreError: A description cannot be read, or is damaged.
    """
    known = dict(BACKBONES)
    folder = home / "backbones"
    for path in listed(folder, f"The folder {folder}"):
        if path.suffix != ".json" or path.stem in known:
            continue
        try:
            backbone = _BACKBONE.validate_python(read_checked(path))
        except (ChangedError, ValidationError) as error:
            raise StoreError(
                f"{path} is damaged; delete it and name the network once more, "
                "with 'vidsim ingest FOLDER --model frame=timm:NAME'."
            ) from error
        known[backbone.name] = backbone
    return known


def register_overrides(home: Path, overrides: Iterable[str]) -> dict[str, Backbone]:
    """Register in `home` the networks that items such as ``frame=timm:NAME`` name.

    Returns:
        All backbones then known in `home`.

    Raises:
        ModelError: timm has no such network.
        StoreError: `home` cannot be read or written.
    """
    for override in overrides:
        name = override.partition("=")[2]
        if name.startswith(TIMM_SCHEME):
            register_timm(home, name)
    return known_backbones(home)


def describe_timm(home: Path, name: str) -> Backbone:
    """Return the backbone of ``timm:NAME``, as registered in `home` or as timm describes it.

    Raises:
        ModelError: timm has no such network, or its name in Milvus is taken by another one.
        StoreError: A description in `home` is damaged.
    """
    known = known_backbones(home).get(timm_backbone_name(name.removeprefix(TIMM_SCHEME)))
    if known is None:
        from .networks.timm_network import describe

        known = describe(name.removeprefix(TIMM_SCHEME))
    there = f"{TIMM_SCHEME}{timm_name(known)}"
    if there != name:
        raise ModelError(f"{name} and {there} would share the name {known.name}; use the latter.")
    return known


def register_timm(home: Path, name: str) -> Backbone:
    """Return the backbone of ``timm:NAME``, registering it in `home` if it is new.

    Raises:
        ModelError: See `describe_timm`.
        StoreError: `home` cannot be read or written.
    """
    known = describe_timm(home, name)
    keep(home, known)
    return known


def description_of(backbone: Backbone) -> str | None:
    """Return a timm network's description for an export (see `adopt`); None for vidsim's own."""
    return _BACKBONE.dump_json(backbone).decode() if timm_name(backbone) else None


def adopt(description: str, known: Backbones) -> Backbone:
    """Return the timm network that an export describes, which may already be in `known`.

    The description comes from an untrusted file, and determines names of files here.

    Raises:
        ValueError: It describes no timm network, or differs from the known one of its name.
    """
    try:
        found = _BACKBONE.validate_json(description)
    except ValidationError as error:
        raise ValueError("its description of a network is damaged") from error
    name = timm_name(found) or ""
    own = timm_backbone_name(name)
    if (
        not re.fullmatch(r"[\w.-]+", name, re.ASCII)
        or not isinstance(found.weights, PublishedFiles)
        or (found.weights.folder, found.weights.files) != (own, timm_files(name))
        or (found.name, found.modality, found.similarity) != (own, Modality.FRAME, "cosine")
        or not (found.dim > 0 and found.frames and found.pixels)
    ):
        raise ValueError(f"what it describes as {found.name} is no network of timm")
    ours = known.get(own, found)
    differs = (ours.dim, ours.frames, ours.pixels) != (found.dim, found.frames, found.pixels)
    if differs or timm_name(ours) != name:
        raise ValueError(f"it describes {own} otherwise than this home does")
    return ours


def keep(home: Path, backbone: Backbone) -> None:
    """Register a timm network in `home` if it is new; skip vidsim's own backbones.

    Raises:
        StoreError: `home` cannot be written.
    """
    path = home / "backbones" / f"{backbone.name}.json"
    if timm_name(backbone) is None or path.exists():
        return
    try:
        write_checked(path, _BACKBONE.dump_python(backbone, mode="json"))
    except OSError as error:
        raise StoreError(unwritten(str(path), error)) from error
