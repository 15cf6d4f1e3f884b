"""A gate on a subject of several findings: each is compared with itself, film by film."""

from __future__ import annotations

import json
from dataclasses import replace

import pytest

from suites.harness.claims_table import load_claims
from suites.harness.errors import UsageProblem
from suites.harness.evaluation import Evaluation
from suites.harness.report.gate import compare_with_baseline, refuse_unfit_baseline
from tests.controls.findings import EFFUSION, MASS, TwoFindings, cohort_of_findings, subject_of_findings


class Blinder(TwoFindings):
    """Says a mass of no film."""

    def forward(self, pixels):
        logits = super().forward(pixels)
        logits[:, 1] = -5.0
        return logits


def test_a_finding_that_got_worse_fails_the_gate_and_the_other_does_not(tmp_path):
    claims = [claim for claim in load_claims() if claim.id == "classes.viral_recall"]
    cohort, subject = cohort_of_findings(48, unsaid=8), subject_of_findings()

    def ran(one):
        return Evaluation(subjects=[one], cohort=cohort, claims=claims, cache=tmp_path / "cache", quiet=True).run()

    before = ran(subject)
    before.report(tmp_path / "before")
    names = {one.name: one.classes for one in before.subjects}
    refuse_unfit_baseline(tmp_path / "before", names, [cohort])
    with pytest.raises(UsageProblem, match="the baseline was measured on other films"):
        refuse_unfit_baseline(tmp_path / "before", names, [cohort_of_findings(44)])
    assert compare_with_baseline(before.record(), tmp_path / "before").passed

    network = subject.network
    blind = replace(
        subject,
        network=type(network)(Blinder(), mean=(0.0, 0.0, 0.0), std=(1.0, 1.0, 1.0)),
        provenance=replace(subject.provenance, sha256="f" * 64),
    )
    outcome = compare_with_baseline(ran(blind).record(), tmp_path / "before")
    assert not outcome.passed
    assert {change.subject for change in outcome.worsened} == {f"two: {MASS}"}
    paired = {change.subject: change for change in outcome.changes if change.paired}
    assert set(paired) == {f"two: {MASS}", f"two: {EFFUSION}"}
    assert paired[f"two: {MASS}"].after == pytest.approx(0.5)


@pytest.mark.parametrize(
    ("former", "name", "effect"),
    [
        ("classes.viral_recall", "classes.finding_recall", None),
        ("classes.normal_called_viral", "classes.finding_where_absent", "confusion_rate"),
    ],
)
def test_a_baseline_with_a_claim_by_its_former_name_is_compared(tmp_path, former, name, effect):
    """Earlier versions asked findings under the ids of three classes, and called what they found otherwise."""
    run = Evaluation(
        subjects=[subject_of_findings()], cohort=cohort_of_findings(48), quiet=True, cache=tmp_path / "cache",
        claims=[claim for claim in load_claims() if claim.id == former],
    )  # fmt: skip
    run.run().report(tmp_path / "before")
    file = tmp_path / "before" / "results.json"
    document = json.loads(file.read_text())
    assert {entry["id"] for entry in document["claims"]} == {name}
    for entry in document["claims"]:
        entry["id"] = former
        if effect:
            entry["effect"]["name"] = effect
    file.write_text(json.dumps(document))
    outcome = compare_with_baseline(run.record(), tmp_path / "before")
    assert outcome.passed, outcome.lines()
    assert sum(name in change.what for change in outcome.changes) == 2, "of each finding"
    for entry in document["claims"]:
        entry["effect"]["name"] = "something_else"
    file.write_text(json.dumps(document))
    assert len(compare_with_baseline(run.record(), tmp_path / "before").lost) == 2
