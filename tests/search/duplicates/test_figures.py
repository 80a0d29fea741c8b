"""The figures of docs/duplicates.md: which near-duplicates are listed, and what else is."""

from __future__ import annotations

import re
from collections.abc import Iterable, Mapping, Sequence
from pathlib import Path

import numpy as np
import pytest

from vidsim.ingest import pipeline
from vidsim.ingest.extract.embed import EmbedOptions
from vidsim.ingest.shards.home import Place, open_shards
from vidsim.ingest.system.progress import Silent
from vidsim.schemas.duplicates import DuplicateOptions
from vidsim.schemas.modality import Modality
from vidsim.schemas.presets import choose_backbones
from vidsim.schemas.results import DuplicatePair
from vidsim.search.demo import disguise
from vidsim.search.duplicates.find import find_duplicates

QUIET = Silent()
CUTS = ((0.0, 0.2), (0.06, 0.4), (0.1, 0.2), (0.15, 0.3))
"""Parts of width and height, and of the length, that copies lack; in turn."""

COPIES = 20
COPIES_OF = ("capstone70", "av_segments")
CHOSEN_ON = ("capstone70", "copies_of_capstone70")
HELD_OUT = ("neardup_semi", "av_segments", "copies_of_av_segments", "ucf101_mini")

Pair = frozenset[str]


def ingest(folder: Path, place: Place) -> None:
    options = EmbedOptions(choose_backbones([Modality.FRAME]), workers=2)
    pipeline.ingest(folder, place, options, QUIET)


def write_copies(source: Path, folder: Path) -> dict[str, float]:
    """Writes the copies; returns which part of the original comes before each, by id."""
    before = {}
    clips = sorted(source.rglob("*.mp4"))
    for i, clip in enumerate(clips[:: len(clips) // COPIES][:COPIES]):
        crop, trim = CUTS[i % len(CUTS)]
        target = folder / clip.relative_to(source)
        target.parent.mkdir(parents=True, exist_ok=True)
        disguise(clip, target, crop=crop, trim=trim)
        before[f"{folder.name}/{clip.relative_to(source)}"] = trim / 2
    return before


def origin(video_id: str) -> str:
    """What a video shows: near-duplicates have the same."""
    library, _, name = video_id.removeprefix("copies_of_").partition("/")
    if library == "neardup_semi":  # obama_diferit is the impostor
        return name if "diferit" in name else name.split("/")[0]
    return "christmas" if re.fullmatch(r"christmas/[01]\.mp4", name) else f"{library}/{name}"


def source(video_id: str) -> str:
    """The recording a video is a piece of, as far as its name says."""
    name = origin(video_id)
    piece = re.search(r"v_\w+_g\d+|c576b_video\d+", name)
    return piece[0] if piece else name


def same(ids: Sequence[str]) -> set[Pair]:
    return {frozenset((a, b)) for a in ids for b in ids if a < b and origin(a) == origin(b)}


def listed(
    home: Path, libraries: Sequence[str], options: DuplicateOptions
) -> dict[Pair, DuplicatePair]:
    report = find_duplicates(home, libraries, options, 2, QUIET)
    assert report.failed == []
    return {frozenset((p.first.video_id, p.second.video_id)): p for p in report.pairs}


def start_errors(
    home: Path, pairs: Iterable[DuplicatePair], before: Mapping[str, float]
) -> list[float]:
    """How far off, in seconds, each copy's start within its original is, ascending."""
    errors = []
    for pair in pairs:
        original, copy = pair.first, pair.second  # "copies_of_" comes after both originals
        library, _, name = original.video_id.partition("/")
        if copy.video_id == f"copies_of_{library}/{name}":
            length = open_shards(home).catalog(library)[original.video_id].duration_s
            shift = original.start_s - copy.start_s
            errors.append(abs(shift - before[copy.video_id] * length))
    return sorted(errors)


def video_ids(home: Path, libraries: Sequence[str]) -> list[str]:
    return sorted(i for name in libraries for i in open_shards(home).catalog(name))


@pytest.mark.acceptance
def test_copies_and_near_duplicates_are_listed(place, shared_data, tmp_path):
    before: dict[str, float] = {}
    for name in COPIES_OF:
        before |= write_copies(shared_data / name, tmp_path / f"copies_of_{name}")
    for name in (*CHOSEN_ON, *HELD_OUT):
        folder = tmp_path / name
        ingest(folder if folder.exists() else shared_data / name, place)
    default = DuplicateOptions()
    true = same(video_ids(place.home, CHOSEN_ON))
    print("\n| bits | cosine | listed | precision | recall |\n|---|---|---|---|---|")
    for bits in (6, 10, 14, 16):
        for cosine in (0.0, 0.7, 0.8, 0.9):
            got = listed(place.home, CHOSEN_ON, DuplicateOptions(bits, cosine))
            right = len(got.keys() & true)
            print(
                f"| {bits} | {cosine} | {len(got)} | {right / max(1, len(got)):.2f} "
                f"| {right / len(true):.2f} |"
            )
    chosen = listed(place.home, CHOSEN_ON, default)
    assert chosen.keys() == true

    reported = listed(place.home, HELD_OUT, default)
    got = set(reported)
    true = same(video_ids(place.home, HELD_OUT))
    kinds = {
        "neardup_semi": lambda i: i.startswith("neardup_semi"),
        "av_segments and copies": lambda i: "av_segments" in i,
        "ucf101_mini": lambda i: i.startswith("ucf101_mini"),
    }
    print("\n| held out | pairs | found | same recording | other | precision |")
    print("|---|---|---|---|---|---|")
    for kind, of_kind in kinds.items():
        of = {p for p in got if any(of_kind(i) for i in p)}
        wrong = of - true
        related = {p for p in wrong if len({source(i) for i in p}) == 1}
        print(
            f"| {kind} | {sum(all(map(of_kind, p)) for p in true)} | {len(of & true)} "
            f"| {len(related)} | {len(wrong - related)} | {len(of & true) / max(1, len(of)):.2f} |"
        )
        for pair in sorted(map(sorted, wrong - related)):
            print("   ", *pair)
    errors = start_errors(place.home, [*chosen.values(), *reported.values()], before)
    print(
        f"\nWhere {len(errors)} copies start: {np.median(errors):.2f} s off in the median, "
        f"{sum(e > 0.5 for e in errors)} by more than 0.5 s, at most {errors[-1]:.1f} s."
    )
    assert len(errors) == 2 * COPIES
    assert np.median(errors) < 0.5
    assert true <= got
    assert not any("diferit" in i for p in got for i in p)
