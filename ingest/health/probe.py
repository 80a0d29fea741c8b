"""Imports modules one after another in a process of its own, and tells of each how it went.

It runs as a file, ``python probe.py 3 torch cuda av``, so that it needs nothing of vidsim. The
first word is the descriptor that it writes to: a line of JSON per word. What is imported may hang
or crash; whoever started it then knows at what.
"""

from __future__ import annotations

import importlib
import json
import os
import sys


def _cuda() -> str:
    import torch

    if not torch.cuda.is_available():
        return json.dumps({"built_for": torch.version.cuda})
    of = [torch.cuda.get_device_properties(n) for n in range(torch.cuda.device_count())]
    named = [{"name": p.name, "memory_bytes": p.total_memory} for p in of]
    return json.dumps({"built_for": torch.version.cuda, "devices": named})


def _ffmpeg() -> str:
    import av

    return str(av.ffmpeg_version_info)


_FACTS = {"cuda": _cuda, "ffmpeg": _ffmpeg}
"""Words that are not modules, and what is told of them."""


def main(to: int, words: list[str]) -> None:
    """Tell of each word, in order."""
    with os.fdopen(to, "w", buffering=1) as told:
        for word in words:
            fact, wrong = "", ""
            try:
                if word in _FACTS:
                    fact = _FACTS[word]()
                else:
                    importlib.import_module(word)
            except BaseException as error:  # SystemExit too: a module may do anything
                first = (str(error).strip().splitlines() or [""])[0]
                wrong = f"{type(error).__name__}: {first}"
            print(json.dumps({"word": word, "fact": fact, "wrong": wrong}), file=told)


if __name__ == "__main__":
    main(int(sys.argv[1]), sys.argv[2:])
    os._exit(0)  # what was imported may have threads that do not end
