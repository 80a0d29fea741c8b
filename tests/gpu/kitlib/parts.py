"""Folders of a limited size that carry files to another machine, each with a manifest.

Standard library only: parts are received before anything is installed.
"""

from __future__ import annotations

import hashlib
import json
import shutil
from collections.abc import Iterable, Mapping, Sequence
from dataclasses import dataclass, field
from pathlib import Path, PurePosixPath
from typing import Any

MANIFEST = "manifest.json"
_RECEIVED = "manifests"


class KitError(Exception):
    """Something that a person can mend, in a sentence."""


@dataclass(frozen=True)
class Item:
    """A file to carry.

    Attributes:
        name: Where it belongs, relative, with slashes.
        source: Where it is.
        size: Bytes.
    """

    name: str
    source: Path
    size: int


@dataclass(frozen=True)
class Inventory:
    """What a folder of received parts holds.

    Attributes:
        parts: Names of all parts that were prepared; empty where none was received.
        lacking: The files of every part that was not received.
        notes: What was left out when the parts were prepared, and why.
    """

    parts: Sequence[str] = ()
    lacking: Mapping[str, Sequence[str]] = field(default_factory=dict)
    notes: Mapping[str, str] = field(default_factory=dict)


def items_of(folder: Path, under: str, files: Iterable[Path]) -> list[Item]:
    """Items for `files`, which lie in `folder`, to be carried to the folder `under`."""
    return [
        Item(f"{under}/{file.relative_to(folder).as_posix()}", file, file.stat().st_size)
        for file in sorted(files)
    ]


def pack(items: Sequence[Item], limit: int) -> list[list[Item]]:
    """Divides `items` into parts of at most `limit` bytes, first fit, the largest first.

    Raises:
        KitError: A file is larger than a part may be.
    """
    parts: list[list[Item]] = []
    room: list[int] = []
    for item in sorted(items, key=lambda i: (-i.size, i.name)):
        if item.size > limit:
            raise KitError(
                f"{item.name} has {item.size / 1e6:.1f} MB, and a part takes {limit / 1e6:.1f} MB "
                "at most; give a larger --limit-mb, or leave it out."
            )
        fitting = [i for i, left in enumerate(room) if left >= item.size]
        if not fitting:
            parts.append([])
            room.append(limit)
            fitting = [len(room) - 1]
        parts[fitting[0]].append(item)
        room[fitting[0]] -= item.size
    return parts


def write_parts(
    parts: Sequence[Sequence[Item]], target: Path, notes: Mapping[str, str]
) -> list[Path]:
    """Copies every part to ``target/part-N``; each manifest also names what the others hold.

    Parts of an earlier call are removed.

    Args:
        parts: What `pack` gave.
        target: A folder, made if it is not there.
        notes: What was left out, and why.

    Returns:
        Their folders.
    """
    target.mkdir(parents=True, exist_ok=True)
    for old in target.glob("part-*"):
        shutil.rmtree(old)
    everything = {f"part-{i}": [item.name for item in part] for i, part in enumerate(parts, 1)}
    folders = []
    for name, part in zip(everything, parts):
        folder = target / name
        files = []
        for item in part:
            copy = folder / item.name
            copy.parent.mkdir(parents=True, exist_ok=True)
            shutil.copyfile(item.source, copy)
            files.append({"name": item.name, "size": item.size, "sha256": sha256(copy)})
        manifest = {"part": name, "files": files, "parts": everything, "left_out": dict(notes)}
        (folder / MANIFEST).write_text(json.dumps(manifest, indent=1) + "\n")
        folders.append(folder)
    return folders


def receive(part: Path, into: Path) -> list[str]:
    """Copies what `part` holds to `into`, where it stays, and checks every file.

    Returns:
        The names of its files.

    Raises:
        KitError: It is no part, or a file of it is missing or not what it was.
    """
    manifest = _read(part / MANIFEST)
    wrong = []
    for file in manifest["files"]:
        name = _inside(file["name"])
        source, target = part / name, into / name
        if not source.is_file():
            wrong.append(f"{name} is missing")
        elif source.stat().st_size != file["size"] or sha256(source) != file["sha256"]:
            wrong.append(f"{name} is not what it was")
        else:
            target.parent.mkdir(parents=True, exist_ok=True)
            shutil.copyfile(source, target)
    if wrong:
        raise KitError(f"{part}: {'; '.join(wrong)}. Bring it again; the rest was received.")
    received = into / _RECEIVED
    received.mkdir(parents=True, exist_ok=True)
    shutil.copyfile(part / MANIFEST, received / f"{manifest['part']}.json")
    return [file["name"] for file in manifest["files"]]


def read_inventory(into: Path) -> Inventory:
    """What was received into `into`, and what was not."""
    manifests = [_read(path) for path in sorted((into / _RECEIVED).glob("part-*.json"))]
    if not manifests:
        return Inventory()
    everything: dict[str, list[str]] = manifests[0]["parts"]
    received = {manifest["part"] for manifest in manifests}
    lacking = {name: files for name, files in everything.items() if name not in received}
    return Inventory(list(everything), lacking, manifests[0]["left_out"])


def sha256(path: Path) -> str:
    """SHA-256 of a file, hex."""
    with path.open("rb") as file:
        return hashlib.file_digest(file, "sha256").hexdigest()


def _read(path: Path) -> dict[str, Any]:
    try:
        found: dict[str, Any] = json.loads(path.read_text())
    except FileNotFoundError:
        raise KitError(f"{path.parent} is no part: it has no {MANIFEST}.") from None
    except (OSError, ValueError) as error:
        raise KitError(f"{path} cannot be read ({error}); bring it again.") from error
    return found


def _inside(name: str) -> str:
    """`name`, if it leads nowhere out of its folder.

    Raises:
        KitError: It does.
    """
    path = PurePosixPath(name)
    if path.is_absolute() or ".." in path.parts:
        raise KitError(f"The manifest names {name}, which lies outside of the part.")
    return name
