"""Measures how well moments are found: clips cut out of videos ask where they are from.

    python docs/measure_moments.py WORK VIDEOS --cuts 200 --seed 0

The program ``ffmpeg`` cuts stretches of 3 to 6 seconds out of the videos in a folder (those that
last 9 seconds or more), in turn, at half their size and a low rate. Both are embedded into a
home under WORK, which a second run finds again. Each cut then asks as any stored clip does;
the result that is its own video is judged by its first moment.
"""

from __future__ import annotations

import argparse
import subprocess
from pathlib import Path

import numpy as np

from vidsim import Library

_LEAST_S = 9.0
_SMALL = ["-vf", "scale=trunc(iw/4)*2:trunc(ih/4)*2", "-crf", "28", "-preset", "veryfast"]
_CODED = ["-c:v", "libx264", "-pix_fmt", "yuv420p", *_SMALL, "-c:a", "aac", "-b:a", "48k"]


def main() -> None:
    """Cuts, embeds, asks, and prints the part of the cuts that are found within a time."""
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument("work", type=Path)
    parser.add_argument("videos", type=Path)
    parser.add_argument("--cuts", type=int, default=200)
    parser.add_argument("--seed", type=int, default=0)
    given = parser.parse_args()
    with Library.open(given.work / "home", uri="embedded") as library:
        library.ingest(given.videos, library="whole")
        whole = [v for v in library.videos("whole") if v.duration_s >= _LEAST_S]
        folder = given.work / f"cuts-{given.seed}"
        folder.mkdir(parents=True, exist_ok=True)
        draw = np.random.default_rng(given.seed)
        truth = {}
        for n in range(given.cuts):
            video = whole[n % len(whole)]
            length_s = draw.uniform(3, 6)
            start_s = draw.uniform(0, video.duration_s - length_s)
            truth[cut(video.path, folder / f"{n:03}.mp4", start_s, length_s)] = video, start_s
        library.ingest(folder)
        late = []
        for path, (video, start_s) in truth.items():
            answer = library.query(f"{folder.name}/{path.name}", k=1000, libraries=["whole"])
            (own,) = [r for r in answer.results if r.video_id == video.video_id]
            best = own.moments[0]
            late.append(best.start_s - best.query_start_s - start_s)
    off = np.abs(late)
    print(f"{len(off)} cuts of {len(whole)} videos: within 1 s {np.mean(off <= 1):.1%}, ", end="")
    print(f"within 0.5 s {np.mean(off <= 0.5):.1%}, median {np.median(off):.2f} s")


def cut(path: str, out: Path, start_s: float, length_s: float) -> Path:
    """Write a stretch of a video, if it is not there, and return its path."""
    if not out.exists():
        partial = out.with_suffix(".partial.mp4")
        where = ["-ss", f"{start_s:.3f}", "-t", f"{length_s:.3f}"]
        command = ["ffmpeg", "-v", "error", "-y", *where, "-i", path, *_CODED, partial]
        subprocess.run(command, check=True)
        partial.rename(out)
    return out


if __name__ == "__main__":
    main()
