"""Networks of timm as backbones, known again later without timm.

The first use of ``frame=timm:NAME`` asks timm what the network is like and writes that down
under vidsim's home. From then on it stands in the table of backbones whenever the home is
opened: a stored vector can be searched, indexed and exported without importing timm.
"""

from __future__ import annotations

from collections.abc import Iterable
from pathlib import Path

from pydantic import TypeAdapter, ValidationError

from ..schemas.errors import ModelError, StoreError
from ..schemas.modality import (
    BACKBONES,
    TIMM_SCHEME,
    Backbone,
    PublishedFiles,
    timm_backbone_name,
)
from .whole_file import whole_file

_BACKBONE = TypeAdapter(Backbone)


def load_registered(home: Path) -> None:
    """Adds the backbones that were used in `home` to the table.

    Raises:
        StoreError: A description is damaged.
    """
    for path in sorted((home / "backbones").glob("*.json")):
        if path.stem in BACKBONES:
            continue
        try:
            backbone = _BACKBONE.validate_json(path.read_bytes())
        except (OSError, ValidationError) as error:
            raise StoreError(
                f"{path} is damaged; delete it and name the network once more, "
                "with 'vidsim ingest FOLDER --model frame=timm:NAME'."
            ) from error
        BACKBONES[backbone.name] = backbone


def register_overrides(home: Path, overrides: Iterable[str]) -> None:
    """Makes every backbone known that items such as ``frame=timm:NAME`` may name in `home`.

    Raises:
        ModelError: timm has no such network.
        StoreError: `home` cannot be read or written.
    """
    load_registered(home)
    for override in overrides:
        name = override.partition("=")[2]
        if name.startswith(TIMM_SCHEME):
            register_timm(home, name)


def describe_timm(home: Path, name: str) -> Backbone:
    """The backbone of ``timm:NAME``, as it was written down in `home` or as timm describes it.

    Raises:
        ModelError: timm has no such network, or its name in Milvus is taken by another one.
        StoreError: A description in `home` is damaged.
    """
    load_registered(home)
    known = BACKBONES.get(timm_backbone_name(name.removeprefix(TIMM_SCHEME)))
    if known is None:
        from .networks.timm_network import describe

        known = describe(name.removeprefix(TIMM_SCHEME))
        BACKBONES[known.name] = known
    assert isinstance(known.weights, PublishedFiles)
    there = known.weights.files[0].url or ""
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
    path = home / "backbones" / f"{known.name}.json"
    if not path.exists():
        _write(path, known)
    return known


def _write(path: Path, backbone: Backbone) -> None:
    try:
        path.parent.mkdir(parents=True, exist_ok=True)
        with whole_file(path) as partial:
            partial.write_bytes(_BACKBONE.dump_json(backbone, indent=2))
    except OSError as error:
        raise StoreError(
            f"{path} cannot be written ({error.strerror}); set VIDSIM_HOME to a folder that can."
        ) from error
