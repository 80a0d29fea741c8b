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
from typing import TYPE_CHECKING

from ..schemas.errors import VidsimError

if TYPE_CHECKING:
    from ..ingest.shards.shard_files import Shards

MOST = 500
"""Ids that are offered at once."""


_PLAIN = re.compile(r"[\w@%+=:,./-]+")
"""Names that mean the same to a shell without quotes, which are all that is offered.

typer's script for bash quotes nothing, that for zsh too little: a file's name could be a command.
"""


def library_names(incomplete: str) -> list[str]:
    """Return the names of the libraries that begin with `incomplete`."""
    with suppress(VidsimError, OSError), _shards() as shards:
        return _beginning(shards.libraries(), incomplete)
    return []


def video_ids(incomplete: str) -> list[str]:
    """Return the ids of stored videos that begin with `incomplete`, `MOST` at most.

    While several libraries are possible, it is their names. Where there are more ids, the last is
    among them: a shell then completes as much as is common to all.
    """
    library, slash, _ = incomplete.partition("/")
    with suppress(VidsimError, OSError), _shards() as shards:
        named = _beginning(shards.libraries(), library)
        if slash:
            named = [name for name in named if name == library]
        elif len(named) > 1:
            return [f"{name}/" for name in named]
        found = [i for name in named for i in _beginning(shards.catalog(name), incomplete)]
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


@contextmanager
def _shards() -> Iterator[Shards]:
    """Open the shards of the home, and say nothing meanwhile: the shell would show it."""
    from ..ingest.shards.home import open_shards
    from ..schemas.settings import settings

    before = logging.root.manager.disable
    logging.disable()
    try:
        yield open_shards(settings().home)
    finally:
        logging.disable(before)
