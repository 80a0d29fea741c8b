"""Photographs the page of ``vidsim serve`` over the demo's generated clips; takes a minute.

Run ``.venv/bin/python docs/pictures/make_page.py``, with the test extras and Chromium (Debian's
package ``chromium``). Nothing is read or written outside of a temporary folder, but for the weights
of the default preset, which are pulled where they are missing.
"""

from __future__ import annotations

import os
import shutil
import subprocess
import sys
import tempfile
from pathlib import Path

from playwright.sync_api import sync_playwright

from vidsim import Library
from vidsim.search.demo import disguise, write_generated

FOLDER = Path(__file__).resolve().parent

WIDE, PHONE = (1280, 860), (390, 844)

VIEWS = {
    "page-search": ("?like=clips/ball/disguised.mp4", WIDE, "light"),
    "page-compare": (
        "?tab=compare&a=clips/ball/disguised.mp4&b=clips/ball/ball.mp4",
        WIDE,
        "light",
    ),
    "page-map": ("?tab=map", WIDE, "dark"),
    "page-phone": ("?like=clips/ball/disguised.mp4", PHONE, "dark"),
}
"""By the picture's name: the address, the window and the theme."""


def main() -> None:
    """Makes a library, serves it, and takes the pictures."""
    with tempfile.TemporaryDirectory() as name:
        work = Path(name)
        made, clips = work / "made", work / "clips"
        made.mkdir()
        write_generated(made)
        for clip in sorted(made.iterdir()):
            label = clips / clip.stem
            label.mkdir(parents=True)
            shutil.copy(clip, label)
            disguise(clip, label / "disguised.mp4")
        with Library.open(work / "home", uri="embedded") as library:
            library.ingest(clips)
        server = subprocess.Popen(
            [sys.executable, "-P", "-m", "vidsim", "serve", "--port", "0"],
            env=os.environ | {"VIDSIM_HOME": str(work / "home")},
            stderr=subprocess.PIPE,
            text=True,
        )
        try:
            assert server.stderr is not None
            url = server.stderr.readline().split()[1]
            photograph(url)
        finally:
            server.terminate()
            server.wait()


def photograph(url: str) -> None:
    """Take the pictures of all views."""
    with sync_playwright() as playwright:
        browser = playwright.chromium.launch(
            executable_path=shutil.which("chromium"),
            args=["--no-sandbox", "--disable-quic", "--disable-background-networking"],
        )
        for name, (address, (width, height), theme) in VIEWS.items():
            context = browser.new_context(
                viewport={"width": width, "height": height},
                color_scheme="dark" if theme == "dark" else "light",
                reduced_motion="reduce",
            )
            page = context.new_page()
            page.goto(f"{url}/{address}")
            page.wait_for_load_state("networkidle")
            page.wait_for_timeout(9000)  # networks load for the first, pictures are drawn
            page.screenshot(path=FOLDER / f"{name}.png")
            context.close()
        browser.close()


if __name__ == "__main__":
    main()
