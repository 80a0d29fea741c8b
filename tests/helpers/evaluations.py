"""Libraries with classes, and evaluations of their exports."""

from __future__ import annotations

from dataclasses import replace

from vidsim.ingest.system.progress import Silent
from vidsim.schemas.embedding import EmbeddedVideo, Rows
from vidsim.schemas.evaluation import EvaluationReport
from vidsim.search.evaluation.evaluate import EvaluateOptions, evaluate

from .embedded_videos import embedded

ALL = ("labhist", "efficientnet_lite0", "yamnet", "i3d")


QUIET = Silent()


UNEQUAL = {"labhist": 12.0, "efficientnet_lite0": 6.0, "yamnet": 1.0, "i3d": 100.0}
"""Noise with which sound tells most of the class, and motion nothing."""


def near(
    video: EmbeddedVideo, center: EmbeddedVideo, noise: float | dict[str, float]
) -> EmbeddedVideo:
    """A video whose vectors lie around those of another."""
    embeddings = []
    for part in video.embeddings:
        rows = {}
        for name, old in part.rows.items():
            middle = center.embeddings[0].rows[name].vectors.mean(axis=0)
            scale = noise[name] if isinstance(noise, dict) else noise
            rows[name] = Rows(middle + scale * old.vectors, old.start_s, old.end_s)
        embeddings.append(replace(part, rows=rows))
    return replace(video, embeddings=tuple(embeddings))


def videos(count: int = 24, noise: float | dict[str, float] = 2.5) -> list[EmbeddedVideo]:
    """Four classes, in two groups a class; some silent, some of two segments."""
    made = []
    for i in range(count):
        label = ("snow", "rain", "sun", "fog")[i % 4]
        name = f"lib/{label}/v_{label}_g{i // 4 % 2:02}_c{i:02}.avi"
        video = embedded(
            name, backbones=ALL, seed=i, label=label, segments=1 + i % 3 % 2, silent=i % 5 == 0
        )
        made.append(near(video, embedded("x/x", backbones=ALL, seed=1000 + i % 4), noise))
    return made


def run(folder, *protocols: str, **options):
    return evaluate(folder, EvaluateOptions(protocols=protocols, **options), QUIET)


def figure(report: EvaluationReport, protocol: str, configuration: str):
    (found,) = [
        f for f in report.figures if (f.protocol, f.configuration) == (protocol, configuration)
    ]
    return found
