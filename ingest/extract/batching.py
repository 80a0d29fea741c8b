"""Batching between decoders and a store: segments of many videos in, embedded videos out."""

from __future__ import annotations

from collections.abc import Callable, Collection, Iterator, Sequence
from dataclasses import dataclass, field, replace

from ...schemas.backbones import Backbone
from ...schemas.embedding import NO_DAMAGE, Damage, EmbeddedVideo, SegmentEmbedding
from ...schemas.modality import Modality
from ...schemas.video import Segment, Video
from ..decode.events import Event, Failed, Opened, SegmentMedia
from .scheduler import Extracting, Extraction

_UNDER_WAY = 2
"""Batches in progress while the next one fills: one keeps the threads busy, two do so even while
the audio process still loads."""


@dataclass(frozen=True)
class FailedVideo:
    """A video that gave no rows.

    Attributes:
        video: The video.
        reason: Why, in one sentence.
        lasting: Whether the same content, asked for the same, would fail again.
        killed: Whether a decoder crashed over it, or had to be killed.
    """

    video: Video
    reason: str
    lasting: bool = False
    killed: bool = False


@dataclass
class _Open:
    """A video that may still miss segments."""

    duration_s: float
    waiting: int = 0
    finished: bool = False
    damage: Damage = NO_DAMAGE
    without_sound: bool = False
    parts: dict[int, tuple[Segment, SegmentEmbedding]] = field(default_factory=dict)


class Assembly:
    """Collects segments into batches, has them embedded, and reassembles the videos."""

    def __init__(
        self,
        videos: Sequence[Video],
        backbones: Collection[Backbone],
        segment_seconds: float,
        extraction: Extraction,
        audio_track: int | None = None,
        embedded: Callable[[Video, float], object] = lambda *_: None,
    ) -> None:
        """Start empty.

        Args:
            videos: Videos that events refer to by number.
            backbones: Backbones they are decoded for, one per modality.
            segment_seconds: Length of a segment in seconds.
            extraction: Has these backbones, and perhaps others.
            audio_track: Number of the audio track they are decoded for, as in `EmbedOptions`.
            embedded: Called with a video and the share of its duration that was just embedded.
        """
        self._videos = videos
        self._backbones = backbones
        self._segment_seconds = segment_seconds
        self._extraction = extraction
        self._audio_track = audio_track
        self._embedded = embedded
        self._batch: list[tuple[int, SegmentMedia]] = []
        self._under_way: list[tuple[list[tuple[int, Segment]], Extracting]] = []
        self._open: dict[int, _Open] = {}

    def take(self, number: int, event: Event) -> Iterator[EmbeddedVideo | FailedVideo]:
        """Process a decoder's event; yield the videos that it completes or fails.

        Raises:
            WorkerError: The audio process failed.
        """
        if isinstance(event, Opened):
            self._open[number] = _Open(event.duration_s)
        elif isinstance(event, SegmentMedia):
            self._open[number].waiting += 1
            self._batch.append((number, event))
            if len(self._batch) >= self._extraction.batch_size:
                self._submit()
                yield from self._collect(_UNDER_WAY)
        elif isinstance(event, Failed):
            self._open.pop(number, None)
            self._batch = [(owner, media) for owner, media in self._batch if owner != number]
            yield FailedVideo(
                self._videos[number], _sentence(event.reason), event.lasting, event.killed
            )
        else:
            self._open[number].finished = True
            self._open[number].damage = event.damage
            self._open[number].without_sound = event.without_sound
            yield from self._complete([number])

    def flush(self) -> Iterator[EmbeddedVideo | FailedVideo]:
        """Embed the segments of the incomplete batch; yield the videos that this completes.

        Raises:
            WorkerError: The audio process failed.
        """
        if self._batch:
            self._submit()
        yield from self._collect(under_way=0)

    def _submit(self) -> None:
        owners = [(number, media.segment) for number, media in self._batch]
        extracting = self._extraction.submit([media for _, media in self._batch])
        self._under_way.append((owners, extracting))
        self._batch = []

    def _collect(self, under_way: int) -> Iterator[EmbeddedVideo | FailedVideo]:
        """Wait until at most `under_way` batches are in progress; yield the completed videos."""
        while len(self._under_way) > under_way:
            owners, extracting = self._under_way.pop(0)
            for (number, segment), embedding in zip(owners, extracting.result(), strict=True):
                if state := self._open.get(number):  # else given up in the meantime
                    state.waiting -= 1
                    state.parts[segment.index] = (segment, embedding)
                    share = (segment.end_s - segment.start_s) / (state.duration_s or 1)
                    self._embedded(self._videos[number], share)
            numbers = {number for number, _ in owners}
            yield from self._complete(sorted(numbers & self._open.keys()))

    def _complete(self, numbers: Sequence[int]) -> Iterator[EmbeddedVideo | FailedVideo]:
        for number in numbers:
            state = self._open[number]
            if state.waiting or not state.finished:
                continue
            del self._open[number]
            video = self._videos[number]
            parts = [state.parts[n] for n in sorted(state.parts)]
            if not any(embedding.rows for _, embedding in parts) and not self._only_sound:
                heard = any(b.modality is Modality.AUDIO for b in self._backbones)
                sound = "no sound but silence" if heard else "its sound was not asked for"
                damage = state.damage.describe()
                lost = f" ({damage})" if damage else ""
                reason = f"It has no picture, and {sound}{lost}."
                killed = state.without_sound
                yield FailedVideo(video, reason, lasting=not killed, killed=killed)
                continue
            # Sound that was left out counts as not computed: the next run retries.
            unheard = {
                b.name
                for b in self._backbones
                if state.without_sound and b.modality is Modality.AUDIO
            }
            embeddings = [
                replace(e, rows={n: rows for n, rows in e.rows.items() if n not in unheard})
                for _, e in parts
            ]
            yield EmbeddedVideo(
                video=video,
                duration_s=state.duration_s,
                segment_seconds=self._segment_seconds,
                backbones=frozenset(b.name for b in self._backbones) - unheard,
                segments=tuple(segment for segment, _ in parts),
                embeddings=tuple(self._without_flat(embeddings)),
                damage=state.damage,
                audio_track=self._audio_track,
            )

    def _without_flat(self, embeddings: Sequence[SegmentEmbedding]) -> list[SegmentEmbedding]:
        """Drop the rows of flat frames from a video's segments, unless all of them are flat.

        Otherwise videos would match by their black frames.
        """
        seen = {b.name for b in self._backbones if b.modality is not Modality.AUDIO}
        color = {b.name for b in self._backbones if b.modality is Modality.COLOR}
        if not any(e.rows.keys() & seen - e.flat for e in embeddings):
            return [replace(e, flat=frozenset()) for e in embeddings]
        return [
            SegmentEmbedding(
                rows={name: rows for name, rows in e.rows.items() if name not in e.flat},
                vid2img=None if color & e.flat else e.vid2img,
            )
            for e in embeddings
        ]

    @property
    def _only_sound(self) -> bool:
        """Return whether only sound was requested: then a video without it is not a failure."""
        return {b.modality for b in self._backbones} == {Modality.AUDIO}


def _sentence(reason: str) -> str:
    """Turn a decoder's reason, which follows "path: " in a log, into a full sentence."""
    return f"{reason[:1].upper()}{reason[1:]}."
