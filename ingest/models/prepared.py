"""Tensors made of published weights, kept in the cache so that the next process need not make them.

A file's name holds the SHA-256 of its content, so that one rename makes it whole and known at once.
What is damaged is never believed: it is made anew, as is what an older vidsim prepared.
"""

from __future__ import annotations

import hashlib
import logging
from collections.abc import Callable, Mapping
from contextlib import suppress
from glob import escape
from pathlib import Path

import safetensors.torch
from torch import Tensor

from ...schemas.backbones import Backbone
from ...schemas.settings import settings
from ..system.atomic_file import whole_file
from .weights import digests

_log = logging.getLogger(__name__)

_SUFFIX = ".safetensors"

_KEY_DIGITS = 16
"""Hexadecimal digits that tell what a file was made of."""


def prepared(
    backbone: Backbone, what: str, make: Callable[[], Mapping[str, Tensor]]
) -> Mapping[str, Tensor]:
    """Return what `make` gives, read from the cache if it was made before.

    Args:
        backbone: Its weights are in the cache, and have been checked.
        what: Name and version of the preparation, such as ``int8-1``: what it makes of the same
            weights is the same.
        make: Makes the tensors, on the CPU; called where they are not in the cache.

    Returns:
        Tensors by name. Those from the cache are mapped into memory. A cache that cannot be
        written is no error.
    """
    folder = settings().cache / "prepared"
    stem = f"{backbone.network}-{what}"
    key = hashlib.sha256(f"{stem} {digests(backbone)}".encode()).hexdigest()[:_KEY_DIGITS]
    for path in sorted(folder.glob(f"{escape(stem)}.{key}.*{_SUFFIX}")):
        if not is_whole(path):
            if path.exists():  # else another process was faster
                _log.warning("%s is damaged, and is made anew.", path)
            continue
        with suppress(OSError):  # a vidsim of another version has just removed it
            return safetensors.torch.load_file(path)
    made = {name: tensor.contiguous() for name, tensor in make().items()}
    try:
        _keep(folder, f"{stem}.{key}", made)
    except OSError as error:
        _log.info("What was prepared of %s could not be kept: %s", backbone.network, error)
    return made


def is_whole(path: Path) -> bool:
    """Return whether the content of `path` is the one that its name tells."""
    try:
        with path.open("rb") as file:
            found = hashlib.file_digest(file, "sha256").hexdigest()
    except OSError:
        return False
    return path.name.removesuffix(_SUFFIX).endswith(f".{found}")


def _keep(folder: Path, name: str, tensors: Mapping[str, Tensor]) -> None:
    """Write tensors, and remove what was prepared before for the same use.

    Raises:
        OSError: The folder cannot be written.
    """
    content = safetensors.torch.save(dict(tensors))
    path = folder / f"{name}.{hashlib.sha256(content).hexdigest()}{_SUFFIX}"
    folder.mkdir(parents=True, exist_ok=True)
    with whole_file(path) as partial:
        partial.write_bytes(content)
    # Of the same preparation alone: a vidsim of another version may use its own.
    for other in folder.glob(f"{escape(name.partition('.')[0])}.*{_SUFFIX}"):
        if other != path:
            with suppress(OSError):  # another process was faster
                other.unlink()
