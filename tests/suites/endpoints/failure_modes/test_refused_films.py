"""Films that allow no white-out are counted, named and given a reason, from the pixels to the claim."""

from __future__ import annotations

import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from suites.harness.claims import Verdict
from suites.harness.claims_table import load_claims
from suites.harness.cohorts.cohort import Film
from suites.harness.endpoints.failure_modes.refused_films import LISTED, Refused
from suites.harness.errors import NotEvaluable
from tests.controls.conftest import judge  # noqa: F401
from tests.controls.films import cohort_of, draw
from tests.controls.planted import RIGHT, planted
from tests.controls.subjects import Reader, subject_of

LOBAR = "whiteout_lobar@4"
TWO = {"conditions": [LOBAR, "whiteout_mass@4"], "sham": None, "matched": None}
CLAIMS = {claim.id: claim for claim in load_claims()}


def some_without_lungs(row) -> Film:
    """A drawn film; of every fifth nobody knows where the lungs are, and it shows none."""
    film = draw(row)
    if int(row["number"]) % 5:
        return film
    noise = np.random.default_rng(int(row["number"])).random(film.pixels.shape, dtype=np.float32)
    return Film(pixels=noise, content=f"noise{row['number']}", masks={})


@pytest.mark.parametrize("name", ["whiteout.normal", "whiteout.confident"])
def test_films_without_lungs_are_counted_and_named_in_the_claim(judge, name):  # noqa: F811
    changes = TWO if name == "whiteout.normal" else {"conditions": TWO["conditions"]}
    cohort = cohort_of(45, decode=some_without_lungs)
    found = judge(CLAIMS[name], subject_of(Reader(), "reader"), cohort=cohort, **changes)
    asked, refused = (15, 3) if name == "whiteout.normal" else (45, 9)
    assert found.result.effect.n == asked - refused
    assert f"Not evaluable on {refused} of {asked} films: " in found.result.summary
    (table,) = (table for title, table in found.result.tables.items() if title.startswith("Films it is not evaluable"))
    assert table["films"].sum() == refused
    numbers = [n for n in range(0, 45, 5) if name == "whiteout.confident" or n % 3 == 1]
    assert sorted(", ".join(table["which"]).split(", ")) == sorted(f"drawn{n}" for n in numbers)
    assert table["reason"].str.contains("lung").all()


def test_where_every_film_is_refused_the_reason_is_the_verdict(judge):  # noqa: F811
    def none(row):
        return some_without_lungs({**row, "number": 5 * int(row["number"])})

    found = judge("whiteout.normal", subject_of(Reader(), "reader"), cohort=cohort_of(15, decode=none), **TWO)
    assert found.verdict is Verdict.NOT_EVALUABLE
    assert found.reason.startswith("Not evaluable on 5 of 5 films: ")
    assert "lung" in found.reason


REASONS = st.dictionaries(st.integers(0, 39), st.text(max_size=400), max_size=40)


@given(REASONS, st.text(min_size=1, max_size=300))
@settings(max_examples=40, deadline=None)
def test_every_refused_film_is_counted_once_on_one_line(reasons, name):
    answers = planted({LOBAR: np.full(40, RIGHT)}, films=40, undefined={LOBAR: reasons})
    answers.cohort.table["id"] = [f"{name}{number}" for number in range(40)]
    everyone = np.ones(40, dtype=bool)
    if len(reasons) == 40:
        with pytest.raises(NotEvaluable) as problem:
            Refused.of(answers, [LOBAR], everyone)
        assert len(str(problem.value)) < 300
        assert len(str(problem.value).splitlines()) == 1
        return
    found = Refused.of(answers, [LOBAR], everyone)
    assert found.films.sum() == 40 - len(reasons)
    assert bool(found.sentence) == bool(reasons) == bool(found.tables)
    assert len(found.sentence.splitlines()) <= 1
    if reasons:
        assert found.sentence.startswith(f"Not evaluable on {len(reasons)} of 40 films: ")
        ((title, table),) = found.tables.items()
        assert f"{len(reasons)} of 40" in title
        assert table["films"].sum() == len(reasons)


def test_numbers_of_one_film_do_not_make_a_reason_of_its_own_and_long_lists_are_cut():
    why = {n: f"whiteout_lobar is undefined: no lung field found (match 0.{n})" for n in range(30)}
    answers = planted({LOBAR: np.full(40, RIGHT)}, films=40, undefined={LOBAR: why})
    found = Refused.of(answers, [LOBAR], np.ones(40, dtype=bool))
    assert found.sentence == (
        "Not evaluable on 30 of 40 films: no lung field found (30: film0, film1, ...). That is bacterial pneumonia 10 "
        "of 14, normal 10 of 13, viral pneumonia 10 of 13: what is said here is said of films like those left."
    )
    (table,) = found.tables.values()
    assert list(table["reason"]) == ["no lung field found"]
    assert table["which"].iloc[0].endswith(f"film19 and {30 - LISTED} more")


def test_classes_are_named_where_some_are_refused_more_often_than_others():
    answers = planted({LOBAR: np.full(12, RIGHT)}, films=12, undefined={LOBAR: dict.fromkeys((0, 3, 6), "no lung")})
    found = Refused.of(answers, [LOBAR], np.ones(12, dtype=bool))
    assert found.by_class == {"bacterial_pneumonia": (3, 4), "normal": (0, 4), "viral_pneumonia": (0, 4)}
    assert "That is bacterial pneumonia 3 of 4, normal 0 of 4, viral pneumonia 0 of 4" in found.sentence
    normal = Refused.of(answers, [LOBAR], np.asarray(answers.labels == 1))
    assert normal.sentence == ""
    evenly = planted({LOBAR: np.full(12, RIGHT)}, films=12, undefined={LOBAR: dict.fromkeys((0, 1, 2), "no lung")})
    assert "That is" not in Refused.of(evenly, [LOBAR], np.ones(12, dtype=bool)).sentence
