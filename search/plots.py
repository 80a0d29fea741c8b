"""Confusion matrices as pictures."""

from __future__ import annotations

from pathlib import Path

import numpy as np
import numpy.typing as npt

_ANNOTATED = 15
"""Classes up to which every cell shows its percentage."""


def plot_confusions(
    matrix: npt.NDArray[np.int64], names: tuple[str, ...], title: str, path: Path
) -> None:
    """Draws a confusion matrix, each row in percent of its class, as a PNG.

    The picture grows with the number of classes, so that 101 names stay readable.

    Args:
        matrix: (classes, classes) queries by class and predicted class.
        names: Of the classes.
        title: Above the picture.
        path: Where to write.
    """
    # Without pyplot nothing is global and no display is looked for.
    from matplotlib.backends.backend_agg import FigureCanvasAgg
    from matplotlib.figure import Figure

    inches = max(5.0, 2.5 + 0.17 * len(names))
    figure = Figure(figsize=(inches, inches), dpi=120, layout="constrained")
    FigureCanvasAgg(figure)
    axes = figure.add_subplot()
    percent = 100 * matrix / np.maximum(matrix.sum(axis=1, keepdims=True), 1)
    image = axes.imshow(percent, cmap="Blues", vmin=0, vmax=100)
    size = 9 if len(names) <= _ANNOTATED else 7
    # "$" would start a formula.
    shown = [name.replace("$", r"\$") for name in names]
    axes.set_xticks(range(len(names)), shown, rotation=90, fontsize=size)
    axes.set_yticks(range(len(names)), shown, fontsize=size)
    axes.set_xlabel("predicted")
    axes.set_ylabel("class")
    axes.set_title(title, fontsize=10)
    figure.colorbar(image, ax=axes, shrink=0.6, label="% of the class")
    if len(names) <= _ANNOTATED:
        for i, j in np.argwhere(matrix):
            color = "white" if percent[i, j] > 50 else "black"
            axes.text(
                j, i, f"{percent[i, j]:.0f}", ha="center", va="center", color=color, fontsize=8
            )
    figure.savefig(path, format="png")
