"""Labels per finding: four values, and which of them count."""

from __future__ import annotations

import re
from dataclasses import replace

import numpy as np
import pandas as pd
import pytest

from suites.harness.cohorts import findings
from suites.harness.cohorts.cohort import COLUMNS, Cohort, Film
from suites.harness.cohorts.layouts import load_cohort
from suites.harness.errors import CohortProblem
from suites.options import OPTIONS

EDEMA = ["positive", "negative", "uncertain", "not mentioned", "uncertain"]


def cohort_of(**columns: list[str]) -> Cohort:
    size = len(next(iter(columns.values()), EDEMA))
    table = pd.DataFrame({name: [""] * size for name in COLUMNS}).assign(id=list("abcdefgh"[:size]), patient="p")
    table = table.assign(**{f"finding:{name.replace('_', ' ')}": values for name, values in columns.items()})
    film = Film(pixels=np.zeros((2, 2), np.float32), content="")
    return Cohort(name="made", spec="made", table=table, decode=lambda _: film)


def test_a_cohort_tells_its_findings_in_the_order_of_their_columns():
    made = cohort_of(Pleural_Effusion=EDEMA, Edema=EDEMA)
    assert made.findings == ("Pleural Effusion", "Edema")
    assert cohort_of().findings == ()
    assert cohort_of().finding_counts().columns.tolist() == ["finding", *findings.VALUES]


@pytest.mark.parametrize(
    ("policy", "truth"),
    [("leave-out", [1, 0, -1, -1, -1]), ("positive", [1, 0, 1, -1, 1]), ("negative", [1, 0, 0, -1, 0])],
)
def test_uncertain_films_count_as_the_user_says_and_unmentioned_ones_never(policy, truth):
    made = load_cohort(cohort_of(Edema=EDEMA), uncertain=policy)
    assert made.finding("Edema").dtype == np.int64
    assert made.finding("Edema").tolist() == truth
    # The numbers beside it are those of the source, whatever is done about them.
    assert made.finding_counts().to_dict("records") == [
        {"finding": "Edema", "positive": 1, "negative": 1, "uncertain": 2, "not mentioned": 1}
    ]


def test_what_decides_the_counts_is_part_of_a_cohorts_identity():
    made = cohort_of(Edema=EDEMA)
    others = [
        replace(made, uncertain="positive"),
        cohort_of(Edema=["negative", *EDEMA[1:]]),
        cohort_of(),
    ]
    assert len({made.fingerprint, *(other.fingerprint for other in others)}) == 4


@pytest.mark.parametrize(
    ("make", "message"),
    [
        (lambda: cohort_of(Edema=["positive", "maybe"]), "column 'finding:Edema' holds 'maybe'; what is known of a"),
        (lambda: replace(cohort_of(Edema=EDEMA), uncertain="perhaps"), "uncertain is 'perhaps'; expected leave-out, "),
        (lambda: cohort_of(Edema=EDEMA).finding("Mass"), "nothing of the finding 'Mass'; they tell of Edema"),
        (lambda: cohort_of().finding("Mass"), "they tell of none"),
    ],
)
def test_what_is_no_label_of_a_finding_is_refused(make, message):
    with pytest.raises(CohortProblem, match=re.escape(message)):
        make()


def test_the_option_knows_the_policies():
    assert tuple(OPTIONS["--uncertain"]["choices"]) == tuple(findings.POLICIES)
    assert OPTIONS["--uncertain"]["default"] == cohort_of().uncertain
