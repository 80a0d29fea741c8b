"""'vidsim doctor': each line is fine, or says what to do."""

from __future__ import annotations

import errno
import fcntl
import json
import os
import subprocess
import sys
from pathlib import Path

import pytest

from vidsim.ingest.health import installation, machine, stored
from vidsim.ingest.health.imports import Imported
from vidsim.ingest.system.sandbox import Available
from vidsim.schemas.health import CheckedThing, Health

from ...helpers.command_line import Here, environment, home_of_shades

FEW = {"filelock": ">=3.16", "av": ">=18,<20"}
"""Packages that are imported at once."""


@pytest.fixture(autouse=True)
def few(monkeypatch: pytest.MonkeyPatch) -> None:
    """All of them are imported in `test_all_packages_of_this_environment_are_fine` alone."""
    monkeypatch.setattr(installation, "ALLOWED", FEW)


def of(done: subprocess.CompletedProcess[str], name: str) -> list[CheckedThing]:
    return [c for c in Health.model_validate_json(done.stdout).checks if c.name == name]


def test_where_nothing_is_stored_all_is_fine(
    vidsim_here: Here, tmp_path: Path, weights: Path
) -> None:
    done = vidsim_here(tmp_path / "home", "doctor")
    assert done.returncode == 0, done.stdout
    names = [line.split()[1] for line in done.stdout.splitlines() if "->" not in line]
    for name in ("Python", "packages", "CPU", "GPU", "FFmpeg", "home", "disk", "weights", "store"):
        assert name in names
    assert not (tmp_path / "home").exists(), "looking changes nothing"


@pytest.mark.parametrize("nowhere", ["", "/nowhere"])
def test_no_home_folder_of_the_user_is_no_traceback(nowhere: str) -> None:
    kept = {k: v for k, v in os.environ.items() if not k.startswith(("VIDSIM_", "XDG_"))}
    done = ran(kept | {"HOME": nowhere}, "doctor", "--json")
    assert "Traceback" not in done.stderr
    assert {c.name for c in Health.model_validate_json(done.stdout).checks} >= {"home", "weights"}


def ran(environment: dict[str, str], *words: str) -> subprocess.CompletedProcess[str]:
    """Runs the program, which looks at few packages."""
    program = (
        "import vidsim.ingest.health.installation as i; i.ALLOWED = "
        f"{FEW | {'pydantic': '>=2.10'}}; from vidsim.__main__ import run; run()"
    )
    return subprocess.run(
        [sys.executable, "-c", program, *words],
        env=environment,
        capture_output=True,
        text=True,
        timeout=120,
    )


def test_it_works_without_what_the_command_line_is_made_of(tmp_path: Path) -> None:
    (tmp_path / "site").mkdir()
    (tmp_path / "site" / "pydantic.py").write_text("raise ImportError('half of it is gone')")
    path = os.pathsep.join(filter(None, [str(tmp_path / "site"), os.environ.get("PYTHONPATH")]))
    broken = environment(tmp_path / "home", PYTHONPATH=path)
    done = ran(broken, "doctor", "--json")
    assert done.returncode == 1
    (found,) = [c for c in json.loads(done.stdout)["checks"] if c["name"] == "pydantic"]
    assert (found["state"], "half of it is gone" in found["found"]) == ("wrong", True)
    assert found["step"].startswith("pip install ")
    told = ran(broken, "doctor")
    assert (told.returncode, "Traceback" in told.stderr) == (1, False)
    assert "WRONG   pydantic" in told.stdout
    other = ran(broken, "status")
    assert (other.returncode, other.stdout) == (1, "")
    assert other.stderr.startswith("Error: a package that vidsim needs cannot be imported (half of")
    assert other.stderr.count("\n") == 1


def test_a_setting_that_is_none_is_a_line(vidsim_here: Here, tmp_path: Path) -> None:
    done = vidsim_here(tmp_path / "home", "doctor", "--json", VIDSIM_DEVICE="tpu")
    assert done.returncode == 1
    (found,) = of(done, "settings")
    assert (found.state, found.found.startswith("VIDSIM_DEVICE=tpu")) == ("wrong", True)


def test_a_name_that_is_no_setting_is_advice(
    vidsim_here: Here, tmp_path: Path, weights: Path
) -> None:
    done = vidsim_here(tmp_path / "home", "doctor", "--json", VIDSIM_HOMME="x")
    assert done.returncode == 0
    (found,) = of(done, "settings")
    assert (found.state, found.step) == ("advice", "did you mean VIDSIM_HOME?")


def test_packages_that_are_missing_old_or_broken_are_told(monkeypatch: pytest.MonkeyPatch) -> None:
    asked = {"no-such-package": ">=1", "filelock": ">=900", "av": ">=18,<20", "h5py": ">=3"}
    monkeypatch.setattr(installation, "ALLOWED", asked)
    imported = {"filelock": Imported(), "av": Imported(wrong="OSError: no"), "h5py": Imported()}
    found = {f.name: f for f in installation.package_findings(imported)}
    assert found["no-such-package"].step == "pip install 'no-such-package>=1'"
    assert found["filelock"].found.endswith("; vidsim needs >=900")
    assert "cannot be imported (OSError: no)" in found["av"].found
    assert [f.state for f in found.values()][:3] == ["wrong"] * 3
    assert found["packages"].found.startswith("1 of 4 can be used")


def test_other_versions_than_those_tested_are_advice(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(installation, "LOCKED", {"filelock": "0.1 0.2", "av": "0.3"})
    imported = {"filelock": Imported(), "av": Imported()}
    (found,) = installation.package_findings(imported)
    assert found.state == "advice"
    assert "(0.1 or 0.2)" in found.found


@pytest.mark.parametrize(
    ("version", "state"),
    [("8.1.2", "fine"), ("9.0", "fine"), ("8.0.3", "fine"), ("8.1.1", "advice"), ("7.0", "advice")],
)
def test_an_ffmpeg_with_known_holes_is_told(version: str, state: str) -> None:
    assert machine.ffmpeg_finding({"ffmpeg": Imported(version)}).state == state


@pytest.mark.parametrize(
    ("kernel", "state", "named"),
    [
        (Available(True, True, 6), "fine", "Landlock 6"),
        (Available(True, True, 0), "advice", "does not give Landlock:"),
        (Available(True, False, 0), "advice", "does not give seccomp, Landlock:"),
    ],
)
def test_what_a_kernel_lacks_to_confine_decoders_is_told(
    monkeypatch: pytest.MonkeyPatch, kernel: Available, state: str, named: str
) -> None:
    monkeypatch.setattr(machine, "available", lambda: kernel)
    found = machine.confinement_finding()
    assert found.state == state
    assert named in found.found


def test_a_gpu_that_is_wanted_and_not_seen_is_wrong(monkeypatch: pytest.MonkeyPatch) -> None:
    seen = {"cuda": Imported(json.dumps({"built_for": None}))}
    assert machine.gpu_finding(seen).state == "fine"
    monkeypatch.setenv("VIDSIM_DEVICE", "cuda")
    assert machine.gpu_finding(seen).state == "wrong"
    devices = [{"name": "A GPU", "memory_bytes": 24e9}]
    there = {"cuda": Imported(json.dumps({"built_for": "13.0", "devices": devices}))}
    assert machine.gpu_finding(there).found == "A GPU, 24 GB (CUDA 13.0)"


def test_weights_that_are_missing_or_damaged(vidsim_here: Here, tmp_path: Path) -> None:
    cache = tmp_path / "cache"
    done = vidsim_here(tmp_path / "home", "doctor", "--json", VIDSIM_CACHE=str(cache))
    assert done.returncode == 0
    assert {(c.state, c.step.split(",")[0]) for c in of(done, "weights")} == {
        ("advice", "vidsim prepare")
    }
    file = cache / "weights" / "i3d" / "i3d-kinetics-400.ckpt"
    file.parent.mkdir(parents=True)
    file.write_bytes(b"not these")
    done = vidsim_here(tmp_path / "home", "doctor", "--json", VIDSIM_CACHE=str(cache))
    assert done.returncode == 1
    assert ("wrong", "vidsim models pull i3d_192") in {
        (c.state, c.step) for c in of(done, "weights")
    }


def test_a_shard_that_is_gone_is_told(vidsim_here: Here, tmp_path: Path) -> None:
    _, home = home_of_shades(tmp_path)
    next((home / "shards").rglob("*.h5")).unlink()
    done = vidsim_here(home, "doctor", "--json")
    assert done.returncode == 1
    assert next(c.state for c in of(done, "store")) == "wrong"


def test_a_file_system_without_locks_is_told(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    def refuse(*_: object) -> None:
        raise OSError(errno.ENOLCK, "No locks available")

    monkeypatch.setattr(fcntl, "flock", refuse)
    found = stored.folder_finding("home", tmp_path, "VIDSIM_HOME")
    assert (found.state, "without locks" in found.found) == ("wrong", True)


def test_a_folder_that_cannot_be_made_is_told(tmp_path: Path) -> None:
    (tmp_path / "file").write_text("")
    found = stored.folder_finding("home", tmp_path / "file" / "home", "VIDSIM_HOME")
    assert (found.state, found.step) == ("wrong", "set VIDSIM_HOME to another")


def test_a_server_that_does_not_answer_is_told(vidsim_here: Here, tmp_path: Path) -> None:
    done = vidsim_here(tmp_path / "home", "doctor", "--json", VIDSIM_URI="http://127.0.0.1:9")
    assert done.returncode == 1
    (found,) = of(done, "Milvus")
    assert found.state == "wrong"
    assert "127.0.0.1:9" in found.found


@pytest.mark.acceptance
def test_all_packages_of_this_environment_are_fine(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.undo()
    done = subprocess.run(
        [sys.executable, "-m", "vidsim", "doctor", "--json"], capture_output=True, text=True
    )
    report = Health.model_validate_json(done.stdout)
    assert [c for c in report.checks if c.state == "wrong"] == []
