"""The view guard in a run: it catches lateral films, catches nothing where there are none, and remembers its scores."""

from __future__ import annotations

import shutil

import pytest

from suites.harness import evaluate
from suites.harness.claims import Claim
from suites.harness.cohorts.layouts import load_cohort
from suites.harness.endpoints.uncertainty import view_guard
from tests.controls.subjects import Reader, subject_of

CLAIM = Claim(
    id="doubt.lateral", section="S", statement="s.", kind="limitation", endpoint="probe_detection", margin=0.9,
    direction="below", parameters={"role": "lateral"},
)  # fmt: skip


@pytest.fixture(scope="module")
def kept(tmp_path_factory):
    """One cache for all tests here: phantoms are drawn once."""
    return tmp_path_factory.mktemp("cache")


def judged(kept, probe: str):
    shutil.rmtree(kept / "results", ignore_errors=True)  # it is the guard's own scores that are to be found again
    run = evaluate(
        subject_of(Reader(), "reader"), load_cohort("phantom:n=9,seed=5"), claims=[CLAIM],
        probes={"lateral": load_cohort(probe)}, cache=kept,
    )  # fmt: skip
    result = run.judgements[0].result
    assert result is not None
    measures = {(measure.name, measure.condition): measure for measure in result.measures}
    return result, {name: measure for (name, condition), measure in measures.items() if "lateral, view" in condition}


def test_lateral_films_are_caught_and_the_cost_is_told(kept):
    result, guard = judged(kept, "phantom:n=9,seed=6,view=LATERAL")
    assert guard["auroc"].estimate > 0.95
    assert guard["fpr95"].estimate < 0.1
    assert guard["refused_share"].estimate > 0.8
    table = next(iter(result.tables.values()))
    assert "view guard" in set(table["score"])
    cost = next(m for m in result.measures if m.name == "refused_share" and "lateral" not in m.condition)
    assert cost.estimate < 0.1
    assert f"{100 * cost.estimate:.1f} % of 9 of the usual films" in result.summary


def test_frontal_films_given_as_lateral_are_not_caught(kept):
    _, guard = judged(kept, "phantom:n=9,seed=7")
    assert 0.2 < guard["auroc"].estimate < 0.8
    assert guard["refused_share"].estimate < 0.2


def test_films_are_scored_once(kept, monkeypatch):
    first, _ = judged(kept, "phantom:n=9,seed=6,view=LATERAL")
    monkeypatch.setattr(view_guard, "_score", lambda _: pytest.fail("scored again"))
    again, _ = judged(kept, "phantom:n=9,seed=6,view=LATERAL")
    assert again.summary == first.summary


def test_a_quick_run_looks_at_some_films_and_says_how_many(kept, monkeypatch):
    monkeypatch.setitem(view_guard.FILMS, "quick", 4)
    result, guard = judged(kept, "phantom:n=9,seed=6,view=LATERAL")
    looked_at = guard["refused_share"].n
    assert 3 <= looked_at < 9  # about so many, whole patients
    assert f"of {looked_at} lateral films" in result.summary
