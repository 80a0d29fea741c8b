"""Small jobs for each command that writes: a home before it, and the command itself.

All go through the front door; networks have stand-ins (full_home.py).
"""

from __future__ import annotations

import hashlib
import shutil
from collections.abc import Callable
from dataclasses import dataclass
from pathlib import Path

import h5py

from vidsim.ingest.models.registry import keep
from vidsim.schemas.modality import Modality
from vidsim.search.library import Library

from .answers import Question
from .full_home import TIMM, TIMM_MODEL, write_video
from .weight_commands import add_weights, pull_weights, weights_there, write_sources

_VIDEOS = {
    "day/0.mkv": 0,
    "day/1 silent.mkv": 1,
    "night/2 long.mkv": 2,
    "night/3.mkv": 3,
    "night/broken.mkv": 4,
}
"""Name and seed: with those of `stand_ins` two shards, and a file that fails."""

STAYS = "clips/night/2 long.mkv"
"""A video that every command leaves as it is."""

QUESTIONS = (Question(STAYS), *(Question(STAYS, modality.value) for modality in Modality))
"""About `STAYS`."""


def _nothing(home: Path, work: Path) -> dict[str, str]:
    return {}


@dataclass(frozen=True)
class Command:
    """A command on a small home.

    Attributes:
        prepare: Makes the home, given its folder and one for videos and exports.
        run: Does the command, given the same two.
        made: What it makes that is not stored, by name: it is there whole or not at all.
    """

    prepare: Callable[[Path, Path], object]
    run: Callable[[Path, Path], object]
    made: Callable[[Path, Path], dict[str, str]] = _nothing


def _write(work: Path, library: str = "clips") -> Path:
    for name, seed in _VIDEOS.items():
        write_video(work / library / name, seed if library == "clips" else 100 + seed)
    return work / library


def _ingest(home: Path, work: Path) -> None:
    with Library.open(home) as library:
        library.ingest(work / "clips", prune=True)


def _ingested(home: Path, work: Path) -> None:
    _write(work)
    _ingest(home, work)


def _changed(home: Path, work: Path) -> None:
    _ingested(home, work)
    folder = work / "clips"
    write_video(folder / "day" / "0.mkv", seed=10)
    write_video(folder / "day" / "4.mkv", seed=4)
    (folder / "day" / "1 silent.mkv").rename(folder / "night" / "5 silent.mkv")
    (folder / "night" / "3.mkv").unlink()


def _without_index(home: Path, work: Path) -> None:
    _ingested(home, work)
    shutil.rmtree(home / "milvus.db")


def _with_half_an_index(home: Path, work: Path) -> None:
    write_video(work / "clips" / "night" / "2 long.mkv", _VIDEOS["night/2 long.mkv"])
    _ingest(home, work)
    shutil.copytree(home / "milvus.db", work / "index")
    _ingested(home, work)
    shutil.rmtree(home / "milvus.db")
    shutil.move(work / "index", home / "milvus.db")


def _reindex(home: Path, work: Path, fresh: bool = False) -> None:
    with Library.open(home) as library:
        library.reindex(fresh=fresh)


def _with_two_libraries(home: Path, work: Path) -> None:
    _ingested(home, work)
    with Library.open(home) as library:
        library.ingest(_write(work, "others"))


def _renamed(home: Path, work: Path) -> None:
    _with_two_libraries(home, work)
    (work / "others").rename(work / "renamed")


def _ingest_renamed(home: Path, work: Path) -> None:
    with Library.open(home) as library:
        library.ingest(work / "renamed")


def _remove(home: Path, work: Path) -> None:
    """Removes a video and a library, or what is still there of them.

    Where nothing is, a removal would only say so; a person would then bring Milvus in step.
    """
    with Library.open(home) as library:
        videos = {v.video_id for v in library.videos()}
        names = videos | {i.partition("/")[0] for i in videos}
        if there := [name for name in ("clips/day/0.mkv", "others") if name in names]:
            library.remove(*there)
        else:
            library.reindex()


def _label(home: Path, work: Path) -> None:
    with Library.open(home) as library:
        library.set_labels({"clips/day/0.mkv": "noon", "clips/night/3.mkv": "dusk"})


def _with_an_export(home: Path, work: Path) -> None:
    _ingested(home, work)
    keep(work / "elsewhere", TIMM)
    with Library.open(work / "elsewhere") as library:
        library.ingest(_write(work, "others"), models={"frame": TIMM_MODEL})
        library.export(work / "export")


def _import(home: Path, work: Path) -> None:
    with Library.open(home) as library:
        library.import_files(*sorted((work / "export").iterdir()))


def _repair(home: Path, work: Path) -> None:
    with Library.open(home) as library:
        library.verify(sample="all", repair=True)


def _compact(home: Path, work: Path) -> None:
    with Library.open(home) as library:
        library.compact()


def _exported_before(home: Path, work: Path) -> None:
    """Files of an earlier export lie where the next one writes."""
    _ingested(home, work)
    _export(home, work)
    write_video(work / "clips" / "day" / "4.mkv", seed=4)
    _ingest(home, work)


def _export(home: Path, work: Path) -> None:
    with Library.open(home) as library:
        library.export(home / "exported")
        library.export(home / "exported" / "capstone", layout="capstone")


def _exports(home: Path, work: Path) -> dict[str, str]:
    found = {}
    for path in sorted((home / "exported").rglob("*")):
        if path.suffix == ".h5":
            found[path.name] = content_of(path)
    return found


def content_of(path: Path) -> str:
    """A hash of all that a HDF5 file says, which may lie in it in another order."""
    digest = hashlib.sha256()

    def add(name: str, item: h5py.Group | h5py.Dataset) -> None:
        told = {key: str(value) for key, value in sorted(item.attrs.items())}
        digest.update(f"{name} {told}".encode())
        if isinstance(item, h5py.Dataset):
            value = item[()]
            digest.update(repr(value.tolist()).encode() if value.dtype.hasobject else value)

    with h5py.File(path) as file:
        add("/", file)
        file.visititems(add)
    return digest.hexdigest()


def _with_a_damaged_shard(home: Path, work: Path) -> None:
    """The shard without `STAYS` has a byte changed amid its vectors."""
    _ingested(home, work)
    *_, last = sorted((home / "shards" / "clips").glob("*.h5"))
    content = bytearray(last.read_bytes())
    content[len(content) // 2] ^= 255
    last.write_bytes(content)


def _set_aside(home: Path, work: Path) -> dict[str, str]:
    """What a repair moved away, which may be the last copy."""
    return {
        path.name: hashlib.sha256(path.read_bytes()).hexdigest()
        for path in home.rglob("*.h5*")
        if "damaged" in path.parts
    }


def _with_sources(home: Path, work: Path) -> None:
    _ingested(home, work)
    write_sources(work)


def _with_weights(home: Path, work: Path) -> None:
    """One of the files that will be replaced is damaged."""
    _with_sources(home, work)
    add_weights(home, work)
    (path,) = (home / "cache").rglob("second.bin")
    path.write_bytes(b"damaged")


COMMANDS = {
    "ingest": Command(lambda _, work: _write(work), _ingest),
    "change and prune": Command(_changed, _ingest),
    "rename": Command(_renamed, _ingest_renamed),
    "reindex": Command(_without_index, _reindex),
    "reindex --fresh": Command(_ingested, lambda home, work: _reindex(home, work, fresh=True)),
    "remove": Command(_with_two_libraries, _remove),
    "label": Command(_ingested, _label),
    "import": Command(_with_an_export, _import),
    "verify --repair": Command(_with_half_an_index, _repair),
    "repair a shard": Command(_with_a_damaged_shard, _repair, _set_aside),
    "compact": Command(_with_two_libraries, _compact),
    "export": Command(_exported_before, _export, _exports),
    "models pull": Command(_with_sources, pull_weights, weights_there),
    "models add": Command(_with_weights, add_weights, weights_there),
}
