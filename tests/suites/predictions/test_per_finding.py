"""Subjects of several findings: asked once, judged on each, and never on what nobody says or nobody trained."""

from __future__ import annotations

from dataclasses import replace

import numpy as np
import pytest
import torch
from scipy.special import expit
from sklearn.metrics import average_precision_score, roc_auc_score

from suites.harness.claims import Verdict
from suites.harness.claims_table import load_claims
from suites.harness.endpoints.explanations import attribution
from suites.harness.errors import CohortProblem, FilmUnreadable, UsageProblem
from suites.harness.evaluation import Evaluation
from suites.harness.performance import clean_films
from suites.harness.predictions.per_finding import judged_on
from suites.harness.report.finding_matrix import finding_matrices
from suites.harness.report.finding_means import mean_harm
from tests.controls.findings import EFFUSION, MASS, cohort_of_findings, subject_of_findings

CLAIMS = {claim.id: claim for claim in load_claims()}


def evaluation(tmp_path, *ids, subject=None, cohort=None, **settings):
    claims = [CLAIMS[name] for name in ids]
    return Evaluation(
        subjects=[subject or subject_of_findings()], cohort=cohort or cohort_of_findings(40), claims=claims,
        cache=tmp_path, quiet=True, **settings,
    )  # fmt: skip


def test_fourteen_findings_take_no_more_passes_than_two(tmp_path):
    passes = {}
    for further in (0, 12):
        subject = subject_of_findings(further)
        cohort = cohort_of_findings(8)
        for number in range(further):
            cohort.table[f"finding:Untold {number}"] = ["positive", "negative"] * 4
        run = evaluation(tmp_path, "contrast.scatter", subject=subject, cohort=cohort).run()
        assert len(run.subjects) == len(run.judgements) == 2 + further
        passes[further] = subject.network.backbone.films
    assert passes[0] == passes[12] >= 8 * 4


def test_a_finding_is_judged_on_the_films_of_which_somebody_says_it(tmp_path):
    run = evaluation(tmp_path, "classes.viral_recall", cohort=cohort_of_findings(40, unsaid=10)).run()
    whole, films = run.wholes[0], run.cohort
    logits, _ = whole.answer(
        whole.pixels(torch.stack([torch.from_numpy(films.decode(r).pixels) for r in films.rows()]))
    )
    record = run.record()
    for index, subject in enumerate(run.subjects):
        truth = films.finding(subject.classes[1])
        kept = truth >= 0
        assert kept.sum() == (30, 40)[index]
        score = logits[:, index].double().numpy()
        measures = clean_films.per_class(clean_films.clean_answers(record, subject))[subject.classes[1]]
        found = {measure.name.partition("_")[0]: measure for measure in measures}
        assert found["auroc"].estimate == pytest.approx(roc_auc_score(truth[kept], score[kept]), abs=1e-9)
        assert found["auprc"].estimate == pytest.approx(average_precision_score(truth[kept], score[kept]), abs=1e-9)
        effect = next(one.result.effect for one in run.judgements if one.subject == subject.name)
        assert effect.estimate == pytest.approx((score[truth == 1] > 0).mean(), abs=1e-12)
        assert effect.n == (truth == 1).sum()
    (matrix,) = finding_matrices(record)
    assert [cell.size for cell in matrix.groups["Films"][2].cells] == ["10", "0"]
    labels = {row.title: [cell.size for cell in row.cells] for row in matrix.groups["Films"][3:5]}
    assert labels == {"labelled uncertain (left out)": ["5", "0"], "not mentioned (left out)": ["5", "0"]}
    mean = next(row for row in matrix.groups["On clean films"] if row.title == "AUROC").mean
    truths = [films.finding(name) for name in films.findings]
    each = [roc_auc_score(one[one >= 0], logits[one >= 0, index]) for index, one in enumerate(truths)]
    assert float(mean.size) == pytest.approx(np.mean(each), abs=6e-4)
    one = replace(record, subjects=record.subjects[:1], judgements=[])
    (alone,) = finding_matrices(one)
    assert (matrix.several, alone.several) == (True, False)
    assert not any(row.mean.size for row in alone.groups["On clean films"]), "its own number, with another interval"


def test_a_film_that_cannot_be_read_is_counted_once(tmp_path):
    cohort = cohort_of_findings(60)

    def decode(row):
        if row["number"] == 5:
            raise FilmUnreadable("truncated")
        return cohort.decode(row)

    run = evaluation(tmp_path, "classes.viral_recall", cohort=replace(cohort, decode=decode)).run()
    record = run.record()
    assert (len(record.cohort), len(record.excluded)) == (59, 1)
    assert [len(record.films_of(subject.name)) for subject in run.subjects] == [59, 59]


def test_the_published_operating_point_decides_calls_and_attacks_and_no_probability(tmp_path):
    cohort, plain = cohort_of_findings(24), subject_of_findings()
    pixels = plain.pixels(torch.stack([torch.from_numpy(cohort.decode(row).pixels) for row in cohort.rows()]))
    stated = torch.sigmoid(plain.network(pixels).double()).numpy()
    ordered = np.sort(stated, axis=0)
    thresholds = tuple(float(one) for one in (ordered[5] + ordered[6]) / 2)
    subject = subject_of_findings(thresholds=thresholds)
    run = evaluation(tmp_path, "classes.viral_recall", subject=subject, cohort=cohort)
    for index, (one, threshold) in enumerate(zip(run.subjects, thresholds, strict=True)):
        answers, called = run.evidence(one.name).main, stated[:, index] > threshold
        assert called.mean() == 0.75 != (stated[:, index] > 0.5).mean()
        np.testing.assert_array_equal(answers.called(), called * 1.0)
        np.testing.assert_array_equal(one.network(pixels).argmax(1).numpy(), called * 1)
        np.testing.assert_allclose(one.network(pixels).numpy(), answers.logits(), rtol=0, atol=1e-4)
        np.testing.assert_allclose(answers.stated.probabilities()[:, 1], stated[:, index], rtol=0, atol=1e-6)
        # Whoever takes a sigmoid of the table's own column gets the finding's probability.
        table = run.record().predictions.query("subject == @one.name and condition == 'clean'")
        np.testing.assert_allclose(expit(table["logit_1"].to_numpy(float)), stated[:, index], rtol=0, atol=1e-6)
        np.testing.assert_allclose(expit(table["logit_0"].to_numpy(float)), threshold, rtol=0, atol=1e-6)


def test_what_fails_by_construction_fails_on_its_finding_and_on_no_other(tmp_path):
    """Of the mass the subject reads the grey, which a display curve moves; of the effusion a ratio, which none does."""
    cohort = cohort_of_findings(160)
    run = evaluation(tmp_path, "contrast.gamma", "classes.viral_called_bacterial", cohort=cohort).run()
    found = {(one.claim.id, one.subject): one for one in run.judgements}
    failed, held = (found["contrast.gamma", f"two: {name}"] for name in (MASS, EFFUSION))
    assert failed.verdict is Verdict.SUPPORTED, failed.reason
    assert held.verdict is Verdict.NOT_SUPPORTED, held.reason
    asked = found["classes.finding_for_another", f"two: {MASS}"]
    assert asked.verdict is Verdict.NOT_EVALUABLE
    assert asked.reason == "findings do not exclude one another, so none is taken for another"


def test_a_map_is_held_against_the_lesion_of_its_own_finding(tmp_path):
    """Of a film that shows both findings, each is looked for where it is; the absence of one is no place at all."""
    run = evaluation(tmp_path, "classes.viral_recall", cohort=cohort_of_findings(8))
    answers = {subject.classes[1]: run.evidence(subject.name).main for subject in run.subjects}
    both = 3  # shows an effusion and a mass
    effusion, mass = (attribution.masks(answers[name], [both], "lesion")[0]["film3"] for name in (EFFUSION, MASS))
    assert effusion.any()
    assert mass.any()
    assert not (effusion & mass).any()
    of_mass_only, _ = attribution.masks(answers[EFFUSION], [2], "lesion")
    assert not of_mass_only["film2"].any()


def test_findings_of_a_subject_share_holms_correction(tmp_path):
    run = evaluation(tmp_path, "contrast.gamma", cohort=cohort_of_findings(40)).run()
    tests = [one for one in run.judgements if one.result and one.result.p_beyond is not None]
    assert len(tests) == 2
    reasons = " ".join(one.reason for one in run.judgements)
    assert "over 2 claims" in reasons or "over the 2 claims" in reasons


def test_the_mean_over_findings_has_an_interval_of_the_patients_they_share(tmp_path):
    run = evaluation(tmp_path, "contrast.gamma", cohort=cohort_of_findings(40, unsaid=8)).run()
    record = run.record()
    each = [one.result.effect for one in run.judgements]
    mean = mean_harm(record, run.subjects, run.claims[0])
    assert mean.estimate == pytest.approx(np.mean([one.estimate for one in each]), abs=1e-12)
    assert mean.low < mean.estimate < mean.high
    assert mean.high - mean.low < max(one.high - one.low for one in each)
    (matrix,) = finding_matrices(record)
    (row,) = (row for rows in matrix.groups.values() for row in rows if row.anchor == "contrast.gamma")
    assert row.mean.interval
    assert mean_harm(record, run.subjects, CLAIMS["classes.viral_recall"]) is None


def test_what_is_taken_for_what_is_told_and_can_be_said(tmp_path):
    cohort = cohort_of_findings(12)
    cohort.table["finding:Hernia"] = "negative"
    subject = subject_of_findings(further=1)
    subjects, (told,) = judged_on([subject], cohort, {})
    assert [one.classes for one in subjects] == [(f"no {EFFUSION}", EFFUSION), (f"no {MASS}", MASS)]
    assert told.note() == (
        "two is judged on 2 of its 3 findings: Effusion = Pleural Effusion, Mass; not on Untold 0 (no film is labelled "
        "with it). It does not answer Hernia, which the films tell of."
    )
    subjects, (told,) = judged_on([subject], cohort, {"effusion": "", "Untold 0": EFFUSION})
    assert [one.classes[1] for one in subjects] == [MASS, EFFUSION]
    assert told.left_out == {"Effusion": "left out with --map"}
    assert list(told.unasked) == ["Hernia"]
    _, (told,) = judged_on([subject], cohort, {"effusion": ""})
    assert list(told.unasked) == ["Hernia"], "it was trained on effusions, whoever leaves them out"
    _, (told,) = judged_on([subject], cohort, {"Untold 0": "Hernia"})
    assert told.left_out == {"Untold 0": "no film shows it"}
    with pytest.raises(UsageProblem, match="--map: the films tell nothing of 'Nodule'; they tell of Pleural Effusion"):
        judged_on([subject], cohort, {"Mass": "Nodule"})
    with pytest.raises(UsageProblem, match="--map: no subject has a finding 'Masss'; there are Effusion, Mass, Untold"):
        judged_on([subject], cohort, {"Masss": "Mass"})
    with pytest.raises(CohortProblem, match="Effusion, Mass of the subject are all 'Mass'; leave out all but one"):
        judged_on([subject], cohort, {"Effusion": "Mass"})
    with pytest.raises(CohortProblem, match=r"none of the subject's findings \(Effusion, Mass, Untold 0\) is one that"):
        judged_on([subject], cohort, {"Effusion": "", "Mass": ""})
    cohort.table[f"finding:{EFFUSION}"] = cohort.table[f"finding:{MASS}"] = "not mentioned"
    with pytest.raises(CohortProblem, match="nothing can be said of Effusion \\(no film shows it\\)"):
        judged_on([subject], cohort, {})
