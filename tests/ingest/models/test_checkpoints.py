"""Weights that somebody else saved: what is odd about them is one sentence, and no warning."""

from __future__ import annotations

import pickle
from contextlib import suppress
from pathlib import Path
from typing import Any

import numpy as np
import pytest
import timm
import torch

from vidsim.ingest.exchange.capstone_files import _read_labels
from vidsim.ingest.models.networks.checkpoint import read_checkpoint
from vidsim.ingest.models.networks.i3d import load_i3d
from vidsim.ingest.models.networks.timm_network import load_timm
from vidsim.schemas.errors import StoreError, WeightsError

TIMM = "test_resnet"


def test_complex_numbers_are_not_cut_to_real_ones(tmp_path: Path) -> None:
    state = timm.create_model(TIMM).state_dict()
    torch.save(state, tmp_path / "right.pth")
    load_timm(TIMM, tmp_path / "right.pth")
    name = next(iter(state))
    torch.save(state | {name: state[name].to(torch.complex64)}, tmp_path / "wrong.pth")
    with pytest.raises(WeightsError, match="holds complex numbers"):
        load_timm(TIMM, tmp_path / "wrong.pth")


@pytest.mark.filterwarnings("error")
def test_what_torch_warns_of_is_not_told(tmp_path: Path) -> None:
    path = tmp_path / "a.pth"
    torch.save({"a": 1}, path, pickle_protocol=3)
    assert read_checkpoint(path, "a network") == {"a": 1}
    path.write_bytes(b"\x80\xff" + pickle.dumps({"a": 1}, 2)[2:])
    with pytest.raises(WeightsError, match="does not hold a network"):
        read_checkpoint(path, "a network")


def test_a_checkpoint_that_holds_itself_is_refused(tmp_path: Path) -> None:
    tree: dict[str, Any] = {"params": {}}
    tree["params"]["again"] = tree
    (tmp_path / "a.ckpt").write_bytes(pickle.dumps(tree))
    with pytest.raises(WeightsError, match="does not hold I3D"):
        load_i3d(tmp_path / "a.ckpt")


@pytest.mark.filterwarnings("error")
@pytest.mark.parametrize("damage", [b"(", b"'", b"\0", b"\\", b"9" * 20])
def test_labels_with_a_damaged_header_are_refused(tmp_path: Path, damage: bytes) -> None:
    path = tmp_path / "labels.npy"
    np.save(path, np.array([[0, 5], [7]], object), allow_pickle=True)
    content = path.read_bytes()
    refused = 0
    for at in range(10, 60):
        path.write_bytes(content[:at] + damage + content[at + len(damage) :])
        with suppress(StoreError):
            _read_labels(path)
            refused -= 1
        refused += 1
    assert refused > 30
