"""The frame modality: one embedding per non-flat frame of a segment's 8."""

from __future__ import annotations

from collections.abc import Sequence

import numpy as np
import torch

from ...schemas.backbones import Backbone
from ...schemas.embedding import Rows, SegmentEmbedding
from ..decode.events import SegmentMedia
from ..decode.flat import flat_frames
from ..models.networks.efficientnet_lite import EfficientNetLite0
from ..models.networks.loading import load_network
from ..models.weights import ensure
from .pixels import computes_bfloat16, inference, to_network_input


class FrameExtractor:
    """Embeds frames with an image network."""

    def __init__(self, backbone: Backbone, device: torch.device) -> None:
        """Load the weights of `backbone` onto `device`."""
        self.backbone = backbone
        self._names = frozenset([backbone.name])
        self._device = device
        assert backbone.pixels is not None
        self._pixels = backbone.pixels
        network = load_network(backbone, ensure(backbone))
        if isinstance(network, EfficientNetLite0) and device.type == "cpu":
            if computes_bfloat16(device):
                network.to_bfloat16()
        self._network = network.to(device).to(memory_format=torch.channels_last)

    def embed(self, media: Sequence[SegmentMedia]) -> list[SegmentEmbedding]:
        """Embed segments that carry (8, size, size, 3) uint8 frames, 8 rows each.

        Flat frames get no rows if another frame of the segment is not flat.
        """
        frames = np.stack([m.frames[self.backbone.modality] for m in media])
        with inference(self._device):
            pictures = frames.reshape(-1, *frames.shape[2:])
            batch = to_network_input(pictures, self._pixels, self._device)
            features = self._network(batch).float()
        count = frames.shape[1]
        embeddings = []
        for m, vectors in zip(media, features.cpu().numpy().reshape(len(media), count, -1)):
            edges = np.linspace(m.segment.start_s, m.segment.end_s, count + 1, dtype=np.float32)
            flat = flat_frames(m.frames[self.backbone.modality])
            kept = ~flat | flat.all()
            rows = Rows(vectors[kept], edges[:-1][kept], edges[1:][kept])
            embeddings.append(
                SegmentEmbedding(
                    {self.backbone.name: rows}, flat=self._names if flat.all() else frozenset()
                )
            )
        return embeddings
