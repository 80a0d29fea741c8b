"""Ingests without decoders and networks, and whether Milvus holds what the shards hold after them.

Files hold text, and `pretend` gives vectors that follow from it.
"""

from __future__ import annotations

import zlib
from collections.abc import Collection, Iterator, Sequence
from dataclasses import replace
from functools import reduce
from pathlib import Path

import h5py
import numpy as np

from vidsim.ingest import pipeline
from vidsim.ingest.extract.batching import FailedVideo
from vidsim.ingest.extract.embed import EmbedOptions
from vidsim.ingest.milvus.filters import equals
from vidsim.ingest.milvus.store import open_store
from vidsim.ingest.shards.home import Place, open_shards, read_notes
from vidsim.ingest.system.progress import Silent
from vidsim.schemas.backbones import BACKBONES
from vidsim.schemas.collections import Level, levels
from vidsim.schemas.embedding import Damage, EmbeddedVideo, merge, unit
from vidsim.schemas.modality import Modality
from vidsim.schemas.presets import choose_backbones
from vidsim.schemas.results import IngestReport
from vidsim.schemas.video import Video, row_id

from .embedded_videos import embedded

QUIET = Silent()


def ingest(folder: Path, place: Place, *modalities: str, **more) -> IngestReport:
    """Ingests by colour, unless other modalities are named."""
    wanted = [Modality(m) for m in modalities or ("color",)]
    how = {name: more.pop(name) for name in ("segment_seconds", "audio_track") if name in more}
    options = EmbedOptions(choose_backbones(wanted), device="cpu", workers=1, **how)
    return pipeline.ingest(folder, place, options, QUIET, **more)


def pretended(video: Video, backbones: Collection[str], segment_seconds: float) -> EmbeddedVideo:
    """What the stand-in for the networks gives: it follows from content and backbone alone."""
    parts = [
        embedded(
            video.video_id,
            backbones=(name,),
            segments=round(20 / segment_seconds),
            seed=zlib.crc32(f"{video.fingerprint} {name}".encode()),
            silent="silent" in video.path,
        )
        for name in sorted(backbones)
    ]
    return replace(reduce(merge, parts), video=video, segment_seconds=segment_seconds)


def pretend(
    videos: Sequence[Video],
    options: EmbedOptions,
    progress: object,
    meter: object = None,
    stop: object = None,
) -> Iterator[EmbeddedVideo | FailedVideo]:
    """Stands in for `embed_all`; files hold text instead of media."""
    for video in videos:
        text = Path(video.path).read_text()
        if text == "damaged":
            yield FailedVideo(video, "It is damaged.", lasting=True)
        elif text == "out of reach":
            yield FailedVideo(video, "The disk gave no answer.")
        elif text.startswith("deadly") and text != "deadly sound":
            yield FailedVideo(video, "The decoder crashed (SIGSEGV).", killed=True)
        else:
            names = [b.name for b in options.backbones.values()]
            if text == "deadly sound":
                names = [b.name for m, b in options.backbones.items() if m is not Modality.AUDIO]
            found = pretended(video, names, options.segment_seconds)
            if text == "deadly sound" and Modality.AUDIO in options.backbones:
                lost = "its sound was left out (the decoder crashed (SIGSEGV))"
                found = replace(found, damage=Damage(sound=lost))
            if text == "rare sound":
                rare = "its sound was left out (it is rare unless VIDSIM_CODECS=+tta allows it)"
                found = replace(found, damage=Damage(sound=rare))
            yield replace(found, audio_track=options.audio_track)


def write_files(folder: Path, texts: dict[str, str]) -> Path:
    for name, text in texts.items():
        path = folder / name
        path.parent.mkdir(parents=True, exist_ok=True)
        path.write_text(text)
    return folder


def shard_rows(place: Place, library: str) -> dict[str, dict[Level, dict[str, tuple]]]:
    """Everything the shards hold: by backbone, level and row id, what Milvus should hold."""
    shards = open_shards(place.home)
    found: dict[str, dict[Level, dict[str, tuple]]] = {}
    for video in shards.read(list(shards.catalog(library).values())):
        for name in video.backbones:
            held = found.setdefault(name, {level: {} for level in levels(BACKBONES[name])})
            for segment, embedding in zip(video.segments, video.embeddings, strict=True):
                if name not in embedding.rows or not len(embedding.rows[name].vectors):
                    continue
                vectors = unit(embedding.rows[name].vectors)
                of_level = {"rows": vectors, "segments": unit(vectors.mean(axis=0))[None]}
                for level, rows in held.items():
                    for i, vector in enumerate(of_level[level]):
                        key = row_id(video.video.video_id, segment.index, i)
                        assert key not in rows
                        rows[key] = (video.video.fingerprint, video.video.path, vector)
    return found


def in_step(place: Place, library: str = "lib") -> dict[str, int]:
    """Asserts that Milvus holds what the shards hold; gives the number of rows by backbone."""
    wanted = shard_rows(place, library)
    with open_store(place, writing=True) as store:
        assert {b.name for b in store.backbones()} >= set(wanted)
        for backbone in store.backbones():
            for level in store.levels(backbone):
                rows, vectors = store.fetch(backbone, equals("library", library), level)
                expected = wanted.get(backbone.name, {}).get(level, {})
                assert sorted(r.id for r in rows) == sorted(expected)
                for row, vector in zip(rows, vectors, strict=True):
                    fingerprint, path, expected_vector = expected[row.id]
                    assert (row.fingerprint, row.path) == (fingerprint, path)
                    assert np.allclose(vector, expected_vector, atol=1e-6), row.id
    counts = {n: {level: len(rows) for level, rows in held.items()} for n, held in wanted.items()}
    noted = read_notes(place.home).get(library)
    assert (noted.counts if noted else {}) == counts
    return {name: held["rows"] for name, held in counts.items()}


def note_weights(shard: Path, backbone: str, digest: str) -> None:
    """Has a shard say that its rows of `backbone` were computed with other weights."""
    with h5py.File(shard, "r+") as file:
        file[f"rows/{backbone}"].attrs["weights_sha256"] = digest
    open_shards(shard.parents[2]).adopt(shard.parent.name, [shard.name])
