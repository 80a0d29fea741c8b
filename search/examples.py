"""Several examples, and what the results are not to be like: one similarity per modality."""

from __future__ import annotations

from collections.abc import Collection, Mapping, Sequence
from dataclasses import dataclass
from functools import partial

from ..schemas.backbones import Backbone
from ..schemas.modality import Modality
from .neighbours import propose, similarity_to_each
from .search_index import SearchIndex
from .subject import Example

Similarities = dict[Modality, dict[str, dict[str, float]]]
"""By modality, video id and name of the clip that it is compared with."""


@dataclass(frozen=True)
class Comparison:
    """All proposed videos, compared with all examples in all modalities.

    Attributes:
        similarities: By modality and video id, what is ranked by.
        to_examples: Of what they are the means.
        to_negatives: What they were lowered by.
        examples: The examples by name.
    """

    similarities: dict[Modality, dict[str, float]]
    to_examples: Similarities
    to_negatives: Similarities
    examples: Mapping[str, Example]

    def nearest(self, modality: Modality, video_id: str) -> Example:
        """Return the example that is most similar to a video in one modality."""
        found = self.to_examples[modality][video_id]
        return self.examples[max(found, key=lambda name: found[name])]


def compare(
    index: SearchIndex,
    examples: Sequence[Example],
    negatives: Sequence[Example],
    backbones: Mapping[Modality, Backbone],
    proposals: int,
    expression: str,
) -> Comparison:
    """Compute, in every modality, the similarity of every video that any example proposes.

    A video missing from one modality's list may still be similar in it, so it is looked up.

    Args:
        index: What is searched.
        examples: What results are to be like, with different names.
        negatives: What they are not to be like.
        backbones: Modalities that at least one example has.
        proposals: Videos that each modality of each example proposes.
        expression: Milvus filter.
    """
    hidden = {example.hidden for example in (*examples, *negatives)} - {""}
    lists = index.concurrently(
        partial(propose, index, backbones[m], e.vectors[m], proposals, expression, hidden)
        for m, e in _pairs(backbones, examples)
    )
    proposed = {video_id for each in lists for video_id in each}

    def to_each(clips: Sequence[Example]) -> Similarities:
        pairs = _pairs(backbones, clips)
        found = index.concurrently(
            partial(similarity_to_each, index, backbones[m], e.vectors[m], proposed)
            for m, e in pairs
        )
        similarities: Similarities = {m: {} for m in backbones}
        for (modality, example), of in zip(pairs, found, strict=True):
            for video_id, value in of.items():
                similarities[modality].setdefault(video_id, {})[example.name] = value
        return similarities

    liked, disliked = to_each(examples), to_each(negatives)
    similarities = {
        m: {i: lowered(to.values(), disliked[m].get(i, {}).values()) for i, to in found.items()}
        for m, found in liked.items()
    }
    return Comparison(similarities, liked, disliked, {e.name: e for e in examples})


def lowered(to_examples: Collection[float], to_negatives: Collection[float]) -> float:
    """Return a video's similarity to several examples, in one modality.

    It is the mean of those to the examples. Where a negative is more similar to the video than
    that, the difference is taken off: a video that is nearer to the examples keeps its place.

    Args:
        to_examples: Similarity to each example that has the modality, at least one.
        to_negatives: To each negative that has it.
    """
    mean = sum(to_examples) / len(to_examples)
    return mean - max(0.0, max(to_negatives, default=mean) - mean)


def _pairs(
    backbones: Mapping[Modality, Backbone], clips: Sequence[Example]
) -> list[tuple[Modality, Example]]:
    return [(m, clip) for m in backbones for clip in clips if m in clip.vectors]
