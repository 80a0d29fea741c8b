"""By which way a CPU computes I3D."""

from __future__ import annotations

import pytest
import torch

from vidsim.ingest.extract import motion
from vidsim.ingest.system.cpu import describe_cpu, motion_numbers

CPU = torch.device("cpu")


@pytest.mark.parametrize(
    ("integers", "bfloat16", "path"),
    [(True, True, "integers"), (False, True, "bfloat16"), (False, False, "winograd")],
)
def test_the_fastest_that_the_cpu_has_instructions_for(
    integers: bool, bfloat16: bool, path: str, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(motion, "supported", lambda: integers)
    monkeypatch.setattr(motion, "computes_bfloat16", lambda _: bfloat16)
    assert motion.i3d_path(CPU) == path


def test_float32_where_it_is_asked_for(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(motion, "supported", lambda: True)
    monkeypatch.setenv("VIDSIM_CPU_PATH", "float32")
    assert motion.i3d_path(CPU) == "winograd"


@pytest.mark.parametrize("setting", ["auto", "float32"])
def test_status_tells_the_way_without_torch(setting: str, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("VIDSIM_CPU_PATH", setting)
    assert motion_numbers(describe_cpu().features) == motion.i3d_path(CPU)
