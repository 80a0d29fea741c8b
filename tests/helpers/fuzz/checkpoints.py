"""Weights that somebody else saved: torch's two formats, safetensors, pickles of arrays."""

from __future__ import annotations

import io
import os
import pickle
import random
import zipfile
from collections.abc import Callable, Iterator, Mapping
from contextlib import contextmanager
from pathlib import Path
from typing import Any
from unittest import mock

import numpy as np
import safetensors.torch
import timm
import torch

from vidsim.ingest.exchange.capstone_files import _read_labels
from vidsim.ingest.models.check import check_fits
from vidsim.ingest.models.networks.timm_network import describe
from vidsim.ingest.models.weights import add
from vidsim.schemas.backbones import BACKBONES, Backbone

from .mutations import ODD_TEXTS, mutated
from .targets import Feed, Outcome

_TIMM = "test_resnet"
"""Half a million parameters: an input costs milliseconds."""


@contextmanager
def started(folder: Path) -> Iterator[Feed]:
    """Feeds files with spoiled bytes or members, and whole ones of other tensors."""
    cache = folder / "cache"
    of_timm = describe(_TIMM)
    state = timm.create_model(_TIMM).state_dict()
    few = {"a": torch.zeros(3), "b": torch.arange(4), "c": torch.zeros(2, 2, dtype=torch.float16)}
    arrays = {"params": {"conv": {"w": np.zeros((1, 2), np.float32)}}, "batch_stats": {"x": [1]}}
    seeds: list[tuple[Backbone, bytes]] = [
        *((of_timm, saved(state)) for saved in (_zipped, _legacy, safetensors.torch.save)),
        *((of_timm, saved(few)) for saved in (_zipped, _legacy, safetensors.torch.save)),
        *((BACKBONES["resnet34_3d"], _zipped({"arch": a, "state_dict": few})) for a in _ARCHES),
        (BACKBONES["resnet50"], _legacy(few)),
        (BACKBONES["i3d"], pickle.dumps(arrays, 4)),
        (BACKBONES["i3d"], pickle.dumps(arrays, 2)),
    ]
    lists = [_saved(of) for of in ([[0, 5], [7], [1]], [["dog"], ["a", "b"]], [0, 1])]

    def feed(chance: random.Random) -> Outcome:
        backbone, data = chance.choice(seeds)
        others = [of for _, of in seeds]
        if chance.random() < 0.3:
            data = _other_tensors(chance, state)
            backbone = of_timm
        elif data.startswith(b"PK") and chance.random() < 0.5:
            data = _spoiled_member(chance, data, others)
        else:
            data = mutated(chance, data, others)
        if chance.random() < 0.1:
            path = folder / "lists"
            path.write_bytes(mutated(chance, chance.choice(lists), lists))
            _read_labels(path)
            return Outcome.ACCEPTED
        assert backbone.weights is not None
        path = folder / backbone.weights.files[0].name
        path.write_bytes(data)
        if chance.random() < 0.2 and backbone is of_timm:
            add(backbone, [path])
        else:
            check_fits(backbone, folder)
        return Outcome.ACCEPTED

    with mock.patch.dict(os.environ, {"VIDSIM_CACHE": str(cache)}):
        yield feed


_ARCHES = ("resnet-34", "resnet-18")


def _saved(lists: list[Any]) -> bytes:
    """The labels of clips, as the capstone saved them: an array of lists is a pickle."""
    of = np.empty(len(lists), object) if isinstance(lists[0], list) else np.zeros(len(lists), int)
    of[:] = lists
    written = io.BytesIO()
    np.save(written, of, allow_pickle=True)
    return written.getvalue()


def _zipped(state: Any) -> bytes:
    written = io.BytesIO()
    torch.save(state, written)
    return written.getvalue()


def _legacy(state: Any) -> bytes:
    written = io.BytesIO()
    torch.save(state, written, _use_new_zipfile_serialization=False)
    return written.getvalue()


def _spoiled_member(chance: random.Random, data: bytes, others: list[bytes]) -> bytes:
    """An archive whose checksums are right, one of its members spoiled."""
    found = io.BytesIO()
    with zipfile.ZipFile(io.BytesIO(data)) as old, zipfile.ZipFile(found, "w") as new:
        names = old.namelist()
        chosen = chance.choice([names[0], chance.choice(names)])  # the first is the pickle
        for name in names:
            content = old.read(name)
            kind = zipfile.ZIP_STORED
            if name == chosen:
                content = mutated(chance, content, [content, *others])
                kind = chance.choice((zipfile.ZIP_STORED, zipfile.ZIP_DEFLATED))
            new.writestr(name, content, kind)
    return found.getvalue()


def _other_tensors(chance: random.Random, state: Mapping[str, torch.Tensor]) -> bytes:
    """Intact files of tensors that do not fit: missing, left over, of other shapes and kinds."""
    found: dict[Any, Any] = dict(state)
    for _ in range(chance.choice((0, 1, 1, 3))):
        name = chance.choice([*found])
        match chance.randrange(6):
            case 0:
                del found[name]
            case 1:
                found[chance.choice(ODD_TEXTS)[:200].replace("\ud800", "")] = torch.zeros(1)
            case 2:
                found[name] = torch.zeros(chance.choice(((), (0,), (1, 2, 3), (2**20,))))
            case 3:
                kinds = (torch.int8, torch.bool, torch.complex64, torch.bfloat16, torch.float64)
                found[name] = found[name].to(chance.choice(kinds))
            case 4:
                found[name] = torch.full_like(found[name], chance.choice((0, 1)))
            case _:
                values = (None, 3, "x", [1], {"a": 1}, torch.zeros(1).expand(2**40))
                found[name] = chance.choice(values)
    if chance.random() < 0.3 and all(_is_plain(value) for value in found.values()):
        return safetensors.torch.save(found)
    save: Callable[[Any], bytes] = chance.choice((_zipped, _legacy))
    return save(found if chance.random() < 0.8 else chance.choice(([1], {"state_dict": found}, 7)))


def _is_plain(value: Any) -> bool:
    return isinstance(value, torch.Tensor) and value.is_contiguous()
