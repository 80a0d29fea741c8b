"""The import of torch, begun while there is something else to do."""

from __future__ import annotations

import importlib
import sys
from collections.abc import Iterable
from contextlib import suppress
from threading import Thread

from ...schemas.backbones import Backbone
from ...schemas.modality import Modality


def import_torch_ahead(backbones: Iterable[Backbone]) -> None:
    """Begin to import torch in a thread, where a backbone may need it.

    It takes longer than all else that a query imports. Hashing of weights, which leaves the
    interpreter to others, goes on meanwhile. Who imports torch next waits until it is there, and
    is told what hinders it.
    """
    if "torch" not in sys.modules and any(b.modality is not Modality.COLOR for b in backbones):
        Thread(target=_import, name="vidsim-torch").start()  # no daemon: they die within C code


def _import() -> None:
    with suppress(Exception):
        importlib.import_module("torch")
