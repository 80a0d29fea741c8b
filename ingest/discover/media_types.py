"""Detection of media files by their extension, or by their first bytes where that is ambiguous.

Only what the decoder's allow-list of containers can read is listed here.
"""

from __future__ import annotations

import re

_MP4 = "3g2 3ga 3gp 3gp2 3gpp 3gpp2 360 f4a f4b f4p f4v insv ismv lrv m4a m4b m4r m4v mj2 moov mov"
_MPEG = "264 265 avc dv dif evo h263 h264 h265 hevc m1v m2p m2v mp2v mp4v mpe mpeg mpg mpv mpv2"
_STREAMS = "m2t m2ts mts tod tp trp ts vob vro"
_OTHER = (
    "amv apng asf avi divx dvr-ms flv gif ivf mjpeg mjpg mk3d mkv mp4 mqv mxf nut obu ogm ogv ogx "
    "qt rm rmvb vc1 webm wmv xvid y4m"
)
_SOUND = (
    "aac ac3 adts aif aifc aiff amr au awb caf ec3 eac3 flac isma m2a mka mp2 mp3 mpa oga ogg opus "
    "ra snd spx w64 wav weba wma wv"
)
SUFFIXES = frozenset(f".{name}" for name in f"{_MP4} {_MPEG} {_STREAMS} {_OTHER} {_SOUND}".split())
"""Extensions of candidate files; their content decides what they are."""

TEXT_TOO = frozenset({".ts", ".mts"})
"""Extensions in `SUFFIXES` that TypeScript sources share."""

_PICTURES = (
    "arw avif bmp cr2 cr3 dng heic heif ico jp2 jpeg jpg nef orf pbm pgm png ppm psd raw svg thm "
    "tif tiff webp xcf"
)
_TEXTS = (
    "ass bat c cfg conf cpp css csv cue diz doc docx env epub go h htm html idx ini ipynb java js "
    "json jsonl log lrc lua m3u m3u8 md mks nfo ods odt pdf pl pls ppt pptx ps1 py r rb rs rst rtf "
    "sami sbv sh smi srt ssa sub sup sql tex toml tsv tsx ttml txt url vtt xls xlsx xml xmp yaml "
    "yml"
)
_DATA = (
    "7z a apk bz2 cab class ckpt db dll dmg exe gz h5 hdf5 jar lnk lock msi npy npz o "
    "onnx parquet pkl pt pth pyc rar safetensors so sqlite tar tfrecord tgz torrent ttf whl woff "
    "woff2 xz zip zst md5 par2 sfv sha1 sha256"
)
_UNFINISHED = "!qb !ut aria2 crdownload download opdownload part partial ytdl"
NEVER = frozenset(f".{name}" for name in f"{_PICTURES} {_TEXTS} {_DATA} {_UNFINISHED}".split())
"""Extensions of files that are never opened. Unfinished downloads (of browsers, torrent clients,
yt-dlp) get another name once they are complete."""

SNIFFED_BYTES = 4096
"""Enough for five packets of a transport stream and a few frames of MPEG audio."""

_PICTURE_BRANDS = re.compile(rb"avi[fs]|he[iv][cmsx]|jp2 |jpm |jpx |m[is]f1|crx ")
"""Major brands of ISO files of still pictures (mp4ra.org/registered-types/brands)."""

# The same bytes as in the probes of FFmpeg's demuxers.
_STARTS = re.compile(
    rb"""
      .{4}ftyp | .{4}(moov|mdat|pnot)         # ISO base media, QuickTime
    | \x1a\x45\xdf\xa3                         # EBML: Matroska, WebM
    | (RIFF|RIFX|RF64|BW64).{4}(AVI[ X\x19]|AMV[ ]|WAVE|CDXA)
    | OggS | fLaC | wvpk | caff | \.snd | \#!AMR | FLV\x01 | DKIF | YUV4MPEG2 | GIF8[79]a
    | \.RMF | \.ra\xfd                         # RealMedia
    | FORM.{4}AIF[FC]
    | \x30\x26\xb2\x75\x8e\x66\xcf\x11         # ASF: WMV, WMA
    | riff\x2e\x91\xcf\x11                     # Wave64
    | \x06\x0e\x2b\x34\x02\x05\x01\x01\x0d\x01\x02\x01\x01\x02  # MXF
    | nut/multimedia[ ]container\x00
    | \x1f\x07\x00[\x3f\xbf]                   # DV: the header of a first DIF block
    | \x00\x00\x01[\xba\xb3]                   # MPEG programme stream, MPEG video
    | \x00?\x00\x00\x01([\x27\x67]|\x09[\x10\x30\x50\x70\x90\xb0\xd0\xf0])  # H.264
    | \x00?\x00\x00\x01(\x40\x01|\x46\x01)     # HEVC: parameter set, delimiter
    | ID3[\x02-\x04]
    """,
    re.VERBOSE | re.DOTALL,
)

_TS_PACKETS = 5
_TS_SIZES = (188, 192, 204)
"""Bytes per packet of a transport stream: plain, with a Blu-ray time code, with a checksum."""

_AUDIO_FRAMES = 3
_MP3_KBITS = {
    # (MPEG version 1, layer): kilobits per second by index, ISO 11172-3 and 13818-3
    (True, 2): (0, 32, 48, 56, 64, 80, 96, 112, 128, 160, 192, 224, 256, 320, 384),
    (True, 3): (0, 32, 40, 48, 56, 64, 80, 96, 112, 128, 160, 192, 224, 256, 320),
    (False, 2): (0, 8, 16, 24, 32, 40, 48, 56, 64, 80, 96, 112, 128, 144, 160),
    (False, 3): (0, 8, 16, 24, 32, 40, 48, 56, 64, 80, 96, 112, 128, 144, 160),
}
_MP3_HERTZ = (44_100, 48_000, 32_000)


def is_media(head: bytes) -> bool:
    """Return whether a file that begins with `head` has a container that the decoder reads.

    Args:
        head: The first `SNIFFED_BYTES` of a file, or all of a shorter one.
    """
    if head[4:8] == b"ftyp" and _PICTURE_BRANDS.match(head, 8):
        return False
    return bool(_STARTS.match(head)) or _is_transport_stream(head) or _is_mpeg_audio(head)


def is_text(head: bytes) -> bool:
    """Return whether `head` is text: not empty, UTF-8, and free of control characters."""
    try:
        text = head.decode()
    except UnicodeDecodeError as error:
        if error.start < len(head) - 3:  # else a truncated character
            return False
        text = head[: error.start].decode()
    return bool(text) and not re.search(r"[\x00-\x08\x0e-\x1f]", text)


def _is_transport_stream(head: bytes) -> bool:
    """Return whether sync bytes (0x47) recur at packet intervals, wherever the first one is."""
    return any(
        all(head[first + n * size : first + n * size + 1] == b"\x47" for n in range(_TS_PACKETS))
        for size in _TS_SIZES
        for first in range(size)
    )


def _is_mpeg_audio(head: bytes) -> bool:
    """Return whether consecutive frames of MP3, MP2 or ADTS start at the first byte."""
    at = 0
    for _ in range(_AUDIO_FRAMES):
        if at and at == len(head):  # a file of one or two frames
            return True
        size = _audio_frame_bytes(head[at : at + 6])
        if size is None:
            return False
        at += size
    return True


def _audio_frame_bytes(header: bytes) -> int | None:
    """Return the bytes of the MPEG audio frame with this `header`; None if it is not one."""
    if len(header) < 6 or header[0] != 0xFF or header[1] & 0xE0 != 0xE0:
        return None
    if header[1] & 0xF6 == 0xF0:  # ADTS
        size = (header[3] & 3) << 11 | header[4] << 3 | header[5] >> 5
        return size if size > 7 and header[2] >> 2 & 15 < 13 else None
    version, layer = header[1] >> 3 & 3, 4 - (header[1] >> 1 & 3)
    bits, rate = header[2] >> 4, header[2] >> 2 & 3
    if version == 1 or layer not in (2, 3) or bits in (0, 15) or rate == 3:
        return None
    first = version == 3
    kbits = _MP3_KBITS[first, layer][bits]
    hertz = _MP3_HERTZ[rate] // {3: 1, 2: 2, 0: 4}[version]
    samples = 576 if layer == 3 and not first else 1152
    return samples // 8 * kbits * 1000 // hertz + (header[2] >> 1 & 1)
