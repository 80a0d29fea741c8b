"""What the shell completes: names of libraries, and ids of stored videos.

It answers while somebody waits for a key: no network, decoder or Milvus is loaded, nothing is said,
and where the home cannot be read there is nothing to complete.
"""

from __future__ import annotations

import logging
import re
from collections.abc import Iterable, Iterator
from contextlib import contextmanager, suppress
from pathlib import Path

from ..schemas.errors import VidsimError

MOST = 500
"""Ids that are offered at once."""


_PLAIN = re.compile(r"[\w@%+=:,./-]+")
"""Names that mean the same to a shell without quotes, which are all that is offered.

typer's script for bash quotes nothing, that for zsh too little: a file's name could be a command.
"""


def library_names(incomplete: str) -> list[str]:
    """Return the names of the libraries that begin with `incomplete`."""
    with suppress(VidsimError, OSError), _silence():
        return _beginning(_libraries(), incomplete)
    return []


def video_ids(incomplete: str) -> list[str]:
    """Return the ids of stored videos that begin with `incomplete`, `MOST` at most.

    While several libraries are possible, it is their names. Where there are more ids, the last is
    among them: a shell then completes as much as is common to all.
    """
    library, slash, _ = incomplete.partition("/")
    with suppress(VidsimError, OSError), _silence():
        named = _beginning(_libraries(), library)
        if slash:
            named = [name for name in named if name == library]
        elif len(named) > 1:
            return [f"{name}/" for name in named]
        found = [i for name in named for i in _beginning(_ids(name), incomplete)]
        return found if len(found) <= MOST else [*found[: MOST - 1], found[-1]]
    return []


def names_and_ids(incomplete: str) -> list[str]:
    """Return names of libraries; ids of videos once there is a slash."""
    return video_ids(incomplete) if "/" in incomplete else library_names(incomplete)


def clips(incomplete: str) -> list[str]:
    """Return stored ids, and files beside them; none without ids: shells know files better."""
    found = video_ids(incomplete)
    if not found:
        return []
    folder = Path(incomplete if incomplete.endswith("/") else Path(incomplete).parent)
    with suppress(OSError):
        found += _beginning(map(str, folder.iterdir()), incomplete)
    return found


def _beginning(names: Iterable[str], incomplete: str) -> list[str]:
    return sorted(n for n in names if n.startswith(incomplete) and _PLAIN.fullmatch(n))


def _libraries() -> list[str]:
    """Return the folders that hold shards: that needs neither numpy nor HDF5."""
    from ..schemas.settings import settings

    folders = (settings().home / "shards").iterdir()
    return [folder.name for folder in folders if any(folder.glob("*.h5"))]


def _ids(library: str) -> Iterable[str]:
    from ..ingest.shards.home import open_shards
    from ..schemas.settings import settings

    return open_shards(settings().home).catalog(library)


@contextmanager
def _silence() -> Iterator[None]:
    """Log nothing meanwhile: the shell would show it."""
    before = logging.root.manager.disable
    logging.disable()
    try:
        yield
    finally:
        logging.disable(before)
