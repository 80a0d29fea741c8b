"""What YAMNet is, whichever engine computes it: its sizes and its mel bands.

The log-mel front end of Hershey et al., "CNN Architectures for Large-Scale Audio
Classification" (2017), before the MobileNet-v1 of Howard et al., "MobileNets" (2017), as
published by Google for AudioSet (2019).
"""

from __future__ import annotations

LOG_OFFSET = 0.001
"""Added before the logarithm so that silence is finite (YAMNet's parameters)."""

CLASSES = 521
"""AudioSet classes that YAMNet predicts."""

STEM = 32
"""Channels of the first layer, a full 3x3 convolution at stride 2."""

SEPARABLE = (
    # channels, stride of the depthwise 3x3 (MobileNets, table 1)
    (64, 1),
    (128, 2),
    (128, 1),
    (256, 2),
    (256, 1),
    (512, 2),
    (512, 1),
    (512, 1),
    (512, 1),
    (512, 1),
    (512, 1),
    (1024, 2),
    (1024, 1),
)

BATCH = 64
"""Patches computed at once: their widest layer takes 25 MB."""


def weight_shapes() -> dict[str, tuple[int, ...]]:
    """Return the shapes of the folded weights by name, laid out as TensorFlow does.

    Kernels of convolutions are (height, width, inputs, outputs), depthwise ones (3, 3, channels,
    1), the classifier's (inputs, classes).
    """
    shapes: dict[str, tuple[int, ...]] = {"stem/kernel": (3, 3, 1, STEM), "stem/bias": (STEM,)}
    inputs = STEM
    for i, (outputs, _) in enumerate(SEPARABLE):
        shapes[f"depthwise_{i}/kernel"] = (3, 3, inputs, 1)
        shapes[f"depthwise_{i}/bias"] = (inputs,)
        shapes[f"pointwise_{i}/kernel"] = (1, 1, inputs, outputs)
        shapes[f"pointwise_{i}/bias"] = (outputs,)
        inputs = outputs
    shapes["classifier/kernel"], shapes["classifier/bias"] = (inputs, CLASSES), (CLASSES,)
    return shapes
