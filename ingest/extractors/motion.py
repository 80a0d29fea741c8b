"""The motion modality: one embedding of the 32 frames in the middle of a segment."""

from __future__ import annotations

from collections.abc import Sequence

import numpy as np
import torch

from ...schemas.embedding import Rows, SegmentEmbedding
from ...schemas.modality import Backbone
from ..decode import SegmentMedia
from ..networks.i3d import load_i3d
from .pixels import inference, to_network_input, weight_file


class MotionExtractor:
    """Embeds clips with I3D."""

    def __init__(self, backbone: Backbone, device: torch.device) -> None:
        """Loads the weights of `backbone` onto `device`."""
        self.backbone = backbone
        self._device = device
        network = load_i3d(weight_file(backbone))
        self._network = network.to(device).to(memory_format=torch.channels_last_3d)

    def embed(self, media: Sequence[SegmentMedia]) -> list[SegmentEmbedding]:
        """Rows of segments that carry (32, 224, 224, 3) uint8 frames, one row each."""
        clips = np.stack([m.frames[self.backbone.modality] for m in media])
        with inference(self._device, reduced=True):
            features = self._network(to_network_input(clips, self._device))
        vectors = features.float().cpu().numpy()
        return [
            SegmentEmbedding(
                {
                    self.backbone.name: Rows(
                        vector[None],
                        np.array([m.segment.start_s], np.float32),
                        np.array([m.segment.end_s], np.float32),
                    )
                }
            )
            for m, vector in zip(media, vectors)
        ]
