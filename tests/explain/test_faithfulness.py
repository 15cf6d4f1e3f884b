"""Deletion, insertion, infidelity and sensitivity on networks whose answers can be worked out by hand."""

import numpy as np
import pytest
import torch
from torch import nn
from torchvision.transforms.v2.functional import gaussian_blur

import explain
from explain.attribution import AttributionMap
from explain.faithfulness import cell_index, cell_order, erasure, infidelity, sensitivity_max
from explain.reference import REFERENCES, reference_film

SIDE = 32


class CornerReader(nn.Module):
    """Logit of class 1 is 8 times the mean grey of the upper left 8 x 8 pixels, class 0 is 4."""

    def forward(self, pixels):
        value = 8 * pixels[:, :, :8, :8].mean(dim=(1, 2, 3))
        return torch.stack([torch.full_like(value, 4.0), value], dim=1)


def fake(maps, target=1):
    maps = np.asarray(maps, dtype=np.float32)
    status = tuple("ok" if np.isfinite(one).all() else "not finite" for one in maps)
    names = tuple(f"f{i}" for i in range(len(maps)))
    return AttributionMap("m", maps, names, (target,) * len(maps), status)


@pytest.fixture
def corner_film():
    pixels = torch.zeros(1, 3, SIDE, SIDE)
    pixels[:, :, :8, :8] = 1
    return pixels


def right_map():
    one = np.zeros((1, SIDE, SIDE))
    one[0, :8, :8] = 1
    return one


def test_deletion_by_hand(corner_film):
    curve = erasure(CornerReader(), corner_film, fake(right_map()), steps=16, cell=8, reference="black")
    # 16 cells: the first deleted is the only one that counts; sigmoid(8 - 4) before, sigmoid(0 - 4) after.
    high, low = 1 / (1 + np.exp(-4)), 1 / (1 + np.exp(4))
    np.testing.assert_allclose(curve.probability[0], [high] + [low] * 16, atol=1e-6)
    assert curve.area[0] == pytest.approx(low + (high - low) / 32)
    assert curve.advantage[0] > 0
    assert set(np.round(curve.control[0], 4)) == {round(high, 4), round(low, 4)}


def test_insertion_by_hand_and_the_wrong_map_loses(corner_film):
    right = erasure(CornerReader(), corner_film, fake(right_map()), "insertion", steps=16, reference="black")
    wrong = erasure(CornerReader(), corner_film, fake(-right_map()), "insertion", steps=16, reference="black")
    assert right.area[0] > 0.9
    assert wrong.area[0] < 0.1
    assert right.advantage[0] > 0 > wrong.advantage[0]
    np.testing.assert_array_equal(right.control, wrong.control)


def test_erasure_leaves_out_maps_that_are_not_finite(corner_film):
    broken = np.concatenate([right_map(), np.full((1, SIDE, SIDE), np.nan)])
    curve = erasure(CornerReader(), corner_film.repeat(2, 1, 1, 1), fake(broken))
    assert np.isfinite(curve.area[0])
    assert np.isnan(curve.advantage[1])
    assert np.isfinite(curve.control).all()
    with pytest.raises(ValueError, match="deleting"):
        erasure(CornerReader(), corner_film, fake(right_map()), "deleting")


def test_deletion_finds_the_known_evidence(stripe_reader, films):
    maps = explain.get("grad-cam", layer="inner.second_rectifier")(
        stripe_reader, films.pixels[:6], 1, films.image_ids[:6]
    )
    edges = explain.get("edge detector")(stripe_reader, films.pixels[:6], 1, films.image_ids[:6])
    known, blind = (
        erasure(stripe_reader, films.pixels[:6], m, steps=9, cell=16).advantage.mean() for m in (maps, edges)
    )
    assert known > 0.05
    assert known > blind


def test_cells_cover_films_that_do_not_divide():
    index = cell_index(10, 4)
    assert index.shape == (10, 10)
    assert torch.bincount(index.flatten()).tolist() == [16, 16, 8, 16, 16, 8, 8, 8, 4]
    values = torch.zeros(10, 10)
    values[9, 9] = 1
    assert cell_order(values, 4).tolist() == [8, 0, 1, 2, 3, 4, 5, 6, 7]


def test_infidelity_of_a_linear_network_is_zero_for_its_gradient_only():
    torch.manual_seed(0)
    pixels = torch.rand(2, 3, SIDE, SIDE)
    gradient = np.zeros((2, SIDE, SIDE))
    gradient[:, :8, :8] = 8 / 64  # summed over channels
    noise = np.random.default_rng(0).normal(size=gradient.shape)
    exact = infidelity(CornerReader(), pixels, fake(gradient))
    np.testing.assert_allclose(exact, 0, atol=1e-9)
    np.testing.assert_allclose(infidelity(CornerReader(), pixels, fake(100 * gradient)), 0, atol=1e-9)
    assert (infidelity(CornerReader(), pixels, fake(noise)) > 1e-4).all()
    broken = infidelity(CornerReader(), pixels, fake(np.stack([gradient[0], np.full((SIDE, SIDE), np.nan)])))
    assert np.isnan(broken).tolist() == [False, True]


def test_sensitivity_is_zero_for_a_constant_map_and_larger_for_a_nervous_one(stripe_reader, films):
    pixels, names = films.pixels[:2], films.image_ids[:2]
    prior = sensitivity_max(explain.get("centre prior"), stripe_reader, pixels, [1, 1], names)
    np.testing.assert_allclose(prior, 0, atol=1e-6)
    cam = explain.get("grad-cam", layer="inner.second_rectifier")
    calm = sensitivity_max(cam, stripe_reader, pixels, [1, 1], names, radius=0.005)
    rough = sensitivity_max(cam, stripe_reader, pixels, [1, 1], names, radius=0.2)
    assert (calm > 0).all()
    assert (calm < rough).all()
    np.testing.assert_array_equal(calm, sensitivity_max(cam, stripe_reader, pixels, [1, 1], names, radius=0.005))


@pytest.mark.parametrize("kind", REFERENCES)
def test_references_stay_films(kind):
    pixels = torch.rand(2, 3, 24, 24)
    empty = reference_film(pixels, kind)
    assert empty.shape == pixels.shape
    assert float(empty.min()) >= 0
    assert float(empty.max()) <= 1
    assert empty.var(dim=(1, 2, 3)).max() < pixels.var(dim=(1, 2, 3)).min() / 5
    if kind != "black":
        torch.testing.assert_close(empty.mean(dim=(1, 2, 3)), pixels.mean(dim=(1, 2, 3)), atol=0.03, rtol=0)


def test_an_unknown_reference_is_named():
    with pytest.raises(ValueError, match="'white'; known: black, mean grey, blurred"):
        reference_film(torch.zeros(1, 1, 8, 8), "white")


def test_the_blur_agrees_with_torchvision():
    pixels = torch.rand(2, 3, 40, 40)
    expected = gaussian_blur(pixels, kernel_size=[25, 25], sigma=[4.0, 4.0])
    torch.testing.assert_close(reference_film(pixels, "blurred"), expected)
