"""The TensorFlow process: receives patches of sound, answers with embeddings."""

from __future__ import annotations

from collections.abc import Callable
from functools import partial
from pathlib import Path

from ..schemas.embedding import FloatArray
from .child import Channel

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


def main(channel: Channel) -> None:
    """Loads the network named by the first message, then embeds until the channel closes."""
    order = channel.receive()
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
        try:
            vectors = embed(message.arrays["patches"])
        except Exception as error:
            channel.send("failed", {"reason": f"{type(error).__name__}: {error}"}, {})
            return
        channel.send("embeddings", {}, {"vectors": vectors})
