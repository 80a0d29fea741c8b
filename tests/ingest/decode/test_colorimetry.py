"""Light and colours against the values that their standards publish."""

from __future__ import annotations

import numpy as np
import pytest

from vidsim.ingest.decode.colorimetry import (
    REFERENCE_WHITE,
    Primaries,
    Transfer,
    gamut_matrix,
    hlg_display,
    hlg_scene,
    hlg_signal,
    pq_light,
    pq_signal,
    rgb_to_xyz,
    to_sdr,
    tone_map,
)


@pytest.mark.parametrize(
    ("light", "signal"),
    [(0, 0), (100, 0.508), (203, 0.58), (1000, 0.752), (4000, 0.903), (10000, 1)],
)
def test_pq_has_its_published_levels(light: float, signal: float) -> None:
    assert float(pq_signal(np.array(light))) == pytest.approx(signal, abs=1e-3)  # BT.2408, 2.2
    back = float(pq_light(pq_signal(np.array(light))))
    assert back == pytest.approx(light, rel=1e-9, abs=1e-6)


def test_hlg_reaches_reference_white_at_three_quarters() -> None:
    scene = hlg_scene(np.array([0.75]))
    assert float(scene[0]) == pytest.approx(0.265, abs=1e-3)
    grey = np.full((1, 3), scene[0])
    assert hlg_display(grey)[0] == pytest.approx(REFERENCE_WHITE, rel=2e-3)  # BT.2408, table 1
    assert hlg_display(np.ones((1, 3)))[0] == pytest.approx(1000, rel=1e-6)
    assert float(hlg_signal(np.array(1 / 12))) == pytest.approx(0.5)
    levels = np.linspace(0, 1, 101)
    np.testing.assert_allclose(hlg_signal(hlg_scene(levels)), levels, atol=1e-6)


def test_matrices_follow_from_the_primaries() -> None:
    # BT.709's luma coefficients, and BT.2020's; BT.2087's matrix from the one to the other.
    np.testing.assert_allclose(rgb_to_xyz(Primaries.BT709)[1], (0.2126, 0.7152, 0.0722), atol=1e-4)
    np.testing.assert_allclose(rgb_to_xyz(Primaries.BT2020)[1], (0.2627, 0.6780, 0.0593), atol=1e-4)
    published = [[0.6274, 0.3293, 0.0433], [0.0691, 0.9195, 0.0114], [0.0164, 0.0880, 0.8956]]
    found = gamut_matrix(Primaries.BT709, Primaries.BT2020)
    np.testing.assert_allclose(found, published, atol=1e-4)
    inverse = [[1.6605, -0.5876, -0.0728], [-0.1246, 1.1329, -0.0083], [-0.0182, -0.1006, 1.1187]]
    found = gamut_matrix(Primaries.BT2020, Primaries.BT709)
    np.testing.assert_allclose(found, inverse, atol=1e-4)


@pytest.mark.parametrize("primaries", Primaries)
def test_white_stays_white(primaries: Primaries) -> None:
    matrix = gamut_matrix(primaries, Primaries.BT709)
    np.testing.assert_allclose(matrix.sum(1), 1, atol=1e-9)


def test_an_sdr_picture_of_bt709_comes_back_bit_for_bit() -> None:
    greys = np.arange(256, dtype=np.uint16)[:, None, None].repeat(3, 2) * 257
    out = to_sdr(greys, Transfer.SDR, Primaries.BT709)
    np.testing.assert_array_equal(out[:, 0, 0], np.arange(256))


def test_highlights_are_rolled_off_and_the_rest_is_left_alone() -> None:
    light = np.linspace(0, 8, 801, dtype=np.float32)[:, None].repeat(3, 1)
    mapped = tone_map(light)[:, 0]
    np.testing.assert_array_equal(mapped[:81], light[:81, 0])
    assert (np.diff(mapped) >= -1e-6).all()
    assert mapped.max() == pytest.approx(1)
    # The slope does not jump at the knee, and 500 cd/m2 are told from 1000.
    assert mapped[81] - mapped[80] == pytest.approx(0.01, abs=1e-3)
    assert mapped[round(100 * 500 / 203)] < 0.99
    colour = np.array([[4.0, 2.0, 1.0]], np.float32)
    np.testing.assert_allclose(tone_map(colour) / tone_map(colour)[0, 0], colour / 4, rtol=1e-6)
