"""The TensorFlow process: receives patches of sound, answers with embeddings."""

from __future__ import annotations

from pathlib import Path

from .child import Channel


def main(channel: Channel) -> None:
    """Loads YAMNet as told by the first message, then embeds until the channel closes."""
    order = channel.receive()
    try:
        import tensorflow as tf

        tf.config.threading.set_intra_op_parallelism_threads(int(order.fields["threads"]))
        tf.config.threading.set_inter_op_parallelism_threads(1)
        from .networks.yamnet import load_yamnet

        network = load_yamnet(Path(order.fields["weights"]))
    except Exception as error:
        channel.send("failed", {"reason": f"{type(error).__name__}: {error}"}, {})
        return
    channel.send("ready", {}, {})
    while True:  # until the channel closes, which ends the process
        message = channel.receive()
        try:
            vectors, _ = network.embed(message.arrays["patches"])
        except Exception as error:
            channel.send("failed", {"reason": f"{type(error).__name__}: {error}"}, {})
            return
        channel.send("embeddings", {}, {"vectors": vectors})
