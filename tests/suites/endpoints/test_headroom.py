"""What there is to lose, on answers whose skill is known; and calls that change without any loss."""

from __future__ import annotations

from dataclasses import replace

import numpy as np
import pytest

from suites.harness.claims import Claim, Verdict
from suites.harness.claims_table import load_claims
from suites.harness.endpoints import get, headroom
from suites.harness.endpoints.adversarial.tables import hardly_lost
from suites.harness.predictions.answers import Answers
from suites.harness.statistics import Sampled
from suites.harness.verdicts import judge_section
from tests.controls.films import CLASSES
from tests.controls.simulated import simulated_answers, simulated_evidence

CONDITION = "window_widening@3"


def answering(calls_of, *, films: int = 600, conditions=("clean", CONDITION)) -> Answers:
    """Answers whose calls are `calls_of(labels, generator, condition)`; two films per patient."""
    answers = simulated_answers(dict.fromkeys(conditions, 1.0), films=films)
    shown = answers.predictions.table.copy()
    for condition in conditions:
        calls = calls_of(answers.labels, np.random.default_rng(3), condition)
        shown.loc[shown["condition"] == condition, [f"logit_{index}" for index in range(3)]] = 3.0 * np.eye(3)[calls]
    return replace(answers, predictions=replace(answers.predictions, table=shown))


def knowing(labels, *_):
    return labels


def mostly(labels, generator, _):
    """Nine in ten called right."""
    return np.where(generator.random(len(labels)) < 0.9, labels, (labels + 1) % 3)


def coin(labels, generator, _):
    return generator.integers(0, 3, len(labels))


def always(index):
    return lambda labels, *_: np.full(len(labels), index)


def test_skill_is_balanced_accuracy_above_one_over_the_classes_that_have_films():
    room = headroom.skill(answering(mostly))
    assert room.measure.estimate == pytest.approx(0.9 - 1 / 3, abs=0.03)
    assert room.sure
    two = answering(knowing)
    room = headroom.skill(two, among=two.labels != 2)
    assert room.measure.estimate == pytest.approx(1 / 2)
    one = headroom.skill(two, among=two.labels == 1)
    assert one.measure.estimate == pytest.approx(0)
    assert not one.sure, "with films of one class only, whoever always calls it is always right"


@pytest.mark.parametrize("calls", [always(0), always(1), always(2), coin])
def test_what_ignores_the_film_has_no_headroom_of_any_kind(calls):
    answers = answering(calls)
    everyone = np.ones(len(answers.cohort), dtype=bool)
    measures = ["accuracy", "balanced_accuracy", "false_positive_rate", *(f"recall_{name}" for name in CLASSES)]
    for measure in measures:
        assert not headroom.of_measure(answers, measure, 0.05, everyone).sure, measure
    assert not headroom.of_measure(answers, "called_bacterial_pneumonia", 0.05, everyone, "normal").sure


def test_headroom_of_rates_is_counted_by_hand():
    """Bacterial films are called right, viral ones bacterial, normal ones normal: viral is never called."""
    answers = answering(lambda labels, *_: np.where(labels == 2, 0, labels))
    counts = np.bincount(answers.labels)
    bacterial = headroom.class_skill(answers, "bacterial_pneumonia").measure
    assert bacterial.estimate == pytest.approx(1 - counts[2] / (counts[1] + counts[2]))
    beside = headroom.of_measure(answers, "called_bacterial_pneumonia", 0.1, answers.labels == 1, "normal")
    assert beside.measure.estimate == pytest.approx(1)
    assert headroom.class_skill(answers, "viral_pneumonia").measure.estimate == pytest.approx(0)
    assert headroom.share_called(answers, "viral_pneumonia", 0.05).measure.estimate == 0
    anyway = headroom.recall_without_looking(answers, "bacterial_pneumonia", 0.9)
    assert anyway.measure.estimate == pytest.approx(counts[2] / (counts[1] + counts[2]))
    assert anyway.sure
    gap = headroom.gap_at_chance(answers, "normal", "viral_pneumonia", 0.03)
    assert gap.measure.estimate == pytest.approx(1)


def test_a_class_without_films_leaves_the_headroom_unknown_and_unsure():
    answers = answering(knowing)
    cohort = answers.cohort.select(answers.cohort.table["label"] == "normal")
    normal = Answers.of(answers.subject, cohort, answers.predictions, seed=0)
    assert np.isnan(headroom.class_skill(normal, "normal").measure.estimate)
    for room in (
        headroom.class_skill(normal, "normal"),
        headroom.share_called(normal, "viral_pneumonia", 0.1),
        headroom.recall_without_looking(normal, "normal", 0.9),
    ):
        assert not room.sure


def claim_of(name: str, **parameters) -> Claim:
    found = next(item for item in load_claims() if item.id == name)
    return replace(found, parameters={key: found.parameters[key] for key in ("measure",) if key in found.parameters}
                   | parameters)  # fmt: skip


def judged(claim: Claim, answers: Answers, folder):
    result = get(claim.endpoint)(simulated_evidence(answers, folder), claim)
    return judge_section([claim], "s", {claim.id: result})[0]


def swapping(share: float):
    """Nine in ten called right; under the condition a share of films change place with as many wrong ones."""

    def calls(labels, generator, condition):
        right = generator.random(len(labels)) < 0.9
        chosen = generator.random(len(labels))
        if condition != "clean":
            wrong = np.flatnonzero(~right)
            turned = wrong[chosen[wrong] < share]
            lost = np.concatenate(
                [np.flatnonzero(right & (labels == kind))[: int((labels[turned] == kind).sum())] for kind in range(3)]
            )
            right[turned], right[lost] = True, False
        return np.where(right, labels, (labels + 1) % 3)

    return calls


def test_calls_that_change_without_a_loss_are_not_called_robust(tmp_path):
    """Every wrong call turns right and as many right ones wrong: a fifth of calls changes, and nothing is lost."""
    claim = claim_of("contrast.window", condition=CONDITION)
    found = judged(claim, answering(swapping(1.0), films=1500), tmp_path)
    assert found.result.effect.estimate == pytest.approx(0, abs=0.01)
    assert found.verdict is Verdict.INCONCLUSIVE
    assert "of calls change" in found.reason
    assert found.reason.endswith("losses and gains cancel, which is not robustness")
    few = judged(claim, answering(swapping(0.2), films=1500), tmp_path)
    assert few.verdict is Verdict.NOT_SUPPORTED, few.reason
    flips = judged(claim_of("flips.contrast", conditions=[CONDITION]), answering(swapping(1.0), films=1500), tmp_path)
    assert flips.verdict is Verdict.SUPPORTED, flips.reason


def test_what_a_loss_explains_is_not_held_against_it_twice(tmp_path):
    """A tenth of the films is lost and none is won: the flips are the loss, and the loss has its verdict."""

    def losing(labels, generator, condition):
        lost = (generator.random(len(labels)) < 0.15) & (condition != "clean")
        return np.where(lost, (labels + 1) % 3, labels)

    found = judged(claim_of("contrast.window", condition=CONDITION), answering(losing, films=1500), tmp_path)
    assert found.verdict is Verdict.SUPPORTED
    assert found.result.only_beyond == ""


def test_flips_of_a_rate_of_one_class_are_those_of_its_films(tmp_path):
    """Bacterial and viral films swap their calls: no normal film is called otherwise, so none hides a loss."""

    def swapped(labels, _, condition):
        return labels if condition == "clean" else np.array([2, 1, 0])[labels]

    claim = claim_of("grid.stripes", condition=CONDITION)
    assert judged(claim, answering(swapped), tmp_path).verdict is Verdict.NOT_SUPPORTED


def test_an_attack_must_take_something():
    generator = np.random.default_rng(0)
    right = (generator.random((200, 60)) < 0.4).mean(axis=1)
    clean = Sampled(0.4, right, 60)
    assert "what is low was low before" in hardly_lost(clean, clean)
    assert hardly_lost(clean, Sampled(0.0, np.zeros(200), 60)) == ""
