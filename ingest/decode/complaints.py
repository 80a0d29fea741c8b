"""Hear what a decoder complains of while it decodes.

Decoders hide damage: they fill in what they cannot decode, and say so in a log that nobody reads.
"""

from __future__ import annotations

from collections.abc import Iterator
from contextlib import contextmanager

import av.logging

_CONCEALED = "conceal"
"""Said of pictures of which parts are made up, at a level at which other things are harmless."""


@contextmanager
def complaints() -> Iterator[list[str]]:
    """Collect what libav complains of in this thread, within the context.

    The level of libav's log belongs to the process; it is put back after.

    Yields:
        Its errors and warnings, and what it says of concealment, complete when the context ends.
    """
    level, skips = av.logging.get_level(), av.logging.get_skip_repeated()
    found: list[str] = []
    with av.logging.Capture() as messages:
        av.logging.set_skip_repeated(False)
        av.logging.set_level(av.logging.INFO)
        try:
            yield found
        finally:
            av.logging.set_level(level)
            av.logging.set_skip_repeated(skips)
            for severity, _, message in messages:
                if severity <= av.logging.WARNING or _CONCEALED in message:
                    found.append(message)
