"""Measures whether the likeness of a pair depends on what else is stored.

    python docs/measure_pairs.py WORK VIDEOS --pairs 20

Ten videos of a folder are embedded into a home under WORK; the pairs are drawn among them. Then
synthetic videos (those of ``vidsim bench query``) come, to 100, 1,000 and 13,320 in all. At each
size all libraries are searched; at last the ten alone, and by a filter that leaves one video.
"""

from __future__ import annotations

import argparse
import shutil
from itertools import combinations
from pathlib import Path

import numpy as np

from vidsim import Library
from vidsim.ingest.discover.videos import find_media
from vidsim.ingest.shards.home import Place
from vidsim.ingest.system.progress import Silent
from vidsim.schemas.backbones import choose_backbones
from vidsim.schemas.modality import Modality
from vidsim.search.bench.library import fill

SIZES = (10, 100, 1_000, 13_320)


def main() -> None:
    """Embeds, grows, asks, and prints a table in Markdown."""
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument("work", type=Path)
    parser.add_argument("videos", type=Path)
    parser.add_argument("--pairs", type=int, default=20)
    given = parser.parse_args()
    home, folder = given.work / "home", given.work / "pairs"
    folder.mkdir(parents=True)
    media = sorted(find_media(given.videos))
    for number, path in enumerate(media[:: len(media) // SIZES[0]][: SIZES[0]]):
        shutil.copy(path, folder / f"{number}{path.suffix}")
    with Library.open(home, uri="embedded") as library:
        library.ingest(folder)
        ids = [video.video_id for video in library.videos()]
    drawn = np.random.default_rng(0).permutation([*combinations(ids, 2)])[: given.pairs]
    print("| pair | " + " | ".join(f"{size:,}" for size in SIZES) + " | alone | filtered |")
    print("|---" * (len(SIZES) + 3) + "|")
    table: dict[tuple[str, str], list[float]] = {(str(a), str(b)): [] for a, b in drawn}
    backbones = [*choose_backbones(tuple(Modality)).values()]
    for size in SIZES:
        if size > len(ids):
            fill(Place(home), size - len(ids), backbones, Silent())
        with Library.open(home, uri="embedded") as library:
            for pair, found in table.items():
                found.append(asked(library, pair))
    with Library.open(home, uri="embedded") as library:
        for pair, found in table.items():
            found.append(asked(library, pair, libraries=["pairs"]))
            found.append(asked(library, pair, filter=f'video_id == "{pair[1]}"'))
            names = ", ".join(Path(name).stem for name in pair)
            print(f"| {names} | " + " | ".join(f"{value:.3f}" for value in found) + " |")
    apart = max(max(found) - min(found) for found in table.values())
    print(f"\nLargest difference within a pair: {apart:.2g}")


def asked(library: Library, pair: tuple[str, str], **options: object) -> float:
    """Return the likeness of the second of a pair to the first, among all results."""
    for k in (20, 1_000, 20_000):  # each result costs the time of its moments
        answer = library.query(pair[0], k=k, **options)  # type: ignore[arg-type]
        for each in answer.results:
            if each.video_id == pair[1]:
                return each.likeness
    raise AssertionError(f"{pair[1]} is not among the results")


if __name__ == "__main__":
    main()
