"""What runs along ribs stays whole; spots, upright lines and what crosses a rib do not."""

from __future__ import annotations

import numpy as np
import pytest
import torch
from hypothesis import given, settings
from hypothesis import strategies as st
from scipy import ndimage
from torch import Tensor

from robustness.ribs import FANS, along_ribs, fans, strength, with_cortex

SIDE, PITCH = 192, 1.1
LEFT, RIGHT = 0.0, 191.0
"""Columns of a spine that make the image the side of the film on the right of it, or on the left."""
NOWHERE = torch.zeros(SIDE, SIDE)


def line(angle: float, width_mm: float = 7.0) -> Tensor:
    """A bright line through the middle of an image, at an angle in degrees from the horizontal, without its mean."""
    down, right = np.mgrid[:SIDE, :SIDE] - 0.5 * SIDE
    across = down * np.cos(np.radians(angle)) - right * np.sin(np.radians(angle))
    bright = np.exp(-0.5 * (across * PITCH / (0.4 * width_mm)) ** 2)
    return torch.from_numpy((bright - bright.mean()).astype(np.float32))


def left(image: Tensor, of: Tensor, upright: Tensor = NOWHERE, spine: float = LEFT) -> float:
    """Slope of what is left of an image over a part of it, away from the borders."""
    middle = (slice(40, -40), slice(40, -40))
    found, part = along_ribs(image, upright, spine, PITCH)[middle].flatten(), of[middle].flatten()
    part = part - part.mean()
    return float((found * part).sum() / part.square().sum())


@settings(max_examples=15, deadline=None)
@given(st.floats(-52.0, 34.0))
def test_a_rib_is_kept_whatever_its_slope(angle):
    assert left(line(angle), line(angle)) == pytest.approx(1.0, abs=0.1)
    assert left(line(-angle), line(-angle), spine=RIGHT) == pytest.approx(1.0, abs=0.1)


def test_what_falls_outward_as_steeply_as_the_border_of_a_heart_is_no_rib():
    assert left(line(58.0), line(58.0)) < 0.15
    assert left(line(-58.0), line(-58.0), spine=RIGHT) < 0.15
    assert left(line(-55.0), line(-55.0)) > 0.85, "ribs in front of the lung fall inward"


@pytest.mark.parametrize("angle", [83.0, 90.0, 95.0])
def test_an_upright_line_is_lost_but_where_ribs_stand_upright(angle):
    assert left(line(angle), line(angle)) < 0.1
    assert left(line(angle), line(angle), torch.ones(SIDE, SIDE)) == pytest.approx(1.0, abs=0.08)


def test_both_of_two_ribs_that_cross_are_kept():
    middle = (slice(40, -40), slice(40, -40))
    parts = [each[middle].flatten().numpy() for each in (line(-20.0), line(30.0))]
    found = along_ribs(line(-20.0) + 0.8 * line(30.0), NOWHERE, LEFT, PITCH)[middle].flatten().numpy()
    back, front = np.linalg.lstsq(np.stack([*parts, np.ones_like(found)], axis=1), found)[0][:2]
    assert back == pytest.approx(1.0, abs=0.15)
    assert front == pytest.approx(0.8, abs=0.15)


def test_a_vessel_beside_a_rib_is_lost_and_the_rib_is_not():
    rib = line(10.0)
    spot = np.zeros((SIDE, SIDE), np.float32)
    spot[92:97, 60:150:30] = 1.0
    spots = torch.from_numpy(ndimage.gaussian_filter(spot, 2.0)) * 6.0
    upright = 0.5 * line(90.0)
    found = along_ribs(rib + spots + upright, NOWHERE, LEFT, PITCH)
    assert left(rib + spots + upright, rib) == pytest.approx(1.0, abs=0.15)
    row = found[60, 40:-40].numpy()
    assert float((row - ndimage.uniform_filter1d(row, 31)).std()) < 0.2 * float(upright[60, 40:-40].std())


def test_of_fine_detail_is_kept_what_runs_along_a_rib_and_not_what_crosses_it():
    rib, middle = line(12.0), (slice(40, -40), slice(40, -40))
    lines = {angle: line(angle, 2.6) for angle in (12.0, 70.0)}
    _, found = with_cortex(rib, 0.2 * (lines[12.0] + lines[70.0]), NOWHERE, LEFT, PITCH)
    parts = np.stack([lines[angle][middle].flatten().numpy() for angle in lines] + [np.ones(112 * 112)], axis=1)
    along, across = np.linalg.lstsq(parts, found[middle].flatten().numpy())[0][:2] / 0.2
    assert along > 0.7
    assert abs(across) < 0.1
    whole, nothing = with_cortex(rib, None, NOWHERE, LEFT, PITCH)
    assert torch.equal(whole, along_ribs(rib, NOWHERE, LEFT, PITCH))
    assert float(nothing.abs().max()) == 0.0


def test_fans_add_up_to_the_image_and_each_is_strongest_along_itself():
    rng = np.random.default_rng(1)
    image = rng.standard_normal((60, 84)).astype(np.float32)
    parts = fans(image)
    assert len(parts) == FANS
    assert np.allclose(sum(part for _, part in parts), image - image.mean(), atol=1e-5)
    for angle in (0.0, 30.0, -45.0):
        strengths = [strength(part, along, PITCH)[48, 48] for along, part in fans(line(angle).numpy())]
        best = np.degrees(parts[int(np.argmax(strengths))][0])
        assert abs((best - angle + 90.0) % 180.0 - 90.0) <= 0.51 * 180.0 / FANS
