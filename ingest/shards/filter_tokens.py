"""The words of a Milvus filter expression: fields, operators, strings and numbers."""

from __future__ import annotations

import re
from collections.abc import Iterator
from typing import Literal, NamedTuple, NoReturn

Kind = Literal["string", "integer", "number", "condition"]
"""The type of a field, a value or an operation; ``true`` and ``false`` are conditions."""

Value = str | int | float | bool


class FilterError(ValueError):
    """An expression that is not understood; its text is a short reason with the place.

    Attributes:
        position: Index of the character of the expression where it was noticed.
    """

    def __init__(self, reason: str, position: int) -> None:
        """Say the reason and the place, counted from 1."""
        super().__init__(f"{reason} at character {position + 1}")
        self.position = position


class Token(NamedTuple):
    """A word of an expression.

    Attributes:
        kind: "string", "number", "condition" (``true``), "name", "end", or the operator or keyword
            that it is: "(", "==", "and" (also where ``&&`` or ``AND`` was written).
        text: As written.
        position: Index of its first character.
    """

    kind: str
    text: str
    position: int

    def __str__(self) -> str:
        """Return it as a message names it."""
        return "the end" if self.kind == "end" else f"'{self.text[:40]}'"


_TOKEN = re.compile(
    r"""(?P<space>[ \t\r\n]+)
    |(?P<string>"(?:[^"\\\r\n]++|\\.)*+"|'(?:[^'\\\r\n]++|\\.)*+')
    |(?P<number>[0-9]+(?:\.[0-9]+)?(?:[eE][+-]?[0-9]+)?)
    |(?P<name>[^\W\d]\w*)
    |(?P<sign>==|!=|<=|>=|&&|\|\||[-+*/<>!()\[\],])""",
    re.VERBOSE,
)

_SIGNS = {"&&": "and", "||": "or", "!": "not"}
_KEYWORDS = {"and", "or", "not", "in", "like", "is", "null", "exists", "iso", "interval"}
_TRUTH = {"true": True, "True": True, "TRUE": True, "false": False, "False": False, "FALSE": False}
_ESCAPES = {"n": "\n", "r": "\r", "t": "\t", "\\": "\\", '"': '"', "'": "'"}
_INTENDED = {"=": "==", "&": "&&", "|": "||"}

_INTEGERS = range(-(2**63), 2**63)
"""Integers that Milvus' INT64 holds."""


def tokens(expression: str) -> Iterator[Token]:
    """Yield the words of an expression, and last one of kind "end".

    Raises:
        FilterError: A character begins none, or a string is not closed.
    """
    position = 0
    while position < len(expression):
        found = _TOKEN.match(expression, position)
        if found is None:
            _refuse(expression[position], position)
        kind, text = str(found.lastgroup), found[0]
        if kind == "sign":
            kind = _SIGNS.get(text, text)
        elif kind == "name" and text in _TRUTH:
            kind = "condition"
        elif kind == "name" and text.lower() in _KEYWORDS:
            kind = text.lower()
        if kind != "space":
            yield Token(kind, text, position)
        position = found.end()
    yield Token("end", "", position)


def _refuse(character: str, position: int) -> NoReturn:
    if character in "\"'":
        raise FilterError("a string without an end", position)
    hint = f" (did you mean '{_INTENDED[character]}'?)" if character in _INTENDED else ""
    raise FilterError(f"unexpected {character!r}{hint}", position)


def literal(token: Token, negative: bool) -> tuple[Kind, Value]:
    """Return the kind and the value of a string, a number, or ``true`` or ``false``.

    Args:
        token: Of one of these kinds.
        negative: Whether a minus sign stands before it.

    Raises:
        FilterError: A string has an escape that Milvus Lite does not know, or an integer does not
            fit into 64 bits.
    """
    if token.kind == "string":
        return "string", unquoted(token)
    if token.kind == "condition":
        return "condition", _TRUTH[token.text]
    if not token.text.isdigit():
        return "number", -float(token.text) if negative else float(token.text)
    # Python refuses to read integers of thousands of digits, zeros before them too.
    digits = token.text.lstrip("0") or "0"
    value = int(digits) if len(digits) < 20 else 2**64
    value = -value if negative else value
    if value not in _INTEGERS:
        raise FilterError("an integer over 64 bits", token.position)
    return "integer", value


def unquoted(token: Token) -> str:
    """Return the text of a string.

    Raises:
        FilterError: It has an escape that Milvus Lite does not know.
    """

    def character(escape: re.Match[str]) -> str:
        if escape[1] not in _ESCAPES:
            raise FilterError(f"unknown escape '{escape[0]}'", token.position + 1 + escape.start())
        return _ESCAPES[escape[1]]

    return re.sub(r"\\(.)", character, token.text[1:-1])
