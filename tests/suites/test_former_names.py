"""Modules that people imported by an earlier name are the very same ones, with a word where they are now."""

from __future__ import annotations

import sys
from importlib import import_module

import pytest

from suites.harness.former_names import FORMER


@pytest.mark.parametrize("old", FORMER)
def test_a_former_name_is_the_same_module(old):
    sys.modules.pop(old, None)
    now = import_module(FORMER[old])
    spec = now.__spec__
    with pytest.warns(DeprecationWarning, match=f"is now {FORMER[old]}"):
        found = import_module(old)
    assert found is now
    assert now.__spec__ is spec
    assert import_module(FORMER[old]) is now


def test_what_never_was_is_not_found():
    with pytest.raises(ModuleNotFoundError, match=r"suites\.harness\.attic"):
        import_module("suites.harness.attic")
