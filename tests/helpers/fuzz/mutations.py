"""Ways to spoil bytes, texts and JSON; what comes out follows from the generator given."""

from __future__ import annotations

import json
import random
from collections.abc import Callable, Mapping, Sequence
from typing import Any

_EXTREMES = (0, 1, -1, 2**7, 2**8 - 1, 2**15, 2**16 - 1, 2**31 - 1, 2**31, 2**32 - 1, 2**63, -2)
"""What lengths and counts are set to; each is cut to the bytes of its field."""

_MOST_BYTES = 1 << 20
"""Larger than that no input grows."""

_Way = Callable[[random.Random, bytearray, Sequence[bytes]], None]


def mutated(chance: random.Random, data: bytes, others: Sequence[bytes]) -> bytes:
    """Spoils bytes in one to eight ways; `others` are inputs of the kind, to be spliced in."""
    found = bytearray(data)
    for _ in range(chance.choice((1, 1, 1, 2, 2, 3, 5, 8))):
        chance.choice(_WAYS)(chance, found, others)
        del found[_MOST_BYTES:]
    return bytes(found)


def _place(chance: random.Random, data: bytearray) -> int:
    """A place in the data: half of the time near an end, where formats have their headers."""
    if not data:
        return 0
    if chance.random() < 0.5:
        return chance.randrange(len(data))
    near = min(len(data) - 1, int(2 ** chance.uniform(0, 12)) - 1)
    return near if chance.random() < 0.7 else len(data) - 1 - near


def _stretch(chance: random.Random, data: bytearray) -> tuple[int, int]:
    first = _place(chance, data)
    return first, min(len(data), first + int(2 ** chance.uniform(0, 12)))


def _flip_bits(chance: random.Random, data: bytearray, _: Sequence[bytes]) -> None:
    for _n in range(chance.choice((1, 1, 2, 8, 64)) if data else 0):
        data[_place(chance, data)] ^= 1 << chance.randrange(8)


def _replace_bytes(chance: random.Random, data: bytearray, _: Sequence[bytes]) -> None:
    for _n in range(chance.choice((1, 2, 4, 16)) if data else 0):
        data[_place(chance, data)] = chance.choice((0, 255, 127, 128, chance.randrange(256)))


def _fill(chance: random.Random, data: bytearray, _: Sequence[bytes]) -> None:
    first, behind = _stretch(chance, data)
    kind = chance.randrange(3)
    data[first:behind] = (
        chance.randbytes(behind - first) if kind == 2 else bytes([255 * kind]) * (behind - first)
    )


def _set_extreme(chance: random.Random, data: bytearray, _: Sequence[bytes]) -> None:
    size = chance.choice((1, 2, 3, 4, 8))
    first = _place(chance, data)
    if chance.random() < 0.5:
        first -= first % size
    number = chance.choice(_EXTREMES) + chance.choice((0, 0, 1, -1))
    order = chance.choice(("little", "big"))
    data[first : first + size] = (number % 2 ** (8 * size)).to_bytes(size, order)


def _move(chance: random.Random, data: bytearray, _: Sequence[bytes]) -> None:
    first, behind = _stretch(chance, data)
    block = data[first:behind]
    del data[first:behind]
    at = _place(chance, data)
    data[at:at] = block


def _double(chance: random.Random, data: bytearray, _: Sequence[bytes]) -> None:
    first, behind = _stretch(chance, data)
    times = chance.choice((1, 1, 1, 2, 16, 256))
    data[behind:behind] = data[first:behind] * min(times, 1 + _MOST_BYTES // (behind - first + 1))


def _cut_out(chance: random.Random, data: bytearray, _: Sequence[bytes]) -> None:
    first, behind = _stretch(chance, data)
    del data[first:behind]


def _truncate(chance: random.Random, data: bytearray, _: Sequence[bytes]) -> None:
    del data[_place(chance, data) :]


def _splice(chance: random.Random, data: bytearray, others: Sequence[bytes]) -> None:
    other = bytearray(chance.choice(others))
    data[_place(chance, data) :] = other[_place(chance, other) :]


def _insert_other(chance: random.Random, data: bytearray, others: Sequence[bytes]) -> None:
    other = bytearray(chance.choice(others))
    first, behind = _stretch(chance, other)
    at = _place(chance, data)
    data[at:at] = other[first:behind]


_WAYS: tuple[_Way, ...] = (
    *(_flip_bits, _replace_bytes, _fill, _set_extreme, _set_extreme, _move, _double),
    *(_cut_out, _truncate, _splice, _insert_other),
)

ODD_TEXTS = (
    *("", " ", "\0", "\n", "\r", "\t", "\x1b[2J", "\u2028", "\ufeff", "\u202e", "\ud800"),
    *("\N{GRINNING FACE}", "e\u0301", "\u0661", "\u00b2", "\u0130", "\u00df", "..", "../x", "/"),
    *("\\", '"', "'", "%", "%s", "{}", "-", "--", "-1", "0", "-0", "1e999", "nan", "inf", "NaN"),
    *("9" * 25, "9" * 400, "9" * 5000, "0x10", "1_000", "1e-999", "None", "null", "true", "[", "("),
    *("]", ")", "=", "==", ",", ";", ":", "::", "#", "a" * 300, "a" * 70_000),
)
"""Pieces that parsers trip over."""


def mutated_text(chance: random.Random, text: str, words: Sequence[str]) -> str:
    """Spoils a text in one to six ways; `words` are those of its language."""
    for _ in range(chance.choice((1, 1, 2, 2, 3, 6))):
        text = _spoiled_text(chance, text, words)[:_MOST_BYTES]
    return text


def _spoiled_text(chance: random.Random, text: str, words: Sequence[str]) -> str:
    first = chance.randrange(len(text) + 1)
    behind = min(len(text), first + int(2 ** chance.uniform(0, 6)))
    piece = chance.choice(words) if words and chance.random() < 0.7 else chance.choice(ODD_TEXTS)
    match chance.randrange(9):
        case 0:
            return text[:first] + piece + text[first:]
        case 1:
            return text[:first] + piece + text[behind:]
        case 2:
            return text[:first] + text[behind:]
        case 3:
            return text[:first]
        case 4:
            times = chance.choice((2, 2, 3, 100, 10_000)) if behind - first < 20 else 2
            return text[:behind] + text[first:behind] * times + text[behind:]
        case 5:  # a word many times, as nesting is
            return piece[:9] * chance.choice((2, 10, 1000, 20_000)) + text
        case 6:
            opened, closed = chance.choice(("()", "[]", "{}", '""', "''", ("not (", ")")))
            depth = chance.choice((1, 2, 100, 5000))
            return opened * depth + text + closed * (depth + chance.choice((0, 0, 1, -1)))
        case 7:
            character = chr(chance.choice((chance.randrange(256), chance.randrange(0x11_0000))))
            return text[:first] + character + text[first + 1 :]
        case _:
            return " ".join(chance.choice(words or ODD_TEXTS) for _ in range(chance.randrange(30)))


def encoded(chance: random.Random, text: str) -> bytes:
    """A text as the bytes of a file, now and then in another encoding or spoiled."""
    kinds = ("utf-8", "utf-8", "utf-8", "utf-8-sig", "utf-16", "utf-16-le", "utf-32", "latin-1")
    data = text.encode(chance.choice(kinds), "replace")
    return mutated(chance, data, [data]) if chance.random() < 0.3 else data


def odd_value(chance: random.Random, depth: int = 0) -> Any:
    """Any value of JSON."""
    longest = 300 if depth else None  # lists repeat what is in them
    kinds: list[Callable[[], Any]] = [
        lambda: chance.choice(ODD_TEXTS)[:longest],
        lambda: chance.choice((0, 1, -1, 2**31, 2**53 + 1, 2**63, -(2**64), 10**300, 10**400)),
        lambda: chance.choice((0.5, -0.0, 1e308, -1e308, 5e-324, float("inf"), float("nan"))),
        lambda: chance.choice((True, False, None)),
    ]
    if depth < 3:
        kinds += [
            lambda: [odd_value(chance, depth + 1)] * chance.choice((0, 1, 3, 200 >> 2 * depth)),
            lambda: {chance.choice(ODD_TEXTS): odd_value(chance, depth + 1) for _ in range(3)},
        ]
    return chance.choice(kinds)()


def mutated_value(chance: random.Random, value: Any) -> Any:
    """Spoils a value of JSON at one to four places, or replaces it."""
    for _ in range(chance.choice((1, 1, 2, 4))):
        value = _spoiled_value(chance, value)
    return value


def _spoiled_value(chance: random.Random, value: Any) -> Any:
    if isinstance(value, Mapping) and value and chance.random() < 0.9:
        found = dict(value)
        key = chance.choice([*found])
        match chance.randrange(6):
            case 0:
                del found[key]
            case 1:
                found[chance.choice(ODD_TEXTS)] = odd_value(chance)
            case _:
                found[key] = _spoiled_value(chance, found[key])
        return found
    if isinstance(value, (list, tuple)) and value and chance.random() < 0.8:
        items = list(value)
        at = chance.randrange(len(items))
        match chance.randrange(5):
            case 0:
                del items[at]
            case 1:
                items[at:at] = [items[at]] * chance.choice((1, 2, 50))
            case _:
                items[at] = _spoiled_value(chance, items[at])
        return items
    if isinstance(value, str) and chance.random() < 0.4:
        return mutated_text(chance, value, ())
    return odd_value(chance)


def json_of(chance: random.Random, value: Any) -> bytes:
    """A value as JSON, now and then spoiled as a text or as bytes, or nested deeply."""
    kind = chance.random()
    try:
        text = json.dumps(value, ensure_ascii=chance.random() < 0.8)
    except (ValueError, RecursionError):
        text = "[]"
    if kind < 0.05:
        depth = chance.choice((10, 900, 3000, 100_000))
        inner = chance.choice(("[", '{"a":'))
        text = text[: chance.randrange(len(text) + 1)] + inner * depth
    elif kind < 0.15:
        text = mutated_text(chance, text, ('"', "{", "}", "[", "]", ",", ":", "\\u0000", "\\ud800"))
    data = text.encode("utf-8", "surrogatepass")
    return mutated(chance, data, [data]) if kind > 0.9 else data
