"""HDF5 that somebody else made: exports of both layouts, and shards that were put into a home."""

from __future__ import annotations

import random
import shutil
from collections.abc import Iterator, Sequence
from contextlib import contextmanager
from dataclasses import replace
from pathlib import Path
from unittest import mock

import h5py
import numpy as np

from vidsim.ingest.exchange import h5_reader
from vidsim.ingest.exchange.export import export
from vidsim.ingest.exchange.export_capstone import export_capstone
from vidsim.ingest.exchange.h5_reader import H5Reader
from vidsim.ingest.exchange.reader import open_export
from vidsim.ingest.exchange.source import read_videos
from vidsim.ingest.shards.home import Place, open_shards
from vidsim.ingest.system.progress import Silent
from vidsim.schemas.backbones import BACKBONES
from vidsim.schemas.errors import StoreError

from ..embedded_videos import audioset_clip, embedded, store
from .mutations import ODD_TEXTS, mutated
from .targets import Feed, Outcome

_STALL_S = 5.0


def read_export(path: Path, reader: H5Reader, library: str | None = None) -> None:
    """Reads all that an import takes from an export."""
    source = open_export(path, library, dict(BACKBONES), reader)
    for _, video in read_videos([source], sorted(source.blocks)):
        for part in video.embeddings:
            for rows in part.rows.values():
                assert np.isfinite(rows.vectors).all()
                assert len(rows.vectors) == len(rows.start_s) == len(rows.end_s)


class _Exports:
    """Exports that are spoiled and read, by one child as long as that lives."""

    def __init__(self, folder: Path, files: Sequence[Path]) -> None:
        self._intact = [path.read_bytes() for path in files if path.suffix == ".h5"]
        self._path = folder / "spoiled.h5"
        self._reader: H5Reader | None = None

    def feed(self, chance: random.Random) -> Outcome:
        intact = chance.choice(self._intact)
        self._path.unlink(missing_ok=True)  # the child may have the last one open, and locked
        self._path.write_bytes(intact)
        if chance.random() < 0.5:
            self._path.write_bytes(mutated(chance, intact, self._intact))
        else:
            _rewrite(chance, self._path)
        if self._reader is None:
            self._reader = H5Reader()
        try:
            read_export(self._path, self._reader, "lib")
        except StoreError as error:
            if "as on damage" in str(error):  # the child is gone
                self.close()
                return Outcome.CHILD_DIED
            return Outcome.REFUSED
        return Outcome.ACCEPTED

    def close(self) -> None:
        if self._reader is not None:
            self._reader.__exit__(None, None, None)
            self._reader = None


@contextmanager
def started(folder: Path) -> Iterator[Feed]:
    """Feeds files with spoiled bytes, and whole ones with datasets of other kinds and values."""
    names = ("labhist", "efficientnet_lite0", "vggish")
    place = Place(folder / "home")
    made = [embedded(f"lib/x/{n}.mp4", backbones=names, seed=n, segments=2) for n in range(3)]
    store(place, *made, audioset_clip("lib/abcdefghijk@3", "label 0", 9))
    files = [
        *export(place.home, folder / "native", [], Silent()),
        *export_capstone(place.home, folder / "capstone", [], Silent()),
    ]
    (shard,) = (place.home / "shards").rglob("*.h5")
    intact = shard.read_bytes()
    exports = _Exports(folder, files)

    def feed(chance: random.Random) -> Outcome:
        if chance.random() < 0.7:
            return exports.feed(chance)
        shard.write_bytes(mutated(chance, intact, [intact]))
        shutil.rmtree(place.home / "counts", ignore_errors=True)
        shards = open_shards(place.home)
        catalog = shards.catalog("lib")
        for _ in shards.read([*catalog.values()], names):
            pass
        return Outcome.ACCEPTED

    limits = replace(h5_reader.LIMITS, stall_s=_STALL_S, memory_mb=1024)
    with mock.patch.object(h5_reader, "LIMITS", limits):
        try:
            yield feed
        finally:
            exports.close()


def _rewrite(chance: random.Random, path: Path) -> None:
    """Changes a file by HDF5's own means, which its checksums agree with."""
    with h5py.File(path, "r+") as file:
        names: list[str] = []
        file.visititems(lambda name, of: names.append(name) if hasattr(of, "shape") else None)
        for _ in range(chance.choice((1, 1, 2, 4))):
            if (name := chance.choice(names)) not in file:
                continue
            old = file[name][()]
            match chance.randrange(6):
                case 0:
                    del file[name]
                case 1:
                    _replace(file, name, old[: chance.randrange(len(old) + 1)])
                case 2:
                    _replace(file, name, np.concatenate([old, old]) if old.ndim else old)
                case 3 if old.dtype.kind in "fiu" and old.size:
                    old.flat[chance.randrange(old.size)] = _number(chance, old.dtype)
                    _replace(file, name, old)
                case 4:
                    _replace(file, name, _other(chance))
                case _:
                    spoiled = old.astype(object)
                    if old.dtype.kind in "SO" and old.size:
                        text = chance.choice(ODD_TEXTS)[:300].encode("utf-8", "surrogatepass")
                        spoiled[chance.randrange(len(old))] = text.replace(b"\0", b"")
                        _replace(file, name, spoiled.astype("S"))
        if chance.random() < 0.2:
            _add(chance, file)
        attributes = file[".vidsim"].attrs if ".vidsim" in file else file.attrs
        if chance.random() < 0.3 and len(attributes):
            key = chance.choice(sorted(attributes))
            attributes[key] = chance.choice((0, -1, 1.5, float("nan"), "x", "é" * 50, "../x"))
            attributes.pop("attributes_sha256", None)


def _replace(file: h5py.File, name: str, content: np.ndarray) -> None:
    del file[name]
    file[name] = content


def _number(chance: random.Random, dtype: np.dtype) -> float | int:
    if dtype.kind == "f":
        return chance.choice(
            (float("nan"), float("inf"), -1.0, 1e300 if dtype.itemsize > 4 else 1e30)
        )
    limits = np.iinfo(dtype)
    return chance.choice((int(limits.min), int(limits.max), 0, 1))


def _other(chance: random.Random) -> np.ndarray:
    """An array of a kind that is not expected."""
    shape = tuple(chance.choice((0, 1, 2, 5)) for _ in range(chance.randrange(5)))
    dtype = chance.choice(("f2", "f4", ">f8", "i1", ">i8", "u8", "c16", "S3", "bool"))
    return np.zeros(shape, dtype)


def _add(chance: random.Random, file: h5py.File) -> None:
    """Adds what no export has."""
    match chance.randrange(5):
        case 0:
            file["a link"] = h5py.SoftLink("/nothing")
        case 1:
            file["another file"] = h5py.ExternalLink("/etc/passwd", "/")
        case 2:
            file.create_dataset("vast", (2**40,), "f4", chunks=(1024,))
        case 3:
            group = file
            for _ in range(chance.choice((3, 3000))):
                group = group.create_group("a")
        case _:
            file["itself"] = file["/"]
