"""The numbers the page computes itself, against scikit-learn and by hand."""

from __future__ import annotations

from dataclasses import replace

import numpy as np
import pandas as pd
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st
from scipy.special import softmax
from scipy.stats import beta
from sklearn import metrics

from calibration import ood
from suites.harness.performance import clean_films
from suites.harness.statistics.exact_bounds import largest_unseen


@pytest.fixture(scope="module")
def record(make_record):
    return make_record(subjects=1, films=180, skill=1.2, plain=True)


@pytest.fixture(scope="module")
def answers(record):
    return clean_films.clean_answers(record, record.subjects[0])


def arrays(record):
    rows = record.predictions[record.predictions["condition"] == "clean"]
    logits = rows[["logit_0", "logit_1", "logit_2"]].to_numpy(float)
    return record.cohort.table["label"].to_numpy(), softmax(logits, axis=1)


def test_overall_numbers_agree_with_scikit_learn(record, answers):
    labels, probabilities = arrays(record)
    classes = np.array(record.subjects[0].classes)
    called = classes[probabilities.argmax(1)]
    found = {measure.name: measure.estimate for measure in clean_films.overall(answers)}
    hits = labels[:, None] == classes
    assert found == pytest.approx({
        "accuracy": metrics.accuracy_score(labels, called),
        "balanced_accuracy": metrics.balanced_accuracy_score(labels, called),
        "macro_f1": metrics.f1_score(labels, called, average="macro"),
        "brier": ((probabilities - hits) ** 2).sum(1).mean(),
        "nll": metrics.log_loss(labels, probabilities, labels=classes),
    })  # fmt: skip
    assert answers.counts.tolist() == metrics.confusion_matrix(labels, called, labels=classes).tolist()


def test_class_numbers_agree_with_scikit_learn(record, answers):
    labels, probabilities = arrays(record)
    classes = np.array(record.subjects[0].classes)
    called = classes[probabilities.argmax(1)]
    for index, (name, found) in enumerate(clean_films.per_class(answers).items()):
        truth, said = labels == name, called == name
        expected = [
            metrics.recall_score(truth, said),
            metrics.recall_score(~truth, ~said),
            metrics.precision_score(truth, said),
            metrics.precision_score(~truth, ~said),
            metrics.roc_auc_score(truth, probabilities[:, index]),
            metrics.average_precision_score(truth, probabilities[:, index]),
        ]
        assert [measure.estimate for measure in found] == pytest.approx(expected)
        assert all(measure.low <= measure.estimate <= measure.high for measure in found)
        assert found[0].n == truth.sum()
        assert found[2].n == said.sum()


def test_predictive_values_by_hand(answers):
    normal = answers.classes.index("normal")
    counts = answers.counts
    ill = [index for index in range(3) if index != normal]
    sensitivity = 1 - counts[ill, normal].sum() / counts[ill].sum()
    specificity = counts[normal, normal] / counts[normal].sum()
    for prevalence, ppv, npv in clean_films.at_prevalence(answers):
        true, false = sensitivity * prevalence, (1 - specificity) * (1 - prevalence)
        assert ppv.estimate == pytest.approx(true / (true + false))
        right, missed = specificity * (1 - prevalence), (1 - sensitivity) * prevalence
        assert npv.estimate == pytest.approx(right / (right + missed))


def test_rows_of_the_matrix_add_up(answers):
    for row in clean_films.row_intervals(answers):
        assert sum(cell.estimate for cell in row) == pytest.approx(1)
        assert all(0 <= cell.low <= cell.estimate <= cell.high <= 1 for cell in row)


def test_films_of_one_patient_widen_the_interval(record):
    lumped = record.cohort.table.assign(patient=record.cohort.table["label"] + (np.arange(180) // 30).astype(str))
    alone = record.cohort.table.assign(patient=[f"p{index}" for index in range(180)])
    rows = record.predictions.copy()
    # Films of one patient succeed or fail together.
    fails = dict(zip(lumped["id"], lumped["patient"].str[-1].astype(int) % 2 == 0, strict=True))
    truth = dict(
        zip(lumped["id"], lumped["label"].map({c: i for i, c in enumerate(record.subjects[0].classes)}), strict=True)
    )
    for index in range(3):
        rows[f"logit_{index}"] = [5.0 * ((truth[i] == index) ^ fails[i]) for i in rows["image"]]
    widths = []
    for table in (alone, lumped):
        changed = replace(record, cohort=replace(record.cohort, table=table), predictions=rows)
        accuracy = clean_films.overall(clean_films.clean_answers(changed, record.subjects[0]))[0]
        widths.append(accuracy.high - accuracy.low)
    assert widths[1] > 1.5 * widths[0]


def test_a_perfect_subject_is_not_certain(make_record):
    record = make_record(subjects=1, films=40, skill=50.0, plain=True)
    recall = clean_films.per_class(clean_films.clean_answers(record, record.subjects[0]))["normal"][0]
    assert recall.estimate == 1
    assert recall.low < 0.9
    assert recall.exploratory
    assert "exact" in recall.estimator


def test_labels_the_subject_cannot_say_get_a_row_but_no_accuracy(record):
    table = record.cohort.table.assign(label=record.cohort.table["label"].replace("normal", "tuberculosis"))
    answers = clean_films.clean_answers(replace(record, cohort=replace(record.cohort, table=table)), record.subjects[0])
    assert answers.labels == ("bacterial_pneumonia", "viral_pneumonia", "tuberculosis")
    assert answers.counts.shape == (3, 3)
    assert clean_films.overall(answers) == []
    assert clean_films.per_class(answers) == {}
    assert clean_films.at_prevalence(answers) == []


def test_films_without_a_label_are_left_out(record):
    table = record.cohort.table.copy()
    table.loc[:9, "label"] = ""
    answers = clean_films.clean_answers(replace(record, cohort=replace(record.cohort, table=table)), record.subjects[0])
    assert len(answers.truth) == 170


def test_no_clean_answers_is_said(record):
    rows = record.predictions[record.predictions["condition"] != "clean"]
    assert clean_films.clean_answers(replace(record, predictions=rows), record.subjects[0]) is None


def test_the_order_of_the_prediction_table_does_not_matter(record):
    shuffled = replace(record, predictions=record.predictions.sample(frac=1, random_state=3))
    first, second = (clean_films.clean_answers(each, record.subjects[0]) for each in (record, shuffled))
    assert clean_films.overall(first) == clean_films.overall(second)


@given(st.integers(0, 2**32 - 1), st.integers(4, 40))
@settings(max_examples=40)
def test_weighted_scores_agree_with_scikit_learn(seed: int, films: int):
    rng = np.random.default_rng(seed)
    positive = rng.random(films) < 0.5
    positive[:2] = True, False
    score = rng.integers(0, 6, films).astype(float)
    weights = rng.integers(0, 4, (3, films)).astype(float)
    weights[:, :2] += 1
    for row, auroc, auprc, mean in zip(
        weights,
        ood.auroc(score, positive, weights=weights),
        ood.aupr(score, positive, weights=weights),
        clean_films._mean(weights, score),
        strict=True,
    ):
        assert auroc == pytest.approx(metrics.roc_auc_score(positive, score, sample_weight=row))
        assert auprc == pytest.approx(metrics.average_precision_score(positive, score, sample_weight=row))
        assert mean == pytest.approx(np.average(score, weights=row))


def test_a_resample_without_one_kind_is_no_number():
    weights = np.array([[1.0, 1.0, 0.0]])
    positive = np.array([True, True, False])
    assert np.isnan(ood.auroc(np.array([0.1, 0.2, 0.3]), positive, weights=weights))[0]


def test_predictions_of_another_cohort_are_not_mixed_in(record):
    other = record.predictions.assign(cohort="elsewhere")
    both = replace(record, predictions=pd.concat([other, record.predictions]))
    first, second = (clean_films.clean_answers(each, record.subjects[0]) for each in (record, both))
    assert first.counts.tolist() == second.counts.tolist()


def with_counts(record, counts, patients_per_film=1):
    """The record with one film per entry of a (truth x called) table, each of a patient of its own."""
    classes = record.subjects[0].classes
    truth, called = (np.repeat(axis.ravel(), np.ravel(counts)) for axis in np.indices((3, 3)))
    table = pd.DataFrame({
        "id": [f"f{index}" for index in range(len(truth))], "label": np.array(classes)[truth],
        "patient": [f"p{index // patients_per_film}" for index in range(len(truth))],
    })  # fmt: skip
    rows = pd.DataFrame(5.0 * np.eye(3)[called], columns=["logit_0", "logit_1", "logit_2"])
    rows = rows.assign(subject=record.subjects[0].name, cohort=record.cohort.name, condition="clean", image=table["id"])
    cohort = replace(record.cohort, table=record.cohort.table.iloc[: len(table)].reset_index(drop=True).assign(**table))
    return clean_films.clean_answers(replace(record, cohort=cohort, predictions=rows), record.subjects[0])


def test_a_rare_confusion_does_not_widen_a_ratio_over_all_films(make_record):
    """Of 116 films called bacterial 2 are viral: that class is small among them, the ratio is not."""
    counts = [[114, 0, 5], [0, 110, 5], [2, 4, 80]]
    answers = with_counts(make_record(subjects=1, films=320, plain=True), counts)
    found = clean_films.per_class(answers)["bacterial_pneumonia"]
    ppv, specificity = found[2], found[1]
    assert ppv.n == ppv.patients == 116
    assert ppv.estimate == pytest.approx(114 / 116)
    assert 0.91 < ppv.low < 0.97
    assert specificity.patients == 201
    assert not ppv.exploratory, "116 films were called so"
    assert clean_films.overall(answers)[0].smallest == 86
    assert 0.95 < specificity.low <= beta.ppf(0.025, 199, 3), "no narrower than Clopper and Pearson's"


def test_a_specificity_of_one_leaves_the_predictive_value_open(make_record):
    """No healthy film of 115 called ill: the specificity may still be 0.968, and at 5 % prevalence the PPV 0.61."""
    answers = with_counts(make_record(subjects=1, films=320, plain=True), [[110, 10, 0], [0, 115, 0], [0, 0, 85]])
    prevalence, ppv, _ = clean_films.at_prevalence(answers)[0]
    assert (prevalence, ppv.estimate) == (0.05, 1.0)
    surely = 1 - largest_unseen((115,), 0.025)
    assert 0.58 < ppv.low < 195 / 205 * 0.05 / (195 / 205 * 0.05 + (1 - surely) * 0.95) + 1e-9 < 0.62
    assert "no event" in ppv.estimator


def test_balanced_accuracy_has_the_interval_that_a_claim_has(make_record):
    answers = with_counts(make_record(subjects=1, films=320, plain=True), [[120, 0, 0], [0, 115, 0], [0, 0, 40]])
    balanced = clean_films.overall(answers)[1]
    assert balanced.low == pytest.approx(1 - largest_unseen((120, 115, 40), 0.025))
