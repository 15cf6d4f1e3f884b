"""Films are picked by rule: the same ones whatever the order of the table."""

import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st

from explain.selection import largest_flips, most_confident_calls, most_confident_errors, random_correct

NAMES = ["a", "b", "c", "d"]
TRUTH = [0, 0, 1, 1]
LOGITS = np.log(np.array([[0.9, 0.1], [0.3, 0.7], [0.8, 0.2], [0.45, 0.55]]))


def test_errors_by_hand():
    picks = most_confident_errors(NAMES, TRUTH, LOGITS, 5)
    assert [(pick.image_id, pick.row) for pick in picks] == [("c", 2), ("b", 1)]
    assert picks[0].score == pytest.approx(0.8)


def test_surest_calls_by_hand():
    picks = most_confident_calls(NAMES, LOGITS, 2)
    assert [(pick.image_id, pick.row) for pick in picks] == [("a", 0), ("c", 2)]
    assert picks[0].score == pytest.approx(0.9)


def test_flips_by_hand():
    after = np.log(np.array([[0.2, 0.8], [0.6, 0.4], [0.7, 0.3], [0.9, 0.1]]))
    picks = largest_flips(NAMES, LOGITS, after, 2)
    assert [pick.image_id for pick in picks] == ["a", "d"]  # .9 -> .2 lost .7; d lost .45, b lost .3; c did not flip
    assert picks[0].score == pytest.approx(0.7)


def test_random_correct_are_correct_and_change_with_the_seed():
    names = [f"f{i}" for i in range(60)]
    logits = np.tile([[2.0, 0.0]], (60, 1))
    truth = np.arange(60) % 2
    picks = random_correct(names, truth, logits, 10)
    assert all(truth[pick.row] == 0 for pick in picks)
    assert len({pick.image_id for pick in picks}) == 10
    assert [p.image_id for p in picks] != [p.image_id for p in random_correct(names, truth, logits, 10, seed=1)]


@given(order=st.permutations(range(8)), seed=st.integers(0, 5))
def test_the_order_of_the_table_does_not_matter(order, seed):
    draw = np.random.default_rng(0)
    names, truth = np.array([f"f{i}" for i in range(8)]), draw.integers(0, 3, 8)
    before, after = draw.integers(0, 3, (8, 3)).astype(float), draw.integers(0, 3, (8, 3)).astype(float)
    rules = [
        lambda n, t, b, a: most_confident_errors(n, t, b, 3),
        lambda n, t, b, a: largest_flips(n, b, a, 3),
        lambda n, t, b, a: random_correct(n, t, b, 3, seed),
    ]
    for rule in rules:
        straight = rule(list(names), truth, before, after)
        turned = rule(list(names[order]), truth[order], before[order], after[order])
        assert [p.image_id for p in straight] == [p.image_id for p in turned]


def test_bad_tables_are_named():
    with pytest.raises(ValueError, match="one row for each of 4"):
        most_confident_errors(NAMES, TRUTH, LOGITS[:3], 1)
    with pytest.raises(ValueError, match="finite"):
        largest_flips(NAMES, LOGITS, LOGITS * np.nan, 1)
    assert most_confident_errors(NAMES, TRUTH, LOGITS, 0) == []
