"""Plots of confusion matrices."""

from __future__ import annotations

from pathlib import Path

import numpy as np
import numpy.typing as npt

_ANNOTATED = 15
"""Most classes for which every cell shows its percentage."""

_NAMED = 150
"""Most classes that are named; up to here the plot grows with their number, to 28 inches."""


def plot_confusions(
    shares: npt.NDArray[np.float64],
    asked: npt.NDArray[np.int64],
    names: tuple[str, ...],
    title: str,
    path: Path,
) -> None:
    """Draw a confusion matrix, each row in percent of its class, as a PNG.

    Classes stand with their number of queries and the part of these that was right; the row of a
    class that asked nothing is grey.

    The plot grows with the number of classes, so that 101 names stay readable; with more
    than 150 classes none is named.

    Args:
        shares: (classes, classes) share of a class's queries that each class was predicted for.
        asked: (classes,) queries.
        names: Class names.
        title: Title of the plot.
        path: The PNG to write.
    """
    # Without pyplot there is no global state, and no search for a display.
    from matplotlib import colormaps
    from matplotlib.backends.backend_agg import FigureCanvasAgg
    from matplotlib.figure import Figure

    inches = max(5.0, 2.5 + 0.17 * min(len(names), _NAMED))
    figure = Figure(figsize=(inches, inches), dpi=120, layout="constrained")
    FigureCanvasAgg(figure)
    axes = figure.add_subplot()
    percent = 100 * shares
    colors = colormaps["Blues"].with_extremes(bad="lightgrey")
    silent = np.broadcast_to(asked[:, None] == 0, percent.shape)
    image = axes.imshow(np.ma.array(percent, mask=silent), cmap=colors, vmin=0, vmax=100)
    size = 9 if len(names) <= _ANNOTATED else 7
    # "$" would start a formula in matplotlib.
    shown = [name.replace("$", r"\$") for name in names] if len(names) <= _NAMED else []
    axes.set_xticks(range(len(shown)), shown, rotation=90, fontsize=size)
    told = [
        f"{name} ({n:,}, {of:.0f} %)" if n else f"{name} (0)"
        for name, n, of in zip(shown, asked.tolist(), np.diag(percent))
    ]
    axes.set_yticks(range(len(shown)), told, fontsize=size)
    axes.set_xlabel("predicted")
    axes.set_ylabel("class (queries, right)")
    axes.set_title(title, fontsize=10)
    figure.colorbar(image, ax=axes, shrink=0.6, label="% of the class")
    if len(names) <= _ANNOTATED:
        for i, j in np.argwhere(shares):
            color = "white" if percent[i, j] > 50 else "black"
            axes.text(
                j, i, f"{percent[i, j]:.0f}", ha="center", va="center", color=color, fontsize=8
            )
    figure.savefig(path, format="png")
