"""Structural similarity and rank correlation against hand-computed cases and libraries."""

import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st
from scipy.stats import spearmanr

from explain.attribution import AttributionMap
from explain.similarity import agreement, drift, rank_correlation, structural_similarity, unit_scale


def as_maps(maps, method="m", targets=None):
    maps = np.asarray(maps, dtype=np.float32)
    status = tuple("ok" if np.isfinite(one).all() else "not finite" for one in maps)
    names = tuple(f"f{i}" for i in range(len(maps)))
    return AttributionMap(method, maps, names, tuple(targets or [0] * len(maps)), status)


def noise(seed, side=24):
    return np.random.default_rng(seed).normal(size=(side, side))


def test_ssim_agrees_with_scikit_image():
    metrics = pytest.importorskip("skimage.metrics")
    a, b = noise(0), noise(0) + 0.5 * noise(1)
    window = {"gaussian_weights": True, "sigma": 1.5, "use_sample_covariance": False, "data_range": 1}
    expected = metrics.structural_similarity(unit_scale(a), unit_scale(b), **window)
    assert structural_similarity(a, b) == pytest.approx(expected, abs=1e-12)


@settings(max_examples=20)
@given(seed=st.integers(0, 1000), factor=st.floats(1e-6, 1e6))
def test_similarity_knows_no_scale_no_sign_and_no_order(seed, factor):
    a, b = noise(seed), noise(seed + 1)
    assert structural_similarity(a, -factor * a) == pytest.approx(1)
    assert structural_similarity(a, b) == pytest.approx(structural_similarity(b, factor * a), abs=1e-9)
    assert rank_correlation(a, factor * a) == pytest.approx(1)
    assert -1 <= structural_similarity(a, b) < 0.5
    assert abs(rank_correlation(a, b)) < 0.3


def test_rank_correlation_by_hand_and_by_scipy():
    # ranks 1 2 3 4 against 2 1 4 3: 1 - 6 * 4 / (4 * 15) = 0.6
    assert rank_correlation([[1, 2], [3, 4]], [[20, 10], [40, 30]]) == pytest.approx(0.6)
    assert rank_correlation([[1, 2], [3, 4]], [[-4, -3], [-2, -1]], signed=True) == pytest.approx(1)
    assert rank_correlation([[1, 2], [3, 4]], [[-4, -3], [-2, -1]]) == pytest.approx(-1)
    a, b = np.round(noise(3), 1), np.round(noise(4), 1)
    assert rank_correlation(a, b, signed=True) == pytest.approx(spearmanr(a.ravel(), b.ravel()).statistic)


def test_flat_and_broken_maps():
    flat, broken = np.ones((24, 24)), np.full((24, 24), np.nan)
    assert rank_correlation(flat, noise(0)) == 0
    assert np.isnan(rank_correlation(broken, noise(0)))
    assert np.isnan(structural_similarity(noise(0), broken))
    assert structural_similarity(np.zeros((24, 24)), np.zeros((24, 24))) == pytest.approx(1)
    with pytest.raises(ValueError, match=r"\(11, 11\)"):
        structural_similarity(np.ones((4, 4)), np.ones((4, 4)))


def test_drift_measures_a_known_move():
    before, after = np.zeros((1, 20, 20)), np.zeros((1, 20, 20))
    before[0, 4, 4], after[0, 7, 8] = 1, 2
    row = drift(as_maps(before), as_maps(after, targets=[1])).iloc[0]
    assert row["moved"] == pytest.approx(5 / 20)
    assert not row["same_target"]
    assert drift(as_maps(before), as_maps(before)).iloc[0]["ssim"] == pytest.approx(1)
    with pytest.raises(ValueError, match="one method"):
        drift(as_maps(before), as_maps(after, "other"))


def test_agreement_counts_what_it_leaves_out():
    maps = np.stack([noise(0), noise(1), np.full((24, 24), np.nan)])
    table = agreement([as_maps(maps, "a"), as_maps(2 * maps, "b"), as_maps(maps[::-1], "c")])
    first = table.iloc[0]
    assert (first["first"], first["second"], first["n"], first["left_out"]) == ("a", "b", 2, 1)
    assert first["rank_correlation"] == pytest.approx(1)
    assert table.iloc[1]["n"] == 1
