"""From a stored clip to its ranking: proposals, exact scores, evidence, what is left out."""

from __future__ import annotations

import shutil
from dataclasses import replace

import h5py
import numpy as np
import pytest

from vidsim.ingest.milvus.store import open_store
from vidsim.ingest.shards.home import Home, Place, distrust, open_shards
from vidsim.ingest.shards.lock import writing
from vidsim.ingest.shards.shard_files import Shards
from vidsim.ingest.system.progress import Silent
from vidsim.schemas.backbones import BACKBONES
from vidsim.schemas.embedding import EmbeddedVideo, Rows, unit
from vidsim.schemas.errors import (
    LibraryError,
    MediaError,
    ModelError,
    VidsimError,
    WeightsError,
)
from vidsim.schemas.modality import Modality
from vidsim.schemas.results import QueryResult
from vidsim.search import background as background_module
from vidsim.search.background import background, yardsticks
from vidsim.search.fusion import WEIGHTS, fuse
from vidsim.search.neighbours import propose
from vidsim.search.query import QueryOptions, answer, query
from vidsim.search.report_text import query_notes
from vidsim.search.search_index import MilvusIndex, open_index
from vidsim.search.videos import from_embedded, similarity

from ..helpers.embedded_videos import embedded

LAB, LITE0, YAMNET = (BACKBONES[n] for n in ("labhist", "efficientnet_lite0", "yamnet"))
ALL = ("labhist", "efficientnet_lite0", "yamnet", "i3d")


def keep(place: Place, *videos: EmbeddedVideo, weights: dict[str, str] | None = None) -> None:
    """Puts videos where ingest puts them."""
    shards = open_shards(place.home)
    with open_store(place) as store:
        for library in {v.video.library for v in videos}:
            mine = [v for v in videos if v.video.library == library]
            shards.write(library, mine, weights)
            for name in {n for v in mine for n in v.backbones}:
                store.upsert(BACKBONES[name], mine)
                store.flush(BACKBONES[name])
            Home(place).write_note(library, shards.catalog(library))


def noisy(video: EmbeddedVideo, video_id: str, noise: float, *backbones: str) -> EmbeddedVideo:
    """A copy under another id whose vectors of `backbones` (all by default) are disturbed."""
    random = np.random.default_rng(1)
    embeddings = []
    for part in video.embeddings:
        rows = dict(part.rows)
        for name in backbones or tuple(rows):
            old = rows[name].vectors
            new = old + noise * random.standard_normal(old.shape, np.float32)
            rows[name] = replace(rows[name], vectors=new)
        embeddings.append(replace(part, rows=rows))
    named = replace(video.video, video_id=video_id, path=f"/videos/{video_id}")
    return replace(video, video=named, embeddings=tuple(embeddings))


def ask(place: Place, clip: str, **options) -> QueryResult:
    return query(clip, place, QueryOptions(**options), Silent())


def ask_milvus(place: Place, clip: str, **options) -> QueryResult:
    """Asks a Milvus for what an embedded home answers from its shards.

    It is Lite here, which holds no single rows of frames and sound; a server that lacks them says
    so.
    """
    with open_store(place) as store:
        found = answer(clip, MilvusIndex(store, place), place, QueryOptions(**options), Silent())
    notes = [note for note in found.notes if "which were read from the shards" not in note]
    return found.model_copy(update={"notes": notes})


@pytest.fixture(scope="module")
def filled_home(tmp_path_factory):
    home = tmp_path_factory.mktemp("filled")
    videos = [embedded(f"lib/{i:02}.mp4", backbones=ALL, seed=i, segments=2) for i in range(12)]
    keep(Place(home), *videos, noisy(videos[0], "lib/copy.mp4", 0.5))
    return home


@pytest.fixture
def filled(place, filled_home):
    """A library of 12 unlike videos and a disturbed copy of the first, with all modalities."""
    shutil.copytree(filled_home, place.home)
    return place


def test_a_copy_comes_first_and_every_modality_says_so(filled):
    result = ask(filled, "lib/00.mp4", k=5)
    first = result.results[0]
    assert (result.query, first.video_id, first.path) == (
        "lib/00.mp4",
        "lib/copy.mp4",
        "/videos/lib/copy.mp4",
    )
    assert result.modalities == list(first.modalities) == ["color", "frame", "audio", "motion"]
    assert [r.rank for r in result.results] == [1, 2, 3, 4, 5]
    assert {m.rank for m in first.modalities.values()} == {1}
    assert sum(m.share for m in first.modalities.values()) == pytest.approx(1)
    alike = [r.likeness for r in result.results]
    assert alike == sorted(alike, reverse=True)
    assert first.word in ("same footage", "very alike")
    assert not result.nothing_alike


def test_where_the_best_is_chance_nothing_is_alike(filled):
    result = ask(filled, "lib/00.mp4", expression='video_id != "lib/copy.mp4"')
    assert result.nothing_alike
    assert 0 < result.results[0].likeness == result.best_likeness < result.chance
    assert "Nothing here is much like it: below 0.60 likeness is chance." in query_notes(result)


def test_the_likeness_is_the_fusion_of_exact_similarities_over_all_candidates(filled):
    shards = open_shards(filled.home)
    videos = {v.video.video_id: v for v in shards.read(list(shards.catalog("lib").values()))}
    backbones = [BACKBONES[n] for n in ALL]
    similarities = {
        b.modality: {
            i: similarity(b, from_embedded(b, videos["lib/00.mp4"]), from_embedded(b, v))
            for i, v in videos.items()
            if i != "lib/00.mp4"
        }
        for b in backbones
    }
    measured = yardsticks(filled.home, ["lib"], {b.modality: b for b in backbones})
    expected = fuse("calibrated", similarities, measured, WEIGHTS["calibrated"])
    found = {r.video_id: r for r in ask(filled, "lib/00.mp4", k=100).results}
    assert list(found) == list(expected)
    for video_id, fused in expected.items():
        assert found[video_id].likeness == pytest.approx(fused.likeness, rel=1e-4)
        assert found[video_id].relative_score == pytest.approx(fused.relative, rel=1e-4)


def test_a_stored_video_does_not_find_itself_unless_asked_to(filled):
    assert "lib/03.mp4" not in [r.video_id for r in ask(filled, "lib/03.mp4", k=100).results]
    first = ask(filled, "lib/03.mp4", exclude_self=False).results[0]
    assert first.video_id == "lib/03.mp4"
    assert first.modalities["frame"].similarity == pytest.approx(1, abs=1e-5)


def test_libraries_of_different_weights_are_told(place):
    for library, digest in (("new", "b" * 64), ("old", "a" * 64)):
        videos = [embedded(f"{library}/{i}.mp4", backbones=(LITE0.name,)) for i in range(2)]
        keep(place, *videos, weights={LITE0.name: digest})
    (note,) = ask(place, "old/0.mp4").notes
    assert note.startswith("new and old were not embedded with the same weights of efficientnet")
    assert ask(place, "old/0.mp4", libraries=("old",)).notes == []


def test_a_new_clip_is_not_compared_with_rows_of_other_weights(
    weights, place, make_clip, monkeypatch
):
    keep(place, *(embedded(f"lib/{i}.mp4", backbones=(LITE0.name,), seed=i) for i in range(3)))
    old = [embedded(f"old/{i}.mp4", backbones=(LITE0.name,), seed=i) for i in range(3)]
    keep(place, *old, weights={LITE0.name: "a" * 64})
    ask(place, "old/0.mp4", libraries=("old",))  # measures the background, from the shards
    clip = str(make_clip(times=[0, 0.2]))

    def compute(*_):
        raise MediaError("computed")

    monkeypatch.setattr("vidsim.ingest.extract.embed._run", compute)
    # What is compared is beside the shards: they are not gone through.
    monkeypatch.setattr(Shards, "catalog", lambda *_: pytest.fail("went through the shards"))
    assert ask(place, "old/0.mp4", libraries=("old",)).results
    for libraries in ((), ("old",)):
        with pytest.raises(WeightsError, match=r"in old were .* other weights .*--library"):
            ask(place, clip, libraries=libraries)
    with pytest.raises(MediaError, match="computed"):
        ask(place, clip, libraries=("lib",))


def test_evidence_says_where_in_both(place):
    long = embedded("lib/long.mp4", segments=4, seed=1)
    others = [embedded(f"lib/{i}.mp4", segments=4, seed=10 + i) for i in range(3)]
    # The clip is the third segment of the long video, 20 to 30 s, on a clock of its own.
    third = long.embeddings[2]
    rows = {
        name: Rows(r.vectors, r.start_s - np.float32(20), r.end_s - np.float32(20))
        for name, r in third.rows.items()
    }
    clip = replace(
        embedded("clips/clip.mp4"),
        embeddings=(replace(third, rows=rows),),
    )
    keep(place, long, *others, clip)
    first = ask(place, "clips/clip.mp4", libraries=("lib",)).results[0]
    assert first.video_id == "lib/long.mp4"
    for match in first.modalities.values():
        assert match.similarity == pytest.approx(1, abs=1e-5)
        assert (match.query_start_s, match.query_end_s) == pytest.approx((0, 10))
        assert (match.start_s, match.end_s) == pytest.approx((20, 30))


def test_silence_is_missing_and_does_not_count_against_anything(place):
    heard = embedded("lib/heard.mp4", backbones=ALL, seed=1)
    silent = embedded("lib/silent.mp4", backbones=ALL, seed=2, silent=True)
    copy = noisy(silent, "lib/copy.mp4", 0.3)
    keep(place, heard, silent, copy, embedded("lib/other.mp4", backbones=ALL, seed=3))
    result = ask(place, "lib/silent.mp4")
    assert result.missing_modalities == ["audio"]
    assert "audio" not in result.modalities
    assert result.results[0].video_id == "lib/copy.mp4"
    answer = {r.video_id: set(r.modalities) for r in ask(place, "lib/heard.mp4").results}
    assert "audio" not in answer["lib/copy.mp4"]
    assert "audio" in answer["lib/other.mp4"]
    with pytest.raises(MediaError, match="has nothing to be compared by: no audio; ask for other"):
        ask(place, "lib/silent.mp4", modalities=(Modality.AUDIO,))


def test_a_candidate_of_one_modality_is_compared_in_the_others(place):
    videos = [embedded(f"lib/{i:03}.mp4", backbones=("labhist", "i3d"), seed=i) for i in range(80)]
    # Nearest by colour of all, and by motion outside of the 50 that motion proposes.
    odd = noisy(videos[0], "lib/odd.mp4", 0.01, "labhist")
    (part,) = odd.embeddings
    away = replace(part.rows["i3d"], vectors=-part.rows["i3d"].vectors)
    odd = replace(odd, embeddings=(replace(part, rows={**part.rows, "i3d": away}),))
    keep(place, *videos, odd)
    with open_index(place) as index:
        i3d = BACKBONES["i3d"]
        vectors = from_embedded(i3d, videos[0])
        assert vectors is not None
        assert "lib/odd.mp4" not in propose(index, i3d, vectors, 50)
    found = {r.video_id: r for r in ask(place, "lib/000.mp4", k=100).results}
    match = found["lib/odd.mp4"].modalities["motion"]
    assert match.similarity == pytest.approx(-1, abs=1e-5)
    assert match.rank == len(found)


def test_rows_of_one_video_do_not_crowd_out_the_others(place):
    crowd = embedded("lib/crowd.mp4", segments=40, seed=1)
    same = crowd.embeddings[0].rows["efficientnet_lite0"].vectors
    crowd = replace(
        crowd,
        embeddings=tuple(
            replace(
                part,
                rows={
                    **part.rows,
                    "efficientnet_lite0": replace(
                        part.rows["efficientnet_lite0"], vectors=same.copy()
                    ),
                },
            )
            for part in crowd.embeddings
        ),
    )
    keep(place, crowd, *(embedded(f"lib/{i}.mp4", seed=9 + i) for i in range(6)))
    vectors = from_embedded(LITE0, crowd)
    assert vectors is not None
    one = replace(vectors, means=vectors.means[:1])
    with open_index(place) as index:
        found = propose(index, LITE0, one, 5)
    assert found[0] == "lib/crowd.mp4"
    assert len(found) == len(set(found)) == 5


def test_filters_and_libraries_narrow_the_search(filled):
    keep(filled, embedded("other/x.mp4", backbones=ALL, seed=77, label="rain"))
    ids = [r.video_id for r in ask(filled, "lib/00.mp4", k=100).results]
    assert "other/x.mp4" in ids
    assert ask(filled, "lib/00.mp4", libraries=("other",)).results[0].video_id == "other/x.mp4"
    (only,) = ask(filled, "lib/00.mp4", expression='label == "rain"').results
    assert (only.video_id, only.label) == ("other/x.mp4", "rain")
    with pytest.raises(LibraryError, match="No library is called nowhere; there is lib, other"):
        ask(filled, "lib/00.mp4", libraries=("nowhere",))
    with pytest.raises(ModelError, match="is not understood"):
        ask(filled, "lib/00.mp4", expression="label ==")


def test_weights_decide_between_modalities(place):
    clip = embedded("lib/clip.mp4", seed=1)
    by_color = noisy(embedded("x/x.mp4", seed=2), "lib/color.mp4", 0)
    by_color = replace(
        by_color,
        embeddings=(
            replace(
                by_color.embeddings[0],
                rows={
                    **by_color.embeddings[0].rows,
                    "labhist": clip.embeddings[0].rows["labhist"],
                },
            ),
        ),
    )
    by_frame = replace(
        by_color,
        video=replace(by_color.video, video_id="lib/frame.mp4"),
        embeddings=(
            replace(
                by_color.embeddings[0],
                rows={
                    "labhist": embedded("x/y.mp4", seed=3).embeddings[0].rows["labhist"],
                    "efficientnet_lite0": clip.embeddings[0].rows["efficientnet_lite0"],
                },
            ),
        ),
    )
    keep(place, clip, by_color, by_frame)
    for fusion in ("calibrated", "rrf"):
        for weights, first in (("color=9", "lib/color.mp4"), ("frame=9", "lib/frame.mp4")):
            result = ask(place, "lib/clip.mp4", fusion=fusion, weights=weights)
            assert (result.fusion, result.results[0].video_id) == (fusion, first)


def test_what_is_not_stored_is_named(filled, tmp_path):
    with pytest.raises(ModelError, match="Nothing is stored as color=vid2img, only color=labhist"):
        ask(filled, "lib/00.mp4", overrides=("color=vid2img",))
    asked = {"preset": "classic", "modalities": (Modality.COLOR, Modality.AUDIO)}
    with pytest.raises(ModelError, match="Nothing is stored as color=vid2img"):
        ask(filled, "lib/00.mp4", **asked)
    with pytest.raises(ModelError, match="Nothing is stored as audio=vggish, only audio=yamnet"):
        ask(filled, "lib/00.mp4", **asked, overrides=("color=labhist",))
    with pytest.raises(LibraryError, match="neither a file nor the id of a stored video"):
        ask(filled, "lib/nowhere.mp4")
    with pytest.raises(LibraryError, match="Nothing is stored yet; run 'vidsim ingest FOLDER'"):
        ask(Place(tmp_path / "empty"), "lib/00.mp4")
    shutil.rmtree(filled.home / "milvus.db")
    with pytest.raises(LibraryError, match="This Milvus holds nothing .*; run 'vidsim reindex'"):
        ask_milvus(filled, "lib/00.mp4")


def test_a_clip_is_compared_by_the_backbone_that_its_library_has(filled):
    keep(filled, *(embedded(f"sounds/{i}", backbones=("vggish",), seed=i) for i in range(3)))
    result = ask(filled, "sounds/0")
    assert result.modalities == ["audio"]
    assert {r.video_id for r in result.results} == {"sounds/1", "sounds/2"}
    assert "sounds/1" not in [r.video_id for r in ask(filled, "lib/00.mp4", k=100).results]
    with pytest.raises(MediaError, match="no audio"):
        ask(filled, "sounds/0", overrides=("audio=yamnet",))


def test_what_milvus_lost_is_told(filled):
    with open_store(filled) as store:
        store.delete(YAMNET, ["lib/05.mp4"])
    (note,) = ask_milvus(filled, "lib/00.mp4").notes
    assert note == (
        "Milvus holds 24 segments of yamnet where the shards hold 26; 'vidsim reindex' repairs "
        "this."
    )


def test_what_a_milvus_has_no_collection_of_is_no_fact_about_the_clip(filled):
    with open_store(filled, writing=True) as store:
        store.drop(YAMNET)
    result = ask_milvus(filled, "lib/00.mp4")
    assert "audio" in result.modalities
    assert result.missing_modalities == []
    assert any("Milvus holds 0 segments of yamnet where" in note for note in result.notes)
    (note,) = ask_milvus(filled, "lib/00.mp4", modalities=(Modality.AUDIO,)).notes
    assert "Milvus holds 0 segments of yamnet where" in note


def test_what_may_be_outdated_is_told_though_all_counts_agree(filled):
    distrust(filled.home, "lib", "embedded")
    (note,) = ask_milvus(filled, "lib/00.mp4").notes
    assert note == "Milvus may hold outdated rows of lib; 'vidsim reindex' repairs this."


def test_an_embedded_home_answers_as_milvus_does_and_without_it(filled):
    before = ask(filled, "lib/00.mp4")
    milvus = ask_milvus(filled, "lib/00.mp4")
    assert [r.video_id for r in milvus.results] == [r.video_id for r in before.results]
    scores = [(a.likeness, b.likeness) for a, b in zip(milvus.results, before.results, strict=True)]
    assert all(a == pytest.approx(b, abs=1e-5) for a, b in scores)
    shutil.rmtree(filled.home / "milvus.db")
    assert ask(filled, "lib/00.mp4") == before
    assert not (filled.home / "milvus.db").exists()


def test_the_background_is_that_of_the_librarys_own_pairs(filled):
    shards = open_shards(filled.home)
    read = list(shards.read(list(shards.catalog("lib").values()), ["labhist"]))
    means = [unit(from_embedded(LAB, v).means) for v in read]
    values = [(means[i] @ means[j].T).max(1).mean() for i in range(len(means)) for j in range(i)]
    own, prior, count = np.array(values), background(filled.home, [], [LAB])["labhist"], 20
    total = count + len(own)
    mean = (count * prior.mean + own.sum()) / total
    square = (count * (prior.deviation**2 + prior.mean**2) + (own**2).sum()) / total
    found = background(filled.home, ["lib"], [LAB])["labhist"]
    assert (found.mean, found.deviation) == pytest.approx(
        (mean, np.sqrt(square - mean**2)), rel=1e-4
    )


def test_the_background_is_measured_anew_when_the_library_changes(filled):
    before = background(filled.home, ["lib"], [LAB])["labhist"]
    assert background(filled.home, ["lib"], [LAB])["labhist"] == before
    copies = embedded("lib/same.mp4", backbones=ALL, seed=0, segments=2)
    keep(filled, *(noisy(copies, f"lib/same{i}.mp4", 0.01) for i in range(9)))
    after = background(filled.home, ["lib"], [LAB])["labhist"]
    assert after.mean > before.mean + 0.05


def test_a_background_that_cannot_be_measured_is_told(filled):
    shards = open_shards(filled.home)
    shutil.rmtree(filled.home / "background", ignore_errors=True)
    (path,) = shards.files("lib")
    with h5py.File(path) as file:
        at = file["rows/i3d/vectors"].id.get_chunk_info(0).byte_offset
    content = bytearray(path.read_bytes())
    content[at + 8] ^= 1
    path.write_bytes(content)
    (told,) = ask(filled, "lib/00.mp4", modalities=(Modality.COLOR,)).notes
    assert "the similarity of random pairs of lib cannot be measured" in told
    assert "is damaged" in told


@pytest.mark.parametrize("modality", [Modality.FRAME, Modality.AUDIO])
def test_what_a_lost_shard_held_is_no_fact_about_the_clip(place, modality):
    """Sound is stored of another video too, pictures of none."""
    keep(place, embedded("lib/a.mp4", backbones=("labhist",)))
    others = embedded("lib/b.mp4", backbones=("labhist", "yamnet"), seed=1)
    keep(place, embedded("lib/a.mp4", backbones=("efficientnet_lite0", "yamnet")), others)
    lost = open_shards(place.home).files("lib")[1]
    keep(place, embedded("lib/c.mp4", backbones=("labhist", "yamnet"), seed=2))
    lost.unlink()
    with pytest.raises(VidsimError, match=r"may be among what is lost: .*000002\.h5 is missing"):
        ask(place, "lib/a.mp4", modalities=(modality,))


def test_what_a_file_lacks_is_its_own_whatever_is_lost(place, tmp_path):
    keep(place, embedded("lib/a.mp4", backbones=ALL))
    keep(place, embedded("lib/b.mp4", backbones=ALL, seed=1))
    open_shards(place.home).files("lib")[1].unlink()
    (tmp_path / "mute.mp4").write_bytes(b"clip")
    mute = embedded("query/mute.mp4", backbones=("yamnet",), silent=True)
    asked = QueryOptions(modalities=(Modality.AUDIO,))
    with open_index(place) as index, pytest.raises(MediaError, match="no audio") as caught:
        answer(str(tmp_path / "mute.mp4"), index, place, asked, Silent(), lambda *_: mute)
    assert "lost" not in str(caught.value)


def test_advice_is_not_hidden_by_who_is_writing(filled):
    told = pytest.raises(ModelError, match="ingest again with --model audio=vggish")
    with writing(filled.home, "ingest of lib"), told as caught:
        ask(filled, "lib/00.mp4", overrides=("audio=vggish",))
    assert "writing" not in str(caught.value)


def test_the_background_is_that_of_one_moment_while_a_writer_removes_shards(filled, monkeypatch):
    intact = background(filled.home, ["lib"], [LAB])
    shutil.rmtree(filled.home / "background")
    real = background_module.spread

    def spread(videos):
        shutil.rmtree(filled.home / "shards" / "lib", ignore_errors=True)
        return real(videos)

    monkeypatch.setattr(background_module, "spread", spread)
    assert background(filled.home, ["lib"], [LAB]) == intact
