"""Times and regions as people write them."""

from __future__ import annotations

import pytest

from vidsim.schemas.answer import clock
from vidsim.schemas.errors import MediaError
from vidsim.schemas.part import WHOLE, Part, parse_part


@pytest.mark.parametrize(
    ("text", "seconds"),
    [("78.5", 78.5), ("1:18.5", 78.5), ("90:00", 5400), ("1:30:00", 5400), (".5", 0.5), (12, 12)],
)
def test_times_are_seconds_or_clocks(text: str | float, seconds: float) -> None:
    assert parse_part(text) == Part(seconds)
    assert parse_part(None, text) == Part(0.0, seconds)


@pytest.mark.parametrize("text", ["9" * 400, "9" * 400 + ":00", "9" * 5000 + ":0:0", "1:" * 9])
def test_a_time_of_any_length_is_refused_in_a_sentence(text: str) -> None:
    with pytest.raises(MediaError, match="is no time"):
        parse_part(text)


@pytest.mark.parametrize(
    ("seconds", "whole", "tenths"),
    [(78.52, "1:19", "1:18.5"), (5400, "1:30:00", "1:30:00"), (59.97, "1:00", "1:00")],
)
def test_times_are_told_as_clocks(seconds: float, whole: str, tenths: str) -> None:
    assert clock(seconds) == whole
    assert clock(seconds, tenths=True) == tenths


def test_regions_are_fractions_or_pixels() -> None:
    assert parse_part(region="0.5,0,.5,1") == Part(region=(0.5, 0, 0.5, 1))
    assert parse_part(region=[320, 0, 320, 240]) == Part(region=(320, 0, 320, 240))
    assert parse_part() == WHOLE


@pytest.mark.parametrize(
    ("asked", "told"),
    [
        ({"start": "soon"}, "--from soon is no time; write"),
        ({"end": "-1"}, "--to -1 is no time; write"),
        ({"start": float("nan")}, "--from nan is no time"),
        ({"start": "1:20", "end": 80}, "A part from 1:20 to 1:20 holds nothing; give a --to"),
        ({"region": "1,2,3"}, "--region 1,2,3 is no region; write x,y,width,height"),
        ({"region": "a,b,c,d"}, "is no region; write"),
        ({"region": "-1,0,5,5"}, "is no region; write"),
        ({"region": "0,0,10,0"}, "--region 0,0,10,0 is empty; give a width"),
        ({"region": (0.5, 0, 320, 240)}, "--region 0.5,0,320,240 mixes fractions and pixels"),
    ],
)
def test_what_is_no_part_is_told(asked: dict, told: str) -> None:
    with pytest.raises(MediaError) as caught:
        parse_part(**asked)
    assert told in str(caught.value)
