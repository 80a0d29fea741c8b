"""Convert HDR and wide-gamut signals to the colours of an ordinary screen.

Pure numpy; signals are in 0..1, light is in cd/m2 or relative to white. Parentheses cite the
ITU-R Recommendation and its table or clause.
"""

from __future__ import annotations

from enum import Enum
from functools import lru_cache

import numpy as np
import numpy.typing as npt

from ...schemas.embedding import ByteArray

Floats = npt.NDArray[np.floating]
Matrix = npt.NDArray[np.float64]

REFERENCE_WHITE = 203.0
"""Diffuse white of HDR in cd/m2, and thus of SDR converted to HDR (BT.2408, 2.2)."""

HLG_PEAK = 1000.0
"""Nominal peak of the HLG reference display in cd/m2 (BT.2100, table 5: L_W)."""

SDR_GAMMA = 2.4
"""Exponent from signal to light on a flat screen (BT.1886, annex 1)."""

_HLG_GAMMA = 1.2  # system gamma at 1000 cd/m2 (BT.2100, table 5)

# PQ (BT.2100, table 4; SMPTE ST 2084).
_PQ_PEAK = 10000.0
_M1, _M2 = 2610 / 16384, 2523 / 4096 * 128
_C1, _C2, _C3 = 3424 / 4096, 2413 / 4096 * 32, 2392 / 4096 * 32

# HLG (BT.2100, table 5; ARIB STD-B67).
_A, _B, _C = 0.17883277, 0.28466892, 0.55991073

_WHITE = (0.3127, 0.3290)  # D65, of BT.709 (item 1.4) and BT.2020 (table 3)

_KNEE = 0.8
"""Fraction of white from which highlights are rolled off. Measured on SDR clips converted to PQ and
HLG: a median frame cosine to the clip of 0.998, as with clipping, which loses all above white;
BT.2390's curve from 1000 to 203 cd/m2 gives as much, but greyer whites (docs/decoding.md)."""

_LEVELS = 65536  # of a 16-bit signal


class Transfer(Enum):
    """How a signal encodes light."""

    SDR = "sdr"
    PQ = "pq"
    HLG = "hlg"


class Primaries(Enum):
    """Chromaticities (x, y) of red, green and blue; white is D65."""

    BT709 = ((0.64, 0.33), (0.30, 0.60), (0.15, 0.06))  # BT.709, item 1.3
    BT2020 = ((0.708, 0.292), (0.170, 0.797), (0.131, 0.046))  # BT.2020, table 3
    P3 = ((0.680, 0.320), (0.265, 0.690), (0.150, 0.060))  # SMPTE EG 432-1; D65 for both kinds


def pq_light(signal: Floats) -> Floats:
    """Convert a PQ signal to light in cd/m2: the reference EOTF."""
    root = np.clip(signal, 0, 1) ** (1 / _M2)
    return np.asarray(_PQ_PEAK * (np.maximum(root - _C1, 0) / (_C2 - _C3 * root)) ** (1 / _M1))


def pq_signal(light: Floats) -> Floats:
    """Convert light in cd/m2 to a PQ signal: the inverse EOTF."""
    power = np.clip(np.asarray(light) / _PQ_PEAK, 0, 1) ** _M1
    return np.asarray(((_C1 + _C2 * power) / (1 + _C3 * power)) ** _M2)


def hlg_scene(signal: Floats) -> Floats:
    """Convert an HLG signal to scene light in 0..1: the inverse OETF."""
    signal = np.clip(signal, 0, 1)
    return np.where(signal <= 0.5, signal**2 / 3, (np.exp((signal - _C) / _A) + _B) / 12)


def hlg_signal(scene: Floats) -> Floats:
    """Convert scene light in 0..1 to an HLG signal: the OETF."""
    scene = np.clip(scene, 0, 1)
    bright = np.log(np.maximum(12 * scene - _B, 1 - _B))
    return np.where(scene <= 1 / 12, np.sqrt(3 * scene), _A * bright + _C)


def hlg_display(scene: Floats) -> Floats:
    """Convert scene light (..., 3) in BT.2020 to cd/m2 on the reference display: the OOTF."""
    weights = rgb_to_xyz(Primaries.BT2020)[1].astype(scene.dtype)
    luminance = np.maximum(scene @ weights, np.finfo(np.float32).tiny)
    return np.asarray(HLG_PEAK * scene * luminance[..., None] ** (_HLG_GAMMA - 1))


@lru_cache
def rgb_to_xyz(primaries: Primaries) -> Matrix:
    """Return the (3, 3) matrix from linear RGB to CIE XYZ, with Y = 1 for white (SMPTE RP 177)."""
    columns = np.array([(x / y, 1, (1 - x - y) / y) for x, y in primaries.value]).T
    x, y = _WHITE
    white = np.array([x / y, 1, (1 - x - y) / y])
    return np.asarray(columns * np.linalg.solve(columns, white), np.float64)


@lru_cache
def gamut_matrix(source: Primaries, target: Primaries) -> Matrix:
    """Return the (3, 3) matrix from linear RGB of one set of primaries to another."""
    return np.asarray(np.linalg.solve(rgb_to_xyz(target), rgb_to_xyz(source)), np.float64)


def to_sdr(signal: npt.NDArray[np.uint16], transfer: Transfer, primaries: Primaries) -> ByteArray:
    """Convert a frame for an ordinary screen.

    Args:
        signal: (h, w, 3) RGB, 16 bits, full range.
        transfer: How it encodes light.
        primaries: Its red, green and blue.

    Returns:
        (h, w, 3) uint8 BT.709 RGB, full range, for a BT.1886 screen.
    """
    light = _light_table(transfer)[signal]
    if transfer is Transfer.HLG:
        light = hlg_display(light) / REFERENCE_WHITE
    matrix = gamut_matrix(primaries, Primaries.BT709).astype(np.float32)
    if transfer is not Transfer.SDR:
        light = tone_map(light)
    light = np.clip(light @ matrix.T, 0, 1)
    # The root gives more levels to dark light, as the signal of a screen does.
    levels = np.rint(np.sqrt(light) * (_LEVELS - 1)).astype(np.uint16)
    return np.asarray(_screen_table()[levels], np.uint8)


def tone_map(light: npt.NDArray[np.float32]) -> npt.NDArray[np.float32]:
    """Compress HDR light to at most white, leaving what is well below white unchanged.

    Above `_KNEE` the brightest channel is rolled off by the extended curve of Reinhard et al.
    (2002, equation 4), so that the peak of the HLG reference display becomes white; the other
    two keep their ratio to it, which preserves the hue.

    Args:
        light: (..., 3) linear RGB relative to white.
    """
    brightest = light.max(-1, keepdims=True)
    if brightest.max() <= _KNEE:
        return light
    most = (HLG_PEAK / REFERENCE_WHITE - _KNEE) / (1 - _KNEE)
    over = np.clip((brightest - _KNEE) / (1 - _KNEE), 0, most)
    rolled = _KNEE + (1 - _KNEE) * over * (1 + over / most**2) / (1 + over)
    shrink = np.where(brightest > _KNEE, rolled / np.maximum(brightest, _KNEE), np.float32(1))
    return np.asarray(light * shrink, np.float32)


@lru_cache
def _light_table(transfer: Transfer) -> npt.NDArray[np.float32]:
    """Return the light of each 16-bit signal: relative to white, or of the scene for HLG."""
    signal = np.arange(_LEVELS) / (_LEVELS - 1)
    if transfer is Transfer.PQ:
        light = pq_light(signal) / REFERENCE_WHITE
    elif transfer is Transfer.HLG:
        light = hlg_scene(signal)
    else:
        light = signal**SDR_GAMMA
    return np.asarray(light, np.float32)


@lru_cache
def _screen_table() -> ByteArray:
    """Return the 8-bit signal of a BT.1886 screen by the square root of its light."""
    root = np.arange(_LEVELS) / (_LEVELS - 1)
    return np.rint(255 * root ** (2 / SDR_GAMMA)).astype(np.uint8)
