"""Which codecs are decoded: those of cameras, phones, screen recorders, archives and the web.

FFmpeg has some 500 decoders. Most holes are found in those that nobody uses, which common
containers carry as well as any other. What is not listed here is decoded once ``VIDSIM_CODECS``
allows it.
"""

from __future__ import annotations

import os
import re
from collections.abc import Iterable
from functools import cache
from typing import cast

import av
from av.audio.codeccontext import AudioCodecContext
from av.codec import Codec
from av.codec.codec import UnknownCodecError
from av.stream import Stream

from ...schemas.settings import settings

VARIABLE = "VIDSIM_CODECS"

_PICTURES = """
h264 hevc vvc av1 vp8 vp9 mpeg4 mpeg2video mpeg1video mjpeg mjpegb h263 h263p h261
prores dnxhd cfhd dvvideo jpeg2000 v210 rawvideo ffv1 huffyuv ffvhuff utvideo
wmv1 wmv2 wmv3 vc1 msmpeg4v1 msmpeg4v2 msmpeg4v3 flv1 vp6 vp6f vp6a theora dirac
rv10 rv20 rv30 rv40 svq1 svq3 cinepak qtrle
png apng gif webp bmp tiff
"""
"""By FFmpeg's names: what is recorded and published today; by studios and archives; on the web and
on discs until some 2010; single pictures and those that move."""

_SOUNDS = """
aac aac_latm mp3 mp2 mp1 ac3 eac3 opus vorbis flac alac dts truehd mlp pcm_s16le pcm_s16be
pcm_s24le pcm_s24be pcm_s32le pcm_s32be pcm_s8 pcm_u8 pcm_f32le pcm_f32be pcm_f64le pcm_f64be
pcm_u16le pcm_u16be pcm_u24le pcm_u24be pcm_u32le pcm_u32be pcm_s16le_planar pcm_s16be_planar
pcm_s8_planar pcm_s24le_planar pcm_s32le_planar pcm_alaw pcm_mulaw pcm_bluray pcm_dvd s302m
dvaudio wmav1 wmav2 wmapro wmalossless wmavoice amr_nb amr_wb qcelp evrc speex nellymoser
wavpack adpcm_ms adpcm_ima_wav adpcm_ima_qt adpcm_swf adpcm_yamaha adpcm_g722 adpcm_g726
adpcm_g726le gsm gsm_ms cook sipr ra_144 ra_288 atrac3 qdm2
"""

_LEAST_RATE = 1000
"""Samples per second below which nothing is heard. A file of 1 Hz becomes 16,000 times as long."""

_ALLOWANCE = re.compile(rf"{VARIABLE}=\+(\w+)")


def setting() -> dict[str, str]:
    """Return the variable that tells a child process what is allowed."""
    return {VARIABLE: settings().codecs}


def refusal(stream: Stream) -> str:
    """Return why a stream of pictures or sound is not decoded, as it follows "path: "; "" if it is.

    The stream has a codec context.
    """
    codec = stream.codec_context.codec
    name = codec.canonical_name
    what = "picture" if stream.type == "video" else "sound"
    if name not in _allowed(os.environ.get(VARIABLE, "")):
        return (
            f"its {what} is coded in {name} ({codec.long_name}), which is rare and not decoded "
            f"unless {VARIABLE}=+{name} allows it"
        )
    if stream.type == "audio":
        rate = cast(AudioCodecContext, stream.codec_context).sample_rate
        if 0 < rate < _LEAST_RATE:
            return f"its sound has {rate} samples per second, too few to hear"
    return ""


def decoded(streams: Iterable[Stream]) -> list[Stream]:
    """Return the streams that are decoded."""
    return [stream for stream in streams if not refusal(stream)]


def decoders() -> str:
    """Return the decoders that libav may use, also while it opens a file, as it takes them."""
    return _decoders(os.environ.get(VARIABLE, ""))


def allowed_since(told: str) -> bool:
    """Return whether all that was refused, by what was told of a file, is allowed by now."""
    refused = set(_ALLOWANCE.findall(told))
    return bool(refused) and refused <= _allowed(settings().codecs)


@cache
def _allowed(asked: str) -> frozenset[str]:
    names = {*_PICTURES.split(), *_SOUNDS.split()}
    canonical = _canonical()
    for word in re.findall(r"[+-]\w+", asked):
        name = canonical.get(word[1:], word[1:])
        names = names | {name} if word[0] == "+" else names - {name}
    return frozenset(names)


@cache
def _decoders(asked: str) -> str:
    allowed = _allowed(asked)
    return ",".join(name for name, codec in _canonical().items() if codec in allowed)


@cache
def _canonical() -> dict[str, str]:
    """Return the codec of each decoder, by the decoder's name."""
    found = {}
    for name in sorted(av.codecs_available):
        try:
            found[name] = Codec(name, "r").canonical_name
        except UnknownCodecError:  # it encodes alone
            continue
    return found
