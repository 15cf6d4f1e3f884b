"""How far a run is: each second belongs to one stage, what the cache has sets no rate, and the whole run is counted."""

from __future__ import annotations

import doctest

import pytest

from suites.harness import progress as module
from suites.harness.progress import Progress, duration


class Clock:
    def __init__(self):
        self.now = 0.0

    def __call__(self):
        return self.now


@pytest.fixture
def clock():
    return Clock()


def test_the_example_of_the_docstring_holds():
    assert doctest.testmod(module).failed == 0


def test_every_second_belongs_to_the_innermost_stage_and_what_fails_ends_its_stage(clock):
    progress = Progress(clock)

    def failing():
        with progress.doing("attacking"):
            clock.now += 5
            raise ValueError("inside")

    with progress.doing("measuring"):
        clock.now += 2
        with pytest.raises(ValueError, match="inside"):
            failing()
        clock.now += 1
    clock.now += 10  # nobody's: nothing of the run was done
    spent = progress.spent()
    assert (spent["measuring"], spent["attacking"], sum(spent.values())) == (3, 5, 8)


def test_what_the_cache_had_is_done_and_says_nothing_of_the_speed(clock):
    progress = Progress(clock)
    progress.expect("predicting", units=100, seconds=1000)
    with progress.doing("predicting", "phantom"):
        progress.found(50)
        assert progress.line() == "predicting phantom: 50 of 100 films x conditions; about 8 min left of the run"
        clock.now += 10
        progress.done(10)
        assert progress.line() == "predicting phantom: 60 of 100 films x conditions, 1.0/s; about 40 s left of the run"


def test_what_is_left_is_left_of_the_whole_run(clock):
    progress = Progress(clock)
    progress.expect("predicting", units=10, seconds=5)
    progress.expect("attacking", units=10, seconds=100)
    with progress.doing("predicting"):
        clock.now += 10
        progress.done(5)
        assert progress.left() == pytest.approx(10 + 100)
        progress.done(5)
        assert progress.left() == pytest.approx(100)
    with progress.doing("attacking"):
        clock.now += 40
        progress.done(8)
        assert progress.left() == pytest.approx(10)


def test_films_that_cost_more_than_their_conditions_are_not_forgotten(clock):
    """Of a hundred laterals with one condition each most of the time goes into decoding them."""
    progress = Progress(clock)
    progress.expect("predicting", units=200, films=110, film=9)
    with progress.doing("predicting"):
        for _ in range(10):
            progress.done(10)
            progress.decoded()
        clock.now += 190
    assert progress.left() == pytest.approx(100 * 190 / 190 + 9 * 100)


def test_it_moves_within_units_that_are_under_way_and_never_back(clock):
    progress = Progress(clock)
    progress.expect("attacking", units=32, seconds=64)
    with progress.doing("attacking", "reader"):
        clock.now += 10
        progress.under_way(3.25)
        assert progress.line().startswith("attacking reader: 3.2 of 32 films x attacks, 0.3/s; about ")
        seen = [3.25]
        for _ in range(16):
            progress.done()
            seen.append(progress.work["attacking"].done + progress.work["attacking"].part)
        assert seen == sorted(seen)
        assert seen[-1] == 16
        assert progress.line().startswith("attacking reader: 16 of 32 films")
        progress.under_way(2)
    assert progress.work["attacking"].part == 0, "what was left undone is not done"


def test_units_that_cost_more_come_first_and_the_time_left_does_not_grow_for_it(clock):
    """Films under an ensemble, then under a control that takes a hundredth: each counts as one unit."""
    progress = Progress(clock)
    progress.expect("attacking", units=200, seconds=1010, worth=100 * 100 + 100)
    left = [progress.left()]
    for passes, seconds in ((100, 10), (1, 0.1)):
        with progress.doing("attacking", each=passes):
            for _ in range(100):
                clock.now += seconds
                progress.done()
                left.append(progress.left())
    assert left == sorted(left, reverse=True)
    assert left[100] == pytest.approx(10)
    assert left[-1] == 0


def test_the_planned_rate_fades_out_where_the_first_units_take_long(clock):
    progress = Progress(clock)
    progress.expect("explaining", units=100, seconds=100)
    with progress.doing("explaining"):
        clock.now += 10
        progress.done()
        assert progress.left() == pytest.approx(99 * (0.1 * 10 + 0.9 * 1))
        clock.now += 9
        progress.done(9)
        assert progress.left() == pytest.approx(90 * 19 / 10)


def test_more_than_was_planned_is_no_longer_of_the_plan(clock):
    progress = Progress(clock)
    progress.expect("explaining", units=2)
    with progress.doing("explaining"):
        clock.now += 1
        progress.done(3)
    assert progress.line() == "explaining 3 maps, 3.0/s"


def test_nothing_more_is_expected_of_a_stage_that_was_over_before_the_plan(clock):
    progress = Progress(clock)
    with progress.doing("checking"):
        clock.now += 1
    progress.expect("checking", units=100, seconds=50)
    assert progress.left() == 0


@pytest.mark.parametrize(
    ("seconds", "text"), [(0.2, "1 s"), (89, "89 s"), (150, "2 min"), (3600, "1 h 0 min"), (4800, "1 h 20 min")]
)
def test_a_time_is_written_as_one_plans_with_it(seconds, text):
    assert duration(seconds) == text
