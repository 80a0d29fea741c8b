"""The audio modality computed by PyTorch, beside the other networks: YAMNet on a CPU."""

from __future__ import annotations

from collections.abc import Sequence

from ...schemas.backbones import Backbone
from ...schemas.embedding import SegmentEmbedding
from ..decode.events import SegmentMedia
from ..models.networks.yamnet_torch import YamNetTorch
from ..models.sound_weights import yamnet_weights
from ..models.weights import ensure
from .audio import embed_patches


class TorchAudioExtractor:
    """Embeds waveforms in this process."""

    def __init__(self, backbone: Backbone) -> None:
        """Load the weights of `backbone`, one of which `audio.infers_in_torch` says yes."""
        self.backbone = backbone
        self._network = YamNetTorch(yamnet_weights(backbone, ensure(backbone)))

    def embed(self, media: Sequence[SegmentMedia]) -> list[SegmentEmbedding]:
        """Embed segments; one without sound, or a silent one, gets no rows."""
        return embed_patches(media, self.backbone, self._network.embed)
