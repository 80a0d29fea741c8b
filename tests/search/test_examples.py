"""Several examples, and what results are not to be like."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import replace
from pathlib import Path

import numpy as np
import pytest

from vidsim.ingest.shards.home import Place
from vidsim.ingest.system.progress import Silent
from vidsim.schemas.embedding import EmbeddedVideo, Rows, SegmentEmbedding
from vidsim.schemas.errors import LibraryError, MediaError
from vidsim.schemas.part import Part
from vidsim.schemas.results import QueryResult
from vidsim.schemas.video import Video
from vidsim.search.examples import lowered
from vidsim.search.query import QueryOptions, answer, query
from vidsim.search.search_index import open_index

from ..helpers.embedded_videos import embedded, store

LITE0 = "efficientnet_lite0"


def ask(place: Place, clips: str | Sequence[str], **options) -> QueryResult:
    return query(clips, place, QueryOptions(**options), Silent())


def mixed(video_id: str, parts: dict[int, float]) -> EmbeddedVideo:
    """A video of one segment whose frames are a mixture of those of seeds, by share."""
    made = {seed: embedded(f"x/{seed}", backbones=(LITE0,), seed=seed) for seed in parts}
    rows = [share * made[seed].embeddings[0].rows[LITE0].vectors for seed, share in parts.items()]
    one = next(iter(made.values()))
    old = one.embeddings[0].rows[LITE0]
    vectors = np.sum(rows, axis=0, dtype=np.float32)
    embedding = SegmentEmbedding({LITE0: Rows(vectors, old.start_s, old.end_s)})
    named = replace(one.video, video_id=video_id, library="lib", path=f"/videos/{video_id}")
    return replace(one, video=named, embeddings=(embedding,))


@pytest.fixture
def filled(place: Place) -> Place:
    """Two examples, what is like one of them each, like both, and like something else."""
    store(
        place,
        mixed("lib/a", {1: 1}),
        mixed("lib/b", {2: 1}),
        mixed("lib/like-a", {1: 1, 7: 0.5}),
        mixed("lib/like-b", {2: 1, 8: 0.5}),
        mixed("lib/both", {1: 1, 2: 1, 9: 0.3}),
        *(mixed(f"lib/{n}", {n: 1}) for n in range(20, 26)),
    )
    return place


def test_moments_are_of_the_example_that_is_most_alike(filled: Place) -> None:
    found = {r.video_id: r for r in ask(filled, ["lib/a", "lib/b"]).results}
    assert {m.example for m in found["lib/like-a"].moments} == {"lib/a"}
    assert {m.example for m in found["lib/like-b"].moments} == {"lib/b"}


def test_what_is_like_all_examples_comes_first(filled: Place) -> None:
    assert ask(filled, "lib/a").results[0].video_id == "lib/like-a"
    result = ask(filled, ["lib/a", "lib/b"])
    assert (result.query, result.examples, result.negatives) == (
        "lib/a, lib/b",
        ["lib/a", "lib/b"],
        [],
    )
    ids = [r.video_id for r in result.results]
    assert ids[0] == "lib/both"
    assert not {"lib/a", "lib/b"} & set(ids)
    shown = ask(filled, ["lib/a", "lib/b"], exclude_self=False)
    assert {"lib/a", "lib/b"} <= {r.video_id for r in shown.results}


def test_an_answer_says_what_each_example_contributes(filled: Place) -> None:
    alone = {
        name: {r.video_id: r.modalities["frame"].similarity for r in ask(filled, name).results}
        for name in ("lib/a", "lib/b")
    }
    for found in ask(filled, ["lib/a", "lib/b"]).results:
        match = found.modalities["frame"]
        assert match.to_examples == pytest.approx(
            {name: alone[name][found.video_id] for name in ("lib/a", "lib/b")}, abs=1e-6
        )
        assert match.similarity == pytest.approx(np.mean([*match.to_examples.values()]))
        assert match.to_negatives == {}


def test_an_example_without_a_modality_does_not_count_in_it(place: Place) -> None:
    both = ("labhist", "yamnet")
    store(place, *(embedded(f"lib/{n}", backbones=both, seed=n) for n in range(6)))
    store(place, embedded("lib/mute", backbones=both, seed=9, silent=True))
    result = ask(place, ["lib/0", "lib/mute"])
    assert result.missing_modalities == []
    for found in result.results:
        assert found.modalities["color"].to_examples.keys() == {"lib/0", "lib/mute"}
        assert found.modalities["audio"].to_examples.keys() == {"lib/0"}


def test_what_is_more_like_a_negative_goes_down(filled: Place) -> None:
    before = {r.video_id: r for r in ask(filled, ["lib/a", "lib/b"]).results}
    result = ask(filled, ["lib/a", "lib/b"], unlike=("lib/like-a",))
    assert result.negatives == ["lib/like-a"]
    after = {r.video_id: r for r in result.results}
    assert after.keys() == before.keys() - {"lib/like-a"}
    for video_id, found in after.items():
        match, was = found.modalities["frame"], before[video_id].modalities["frame"]
        (to_negative,) = match.to_negatives.values()
        expected = was.similarity - max(0.0, to_negative - was.similarity)
        assert match.similarity == pytest.approx(expected, abs=1e-6)
    sibling = mixed("lib/sibling", {1: 1, 7: 0.9})  # more like like-a than like a
    store(filled, sibling)
    assert [r.video_id for r in ask(filled, "lib/a").results[:2]] == ["lib/like-a", "lib/sibling"]
    found = ask(filled, "lib/a", unlike=("lib/like-a",)).results
    assert found[0].video_id == "lib/both"


def test_a_negative_takes_off_what_it_is_nearer_by() -> None:
    assert lowered([0.8], []) == 0.8
    assert lowered([0.6, 0.8], [0.5]) == pytest.approx(0.7), "nearer to the examples"
    assert lowered([0.6, 0.8], [0.5, 0.9]) == pytest.approx(0.5)


def test_times_are_those_of_the_example_that_is_most_similar(place: Place) -> None:
    long = embedded("lib/long", segments=3, seed=1)
    cut = replace(
        embedded("lib/cut", seed=5), segments=long.segments[2:], embeddings=long.embeddings[2:]
    )
    store(place, long, embedded("lib/other", seed=2), cut, embedded("lib/more", seed=3))
    first = ask(place, ["lib/other", "lib/long"]).results[0]
    assert first.video_id == "lib/cut"
    for match in first.modalities.values():
        assert match.to_examples["lib/long"] > match.to_examples["lib/other"]
        assert match.query_start_s >= 20


@pytest.mark.parametrize(
    ("clips", "options", "error", "told"),
    [
        ([], {}, MediaError, "No clip was given; name at least one"),
        (["lib/a"], {"unlike": ("lib/a",)}, MediaError, "lib/a is both an example and a --not;"),
        (["lib/a", "lib/b"], {"part": Part(1.0)}, MediaError, "are of one clip; ask by one"),
        (["lib/a", "lib/none"], {}, LibraryError, "lib/none is neither a file nor the id"),
        (["lib/a"], {"unlike": ("lib/none",)}, LibraryError, "lib/none is neither a file nor"),
    ],
)
def test_what_cannot_be_asked_is_told(
    filled: Place, clips: list[str], options: dict, error: type[Exception], told: str
) -> None:
    with pytest.raises(error, match=told):
        ask(filled, clips, **options)


def test_an_example_that_is_named_twice_counts_once(filled: Place) -> None:
    assert ask(filled, ["lib/a", "lib/a"]) == ask(filled, "lib/a")


def test_a_file_is_one_clip_however_its_path_is_written(
    filled: Place, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.chdir(tmp_path)
    Path("a.mp4").write_bytes(b"clip")
    asked: list[str] = []

    def embed(video: Video, _: object, __: object) -> EmbeddedVideo:
        asked.append(video.path)
        return mixed("query/a.mp4", {1: 1})

    ways = ["a.mp4", "./a.mp4", str(tmp_path / "a.mp4")]
    with open_index(filled) as index:
        result = answer(ways, index, filled, QueryOptions(), Silent(), embed)
        for other in ways[1:]:
            options = QueryOptions(unlike=(other,))
            with pytest.raises(MediaError, match=r"a.mp4 is both an example and a --not"):
                answer("a.mp4", index, filled, options, Silent(), embed)
    assert (result.examples, asked) == (["a.mp4"], [str(tmp_path / "a.mp4")])
