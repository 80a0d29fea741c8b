"""Networks of timm as backbones, known again later without timm.

The first use of ``frame=timm:NAME`` asks timm what the network is like and writes that down
under vidsim's home. From then on it stands among the backbones of that home whenever it is
opened: a stored vector can be searched, indexed and exported without importing timm. An export
holds the same description, so that another home knows the network too.
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
from ..system.atomic_file import whole_file
from ..system.unreadable import listed, told, unwritten

_BACKBONE = TypeAdapter(Backbone)


def known_backbones(home: Path) -> dict[str, Backbone]:
    """Vidsim's own backbones and those that were used in `home`, by name.

    Raises:
        StoreError: A description cannot be read, or is damaged.
    """
    known = dict(BACKBONES)
    folder = home / "backbones"
    for path in listed(folder, f"The folder {folder}"):
        if path.suffix != ".json" or path.stem in known:
            continue
        try:
            with told(f"The description {path}"):
                backbone = _BACKBONE.validate_json(path.read_bytes())
        except (OSError, ValidationError) as error:
            raise StoreError(
                f"{path} is damaged; delete it and name the network once more, "
                "with 'vidsim ingest FOLDER --model frame=timm:NAME'."
            ) from error
        known[backbone.name] = backbone
    return known


def register_overrides(home: Path, overrides: Iterable[str]) -> dict[str, Backbone]:
    """Writes down the networks that items such as ``frame=timm:NAME`` name in `home`.

    Returns:
        All backbones that are known in `home` then.

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
    """The backbone of ``timm:NAME``, as it was written down in `home` or as timm describes it.

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
    """The backbone of ``timm:NAME``, written down in `home` if it is not yet.

    Raises:
        ModelError: See `describe_timm`.
        StoreError: `home` cannot be read or written.
    """
    known = describe_timm(home, name)
    keep(home, known)
    return known


def description_of(backbone: Backbone) -> str | None:
    """What an export says of a network of timm, for `adopt`; None for vidsim's own backbones."""
    return _BACKBONE.dump_json(backbone).decode() if timm_name(backbone) else None


def adopt(description: str, known: Backbones) -> Backbone:
    """The network of timm that an export describes, which may be among `known` already.

    The description comes with a file that may be anybody's, and becomes names of files here.

    Raises:
        ValueError: It describes no network of timm, or another one than is known by its name.
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
    """Writes a network of timm down in `home`, if it is not yet; vidsim's own need it not.

    Raises:
        StoreError: `home` cannot be written.
    """
    path = home / "backbones" / f"{backbone.name}.json"
    if timm_name(backbone) is None or path.exists():
        return
    try:
        path.parent.mkdir(parents=True, exist_ok=True)
        with whole_file(path) as partial:
            partial.write_bytes(_BACKBONE.dump_json(backbone, indent=2))
    except OSError as error:
        raise StoreError(unwritten(str(path), error)) from error
