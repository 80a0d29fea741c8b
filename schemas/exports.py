"""The HDF5 layout of shards and exports: names of groups, datasets and attributes.

A shard holds a batch of videos of one library::

    /                   format, version, library, created, vidsim
    /videos/...         one entry per video: id, path, label, fingerprint, ..., damage and
                        sound_damage (what did not decode), audio_track (0: default),
                        stored_at (seconds since the epoch; absent in older shards)
    /segments/...       one entry per segment: video (index), index, start_s, end_s
    /vid2img            strips (n, 20, 100, 3) uint8, segment (n,) index into /segments
    /rows/BACKBONE      vectors (n, dim) float32 as extracted, segment, start_s, end_s,
                        videos: which videos it was computed for, with rows or without;
                        attributes modality, weights_sha256, description of a network of timm
    /searched/BACKBONE  what searches compare with, one row per segment: vectors (n, dim) float32
                        as Milvus holds them, in one piece, with the attribute crc32 of its
                        bytes; segment, start_s, end_s

Every other dataset is in chunks with a Fletcher-32 each, and texts are UTF-8 of one length, padded
with zeros. Version 1 had neither, variable-length texts, and nothing searched.

An export holds one backbone of any number of videos, row by row. In the native layout::

    /                   format, version, modality, backbone, weights_sha256, libraries, vidsim
    /vectors            (n, dim) float32, or strips (n, 20, 100, 3) uint8 for vid2img
    /ids /video_ids /libraries /labels /paths /segments /start_s /end_s

The capstone layout has the files and datasets of CoderHam/VideoSimilarity (docs/exports.md).
In both, `INDEX` holds what an import needs to restore the videos::

    /.vidsim            format, version, layout, modality, backbone, weights_sha256, vidsim;
                        description of a network of timm (JSON, see `ingest.models.registry`)
    /.vidsim/videos     one entry per video the backbone was computed for, as in a shard, and
                        library, computed (0: a strip is there, vid2img rows are not)
    /.vidsim/segments   as in a shard
    /.vidsim/rows       one entry per row: segment, start_s, end_s
"""

SHARD_FORMAT = "vidsim-shard"
EXPORT_FORMAT = "vidsim-export"
LAYOUT_VERSION = 1
SHARD_VERSION = 2

INDEX = ".vidsim"
"""The group of an export that restores its videos; no library can have this name."""

VIDEO_STRINGS = ("video_id", "path", "label", "fingerprint")
VIDEO_NUMBERS = ("size", "mtime_ns", "duration_s", "segment_seconds")

AUDIOSET_FEATURES = "audioset_balanced_features_vggish.h5"
AUDIOSET_LABELS = "audioset_balanced_labels.npy"
AUDIOSET_SECONDS = 10
"""Rows per clip in `AUDIOSET_FEATURES`; the capstone left shorter clips out."""
