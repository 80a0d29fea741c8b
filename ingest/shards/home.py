"""vidsim's home: the folder of its shards and the embedded Milvus."""

from __future__ import annotations

import logging
from collections.abc import Iterator, Mapping
from contextlib import contextmanager, suppress
from dataclasses import dataclass, field
from pathlib import Path

from pydantic import TypeAdapter, ValidationError

from ...schemas.collections import IndexPolicy, Level, levels
from ...schemas.errors import StoreError
from ...schemas.video import Video
from ..models.registry import adopt, known_backbones
from ..system.checked_json import ChangedError, read_checked, write_checked
from ..system.unreadable import listed, told, unwritten
from .catalog import CatalogEntry, Totals
from .manifest import read_manifest
from .open_shard import reading_shard, text_of
from .shard_files import Shards

Counts = dict[str, dict[Level, int]]
"""Number of entities by backbone and level."""


@dataclass(frozen=True)
class LibraryNote:
    """What there is of a library, noted beside its shards so that they need not be read for it.

    Attributes:
        videos: Number of videos.
        segments: Number of their segments.
        seconds: Their length.
        first: One of them; None without any.
        counts: Rows and segments that Milvus must hold.
        weights: SHA-256 of the weights its rows were computed with, as in `stored_weights`.
        stamp: The `Shards.stamp` of the shards that it was made from.
    """

    videos: int
    segments: int
    seconds: float
    first: Video | None
    counts: Counts
    weights: dict[str, str]
    stamp: str


_NOTE = TypeAdapter(LibraryNote)

_log = logging.getLogger(__name__)

EMBEDDED = "embedded"
"""Name of the Milvus Lite under vidsim's home, in place of a server's address."""


@dataclass(frozen=True)
class Place:
    """A home and its Milvus.

    Attributes:
        home: Folder of the shards, notes, and the embedded Milvus.
        uri: A Milvus server; None for the embedded one.
        token: Credentials for the server: ``user:password`` or an API key.
        ca_cert: PEM file of the authorities to trust, for an https:// URI.
        client_cert: PEM file that identifies this client, with `client_key`.
        client_key: Its private key.
        index: Index policy of new collections.
        wait: Whether to wait for another process that writes to the home.
    """

    home: Path
    uri: str | None = None
    token: str = field(default="", repr=False)
    ca_cert: Path | None = None
    client_cert: Path | None = None
    client_key: Path | None = None
    index: IndexPolicy = "auto"
    wait: bool = False


class Home:
    """An opened home: its path, its Milvus, its backbones, and its shards.

    Each entry point creates it once and passes it on.

    Attributes:
        place: Its path and its Milvus.
        path: The folder.
        backbones: vidsim's own, and those used here; an import may add some.
        shards: All shards.
    """

    def __init__(self, place: Place) -> None:
        """Open the home of `place`, without creating it yet.

        Raises:
            StoreError: A description of a backbone cannot be read, or is damaged.
        """
        self.place = place
        self.path = place.home
        self.backbones = known_backbones(place.home)
        self.shards = Shards(place.home / "shards", self.backbones)
        for library in self.shards.libraries():
            for name, description in _unknown_backbones(self.shards, library).items():
                try:
                    self.backbones[name] = adopt(description, self.backbones)
                except ValueError as error:
                    _log.warning("%s: %s is not known here (%s).", library, name, error)

    def counts(self, totals: Totals) -> Counts:
        """Return what Milvus must hold of a library according to its shards."""
        there = totals.backbones()
        return {
            name: {
                level: (totals.rows if level == "rows" else totals.described)[name]
                for level in levels(backbone)
            }
            for name, backbone in self.backbones.items()
            if name in there
        }

    def rows(self, totals: Totals) -> dict[str, int]:
        """Return a library's number of rows, by backbone, according to its shards."""
        return {name: found["rows"] for name, found in self.counts(totals).items()}

    def write_note(
        self, library: str, catalog: Mapping[str, CatalogEntry], totals: Totals | None = None
    ) -> None:
        """Write the note of a library that holds `catalog`.

        Milvus can lose rows silently (a deleted file, a truncated log); a query compares its counts
        with the note.

        Args:
            library: The library.
            catalog: What its shards hold.
            totals: Of the catalog; None to add it up.

        Raises:
            StoreError: It cannot be written.
        """
        path = self._note_path(library)
        try:
            if not catalog:
                path.unlink(missing_ok=True)
                return
            note = self._noted(library, catalog, totals or Totals.of(catalog))
            write_checked(path, _NOTE.dump_python(note, mode="json"))
        except OSError as error:
            raise StoreError(unwritten(str(path), error)) from error

    def note(self, library: str) -> LibraryNote:
        """Return the note of a library, made anew where it is not that of its shards.

        Raises:
            StoreError: It or a shard cannot be read.
        """
        try:
            content = read_checked(self._note_path(library))
            note = None if content is None else _NOTE.validate_python(content)
        except (ChangedError, ValidationError) as error:
            _log.warning("The note on %s is not used (%s).", library, error)
            note = None
        if note is None or note.stamp != self.shards.stamp(library):
            catalog = self.shards.catalog(library)
            note = self._noted(library, catalog, Totals.of(catalog))
        return note

    def _noted(
        self, library: str, catalog: Mapping[str, CatalogEntry], totals: Totals
    ) -> LibraryNote:
        return LibraryNote(
            videos=totals.videos,
            segments=totals.segments,
            seconds=totals.seconds,
            first=next((entry.video for entry in catalog.values()), None),
            counts=self.counts(totals),
            weights=totals.stored_weights(),
            stamp=self.shards.stamp(library),
        )

    def _note_path(self, library: str) -> Path:
        return self.path / "counts" / f"{library}.json"


def _unknown_backbones(shards: Shards, library: str) -> dict[str, str]:
    """Return backbones of a library that its home does not know, with their descriptions.

    Returns:
        By name, what `registry.adopt` takes; "" where no shard has it.
    """
    folder = shards.directory / library
    found: dict[str, str] = {}
    for name, note in (read_manifest(folder) or {}).items():
        for backbone in set(note.backbones) - shards.backbones.keys():
            with suppress(StoreError), reading_shard(folder / name) as file:
                attributes = file[f"rows/{backbone}"].attrs
                found[backbone] = text_of(attributes.get("description", ""))
            found.setdefault(backbone, "")
    return found


def open_shards(home: Path) -> Shards:
    """Open the shards under the folder `home`."""
    return Home(Place(home)).shards


def read_notes(home: Path) -> dict[str, LibraryNote]:
    """Return the note of each library under `home`, made anew where it is not that of its shards.

    Raises:
        StoreError: A note or a shard cannot be read.
    """
    opened = Home(Place(home))
    return {library: opened.note(library) for library in opened.shards.libraries()}


@contextmanager
def written(home: Path) -> Iterator[None]:
    """Turn write failures under `home` into a StoreError.

    Raises:
        StoreError: It cannot be written.
    """
    try:
        yield
    except OSError as error:
        raise StoreError(unwritten(f"The home {home}", error)) from error


def stored_root(video: Video) -> Path | None:
    """Return the folder that a stored video was ingested from; None if it is not a file here."""
    if not Path(video.path).is_absolute():
        return None
    depth = video.video_id.count("/")
    return Path(video.path).parents[depth - 1]


def without_user(uri: str) -> str:
    """Strip the user and password from a Milvus address."""
    scheme, slashes, rest = uri.rpartition("://")
    return f"{scheme}{slashes}{rest.rpartition('@')[2]}"


def distrust(home: Path, library: str, milvus: str) -> None:
    """Note that one Milvus may hold outdated rows of `library`, which no count would show.

    Args:
        home: Home to note it in.
        library: The library.
        milvus: The `Store.name` of the Milvus.
    """
    with written(home):
        _distrust_path(home, library, milvus, make=True).touch()


def distrust_others(home: Path, library: str, milvus: str) -> None:
    """Note that rows change, and that every other Milvus keeps the outdated ones."""
    with written(home):
        this = _distrust_path(home, library, milvus, make=True)
        for folder in sorted(this.parent.parent.iterdir()):
            if folder != this.parent:
                (folder / this.name).touch()


def distrusted(home: Path, library: str, milvus: str) -> bool:
    """Return whether `distrust` was noted since that Milvus was last compared with the shards."""
    path = _distrust_path(home, library, milvus)
    with told(f"The note {path}"):
        return path.exists()


def outdated(home: Path, milvus: str) -> set[str]:
    """Return the libraries of which that Milvus may hold outdated rows, removed ones too."""
    folder = _distrust_path(home, "", milvus).parent
    found = listed(folder, f"The folder {folder}")
    return {path.stem for path in found if path.suffix == ".distrusted"}


def trust(home: Path, library: str, milvus: str) -> None:
    """Revoke `distrust`; from then on `distrust_others` covers that Milvus."""
    with written(home):
        _distrust_path(home, library, milvus, make=True).unlink(missing_ok=True)


def _distrust_path(home: Path, library: str, milvus: str, make: bool = False) -> Path:
    folder = home / "targets" / milvus.replace(":", "_")
    if make:
        folder.mkdir(parents=True, exist_ok=True)
    return folder / f"{library}.distrusted"
