"""Congruence: every Milvus gives the same answers to the same questions about the same library.

`vidsim query` runs whole, on a library of clustered vectors in four modalities.
"""

from __future__ import annotations

from collections.abc import Iterator, Sequence
from dataclasses import replace

import pytest

from vidsim.ingest import pipeline
from vidsim.ingest.milvus.filters import equals, is_in
from vidsim.ingest.milvus.store import open_store
from vidsim.ingest.shards.home import Home, Place
from vidsim.ingest.sync.libraries import reindex_all, remove_all
from vidsim.ingest.sync.writer import Writer
from vidsim.ingest.system.progress import Silent
from vidsim.schemas.backbones import BACKBONES
from vidsim.schemas.collections import levels
from vidsim.schemas.embedding import EmbeddedVideo, Rows, SegmentEmbedding, to_query
from vidsim.schemas.modality import Modality
from vidsim.schemas.results import QueryResult
from vidsim.search.query import QueryOptions, query

from ..helpers.embedded_videos import embedded
from ..helpers.ingests import in_step, pretend, write_files
from ..helpers.ingests import ingest as ingest_files
from ..helpers.milvus_targets import TARGETS, empty_place

pytestmark = pytest.mark.server
NAMES = ("labhist", "efficientnet_lite0", "yamnet", "i3d")
LABELS = ("snow", "sand", "sea", "rain", "wind", "fire", "wood", "town")
QUIET = Silent()


def clustered(number: int) -> EmbeddedVideo:
    """A video of one to three segments, near the others of its label; every ninth is silent."""
    label = LABELS[number % len(LABELS)]
    video = embedded(
        f"{'old' if number % 5 == 0 else 'lib'}/{label}/{number:03}.mp4",
        fingerprint=f"f{number}",
        backbones=NAMES,
        segments=1 + number % 3,
        seed=number,
        label=label,
        silent=number % 9 == 0,
    )
    centre = embedded("lib/centre", backbones=NAMES, seed=1000 + number % len(LABELS))
    parts = []
    for part in video.embeddings:
        rows = {
            name: Rows(
                found.vectors + 2 * centre.embeddings[0].rows[name].vectors[: len(found.vectors)],
                found.start_s,
                found.end_s,
            )
            for name, found in part.rows.items()
        }
        parts.append(SegmentEmbedding(rows, part.vid2img))
    return replace(video, embeddings=tuple(parts))


VIDEOS = [clustered(number) for number in range(60)]


def fill(place: Place, videos: Sequence[EmbeddedVideo] = VIDEOS) -> None:
    """Writes `videos` as an ingest does: shards first, then Milvus."""
    with open_store(place, writing=True) as store:
        for library in ("lib", "old"):
            writer = Writer(store, Home(place), library, {})
            for video in videos:
                if video.video.library == library:
                    writer.add(video)
            writer.finish()
            assert writer.notes == []


def questions() -> Iterator[tuple[str, QueryOptions]]:
    """Fifty queries: of stored videos, by one modality or all, narrowed or not."""
    narrowed = [
        QueryOptions(),
        QueryOptions(modalities=(Modality.FRAME,)),
        QueryOptions(modalities=(Modality.COLOR, Modality.AUDIO), fusion="rrf"),
        QueryOptions(libraries=("lib",)),
        QueryOptions(expression='label in ["snow", "sea", "rain"] and segment >= 0'),
    ]
    for number, video in enumerate(VIDEOS[:50]):
        yield video.video.video_id, narrowed[number % len(narrowed)]


def ask(place: Place) -> list[QueryResult]:
    return [query(clip, place, options, QUIET) for clip, options in questions()]


@pytest.fixture(scope="module")
def embedded_place(tmp_path_factory) -> Place:
    """Lite in process, which the others are compared with."""
    place = Place(tmp_path_factory.mktemp("embedded"))
    fill(place)
    return place


@pytest.fixture(scope="module")
def expected(embedded_place) -> list[QueryResult]:
    return ask(embedded_place)


def largest_difference(first: QueryResult, second: QueryResult) -> float:
    """Of all scores and similarities; asserts that the rankings differ in nothing but ties."""
    assert first.modalities == second.modalities
    assert first.notes == second.notes == []
    scores = [{m.video_id: m for m in result.results} for result in (first, second)]
    assert len(first.results) == len(second.results)
    differences = [0.0]
    for wanted, found in zip(first.results, second.results):
        differences.append(abs(wanted.likeness - found.likeness))
        if wanted.video_id != found.video_id:  # they must share a score, then
            assert wanted.likeness == pytest.approx(found.likeness, abs=1e-6)
    for video_id in scores[0].keys() & scores[1].keys():
        wanted, found = (by_id[video_id] for by_id in scores)
        assert wanted.modalities.keys() == found.modalities.keys()
        for modality, match in wanted.modalities.items():
            other = found.modalities[modality]
            differences.append(abs(match.similarity - other.similarity))
            assert (match.start_s, match.end_s) == (other.start_s, other.end_s)
    return max(differences)


@pytest.fixture(scope="module", params=TARGETS)
def filled(request, tmp_path_factory, embedded_place) -> Place:
    if request.param == "lite":
        return embedded_place
    place = empty_place(request.param, tmp_path_factory.mktemp("filled"), request)
    fill(place)
    return place


@pytest.mark.parametrize("filled", TARGETS[1:], indirect=True)
def test_fifty_queries_rank_the_same_everywhere(filled, expected, request):
    answers = ask(filled)
    differences = [largest_difference(*pair) for pair in zip(expected, answers, strict=True)]
    print(
        f"\n{request.node.name}: {len(answers)} queries, largest difference {max(differences):.2g}"
    )
    assert len(answers) == 50
    assert all(len(answer.results) == 10 for answer in answers)
    assert max(differences) < 1e-4


def test_rows_are_searched_and_fetched_the_same_everywhere(filled):
    with open_store(filled, writing=True) as store:
        for name in NAMES:
            backbone = BACKBONES[name]
            level = levels(backbone)[-1]
            rows, vectors = store.fetch(backbone, equals("label", "snow"), level)
            assert {r.video_id for r in rows} == {
                v.video.video_id for v in VIDEOS if v.video.label == "snow" and v.row_counts()[name]
            }
            everything, stored = store.fetch(backbone, 'library in ["lib", "old"]', level)
            (hits,) = store.search(backbone, to_query(backbone, vectors[:1]), 20)
            exact = stored @ vectors[0]
            assert [h.score for h in hits] == pytest.approx(sorted(exact)[:-21:-1], abs=1e-5)
            assert hits[0].id == rows[0].id
            assert len(everything) == store.count(backbone, "", level)


def test_what_is_removed_or_written_again_is_so_everywhere(target_place):
    videos = VIDEOS[:20]
    fill(target_place, videos)
    ids = {
        library: [v.video.video_id for v in videos if v.video.library == library]
        for library in ("lib", "old")
    }
    remove_all(target_place, {"lib": ids["lib"][:7]})
    with open_store(target_place) as store:
        for name in NAMES:
            gone = is_in("video_id", ids["lib"][:7])
            assert store.count(BACKBONES[name], gone, strong=True) == 0
    assert in_step(target_place, "lib")

    before = in_step(target_place, "old")
    with open_store(target_place, writing=True) as store:
        store.delete_library(BACKBONES["i3d"], "old")
    report = reindex_all(target_place, ["old"], QUIET)
    assert {c.backbone for c in report.comparisons if c.missing} == {"i3d"}
    assert report.notes == []
    assert in_step(target_place, "old") == before

    remove_all(target_place, {"old": ids["old"]})
    with open_store(target_place, writing=True) as store:
        assert store.count(BACKBONES["i3d"], equals("library", "old")) == 0
        assert store.count(BACKBONES["i3d"]) > 0


def test_files_come_change_and_go_the_same_everywhere(target_place, tmp_path, monkeypatch):
    monkeypatch.setattr(pipeline, "embed_all", pretend)
    texts = {f"snow/{i}.mp4": f"text {i}" for i in range(6)}
    folder = write_files(tmp_path / "lib", texts)
    modalities = ("color", "frame", "audio", "motion")
    assert ingest_files(folder, target_place, *modalities).embedded == 6
    held = in_step(target_place)
    assert ingest_files(folder, target_place, *modalities).unchanged == 6

    write_files(folder, {"snow/0.mp4": "another text", "snow/6.mp4": "text 6"})
    (folder / "snow" / "1.mp4").unlink()
    report = ingest_files(folder, target_place, *modalities, prune=True)
    assert (report.embedded, report.removed, report.notes) == (2, 1, [])
    assert in_step(target_place) == held
