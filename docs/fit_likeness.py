"""Fits the constants of search/likeness.py, and judges them on sets that it did not see.

    python docs/fit_likeness.py WORK --data SETS --scenes av_segments
        --fit capstone70 av_segments --judge ucf101_mini drone_visible esc10_audio av_events

SETS holds the sets, whose folders are the labels; labels of ``--scenes`` name scenes, elsewhere
kinds, and clips of one UCF101 group are of one scene. Every sixth video is copied in four ways by
the program ``ffmpeg``. All is embedded into a home under WORK, which a second run finds again.
It prints the constants, and the tables of docs/fusion.md; docs/pictures/likeness.png is drawn.
"""

from __future__ import annotations

import argparse
import shutil
import subprocess
from collections.abc import Callable, Iterable, Mapping, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import NamedTuple

import matplotlib as mpl
import numpy as np
import torch
from numpy.typing import NDArray

mpl.use("agg")
from matplotlib import pyplot as plt

from vidsim import Library, Modality
from vidsim.ingest.shards.home import open_shards
from vidsim.schemas.backbones import BACKBONES
from vidsim.schemas.presets import DEFAULT_PRESET, PRESETS
from vidsim.search import likeness
from vidsim.search.background import yardsticks
from vidsim.search.evaluation.protocols import group_codes
from vidsim.search.fusion import WEIGHTS
from vidsim.search.likeness import Curve, Values, Yardstick, average
from vidsim.search.videos import VideoVectors, from_embedded, similarity

PICTURE = Path(__file__).resolve().parent / "pictures" / "likeness.png"
GRADES = ("other kind", "same kind", "same scene", "same footage")
EVERY = 6
EVEN = ",scale=trunc(iw/2)*2:trunc(ih/2)*2"
COPIES = {
    "small": ["-vf", "scale=iw/2:-2" + EVEN, "-crf", "38"],
    "cropped": ["-vf", "crop=iw*0.85:ih*0.85,eq=brightness=0.08" + EVEN, "-crf", "28"],
    "mirrored": ["-vf", "hflip" + EVEN, "-crf", "28"],
    "cut": ["-vf", EVEN[1:], "-crf", "26"],
}
"""Arguments of ffmpeg; what is cut is the middle half."""

Flags = NDArray[np.bool_]


class Pairs(NamedTuple):
    """Pairs of videos with what they are to each other.

    Attributes:
        similarities: By modality, NaN where one of them lacks it.
        grades: Indexes of `GRADES`.
        weights: Equal sums for the grades of a set, and for the sets of a grade.
    """

    similarities: dict[Modality, Values]
    grades: NDArray[np.int64]
    weights: Values


@dataclass(frozen=True)
class Set:
    """The videos of a set, and copies of some.

    Attributes:
        name: Of the set, and of its library.
        labels: Of the videos.
        groups: Their UCF101 groups, or one each.
        scenes: Whether labels name scenes.
        similarities: (videos, videos) by modality.
        copies: (copies, videos) by modality.
        originals: (copies,) indexes of the videos that they are copies of.
    """

    name: str
    labels: NDArray[np.str_]
    groups: NDArray[np.int64]
    scenes: bool
    similarities: dict[Modality, Values]
    copies: dict[Modality, Values]
    originals: NDArray[np.int64]

    def graded(self) -> list[tuple[int, dict[Modality, Values]]]:
        """Return the pairs of each grade that there is."""
        other = self.labels[:, None] != self.labels
        together = self.groups[:, None] == self.groups
        alike = ~other & ~np.eye(len(other), dtype=bool)
        scene = alike if self.scenes else alike & together
        masks = ((0, other), (1, alike & ~scene), (2, scene))
        found = [
            (grade, {m: of[mask] for m, of in self.similarities.items()})
            for grade, mask in masks
            if mask.any()
        ]
        at = np.arange(len(self.originals)), self.originals
        return [*found, (3, {m: of[at] for m, of in self.copies.items()})]


def main() -> None:
    """Embeds, fits, prints and draws."""
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument("work", type=Path)
    parser.add_argument("--data", type=Path, required=True)
    for name in ("fit", "judge", "scenes"):
        parser.add_argument(f"--{name}", nargs="+", default=[])
    given = parser.parse_args()
    sets = {
        name: read(given.work, given.data / name, name in given.scenes)
        for name in [*given.fit, *given.judge]
    }
    fitted = pairs_of([sets[name] for name in given.fit])
    curves = {m: fit_curve(m, fitted) for m in Modality}
    for modality, curve in curves.items():
        print(f"{PRESETS[DEFAULT_PRESET][modality]}: {curve}")
    likeness.CURVES = {PRESETS[DEFAULT_PRESET][m]: c for m, c in curves.items()}
    scale = fit_scale(odds(fitted.similarities), fitted)
    print(f"SCALE = {scale}")
    likeness.SCALE = scale
    print_words(given.work, sets.values())
    draw({"fitted on": given.fit, "judged by": given.judge}, sets)


def read(work: Path, folder: Path, scenes: bool) -> Set:
    """Embed a set and its copies, where they are not, and compare all."""
    name = folder.name
    copies = work / "copies" / name
    videos = sorted(p for p in folder.rglob("*") if p.is_file())
    for video in videos[::EVERY]:
        copy(video, copies / str(video.relative_to(folder)).replace("/", "--"))
    with Library.open(work / "home", uri="embedded") as library:
        library.ingest(folder)
        library.ingest(copies, library=f"{name}-copies")
    ids, found = vectors(work / "home", name)
    copy_ids, copied = vectors(work / "home", f"{name}-copies")
    where = {str(Path(i).relative_to(name)).replace("/", "--"): n for n, i in enumerate(ids)}
    return Set(
        name=name,
        labels=np.array([i.split("/")[1] for i in ids]),
        groups=group_codes(ids),
        scenes=scenes,
        similarities={m: compare(m, of, of) for m, of in found.items()},
        copies={m: compare(m, copied[m], of) for m, of in found.items()},
        originals=np.array([where[i.split("/")[-2]] for i in copy_ids]),
    )


def copy(video: Path, folder: Path) -> None:
    """Write the copies of a video into a folder, named by what was done."""
    folder.mkdir(parents=True, exist_ok=True)
    for name, arguments in COPIES.items():
        out = folder / f"{name}.mp4"
        if out.exists():
            continue
        part: list[str] = []
        if name == "cut":
            probe = ["ffprobe", "-v", "0", "-show_entries", "format=duration", "-of", "csv=p=0"]
            told = subprocess.run([*probe, video], capture_output=True, text=True, check=True)
            seconds = float(told.stdout)
            part = ["-ss", f"{seconds / 4:.2f}", "-t", f"{seconds / 2:.2f}"]
        audio = ["-c:a", "aac", "-b:a", "64k"]
        coded = ["-c:v", "libx264", "-preset", "veryfast", "-pix_fmt", "yuv420p", *audio]
        partial = out.with_suffix(".partial.mp4")
        command = ["ffmpeg", "-v", "error", "-y", *part, "-i", video, *arguments, *coded, partial]
        subprocess.run(command, check=True)
        shutil.move(partial, out)


def vectors(
    home: Path, library: str
) -> tuple[list[str], dict[Modality, list[VideoVectors | None]]]:
    """Read the vectors of the default backbones, by id."""
    shards = open_shards(home)
    catalog = shards.catalog(library)
    ids = sorted(catalog)
    found: dict[Modality, dict[str, VideoVectors | None]] = {m: {} for m in Modality}
    names = PRESETS[DEFAULT_PRESET]
    for video in shards.read([catalog[i] for i in ids], list(names.values())):
        for m in Modality:
            found[m][video.video.video_id] = from_embedded(shards.backbones[names[m]], video)
    return ids, {m: [of[i] for i in ids] for m, of in found.items()}


def compare(
    modality: Modality, a: Sequence[VideoVectors | None], b: Sequence[VideoVectors | None]
) -> Values:
    """Return (len(a), len(b)) similarities."""
    backbone = yardstick(modality).backbone
    return np.array([[similarity(backbone, x, y) if x and y else np.nan for y in b] for x in a])


def yardstick(modality: Modality) -> Yardstick:
    """The default backbone's; its curve needs no background."""
    name = PRESETS[DEFAULT_PRESET][modality]
    return Yardstick(BACKBONES[name], likeness.TYPICAL[name])


def pairs_of(sets: Sequence[Set]) -> Pairs:
    """Put the pairs of several sets together."""
    graded = [(grade, found) for each in sets for grade, found in each.graded()]
    sizes = [len(found[Modality.FRAME]) for _, found in graded]
    grades = np.repeat([grade for grade, _ in graded], sizes)
    sets_of = np.bincount([grade for grade, _ in graded], minlength=len(GRADES))
    weights = np.repeat([1 / n / sets_of[grade] for n, (grade, _) in zip(sizes, graded)], sizes)
    joined = {m: np.concatenate([found[m] for _, found in graded]) for m in Modality}
    return Pairs(joined, grades, weights)


def fit_curve(modality: Modality, pairs: Pairs) -> Curve:
    """Fit log-odds of pairs of one kind or scene against those of other kinds; copies are left out.

    Each set counts as much as another, and those of one kind as much as the others. A little is
    taken off for extreme slopes and widths, which few pairs decide.
    """
    values = pairs.similarities[modality]
    used = ~np.isnan(values) & (pairs.grades < 3)
    closeness = torch.tensor(-np.log(1 - np.minimum(values[used], 1) + likeness.NEAREST))
    same = torch.tensor((pairs.grades[used] > 0).astype(float))
    weight = torch.tensor(pairs.weights[used])
    for truth in (0.0, 1.0):
        weight[same == truth] /= weight[same == truth].sum() / 2

    def loss(p: torch.Tensor) -> torch.Tensor:
        rise = p[2].exp() * torch.nn.functional.softplus((closeness - p[1]) / p[2].exp())
        found = p[3] + p[0].exp() * rise
        wrong = torch.nn.functional.softplus(found) - same * found
        off = 1e-3 * ((p[0] - 1) ** 2 + (p[2] + 1) ** 2) + 1e-4 * p[1] ** 2
        return (weight * wrong).sum() + off

    slope, knee, width, floor = least(
        loss, [(a, k, -1.0, -1.0) for a in (0.5, 1.5) for k in (0.3, 1.5)]
    )
    found = (float(np.exp(slope)), knee, float(np.exp(width)), floor)
    return Curve(*(round(v, 3) for v in found))


def fit_scale(values: Values, pairs: Pairs) -> tuple[tuple[float, float], ...]:
    """Fit, for each grade but the first, from which log-odds on pairs have it or a higher one."""
    found, weight = torch.tensor(values), torch.tensor(pairs.weights)
    scale = []
    for grade in range(1, len(GRADES)):
        above = torch.tensor((pairs.grades >= grade).astype(float))

        def loss(p: torch.Tensor, above: torch.Tensor = above) -> torch.Tensor:
            z = (found - p[0]) * p[1].exp()
            return (weight * (torch.nn.functional.softplus(z) - above * z)).sum()

        middle, slope = least(loss, [(2.0 * grade, 0.0)])
        scale.append((round(middle, 3), round(float(np.exp(slope)), 3)))
    return tuple(scale)


def least(
    loss: Callable[[torch.Tensor], torch.Tensor], starts: Sequence[Sequence[float]]
) -> list[float]:
    """Return the parameters of the least loss, from several starts."""
    best: tuple[float, list[float]] | None = None
    for start in starts:
        p = torch.tensor(start, dtype=torch.float64, requires_grad=True)
        optimizer = torch.optim.LBFGS([p], max_iter=500, line_search_fn="strong_wolfe")

        def step(p: torch.Tensor = p, optimizer: torch.optim.LBFGS = optimizer) -> torch.Tensor:
            optimizer.zero_grad()
            value = loss(p)
            value.backward()
            return value

        optimizer.step(step)
        value = float(loss(p))
        if best is None or value < best[0]:
            best = value, p.tolist()
    assert best
    return best[1]


def odds(similarities: Mapping[Modality, Values]) -> Values:
    """Return the log-odds of pairs over all modalities."""
    parts = {m: yardstick(m).log_odds(of) for m, of in similarities.items()}
    return average(parts, WEIGHTS["calibrated"])


def print_words(work: Path, sets: Iterable[Set]) -> None:
    """Print how often the best result reaches a word, without and with the query's class stored."""
    words = [(least, word) for least, word in likeness.WORDS if least]
    print("\n| set | " + " | ".join(["above chance", *(word for _, word in words)]) + " |")
    for each in sets:
        bounds = [chance_of(work / "home", each), *(least for least, _ in words)]
        found = likeness.likeness(odds(each.similarities))
        other = each.labels[:, None] != each.labels
        apart = each.groups[:, None] != each.groups
        absent = np.where(other, found, 0).max(axis=1)
        asks = (~other & apart).any(axis=1)
        present = np.where(apart, found, 0).max(axis=1)[asks]
        cells = [f"{(absent >= at).mean():.1%}, {_share(present < at)}" for at in bounds]
        print(f"| {each.name}, {len(absent)} and {len(present)} | {' | '.join(cells)} |")


def _share(flags: Flags) -> str:
    return f"{flags.mean():.1%}" if len(flags) else "none asks"


def chance_of(home: Path, of: Set) -> float:
    """Return the likeness that is chance in a set."""
    there = [m for m in Modality if not np.isnan(of.similarities[m]).all()]
    backbones = {m: yardstick(m).backbone for m in there}
    return likeness.chance(yardsticks(home, [of.name], backbones), WEIGHTS["calibrated"])


def draw(halves: Mapping[str, Sequence[str]], sets: Mapping[str, Set]) -> None:
    """Draw the mean grade of pairs over their likeness, and print it."""
    figure, axes = plt.subplots(1, 2, figsize=(8, 3.6), sharey=True)
    for axis, (title, names) in zip(axes, halves.items()):
        axis.plot([0, 1], [0, 1], color="grey", linewidth=0.8)
        for chosen in [[n] for n in names] + [list(names)]:
            pairs = pairs_of([sets[n] for n in chosen])
            alike = likeness.likeness(odds(pairs.similarities))
            places, means = [], []
            print(f"\n{title} {' and '.join(chosen)}: likeness, mean grade, pairs of each grade")
            for low in np.arange(0, 1, 0.1):
                there = (alike >= low) & (alike < low + 0.1)
                if there.sum() < 10:
                    continue
                places.append(np.average(alike[there], weights=pairs.weights[there]))
                means.append(np.average(pairs.grades[there] / 3, weights=pairs.weights[there]))
                counts = np.bincount(pairs.grades[there], minlength=4).tolist()
                print(f"  {places[-1]:.2f}  {means[-1]:.2f}  {counts}")
            style = {"color": "black", "linewidth": 2} if len(chosen) > 1 else {"linestyle": "--"}
            name = "all of these" if len(chosen) > 1 else chosen[0]
            axis.plot(places, means, marker="o", markersize=3, label=name, **style)
        axis.set_title(title, fontsize=9)
        axis.set_xlabel("likeness")
        axis.legend(fontsize=7)
    axes[0].set_ylabel("mean grade of such pairs")
    figure.tight_layout()
    figure.savefig(PICTURE, dpi=90, metadata={"Software": None})


if __name__ == "__main__":
    main()
