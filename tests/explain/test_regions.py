"""Masks of places on a film, on films drawn for the purpose."""

import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st

from explain.regions import body_mask, border_mask, corner_mask, marker_mask, visible_fraction

SIDE = 112


def drawn_film():
    """A body with two dark lungs on black, a bright letter in the corner outside."""
    film = np.zeros((SIDE, SIDE))
    film[10:112, 20:92] = 0.6
    film[30:80, 28:50] = film[30:80, 62:84] = 0.05
    film[6:13, 4], film[6, 4:9], film[9, 4:9], film[6:13, 8] = 1, 1, 1, 1
    return film


def test_the_border_is_a_frame_of_its_width():
    mask = border_mask(100, 0.06)
    assert mask.sum() == 100**2 - 88**2
    assert corner_mask(100, 0.1).sum() == 4 * 100
    for fraction in (0, 0.5):
        with pytest.raises(ValueError, match="fraction"):
            border_mask(100, fraction)


def test_the_body_holds_its_dark_lungs_and_not_the_letter():
    body = body_mask(drawn_film())
    assert body[50, 40]
    assert body[50, 72]
    assert not body[9, 5]
    assert not body[5, 105]
    assert body.mean() == pytest.approx(102 * 72 / SIDE**2, abs=0.05)
    assert not body_mask(np.zeros((SIDE, SIDE))).any()


def test_the_letter_is_found_and_plain_film_holds_none():
    marker = marker_mask(drawn_film())
    assert marker[9, 4:9].all()
    assert marker.mean() < 0.01
    assert not marker_mask(np.full((SIDE, SIDE), 0.5)).any()


@given(top=st.integers(-5, 12), left=st.integers(-5, 12), height=st.integers(1, 12), width=st.integers(1, 12))
def test_the_visible_fraction_counts_pixels_in_the_box(top, left, height, width):
    mask = np.zeros((10, 10), dtype=bool)
    mask[2:6, 3:9] = True
    inside = sum(
        mask[y, x] for y in range(10) for x in range(10) if top <= y < top + height and left <= x < left + width
    )
    assert visible_fraction(mask, (top, left, height, width)) == pytest.approx(inside / 24)


def test_no_lesion_has_no_visible_fraction():
    assert np.isnan(visible_fraction(np.zeros((4, 4)), (0, 0, 2, 2)))
    with pytest.raises(ValueError, match="empty"):
        visible_fraction(np.ones((4, 4)), (0, 0, 0, 2))
