"""The shortcut probe convicts a network that reads the border and acquits one that does not."""

import numpy as np
import pytest
import torch

from explain.shortcut import cover, inner_square, shortcut_probe, standard_covers

SIDE = 48


def reads_border(pixels):
    value = 100 * (pixels[:, 0, 0] - 0.5).mean(dim=1)
    return torch.stack([-value, value], dim=1)


def reads_centre(pixels):
    value = 100 * (pixels[:, 0, 23:25, 23:25].mean(dim=(1, 2)) - 0.5)
    return torch.stack([-value, value], dim=1)


@pytest.fixture
def pixels():
    films = torch.full((6, 3, SIDE, SIDE), 0.4)
    films[:, :, 0] = 1.0
    films[:, :, 20:28, 20:28] = 0.9
    return films


def test_the_border_reader_is_convicted_and_the_centre_reader_acquitted(pixels):
    names = [f"f{i}" for i in range(6)]
    guilty = shortcut_probe(reads_border, pixels, names).query("cover == 'border'").groupby("control")["flipped"].mean()
    assert guilty[False] == 1
    assert guilty[True] == 0
    innocent = shortcut_probe(reads_centre, pixels, names).query("not control")
    assert not innocent["flipped"].any()
    np.testing.assert_allclose(innocent["logit_shift"], 0, atol=1e-5)


def test_a_cover_changes_what_it_covers_and_nothing_else(pixels):
    mask = standard_covers(SIDE)["corners"]
    covered = cover(pixels, [mask] * 6)
    changed = (covered != pixels).any(dim=1).numpy()
    assert not changed[:, ~mask].any()
    torch.testing.assert_close(covered[0, 0, 0, 0], pixels[0].mean())
    with pytest.raises(ValueError, match="as many masks"):
        cover(pixels, [mask])


def test_the_control_is_as_large_lies_inside_and_depends_on_the_film_alone():
    square = inner_square("a", SIDE, 400)
    assert square.sum() == 400
    assert not square[0].any()
    assert not square[:, -1].any()
    np.testing.assert_array_equal(square, inner_square("a", SIDE, 400))
    assert any((square != inner_square(name, SIDE, 400)).any() for name in "bcd")
    assert inner_square("a", 8, 64).sum() == 36
