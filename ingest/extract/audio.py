"""The audio modality: one embedding per non-silent patch of 0.96 s."""

from __future__ import annotations

from collections.abc import Callable, Sequence

import numpy as np

from ...schemas.backbones import Backbone
from ...schemas.embedding import FloatArray, Rows, SegmentEmbedding
from ...schemas.errors import WorkerError
from ...schemas.modality import SAMPLE_RATE, SILENCE_RMS
from ...schemas.settings import settings
from ..decode.events import SegmentMedia
from ..decode.sampling import HOP_SAMPLES, PATCH_SAMPLES
from ..models.audio_worker import START_SECONDS, start_audio
from ..models.weights import ensure
from ..system.channel import Message
from ..system.stages import Meter, Spent, Stage

_SHORTEST_REST = HOP_SAMPLES // 2
"""A rest of at least half a hop at the end of a segment becomes a patch, padded with zeros."""

_BATCH_SECONDS, _PATCH_SECONDS = 60.0, 0.5
"""Time limit of one batch in the process, and what each patch of it adds, seconds: a patch takes
some 0.01 s of a core."""


def infers_in_torch(backbone: Backbone, device: str) -> bool:
    """Return whether `audio_torch` embeds the sound, not TensorFlow, on ``cpu`` or ``cuda``.

    Both agree (docs/models.md); of YAMNet on a CPU the former needs no process that takes seconds
    to load. VGGish, what runs on a GPU, and whatever is asked to by ``VIDSIM_SOUND_ENGINE`` is
    TensorFlow's.
    """
    return backbone.name == "yamnet" and device == "cpu" and settings().sound_engine == "auto"


class AudioExtractor:
    """Embeds waveforms in a TensorFlow process."""

    def __init__(
        self, backbone: Backbone, device: str, threads: int, meter: Meter | None = None
    ) -> None:
        """Start the process, which loads in the background.

        Args:
            backbone: One that `audio_worker.NETWORKS` has.
            device: ``cpu`` or ``cuda``.
            threads: Most threads TensorFlow may use.
            meter: Receives the process's times.
        """
        self.backbone = backbone
        self._meter = meter or Meter()
        self._ready = False
        self._child = start_audio(backbone, ensure(backbone), device, threads)

    def embed(self, media: Sequence[SegmentMedia]) -> list[SegmentEmbedding]:
        """Embed segments; one without sound, or a silent one, gets no rows."""
        return embed_patches(media, self.backbone, self._compute)

    def wait_ready(self) -> None:
        """Wait until the process has loaded its network; `embed` also does this.

        Raises:
            WorkerError: It failed.
        """
        if not self._ready:
            self._expect("ready", START_SECONDS)
            self._ready = True

    def _compute(self, patches: FloatArray) -> FloatArray:
        self.wait_ready()
        self._child.send("embed", {}, {"patches": patches})
        allowed_s = _BATCH_SECONDS + _PATCH_SECONDS * len(patches)
        answer = self._expect("embeddings", allowed_s)
        vectors, shape = answer.arrays.get("vectors"), (len(patches), self.backbone.dim)
        if (
            vectors is None
            or (vectors.dtype.name, vectors.shape) != ("float32", shape)
            or not np.isfinite(vectors).all()
        ):
            raise WorkerError("The audio process answered with something unreadable; run again.")
        cpu_s, busy_s = (answer.fields.get(name) for name in ("cpu_s", "busy_s"))
        if isinstance(cpu_s, float) and isinstance(busy_s, float):
            self._meter.add(Stage.AUDIO, Spent(cpu_s=cpu_s, busy_s=busy_s))
        return vectors

    def _expect(self, kind: str, timeout_s: float) -> Message:
        message = self._child.receive(timeout_s)
        if message.kind != kind:
            raise WorkerError(
                f"The audio process failed ({message.fields.get('reason', message.kind)}); "
                "run again with --modalities color,frame,motion to go on without sound."
            )
        return message

    def close(self) -> None:
        """Kill the process: TensorFlow takes a second to exit by itself."""
        self._child.close(grace_s=0)


def embed_patches(
    media: Sequence[SegmentMedia],
    backbone: Backbone,
    compute: Callable[[FloatArray], FloatArray],
) -> list[SegmentEmbedding]:
    """Embed the patches of segments; one without sound, or a silent one, gets no rows.

    Args:
        media: The segments.
        backbone: Of which the rows are.
        compute: Patches (n, PATCH_SAMPLES) -> embeddings (n, dim); n is at least 1.
    """
    patches, owners, offsets = [], [], []
    for i, m in enumerate(media):
        for offset, patch in _patches(m.audio):
            patches.append(patch)
            owners.append(i)
            offsets.append(offset)
    if not patches:
        return [SegmentEmbedding({}) for _ in media]
    vectors = compute(np.stack(patches))
    owner, offset_s = np.array(owners), np.array(offsets, np.float32) / SAMPLE_RATE
    embeddings = []
    for i, m in enumerate(media):
        mine = owner == i
        start = np.float32(m.segment.start_s) + offset_s[mine]
        end = np.minimum(start + np.float32(HOP_SAMPLES / SAMPLE_RATE), m.segment.end_s)
        rows = Rows(vectors[mine], start, np.maximum(start, end).astype(np.float32))
        embeddings.append(SegmentEmbedding({backbone.name: rows} if mine.any() else {}))
    return embeddings


def _patches(audio: FloatArray | None) -> list[tuple[int, FloatArray]]:
    """Return the non-silent patches (PATCH_SAMPLES,) of a waveform, each with its first sample."""
    if audio is None or not len(audio):
        return []
    found = []
    for start in range(0, len(audio), HOP_SAMPLES):
        piece = audio[start : start + PATCH_SAMPLES]
        if start and len(piece) < _SHORTEST_REST:
            break
        if np.sqrt(np.mean(np.square(piece, dtype=np.float64))) >= SILENCE_RMS:
            padded = np.pad(piece, (0, PATCH_SAMPLES - len(piece)))
            found.append((start, padded.astype(np.float32)))
    return found
