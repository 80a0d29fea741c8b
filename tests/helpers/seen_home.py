"""A home whose videos are files of all kinds, with random vectors instead of embeddings."""

from __future__ import annotations

from collections.abc import Mapping
from pathlib import Path
from typing import Any

from vidsim.ingest.discover.videos import describe
from vidsim.ingest.shards.home import Place, open_shards
from vidsim.ingest.sync.roots import note_root

from .clips import write_clip
from .embedded_videos import embedded


