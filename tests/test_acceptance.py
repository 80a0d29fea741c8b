"""What vidsim promises on real footage; minutes long, run by ``make acceptance``.

Each test prints the figures it judges by.
"""

from __future__ import annotations

import json
import os
import random
import subprocess
import time
from collections import Counter
from collections.abc import Sequence
from contextlib import suppress
from pathlib import Path

import numpy as np
import pytest

from vidsim.ingest.discover.videos import describe, find_media
from vidsim.ingest.extract.embed import EmbedOptions, embed_all
from vidsim.ingest.milvus.filters import is_in
from vidsim.ingest.milvus.store import open_store
from vidsim.ingest.pipeline import ingest
from vidsim.ingest.shards.home import Place, open_shards
from vidsim.ingest.system.progress import Silent
from vidsim.schemas.backbones import BACKBONES
from vidsim.schemas.errors import MediaError
from vidsim.schemas.modality import Modality
from vidsim.schemas.presets import choose_backbones
from vidsim.schemas.results import IngestReport, QueryResult
from vidsim.schemas.video import row_id
from vidsim.search.demo import disguise
from vidsim.search.query import QueryOptions, query

from .helpers.command_line import command, environment_of

pytestmark = pytest.mark.acceptance

QUIET = Silent()
ALL = tuple(Modality)


def run(home: Path, *words: str) -> tuple[str, str, float]:
    """Runs the command line; gives stdout, stderr and seconds."""
    began = time.monotonic()
    done = subprocess.run(
        command(*words),
        env=environment_of(Place(home)),
        capture_output=True,
        text=True,
    )
    assert done.returncode == 0, done.stderr
    return done.stdout, done.stderr, time.monotonic() - began


@pytest.fixture(scope="module")
def home(tmp_path_factory, shared_data):
    """A home that holds capstone70 and av_segments, undisturbed."""
    home = tmp_path_factory.mktemp("home")
    for name in ("capstone70", "av_segments"):
        _, _, seconds = run(home, "ingest", str(shared_data / name), "--json")
        print(f"\n{name} ingested in {seconds:.0f} s")
    return home


@pytest.fixture(scope="module")
def place(home):
    return Place(home)


def stored_ids(home: Path, library: str) -> list[str]:
    return sorted(open_shards(home).catalog(library))


def label_of(video_id: str) -> str:
    return video_id.split("/")[-2]


def test_capstone70_is_ingested_whole_and_only_once(home, shared_data):
    again, _, seconds = run(home, "ingest", str(shared_data / "capstone70"), "--json")
    report = IngestReport.model_validate_json(again)
    print(f"\n{again}repeated in {seconds:.2f} s")
    assert (report.videos, report.unchanged, report.embedded, report.failed) == (70, 70, 0, [])
    assert report.rows["color"] == report.rows["motion"] == report.segments
    assert report.rows["frame"] == 8 * report.segments
    catalog = open_shards(home).catalog("capstone70")
    assert [i for i, e in catalog.items() if e.rows["yamnet"]] == ["capstone70/snow/6.mp4"]
    assert report.no_audio == 69


# --- leave one video out


def ranking(place: Place, video_id: str, modalities: Sequence[Modality]) -> list[str]:
    """Ids of the whole library, most alike first."""
    options = QueryOptions(
        modalities=tuple(modalities), k=1000, libraries=(video_id.split("/")[0],)
    )
    return [r.video_id for r in query(video_id, place, options, QUIET).results]


def average_precision(ranked: Sequence[str], label: str, relevant: int) -> float:
    """Mean of the precisions at each relevant result; those not ranked count as 0."""
    hits = np.array([label_of(i) == label for i in ranked])
    precision = np.cumsum(hits) / np.arange(1, len(hits) + 1)
    return float(precision[hits].sum() / relevant)


def leave_one_out(place: Place, library: str, modalities: Sequence[Modality]) -> tuple[int, float]:
    """Correct nearest neighbours and mean average precision over the library's videos.

    Videos that lack the one modality asked for are no queries.
    """
    ids = stored_ids(place.home, library)
    if len(modalities) == 1:
        name = choose_backbones(modalities)[modalities[0]].name
        catalog = open_shards(place.home).catalog(library)
        ids = [i for i in ids if catalog[i].rows[name]]
    sizes = Counter(map(label_of, stored_ids(place.home, library)))
    first, precisions = 0, []
    for video_id in ids:
        ranked = ranking(place, video_id, modalities)
        label = label_of(video_id)
        first += bool(ranked) and label_of(ranked[0]) == label
        precisions.append(average_precision(ranked, label, sizes[label] - 1))
    return first, float(np.mean(precisions))


@pytest.mark.parametrize(
    ("library", "singles"),
    [
        ("capstone70", (Modality.COLOR, Modality.FRAME, Modality.MOTION)),
        ("av_segments", ALL),
    ],
)
def test_fusion_is_no_worse_than_the_best_modality(place, library, singles):
    found = {m: leave_one_out(place, library, (m,)) for m in singles}
    fused = leave_one_out(place, library, ALL)
    total = len(stored_ids(place.home, library))
    print(f"\n{library} ({total} queries)   1-NN    mAP")
    for name, (first, precision) in {**found, "fused": fused}.items():
        print(f"{name!s:<24} {first / total:.3f}  {precision:.3f}")
    assert fused[0] >= max(first for first, _ in found.values()) - 1
    assert fused[1] > found[Modality.FRAME][1] - 0.005  # a third of the interval of 70 queries


# --- copies and cuttings


def ingest_beside(place: Place, folder: Path) -> None:
    """Ingests clips as a library of their own: queries by id, with the networks loaded once."""
    report = ingest(folder, place, EmbedOptions(choose_backbones(ALL)), QUIET)
    assert report.failed == []


def test_a_disguised_copy_finds_its_original(place, home, tmp_path):
    copies = tmp_path / "copies"
    originals = {}
    for library in ("capstone70", "av_segments"):
        catalog = open_shards(home).catalog(library)
        for number, video_id in enumerate(random.Random(2019).sample(sorted(catalog), 20)):
            copy = copies / library / f"{number}.mp4"
            copy.parent.mkdir(parents=True, exist_ok=True)
            disguise(Path(catalog[video_id].video.path), copy)
            originals[f"copies/{library}/{number}.mp4"] = video_id
    ingest_beside(place, copies)
    right: Counter[str] = Counter()
    options = QueryOptions(k=2, libraries=("capstone70", "av_segments"))
    for copy_id, video_id in originals.items():
        found = [r.video_id for r in query(copy_id, place, options, QUIET).results]
        right[label_of(copy_id)] += found[0] == video_id
        if found[0] != video_id:
            print(f"\n{video_id}: {found}")
    print(f"\ncopies found at rank 1: {dict(right)} of 20 each")
    assert right.total() >= 0.95 * len(originals)


def test_a_cutting_finds_its_video_and_place(place, home, tmp_path):
    catalog = open_shards(home).catalog("capstone70")
    long = sorted(i for i, e in catalog.items() if e.duration_s > 20)
    cuttings = tmp_path / "cuttings"
    cuttings.mkdir()
    originals = {}
    for number, video_id in enumerate(random.Random(2019).sample(long, 10)):
        entry = catalog[video_id]
        disguise(
            Path(entry.video.path),
            cuttings / f"{number}.mp4",
            crop=0,
            trim=1 - 5 / entry.duration_s,
            bit_rate=800_000,
        )
        originals[f"cuttings/{number}.mp4"] = video_id
    ingest_beside(place, cuttings)
    videos = places = 0
    options = QueryOptions(k=1, libraries=("capstone70", "av_segments"))
    for clip_id, video_id in originals.items():
        (first,) = query(clip_id, place, options, QUIET).results
        # Frames are the finest rows: the moment of the video that looks like that of the clip.
        at = first.modalities["frame"]
        begin, cut = at.start_s - at.query_start_s, catalog[video_id].duration_s / 2 - 2.5
        print(f"\n{video_id} cut at {cut:.1f}: {first.video_id} at {begin:.1f}")
        videos += first.video_id == video_id
        places += first.video_id == video_id and abs(begin - cut) <= 5
    print(f"\nvideos found: {videos} of 10, places: {places} of 10")
    assert videos >= 9
    assert places >= 8


def test_a_query_by_two_modalities_prints_what_the_schema_says(home, shared_data):
    clip = next((shared_data / "av_segments").rglob("*.mp4"))
    out, _, seconds = run(home, "query", str(clip), "-m", "color,audio", "--k", "5", "--json")
    result = QueryResult.model_validate_json(out)
    print(f"\nnew clip in {seconds:.2f} s")
    assert result.modalities == ["color", "audio"]
    assert [r.rank for r in result.results] == [1, 2, 3, 4, 5]
    assert result.results[0].video_id.endswith(clip.name)
    assert all(set(r.modalities) <= {"color", "audio"} for r in result.results)
    _, _, seconds = run(home, "query", result.results[0].video_id, "--json")
    print(f"stored video in {seconds:.2f} s")


# --- what goes wrong


def test_every_odd_file_ends_in_rows_or_in_one_sentence(tmp_path, shared_data):
    home = tmp_path / "home"
    out, _, seconds = run(home, "ingest", str(shared_data / "robustness"), "--json")
    report = IngestReport.model_validate_json(out)
    files = report.videos + len(report.failed)
    print(f"\n{files} files in {seconds:.0f} s, {len(report.failed)} in a sentence:")
    for failed in report.failed:
        print(f"  {Path(failed.path).name}: {failed.reason}")
        assert failed.reason.strip() == failed.reason
        assert "\n" not in failed.reason
        assert failed.reason.endswith(".")
    kept = open_shards(home).catalog("robustness").values()
    assert all(sum(entry.rows.values()) for entry in kept)


def test_no_odd_file_takes_more_than_30_seconds(shared_data):
    folder = shared_data / "robustness"
    videos = []
    for path in find_media(folder):
        with suppress(MediaError):  # an empty file, refused at once
            videos.append(describe(path, folder, "robustness"))
    # One decoder, so that what a file takes is the time since the one before.
    options = EmbedOptions(choose_backbones([Modality.COLOR]), workers=1)
    slowest, before = (0.0, ""), time.monotonic()
    for result in embed_all(videos, options, QUIET):
        now = time.monotonic()
        slowest, before = max(slowest, (now - before, result.video.path)), now
    print(f"\nslowest of {len(videos)}: {Path(slowest[1]).name}, {slowest[0]:.1f} s")
    assert slowest[0] < 30


def all_row_ids(home: Path, library: str) -> Counter[str]:
    """Row ids in Milvus, by backbone as a prefix."""
    found: Counter[str] = Counter()
    with open_store(Place(home)) as store:
        for backbone in store.backbones():
            rows, _ = store.fetch(backbone, is_in("library", [library]))
            found.update(f"{backbone.name} {row.id}" for row in rows)
    return found


def shard_row_ids(home: Path, library: str) -> Counter[str]:
    """Row ids that the shards hold, by backbone as a prefix."""
    shards = open_shards(home)
    found: Counter[str] = Counter()
    for video in shards.read(list(shards.catalog(library).values())):
        for segment, embedding in zip(video.segments, video.embeddings, strict=True):
            for name, rows in embedding.rows.items():
                for i in range(len(rows.vectors)):
                    found[f"{name} {row_id(video.video.video_id, segment.index, i)}"] += 1
    return found


def test_an_ingest_killed_five_times_is_as_good_as_an_undisturbed_one(home, tmp_path, shared_data):
    killed = tmp_path / "home"
    dice = random.Random()
    words = ["ingest", str(shared_data / "capstone70"), "--json"]
    for _ in range(5):
        process = subprocess.Popen(
            command(*words),
            env=os.environ | {"VIDSIM_HOME": str(killed)},
            stdout=subprocess.DEVNULL,
            stderr=subprocess.DEVNULL,
        )
        try:
            process.wait(dice.uniform(3, 45))
        except subprocess.TimeoutExpired:
            process.kill()
        process.wait()
        done = len(open_shards(killed).catalog("capstone70")) if killed.exists() else 0
        print(f"\nkilled with {done} videos in shards")
    out, _, _ = run(killed, *words)
    undisturbed, _, _ = run(home, *words)
    rows = json.loads(out)["rows"]
    print(f"\n{rows}")
    assert rows == json.loads(undisturbed)["rows"]
    expected = all_row_ids(home, "capstone70")
    assert all_row_ids(killed, "capstone70") == expected == shard_row_ids(killed, "capstone70")
    assert max(expected.values()) == 1
    assert {name.split()[0] for name in expected} <= set(BACKBONES)
