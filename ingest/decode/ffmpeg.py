"""The FFmpeg that PyAV brings: its version, and which versions are known to have holes."""

from __future__ import annotations

import re

OLDEST_WITHOUT_KNOWN_HOLES = (8, 1, 2)
"""Release that mends CVE-2026-8461, of which programs were made that a file of 50 KB runs
(nvd.nist.gov; vidsim does not decode that codec, MagicYUV, by itself). What was mended since is
told on ffmpeg.org/security.html: raise this with what the allowed codecs and containers reach."""

_MENDED = ((7, 1, 5), (8, 0, 3))
"""Older releases that mend the same."""


def ffmpeg_version() -> str:
    """Return the version of FFmpeg, such as ``8.1.2``; of another build what that calls itself."""
    import av  # the rest also serves where it cannot be imported

    return str(av.ffmpeg_version_info)


def is_older(version: str) -> bool | None:
    """Return whether a version has a hole that is known; None where it is no release's."""
    found = re.match(r"n?(\d+)\.(\d+)(?:\.(\d+))?", version)
    if found is None:
        return None
    numbers = tuple(int(number or 0) for number in found.groups())
    mended = any(numbers[:2] == of[:2] and numbers >= of for of in _MENDED)
    return numbers < OLDEST_WITHOUT_KNOWN_HOLES and not mended
