"""The TensorFlow process: receives patches of sound, answers with embeddings.

TensorFlow runs in its own process: it would crash beside torch, and its threads and memory stay
separate.
"""

from __future__ import annotations

import gc
import os
import time
from collections.abc import Callable
from functools import partial
from pathlib import Path

from ...schemas.backbones import Backbone
from ...schemas.embedding import FloatArray
from ..system.channel import Channel
from ..system.sandbox import Confinement
from ..system.worker_process import Child

START_SECONDS = 120.0
"""Time limit of loading TensorFlow and weights, seconds."""

Embed = Callable[[FloatArray], FloatArray]
"""Patches (n, PATCH_SAMPLES) -> embeddings (n, dim)."""


def _yamnet(weights: Path) -> Embed:
    from .networks.yamnet import load_yamnet

    network = load_yamnet(weights)
    return lambda patches: network.embed(patches)[0]


def _vggish(weights: Path, postprocess: bool) -> Embed:
    from .networks.vggish import load_vggish

    return load_vggish(weights, postprocess).embed


NETWORKS: dict[str, Callable[[Path], Embed]] = {
    "yamnet": _yamnet,
    "vggish": partial(_vggish, postprocess=True),
    "vggish_raw": partial(_vggish, postprocess=False),
}
"""Loaders by backbone; each takes the folder that holds the weights."""


def environment(device: str) -> dict[str, str]:
    """Return the environment variables of a process that runs TensorFlow on ``cpu`` or ``cuda``."""
    variables = {
        "TF_CPP_MIN_LOG_LEVEL": "3",
        "TF_ENABLE_ONEDNN_OPTS": "0",
        # The networks need no Keras, which takes a third of TensorFlow's loading time; this selects
        # a release of it that is a separate package, and not installed.
        "TF_USE_LEGACY_KERAS": "1",
    }
    if device == "cuda":
        variables["TF_FORCE_GPU_ALLOW_GROWTH"] = "true"  # else it takes memory that torch needs
    else:
        variables["CUDA_VISIBLE_DEVICES"] = "-1"
    return variables


def start_audio(backbone: Backbone, folder: Path, device: str, threads: int) -> Child:
    """Start the process, which loads a network in the background.

    Args:
        backbone: One that `NETWORKS` has.
        folder: Holds its weights.
        device: ``cpu`` or ``cuda``.
        threads: Most threads TensorFlow may use.

    Returns:
        The process; it sends ``ready``, or ``failed`` with the reason, once it has loaded.
    """
    child = Child(
        f"{__name__}:main",
        memory_limit_mb=None,
        env=environment(device),
        name="audio",
        confinement=Confinement.COMPUTING,
    )
    order = {"network": backbone.name, "weights": os.fspath(folder), "threads": threads}
    child.send("load", order, {})
    return child


def main(channel: Channel) -> None:
    """Load the network named by the first message, then embed until the channel closes."""
    order = channel.receive()
    gc.set_threshold(100_000)  # imports create that many lasting objects, repeatedly
    try:
        import tensorflow as tf

        tf.config.threading.set_intra_op_parallelism_threads(int(order.fields["threads"]))
        tf.config.threading.set_inter_op_parallelism_threads(1)
        embed = NETWORKS[order.fields["network"]](Path(order.fields["weights"]))
    except Exception as error:
        channel.send("failed", {"reason": f"{type(error).__name__}: {error}"}, {})
        return
    channel.send("ready", {}, {})
    while True:  # until the channel closes, which ends the process
        message = channel.receive()
        began, cpu_s = time.perf_counter(), time.process_time()
        try:
            vectors = embed(message.arrays["patches"])
        except Exception as error:
            channel.send("failed", {"reason": f"{type(error).__name__}: {error}"}, {})
            return
        spent = {
            "cpu_s": time.process_time() - cpu_s,
            "busy_s": time.perf_counter() - began,
        }
        channel.send("embeddings", spent, {"vectors": vectors})


def send_weights(channel: Channel) -> None:
    """Read the YAMNet in the folder that the first message names, and send its folded weights."""
    order = channel.receive()
    try:
        from .networks.yamnet import read_weights

        weights = read_weights(Path(order.fields["weights"]))
    except Exception as error:
        channel.send("failed", {"reason": f"{type(error).__name__}: {error}"})
        return
    channel.send("weights", {}, weights)
    channel.receive()  # until the channel closes
