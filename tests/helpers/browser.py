"""A real browser, and axe for it."""

from __future__ import annotations

import base64
import hashlib
import shutil
import subprocess
import tarfile
import time
from collections.abc import Callable, Iterator
from pathlib import Path
from typing import TYPE_CHECKING, Any

import pytest

if TYPE_CHECKING:
    from playwright.sync_api import Browser, BrowserContext, Page

_NAMES = ("chromium", "chromium-browser", "google-chrome")

_FLAGS = ["--no-sandbox", "--disable-quic", "--disable-background-networking"]

_TIMEOUT_MS = 120_000
"""For what a person waits a second for: the first clip loads networks, on shared machines."""

_AXE = "axe-core-4.10.3"
_AXE_SHA512 = (
    "Xm7bpRXnDSX2YE2YFfBk2FnF0ep6tmG7xPh8iHee8MIcrgq762Nkce856dYtJYLkuIoYZvGfTs/PbZhideTcEg=="
)
"""As the npm registry has it."""

WIDE, PHONE = (1280, 860), (390, 844)
"""Windows that the page is tried in."""

Visit = Callable[..., "Page"]
"""The fixture `visit`."""


@pytest.fixture(scope="session")
def browser() -> Iterator[Browser]:
    """Debian's Chromium, as a person has it but for its window."""
    try:
        from playwright.sync_api import sync_playwright
    except ImportError:
        pytest.fail("The page's tests need playwright: pip install 'vidsim[test]'.")
    program = next(filter(None, map(shutil.which, _NAMES)), None)
    if program is None:
        pytest.fail("The page's tests need Chromium: apt-get install chromium.")
    with sync_playwright() as playwright:
        started = playwright.chromium.launch(executable_path=program, args=_FLAGS)
        yield started
        started.close()


@pytest.fixture
def visit(browser: Browser) -> Iterator[Visit]:
    """Opens an address in a fresh profile; what the console says of errors fails the test.

    ``refused`` is for tests of refusals: the browser reports each answer that is no success.
    """
    told: list[str] = []
    contexts: list[BrowserContext] = []

    def open_page(
        address: str,
        size: tuple[int, int] = WIDE,
        theme: str = "light",
        refused: bool = False,
        before: Callable[[Page], object] = lambda _: None,
    ) -> Page:
        chosen: Any = theme
        context = browser.new_context(
            viewport={"width": size[0], "height": size[1]},
            color_scheme=chosen,
            has_touch=size == PHONE,
            accept_downloads=True,
        )
        contexts.append(context)
        page = context.new_page()
        page.set_default_timeout(_TIMEOUT_MS)
        page.on("pageerror", lambda error: told.append(str(error)))
        page.on("dialog", lambda dialog: told.append(f"a dialog: {dialog.message}"))

        def hear(message: Any) -> None:
            expected = refused and message.text.startswith("Failed to load resource")
            if message.type == "error" and not expected:
                told.append(f"{message.text} {message.location.get('url', '')}")

        page.on("console", hear)
        before(page)
        page.goto(address)
        return page

    yield open_page
    for context in contexts:
        context.close()
    assert told == []


@pytest.fixture(scope="session")
def axe(own_folders: Path) -> str:
    """The script of axe-core, as npm has it; it is kept in the cache."""
    script = own_folders / f"{_AXE}.min.js"
    if not script.exists():
        own_folders.mkdir(parents=True, exist_ok=True)
        pack = ["npm", "pack", "--silent", _AXE.replace("core-", "core@")]
        try:
            subprocess.run(pack, cwd=own_folders, check=True, capture_output=True, timeout=120)
        except FileNotFoundError:
            pytest.fail("The check for accessibility needs npm: apt-get install npm.")
        except subprocess.SubprocessError as error:
            pytest.fail(f"The check for accessibility needs {_AXE} of npm's registry: {error}")
        packed = own_folders / f"{_AXE}.tgz"
        found = base64.b64encode(hashlib.sha512(packed.read_bytes()).digest()).decode()
        assert found == _AXE_SHA512, f"{packed} is not what was published"
        with tarfile.open(packed) as files:
            content = files.extractfile("package/axe.min.js")
            assert content is not None
            script.write_bytes(content.read())
        packed.unlink()
    return script.read_text()


def await_(page: Page, script: str, *, of: Any = None) -> None:
    """Waits until a script is true; the page's policy forbids Playwright's own way."""
    end = time.monotonic() + _TIMEOUT_MS / 1000
    while not page.evaluate(script, of):
        assert time.monotonic() < end, script
        page.wait_for_timeout(50)


def violations(page: Page, axe: str) -> list[str]:
    """What axe finds wrong with what is shown."""
    page.evaluate(axe)
    found = page.evaluate("axe.run(document, {resultTypes: ['violations']})")
    return [
        f"{each['id']}: {each['help']}: {[node['target'] for node in each['nodes']]}"
        for each in found["violations"]
    ]


def overflow(page: Page) -> int:
    """How many pixels of what is shown lie beside the window."""
    beside = "document.documentElement.scrollWidth - document.documentElement.clientWidth"
    return int(page.evaluate(beside))
