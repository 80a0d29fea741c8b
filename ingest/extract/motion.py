"""The motion modality: one embedding of a segment's middle frames."""

from __future__ import annotations

from collections.abc import Sequence

import numpy as np
import torch

from ...schemas.backbones import Backbone
from ...schemas.embedding import Rows, SegmentEmbedding
from ..decode.flat import all_flat
from ..decode.segments import SegmentMedia
from ..models.networks.i3d import I3D
from ..models.networks.i3d_int8 import I3DInt8, supported
from ..models.networks.loading import load_network
from ..models.weights import ensure
from .pixels import computes_bfloat16, inference, to_network_input

_REDUCED = frozenset({"i3d"})
"""Backbones whose embeddings hold in bfloat16, as measured (see `inference`)."""


class MotionExtractor:
    """Embeds clips with a three-dimensional network."""

    def __init__(self, backbone: Backbone, device: torch.device) -> None:
        """Load the weights of `backbone` onto `device`."""
        self.backbone = backbone
        self._names = frozenset([backbone.name])
        self._device = device
        assert backbone.pixels is not None
        self._pixels = backbone.pixels
        network = load_network(backbone, ensure(backbone))
        if isinstance(network, I3D) and device.type == "cpu":
            if supported():
                wide = torch.bfloat16 if computes_bfloat16(device) else torch.float32
                network = I3DInt8(network, wide)
            else:
                network.pool_by_axis()
        self._network = network.to(device).to(memory_format=torch.channels_last_3d)

    def embed(self, media: Sequence[SegmentMedia]) -> list[SegmentEmbedding]:
        """Embed segments that carry (count, size, size, 3) uint8 frames, one row each."""
        clips = np.stack([m.frames[self.backbone.modality] for m in media])
        with inference(self._device, reduced=self.backbone.name in _REDUCED):
            if isinstance(self._network, I3DInt8):
                features = self._network(torch.from_numpy(clips))
            else:
                features = self._network(to_network_input(clips, self._pixels, self._device))
        vectors = features.float().cpu().numpy()
        return [
            SegmentEmbedding(
                {
                    self.backbone.name: Rows(
                        vector[None],
                        np.array([m.segment.start_s], np.float32),
                        np.array([m.segment.end_s], np.float32),
                    )
                },
                flat=self._names if all_flat(clip) else frozenset(),
            )
            for m, vector, clip in zip(media, vectors, clips)
        ]
