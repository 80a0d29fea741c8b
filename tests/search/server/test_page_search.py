"""The page, searching: by what is sent or stored, with weights, parts, facets, and the reasons."""

from __future__ import annotations

import json
import re
from pathlib import Path
from typing import TYPE_CHECKING, Any
from urllib.parse import parse_qs, urlsplit

import pytest

from vidsim.search.demo import disguise

from ...helpers.browser import Visit, await_
from ...helpers.page_home import write_still, write_tone

if TYPE_CHECKING:
    from playwright.sync_api import Page, Request, Route

pytestmark = pytest.mark.acceptance

BALL, LONG, SNOW = "clips/drawn/ball.mp4", "clips/drawn/long.mp4", "clips/drawn/snow.mp4"
AVI = "clips/old/checkers.avi"

DROP = """([text, name, type]) => {
    const bytes = Uint8Array.from(atob(text), (c) => c.charCodeAt(0));
    const files = new DataTransfer();
    files.items.add(new File([bytes], name, { type }));
    for (const kind of ["dragenter", "dragover", "drop"]) {
        const told = new DragEvent(kind, { dataTransfer: files, bubbles: true, cancelable: true });
        document.body.dispatchEvent(told);
    }
}"""


@pytest.fixture(scope="module")
def disguised(footage: Path, tmp_path_factory: pytest.TempPathFactory) -> Path:
    """A clip that nobody stored: a copy of the ball's."""
    copy = tmp_path_factory.mktemp("new") / "my clip.mp4"
    disguise(footage / BALL, copy, crop=0.06)
    return copy


def like(shown: str, *clips: str, **more: str) -> str:
    return f"{shown}/?" + "&".join(
        [*(f"like={c}" for c in clips), *(f"{k}={v}" for k, v in more.items())]
    )


def results(page: Page) -> list[str]:
    """Ids of the results, in the order that is seen."""
    page.wait_for_selector(".card:not(.ghost)")
    await_(page, "!document.querySelector('.cards').hasAttribute('aria-busy')")
    ids: list[str] = page.eval_on_selector_all(".card", "all => all.map((c) => c.dataset.id)")
    return ids


def asked(page: Page, known: list[dict[str, Any]]) -> dict[str, Any]:
    """The newest query that the page sent, once it sent none for a while."""
    page.wait_for_timeout(500)
    return known[-1]


def listening(page: Page) -> list[dict[str, Any]]:
    """The bodies of the queries that the page sends from now on."""
    bodies: list[dict[str, Any]] = []

    def note(request: Request) -> None:
        if request.url.endswith("/v1/query"):
            bodies.append(json.loads(request.post_data or ""))

    page.on("request", note)
    return bodies


def test_a_clip_that_is_dropped_is_found_again(visit: Visit, shown: str, disguised: Path) -> None:
    from base64 import b64encode

    page = visit(shown)
    page.get_by_text("Drop a clip, a picture or a sound").wait_for()
    text = b64encode(disguised.read_bytes()).decode()
    page.evaluate(DROP, [text, disguised.name, "video/mp4"])
    found = results(page)
    assert {BALL, "clips/copies/ball_copy.mp4"} <= set(found[:3])
    assert page.locator(".card .badge").first.inner_text() in ("same footage", "very alike")
    assert page.locator(".subject .clip-name").inner_text() == "my clip.mp4"
    token = parse_qs(urlsplit(page.url).query)["like"]
    assert len(token) == 1
    assert "/" not in token[0]
    other = visit(page.url)  # another window, which knows nothing of the file
    assert results(other) == found
    assert other.locator(".subject .clip-name").inner_text() == "my clip.mp4"


def test_a_picture_and_a_sound_are_searched_with(
    visit: Visit, shown: str, footage: Path, tmp_path: Path
) -> None:
    page = visit(shown)
    page.set_input_files("#file-big", write_still(footage / BALL, tmp_path / "still.png"))
    assert results(page)[0] in (BALL, LONG, "clips/copies/ball_copy.mp4")
    told = page.locator(".told").inner_text()
    assert "Compared by picture, colours" in told
    assert "no sound" in told
    page.goto(shown)
    page.set_input_files("#file-big", write_tone(tmp_path / "tone.wav", 230))
    assert results(page)[0].endswith(("low.wav", "sunset.mp4"))
    assert "Compared by sound" in page.locator(".told").inner_text()
    page.locator(".subject [data-kind=sound] img.poster").wait_for()


def test_a_result_plays_from_the_second_that_matched(visit: Visit, shown: str) -> None:
    page = visit(like(shown, BALL))
    assert LONG in results(page)
    card = page.locator(f'.card[data-id="{LONG}"]')
    moment = card.locator(".where button").first
    minutes, seconds = moment.inner_text().split(":")
    start_s = 60 * int(minutes) + int(seconds)
    marks = card.locator(".marks i")
    assert marks.count() >= 2
    moment.click()
    video = card.locator("video")
    await_(page, "v => !v.paused && v.readyState > 2", of=video.element_handle())
    assert start_s <= video.evaluate("v => v.currentTime") < start_s + 3
    assert "/media" in video.evaluate("v => v.src")
    await_(page, "document.querySelector('.subject video')?.currentTime > 0")
    assert page.locator(".subject video").evaluate("v => v.muted")


def test_what_no_browser_plays_is_played_as_a_clip(visit: Visit, shown: str) -> None:
    page = visit(like(shown, AVI))
    page.get_by_role("button", name="Play checkers.avi").click()
    await_(page, "document.querySelector('.subject video')?.currentTime > 0.2")
    assert "/clip?start_s=" in page.locator(".subject video").evaluate("v => v.src")


def test_bars_and_words_say_why(visit: Visit, shown: str) -> None:
    page = visit(like(shown, BALL))
    results(page)
    card = page.locator('.card[data-id="clips/copies/ball_copy.mp4"]')
    assert re.match("Same .*(picture|sound)", card.locator(".phrase").inner_text())
    names = card.locator(".bar-name").all_inner_texts()
    assert names == ["Picture", "Colours", "Sound", "Motion"]
    silent = page.locator(f'.card[data-id="{AVI}"]')
    assert "none" in silent.locator(".bars").inner_text()


def test_weights_rank_again_at_once_and_back_undoes(
    visit: Visit, shown: str, disguised: Path
) -> None:
    sent: list[str] = []

    def note(page: Page) -> None:
        page.on("request", lambda r: sent.append(r.url) if "/v1/uploads?" in r.url else None)

    page = visit(shown, before=note)
    page.set_input_files("#file-big", disguised)
    before = results(page)
    url = page.url
    bodies = listening(page)
    page.get_by_role("button", name="Sounds").click()
    body = asked(page, bodies)
    assert body["modalities"] == ["audio"]
    assert body["clips"] == [{"upload": parse_qs(urlsplit(url).query)["like"][0]}]
    assert len(sent) == 1
    assert results(page) != before
    assert "weights=" in page.url
    page.go_back()
    assert page.url == url
    await_(page, "n => document.querySelectorAll('.card').length === n", of=len(before))
    assert results(page) == before
    slider = page.get_by_label("Motion")
    slider.focus()
    slider.press("End")
    assert asked(page, bodies)["weights"]["motion"] == 3


def test_alike_enough_is_chosen(visit: Visit, shown: str) -> None:
    page = visit(like(shown, BALL))
    all_of_them = results(page)
    scores = [float(s) for s in page.locator(".card .score").all_inner_texts()]
    slider = page.get_by_label("At least")
    slider.fill(str(scores[1]))
    await_(page, "n => document.querySelectorAll('.card').length < n", of=len(all_of_them))
    assert results(page) == all_of_them[: len(results(page))]
    slider.fill("1")
    page.get_by_text("Nothing reaches 1.00").wait_for()
    page.get_by_role("button", name="Show all").click()
    assert results(page) == all_of_them


def test_nothing_much_like_it_is_said(visit: Visit, shown: str) -> None:
    def chance(route: Route) -> None:
        answer = route.fetch()
        body = answer.json() | {"nothing_alike": True, "best_likeness": 0.98, "chance": 0.995}
        route.fulfill(response=answer, json=body)

    page = visit(like(shown, BALL), before=lambda p: p.route("**/v1/query", chance))
    page.get_by_role("heading", name="Nothing here is much like it").wait_for()
    assert "is found by chance" in page.locator(".told").inner_text()
    assert (
        {"by chance"} <= {*page.locator(".card .badge").all_inner_texts()} <= {"by chance", "weak"}
    )
    assert set(page.locator(".card .phrase").all_text_contents()) == {""}


WORDS = {
    "Similar picture and colours": ("alike", 0.65, [0.84, 0.69, 0.57, 0.4]),
    "Same picture, other sound": ("very alike", 0.8, [0.95, 0.5, 0.1, 0.5]),
    "Most alike in sound": ("alike", 0.63, [0.5, 0.4, 0.59, 0.1]),
    "Little in common": ("weak", 0.5, [0.5, 0.4, 0.5, 0.1]),
    "": ("by chance", 0.61, [0.95, 0.1, 0.1, 0.1]),
}
"""The sentence of a card, by its word, its likeness, and that of each modality; 0.62 is chance."""


def test_the_words_of_a_card_agree(visit: Visit, shown: str) -> None:
    def told(route: Route) -> None:
        answer = route.fetch()
        body = answer.json()
        full = max((match["modalities"] for match in body["results"]), key=len)
        for match, (word, likeness, by) in zip(body["results"], WORDS.values()):
            match |= {"word": "alike" if word == "by chance" else word, "likeness": likeness}
            match["modalities"] = {
                m: full[m] | {"likeness": value}
                for m, value in zip(("frame", "color", "audio", "motion"), by)
            }
        body |= {"chance": 0.62, "nothing_alike": False}
        route.fulfill(response=answer, json=body)

    address = like(shown, BALL, k="5", library="clips")
    page = visit(address, before=lambda p: p.route("**/v1/query", told))
    page.get_by_role("heading", name="The 5 most alike").wait_for()
    assert page.locator(".card .phrase").all_text_contents() == list(WORDS)
    badges = [word for word, *_ in WORDS.values()]
    assert page.locator(".card .badge").all_inner_texts() == badges


def test_a_search_that_takes_long_says_so(visit: Visit, shown: str) -> None:
    held: list[Route] = []
    page = visit(
        like(shown, BALL), before=lambda p: p.route("**/v1/query", lambda route: held.append(route))
    )
    waiting = page.locator(".found > .busy")
    waiting.filter(has_text="Comparing…").wait_for()
    assert page.locator(".card.ghost").count() == 4
    held.pop().continue_()
    results(page)
    assert waiting.is_hidden()
    page.get_by_label("The query ends at").fill("3")
    waiting.filter(has_text="A new part takes some seconds").wait_for()
    held.pop().continue_()
    results(page)
    assert waiting.is_hidden()


def test_a_file_is_an_example_or_takes_the_place_of_what_is_gone(
    visit: Visit, shown: str, disguised: Path
) -> None:
    page = visit(like(shown, SNOW), refused=True)
    results(page)
    bodies = listening(page)
    page.get_by_label("Also like a file").set_input_files(disguised)
    page.locator(".examples").get_by_text("my clip.mp4").wait_for()
    first, second = asked(page, bodies)["clips"]
    assert first == {"video": SNOW}
    results(page)
    assert "Sending" not in page.locator("#said").inner_text()
    gone = {"error": {"kind": "UploadGone", "message": "The clip is not kept; send it again."}}
    page.route(f"**/v1/uploads/{second['upload']}", lambda r: r.fulfill(status=404, json=gone))
    page.route("**/v1/query", lambda r: r.fulfill(status=404, json=gone))
    page.get_by_role("button", name="Looks").click()
    page.get_by_role("alert").filter(has_text="send it again").wait_for()
    assert page.get_by_label("Also like a file").count() == 0
    page.unroute("**/v1/query")
    page.get_by_label("Send a file").set_input_files(disguised)
    results(page)
    first, third = asked(page, bodies)["clips"]
    assert first == {"video": SNOW}
    assert third != second
    page.goto(like(shown, "no-upload-of-this-name", **{"from": "1", "to": "2"}))
    page.get_by_label("Send a file").set_input_files(disguised)
    assert {BALL, "clips/copies/ball_copy.mp4"} <= set(results(page)[:3])
    body = asked(page, bodies)
    assert len(body["clips"]) == 1
    assert body["start_s"] is None
    page.get_by_label("Also like a file").wait_for()


def test_a_part_of_the_query_counts(visit: Visit, shown: str) -> None:
    page = visit(like(shown, LONG))
    results(page)
    bodies = listening(page)
    page.get_by_label("The query begins at").fill("5.5")
    page.get_by_label("The query ends at").fill("9")
    body = asked(page, bodies)
    assert (body["start_s"], body["end_s"]) == (5.5, 9)
    assert "from=5.5&to=9" in page.url
    assert "sunset" in "".join(results(page)[:2]) + page.locator(".card").nth(0).inner_text()
    page.get_by_role("button", name="Whole clip").click()
    assert asked(page, bodies)["start_s"] is None
    page.get_by_label("Position in long.mp4").first.fill("3")
    page.keyboard.press("i")
    assert asked(page, bodies)["start_s"] == 3


def test_a_region_is_drawn_or_moved_by_keys(visit: Visit, shown: str, disguised: Path) -> None:
    page = visit(shown)
    page.set_input_files("#file-big", disguised)
    results(page)
    bodies = listening(page)
    page.get_by_role("button", name="Region").click()
    box = page.locator(".region").bounding_box()
    assert box is not None
    page.mouse.move(box["x"] + 0.05 * box["width"], box["y"] + 0.1 * box["height"])
    page.mouse.down()
    page.mouse.move(box["x"] + 0.2 * box["width"], box["y"] + 0.2 * box["height"], steps=4)
    page.mouse.move(box["x"] + 0.55 * box["width"], box["y"] + 0.6 * box["height"], steps=4)
    page.mouse.up()
    page.wait_for_timeout(600)
    region = asked(page, bodies)["region"]
    assert region == pytest.approx([0.05, 0.1, 0.5, 0.5], abs=0.03)
    page.keyboard.press("ArrowRight")
    page.wait_for_timeout(600)
    assert asked(page, bodies)["region"][0] == pytest.approx(region[0] + 0.02, abs=0.005)
    page.keyboard.press("Escape")
    page.wait_for_timeout(600)
    assert asked(page, bodies)["region"] is None
    assert "region" not in page.url


def test_facets_combine(visit: Visit, shown: str) -> None:
    page = visit(like(shown, BALL))
    everything = results(page)
    page.locator(".facets").get_by_label("clips").check()
    page.locator(".facets").get_by_label("copies").check()
    await_(page, "document.querySelectorAll('.card').length === 2")
    assert sorted(results(page)) == ["clips/copies/ball_copy.mp4", "clips/copies/snow_copy.mp4"]
    page.get_by_label("Length").select_option(label="10 s to 1 min")
    page.get_by_text("No video passes these filters").wait_for()
    page.locator(".facets").get_by_label("copies").uncheck()
    page.wait_for_selector(f'.card[data-id="{LONG}"]')
    assert results(page) == [LONG]
    page.get_by_role("button", name="Forget all filters").click()
    await_(page, "n => document.querySelectorAll('.card').length === n", of=len(everything))


def test_more_like_this_also_like_and_not_like(visit: Visit, shown: str) -> None:
    page = visit(like(shown, BALL))
    results(page)
    bodies = listening(page)
    snow = page.locator(f'.card[data-id="{SNOW}"]')
    snow.get_by_role("button", name="Also like").click()
    assert asked(page, bodies)["clips"] == [{"video": BALL}, {"video": SNOW}]
    page.locator(f'.card[data-id="{LONG}"]').get_by_role("button", name="Not like").click()
    assert asked(page, bodies)["not"] == [{"video": LONG}]
    results(page)
    page.get_by_role("button", name="Forget snow.mp4").click()
    assert asked(page, bodies)["clips"] == [{"video": BALL}]
    page.locator(".card").first.get_by_role("button", name="More like this").click()
    body = asked(page, bodies)
    assert body["clips"] != [{"video": BALL}]
    assert body["not"] == []
    page.go_back()
    assert asked(page, bodies)["not"] == [{"video": LONG}]
    page.go_forward()
    assert asked(page, bodies)["not"] == []


def test_a_search_can_be_sent(visit: Visit, shown: str) -> None:
    page = visit(like(shown, BALL))
    results(page)
    page.get_by_role("button", name="Looks").click()
    page.locator(".facets").get_by_label("clips").check()
    page.wait_for_timeout(800)
    found = results(page)
    other = visit(page.url)
    assert results(other) == found
    assert other.get_by_role("button", name="Looks").get_attribute("aria-pressed") == "true"
    assert other.locator(".facets").get_by_label("clips").is_checked()
