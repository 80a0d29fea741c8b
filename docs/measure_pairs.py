"""Measures whether the likeness of a pair depends on what else is stored.

    python docs/measure_pairs.py WORK VIDEOS

Ten videos of a folder are embedded into a home under WORK; a pair is one of them and one of the
two that are most like it. Then synthetic videos (those of ``vidsim bench query``) come, to 100,
1,000 and 13,320 in all. At each size all libraries are searched; at last the ten alone, and by a
filter that leaves one video.
"""

from __future__ import annotations

import argparse
import math
import shutil
from pathlib import Path

import numpy as np

from vidsim import Library
from vidsim.ingest.discover.videos import find_media
from vidsim.ingest.shards.home import Place
from vidsim.ingest.system.progress import Silent
from vidsim.schemas.modality import Modality
from vidsim.schemas.presets import choose_backbones
from vidsim.search.bench.library import fill

SIZES = (10, 100, 1_000, 13_320)


def main() -> None:
    """Embeds, grows, asks, and prints a table in Markdown."""
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument("work", type=Path)
    parser.add_argument("videos", type=Path)
    given = parser.parse_args()
    home, folder = given.work / "home", given.work / "pairs"
    folder.mkdir(parents=True)
    media = sorted(find_media(given.videos))
    for number, path in enumerate(media[:: len(media) // SIZES[0]][: SIZES[0]]):
        shutil.copy(path, folder / f"{number}{path.suffix}")
    with Library.open(home, uri="embedded") as library:
        library.ingest(folder)
        ids = [video.video_id for video in library.videos()]
        nearest = {name: library.query(name, k=2).results for name in ids}
    print("| pair | " + " | ".join(f"{size:,}" for size in SIZES) + " | alone | filtered |")
    print("|---" * (len(SIZES) + 3) + "|")
    table: dict[tuple[str, str], list[float]] = {
        (name, other.video_id): [] for name, of in nearest.items() for other in of
    }
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
    apart = max(np.nanmax(found) - np.nanmin(found) for found in table.values())
    print(f"\nLargest difference within a pair: {apart:.2g}")


def asked(library: Library, pair: tuple[str, str], **options: object) -> float:
    """Return the likeness of the second of a pair to the first; NaN beyond a thousand results."""
    answer = library.query(pair[0], k=1_000, **options)  # type: ignore[arg-type]
    return next((r.likeness for r in answer.results if r.video_id == pair[1]), math.nan)


if __name__ == "__main__":
    main()
