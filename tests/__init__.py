"""Tests, in folders of the rooms that they test."""

import pytest

pytest.register_assert_rewrite(f"{__name__}.helpers")  # what they assert is told in full, too
