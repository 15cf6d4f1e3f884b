"""Names in a message: one is never read as two."""

from __future__ import annotations

from suites.harness.cohorts.quoting import listed


def test_a_name_with_a_comma_is_quoted_and_no_other_is():
    assert listed(["effusion, left", "mass"]) == '"effusion, left", mass'
    assert listed(["effusion", "left", "mass"]) == "effusion, left, mass"
    assert listed([repr("a, b"), repr("c")]) == "'a, b', 'c'", "what is quoted already stays as it is"


def test_many_names_are_cut_after_whole_ones():
    assert listed(["a, b", *"cdefghijk"]) == '"a, b", c, d, e, f, g, h, i and 2 more'
