"""Holds the components of an SBOM against a lock: ``make sbom`` runs it on what it has written."""

from __future__ import annotations

import json
import re
import sys
from pathlib import Path


def differences(sbom: str, lock: str) -> list[str]:
    r"""Return a sentence per package and version that only one of both has.

    Args:
        sbom: CycloneDX, JSON.
        lock: Lines such as ``numpy==2.4.6 ; ... \``, as uv writes them.
    """
    listed = {(c["name"], c["version"]) for c in json.loads(sbom)["components"]}
    locked = set(re.findall(r"^([\w.-]+)==([^ ;]+)", lock, re.MULTILINE))
    only_listed = [f"{n} {v} is not in the lock." for n, v in sorted(listed - locked)]
    return only_listed + [f"{n} {v} is not in the SBOM." for n, v in sorted(locked - listed)]


if __name__ == "__main__":
    found = differences(*(Path(name).read_text() for name in sys.argv[1:]))
    sys.exit("\n".join(found) or None)
