"""Presets: one backbone per modality, and how options choose others."""

from __future__ import annotations

from collections.abc import Iterable, Mapping
from typing import Literal

from .backbones import BACKBONES, Backbone, Backbones, backbone_name
from .errors import ModelError
from .modality import Modality, parse_modalities

PresetName = Literal["compact", "fast", "classic"]

PRESETS: Mapping[str, Mapping[Modality, str]] = {
    "compact": {
        Modality.COLOR: "labhist",
        Modality.FRAME: "efficientnet_lite0",
        Modality.AUDIO: "yamnet",
        Modality.MOTION: "i3d_192",
    },
    "fast": {
        Modality.COLOR: "labhist",
        Modality.FRAME: "efficientnet_lite0_192",
        Modality.AUDIO: "yamnet",
        Modality.MOTION: "i3d_160",
    },
    "classic": {
        Modality.COLOR: "vid2img",
        Modality.FRAME: "resnet50",
        Modality.AUDIO: "vggish",
        Modality.MOTION: "resnet34_3d",
    },
}
"""One backbone per modality. `compact` takes the least pixels of which no set of clips shows that
they find worse, `fast` fewer (docs/models.md has both); their weights come through the package
index. Those of `classic`, the capstone's networks, come from their publishers."""


DEFAULT_PRESET: PresetName = "compact"


def named_modalities(overrides: Iterable[str]) -> set[str]:
    """Return the modalities of items such as ``color=vid2img``."""
    return {override.partition("=")[0].strip().lower() for override in overrides}


def choose_backbones(
    modalities: Iterable[Modality],
    overrides: Iterable[str] = (),
    preset: str = DEFAULT_PRESET,
    known: Backbones = BACKBONES,
) -> dict[Modality, Backbone]:
    """Choose the backbone of each modality: the preset's, or the one an override names.

    Args:
        modalities: The requested modalities.
        overrides: Items such as ``color=vid2img`` or ``frame=timm:NAME``.
        preset: A name in `PRESETS`.
        known: Those that overrides may name.

    Raises:
        ModelError: The preset does not exist, or an override is malformed, or names no backbone
            or one of another modality.
    """
    if preset not in PRESETS:
        raise ModelError(f"No preset is called {preset!r}; choose from {', '.join(PRESETS)}.")
    chosen = {m: BACKBONES[PRESETS[preset][m]] for m in modalities}
    for override in overrides:
        modality_name, _, named = override.partition("=")
        modality, name = parse_modalities(modality_name)[0], backbone_name(named)
        fitting = [b.name for b in known.values() if b.modality is modality]
        if name not in fitting:
            raise ModelError(
                f"{name or override!r} is no backbone of {modality}; "
                f"choose from {', '.join(f'{modality}={n}' for n in fitting)}."
            )
        if modality in chosen:
            chosen[modality] = known[name]
    return chosen
