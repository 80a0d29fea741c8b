r"""Milvus filter expressions, evaluated over columns of rows without a Milvus.

The dialect is Milvus Lite's over vidsim's scalar fields (`schemas.collections.FIELDS`), and the
same rows are selected: comparisons, ``in [...]``, ``not in [...]``, ``like``, ``is null``,
arithmetic, ``and``, ``or``, ``not`` (``&&``, ``||``, ``!``), parentheses, strings, numbers,
``true`` and ``false``.

Where Milvus Lite 3.2 and a server (2.3.5 where no other is named) differ:

- What only a server has is refused, as by Lite: chained ranges (``0 < segment < 5``), ``%``,
  ``**``, hexadecimal numbers, other escapes in strings. 017 is seventeen, as in Lite.
- What Lite alone accepts on strings is refused, as by a server: ``text_match(label, "snow")``,
  ``label["key"]``.
- ``not label == "x"`` negates the comparison, as in Lite; a server wants ``not (label == "x")``.
- ``like`` takes ``%`` anywhere and ``_``, as in Lite and, by Milvus' documentation, in servers of
  today. Its ``\`` makes the next character literal, as documented there; Lite takes it for a
  character of its own in a pattern such as ``a\\b%``, whose wildcards are ``%`` at the ends.
- An integer over 2**53 can be compared with ``start_s`` and ``end_s``; Lite refuses.
"""

from __future__ import annotations

import operator
from collections.abc import Callable, Mapping
from dataclasses import dataclass
from functools import partial
from typing import Any

import numpy as np
import numpy.typing as npt

from ...schemas.collections import FIELDS
from .filter_tokens import FilterError, Kind, Token, Value, literal, tokens, unquoted
from .like_pattern import like

__all__ = ["FilterError", "RowFilter", "parse_filter"]

_Array = npt.NDArray[Any]
_Compute = Callable[..., _Array]

_FIELDS: dict[str, Kind] = {field.name: field.kind for field in FIELDS}


@dataclass(frozen=True)
class _Column:
    """Push a column."""

    name: str


@dataclass(frozen=True)
class _Constant:
    """Push a value, as an array of shape (1,)."""

    value: Value


@dataclass(frozen=True)
class _Operation:
    """Replace the last `operands` arrays by what `compute` makes of them."""

    compute: _Compute
    operands: int


_Step = _Column | _Constant | _Operation


@dataclass(frozen=True)
class RowFilter:
    """A parsed expression; created by `parse_filter`.

    Attributes:
        steps: The expression in postfix order: nesting of any depth takes no stack of Python's.
    """

    steps: tuple[_Step, ...]

    @property
    def fields(self) -> frozenset[str]:
        """Fields that the expression names."""
        return frozenset(step.name for step in self.steps if isinstance(step, _Column))

    def mask(self, columns: Mapping[str, _Array]) -> npt.NDArray[np.bool_]:
        """Return which of n rows match.

        Args:
            columns: At least one, and all of `fields`; each of shape (n,) and, as the kind of its
                field says, of strings (objects; numpy's own are slower), int64 or float64.

        Returns:
            (n,) bool.
        """
        rows = len(next(iter(columns.values())))
        stack: list[_Array] = []
        with np.errstate(all="ignore"):  # a quotient by 0 is infinite, an overflow wraps around
            for step in self.steps:
                if isinstance(step, _Column):
                    stack.append(_as_objects(columns[step.name]))
                elif isinstance(step, _Constant):
                    stack.append(np.array([step.value], _dtype(step.value)))
                else:
                    operands = stack[-step.operands :]
                    stack[-step.operands :] = [step.compute(*operands)]
        return np.broadcast_to(stack.pop(), (rows,)).astype(np.bool_)


def parse_filter(expression: str) -> RowFilter:
    """Parse a filter expression, and check its fields and types.

    Raises:
        FilterError: It is empty or not understood.
    """
    return RowFilter(_Parser(expression).parse())


def _as_objects(column: _Array) -> _Array:
    """Return strings as objects, which compare and hash faster than numpy's own."""
    return column if column.dtype.kind in "biuf" else column.astype(object, copy=False)


def _dtype(value: Value) -> type:
    return object if isinstance(value, str) else type(value)


def _is_in(values: frozenset[Value], column: _Array) -> _Array:
    if column.dtype == object:
        return np.fromiter(map(values.__contains__, column.tolist()), np.bool_, len(column))
    return np.isin(column, np.array([*values]))


def _is_like(matching: Callable[[list[str]], list[bool]], column: _Array) -> _Array:
    return np.array(matching(column.tolist()), np.bool_)


def _is_null(column: _Array) -> _Array:
    return np.zeros(len(column), np.bool_)


_COMPARISONS: dict[str, _Compute] = {
    "==": operator.eq,
    "!=": operator.ne,
    "<": operator.lt,
    "<=": operator.le,
    ">": operator.gt,
    ">=": operator.ge,
}
_ARITHMETIC: dict[str, _Compute] = {
    "+": np.add,
    "-": np.subtract,
    "*": np.multiply,
    "/": np.true_divide,
    "negative": partial(np.subtract, 0),  # whose zero has no sign, as in Lite
}
_LOGIC: dict[str, _Compute] = {"and": np.logical_and, "or": np.logical_or, "not": np.logical_not}

_PRECEDENCE = {
    **{"(": 0, "or": 1, "and": 2, "not": 3},
    **dict.fromkeys(_COMPARISONS, 4),
    **{"+": 5, "-": 5, "*": 6, "/": 6, "negative": 7},
}
_AFTER_A_VALUE = {"end", *_PRECEDENCE} - {"(", "not", "negative"}
_VALUES = {"string", "number", "condition"}


def _comparable(kind: Kind, other: Kind) -> bool:
    return kind == other or {kind, other} == {"integer", "number"}


def _said(kind: Kind) -> str:
    return "number" if kind == "integer" else kind


class _Parser:
    """An operator-precedence parser (Dijkstra's shunting yard) of one expression."""

    def __init__(self, expression: str) -> None:
        self._tokens = [*tokens(expression)]
        self._next = 0
        self._steps: list[_Step] = []
        self._kinds: list[Kind] = []  # of what the steps leave on the stack
        self._waiting: list[Token] = []  # operators and parentheses

    def parse(self) -> tuple[_Step, ...]:
        """Return the expression in postfix order.

        Raises:
            FilterError: It is not understood.
        """
        while True:
            self._take_operand()
            token = self._take_tail()
            if token.kind == "end":
                break
            self._apply_down_to(_PRECEDENCE[token.kind])
            self._waiting.append(token)
        self._apply_down_to(_PRECEDENCE["or"])
        if self._waiting:
            raise FilterError("a '(' without ')'", self._waiting[-1].position)
        if self._kinds != ["condition"]:
            raise FilterError(f"expected a condition, not a {_said(self._kinds[0])},", 0)
        return tuple(self._steps)

    def _peek(self) -> Token:
        return self._tokens[self._next]

    def _take(self) -> Token:
        self._next += 1
        return self._tokens[self._next - 1]

    def _expect(self, kind: str) -> Token:
        if self._peek().kind != kind:
            what = f"a {kind}" if kind in _VALUES else f"'{kind}'"
            raise FilterError(f"expected {what}, not {self._peek()},", self._peek().position)
        return self._take()

    def _take_operand(self) -> None:
        """Take a field or a value, with the signs, ``not`` and parentheses before it."""
        while True:
            token = self._take()
            before = self._waiting[-1].kind if self._waiting else "("
            if token.kind == "-":
                self._waiting.append(token._replace(kind="negative"))
            elif token.kind == "(" or (token.kind == "not" and before in {"(", *_LOGIC}):
                self._waiting.append(token)
            else:
                break
        if token.kind == "name":
            if token.text not in _FIELDS:
                raise FilterError(f"unknown field '{token.text}'", token.position)
            self._push(_Column(token.text), _FIELDS[token.text])
        elif token.kind in _VALUES:
            negative = token.kind == "number" and before == "negative"
            if negative:
                self._waiting.pop()
            kind, value = literal(token, negative)
            self._push(_Constant(value), kind)
        else:
            after = f" after {self._tokens[self._next - 2]}" if self._next > 1 else ""
            raise FilterError(f"expected a value{after}, not {token},", token.position)

    def _take_tail(self) -> Token:
        """Take what may follow an operand, and return the operator before the next, or the end."""
        tested = False  # after 'in', 'like' or 'is' only conditions are joined
        while True:
            token = self._take()
            if token.kind == ")":
                self._apply_down_to(_PRECEDENCE["or"])
                if not self._waiting:
                    raise FilterError("unexpected ')'", token.position)
                self._waiting.pop()
                tested = False
            elif token.kind in {"in", "not", "like", "is"} and not tested:
                self._apply_down_to(_PRECEDENCE["=="])
                self._take_test(token)
                tested = True
            elif token.kind in ({"end", "and", "or"} if tested else _AFTER_A_VALUE):
                return token
            else:
                raise FilterError(f"unexpected {token}", token.position)

    def _take_test(self, token: Token) -> None:
        """Take what follows ``in``, ``not`` (before ``in``), ``like`` or ``is``."""
        negated = token.kind == "not"
        if negated:
            token = self._expect("in")
        if token.kind == "like":
            self._require({"string"}, 1, token)
            text = unquoted(pattern := self._expect("string"))
            try:
                matching = like(text)
            except ValueError as error:
                reason = "the pattern ends in a '\\' that escapes nothing"
                raise FilterError(reason, pattern.position) from error
            self._operate(partial(_is_like, matching), 1, "condition")
            return
        if not isinstance(self._steps[-1], _Column):
            raise FilterError(f"expected a field before {token}", token.position)
        if token.kind == "in":
            self._take_list()
        else:
            negated = self._peek().kind == "not"
            self._next += negated
            self._expect("null")
            self._operate(_is_null, 1, "condition")
        if negated:
            self._operate(np.logical_not, 1, "condition")

    def _take_list(self) -> None:
        """Take the ``[value, ...]`` of an ``in``."""
        self._expect("[")
        values: list[Value] = []
        of_field = self._kinds[-1]
        while self._peek().kind != "]":
            negative = self._peek().kind == "-"
            self._next += negative
            token = self._expect("number") if negative else self._take()
            if token.kind not in _VALUES:
                raise FilterError(f"expected a value or ']', not {token},", token.position)
            kind, value = literal(token, negative)
            if not _comparable(of_field, kind):
                raise FilterError(f"expected a {_said(of_field)}, not {token},", token.position)
            values.append(value)
            if self._peek().kind != "]":
                self._expect(",")
        self._expect("]")
        self._operate(partial(_is_in, frozenset(values)), 1, "condition")

    def _push(self, step: _Column | _Constant, kind: Kind) -> None:
        self._steps.append(step)
        self._kinds.append(kind)

    def _operate(self, compute: _Compute, operands: int, result: Kind) -> None:
        self._steps.append(_Operation(compute, operands))
        self._kinds[-operands:] = [result]

    def _apply_down_to(self, precedence: int) -> None:
        """Apply the waiting operators that bind as tightly as `precedence`, or more tightly."""
        while self._waiting and _PRECEDENCE[self._waiting[-1].kind] >= precedence:
            self._apply(self._waiting.pop())

    def _apply(self, token: Token) -> None:
        operands = 1 if token.kind in {"not", "negative"} else 2
        kinds = self._kinds[-operands:]
        if token.kind in _COMPARISONS:
            if not _comparable(kinds[0], kinds[1]):
                hint = " (join comparisons with 'and')" if "condition" in kinds else ""
                both = f"a {_said(kinds[0])} with a {_said(kinds[1])}{hint}"
                raise FilterError(f"{token} cannot compare {both}", token.position)
            self._operate(_COMPARISONS[token.kind], 2, "condition")
        elif token.kind in _LOGIC:
            self._require({"condition"}, operands, token)
            self._operate(_LOGIC[token.kind], operands, "condition")
        else:
            self._require({"integer", "number"}, operands, token)
            whole = token.kind != "/" and "number" not in kinds
            self._operate(_ARITHMETIC[token.kind], operands, "integer" if whole else "number")

    def _require(self, wanted: set[Kind], operands: int, token: Token) -> None:
        for kind in self._kinds[-operands:]:
            if kind not in wanted:
                what = _said(min(wanted))
                raise FilterError(f"{token} needs a {what}, not a {_said(kind)},", token.position)
