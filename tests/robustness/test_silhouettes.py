"""Are the borders of heart and dome found to a pixel, ribs across them or not, and the dome behind the heart?"""

from __future__ import annotations

import numpy as np
import pytest
import torch
from torch import Tensor

from robustness.draws import Draws
from robustness.filters import gaussian_blur
from robustness.radiograph import Radiograph
from robustness.silhouettes import air_beside_organs, below_domes
from robustness.thorax import Thorax, thorax_of
from robustness.tracing import lightening_left, steps_left
from robustness.water_path import BESIDE_MM, aerated, beside_organs

SIZE, SPINE = 220, 110


def chest() -> tuple[Tensor, Tensor, Tensor]:
    """Attenuation without ribs, what is air, and what is below the domes, of a chest drawn with known borders."""
    rows, columns = torch.meshgrid(torch.arange(SIZE).float(), torch.arange(SIZE).float(), indexing="ij")
    cavity = ((columns - SPINE) / 85.0).square() + ((rows - 190.0) / 165.0).square() < 1.0
    dome = 165.0 + 0.006 * (columns - SPINE - torch.where(columns < SPINE, -45.0, 45.0)).square()
    heart = ((columns - SPINE - 14.0) / 45.0).square() + ((rows - 135.0) / 48.0).square() < 1.0
    air = cavity & (rows < dome) & ~heart & ((columns - SPINE).abs() > 14.0)
    below = rows >= dome
    soft = 2.0 + 0.5 * below.float() + 0.1 * heart.float()
    return gaussian_blur(torch.where(air, 0.9, soft), 0.8), air, below


def ribs() -> Tensor:
    rows, columns = torch.meshgrid(torch.arange(SIZE).float(), torch.arange(SIZE).float(), indexing="ij")
    return 0.3 * (torch.cos((rows - 0.25 * (columns - SPINE).abs()) * (2.0 * torch.pi / 18.0)) > 0.3).float()


def loosely(air: Tensor) -> Tensor:
    """A mask that follows the air to four pixels, here inside and there outside of it."""
    rows = torch.arange(SIZE).float()[:, None]
    wave = 4.0 * torch.sin(rows / 9.0)
    blurred = gaussian_blur(air.float(), 3.0)
    return blurred > 0.5 + 0.1 * wave


def seen_by(plain: Tensor, air: Tensor) -> tuple[Thorax, Tensor, Tensor]:
    mask = loosely(air)
    thorax = thorax_of(mask)
    beside = beside_organs(thorax, mask, BESIDE_MM, 1.0)
    found = air_beside_organs(plain, gaussian_blur(plain, 3.0), mask, thorax, beside, pitch_mm=1.0)
    return thorax, beside, found


def test_the_border_of_the_heart_is_found_to_a_pixel_from_a_mask_that_misses_it_by_four():
    plain, air, _ = chest()
    thorax, beside, found = seen_by(plain, air)
    at_organs = (beside > 0.5) & thorax.hemithorax("both")
    wrong = (found > 0.5) != air
    before = int(((loosely(air) != air) & at_organs).sum())
    assert before > 300, "the mask misses it"
    assert int((wrong & at_organs).sum()) < 0.25 * before
    beyond_a_pixel = gaussian_blur(air.float(), 1.5)
    assert int((wrong & at_organs & ((beyond_a_pixel < 0.1) | (beyond_a_pixel > 0.9))).sum()) < 10


@pytest.mark.parametrize("side", [slice(40, 95), slice(125, 180)])
def test_the_dome_is_traced_behind_the_heart_and_ribs_do_not_lead_it_astray(side):
    plain, air, below = chest()
    thorax, _, found = seen_by(plain, air)
    traced = below_domes(plain + ribs(), found, thorax, 1.0)
    top, truth = (np.argmax(each[:, side].numpy() > 0.5, axis=0) for each in (traced, below))
    assert np.percentile(np.abs(top - truth), 90) <= 5
    assert np.abs(top - truth).mean() <= 2


def test_ribs_go_on_across_the_border_of_a_heart_that_water_has_hidden():
    """Half way between both sides of it as many are left as a centimetre off it."""
    plain, air, _ = chest()
    film = (plain + ribs() + 0.02 * torch.randn(SIZE, SIZE, generator=torch.Generator().manual_seed(1))) / 4.0
    thorax = thorax_of(loosely(air))
    taken = aerated(thorax, Radiograph.of(film.clamp(0.0, 1.0), Draws("a", "test")), 1.0, 22.0)
    left_heart = [(row, int(torch.nonzero(air[row, SPINE:])[0]) + SPINE) for row in range(110, 155)]
    strengths = {
        off: float(torch.stack([taken.ribs[row, column + off] for row, column in left_heart]).std()) for off in (0, 10)
    }
    assert strengths[0] > 0.6 * strengths[10]


def test_a_path_keeps_to_where_it_is_looked_for_and_bends_by_a_column_a_row():
    image = np.zeros((40, 60), dtype=np.float32)
    edge = np.concatenate([np.full(20, 20), np.full(20, 40)])
    for row, column in enumerate(edge):
        image[row, :column] = 1.0
    near = np.ones(image.shape, dtype=bool)
    path = lightening_left(steps_left(image, 4), near)
    assert np.abs(np.diff(path)).max() == 1
    assert path[5] == 20
    assert path[35] == 40
    near[:, 30:] = False
    assert (lightening_left(steps_left(image, 4), near)[:20] == 20).all()
