"""The GPU kit without a GPU: parts arrive whole, a failing step costs itself only."""

from __future__ import annotations

import json
import os
import subprocess
import sys
import time
import zipfile
from pathlib import Path

import pytest

from .gpu.kitlib.common import MODALITIES, Bench
from .gpu.kitlib.install import install
from .gpu.kitlib.main import main
from .gpu.kitlib.parts import Item, KitError, items_of, pack, read_inventory, receive, write_parts
from .gpu.kitlib.report import to_markdown
from .gpu.kitlib.run import run
from .gpu.kitlib.step import main as step_main
from .gpu.kitlib.steps import STEPS, Step, run_step, run_steps
from .gpu.kitlib.wheels import LEFT_OUT, THERE, read_lock, read_requirements
from .helpers.repository import ROOT

KIT = ROOT / "tests" / "gpu" / "kit"
SLEEP = "import time; time.sleep(60)"


def item(name: str, size: int) -> Item:
    return Item(name, Path(name), size)


@pytest.fixture
def parts(tmp_path):
    """Two parts with three files."""
    source = tmp_path / "source"
    (source / "class").mkdir(parents=True)
    for name, size in (("class/a.avi", 700), ("class/b.avi", 500), ("c.whl", 300)):
        (source / name).write_bytes(os.urandom(size))
    clips = items_of(source, "data/ucf101_mini", source.glob("class/*"))
    items = [*clips, *items_of(source, "wheels", [source / "c.whl"])]
    return write_parts(pack(items, 1000), tmp_path / "parts", {"tensorflow": "too large"})


def test_parts_are_filled_first_fit_the_largest_first():
    sizes = {"a": 30, "b": 60, "c": 50, "d": 40, "e": 10, "f": 5}
    found = pack([item(name, size) for name, size in sizes.items()], 100)
    assert [[i.name for i in part] for part in found] == [["b", "d"], ["c", "a", "e", "f"]]
    assert all(sum(i.size for i in part) <= 100 for part in found)
    assert pack([], 100) == []


def test_a_file_that_no_part_can_take_is_named():
    with pytest.raises(KitError, match=r"big\.whl has 60\.0 MB, and a part takes 55\.0 MB"):
        pack([item("big.whl", 60_000_000)], 55_000_000)


def test_parts_arrive_whole_and_the_missing_ones_are_named(parts, tmp_path):
    into = tmp_path / "into"
    assert read_inventory(into).parts == ()
    first, second = parts
    assert receive(first, into) == ["data/ucf101_mini/class/a.avi", "wheels/c.whl"]
    inventory = read_inventory(into)
    assert inventory.parts == ["part-1", "part-2"]
    assert inventory.lacking == {"part-2": ["data/ucf101_mini/class/b.avi"]}
    assert inventory.notes == {"tensorflow": "too large"}
    receive(second, into)
    assert read_inventory(into).lacking == {}
    names = ("data/ucf101_mini/class/a.avi", "data/ucf101_mini/class/b.avi", "wheels/c.whl")
    assert [(into / name).stat().st_size for name in names] == [700, 500, 300]


def test_a_damaged_file_is_refused_and_the_rest_received(parts, tmp_path, capsys):
    into = tmp_path / "into"
    clip = parts[0] / "data/ucf101_mini/class/a.avi"
    *content, last = clip.read_bytes()
    clip.write_bytes(bytes([*content, last ^ 1]))
    assert main(["receive", str(parts[0]), "--into", str(into)]) == 1
    assert "a.avi is not what it was" in capsys.readouterr().err
    assert (into / "wheels/c.whl").is_file()
    assert not (into / "data").exists()
    assert read_inventory(into).parts == ()
    assert main(["receive", str(tmp_path), "--into", str(into)]) == 1
    assert "is no part" in capsys.readouterr().err


def test_nothing_is_received_outside_of_its_folder(parts, tmp_path):
    manifest = parts[0] / "manifest.json"
    found = json.loads(manifest.read_text())
    found["files"][0]["name"] = "../away"
    manifest.write_text(json.dumps(found))
    with pytest.raises(KitError, match="outside"):
        receive(parts[0], tmp_path / "into")


def test_the_kit_starts_on_the_standard_library_alone(parts, tmp_path):
    command = [sys.executable, "-I", "-S", str(KIT), "receive", *map(str, parts)]
    done = subprocess.run([*command, "--into", str(tmp_path / "into")], capture_output=True)
    assert done.returncode == 0, done.stderr
    done = subprocess.run([*command[:4], "run", "--help"], capture_output=True, text=True)
    assert "--seconds" in done.stdout


def test_a_lock_is_read_for_the_machine_and_not_for_this_one(tmp_path):
    lock = tmp_path / "requirements.lock"
    lock.write_text(
        "# a comment\n--index-url somewhere\n"
        "av==18.1.0 ; python_full_version < '3.12' \\\n    --hash=sha256:aa\n"
        "Av==19.0.2 ; python_full_version >= '3.12' \\\n"
        "    --hash=sha256:bb \\\n    --hash=sha256:cc\n"
        "pywin32==312 ; sys_platform == 'win32' \\\n    --hash=sha256:dd\n"
    )
    assert read_lock(lock) == {"av": "Av==19.0.2 --hash=sha256:bb --hash=sha256:cc"}
    with pytest.raises(KitError, match="There is no"):
        read_lock(tmp_path / "none")


def test_what_is_left_out_is_still_required():
    required = read_requirements(ROOT / "pyproject.toml")
    assert set(required) >= LEFT_OUT.keys()
    assert {"av", "pydantic", "milvus-lite"} <= set(required) - set(THERE)


def run_all(steps, scripts, tmp_path, seconds=60.0):
    """Runs Python programs as steps, which write their result to `argv[1]`."""
    told = []
    records = run_steps(
        steps,
        lambda step, result: [sys.executable, "-c", scripts[step.name], str(result)],
        dict(os.environ),
        tmp_path,
        time.monotonic() + seconds,
        1.0,
        lambda records: told.append(len(records)),
    )
    assert told == list(range(1, len(steps) + 1))
    return {record["name"]: record for record in records}


def test_what_becomes_of_each_step_is_recorded_and_the_rest_runs(tmp_path):
    write = (
        "import json, pathlib, sys\n"
        "pathlib.Path(sys.argv[1]).write_text(json.dumps({'result': {'n': 1}}))\n"
    )
    scripts = {
        "fine": write,
        "stuck": write + SLEEP,
        "crashing": "import os; print('last words', flush=True); os.abort()",
        "after": write,
    }
    steps = [Step(name, 2 if name == "stuck" else 30, name) for name in scripts]
    found = run_all(steps, scripts, tmp_path)
    assert {name: r["status"] for name, r in found.items()} == {
        "fine": "ok",
        "stuck": "stopped",
        "crashing": "failed",
        "after": "ok",
    }
    assert found["stuck"]["result"] == {"n": 1}
    assert "stopped after 2 s" in found["stuck"]["why"]
    assert "last words" in found["crashing"]["output"]


def test_what_there_is_no_time_for_is_not_run(tmp_path, monkeypatch):
    monkeypatch.setattr(f"{run_steps.__module__}._LEAST_S", 1)
    steps = [Step(name, 30, name) for name in ("one", "two")]
    found = run_all(steps, {"one": SLEEP, "two": SLEEP}, tmp_path, seconds=4.5)
    assert found["one"]["status"] == "stopped"
    assert (found["two"]["status"], found["two"]["why"]) == ("not run", "no time left")


def test_a_step_takes_what_it_started_along(tmp_path):
    child = f"import subprocess, sys; subprocess.run([sys.executable, '-c', '''{SLEEP}'''])"
    began = time.monotonic()
    record = run_step([sys.executable, "-c", child], os.environ, tmp_path / "r.json", 1)
    assert record["status"] == "stopped"
    assert time.monotonic() - began < 10
    assert run_step(["/nowhere"], {}, tmp_path / "r.json", 1)["status"] == "failed"


@pytest.fixture
def stub_step(monkeypatch):
    """Puts a generator in the place of a step's module."""

    def put(measure) -> None:
        module = type(sys)("step")
        module.measure = measure
        monkeypatch.setattr("importlib.import_module", lambda *_: module)

    return put


def test_a_failing_step_keeps_its_figures_and_its_traceback(stub_step, tmp_path):
    def measure(bench):
        yield "first", {"ms": 1}
        raise ValueError("no such kernel")

    stub_step(measure)
    bench = Bench("cpu", True, tmp_path, tmp_path).dump()
    assert step_main("any", bench, tmp_path / "r.json") == 1
    found = json.loads((tmp_path / "r.json").read_text())
    assert found["result"] == {"first": {"ms": 1}}
    assert found["why"] == "ValueError: no such kernel"
    assert "in measure" in found["error"]


def test_a_measurement_that_failed_alone_is_told(stub_step, tmp_path):
    stub_step(lambda bench: iter([("a", {"error": "Traceback\nOutOfMemory: 3 GB"}), ("b", 2)]))
    bench = Bench("cpu", True, tmp_path, tmp_path).dump()
    assert step_main("any", bench, tmp_path / "r.json") == 1
    found = json.loads((tmp_path / "r.json").read_text())
    assert found["result"]["b"] == 2
    assert found["why"] == "a: OutOfMemory: 3 GB"


def test_a_bench_arrives_as_it_was(tmp_path):
    bench = Bench("cuda", False, tmp_path / "clips", tmp_path, ("color",))
    assert Bench.load(bench.dump()) == bench


def test_wheels_are_unpacked_where_pip_cannot(tmp_path):
    with pytest.raises(KitError, match="No package"):
        install(tmp_path, 10)
    (tmp_path / "wheels").mkdir()
    with zipfile.ZipFile(tmp_path / "wheels" / "one-1-py3-none-any.whl", "w") as wheel:
        wheel.writestr("one/__init__.py", "")
    assert install(tmp_path, 60) == "1 packages installed unpacked, for pip failed"
    assert (tmp_path / "site/one/__init__.py").is_file()
    assert install(tmp_path, 60) == "1 packages were installed already"


def test_without_any_part_all_is_told_and_written(tmp_path, capsys, monkeypatch):
    monkeypatch.setattr(f"{run.__module__}.run_steps", lambda *args: args[-1]([_record()]))
    assert run(tmp_path / "into", tmp_path / "out", "cpu", None, 60) == 1
    said = capsys.readouterr().err
    assert "No part was received" in said
    assert "left out: motion (its weights were not received)" in said
    report = json.loads((tmp_path / "out/kit.json").read_text())
    assert [s["status"] for s in report["steps"]] == ["failed", "ok"]
    assert "KitError" in report["steps"][0]["error"]
    assert report["sizes"] == "small"
    assert "frame is left out" in (tmp_path / "out/kit.md").read_text()


def _record(**changes):
    result = {
        name: {"smallest_cosine": 0.99951, "mean_cosine": 1, "rows": 8} for name in MODALITIES
    }
    record = {"name": "embeddings", "about": "embeddings against the CPU's", "status": "ok"}
    return record | {"seconds": 1.0, "result": {"clips": 4, **result}, **changes}


def test_tables_are_made_of_the_json():
    report = {
        "device": "cuda",
        "sizes": "full",
        "seconds": 301.2,
        "missing": ["part-2 was not received: 67 clips."],
        "left_out": {"tensorflow": "too large"},
        "steps": [
            {
                "name": "machine",
                "about": "what there is",
                "status": "ok",
                "result": {"gpu": {"name": "A Chip", "driver": "1.2"}, "versions": {"torch": "2"}},
            },
            _record(),
            {"name": "search", "about": "s", "status": "not run", "why": "no time left"},
            _record(name="nvdec", status="failed", why="Error: x\ny", result={}),
        ],
    }
    lines = to_markdown(report).splitlines()
    assert lines[0] == "### A Chip"
    assert "| motion | 0.999510 | 1.000000 | 8 |" in lines
    assert "- part-2 was not received: 67 clips." in lines
    assert "The step search: not run (no time left)." in lines
    assert "The step nvdec: failed (Error: x)." in lines


def test_every_step_has_a_module():
    for step in STEPS:
        assert (KIT.parent / "kitlib" / f"step_{step.name}.py").is_file()


def _gpu_steps():
    """What only a GPU gives, which a dry run's tables do not have."""
    cost = {"cpu_ms": 1.0, "busy_ms": 2.0, "held_ms": 3.0, "bound": "one core"}
    ingest = {
        "clips": 536,
        "clips_per_s": 61.5,
        "startup_s": 3.0,
        "workers": 4,
        "gpu_busy_percent": 41.7,
        "torch_allocated_mb": 7012.0,
        "processes_peak_mb": 9000.0,
        "stages": {"decode": cost, "motion": cost | {"held_ms": 9.0}},
    }
    pace = {"segments_per_s": 300.0, "ms": 107.0, "torch_allocated_mb": 7000.0}
    kernel = {"name": "sm90_xmma", "calls": 57, "cpu_ms": 0.0, "gpu_ms": 80.5}
    profile = {"segments": 32, "wall_ms": 107.0, "kernels_ms": 90.0, "copies_ms": 4.0}
    profile |= {"bound": "the GPU's kernels", "operators": [kernel], "kernels": [kernel]}
    cell = {"10 queries, K 10": {"ms": 0.8, "recall": 1.0}}
    frames = {"gpu_frames_per_s": 9000.0, "gpu_ms": 70.0, "cpu_frames_per_s": 900.0}
    return {
        "ingest": {"again": ingest},
        "stages": {"motion, 32 segments": pace, "motion, profile": profile},
        "precision": {"as it is": ingest | {"motion_cosine": 0.99991}, "float16": {"error": "Bad"}},
        "nvdec": {
            "clip": {"seconds": 20},
            "hardware": {"is_hwaccel": True},
            "one decoder, NVDEC": {"frames_per_s": 700.0},
            "difference": {"motion": 0.31},
        },
        "kmeans": {"640 frames": frames | {"cpu_ms": 700.0, "alike": 0.99}},
        "search": {
            "vectors": {"rows": 106557, "dim": 2048},
            "exact, float32": cell,
            "IVF": cell | {"lists": 1024, "probes": 8, "build_s": 0.4},
            "faiss": {"exact": cell},
        },
    }


def test_what_only_a_gpu_gives_is_in_the_tables_too():
    steps = [
        {"name": name, "about": name, "status": "ok", "result": result}
        for name, result in _gpu_steps().items()
    ]
    head = {"device": "cuda", "sizes": "full", "seconds": 1.0, "missing": [], "left_out": {}}
    lines = to_markdown(head | {"steps": steps}).splitlines()
    assert "| again | 536 | 61.5 | 3.00 | 4 | 42 % | 7,012 | 9,000 | motion |" in lines
    assert "| motion | 1.00 | 2.00 | 9.00 | the GPU's kernels |" in lines
    assert "| motion | 32 | 107 | 90.0 | 4.00 | the GPU's kernels |" in lines
    assert "| `sm90_xmma` | 57 | 0.00 | 80.5 |" in lines
    assert "float16 failed: Bad" in lines
    assert "Decoded by the GPU's hardware: True." in lines
    assert "| 640 frames | 9,000 | 70.0 | 900 | 700 | 0.99 |  |" in lines
    assert "| faiss exact | 0.80 | 1.00 |" in lines
