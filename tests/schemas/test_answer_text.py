"""Numbers as text answers print them."""

from __future__ import annotations

import pytest

from vidsim.schemas.answer import decimals


@pytest.mark.parametrize(
    ("likeness", "printed"),
    [
        (0.598, "0.59"),
        (0.6, "0.60"),
        (0.29, "0.29"),
        (0.8999, "0.89"),
        (1.0, "1.00"),
        (0.0, "0.00"),
    ],
)
def test_a_likeness_is_cut_so_that_it_agrees_with_its_word(likeness, printed):
    assert decimals(likeness) == printed
