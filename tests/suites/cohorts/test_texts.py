"""Texts by name are a dictionary in all but what they take."""

from __future__ import annotations

import pickle

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from suites.harness.cohorts import texts
from suites.harness.cohorts.texts import TextByName

TEXT = st.text(st.characters(codec="utf-8"), max_size=4)


@settings(max_examples=60, deadline=None)
@given(pairs=st.dictionaries(TEXT, TEXT, max_size=20), other=TEXT, at_once=st.integers(1, 5))
def test_it_is_what_a_dictionary_of_the_pairs_is(pairs, other, at_once):
    before, texts.AT_ONCE = texts.AT_ONCE, at_once
    try:
        held = TextByName(pairs.items())
        assert held == pairs
        assert list(held) == list(pairs)
        assert list(held.items()) == list(pairs.items())
        assert [held[name] for name in pairs] == list(pairs.values())
        assert held.get(other) == pairs.get(other)
        assert (other in held) == (other in pairs)
        assert bool(held) == bool(pairs)
        assert pickle.loads(pickle.dumps(held)) == pairs
    finally:
        texts.AT_ONCE = before


def test_a_name_that_is_not_there_is_a_key_error():
    with pytest.raises(KeyError, match="c"):
        TextByName([("a", "1"), ("b", "2"), ("d", "3")])["c"]
