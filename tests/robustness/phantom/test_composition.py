"""Unions of intervals and priority, against counting small steps along the ray."""

import numpy as np
import pytest
import torch
from hypothesis import given, settings
from hypothesis import strategies as st

from robustness.phantom.beam import ConeBeam
from robustness.phantom.composition import Cover, meet, priority_lengths
from robustness.phantom.geometry import ellipsoid

whole_numbers = st.integers(0, 40)
intervals = st.lists(st.tuples(whole_numbers, whole_numbers).map(sorted), min_size=1, max_size=7)


def tensors(pairs):
    both = torch.tensor(pairs, dtype=torch.float32)
    return both[:, :1], both[:, 1:]


@given(pairs=intervals, window=st.tuples(whole_numbers, whole_numbers).map(sorted))
@settings(max_examples=200)
def test_union_and_free_length_equal_counted_cells(pairs, window):
    cells = np.zeros(40, bool)
    for first, last in pairs:
        cells[first:last] = True
    cover = Cover(*tensors(pairs))
    inside = tuple(torch.tensor([float(x)]) for x in window)
    assert float(cover.length()) == cells.sum()
    assert float(cover.length(inside)) == cells[window[0] : window[1]].sum()
    assert float(cover.free(inside)) == (~cells[window[0] : window[1]]).sum()


@given(pairs=intervals, window=st.tuples(whole_numbers, whole_numbers).map(sorted))
@settings(max_examples=200, deadline=None)
def test_gaps_are_visited_evenly_and_nothing_else_is(pairs, window):
    free = np.zeros(40, bool)
    free[window[0] : window[1]] = True
    for first, last in pairs:
        free[first:last] = False
    places = Cover(*tensors(pairs)).gaps(tuple(torch.tensor([float(x)]) for x in window), 4 * 40)[:, 0].numpy()
    assert (np.diff(places) >= 0).all()
    if free.any():
        visits = np.bincount(places.astype(int), minlength=40)
        assert (visits[~free] <= 1).all(), "at most the rounding of an end"
        assert np.abs(visits[free] - 160 / free.sum()).max() <= 2


@given(pairs=intervals)
@settings(max_examples=200)
def test_priority_gives_every_cell_to_the_first_body_and_loses_none(pairs):
    owner = np.full(40, -1)
    for i, (first, last) in reversed(list(enumerate(pairs))):
        owner[first:last] = i
    lengths = priority_lengths(*tensors(pairs))[:, 0]
    assert lengths.tolist() == [float((owner == i).sum()) for i in range(len(pairs))]
    assert float(lengths.sum()) == float(Cover(*tensors(pairs)).length())


def test_priority_conserves_path_length_for_real_bodies():
    beam = ConeBeam(48, 20.0, 90.0, np.eye(3))
    rng = np.random.default_rng(1)
    bodies = ellipsoid(rng.uniform(-3, 3, (8, 3)), rng.uniform(1, 5, (8, 3)))
    lengths = priority_lengths(*beam.intervals(bodies))
    assert float(lengths.min()) > -1e-4
    assert torch.allclose(lengths.sum(0) * beam.oblique, beam.union(bodies), atol=1e-3)


def test_a_body_within_another_takes_its_own_length_from_it():
    beam = ConeBeam(33, 10.0, 90.0, np.eye(3))
    enter, leave = beam.intervals(ellipsoid([[0, 0, 0], [0, 0, 0]], [[1, 1, 1], [3, 3, 3]]))
    inner, outer = priority_lengths(enter, leave)[:, 16, 16].tolist()
    assert (inner, outer) == pytest.approx((2.0, 4.0), rel=1e-4)


def test_meeting_intervals_that_miss_is_empty():
    enter, leave = meet((torch.tensor([0.0]), torch.tensor([1.0])), (torch.tensor([2.0]), torch.tensor([3.0])))
    assert float(leave - enter) == 0.0
