"""``kit.md``: the JSON of a run as tables, in the style of docs/benchmarks.md."""

from __future__ import annotations

from collections.abc import Callable, Iterable, Mapping, Sequence
from typing import Any

_MOST_LINES = 8
"""Operators and functions shown; the JSON has more."""

Figures = Mapping[str, Any]


def to_markdown(report: Figures) -> str:
    """Tables of all that was measured, and a sentence for everything that was not.

    Args:
        report: What ``kit.json`` holds, as far as the run has come.
    """
    steps = {step["name"]: step for step in report["steps"]}
    lines = [*_head(report, steps.get("machine", {}).get("result", {})), ""]
    lines += [f"- {sentence}" for sentence in report["missing"]]
    lines += [f"- {name} is left out: {why}." for name, why in report["left_out"].items()]
    for name, step in steps.items():
        result = step.get("result") or {}
        if name == "ingest" and "again" in result:
            result = _with_bounds(result, steps.get("stages", {}).get("result") or {})
        if name in _TABLES and result:
            about = f"{step['about'][0].upper()}{step['about'][1:]}"
            lines += ["", f"{about}:", "", *_TABLES[name](result)]
        if step["status"] != "ok":
            last = step.get("why", "").strip().splitlines()[:1]
            lines += ["", f"The step {name}: {step['status']} ({' '.join(last)})."]
    return "\n".join(lines) + "\n"


def table(head: Sequence[str], rows: Iterable[Sequence[object]]) -> list[str]:
    """Lines of a Markdown table: the first column to the left, numbers to the right."""
    lines = [f"| {' | '.join(head)} |", f"|---|{'---:|' * (len(head) - 1)}"]
    return lines + [f"| {' | '.join(map(_cell, row))} |" for row in rows]


def _cell(value: object) -> str:
    if value is None:
        return ""
    if not isinstance(value, float):
        return str(value)
    if abs(value) >= 100:
        return f"{value:,.0f}"
    return f"{value:.1f}" if abs(value) >= 10 else f"{value:.2f}"


def _head(report: Figures, machine: Figures) -> list[str]:
    gpu, cpu = machine.get("gpu", {}), machine.get("cpu", {})
    name = gpu.get("name") or ("no GPU: a dry run" if report["device"] == "cpu" else "a GPU")
    about = [f"{cpu['cpu']}, {cpu['cores']} cores"] if cpu else []
    if torch := machine.get("torch"):
        about.append(f"torch {torch['version']}")
    if gpu:
        about.append(f"driver {gpu['driver']}")
    about.append(f"Python {machine['python']}" if "python" in machine else "")
    ended = f"{report['seconds']:.0f} s in all, {report['sizes']} sizes"
    return [f"### {name}", "", f"{'; '.join([*filter(None, about), ended])}."]


def _embeddings(result: Figures) -> list[str]:
    rows = [
        (name, f"{of['smallest_cosine']:.6f}", f"{of['mean_cosine']:.6f}", of["rows"])
        for name, of in result.items()
        if isinstance(of, dict)
    ]
    return table(["modality", "smallest cosine", "mean", "rows"], rows)


def _ingests(of_what: str) -> Callable[[Figures], list[str]]:
    """A table of ingests, one a row."""

    def lines(result: Figures) -> list[str]:
        runs = {name: of for name, of in result.items() if isinstance(of, dict) and "clips" in of}
        cosines = sorted({key for of in runs.values() for key in of if key.endswith("_cosine")})
        head = [of_what, "clips", "clips/s", "start s", "decoders", "GPU busy", "torch's peak MB"]
        head += ["all processes MB", "slowest", *(key.replace("_", "'s ") for key in cosines)]
        rows = [
            [
                name,
                of["clips"],
                of["clips_per_s"],
                of["startup_s"],
                of["workers"],
                f"{of['gpu_busy_percent']:.0f} %" if "gpu_busy_percent" in of else None,
                of.get("torch_allocated_mb"),
                of["processes_peak_mb"],
                max(of["stages"], key=lambda stage: of["stages"][stage]["held_ms"]),
                *(f"{of[key]:.5f}" if key in of else None for key in cosines),
            ]
            for name, of in runs.items()
        ]
        return table(head, rows) + _errors(result)

    return lines


def _ingest(result: Figures) -> list[str]:
    lines = _ingests("run")(result)
    if "again" not in result:
        return lines
    head = ["stage", "processor ms a clip", "busy ms", "main loop ms", "bound by"]
    keys = ("cpu_ms", "busy_ms", "held_ms", "bound")
    stages = result["again"]["stages"]
    return [
        *lines,
        "",
        *table(head, [(name, *(of[k] for k in keys)) for name, of in stages.items()]),
    ]


def _with_bounds(result: Figures, alone: Figures) -> Figures:
    """An ingest's figures, with what a GPU's networks were found to be bound by alone.

    What an ingest sees of them is a thread that waits for the GPU, at work or not.
    """
    stages = dict(result["again"]["stages"])
    for name in stages:
        if bound := alone.get(f"{name}, profile", {}).get("bound"):
            stages[name] = stages[name] | {"bound": bound}
    return {**result, "again": {**result["again"], "stages": stages}}


def _stages(result: Figures) -> list[str]:
    paces = {name: of for name, of in result.items() if "segments_per_s" in of}
    lines = table(
        ["network alone", "segments/s", "ms a batch", "torch's peak MB"],
        [(n, o["segments_per_s"], o["ms"], o.get("torch_allocated_mb")) for n, o in paces.items()],
    )
    profiles = {name.partition(",")[0]: of for name, of in result.items() if "operators" in of}
    if bound := [n for n in profiles if "bound" in profiles[n]]:
        keys = ("segments", "wall_ms", "kernels_ms", "copies_ms", "bound")
        head = ["network", "segments", "ms", "kernels ms", "copies ms", "bound by"]
        lines += ["", *table(head, [(n, *(profiles[n][k] for k in keys)) for n in bound])]
    for name, of in profiles.items():
        for kind in ("operators", "kernels"):
            rows = [
                (f"`{row['name']}`", row["calls"], row["cpu_ms"], row.get("gpu_ms"))
                for row in of.get(kind, ())[:_MOST_LINES]
            ]
            if rows:
                lines += ["", *table([f"{kind} of {name}", "calls", "CPU ms", "GPU ms"], rows)]
    return lines + _errors(result)


def _tests(result: Figures) -> list[str]:
    lines = table(
        ["test", "outcome", "s"],
        [(f"`{name}`", of["outcome"], of["seconds"]) for name, of in result.items()],
    )
    for name, of in result.items():
        lines += [f"- {name}: {line}" for line in of.get("printed", ())[:12]]
        if of["outcome"] != "passed":
            lines.append(f"- {name} {of['outcome']}: {of['why'].splitlines()[0]}")
    return [*lines[: 2 + len(result)], "", *lines[2 + len(result) :]]


def _nvdec(result: Figures) -> list[str]:
    lines = [f"A clip of 1920x1080 pixels, H.264, {result['clip']['seconds']} s."]
    if "hardware" in result:
        lines.append(f"Decoded by the GPU's hardware: {result['hardware'].get('is_hwaccel')}.")
    if "difference" in result:
        shown = ", ".join(f"{name} {off:.2f}" for name, off in result["difference"].items())
        lines.append(f"Mean difference of the pixels, of 256 levels: {shown}.")
    rows = [
        (name, of["frames_per_s"], of.get("clips_per_s"), of.get("gpu_busy_percent"))
        for name, of in result.items()
        if isinstance(of, dict) and "frames_per_s" in of
    ]
    lines += ["", *table(["way", "frames/s", "clips/s", "GPU busy %"], rows)]
    return lines + _errors(result)


def _kmeans(result: Figures) -> list[str]:
    keys = ["gpu_frames_per_s", "gpu_ms", "cpu_frames_per_s", "cpu_ms", "alike"]
    keys.append("torch_allocated_mb")
    head = [
        "at once",
        "GPU frames/s",
        "GPU ms",
        "CPU frames/s",
        "CPU ms",
        "alike",
        "torch's peak MB",
    ]
    rows = [(name, *(of.get(k) for k in keys)) for name, of in result.items() if "cpu_ms" in of]
    return table(head, rows) + _errors(result)


def _search(result: Figures) -> list[str]:
    ways = {name: of for name, of in result.items() if isinstance(of, dict)}
    ways |= {
        f"faiss {name}": of for name, of in ways.get("faiss", {}).items() if name != "left out"
    }
    cells = [c for c in ways.get("exact, float32", {}) if "queries" in c]
    rows = []
    for name, of in ways.items():
        if any(cell in of for cell in cells):
            shown = [of[c] for c in cells if c in of]
            rows.append([name, *(c["ms"] for c in shown), min(c["recall"] for c in shown)])
    about = result["vectors"]
    lines = [f"{about['rows']:,} x {about['dim']} synthetic vectors, milliseconds a call."]
    if "lists" in (ivf := result.get("IVF", {})):
        lines.append(
            f"IVF: {ivf['lists']} lists, {ivf['probes']} searched, {ivf['build_s']:.1f} s to make."
        )
    if "left out" in (faiss := result.get("faiss", {})):
        lines.append(f"faiss on a GPU is left out: {faiss['left out']}.")
    return [*lines, "", *table(["way", *cells, "smallest recall"], rows), *_errors(result)]


def _profile(result: Figures) -> list[str]:
    lines: list[str] = []
    for name, of in result.items():
        keys: Sequence[str]
        if "functions" in of:
            rows = of["functions"]
            keys = ("name", "calls", "own_s", "with_called_s")
            head = [f"{name} ({of['seconds']:.2f} s)", "calls", "own s", "in all s"]
        elif "samples" in of:
            rows = of["places"]
            keys = ("name", "thread", "percent")
            head = [f"{name} ({of['samples']} looks)", "thread", "% of the time"]
        else:
            continue
        lines += ["", *table(head, [_row(row, keys) for row in rows[:_MOST_LINES]])]
    return lines[1:] + _errors(result)


def _row(row: Figures, keys: Sequence[str]) -> list[object]:
    """Cells of a function: its name, as code, and figures."""
    first, *others = keys
    return [f"`{row[first]}`", *(row[key] for key in others)]


def _errors(result: Figures) -> list[str]:
    """A line for everything of a step that failed without ending it."""
    failed = {n: of["error"] for n, of in result.items() if isinstance(of, dict) and "error" in of}
    lines = [f"{name} failed: {error.strip().splitlines()[-1]}" for name, error in failed.items()]
    return ["", *lines] if lines else []


def _machine(result: Figures) -> list[str]:
    lines = [", ".join(f"{name} {v}" for name, v in result.get("versions", {}).items()) + "."]
    return lines + [f"- {line}." for line in result.get("unmet", ())]


_TABLES: Mapping[str, Callable[[Figures], list[str]]] = {
    "machine": _machine,
    "embeddings": _embeddings,
    "ingest": _ingest,
    "tests": _tests,
    "stages": _stages,
    "decoders": _ingests("decoders"),
    "batch": _ingests("batch"),
    "precision": _ingests("precision"),
    "nvdec": _nvdec,
    "kmeans": _kmeans,
    "search": _search,
    "profile": _profile,
}
