"""The page's other views: browse, map, comparison, duplicates, ingest."""

from __future__ import annotations

import json
import re
from collections.abc import Iterator
from pathlib import Path
from typing import TYPE_CHECKING

import pytest

from ...helpers.browser import Visit, await_
from ...helpers.web import Server, copied

if TYPE_CHECKING:
    from playwright.sync_api import Page, Route

pytestmark = pytest.mark.acceptance

BALL, LONG = "clips/drawn/ball.mp4", "clips/drawn/long.mp4"
COPY = "clips/copies/ball_copy.mp4"


def test_what_is_stored_is_browsed(visit: Visit, shown: str) -> None:
    page = visit(f"{shown}/?tab=browse")
    page.get_by_role("heading", name="12 videos").wait_for()
    assert page.locator(".tile").count() == 12
    page.get_by_label("Part of a name").fill("ball")
    page.get_by_role("heading", name="2 videos", exact=True).wait_for()
    tile = page.locator(".tile", has_text="ball.mp4")
    tile.hover()
    await_(page, "document.querySelector('.tile img[src*=\"/preview\"]')")
    page.mouse.move(0, 0)
    await_(page, "!document.querySelector('.tile img[src*=\"/preview\"]')")
    tile.click()
    page.wait_for_selector(".card:not(.ghost)")
    assert page.locator(".subject .clip-name").inner_text() == BALL
    page.go_back()
    page.get_by_role("heading", name="2 videos", exact=True).wait_for()


def test_a_long_list_has_pages(visit: Visit, shown: str) -> None:
    def many(route: Route) -> None:
        answer = route.fetch()
        route.fulfill(response=answer, json=answer.json() | {"total": 130})

    page = visit(f"{shown}/?tab=browse", before=lambda p: p.route("**/v1/videos?*", many))
    page.get_by_text("Page 1 of 3").wait_for()
    assert page.get_by_role("button", name="Before").is_disabled()
    page.get_by_role("button", name="Next").click()
    page.get_by_text("Page 2 of 3").wait_for()
    assert "page=1" in page.url


INKED = """canvas => {
    const { data } = canvas.getContext("2d").getImageData(0, 0, canvas.width, canvas.height);
    let inked = 0;
    for (let n = 3; n < data.length; n += 4) inked += data[n] > 0;
    return inked;
}"""


def test_the_map_is_moved_brushed_and_asked(visit: Visit, shown: str) -> None:
    page = visit(f"{shown}/?tab=map&by=frame")
    page.get_by_role("heading", name="Map of 9 videos").wait_for()
    canvas = page.locator("canvas.points")
    page.wait_for_timeout(1500)
    assert canvas.evaluate(INKED) > 50
    page.get_by_role("heading", name="9 in view").wait_for()
    box = canvas.bounding_box()
    assert box is not None
    page.get_by_role("button", name="Select").click()
    page.mouse.move(box["x"] + 5, box["y"] + 5)
    page.mouse.down()
    page.mouse.move(box["x"] + box["width"] - 5, box["y"] + box["height"] - 5, steps=5)
    page.mouse.up()
    page.get_by_role("heading", name="9 videos selected").wait_for()
    page.get_by_role("button", name="Select").click()
    canvas.focus()
    for _ in range(14):
        page.keyboard.press("+")
    await_(page, "!/^9 /.test(document.querySelector('.map-list h2').textContent)")
    page.keyboard.press("0")
    page.get_by_role("heading", name="9 in view").wait_for()
    page.get_by_role("button", name="copies").click()
    page.get_by_role("heading", name="2 in view").wait_for()
    assert "label=copies" in page.url
    page.go_back()
    page.locator(".map-list .tile").first.click()
    page.wait_for_selector(".card:not(.ghost)")


def test_a_point_of_the_map_is_searched_with(visit: Visit, shown: str) -> None:
    one = {"method": "PCA", "refining": False, "ids": [BALL], "x": [0.0], "y": [0.0]}
    one |= {"labels": ["drawn"], "clusters": [0]}
    page = visit(
        f"{shown}/?tab=map", before=lambda p: p.route("**/v1/map*", lambda r: r.fulfill(json=one))
    )
    page.get_by_role("heading", name="Map of 1 video").wait_for()
    box = page.locator("canvas.points").bounding_box()
    assert box is not None
    page.mouse.move(box["x"] + box["width"] / 2, box["y"] + box["height"] / 2)
    page.locator(".tip", has_text="ball.mp4").wait_for()
    page.mouse.down()
    page.mouse.up()
    page.wait_for_selector(".card:not(.ghost)")
    assert f"like={BALL}" in page.url


def test_two_videos_are_compared(visit: Visit, shown: str) -> None:
    page = visit(f"{shown}/?like={BALL}")
    page.locator(f'.card[data-id="{COPY}"]').get_by_role("button", name="Compare").click()
    page.get_by_role("button", name="Play in step").wait_for()
    for panel in ("By modality", "Likeness over time", "Where they match"):
        page.get_by_role("heading", name=panel).wait_for()
    page.get_by_role("heading", name="Colours over time").wait_for()
    assert page.locator(".wide-strip").count() == 2
    assert page.locator(".spectrogram").count() == 2
    assert page.locator(".bands polygon").count() >= 1
    assert page.locator(".frames img").count() >= 2
    assert page.locator(".chart polyline").count() == 5
    page.get_by_role("button", name="Play in step").click()
    both = "[...document.querySelectorAll('video')]"
    await_(page, f"{both}.length === 2 && {both}.every((v) => v.currentTime > 0.4)")
    first, second = page.evaluate(f"{both}.map((v) => v.currentTime)")
    assert abs((first - second) - 0.5) < 0.6  # the copy begins half a second later
    chart = page.get_by_label("Second of the comparison")
    chart.focus()
    chart.press("ArrowRight")
    assert "likeness" in (chart.get_attribute("aria-valuetext") or "")


def test_what_is_compared_is_chosen(visit: Visit, shown: str) -> None:
    page = visit(f"{shown}/?tab=compare")
    for which in ("first", "second"):
        page.get_by_role("button", name=f"Choose the {which} video").click()
        page.get_by_role("dialog").get_by_label("Find a stored video by name").fill("snow")
        page.get_by_role("dialog").locator(".tile", has_text="snow").first.click()
    page.get_by_role("button", name="Play in step").wait_for()


def groups(page: Page) -> None:
    page.get_by_role("heading", name=re.compile("groups? of near-duplicates")).wait_for()
    page.wait_for_selector(".group")


def test_duplicates_are_decided_and_remembered(visit: Visit, shown: str) -> None:
    page = visit(f"{shown}/?tab=duplicates")
    groups(page)
    group = page.locator(".group", has_text="snow_copy.mp4")
    for fact in ("Picture", "Length", "Bitrate", "Size"):
        assert group.get_by_text(fact).count() >= 2
    group.get_by_role("button", name="Keep this one snow.mp4").click()
    kept = group.get_by_role("button", name="Kept snow.mp4")
    kept.wait_for()
    page.wait_for_timeout(500)
    page.reload()
    groups(page)
    kept.wait_for()
    page.get_by_label("Only undecided").check()
    await_(page, "!document.body.innerText.includes('snow_copy.mp4')")
    assert "undecided=yes" in page.url
    page.reload()
    groups(page)
    assert page.get_by_label("Only undecided").is_checked()
    assert page.locator(".group", has_text="snow_copy.mp4").count() == 0
    page.get_by_label("Only undecided").uncheck()
    kept.click()
    group.get_by_role("button", name="Keep this one snow.mp4").wait_for()
    group.get_by_role("button", name="Not the same").click()
    page.get_by_text("1 pair decided to be different").click()
    page.get_by_role("button", name="Take back").click()
    group.get_by_role("button", name="Keep this one snow.mp4").wait_for()


def test_duplicates_play_in_step_and_are_taken_away(visit: Visit, shown: str) -> None:
    page = visit(f"{shown}/?tab=duplicates")
    groups(page)
    group = page.locator(".group", has_text="snow_copy.mp4")
    group.get_by_role("button", name="Play in step").click()
    both = "[...document.querySelectorAll('video')]"
    await_(page, f"{both}.length === 2 && {both}.every((v) => v.currentTime > 0.5)")
    group.get_by_role("button", name="Pause", exact=True).click()
    await_(page, f"{both}.every((v) => v.paused)")
    group.get_by_role("button", name="Play in step").wait_for()
    for kind, begins in (("CSV", "group,"), ("JSON", "{")):
        with page.expect_download() as download:
            page.get_by_role("link", name=kind).click()
        assert download.value.suggested_filename == f"duplicates.{kind.lower()}"
        text = Path(download.value.path()).read_text()
        assert text.startswith(begins)
        assert "snow_copy.mp4" in text


def test_files_that_are_the_same_are_said_to_be(visit: Visit, shown: str) -> None:
    def same(route: Route) -> None:
        answer = route.fetch()
        body = answer.json()
        if "groups" not in body:
            route.fulfill(response=answer)
            return
        first, second, *_ = body["groups"]
        for pair in first["pairs"]:
            pair |= {"identical": True, "coverage": 1.0}
        second["pairs"] = second["pairs"][:1]
        second["pairs"][0] |= {"identical": False, "coverage": 0.999, "similarity": 0.91}
        for n, video in enumerate(second["videos"]):
            video |= {"duration_s": 5 + n / 40}
        body |= {"groups": [first, second], "total": 2}
        route.fulfill(response=answer, json=body)

    page = visit(f"{shown}/?tab=duplicates", before=lambda p: p.route("**/v1/duplicates?*", same))
    groups(page)
    page.get_by_text("Pieces of one scene count as near-duplicates").wait_for()
    first, second = page.locator(".group").all()
    assert first.get_by_text("same file", exact=True).count() == 1
    second.get_by_text("All of the shorter one is shared, cosine 0.91").wait_for()
    assert second.locator(".is-best", has_text="Length").count() == 0


@pytest.fixture(scope="module")
def changing(footage: Path, tmp_path_factory: pytest.TempPathFactory) -> Iterator[str]:
    """A server whose home may change."""
    home = copied(footage / "home", tmp_path_factory.mktemp("changing") / "home")
    with Server(home, "--root", str(footage / "more")) as server:
        yield server.url


def test_a_folder_is_ingested_and_a_job_cancelled(visit: Visit, changing: str) -> None:
    page = visit(f"{changing}/?tab=ingest")
    page.get_by_role("button", name="more").first.click()
    page.get_by_label("Name of the library").fill("fresh")
    page.get_by_text("Options").click()
    for modality in ("Sound", "Motion", "Picture"):
        page.get_by_label(modality).uncheck()
    page.get_by_role("button", name="Ingest", exact=True).click()
    job = page.locator(".job", has_text="fresh").first
    job.get_by_text("Running").or_(job.get_by_text("Done")).wait_for()
    page.reload()
    job.get_by_text("Done").wait_for(timeout=120_000)
    job.get_by_text("1 video embedded").wait_for()
    page.locator(".libraries").get_by_text("fresh").wait_for()
    page.get_by_role("button", name="more").first.click()
    page.get_by_label("Name of the library").fill("never")
    page.get_by_role("button", name="Ingest", exact=True).click()
    job = page.locator(".job", has_text="never").first
    job.get_by_role("button", name="Cancel").click()
    job.get_by_text("Cancelled").wait_for(timeout=60_000)
    again = page.locator(".jobs").get_by_role("button", name="Try again")
    assert again.count() == 1
    again.click()
    job.get_by_text("Done").wait_for(timeout=120_000)
    await_(page, "!document.querySelector('.jobs [data-act]')")
    assert page.locator(".job", has_text="never").count() == 2
    page.context.request.post(f"{changing}/v1/ingest", data={"library": "fresh"})
    top = page.locator(".job").first
    top.locator("strong", has_text="fresh").wait_for(timeout=15_000)
    assert page.locator(".job").count() == 4
    top.get_by_role("link", name="Browse fresh").click(timeout=120_000)
    page.get_by_role("heading", name="1 video", exact=True).wait_for()


def test_how_far_an_ingest_is_is_told(visit: Visit, shown: str) -> None:
    step = {"stage": "embedding", "done": 5.0, "total": 9.0, "unit": "bytes", "finished": False}
    step |= {"said": "5 of 9 MB", "note": "31 of 1320 files done, now a/b.mp4", "elapsed_s": 1.0}
    job = {"job": "1", "state": "running", "folder": "/a", "library": "a", "steps": [step]}
    ended = {"state": "cancelled", "started_at": "2026-05-01T12:00:00Z", "steps": []}
    tries = [
        job | ended | {"job": "4", "state": "done", "retry_of": "3"},
        job | ended | {"job": "3", "state": "failed", "retry_of": "2"},
        job | ended | {"job": "2"},
        job | ended | {"job": "0"},
    ]

    def hold(page: Page) -> None:
        page.route("**/v1/ingest", lambda r: r.fulfill(json={"jobs": [job, *tries]}))
        page.route("**/v1/ingest/1/events", lambda r: r.abort())

    page = visit(f"{shown}/?tab=ingest", refused=True, before=hold)
    page.get_by_text("5 of 9 MB").wait_for()
    page.get_by_text("31 of 1320 files done, now a/b.mp4").wait_for()
    jobs = page.locator(".job")
    assert jobs.filter(has_text="What was finished until then is kept").count() == 2
    again = jobs.filter(has=page.get_by_role("button", name="Try again"))
    assert again.count() == 1
    assert again.evaluate("each => each === each.parentElement.lastElementChild")


def test_a_folder_has_to_be_chosen(visit: Visit, changing: str) -> None:
    page = visit(f"{changing}/?tab=ingest")
    page.locator(".folder").first.wait_for()
    page.get_by_role("button", name="Ingest", exact=True).click()
    assert page.get_by_role("alert").filter(has_text="Choose a folder first").is_visible()


def test_the_map_of_13320_videos_is_drawn_whole(visit: Visit, shown: str) -> None:
    count = 13_320
    body = {
        "method": "PCA",
        "refining": False,
        "ids": [f"clips/drawn/{n}.mp4" for n in range(count)],
        "x": [((n * 37) % 2000) / 1000 - 1 for n in range(count)],
        "y": [((n * 61) % 1999) / 1000 - 1 for n in range(count)],
        "labels": [f"label {n % 101}" for n in range(count)],
        "clusters": [n % 12 for n in range(count)],
    }
    text = json.dumps(body)

    def answer(route: Route) -> None:
        route.fulfill(body=text, content_type="application/json")

    # The list beside the map asks for pictures of videos that are made up.
    page = visit(f"{shown}/?tab=map", refused=True, before=lambda p: p.route("**/v1/map*", answer))
    page.get_by_role("heading", name="Map of 13,320 videos").wait_for()
    await_(page, "document.querySelector('.map-list h2').textContent.startsWith('13,320')")
    assert page.locator("canvas.points").evaluate(INKED) > 20_000
