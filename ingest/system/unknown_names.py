"""What to say of a name that is not known: which known one is most like it."""

from __future__ import annotations

from collections.abc import Collection, Iterable
from difflib import get_close_matches

from ...schemas.errors import LibraryError

_MOST_COMPARED = 10_000
"""Names compared in full, which takes half a second; of more, no suggestion is worth the wait."""


def did_you_mean(name: str, known: Iterable[str]) -> str:
    """Return `` (did you mean snow?)`` of the known name that is most like; "" where none is."""
    found = _nearest(name, set(known))
    return f" (did you mean {found}?)" if found else ""


def nearest_path(wanted: str, paths: Collection[str]) -> str:
    """Return the path, or the folder of some, that is most like `wanted`; "" where none is.

    A path that ends in `wanted` comes first: then its beginning was left out. Else names are
    compared folder by folder.
    """
    if ending := [path for path in paths if path.endswith(f"/{wanted}")]:
        return min(ending, key=len)
    found = ""
    for part in wanted.rstrip("/").split("/"):
        start = f"{found}/" if found else ""
        paths = [path for path in paths if path.startswith(start)]
        name = _nearest(part, {path[len(start) :].partition("/")[0] for path in paths})
        if not name:
            return ""
        found = start + name
    return found


def unknown_library(name: str, known: Collection[str]) -> LibraryError:
    """Return the error about a library that does not exist."""
    hint = did_you_mean(name, known)
    there = ", ".join(sorted(known)) or "none"
    return LibraryError(f"No library is called {name}; there is {there}{hint}.")


def _nearest(name: str, known: Collection[str]) -> str:
    if len(known) > _MOST_COMPARED:
        return ""
    plain = {each.casefold(): each for each in known}
    found = get_close_matches(name.casefold(), plain, 1)
    return plain[found[0]] if found else ""
