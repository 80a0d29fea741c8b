"""How exact the numbers are that ``--json`` prints."""

from __future__ import annotations

import json
import math

import pytest

from vidsim.schemas.rounding import rounded


@pytest.mark.parametrize(
    ("name", "value", "printed"),
    [
        ("score", 0.8551234567, 0.855123),
        ("similarity", 1.23456789e-05, 1.23457e-05),
        ("start_s", 1234.56789, 1234.568),
        ("seconds", 0.00049, 0.0),
        ("clips_per_s", 0.00012345678, 0.000123457),
        ("bytes", 123456789, 123456789),
        ("ready", True, True),
        ("similarity", math.nan, None),
    ],
)
def test_scores_have_six_digits_and_seconds_three_decimals(name, value, printed):
    assert rounded({name: value}) == {name: printed}


def test_all_within_is_rounded_by_its_own_name():
    data = {"results": [{"start_s": 1 / 3, "shares": {"color": 1 / 3}, "hours": [2 / 3]}]}
    shown = '{"results": [{"start_s": 0.333, "shares": {"color": 0.333333}, "hours": [0.666667]}]}'
    assert json.dumps(rounded(data)) == shown
