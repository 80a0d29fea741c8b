"""The Python that the README shows, run exactly as printed."""

from __future__ import annotations

import re
import subprocess
import sys
from pathlib import Path

import numpy as np

from .clips import write_clip
from .command_line import environment
from .repository import ROOT


def shown_python(page: str = "README.md") -> str:
    """The one Python example of a page."""
    text = (ROOT / page).read_text()
    (shown,) = re.findall(r"^```python\n(.*?)^```$", text, re.MULTILINE | re.DOTALL)
    return str(shown)


def run_shown_python(folder: Path, home: Path, **changes: str) -> list[tuple[int, str]]:
    """Runs it in `folder`, with the videos it speaks of; returns rank and id of each line."""
    random = np.random.default_rng(0)
    names = ("ucf101/Surfing/1", "ucf101/Surfing/2", "ucf101/YoYo/1", "clip")
    for number, name in enumerate(names):
        path = folder / f"{name}.avi"
        path.parent.mkdir(parents=True, exist_ok=True)
        image = random.integers(0, 256, (3, 4, 3), np.uint8).repeat(16, 0).repeat(16, 1)
        times = [n / 25 for n in range(50)]
        tone = (220.0 * (number + 1), 2.0, 16000, 1)
        write_clip(path, times=times, images=[image], codec="mpeg4", tone=tone)
    done = subprocess.run(
        [sys.executable, "-c", shown_python()],
        cwd=folder,
        env=environment(home, **changes),
        capture_output=True,
        text=True,
        timeout=280,
    )
    assert done.returncode == 0, done.stdout + done.stderr
    lines = [line.split() for line in done.stdout.splitlines()]
    return [(int(words[0]), words[-3]) for words in lines]  # the likeness is told in several words
