"""What a query asks by: a still picture, a part of a file, a part of a stored video."""

from __future__ import annotations

from pathlib import Path
from typing import Any

import numpy as np
import pytest
from PIL import Image

from vidsim.ingest.extract.embed import EmbedOptions
from vidsim.ingest.pipeline import ingest
from vidsim.ingest.shards.home import Place
from vidsim.ingest.system.progress import Silent
from vidsim.schemas.embedding import EmbeddedVideo
from vidsim.schemas.errors import MediaError
from vidsim.schemas.modality import Modality
from vidsim.schemas.part import Part
from vidsim.schemas.presets import choose_backbones
from vidsim.schemas.results import QueryResult
from vidsim.schemas.video import Video
from vidsim.search.query import QueryOptions, answer, query
from vidsim.search.search_index import open_index

from ..helpers.clips import write_clip
from ..helpers.embedded_videos import embedded, store

ALL = ("labhist", "efficientnet_lite0", "yamnet", "i3d")
RED, GREEN, BLUE = (200, 30, 30), (30, 200, 30), (30, 30, 200)


def plain(color: tuple[int, int, int]) -> np.ndarray:
    """One colour with a texture, as a flat frame would be none."""
    picture = np.full((48, 64, 3), color, np.uint8)
    picture[::8] //= 2
    return picture


def ask(place: Place, clip: Path | str, **options: Any) -> QueryResult:
    return query(str(clip), place, QueryOptions(device="cpu", **options), Silent())


@pytest.fixture(scope="module")
def colors(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """A library of clips by colour, one that goes from red to blue, and one that has two halves."""
    folder = tmp_path_factory.mktemp("colors")
    (folder / "lib").mkdir()
    times = [n / 10 for n in range(20)]
    for name, color in (("red", RED), ("green", GREEN), ("blue", BLUE)):
        write_clip(folder / f"lib/{name}.mkv", times=times, images=[plain(color)], pix_fmt="bgr0")
    long = [*60 * [plain(RED)], *60 * [plain(BLUE)]]
    write_clip(folder / "long.mkv", times=[n / 10 for n in range(120)], images=long, pix_fmt="bgr0")
    halves = np.concatenate([plain(GREEN)[:, :32], plain(BLUE)[:, 32:]], axis=1)
    write_clip(folder / "halves.mkv", times=times, images=[halves], pix_fmt="bgr0")
    options = EmbedOptions(choose_backbones([Modality.COLOR]), device="cpu", workers=1)
    ingest(folder / "lib", Place(folder / "home"), options, Silent())
    return folder


@pytest.fixture
def home(colors: Path) -> Place:
    return Place(colors / "home")


@pytest.mark.parametrize("name", ["x.jpg", "x.png", "x.webp", "x.gif"])
def test_a_still_picture_finds_what_looks_like_it(home: Place, tmp_path: Path, name: str) -> None:
    Image.fromarray(plain(GREEN)).save(tmp_path / name)
    result = ask(home, tmp_path / name)
    first = result.results[0]
    assert (result.modalities, first.video_id) == (["color"], "lib/green.mkv")
    match = first.modalities["color"]
    assert (match.query_start_s, match.query_end_s) == (0, 0)
    assert result.notes == [
        f"{tmp_path / name} is a still picture, which has neither sound nor motion."
    ]


def test_a_still_picture_lacks_sound_and_motion_and_is_not_embedded_for_them(
    place: Place, tmp_path: Path
) -> None:
    store(place, *(embedded(f"lib/{n}", backbones=ALL, seed=n) for n in range(3)))
    Image.fromarray(plain(RED)).save(tmp_path / "x.jpg")
    given: list[EmbedOptions] = []

    def embed(video: Video, options: EmbedOptions, _: object) -> EmbeddedVideo:
        given.append(options)
        return embedded("query/x.jpg", backbones=[b.name for b in options.backbones.values()])

    with open_index(place) as index:
        picture = str(tmp_path / "x.jpg")
        result = answer(picture, index, place, QueryOptions(), Silent(), embed)
    assert result.modalities == ["color", "frame"]
    assert result.missing_modalities == ["audio", "motion"]
    assert [(*o.backbones, o.still) for o in given] == [("color", "frame", "jpeg_pipe")]
    for modality in (Modality.AUDIO, Modality.MOTION):
        with pytest.raises(MediaError, match=rf"has no {modality}; ask for color or frame with -m"):
            ask(place, tmp_path / "x.jpg", modalities=(modality,))
    with pytest.raises(MediaError, match="is a still picture; leave --from and --to out"):
        ask(place, tmp_path / "x.jpg", part=Part(1.0))


@pytest.mark.acceptance
def test_a_still_picture_has_rows_of_its_frame(weights: Path, place: Place, tmp_path: Path) -> None:
    store(place, *(embedded(f"lib/{n}", seed=n) for n in range(3)))
    Image.fromarray(plain(RED)).save(tmp_path / "x.jpg")
    result = ask(place, tmp_path / "x.jpg")
    assert result.modalities == ["color", "frame"]
    assert {len(r.modalities) for r in result.results} == {2}


@pytest.mark.acceptance
def test_a_part_of_a_file_is_compared_alone_and_keeps_its_time(home: Place, colors: Path) -> None:
    for part, found in ((Part(0.0, 5.0), "lib/red.mkv"), (Part(7.0, 11.0), "lib/blue.mkv")):
        first = ask(home, colors / "long.mkv", part=part).results[0]
        match = first.modalities["color"]
        assert first.video_id == found
        assert match.similarity > 0.95
        assert (match.query_start_s, match.query_end_s) == (part.start_s, part.end_s)


@pytest.mark.acceptance
def test_a_region_of_a_file_or_picture_is_compared_alone(
    home: Place, colors: Path, tmp_path: Path
) -> None:
    Image.fromarray(np.concatenate([plain(BLUE), plain(RED)], axis=1)).save(tmp_path / "x.png")
    for clip, region, found in (
        (colors / "halves.mkv", (0.0, 0.0, 0.5, 1.0), "lib/green.mkv"),
        (colors / "halves.mkv", (32.0, 0.0, 32.0, 48.0), "lib/blue.mkv"),
        (tmp_path / "x.png", (0.5, 0.0, 0.5, 1.0), "lib/red.mkv"),
    ):
        first = ask(home, clip, part=Part(region=region)).results[0]
        assert first.video_id == found
        assert first.modalities["color"].similarity > 0.95


def test_a_region_leaves_sound_out_unless_it_is_asked_for(place: Place, tmp_path: Path) -> None:
    store(place, *(embedded(f"lib/{n}", backbones=ALL, seed=n) for n in range(3)))
    (tmp_path / "x.mp4").write_bytes(b"clip")

    def embed(video: Video, options: EmbedOptions, _: object) -> EmbeddedVideo:
        return embedded("query/x.mp4", backbones=[b.name for b in options.backbones.values()])

    def asked(**options: Any) -> QueryResult:
        how = QueryOptions(part=Part(region=(0, 0, 0.5, 0.5)), **options)
        with open_index(place) as index:
            return answer(str(tmp_path / "x.mp4"), index, place, how, Silent(), embed)

    result = asked()
    assert result.modalities == ["color", "frame", "motion"]
    assert result.missing_modalities == []
    assert result.notes == [
        "A region is of the picture, so sound is left out unless it is asked for."
    ]
    assert asked(modalities=(Modality.AUDIO,)).modalities == ["audio"]


def test_a_region_is_refused_where_only_sound_is_stored(place: Place, tmp_path: Path) -> None:
    store(place, *(embedded(f"lib/{n}", backbones=("yamnet",), seed=n) for n in range(3)))
    Image.fromarray(plain(RED)).save(tmp_path / "x.png")
    (tmp_path / "x.mp4").write_bytes(b"clip")
    for name in ("x.png", "x.mp4"):
        with pytest.raises(MediaError, match="of the picture, and only sound is stored; leave --r"):
            ask(place, tmp_path / name, part=Part(region=(0, 0, 0.5, 0.5)))


@pytest.mark.parametrize(
    ("part", "told"),
    [
        (Part(70.0), r"long\.mkv cannot be searched with \(It lasts 0:11.9, and the part begins at "
         r"1:10\); give another --from, --to or --region\."),
        (Part(region=(500, 0, 5, 5)), r"covers nothing of its 64x48 pixels\); give another --from"),
    ],
)  # fmt: skip
def test_a_part_that_is_not_there_is_told(home: Place, colors: Path, part: Part, told: str) -> None:
    with pytest.raises(MediaError, match=told):
        ask(home, colors / "long.mkv", part=part)


@pytest.fixture
def stored(place: Place) -> Place:
    """A long video, and pieces of 10 s that are each like one of its segments."""
    long = embedded("lib/long", backbones=ALL, segments=4, seed=1)
    pieces = []
    for number, (segment, embedding) in enumerate(zip(long.segments, long.embeddings)):
        piece = embedded(f"lib/piece{number}", backbones=ALL, seed=1)
        fields = vars(piece) | {"segments": (segment,), "embeddings": (embedding,)}
        pieces.append(EmbeddedVideo(**fields))
    store(place, long, *pieces)
    return place


def test_a_part_of_a_stored_video_is_its_rows_there(stored: Place) -> None:
    for number in range(4):
        result = ask(stored, "lib/long", part=Part(10.0 * number, 10.0 * number + 10))
        first = result.results[0]
        assert first.video_id == f"lib/piece{number}"
        assert result.notes == []
        for match in first.modalities.values():
            assert match.similarity == pytest.approx(1, abs=1e-5)
            assert 10 * number <= match.query_start_s <= match.query_end_s <= 10 * number + 10


def test_a_part_within_a_segment_has_its_frames_and_the_segments_colors(stored: Place) -> None:
    result = ask(stored, "lib/long", part=Part(22.0, 25.0))
    assert result.results[0].video_id == "lib/piece2"
    frame = result.results[0].modalities["frame"]
    assert 21.2 < frame.query_start_s < frame.query_end_s < 25.8
    assert result.results[0].modalities["color"].query_start_s == 20
    assert result.notes == [
        "lib/long is stored by segments: color and motion of 0:20-0:30 stand for 0:22-0:25; "
        "give its file for that alone."
    ]


def test_a_part_after_a_stored_video_is_told(stored: Place) -> None:
    with pytest.raises(MediaError, match=r"lib/long lasts 0:40, and the part begins at 1:40; give"):
        ask(stored, "lib/long", part=Part(100.0))


def test_a_region_of_a_stored_video_asks_for_its_file(stored: Place) -> None:
    with pytest.raises(MediaError, match="give its file, /videos/lib/long, instead"):
        ask(stored, "lib/long", part=Part(region=(0, 0, 0.5, 0.5)))
