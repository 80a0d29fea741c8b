"""TensorFlow's SAME padding, which networks trained there expect."""


def same_padding(size: int, kernel: int, stride: int) -> tuple[int, int]:
    """Return how many cells TensorFlow's SAME pads before and after an axis of `size` cells.

    The output has ``ceil(size / stride)`` cells. An odd cell goes to the end, which differs
    from torch's symmetric padding as soon as the stride is above one.
    """
    total = max((-(-size // stride) - 1) * stride + kernel - size, 0)
    return total // 2, total - total // 2
