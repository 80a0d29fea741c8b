"""Collect what a video's packets tell of its structure, whatever the codec."""

from __future__ import annotations

from array import array
from contextlib import suppress
from typing import cast

import av
import numpy as np
from av.stream import Stream
from av.video.codeccontext import VideoCodecContext

from .structure import Reader, Structure, UnknownError
from .structure_h264 import H264
from .structure_intra import DnxHd, Mjpeg, ProRes
from .structure_mpeg import Mpeg2

_HARMLESS = frozenset(
    {"mpegts_stream_id", "quality_stats", "cpb_properties", "prft", "a53_cc", "dynamic_hdr10_plus"}
)
"""What may come beside a packet without changing how others decode. Palettes, parameters and
matrices do."""


def _reader(stream: Stream) -> Reader | None:
    """Return the reader for a stream, None where its codec has none."""
    context = cast(VideoCodecContext, stream.codec_context)
    said = bytes(context.extradata or b"")
    match context.codec.name:
        case "h264":
            return H264(said, context.has_b_frames)
        case "mpeg1video" | "mpeg2video" as name:
            return Mpeg2(name == "mpeg2video")
        case "mjpeg":
            return Mjpeg(context.height)
        case "prores":
            return ProRes()
        case "dnxhd":
            return DnxHd()
    return None


class Structures:
    """Takes the packets of a video stream in file order, until one of them is not understood."""

    def __init__(self, stream: Stream) -> None:
        """Choose the reader of the stream's codec."""
        self._reader: Reader | None = None
        with suppress(UnknownError, IndexError):
            self._reader = _reader(stream)
        self._begins, self._free = bytearray(), bytearray()
        self._shown, self._sizes = array("q"), array("q")

    def add(self, packet: av.Packet[Stream]) -> None:
        """Read the next packet; once one is not understood, none is."""
        if self._reader is None:
            return
        try:
            if packet.is_corrupt or packet.is_discard or not _is_plain(packet):
                raise UnknownError
            begins, free, shown = self._reader.add(bytes(packet))
        except (UnknownError, IndexError):
            self._reader = None
            return
        self._begins.append(begins)
        self._free.append(free)
        self._shown.append(shown)
        self._sizes.append(packet.size)

    def found(self) -> Structure | None:
        """Return the structure of all packets; None where it is not known for certain."""
        if self._reader is None or not self._begins:
            return None
        read = Structure(
            np.frombuffer(bytes(self._begins), np.bool_),
            np.frombuffer(bytes(self._free), np.bool_),
            np.array(self._shown, np.int64),
            np.array(self._sizes, np.int64),
        )
        try:
            return self._reader.end(read)
        except UnknownError:
            return None


def _is_plain(packet: av.Packet[Stream]) -> bool:
    """Return whether nothing comes beside a packet that others could depend on."""
    try:
        return all(data.data_type in _HARMLESS for data in packet.iter_sidedata())
    except ValueError:  # a kind that PyAV cannot name
        return False
