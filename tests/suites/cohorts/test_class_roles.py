"""Which class is the healthy one, and what a subject of two classes is asked."""

from __future__ import annotations

import pytest

from suites.harness.claims_table import load_claims
from suites.harness.cohorts.class_roles import for_classes, healthy, own_name
from suites.harness.endpoints import get

PUBLISHED = ("bacterial_pneumonia", "normal", "viral_pneumonia")


@pytest.mark.parametrize(
    ("classes", "expected"),
    [
        (PUBLISHED, "normal"),
        (("NORMAL", "PNEUMONIA"), "NORMAL"),
        (("Pneumonia", "No Finding"), "No Finding"),
        (("healthy", "sick"), "healthy"),
        (("0", "1"), None),
        (("normal", "no finding"), None),
    ],
)
def test_the_healthy_class_is_known_by_its_name_or_not_at_all(classes, expected):
    assert healthy(classes) == expected


def test_a_class_is_found_in_any_spelling_and_never_taken_for_another():
    assert own_name("normal", ("NORMAL", "PNEUMONIA")) == "NORMAL"
    assert own_name("normal", ("no finding", "pneumonia")) == "no finding"
    assert own_name("viral_pneumonia", ("NORMAL", "PNEUMONIA")) == "viral_pneumonia"
    assert own_name("viral_pneumonia", ("normal", "Viral-Pneumonia")) == "Viral-Pneumonia"


def test_a_subject_of_two_classes_is_asked_in_its_own_words():
    asked = {claim.id: claim for claim in for_classes(load_claims(), [("NORMAL", "lung_opacity")])}
    assert asked["classes.viral_recall"].statement == "Fewer than nine in ten lung opacity films are recognised."
    assert asked["classes.viral_recall"].parameters["measure"] == "recall_lung_opacity"
    assert asked["classes.normal_called_viral"].parameters["from"] == "NORMAL"
    assert asked["classes.recall_gap"].parameters["worse"] == "lung_opacity"
    page = {claim.id: claim for claim in load_claims() if not claim.per}
    assert list(asked) == list(page), "the same ids in the same order"
    for name, claim in asked.items():
        assert (claim.margin, claim.kind, claim.endpoint, claim.section) == (
            page[name].margin, page[name].kind, page[name].endpoint, page[name].section,
        )  # fmt: skip
        get(claim.endpoint).asked(claim)
        assert "{" not in claim.statement


@pytest.mark.parametrize(
    "subjects", [[PUBLISHED], [("normal", "pneumonia"), PUBLISHED], [("0", "1")], [("sick", "worse")]]
)
def test_others_are_asked_what_the_page_says(subjects):
    page = [claim for claim in load_claims() if not claim.per]
    asked = for_classes(load_claims(), subjects)
    assert [(claim.statement, claim.parameters) for claim in asked] == [
        (claim.statement, claim.parameters) for claim in page
    ]
