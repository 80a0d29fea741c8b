"""Homes with all modalities, made through the front door without a network.

`fill` makes one with everything that a home can hold: two folders of videos and an import, several
shards each; silent videos and long ones; a network of timm; hashes of frames, tuned weights and
settings; a file that failed.
"""

from __future__ import annotations

import shutil
import zlib
from collections.abc import Collection, Iterator, Sequence
from contextlib import ExitStack, contextmanager
from dataclasses import replace
from functools import partial
from pathlib import Path
from unittest import mock

import numpy as np

from vidsim.ingest import pipeline
from vidsim.ingest.extract.batching import FailedVideo
from vidsim.ingest.extract.embed import EmbedOptions
from vidsim.ingest.models.registry import keep
from vidsim.ingest.sync import writer
from vidsim.schemas.backbones import BACKBONES, Backbone, timm_backbone_name, timm_files
from vidsim.schemas.embedding import EmbeddedVideo
from vidsim.schemas.evaluation import TunedWeights
from vidsim.schemas.modality import Modality
from vidsim.schemas.presets import DEFAULT_PRESET, PRESETS
from vidsim.schemas.video import Video
from vidsim.schemas.weights import TIMM_SCHEME, PublishedFiles
from vidsim.search.library import Library
from vidsim.search.tuned import write_tuned

from .answers import Question
from .clips import write_clip
from .embedded_videos import embedded
from .evaluations import UNEQUAL, near

_TIMM_NAME = "tiny.x"

TIMM_MODEL = f"{TIMM_SCHEME}{_TIMM_NAME}"

TIMM = replace(
    BACKBONES["resnet50"],
    name=timm_backbone_name(_TIMM_NAME),
    dim=16,
    weights=PublishedFiles(
        timm_backbone_name(_TIMM_NAME), timm_files(_TIMM_NAME), "MIT", "timm tiny.x", "its hub"
    ),
)
"""A network of timm, as a registry has it."""

_SEGMENTS_PER_SHARD = 7
"""One shard per folder of videos, and another of what changes, so that a trial costs little."""

_TUNED = TunedWeights(
    weights={"color": 0.5, "frame": 1.25, "audio": 0.25, "motion": 0.75},
    backbones={m.value: name for m, name in PRESETS[DEFAULT_PRESET].items()},
    protocol="split",
    training_videos=10,
)


def pretended(video: Video, backbones: Collection[Backbone]) -> EmbeddedVideo:
    """What the stand-in for the networks gives: it follows from content, folder and backbone.

    Videos of one folder resemble each other; a file's name says if it is long or silent.
    """
    names = sorted(b.name for b in backbones)
    dims = {b.name: b.dim for b in backbones}
    made = embedded(
        video.video_id,
        backbones=names,
        dims=dims,
        segments=2 if "long" in video.path else 1,
        seed=zlib.crc32(video.fingerprint.encode()),
        silent="silent" in video.path,
    )
    seed = zlib.crc32(video.label.encode())
    center = embedded("any/any", backbones=names, dims=dims, seed=seed)
    return replace(near(made, center, {n: UNEQUAL.get(n, 6.0) for n in names}), video=video)


def _embed_all(
    videos: Sequence[Video],
    options: EmbedOptions,
    progress: object,
    meter: object = None,
    stop: object = None,
) -> Iterator[EmbeddedVideo | FailedVideo]:
    for video in videos:
        if "broken" in video.path:
            yield FailedVideo(video, "It is damaged.", lasting=True)
        else:
            yield pretended(video, options.backbones.values())


@contextmanager
def stand_ins(segments_per_shard: int) -> Iterator[None]:
    """Within it an ingest decodes no file, and writes shards of so many segments."""
    with ExitStack() as stack:
        stack.enter_context(mock.patch.object(pipeline, "embed_all", _embed_all))
        stack.enter_context(
            mock.patch.object(writer, "_FLUSH_SEGMENTS", segments_per_shard, create=True)
        )
        yield


_stand_ins = partial(stand_ins, _SEGMENTS_PER_SHARD)


def fill(home: Path, work: Path) -> list[Question]:
    """Makes `home`, with its videos and what was imported under `work`; gives questions to it.

    ``work/earlier`` is the home as it was before some of it was changed.
    """
    for name, labels, number in (
        ("birds", ("day", "night"), 3),
        ("rivers", ("day", "night"), 3),
        ("roads", ("day", "dusk"), 2),
    ):
        _write_videos(work / name, labels, number)
    keep(work / "elsewhere", TIMM)
    with (
        _stand_ins(),
        Library.open(work / "elsewhere") as library,
    ):
        library.ingest(work / "roads", models={"frame": TIMM_MODEL})
        library.export(work / "export")
    _store(home, work)
    shutil.copytree(home, work / "earlier")
    write_video(work / "rivers" / "night" / "0.mkv", seed=1000)
    (work / "rivers" / "night" / "1 silent.mkv").unlink()
    fill_again(home, work)
    write_video(work / "wrecks" / "broken.mkv", seed=1001)
    with _stand_ins(), Library.open(home) as library:
        library.ingest(work / "wrecks")
        library.duplicates("birds")
    write_tuned(home, _TUNED)
    (home / "settings.env").write_text("VIDSIM_SEGMENT_SECONDS=10\nVIDSIM_WORKERS=1\n")
    return _questions()


def fill_again(home: Path, work: Path) -> None:
    """Stores in `home` what `fill` stored there, where it is not."""
    _store(home, work)
    with _stand_ins(), Library.open(home) as library:
        library.import_files(*sorted((work / "export").iterdir()))


def _store(home: Path, work: Path) -> None:
    with _stand_ins(), Library.open(home) as library:
        for name in ("birds", "rivers"):
            library.ingest(work / name, prune=True)


def _write_videos(folder: Path, labels: Sequence[str], number: int) -> None:
    for label in labels:
        for i in range(number):
            kind = ("", " silent", " long")[i % 3]
            name = f"{label}/{i}{kind}.mkv"
            write_video(folder / name, seed=zlib.crc32(f"{folder.name}/{name}".encode()))


def write_video(path: Path, seed: int) -> Path:
    """Writes a video of two pictures of noise."""
    path.parent.mkdir(parents=True, exist_ok=True)
    random = np.random.default_rng(seed)
    images = [random.integers(0, 256, (48, 64, 3), np.uint8) for _ in range(2)]
    return write_clip(path, times=[0, 0.5], images=images, options={"fflags": "+bitexact"})


def _questions() -> list[Question]:
    birds, rivers, roads = (
        f"{library}/day/{name}.mkv"
        for library, name in (("birds", "2 long"), ("rivers", "0"), ("roads", "0"))
    )
    found = [Question(birds)]
    found += [Question(birds, modality.value) for modality in Modality]
    found += [Question(rivers, libraries=("rivers",)), Question(roads)]
    found += [Question(rivers, filter='label == "night"')]
    return found
