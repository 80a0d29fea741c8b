"""What is seen and heard over HTTP: the right bytes of the right files, and of no other."""

from __future__ import annotations

import io
import os
import threading
from collections.abc import Iterator
from pathlib import Path
from typing import Any
from urllib.parse import quote

import av
import numpy as np
import pytest
from PIL import Image
from starlette.testclient import TestClient

from vidsim.search.server.media import drawing
from vidsim.search.server.media.pictures import Source
from vidsim.search.server.routes import media

from ....helpers.clips import write_clip
from ....helpers.media_cases import Piece, number_of, write
from ....helpers.seen_home import home_of_files
from ....helpers.web import client_of

TIMES = [n / 25 for n in range(50)]


@pytest.fixture(scope="module")
def root(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """The folder of the library ``lib``."""
    root = tmp_path_factory.mktemp("seen") / "lib"
    (root / "sub").mkdir(parents=True)
    write(root / "sub" / "numbered.mp4", [Piece(4)], codec="libx264", audio_codec="aac")
    write_clip(root / "grey.mkv", times=TIMES)
    write_clip(root / "tone.wav", tone=(440, 3, 16_000, 1))
    # Its name says that it is a page, and tries to end the header that it is written in.
    write_clip(root / "a.mp4", times=TIMES[:3]).rename(root / 'a"\n<script>.html')
    (root / "text.mp4").write_text("no video")
    write_clip(root / "gone.mkv", times=TIMES[:3])
    return root


@pytest.fixture(scope="module")
def home(root: Path) -> Path:
    files = sorted(path for path in root.rglob("*") if path.is_file())
    home = home_of_files(root.parent / "home", root, files)
    (root / "gone.mkv").unlink()
    return home


@pytest.fixture(scope="module")
def client(home: Path) -> Iterator[TestClient]:
    with client_of(home) as client:
        yield client


def url(video_id: str, what: str = "") -> str:
    return f"/v1/videos/{quote(video_id, safe='')}{what}"


def refusal(client: TestClient, address: str) -> tuple[int, str]:
    answer = client.get(address)
    return answer.status_code, answer.json()["error"]["message"]


NUMBERED, GREY, TONE = "lib/sub/numbered.mp4", "lib/grey.mkv", "lib/tone.wav"
PAGE = 'lib/a"\n<script>.html'


def test_a_video_is_described_with_its_file(client: TestClient) -> None:
    found = client.get(url(NUMBERED)).json()
    assert (found["video_id"], found["there"], found["decodes"]) == (NUMBERED, True, True)
    assert (found["container"], found["codec"], found["plays"]) == ("mp4", "h264", True)
    assert (found["width"], found["height"], found["has_sound_track"]) == (96, 32, True)
    board = found["storyboard"]
    assert (board["columns"], board["rows"], board["width"], board["height"]) == (5, 5, 160, 53)
    assert board["times_s"] == pytest.approx([(n + 0.5) * 4.02 / 25 for n in range(25)], abs=0.1)
    sound = client.get(url(TONE)).json()
    assert (sound["kind"], sound["plays"], sound["storyboard"]) == ("sound", True, None)


def test_a_video_is_described_without_a_file_that_can_be_shown(client: TestClient) -> None:
    gone = client.get(url("lib/gone.mkv")).json()
    assert (gone["there"], gone["decodes"], gone["plays"]) == (False, False, False)
    broken = client.get(url("lib/text.mp4")).json()
    assert (broken["there"], broken["decodes"], broken["container"]) == (True, False, None)


def test_the_file_itself_by_the_type_that_it_has(client: TestClient, root: Path) -> None:
    answer = client.get(url(NUMBERED, "/media"))
    assert answer.content == (root / "sub" / "numbered.mp4").read_bytes()
    assert answer.headers["content-type"] == "video/mp4"
    assert answer.headers["content-disposition"] == 'inline; filename="numbered.mp4"'
    assert answer.headers["cache-control"].startswith("private")
    assert client.get(url(TONE, "/media")).headers["content-type"] == "audio/wav"
    page = client.get(url(PAGE, "/media"))
    assert page.headers["content-type"] == "video/mp4"
    said = page.headers["content-disposition"]
    assert said == "inline; filename*=utf-8''a%22%0A%3Cscript%3E.html"
    assert page.headers["x-content-type-options"] == "nosniff"


def test_ranges(client: TestClient, root: Path) -> None:
    content = (root / "sub" / "numbered.mp4").read_bytes()
    address = url(NUMBERED, "/media")

    def ask(asked: str, **headers: str) -> tuple[int, bytes]:
        answer = client.get(address, headers={"range": asked, **headers})
        return answer.status_code, answer.content

    assert ask("bytes=10-19") == (206, content[10:20])
    assert ask("bytes=-5") == (206, content[-5:])
    assert ask("bytes=100-") == (206, content[100:])
    assert ask("bytes=5-999999999") == (206, content[5:])
    status, parts = ask("bytes=0-1, 10-11")
    assert status == 206
    assert content[:2] in parts
    assert content[10:12] in parts
    for bad in ("bytes=99999999-", "bytes=9-5", "bytes=x-y", "bytes=", "lines=1-2", "bytes=-0"):
        answer = client.get(address, headers={"range": bad})
        assert answer.status_code == 416, bad
        assert answer.headers["content-range"] == f"bytes */{len(content)}"
    whole = client.head(address)
    assert (whole.status_code, whole.content) == (200, b"")
    assert whole.headers["content-length"] == str(len(content))
    assert whole.headers["accept-ranges"] == "bytes"
    tag = whole.headers["etag"]
    assert ask("bytes=0-3", **{"if-range": tag}) == (206, content[:4])
    assert ask("bytes=0-3", **{"if-range": '"another"'}) == (200, content)
    assert client.get(address, headers={"if-none-match": f'"x", {tag}'}).status_code == 304
    assert client.head(address, headers={"range": "bytes=0-3"}).headers["content-length"] == "4"


def test_a_clip_is_the_stretch_that_was_asked_for(client: TestClient) -> None:
    answer = client.get(url(NUMBERED, "/clip"), params={"start_s": 1.0, "end_s": 2.5})
    assert answer.headers["content-type"] == "video/mp4"
    with av.open(io.BytesIO(answer.content)) as container:
        assert container.duration / av.time_base == pytest.approx(1.5, abs=0.05)
        first = next(container.decode(video=0)).to_ndarray(format="rgb24")
    assert number_of(first) in (24, 25)
    part = client.get(
        url(NUMBERED, "/clip"),
        params={"start_s": 1.0, "end_s": 2.5},
        headers={"range": "bytes=0-99", "if-range": answer.headers["etag"]},
    )
    assert (part.status_code, part.content) == (206, answer.content[:100])
    sound = client.get(url(TONE, "/clip"), params={"start_s": 1})
    assert sound.headers["content-type"] == "audio/mp4"
    with av.open(io.BytesIO(sound.content)) as container:
        assert container.duration / av.time_base == pytest.approx(2, abs=0.05)


def test_a_frame_at_a_time(client: TestClient) -> None:
    at = {"at_s": 1.6, "size": 64}
    answer = client.get(url(GREY, "/thumbnail"), params=at)
    assert answer.headers["content-type"] == "image/jpeg"
    picture = np.asarray(Image.open(io.BytesIO(answer.content)))
    assert picture.shape == (48, 64, 3)
    assert picture.mean() == pytest.approx(40 * 255 / 219, abs=2)


def test_a_storyboard_and_a_preview_show_frames_from_all_over(client: TestClient) -> None:
    board = Image.open(io.BytesIO(client.get(url(GREY, "/storyboard")).content))
    assert board.size == (5 * 160, 5 * 120)
    shades = np.asarray(board.convert("L").resize((5, 5), Image.Resampling.BOX)).ravel()
    assert (np.diff(shades.astype(int)) > 0).all()
    answer = client.get(url(NUMBERED, "/preview"))
    assert answer.headers["content-type"] == "image/webp"
    moving = Image.open(io.BytesIO(answer.content))
    assert (moving.size, getattr(moving, "n_frames", 1)) == ((160, 53), drawing.PREVIEW_FRAMES)
    assert refusal(client, url(TONE, "/storyboard"))[0] == 422


def test_strips_and_spectrograms(client: TestClient) -> None:
    strip = Image.open(io.BytesIO(client.get(url(GREY, "/strip")).content))
    assert strip.size == (20, 100)
    # It is stored, so that the file need not be there.
    assert client.get(url("lib/gone.mkv", "/strip")).status_code == 200
    drawn = client.get(url(TONE, "/spectrogram"), params={"start_s": 1, "end_s": 2})
    assert drawn.headers["content-type"] == "image/png"
    heard = np.asarray(Image.open(io.BytesIO(drawn.content)))
    assert heard.shape == (64, 98, 3)
    assert "no sound" in refusal(client, url(GREY, "/spectrogram"))[1]


def test_what_cannot_be_shown_is_told(client: TestClient) -> None:
    status, said = refusal(client, url("lib/text.mp4", "/thumbnail"))
    assert (status, "not a video" in said, "text.mp4" in said) == (422, True, True)
    assert refusal(client, url("lib/gone.mkv", "/thumbnail"))[0] == 404
    assert refusal(client, url("lib/none.mkv", "/media"))[0] == 404
    assert refusal(client, url(GREY, "/clip?start_s=9"))[0] == 422
    assert refusal(client, url(GREY, "/clip?start_s=0&end_s=61"))[0] == 422
    assert refusal(client, url(GREY, "/clip?start_s=1&end_s=1"))[0] == 422
    assert refusal(client, url(GREY, "/thumbnail?size=99999"))[0] == 422
    assert refusal(client, url(GREY, "/thumbnail?at_s=nan"))[0] == 422


def test_uploads_are_shown_as_videos_are(client: TestClient, root: Path, home: Path) -> None:
    content = (root / "sub" / "numbered.mp4").read_bytes()
    sent = client.post("/v1/uploads", params={"name": "mine.mp4"}, content=content).json()
    address = f"/v1/uploads/{sent['upload']}"
    assert client.get(f"{address}/media").content == content
    clip = client.get(f"{address}/clip", params={"start_s": 1, "end_s": 2})
    assert clip.headers["content-type"] == "video/mp4"
    for what in ("thumbnail", "strip", "spectrogram"):
        answer = client.get(f"{address}/{what}")
        assert (answer.status_code, answer.headers["content-type"][:6]) == (200, "image/"), what
    picture = io.BytesIO()
    Image.new("RGB", (64, 48), (200, 30, 30)).save(picture, "PNG")
    sent = client.post("/v1/uploads", params={"name": "x.png"}, content=picture.getvalue()).json()
    address = f"/v1/uploads/{sent['upload']}"
    assert client.get(f"{address}/thumbnail").status_code == 200
    assert refusal(client, f"{address}/clip")[0] == 422
    assert client.get(f"{address}/media").headers["content-type"] == "image/png"
    assert client.get("/v1/uploads/nothing/media").status_code == 404
    kept = home / "server" / "cache" / "uploads"
    before = len([*kept.iterdir()])
    assert client.delete(address).status_code == 204
    assert len([*kept.iterdir()]) == before - 2, "what was made of it goes with it"


@pytest.mark.acceptance
def test_each_is_made_once_however_many_ask(
    root: Path, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    home = home_of_files(tmp_path / "home", root, [root / "grey.mkv"])
    made: list[float] = []
    real = drawing.tiled

    def tiled(*arguments: object) -> object:
        made.append(1)
        return real(*arguments)  # type: ignore[arg-type]

    monkeypatch.setattr(drawing, "tiled", tiled)
    tags: list[str] = []
    with client_of(home) as client:

        def ask() -> None:
            tags.append(client.get(url(GREY, "/storyboard")).headers["etag"])

        threads = [threading.Thread(target=ask) for _ in range(4)]
        for thread in threads:
            thread.start()
        for thread in threads:
            thread.join()
        ask()
    with client_of(home) as client:  # the next server has it still
        ask()
    assert len(made) == 1
    assert len(tags) == 6
    assert len(set(tags)) == 1


@pytest.mark.acceptance
def test_another_file_in_the_place_of_one_is_shown_anew(tmp_path: Path) -> None:
    root = tmp_path / "lib"
    root.mkdir()
    clip = write_clip(root / "a.mkv", times=TIMES[:3])
    with client_of(home_of_files(tmp_path / "home", root, [clip])) as client:
        first = client.get(url("lib/a.mkv", "/thumbnail"))
        image = np.full((48, 64, 3), 200, np.uint8)
        write_clip(clip, times=TIMES[:3], images=[image])
        second = client.get(url("lib/a.mkv", "/thumbnail"))
    assert first.content != second.content
    assert first.headers["etag"] != second.headers["etag"]


def test_no_link_leads_out_of_a_library(tmp_path: Path) -> None:
    root, other = tmp_path / "lib", tmp_path / "other"
    (root / "sub").mkdir(parents=True)
    other.mkdir()
    secret = write_clip(other / "a.mkv", times=TIMES[:3])
    files = [write_clip(root / "sub" / "a.mkv", times=TIMES[:3]), root / "link.mkv"]
    files[1].symlink_to(files[0])
    with client_of(home_of_files(tmp_path / "home", root, files)) as client:
        inside = client.get(url("lib/link.mkv", "/media"))
        assert inside.status_code == 200, "a link within the library is a file of it"
        files[1].unlink()
        files[1].symlink_to(secret)
        (root / "sub").rename(root / "was")
        (root / "sub").symlink_to(other, target_is_directory=True)
        for video_id in ("lib/link.mkv", "lib/sub/a.mkv"):
            for what in ("media", "clip", "thumbnail", "storyboard", "preview", "spectrogram"):
                assert client.get(url(video_id, f"/{what}")).status_code == 403, (video_id, what)


def test_a_link_that_is_put_there_meanwhile_shows_nothing(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    root, other = tmp_path / "lib", tmp_path / "other"
    (root / "sub").mkdir(parents=True)
    other.mkdir()
    clip = write_clip(root / "sub" / "a.mkv", times=TIMES[:3])
    os.link(clip, other / "a.mkv")  # the same file, so that its path alone tells
    home = home_of_files(tmp_path / "home", root, [clip])
    real = media.source

    def source(*arguments: Any, **more: Any) -> Source:
        found = real(*arguments, **more)
        (root / "sub").rename(root / "was")
        (root / "sub").symlink_to(other, target_is_directory=True)
        return found

    with client_of(home) as client:
        assert client.get(url("lib/sub/a.mkv", "/media")).status_code == 200
        monkeypatch.setattr(media, "source", source)
        for what in ("thumbnail", "media"):
            status, said = refusal(client, url("lib/sub/a.mkv", f"/{what}"))
            assert status in (404, 503), what
            assert "changed" in said or "gone" in said
            (root / "sub").unlink()
            (root / "was").rename(root / "sub")
