"""Subjects are called as their user calls them, and what they answer stays theirs."""

from __future__ import annotations

import pytest

from suites.harness.errors import SubjectProblem
from suites.harness.subjects.naming import LONGEST_NAME, with_names
from tests.controls.subjects import Calm, subject_of


@pytest.fixture(scope="module")
def pair():
    return [subject_of(Calm(), "v1"), subject_of(Calm(), "best")]


def test_names_go_by_the_order_of_the_weights_and_decide_no_prediction(pair):
    named = with_names(pair, ["before", "after (v2)"])
    assert [subject.name for subject in named] == ["before", "after (v2)"]
    assert [subject.cache_key for subject in named] == [subject.cache_key for subject in pair]
    assert with_names(pair, []) == pair


@pytest.mark.parametrize(
    ("names", "message"),
    [
        (["one"], "1 name .* for 2 subjects"),
        (["same", "same"], "would be called same"),
        (["films", "b"], "would be called films"),
        (["", "b"], "should be up to"),
        (["a/b", "b"], "should be up to"),
        (["a\nb", "b"], "should be up to"),
        ([" a", "b"], "should be up to"),
        (["a" * (LONGEST_NAME + 1), "b"], "should be up to"),
        (["<script>", "b"], "should be up to"),
        (["x" * 5000, "b"], "should be up to"),
    ],
)
def test_names_that_do_not_tell_subjects_apart_are_refused(pair, names, message):
    with pytest.raises(SubjectProblem, match=message) as caught:
        with_names(pair, names, taken=("films",))
    assert len(str(caught.value)) < 300
    assert "\n" not in str(caught.value)
