r"""Patterns of Milvus' ``like``: ``%`` is any text, ``_`` one character, ``\`` escapes either."""

from __future__ import annotations

import re
from collections.abc import Callable, Sequence


def like(pattern: str) -> Callable[[Sequence[str]], list[bool]]:
    r"""Return a function that says for each text whether it matches `pattern` as a whole.

    Where the wildcards are one ``%``, or one at each end, Python's own search decides. Elsewhere it
    chooses the texts for a regular expression, which places each part between two ``%`` where it
    first can be and never moves it: no pattern takes exponential time.

    Raises:
        ValueError: The pattern ends in a ``\`` that escapes nothing.
    """
    literals = [""]  # between two wildcards
    parts = [""]  # between two '%', as regular expressions
    for piece in re.findall(r"%+|\\.|[^\\]|\\", pattern, re.DOTALL):
        if piece == "\\":
            raise ValueError(pattern)
        if piece[0] == "%":
            literals.append("")
            parts.append("")
        elif piece == "_":
            literals.append("")
            parts[-1] += "."
        else:
            literals[-1] += piece[-1]
            parts[-1] += re.escape(piece[-1])

    if len(literals) == len(parts) == 2:
        start, end = literals
        shortest = len(start) + len(end)
        return lambda texts: [
            t.startswith(start) and t.endswith(end) and len(t) >= shortest for t in texts
        ]
    if len(literals) == len(parts) == 3 and not literals[0] and not literals[2]:
        within = literals[1]
        return lambda texts: [within in t for t in texts]

    longest = max(literals, key=len)
    first, *others = parts
    inner = "".join(f"(?>.*?{part})" for part in others[:-1])
    last = f".*{others[-1]}" if others else ""
    matches = re.compile(first + inner + last, re.DOTALL).fullmatch
    return lambda texts: [longest in t and matches(t) is not None for t in texts]
