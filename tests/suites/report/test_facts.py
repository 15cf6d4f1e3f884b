"""Nested records in words: no Python on the page, nothing empty, nothing twice."""

from __future__ import annotations

from suites.harness.report import facts

ABOUT = "Trained as the published model was: random resized crop and flip."


def test_nested_records_become_words():
    record = {
        "about": ABOUT,
        "films": {"train": {"films": 3600, "twins": True, "seed": 101}, "outliers": []},
        "confusion": [[90, 7], [1, 98]],
        "perturbations_seen": [],
        "start_sha256": "",
        "weights_sha256": "ab12",
        "recipe": {"about": ABOUT, "batch": 18, "frozen": False, "start": ""},
    }
    assert facts.lines(record, told=["ab12"]) == {
        "about": ABOUT,
        "films": "train (films 3600, twins yes, seed 101)",
        "confusion": "90, 7; 1, 98",
        "recipe": "batch 18, frozen no",
    }


def test_equal_settings_are_all_told():
    assert facts.lines({"short_side": 224, "size": 224}) == {"short side": "224", "size": "224"}
