"""The gate trips on what got worse, passes noise, and says what it cannot compare."""

from __future__ import annotations

import json
import shutil
from dataclasses import replace
from pathlib import Path
from types import SimpleNamespace

import numpy as np
import pandas as pd
import pyarrow.parquet as pq
import pytest
from hypothesis import HealthCheck, given, settings
from hypothesis import strategies as st

from suites import outputs
from suites.harness.claims import Verdict
from suites.harness.errors import UsageProblem, one_line
from suites.harness.report import compare_with_baseline, gate, results, write_report
from suites.harness.report.gate import GateOutcome
from suites.harness.report.job_summary import job_summary
from suites.harness.statistics import Resamples


@pytest.fixture(scope="module")
def record(make_record):
    return make_record(subjects=1, films=300, skill=2.0, plain=True)


@pytest.fixture(scope="module")
def baseline(record, tmp_path_factory) -> Path:
    return write_report(record, tmp_path_factory.mktemp("gate") / "baseline").parent


def test_the_same_run_passes(record, baseline):
    outcome = compare_with_baseline(record, baseline)
    assert outcome.passed
    assert len([change for change in outcome.changes if change.paired]) == 11
    assert all(change.worsening == 0 for change in outcome.changes)
    assert outcome.lines()[0] == f"release gate passed: 0 of {len(outcome.changes)} comparisons worse than tolerated"


def test_other_answers_of_the_same_skill_pass(make_record, baseline):
    assert compare_with_baseline(make_record(subjects=1, films=300, skill=2.0, plain=True, noise=99), baseline).passed


def test_a_worsened_subject_fails_and_the_loss_is_printed(make_record, baseline):
    outcome = compare_with_baseline(make_record(subjects=1, films=300, skill=1.0, plain=True, noise=5), baseline)
    assert not outcome.passed
    worst = outcome.worsened[0]
    assert worst.paired
    assert worst.low > 0.02
    assert worst.after < worst.before
    text = "\n".join(outcome.lines())
    assert "FAILED" in text
    assert "films answered right, clean" in text
    assert "pp" in text


def test_an_improved_subject_passes(make_record, baseline):
    assert compare_with_baseline(make_record(subjects=1, films=300, skill=4.0, plain=True, noise=5), baseline).passed


def test_folders_compare_like_records(make_record, baseline, tmp_path):
    worse = make_record(subjects=1, films=300, skill=1.0, plain=True, noise=5)
    folder = write_report(worse, tmp_path / "now").parent
    assert compare_with_baseline(folder, baseline) == compare_with_baseline(worse, baseline)


def moved(record, by: float, half: float = 0.01):
    """The record with one claim's effect moved, a limitation that counts above its margin."""
    judgements = [
        replace(j, result=replace(j.result, effect=replace(
            j.result.effect, estimate=0.21 + by, low=0.21 + by - half, high=0.21 + by + half
        ))) if j.claim.id == "failure_modes.underexposed" else j
        for j in record.judgements
    ]  # fmt: skip
    return replace(record, judgements=judgements)


@pytest.mark.parametrize(("by", "passes"), [(0.2, False), (-0.2, True), (0.015, True), (0.06, True)])
def test_a_claim_that_got_worse_fails_beyond_its_interval(record, tmp_path, by, passes):
    before = write_report(moved(record, 0, 0.03), tmp_path / "before").parent
    outcome = compare_with_baseline(moved(record, by, 0.03), before / "results.json")
    assert outcome.passed == passes
    if not passes:
        assert "failure_modes.underexposed" in str(outcome.worsened[0])


@pytest.mark.parametrize(("direction", "kind", "passes"), [
    ("above", "limitation", False), ("below", "limitation", True),
    ("above", "requirement", True), ("below", "requirement", False),
])  # fmt: skip
def test_worse_depends_on_what_is_claimed(record, tmp_path, direction, kind, passes):
    def turned(source):
        return replace(source, judgements=[
            replace(j, claim=replace(j.claim, direction=direction, kind=kind)) for j in source.judgements
        ])  # fmt: skip

    before = write_report(turned(moved(record, 0)), tmp_path / "before").parent
    assert compare_with_baseline(turned(moved(record, 0.2)), before / "results.json").passed == passes


def test_a_vanished_claim_fails(record, baseline):
    fewer = replace(record, judgements=record.judgements[:-3])
    outcome = compare_with_baseline(fewer, baseline)
    assert not outcome.passed
    assert any("no longer judged" in line for line in outcome.lines())
    blind = [replace(j, verdict=Verdict.NOT_EVALUABLE, result=None, reason="no gradients") for j in record.judgements]
    outcome = compare_with_baseline(replace(record, judgements=blind), baseline)
    assert len(outcome.lost) >= 5
    assert "no gradients" in outcome.lines()[1]


def test_results_alone_give_claims_only_and_say_so(record, baseline, tmp_path):
    lone = tmp_path / "results.json"
    lone.write_bytes((baseline / "results.json").read_bytes())
    outcome = compare_with_baseline(record, lone)
    assert outcome.passed
    assert not any(change.paired for change in outcome.changes)
    assert "no film-by-film comparison" in outcome.lines()[-1]


def test_other_films_are_named(make_record, baseline):
    with pytest.raises(UsageProblem, match=r"other films .*n: 300 in the baseline, 120 now"):
        compare_with_baseline(make_record(subjects=1, films=120, plain=True), baseline)


def test_other_classes_and_subjects_are_named(record, baseline, make_record):
    shuffled = replace(record.subjects[0], classes=("normal", "bacterial_pneumonia", "viral_pneumonia"))
    with pytest.raises(UsageProblem, match="classes"):
        compare_with_baseline(replace(record, subjects=[shuffled]), baseline)
    two = make_record(subjects=2, films=300, skill=2.0, plain=True)
    strangers = replace(two, subjects=[replace(subject, name=subject.name + "!") for subject in two.subjects])
    with pytest.raises(UsageProblem, match="speaks of"):
        compare_with_baseline(strangers, baseline)


def test_one_subject_may_be_renamed(record, baseline):
    table = record.predictions.assign(subject="next release")
    was = record.subjects[0].name
    renamed = replace(
        record, subjects=[replace(record.subjects[0], name="next release")], predictions=table,
        judgements=[replace(j, subject="next release") if j.subject == was else j for j in record.judgements],
    )  # fmt: skip
    outcome = compare_with_baseline(renamed, baseline)
    assert outcome.passed
    assert any(change.paired for change in outcome.changes)
    told = f"next release compared with the baseline's {was} (the same weights)"
    assert list(outcome.renamed) == [told]
    assert outcome.lines()[1] == f"  another name: {told}"
    assert told in job_summary([], gate=outcome).replace("\\", "")


def test_the_page_is_told_whom_the_gate_compared(monkeypatch):
    monkeypatch.setattr(outputs, "value", lambda config, name: Path("baseline"))
    found = GateOutcome(changes=(), renamed=["new compared with the baseline's old"])
    monkeypatch.setattr(outputs, "compare_with_baseline", lambda record, baseline: found)
    run = SimpleNamespace(record=lambda: None, remarks=[])
    outputs._compared(None, run, outputs.Outputs())
    assert run.remarks == ["Release gate: new compared with the baseline's old."]


def test_who_has_no_baseline_is_named(make_record, baseline):
    two = make_record(subjects=2, films=300, skill=2.0, plain=True)
    outcome = compare_with_baseline(two, baseline)
    assert not outcome.renamed
    assert any(f"{two.subjects[1].name} is not compared" in note for note in outcome.notes)


def test_another_schema_and_damaged_predictions_are_named(record, baseline, tmp_path):
    content = json.loads((baseline / "results.json").read_text())
    (tmp_path / "results.json").write_text(json.dumps(content | {"schema": 7}))
    with pytest.raises(UsageProblem, match="schema 7"):
        compare_with_baseline(record, tmp_path)
    (tmp_path / "results.json").write_text(json.dumps(content))
    (tmp_path / "films.csv").write_bytes((baseline / "films.csv").read_bytes())
    (tmp_path / "predictions.parquet").write_bytes(b"PAR1 cut short")
    with pytest.raises(UsageProblem, match="cannot be read"):
        compare_with_baseline(record, tmp_path)


STRANGE = {
    "a column is missing": (lambda table: table.drop(columns="logit_2"), "no column|logit_2"),
    "a key is missing": (lambda table: table.drop(columns="image"), "image"),
    "text for numbers": (lambda table: table.assign(logit_1="high"), "column logit_1 holds"),
    "numbers for names": (lambda table: table.assign(image=1.5), "column image holds double"),
    "a row twice": (lambda table: pd.concat([table, table.head(1)]), "twice"),
    "lists": (lambda table: table.assign(logit_0=[[1.0]] * len(table)), "column logit_0 holds"),
}


@pytest.mark.parametrize(("change", "says"), STRANGE.values(), ids=STRANGE)
def test_predictions_that_no_report_wrote_are_named(record, baseline, tmp_path, change, says):
    shutil.copytree(baseline, tmp_path / "odd")
    table = pd.read_parquet(baseline / "predictions.parquet")
    change(table).to_parquet(tmp_path / "odd" / "predictions.parquet", index=False)
    with pytest.raises(UsageProblem, match=says) as caught:
        compare_with_baseline(record, tmp_path / "odd")
    assert str(caught.value) == one_line(str(caught.value))


def test_what_pandas_noted_in_a_file_is_not_looked_at(record, baseline, tmp_path):
    shutil.copytree(baseline, tmp_path / "noted")
    file = tmp_path / "noted" / "predictions.parquet"
    table = pq.read_table(file)
    noted = {b"pandas": b'{"index_columns": ["logit_0"], "columns": [{"name": "image", "numpy_type": "no such"}]}'}
    pq.write_table(table.replace_schema_metadata(noted), file)
    assert compare_with_baseline(record, tmp_path / "noted").passed


@pytest.mark.parametrize(
    "table", ["", "cohort,id\n", "cohort,id,label,patient\nc,a,x,p\nc,a,x,p\n", "a\x00b", "\ufeff"]
)
def test_films_that_no_report_wrote_are_named(record, baseline, tmp_path, table):
    shutil.copytree(baseline, tmp_path / "odd")
    (tmp_path / "odd" / "films.csv").write_text(table.replace("\nc,", f"\n{record.cohort.name},"))
    with pytest.raises(UsageProblem, match="its predictions cannot be read"):
        compare_with_baseline(record, tmp_path / "odd")


ANYTHING = st.recursive(
    st.none() | st.booleans() | st.integers() | st.floats() | st.text(st.characters(codec=None)),
    lambda inner: st.lists(inner, max_size=3) | st.dictionaries(st.text("ab"), inner, max_size=3),
    max_leaves=4,
)


@settings(max_examples=40, suppress_health_check=[HealthCheck.too_slow])
@given(st.data())
def test_any_change_of_a_results_file_is_read_or_one_line(record, baseline, tmp_path_factory, data):
    document = json.loads((baseline / "results.json").read_text())
    place = document
    while isinstance(place, dict | list) and place:
        parent, key = place, data.draw(st.sampled_from(sorted(place) if isinstance(place, dict) else range(len(place))))
        place = place[key]
        if data.draw(st.booleans()):
            break
    parent[key] = data.draw(ANYTHING)
    file = tmp_path_factory.mktemp("changed") / "results.json"
    file.write_text(json.dumps(document))
    told = outcome_or_line(record, file)
    assert isinstance(told, GateOutcome) or told == one_line(told)


def outcome_or_line(record, file):
    try:
        return compare_with_baseline(record, file)
    except UsageProblem as problem:
        return str(problem)


@pytest.mark.parametrize("tolerance", [-0.1, float("nan")])
def test_a_tolerance_that_is_none_is_refused(record, baseline, tolerance):
    with pytest.raises(UsageProblem, match="tolerance"):
        compare_with_baseline(record, baseline, tolerance=tolerance)


def alarms(loss: float, *, runs: int, conditions: int = 12, seed: int = 0) -> float:
    """Share of simulated gates that fail when every condition truly loses `loss` in clustered films."""
    rng = np.random.default_rng(seed)
    patient = rng.integers(0, 150, 300)
    resamples = Resamples.draw(patient, np.zeros(300), seed=1, count=300)
    failed = 0
    for _ in range(runs):
        changes = []
        for condition in range(conditions):
            # A film's two answers agree unless its patient is one on whom the versions differ, up or down.
            before = (rng.random(300) < 0.85).astype(float)
            moves = rng.random(150) < 0.15
            chance_worse = 0.5 + loss / 0.15 / 2
            worse = rng.random(150) < chance_worse
            after = np.where(moves[patient], np.where(worse[patient], 0.0, 1.0), before)
            before = np.where(moves[patient], np.where(worse[patient], 1.0, 0.0), before)
            changes.append(gate._compare("s", str(condition), (before, after), resamples, 0.02))
        # Whether any comparison fails is decided by Holm's first step, the smallest p times their number.
        failed += any(replace(change, p=conditions * change.p).fails for change in changes)
    return failed / runs


def test_noise_hardly_ever_trips_the_gate():
    assert alarms(0.0, runs=200) <= 0.05


def test_a_loss_of_just_the_tolerance_trips_it_rarely():
    # The worst case the gate promises to let pass: 5 % over all 12 conditions, with room for 200 runs' own noise.
    assert alarms(0.02, runs=200) <= 0.10


def test_a_real_loss_trips_it():
    assert alarms(0.10, runs=20) >= 0.95


def test_an_exact_count_that_moves_fails(record, tmp_path):
    before = write_report(moved(record, 0, 0.0), tmp_path / "before").parent
    assert compare_with_baseline(moved(record, 0.0, 0.0), before / "results.json").passed
    assert not compare_with_baseline(moved(record, 0.1, 0.0), before / "results.json").passed


def test_the_document_of_a_record_is_what_is_stored(record, baseline):
    assert results.results_document(record) == results.load_results(baseline)


def test_a_claim_that_is_measured_otherwise_now_is_not_compared(record, baseline, tmp_path):
    """A share of calls and a loss of recall are no two sizes of one thing, whatever their numbers."""
    folder = tmp_path / "older"
    shutil.copytree(baseline, folder)
    document = json.loads((folder / "results.json").read_text())
    claim = next(one for one in document["claims"] if one["effect"] and one["verdict"] != "not_evaluable")
    claim["effect"] |= {"name": "called_otherwise", "estimate": -0.9}
    claim["measures"][0] = claim["effect"]
    (folder / "results.json").write_text(json.dumps(document))
    outcome = compare_with_baseline(record, folder)
    assert not outcome.passed
    assert not outcome.worsened
    (told,) = outcome.lost
    assert told.startswith(f"{claim['id']} on ")
    assert "called otherwise before, " in told


def test_what_keeps_a_run_from_its_baseline_is_said_before_it_works(record, baseline, make_record, tmp_path):
    subject, films = record.subjects[0], record.cohort
    same = {subject.name: subject.classes}
    gate.refuse_unfit_baseline(baseline, same, [films])
    gate.refuse_unfit_baseline(baseline, {"one alone may be renamed": subject.classes}, [films])
    one_more = replace(films, table=pd.concat([films.table, films.table.tail(1).assign(id="cannot be read")]))
    gate.refuse_unfit_baseline(baseline, same, [one_more])  # it left one out; this run may leave out that one
    fewer = replace(films, table=films.table.iloc[:-1])
    other = replace(films, table=films.table.assign(patient="somebody else"))
    for cohort, says in ((fewer, "n: 300 in the baseline, 299 now"), (other, "300 of its films are not among these")):
        with pytest.raises(UsageProblem, match=f"other films .*{says}"):
            gate.refuse_unfit_baseline(baseline, same, [cohort])
        gate.refuse_unfit_baseline(baseline, same, [cohort, films])
    with pytest.raises(UsageProblem, match=r"no results\.json there"):
        gate.refuse_unfit_baseline(tmp_path, same, [films])


def test_another_precision_is_said(make_record, tmp_path):
    before = write_report(make_record(plain=True), tmp_path / "before").parent
    now = make_record(plain=True)
    outcome = compare_with_baseline(replace(now, versions={**now.versions, "precision": "bf16"}), before)
    assert any("precision: float32 in the baseline, bf16 now" in note for note in outcome.notes)
    assert not any("precision" in note for note in compare_with_baseline(now, before).notes)
