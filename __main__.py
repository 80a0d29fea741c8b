"""The program ``vidsim``, and ``python -m vidsim``: the command line in a process of its own."""

from __future__ import annotations

import logging
import os
import sys
from contextlib import suppress

_ASKS = frozenset({"query", "explain"})
"""Commands that only read: when they have printed their answer, nothing is left to be done."""


def run() -> None:
    """Run the command line, and end.

    The interpreter takes apart what torch loaded, a fifth of a second that whoever asked waits for.
    """
    try:
        from .cli import main
    except ImportError as error:  # a package is missing or broken
        from .ingest.health.doctor import without_package

        sys.exit(without_package(error, sys.argv[1:]))
    try:
        main()
    except SystemExit as ended:
        command = next((word for word in sys.argv[1:] if not word.startswith("-")), "")
        if "torch" not in sys.modules or command not in _ASKS:
            raise
        code = ended.code if isinstance(ended.code, int) else int(ended.code is not None)
        logging.shutdown()
        for stream in (sys.stdout, sys.stderr):
            with suppress(OSError, ValueError):  # whoever read it is gone
                stream.flush()
        os._exit(code)  # children die with their parent


if __name__ == "__main__":
    run()
