"""The page where something is missing: videos, sound, a token, the server, an answer."""

from __future__ import annotations

from collections.abc import Iterator
from pathlib import Path
from typing import TYPE_CHECKING

import pytest

from ...helpers.browser import Visit, await_
from ...helpers.page_home import SCRIPT
from ...helpers.web import Server, copied

if TYPE_CHECKING:
    from playwright.sync_api import Page, Route

pytestmark = pytest.mark.acceptance

BALL, COPY = "clips/drawn/ball.mp4", "clips/copies/ball_copy.mp4"


def results(page: Page) -> list[str]:
    """Ids of the results that are seen."""
    page.wait_for_selector(".card:not(.ghost)")
    await_(page, "!document.querySelector('.cards').hasAttribute('aria-busy')")
    ids: list[str] = page.eval_on_selector_all(".card", "all => all.map((c) => c.dataset.id)")
    return ids


@pytest.fixture(scope="module")
def empty(tmp_path_factory: pytest.TempPathFactory) -> Iterator[str]:
    with Server(tmp_path_factory.mktemp("empty") / "home") as server:
        yield server.url


def test_an_empty_home_says_how_to_ingest(visit: Visit, empty: str) -> None:
    page = visit(empty)
    page.get_by_role("heading", name="No video is stored yet").wait_for()
    page.get_by_text("vidsim ingest FOLDER").wait_for()
    page.get_by_text("vidsim serve --root FOLDER").wait_for()
    assert page.get_by_role("link", name="Ingest a folder").count() == 0
    for tab in ("browse", "map"):
        page.goto(f"{empty}/?tab={tab}")
        page.get_by_role("heading", name="No video is stored yet").wait_for()
    page.goto(f"{empty}/?tab=ingest")
    page.get_by_text("vidsim serve --root FOLDER").wait_for()


def test_an_empty_home_with_folders_leads_to_ingest(visit: Visit, shown: str) -> None:
    nothing = {"videos": [], "total": 0}
    page = visit(
        shown, before=lambda p: p.route("**/v1/videos?*", lambda r: r.fulfill(json=nothing))
    )
    page.get_by_role("link", name="Ingest a folder").click()
    page.locator(".folder").first.wait_for()


def test_a_sentence_of_the_server_is_shown(visit: Visit, shown: str, empty: str) -> None:
    page = visit(f"{shown}/?like=clips/drawn/gone.mp4", refused=True)
    page.get_by_role("alert").filter(has_text="clips/drawn/gone.mp4").wait_for()
    page.get_by_role("link", name="Choose another clip").click()
    page.get_by_role("heading", name="Find videos by example").wait_for()
    page.goto(f"{shown}/?like=no-upload-of-this-name")
    page.get_by_role("alert").filter(has_text="send it again").wait_for()
    page.goto(f"{empty}/?tab=duplicates")
    page.get_by_text("Nothing is stored yet").wait_for()
    assert "0" not in page.locator(".told").inner_text()


def test_a_file_that_cannot_be_read_is_refused_in_a_sentence(
    visit: Visit, shown: str, tmp_path: Path
) -> None:
    (tmp_path / "no video.mp4").write_text("this is a text")
    page = visit(shown, refused=True)
    page.set_input_files("#file-big", tmp_path / "no video.mp4")
    alert = page.get_by_role("alert").filter(has_text="no video.mp4")
    alert.first.wait_for()
    (tmp_path / "empty.mp4").touch()
    page.goto(shown)
    page.set_input_files("#file-big", tmp_path / "empty.mp4")
    page.get_by_role("alert").filter(has_text="empty.mp4 is empty").wait_for()


def test_a_query_without_sound_says_so(visit: Visit, shown: str) -> None:
    page = visit(f"{shown}/?like=clips/old/checkers.avi")
    page.get_by_text("the query has no sound").wait_for()
    assert "none" in page.locator(".weight", has_text="Sound").inner_text()


def test_a_busy_server_is_asked_again_when_it_says(visit: Visit, shown: str) -> None:
    refusals = 2

    def busy(route: Route) -> None:
        nonlocal refusals
        if not refusals:
            route.continue_()
            return
        refusals -= 1
        body = {"error": {"kind": "BusyError", "message": "Too many queries wait."}}
        route.fulfill(status=429, headers={"Retry-After": "1"}, json=body)

    page = visit(
        f"{shown}/?like={BALL}", refused=True, before=lambda p: p.route("**/v1/query", busy)
    )
    page.get_by_role("alert").filter(has_text="asking again in 1 s").wait_for()
    page.wait_for_selector(".card:not(.ghost)")
    assert page.locator("#banner").is_hidden()
    assert refusals == 0


def test_a_lost_server_is_told_and_found_again(visit: Visit, footage: Path, tmp_path: Path) -> None:
    home = copied(footage / "home", tmp_path / "home")
    with Server(home) as server:
        url, port = server.url, server.url.rpartition(":")[2]
        page = visit(f"{url}/?like={BALL}", refused=True)
        page.wait_for_selector(".card:not(.ghost)")
        seen = results(page)
        page.wait_for_load_state("networkidle")  # the other views are loaded ahead
        server.kill()
        page.get_by_role("button", name="Sounds").click()
        page.get_by_role("alert").filter(has_text="does not answer").first.wait_for()
        page.get_by_text("It is asked again when the server is back").wait_for()
        assert results(page) == seen
        assert float(page.locator(".cards").evaluate("c => getComputedStyle(c).opacity")) < 1
        page.locator(".facets").get_by_label("copies").check()
        page.wait_for_timeout(300)
        assert results(page) == seen
        page.get_by_role("link", name="Browse").click()
        page.get_by_role("heading", name="Videos").wait_for()
        page.go_back()
    with Server(home, "--port", port):
        await_(page, "document.querySelector('#banner').hidden")
        await_(page, "document.querySelectorAll('.card').length === 2")
        assert set(results(page)) == {COPY, "clips/copies/snow_copy.mp4"}
        assert page.get_by_role("button", name="Sounds").get_attribute("aria-pressed") == "true"


def test_a_view_that_cannot_be_loaded_is_tried_again(visit: Visit, shown: str) -> None:
    patterns = ("**/page/map.js", "**/healthz")

    def lose(page: Page) -> None:
        for pattern in patterns:
            page.route(pattern, lambda r: r.abort())

    page = visit(shown, refused=True, before=lose)
    page.locator(".tile").first.wait_for()
    page.get_by_role("link", name="Map").click()
    page.get_by_role("alert").filter(has_text="Map could not be loaded").wait_for()
    page.get_by_role("alert").filter(has_text="does not answer").wait_for()
    for pattern in patterns:
        page.unroute(pattern)
    page.get_by_role("heading", name="Map of").wait_for()
    assert page.locator("#banner").is_hidden()


def test_a_token_opens_the_page_once(visit: Visit, colors: Path, tmp_path: Path) -> None:
    home = copied(colors / "home", tmp_path / "home")
    with Server(home, VIDSIM_SERVE_TOKEN="long secret") as server:
        address = server.url.partition("/#")[0]
        page = visit(f"{address}/#token=long%20secret")
        page.locator(".tile").first.wait_for()
        assert page.url == f"{address}/"
        assert page.evaluate("document.cookie") == ""
        stranger = visit(f"{address}/?tab=browse", refused=True)
        dialog = stranger.get_by_role("dialog")
        dialog.get_by_label("Token").fill("guess")
        dialog.get_by_role("button", name="Go on").click()
        dialog.get_by_role("alert").filter(has_text="wrong").wait_for()
        dialog.get_by_label("Token").fill("long secret")
        dialog.get_by_role("button", name="Go on").click()
        stranger.locator(".tile").first.wait_for()
        stranger.goto("about:blank")
        stranger.context.clear_cookies()
        stranger.goto(f"{address}/#token=wrong")
        stranger.locator("#banner").filter(has_text="wrong").wait_for()
        dialog.get_by_label("Token").fill("long secret")
        dialog.get_by_role("button", name="Go on").click()
        stranger.locator(".tile").first.wait_for()
        assert stranger.locator("#banner").is_hidden()


def test_markup_in_names_is_text(visit: Visit, shown: str) -> None:
    page = visit(f"{shown}/?tab=browse&contains=onerror")
    tile = page.locator(".tile", has_text=SCRIPT)
    tile.wait_for()
    assert "<i onclick=alert(1)>" in tile.inner_text()
    tile.click()
    page.wait_for_selector(".card:not(.ghost)")
    assert SCRIPT in page.locator(".subject .clip-name").inner_text()
    for tab in ("map", "duplicates", f"compare&a={BALL}"):
        page.goto(f"{shown}/?tab={tab}")
        page.get_by_role("heading", level=1).wait_for()
    assert page.locator("img[src=x]").count() == 0


def test_nothing_is_asked_of_others(visit: Visit, shown: str) -> None:
    asked: set[str] = set()
    page = visit(shown, before=lambda p: p.on("request", lambda r: asked.add(r.url)))
    page.locator(".tile").first.wait_for()
    for tab in ("browse", "map", "compare", "duplicates", "ingest"):
        page.get_by_role("link", name=tab.capitalize()).click()
        page.wait_for_timeout(300)
    assert {url for url in asked if not url.startswith((shown, "data:", "blob:"))} == set()
