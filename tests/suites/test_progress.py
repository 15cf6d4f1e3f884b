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
