"""Filter expressions: parsed, and evaluated over rows."""

from __future__ import annotations

import random
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path

import numpy as np

from vidsim.ingest.shards.row_filter import FilterError, parse_filter
from vidsim.schemas.collections import FIELDS

from .mutations import ODD_TEXTS, mutated_text
from .targets import Feed, Outcome

_ROWS = 7

_WORDS = (
    *(field.name for field in FIELDS),
    *("and", "or", "not", "&&", "||", "!", "in", "not in", "like", "is null", "is not null"),
    *("==", "!=", "<", "<=", ">", ">=", "+", "-", "*", "/", "(", ")", "[", "]", ",", "true"),
    *('"snow"', "'s'", '"%a_%"', '"\\\\"', '"\\%"', "0", "1", "2.5", "1e308", "1e-400"),
    *("9223372036854775807", "9223372036854775808", "0x1", "**", "%", '""', "False", "1e999"),
)


@contextmanager
def started(folder: Path) -> Iterator[Feed]:
    """Feeds expressions as a person writes them, and spoiled ones."""
    columns = {
        field.name: np.array(["", "snow", "a\nb", "%", "é", "\0", "x" * 300], object)
        if field.kind == "string"
        else np.array([0, 1, -1, 2**31, 2**53, 2**63 - 1, -(2**63)], np.int64)
        if field.kind == "integer"
        else np.array([0.0, 1.5, -1.5, 1e308, -1e308, np.inf, np.nan])
        for field in FIELDS
    }

    def feed(chance: random.Random) -> Outcome:
        text = _expression(chance, 0)
        if chance.random() < 0.6:
            text = mutated_text(chance, text, _WORDS)
        try:
            parsed = parse_filter(text)
        except FilterError:
            return Outcome.REFUSED
        mask = parsed.mask(columns)
        assert (mask.shape, mask.dtype) == ((_ROWS,), np.bool_)
        return Outcome.ACCEPTED

    yield feed


def _expression(chance: random.Random, depth: int) -> str:
    if depth < 4 and chance.random() < 0.5:
        one, other = (_expression(chance, depth + 1) for _ in range(2))
        shape = chance.choice(("({}) and ({})", "{} or {}", "not ({})", "({}) && {}", "!({})"))
        return shape.format(one, other)
    field = chance.choice(FIELDS)
    of_text = field.kind == "string"
    value = _text(chance) if of_text else _number(chance)
    if of_text and chance.random() < 0.3:
        return f"{field.name} like {value}"
    match chance.randrange(4):
        case 0:
            return f"{field.name} in [{', '.join([value] * chance.randrange(4))}]"
        case 1 if not of_text:
            return f"{field.name} {chance.choice('+-*/')} {value} > {_number(chance)}"
        case 2:
            return f"{field.name} is {chance.choice(('', 'not '))}null"
        case _:
            return f"{field.name} {chance.choice(('==', '!=', '<', '>='))} {value}"


def _text(chance: random.Random) -> str:
    quote = chance.choice("\"'")
    pieces = [chance.choice((*ODD_TEXTS[:30], "%", "_", "\\%", "a")) for _ in range(4)]
    inner = "".join(pieces).replace(quote, "")
    return f"{quote}{inner}{quote}"


def _number(chance: random.Random) -> str:
    return str(
        chance.choice(
            (0, 1, -1, 0.5, 1e308, -1e-308, 2**63 - 1, -(2**63), 2**53 + 1, chance.random() * 100)
        )
    )
