"""Weights that are made a block of rows at a time: the numbers of the array they stand for, without its memory."""

from __future__ import annotations

import tracemalloc
from functools import partial

import numpy as np
import pytest

from calibration import ood
from suites.harness import statistics
from suites.harness.statistics import Resamples, ranked, resamples
from suites.harness.statistics.by_blocks import ByBlocks, Counted

COUNT = 300


def films(count):
    """Patients with some films each, three classes and one patient alone in a fourth, and numbers of films."""
    generator = np.random.default_rng(count)
    patients = generator.integers(1, count // 2, count)
    labels = np.where(patients == 1, 3, patients % 3)
    return patients, labels, generator.random(count) < 0.8, generator.random(count)


def drawn(patients, labels, array_bytes, count=COUNT):
    with pytest.MonkeyPatch.context() as patch:
        patch.setattr(resamples, "ARRAY_BYTES", array_bytes)
        resamples._HELD.clear()
        return Resamples.draw(patients, labels, seed=3, count=count)


@pytest.fixture(scope="module")
def pair():
    """The same resamples as one array, and by blocks."""
    patients, labels, _, _ = films(5000)
    return drawn(patients, labels, 2**40), drawn(patients, labels, 0)


def test_weights_are_those_of_the_array_bit_for_bit(pair):
    array, blocks = pair
    assert isinstance(array.weights, np.ndarray)
    assert isinstance(blocks.weights, ByBlocks)
    inside = films(5000)[1] == 1
    for one, other in ((array, blocks), (array.subset(inside), blocks.subset(inside))):
        assert np.array_equal(one.weights, other.weights[:])
        assert np.array_equal(one.left_out, other.left_out[:])
        assert np.array_equal(one.rows, other.rows[:])
        assert np.array_equal(np.concatenate(list(other.rows.blocks())), one.rows)


def test_every_statistic_is_that_of_the_array(pair):
    _, labels, right, confidence = films(5000)
    parts = [one.subset(labels == 1).beside(one.subset(labels == 2)) for one in pair]
    for found, wanted in (
        *(
            (pair[1].means(values), pair[0].means(values))
            for values in (right, confidence, np.stack([right, confidence], axis=1))
        ),
        *zip(*(ranked(partial(ood.auroc, confidence, right), one) for one in reversed(pair)), strict=True),
        (parts[1].means(right[: len(parts[1].cluster)]), parts[0].means(right[: len(parts[0].cluster)])),
        (parts[1].left_out @ right[: len(parts[1].cluster)], parts[0].left_out @ right[: len(parts[0].cluster)]),
    ):
        assert np.allclose(found, wanted, rtol=1e-12, atol=1e-14)
    for among in (labels >= 0, labels == 1, labels == 3):
        ends = [statistics.rate(right[among], one.subset(among)).interval() for one in pair]
        assert [ends[1].low, ends[1].high] == pytest.approx([ends[0].low, ends[0].high], rel=1e-12)


def test_numbers_that_a_byte_does_not_hold_are_kept():
    """Of whoever is drawn 300 times a byte would lose some."""

    class Often:
        def multinomial(self, n, pvals, size):
            return np.tile([300 * n, 0], (size, 1))

    found = Counted.drawn(np.array([0, 1, 0]), np.zeros(2, dtype=np.int64), Often(), 5)
    assert np.array_equal(found[:], np.tile([600.0, 0.0, 600.0], (5, 1)))


def test_ten_times_the_films_take_no_array_of_all_resamples():
    """A byte for each patient and resample, of which films have half as many: 8 for each film and resample do not."""

    def peak(count, array_bytes):
        patients, labels, right, _ = films(count)
        tracemalloc.start()
        one = drawn(patients, labels, array_bytes)
        one.means(right)
        most = tracemalloc.get_traced_memory()[1]
        tracemalloc.stop()
        return most

    grown, of_arrays = (peak(20_000, size) - peak(2_000, size) for size in (0, 2**40))
    further = 18_000 * COUNT  # films and resamples, of which the array has 8 bytes each
    assert of_arrays > 8 * further
    assert grown < 4 * further
