"""The page for everybody: by keys alone, in both themes, on a phone, and as axe sees it."""

from __future__ import annotations

from typing import TYPE_CHECKING

import pytest

from ...helpers.browser import PHONE, WIDE, Visit, await_, overflow, violations

if TYPE_CHECKING:
    from playwright.sync_api import Page

pytestmark = pytest.mark.acceptance

BALL, COPY = "clips/drawn/ball.mp4", "clips/copies/ball_copy.mp4"

VIEWS = {
    "/": ".tile",
    f"/?like={BALL}": ".card:not(.ghost)",
    "/?tab=browse": ".tile",
    "/?tab=map": ".map-list .tile",
    "/?tab=compare": ".one-side",
    f"/?tab=compare&a={BALL}&b={COPY}": ".chart",
    "/?tab=duplicates": ".group",
    "/?tab=ingest": ".folder",
}


@pytest.mark.parametrize("size", [WIDE, PHONE], ids=["wide", "phone"])
@pytest.mark.parametrize("theme", ["light", "dark"])
def test_axe_finds_nothing_and_all_fits(
    visit: Visit, shown: str, axe: str, theme: str, size: tuple[int, int]
) -> None:
    for view, part in VIEWS.items():
        page = visit(shown + view, size=size, theme=theme)
        page.locator(part).first.wait_for(timeout=60_000)
        page.wait_for_timeout(700)
        assert violations(page, axe) == [], view
        assert overflow(page) == 0, view
        page.context.close()


def test_dialogs_are_found_good_by_axe(visit: Visit, shown: str, axe: str) -> None:
    page = visit(f"{shown}/?tab=compare")
    page.get_by_role("button", name="Keys").click()
    assert violations(page, axe) == []
    page.keyboard.press("Escape")
    page.get_by_role("button", name="Choose the first video").click()
    page.get_by_role("dialog").locator(".tile").first.wait_for()
    assert violations(page, axe) == []


def focused(page: Page) -> str:
    name: str = page.evaluate(
        "(document.activeElement.ariaLabel ?? '') + ' ' + document.activeElement.innerText"
    )
    return " ".join(name.split())


def tab_to(page: Page, words: str, most: int = 80) -> None:
    """Presses Tab until what has the focus is called so."""
    for _ in range(most):
        page.keyboard.press("Tab")
        if words in focused(page):
            assert page.evaluate("document.activeElement.matches(':focus-visible')")
            return
    raise AssertionError(f"Tab does not lead to {words}")


def test_a_search_by_keys_alone(visit: Visit, shown: str) -> None:
    page = visit(shown)
    page.locator(".tile").first.wait_for()
    page.keyboard.press("Tab")
    assert focused(page) == "Skip to the content"
    page.keyboard.press("/")
    page.keyboard.type("ball.mp4")
    await_(page, "document.querySelectorAll('.tile').length === 1")
    tab_to(page, "ball.mp4")
    page.keyboard.press("Enter")
    page.wait_for_selector(".card:not(.ghost)")
    page.keyboard.press("j")
    page.keyboard.press("j")
    second = page.locator(".card").nth(1)
    assert focused(page).startswith("Play ")
    assert second.evaluate("card => card.contains(document.activeElement)")
    page.keyboard.press("Enter")
    await_(page, "v => v.currentTime > 0.1", of=second.locator("video").element_handle())
    page.keyboard.press(" ")
    await_(page, "v => v.paused", of=second.locator("video").element_handle())
    tab_to(page, "Position in")
    before = page.evaluate("Number(document.activeElement.value)")
    page.keyboard.press("ArrowRight")
    assert page.evaluate("Number(document.activeElement.value)") > before
    page.keyboard.press("k")
    page.keyboard.press("c")
    page.get_by_role("button", name="Play in step").wait_for()
    tab_to(page, "Play in step")
    page.keyboard.press("Enter")
    await_(page, "document.querySelector('video')?.currentTime > 0.1")
    page.keyboard.press("?")
    page.get_by_role("dialog", name="Keys").wait_for()
    page.keyboard.press("Escape")
    assert page.get_by_role("dialog").count() == 0
    assert focused(page).strip() in ("Pause", "Play in step")


def test_single_keys_can_be_turned_off(visit: Visit, shown: str) -> None:
    page = visit(shown)
    page.locator(".tile").first.wait_for()
    page.keyboard.press("?")
    page.get_by_label("Single keys do this").uncheck()
    page.keyboard.press("Escape")
    page.keyboard.press("?")
    page.wait_for_timeout(200)
    assert page.get_by_role("dialog").count() == 0


def test_the_theme_is_the_systems_until_a_person_switches(visit: Visit, shown: str) -> None:
    paper = "getComputedStyle(document.body).backgroundColor"
    light, dark = "rgb(247, 247, 245)", "rgb(16, 18, 22)"
    page = visit(shown, theme="dark")
    assert page.evaluate(paper) == dark
    page.emulate_media(color_scheme="light")
    assert page.evaluate(paper) == light
    page.get_by_role("button", name="Switch to dark").click()
    assert page.evaluate(paper) == dark
    page.reload()
    assert page.evaluate(paper) == dark
    page.get_by_role("button", name="Switch to light").click()
    assert page.evaluate(paper) == light


def test_what_changes_is_said_to_readers_of_screens(visit: Visit, shown: str) -> None:
    page = visit(f"{shown}/?like={BALL}")
    said = page.get_by_role("status").filter(has_text="results; the best")
    said.wait_for(state="attached")
    page.goto(f"{shown}/?tab=browse")
    page.get_by_role("status").filter(has_text="videos").wait_for(state="attached")


def test_a_phone_searches(visit: Visit, shown: str) -> None:
    page = visit(f"{shown}/?like={BALL}", size=PHONE)
    page.wait_for_selector(".card:not(.ghost)")
    assert not page.get_by_label("Motion").is_visible()
    page.get_by_text("Weights and filters").tap()
    page.get_by_label("Motion").wait_for()
    page.locator(".card").first.get_by_role("button", name="Play").tap()
    await_(page, "document.querySelector('.card video')?.currentTime > 0.1")
    page.get_by_role("link", name="Browse").tap()
    page.locator(".tile").first.wait_for()
