"""Localisation measures on maps small enough to work out by hand, and on every map that says nothing."""

import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st
from hypothesis.extra import numpy as hnp
from sklearn.metrics import average_precision_score

from explain.attribution import AttributionMap
from explain.localisation import (
    average_precision,
    energy_inside,
    energy_table,
    localise,
    marked_region,
    otsu_threshold,
    overlap,
    pointing_hit,
    shifted_overlap,
    summarise,
)

MASK = np.array([[1, 1, 0], [0, 0, 0], [0, 0, 0]], dtype=bool)


def as_maps(maps, method="m"):
    maps = np.asarray(maps, dtype=np.float32)
    status = tuple("ok" if np.isfinite(one).all() else "not finite" for one in maps)
    names = tuple(f"f{i}" for i in range(len(maps)))
    return AttributionMap(method, maps, names, (0,) * len(maps), status)


def test_pointing_game_by_hand():
    assert pointing_hit([[0, 9, 0], [5, 0, 0], [0, 0, 0]], MASK) == 1
    assert pointing_hit([[0, 4, 0], [5, 0, 0], [0, 0, 0]], MASK) == 0
    assert pointing_hit([[0, 5, 0], [5, 0, 0], [0, 0, 0]], MASK) == 0.5


def test_energy_by_region_by_hand_and_what_does_not_count():
    maps = as_maps([[[1, 2, 0], [3, 0, 0], [0, 0, 6]], np.full((3, 3), np.nan), np.ones((3, 3)), np.ones((3, 3))])
    corner = np.zeros((3, 3), dtype=bool)
    corner[2, 2] = True
    known = {"lesion": {"f0": MASK, "f1": MASK, "f2": np.zeros_like(MASK)}, "corner": {"f0": corner, "f3": corner}}
    table = energy_table(maps, known).set_index("region")
    assert table.loc["lesion", "energy"] == pytest.approx(3 / 12), "f1 is not finite, f2 has no lesion, f3 no mask"
    assert list(table["films"]) == [1, 2]
    assert list(table["left_out"]) == [1, 0]
    assert table.loc["lesion", "area"] == pytest.approx(2 / 9)
    assert table.loc["corner", "energy"] == pytest.approx((6 / 12 + 1 / 9) / 2)
    assert table.loc["corner", "centre"] < table.loc["corner", "area"], "the middle of the film is not its corner"


def test_energy_by_hand():
    assert energy_inside([[1, 2, 0], [3, 0, 0], [0, 0, 6]], MASK) == pytest.approx(3 / 12)


def test_average_precision_by_hand():
    # order: hit, miss, hit -> 1/2 * 1/1 + 1/2 * 2/3
    assert average_precision([[9, 5, 0], [7, 0, 0], [0, 0, 0]], MASK) == pytest.approx(0.5 + 1 / 3)


def test_overlap_by_hand():
    assert overlap(MASK, [[0, 1, 1], [0, 0, 0], [0, 0, 0]]) == pytest.approx(1 / 3)
    assert np.isnan(overlap(np.zeros((3, 3)), np.zeros((3, 3))))


def test_otsu_splits_two_levels_and_agrees_with_scikit_image():
    two = np.array([[0.1] * 8 + [0.9] * 8])
    assert 0.1 < otsu_threshold(two) <= 0.9
    assert marked_region(two).sum() == 8
    filters = pytest.importorskip("skimage.filters")
    values = np.random.default_rng(0).gamma(1, size=(40, 40))
    width = np.ptp(values) / 256
    assert otsu_threshold(values) == pytest.approx(filters.threshold_otsu(values), abs=width)


@settings(max_examples=40)
@given(
    values=hnp.arrays(np.float64, (6, 6), elements=st.integers(0, 5).map(float)),
    mask=hnp.arrays(np.bool_, (6, 6)).filter(lambda mask: 0 < mask.sum() < 36),
)
def test_measures_agree_with_scikit_learn_and_stay_in_range(values, mask):
    assert average_precision(values, mask) == pytest.approx(average_precision_score(mask.ravel(), values.ravel()))
    row = localise(as_maps([values]), mask).iloc[0]
    for measure in ("hit", "iou", "auprc", "energy"):
        assert 0 <= row[measure] <= 1
    assert row["energy"] + energy_inside(values, ~mask) == pytest.approx(1)


def test_a_flat_map_scores_as_chance():
    for level in (0.0, 3.0):
        row = localise(as_maps([np.full((3, 3), level)]), MASK).iloc[0]
        for measure in ("hit", "auprc", "energy", "iou"):
            assert row[measure] == pytest.approx(2 / 9)
            assert row[f"{measure}_random"] == pytest.approx(2 / 9)


def test_uniform_noise_reaches_its_printed_chance_level():
    noise = np.random.default_rng(0).random((120, 24, 24))
    mask = np.zeros((24, 24), dtype=bool)
    mask[4:12, 10:16] = True
    table = summarise(localise(as_maps(noise), mask)).set_index("measure")
    for measure in ("hit", "iou", "auprc", "energy"):
        assert table.loc[measure, "value"] == pytest.approx(table.loc[measure, "random"], abs=0.05), measure


def test_the_centre_prior_wins_in_the_centre_and_is_printed_beside():
    mask = np.zeros((24, 24), dtype=bool)
    mask[10:14, 10:14] = True
    row = localise(as_maps(np.random.default_rng(0).random((1, 24, 24))), mask).iloc[0]
    assert row["hit_centre"] == 1
    assert row["energy_centre"] > 2 * row["energy_random"]


def test_a_perfect_map_beats_its_displaced_self():
    mask = np.zeros((24, 24), dtype=bool)
    mask[2:8, 3:9] = True
    row = localise(as_maps([mask.astype(float)]), mask, visible=[0.7]).iloc[0]
    assert (row["hit"], row["iou"], row["auprc"], row["energy"]) == (1, 1, 1, 1)
    assert row["iou_random"] < 0.2
    assert row["visible_fraction"] == 0.7
    assert shifted_overlap(mask, mask) == shifted_overlap(mask, mask)


def test_broken_maps_and_empty_masks_are_left_out_and_counted():
    maps = as_maps([np.eye(3), np.full((3, 3), np.nan), np.eye(3)], "method")
    table = localise(maps, {"f0": MASK, "f1": MASK, "f2": np.zeros((3, 3))})
    line = summarise(table).set_index("measure").loc["hit"]
    assert (line["n"], line["left_out"]) == (1, 2)
    assert line["method"] == "method"


def test_bad_input_is_named():
    with pytest.raises(ValueError, match="films without a mask, 1 in all: f1"):
        localise(as_maps(np.zeros((2, 3, 3))), {"f0": MASK})
    with pytest.raises(ValueError, match="do not fit"):
        localise(as_maps(np.zeros((2, 3, 3))), np.zeros((3, 3, 3)))
    with pytest.raises(ValueError, match="magnitude"):
        pointing_hit(-np.eye(3), MASK)
