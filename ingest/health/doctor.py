"""``vidsim doctor``: look at everything that vidsim needs, and say what to do.

Each check has a time limit and can fail only itself. Where packages that the command line needs are
missing, `without_package` still says which.
"""

from __future__ import annotations

import json
import sys
from collections.abc import Callable, Iterable, Iterator
from dataclasses import asdict
from pathlib import Path

from . import installation
from .finding import Check, Finding, carry_out, lines, summary
from .imports import ALL_S, Imported, try_imports

_LOCAL_S = 30.0
"""Seconds for what is on this machine's disks: some 100 MB of weights are read whole."""

_SERVER_S = 20.0
"""Seconds for a server: it is tried again for 3 s, and one call takes up to 10."""


def examine() -> list[Finding]:
    """Look at everything.

    Returns:
        One finding at least per thing, in the order of reading.
    """
    imported: dict[str, Imported] = {}

    def packages() -> Iterable[Finding]:
        imported.update(try_imports([group for group in installation.words() if group]))
        return list(installation.package_findings(imported))

    checks = [
        Check("Python", lambda: [installation.python_finding()], _LOCAL_S),
        Check("packages", packages, ALL_S + _LOCAL_S),
        *(Check(name, look, limit) for name, look, limit in _others(imported)),
    ]
    return [finding for check in checks for finding in carry_out(check)]


_Look = Callable[[], Iterable[Finding]]


def _others(imported: dict[str, Imported]) -> Iterator[tuple[str, _Look, float]]:
    """Yield the checks that need more of vidsim than the standard library.

    What they need is imported when they look, so that a missing package is their finding.
    """

    def machine() -> Iterator[Finding]:
        from . import machine

        yield machine.cpu_finding()

    def gpu() -> Iterator[Finding]:
        from . import machine

        yield machine.gpu_finding(imported)

    def ffmpeg() -> Iterator[Finding]:
        from . import machine

        yield machine.ffmpeg_finding(imported)

    def kernel() -> Iterator[Finding]:
        from . import machine

        yield machine.confinement_finding()

    def settings() -> Iterable[Finding]:
        from . import stored

        return stored.settings_findings()

    def home() -> Iterator[Finding]:
        from . import stored

        yield stored.folder_finding("home", _folders()["the home"], "VIDSIM_HOME")

    def cache() -> Iterator[Finding]:
        from . import stored

        yield stored.folder_finding("cache", _folders()["the cache"], "VIDSIM_CACHE")

    def disk() -> Iterable[Finding]:
        from . import machine

        return machine.disk_findings(_folders())

    def weights() -> Iterable[Finding]:
        from . import stored

        return stored.weights_findings()

    def store() -> Iterable[Finding]:
        from . import stored

        return stored.store_findings()

    def server() -> Iterator[Finding]:
        from . import stored

        yield stored.server_finding()

    yield "CPU", machine, _LOCAL_S
    yield "GPU", gpu, _LOCAL_S
    yield "FFmpeg", ffmpeg, _LOCAL_S
    yield "kernel", kernel, _LOCAL_S
    yield "settings", settings, _LOCAL_S
    yield "home", home, _LOCAL_S
    yield "cache", cache, _LOCAL_S
    yield "disk", disk, _LOCAL_S
    yield "weights", weights, _LOCAL_S
    yield "store", store, _LOCAL_S
    yield "Milvus", server, _SERVER_S


def _folders() -> dict[str, Path]:
    from ...schemas.settings import settings

    found = settings()
    return {"the home": found.home, "the cache": found.cache}


def without_package(error: ImportError, words: list[str]) -> int:
    """Do what can be done where a package that a command needs cannot be imported.

    Args:
        error: Why it cannot.
        words: The arguments of the program.

    Returns:
        The exit code.
    """
    if "doctor" not in words:
        print(
            f"Error: a package that vidsim needs cannot be imported ({error}); run "
            "'vidsim doctor', which says what to install.",
            file=sys.stderr,
        )
        return 1
    found = examine()
    if "--json" in words:
        print(json.dumps(report_of(found), indent=2))
    else:
        print(*lines(found), sep="\n")
    print(summary(found), file=sys.stderr)
    return 1


def report_of(findings: Iterable[Finding]) -> dict[str, object]:
    """Return what ``--json`` prints (`schemas.health.Health`)."""
    listed = [asdict(finding) for finding in findings]
    return {"works": all(f["state"] != "wrong" for f in listed), "checks": listed}
