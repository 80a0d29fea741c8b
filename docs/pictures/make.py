"""Draws the pictures of the pages of docs from the demo's generated clips; takes a minute.

Run ``.venv/bin/python docs/pictures/make.py``. Nothing is read or written outside of a temporary
folder, but for the weights of the default preset, which are pulled where they are missing. Pages
are photographed in Chromium (Debian's package ``chromium``).
"""

from __future__ import annotations

import shutil
import subprocess
import tempfile
from pathlib import Path

import av
import h5py
import matplotlib as mpl
import numpy as np
import numpy.typing as npt

mpl.use("agg")
from matplotlib import pyplot as plt

from vidsim import Library, QueryMatch
from vidsim.search.demo import disguise, write_generated

FOLDER = Path(__file__).resolve().parent
COLORS = {"color": "#e69f00", "frame": "#0072b2", "audio": "#009e73", "motion": "#cc79a7"}
"""Of the modalities; by Okabe and Ito, told apart by most people."""

Picture = npt.NDArray[np.uint8]


def main() -> None:
    """Ingests the clips, asks for a disguised one, and draws."""
    with tempfile.TemporaryDirectory() as name:
        folder = Path(name)
        clips = folder / "generated"
        clips.mkdir()
        write_generated(clips)
        changed = disguise(clips / "ball.mp4", folder / "copy.mp4")
        with Library.open(folder / "home", uri="embedded") as library:
            library.ingest(clips)
            answer = library.query(folder / "copy.mp4")
            page = library.write_html(answer, folder / "answer.html")
            library.export(folder / "h5")
        print(f"The copy: {changed}.")
        page.write_text(page.read_text().replace(str(folder), "/videos"))
        photograph(page, "answer.png", 960, 960)
        draw_strips(clips, folder / "h5" / "color_vid2img.h5")
        draw_evidence(answer.results)


def draw_strips(clips: Path, export: Path) -> None:
    """A frame of each clip over its colour strip: a line per frame, its colours by their share."""
    with h5py.File(export) as file:
        strips = dict(zip(file["video_ids"].asstr()[:], file["vectors"][:]))
    figure, axes = plt.subplots(2, len(strips), figsize=(8, 3.4), height_ratios=(3, 2))
    for (video_id, strip), (above, below) in zip(strips.items(), axes.T):
        above.imshow(middle_frame(clips / Path(video_id).name))
        above.set_title(video_id, fontsize=8)
        above.axis("off")
        below.imshow(strip, aspect="auto", interpolation="nearest")
        below.set_xticks([])
        below.set_yticks([])
    axes[1, 0].set_yticks([0, 19], ["first frame", "last frame"], fontsize=7)
    save(figure, "strips.png")


def middle_frame(clip: Path) -> Picture:
    """A frame of the clip's middle, as RGB."""
    with av.open(str(clip)) as container:
        frames = [*container.decode(video=0)]
    return np.asarray(frames[len(frames) // 2].to_ndarray(format="rgb24"), np.uint8)


def draw_evidence(results: list[QueryMatch]) -> None:
    """The likeness of each result by each modality, and over all."""
    figure, axis = plt.subplots(figsize=(8, 3.4))
    high = 0.8 / (len(COLORS) + 1)
    for match in results:
        by_all = {
            **{m: found.likeness for m, found in match.modalities.items()},
            "all": match.likeness,
        }
        for n, (name, value) in enumerate(by_all.items()):
            at = match.rank + (n - len(COLORS) / 2) * high
            axis.barh(at, value, height=high, color=COLORS.get(name, "black"))
    axis.set_yticks(
        [m.rank for m in results], [f"{m.rank}  {m.video_id}\n{m.word}" for m in results]
    )
    axis.invert_yaxis()
    axis.set_xlabel("likeness; black: by all modalities")
    axis.legend([plt.Rectangle((0, 0), 1, 1, color=c) for c in COLORS.values()], [*COLORS])
    axis.spines[["top", "right"]].set_visible(False)
    save(figure, "evidence.png")


def photograph(page: Path, name: str, width: int, height: int) -> None:
    """The upper part of a page, as a browser shows it."""
    browser = shutil.which("chromium")
    if browser is None:
        print(f"{name}: left as it is, for want of Chromium.")
        return
    subprocess.run(
        [
            *(browser, "--headless", "--no-sandbox", "--disable-gpu", "--hide-scrollbars"),
            *(f"--window-size={width},{height}", f"--screenshot={FOLDER / name}", page.as_uri()),
        ],
        check=True,
        capture_output=True,
    )
    print(f"{name}: {(FOLDER / name).stat().st_size / 1000:.0f} kB")


def save(figure: plt.Figure, name: str) -> None:
    """Writes a PNG that is the same whenever the figures in it are."""
    figure.tight_layout()
    figure.savefig(FOLDER / name, dpi=90, metadata={"Software": None})
    plt.close(figure)
    print(f"{name}: {(FOLDER / name).stat().st_size / 1000:.0f} kB")


if __name__ == "__main__":
    main()
