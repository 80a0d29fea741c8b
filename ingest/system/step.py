"""A step of a stage, as a value and in words: how much, how fast, and how long it will take."""

from __future__ import annotations

from dataclasses import dataclass
from datetime import timedelta

_BYTES = "bytes"

_SCALES = ((1e9, "GB"), (1e6, "MB"), (1e3, "kB"))


@dataclass(frozen=True)
class Step:
    """The progress of a stage.

    Attributes:
        stage: Name of the stage, such as ``embedding``.
        done: Finished units.
        total: All units, None if unknown.
        unit: Name of the units: ``videos``, ``files``, ``bytes``, ``bytes of video``, ...
        finished: Whether the stage has ended.
        note: What it works on, as text; "" if it does not say.
    """

    stage: str
    done: float
    total: float | None
    unit: str
    finished: bool = False
    note: str = ""


def counted(step: Step, elapsed_s: float) -> str:
    """Describe a step: ``12 of 530 MB of video, 1.2 MB/s, about 0:07:11 left``.

    Args:
        step: The step. Bytes are scaled, also where the unit says what they are of.
        elapsed_s: Seconds since its stage began. The rate is the mean over these.
    """
    parts = [_amount(step)] if step.total or step.done else []
    rate = step.done / elapsed_s if elapsed_s > 0 else 0.0
    if rate:
        parts.append(_rate(rate, step.unit))
    if step.finished:
        parts.append(f"in {duration(elapsed_s)}")
    elif rate and step.total is not None:
        parts.append(f"about {duration(max(0.0, step.total - step.done) / rate)} left")
    else:
        parts.append(f"{duration(elapsed_s)} so far")
    return ", ".join(parts)


def duration(seconds: float) -> str:
    """Format seconds as ``h:mm:ss``."""
    return str(timedelta(seconds=round(seconds)))


def _amount(step: Step) -> str:
    scale, unit = _scale(step.total or step.done, step.unit)
    done = _number(step.done / scale)
    return (
        f"{done} {unit}"
        if step.total is None
        else f"{done} of {_number(step.total / scale)} {unit}"
    )


def _rate(rate: float, unit: str) -> str:
    scale, unit = _scale(rate, unit)
    return f"{_number(rate / scale)} {unit.partition(' ')[0]}/s"


def _scale(most: float, unit: str) -> tuple[float, str]:
    """Return what to divide by and the name of the unit then, so that `most` is readable."""
    if not unit.startswith(_BYTES):
        return 1.0, unit
    scale, name = next(((s, n) for s, n in _SCALES if most >= s), _SCALES[-1])
    return scale, name + unit.removeprefix(_BYTES)


def _number(value: float) -> str:
    if value >= 10 or value == int(value):
        return f"{value:,.0f}"
    return f"{value:.1f}" if value >= 1 else f"{value:.2g}"
