"""A gate on a subject of several findings: each is compared with itself, film by film."""

from __future__ import annotations

from dataclasses import replace

import pytest

from suites.harness.claims import load_claims
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
