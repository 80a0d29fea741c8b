"""Python and the packages: their versions against what is allowed and tested, and their import."""

from __future__ import annotations

import platform
import re
import sys
from collections.abc import Iterable, Iterator, Mapping
from importlib import metadata

from .finding import Finding
from .imports import Imported
from .tested import ALLOWED, LOCKED, PYTHON

_MODULES = {
    "faiss-cpu": "faiss",
    "milvus-lite": "milvus_lite",
    "opencv-python-headless": "cv2",
    "protobuf": "google.protobuf",
    "python-dotenv": "dotenv",
    "pyyaml": "yaml",
    "scikit-learn": "sklearn",
}
"""What a distribution is imported by, where that is not its name."""

_INSTEAD = {"faiss-cpu": ("faiss-gpu",), "tensorflow": ("tensorflow-cpu",)}
"""Distributions that may stand in the place of another (docs/install.md)."""

_ALONE = "tensorflow"
"""Imported beside the others: it is what takes longest, and vidsim gives it a process too."""

_FACTS_AFTER = {"torch": "cuda", "av": "ffmpeg"}
"""Facts that are asked for once a module is imported (`probe`)."""

_EXAMPLES = 4


def words() -> list[list[str]]:
    """Return what to import, in groups (`imports.try_imports`)."""
    others: list[str] = []
    for distribution in ALLOWED:
        if distribution != _ALONE and _version(distribution):
            module = module_of(distribution)
            others += [module, *filter(None, [_FACTS_AFTER.get(module)])]
    return [others, [_ALONE] if _version(_ALONE) else []]


def module_of(distribution: str) -> str:
    """Return the module that a distribution is imported by."""
    return _MODULES.get(distribution, distribution.replace("-", "_"))


def python_finding() -> Finding:
    """Compare this Python with the versions that vidsim supports."""
    version = platform.python_version()
    where = f"{version} ({sys.executable})"
    if _is_in(version, PYTHON) is False:
        wanted = f"vidsim needs Python {PYTHON}; install it into an environment of such a one"
        return Finding("Python", "wrong", where, wanted)
    return Finding("Python", "fine", where)


def package_findings(imported: Mapping[str, Imported]) -> Iterator[Finding]:
    """Yield a finding per package that is missing, not allowed or broken, and one of all others.

    Args:
        imported: How the import of each module went.
    """
    good = 0
    for distribution, allowed in ALLOWED.items():
        found = _version(distribution)
        again = f"pip install '{distribution}{allowed}'"
        if not found:
            yield Finding(distribution, "wrong", "is not installed", again)
            continue
        installed, version = found
        went = imported.get(module_of(distribution), Imported(wrong="not looked at"))
        if went.wrong:
            step = f"pip install --force-reinstall --no-deps '{installed}=={version}'"
            said = f"{version} cannot be imported ({went.wrong.rstrip('.')})"
            yield Finding(installed, "wrong", said, step)
        elif _is_in(version, allowed) is False:
            yield Finding(installed, "wrong", f"{version}; vidsim needs {allowed}", again)
        else:
            good += 1
    yield _against_tested(good)


def _against_tested(good: int) -> Finding:
    needed = sorted(_needed())
    pairs = [(name, found[1], _tested(name)) for name in needed if (found := _version(name))]
    differ = [
        f"{name} {version} ({' or '.join(tested)})"
        for name, version, tested in pairs
        if version.partition("+")[0] not in tested
    ]
    said = f"{good} of {len(ALLOWED)} can be used"
    if not differ:
        return Finding("packages", "fine", f"{said}; all {len(pairs)} versions are those tested")
    named = ", ".join(differ[:_EXAMPLES]) + (", ..." if len(differ) > _EXAMPLES else "")
    return Finding(
        "packages",
        "advice",
        f"{said}; {len(differ)} of {len(pairs)} have other versions than those tested "
        f"(in brackets): {named}",
        "nothing, while all works; else install the versions of requirements.lock",
    )


def _needed() -> set[str]:
    """Return what vidsim needs, directly or not, of what the lock holds."""
    found: set[str] = set()
    waiting = list(ALLOWED)
    while waiting:
        name = waiting.pop()
        if name in found or name not in LOCKED:
            continue
        found.add(name)
        waiting += _requirements(name)
    return found


def _requirements(distribution: str) -> list[str]:
    try:
        from packaging.requirements import InvalidRequirement, Requirement
        from packaging.utils import canonicalize_name
    except ImportError:
        return []
    names = []
    try:
        for line in metadata.requires((_version(distribution) or (distribution,))[0]) or ():
            wanted = Requirement(line)
            if wanted.marker is None or wanted.marker.evaluate({"extra": ""}):
                names.append(str(canonicalize_name(wanted.name)))
    except (metadata.PackageNotFoundError, InvalidRequirement):
        pass
    return names


def _version(distribution: str) -> tuple[str, str] | None:
    """Return what is installed of a distribution or in its place: name and version."""
    for name in (distribution, *_INSTEAD.get(distribution, ())):
        try:
            if version := metadata.version(name):
                return name, version
        except metadata.PackageNotFoundError:
            continue
    return None


def _tested(distribution: str) -> list[str]:
    """Return the versions that it is tested in, of which each is for other Pythons."""
    return LOCKED.get(distribution, "").split()


def _is_in(version: str, allowed: str) -> bool | None:
    """Return whether a version is allowed; None where that cannot be said."""
    try:
        from packaging.specifiers import SpecifierSet
    except ImportError:
        return _is_in_roughly(version, allowed.split(","))
    return bool(SpecifierSet(allowed).contains(version, prereleases=True))


def _is_in_roughly(version: str, bounds: Iterable[str]) -> bool:
    """Compare numbers alone: where even 'packaging' is missing."""

    def numbers(text: str) -> list[int]:
        return [int(n) for n in re.findall(r"\d+", text)[:3]]

    found = numbers(version)
    return all(
        found >= numbers(bound) if bound.strip().startswith(">=") else found < numbers(bound)
        for bound in bounds
        if bound.strip()
    )
