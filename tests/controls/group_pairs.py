"""Controls of claims about subgroups: subjects that fail one group by construction, and subjects that fail all alike.

The answers are planted film by film, so that what is wrong with whom is known: no network is told a patient's sex. The
sound subject errs as often, without looking at the group.
"""

from __future__ import annotations

from dataclasses import replace

import numpy as np
import pandas as pd

from suites.harness.claims import Claim, Judgement
from suites.harness.endpoints import get
from suites.harness.endpoints.measuring import measured_alone
from suites.harness.errors import NotEvaluable
from suites.harness.predictions.answers import Answers
from suites.harness.verdicts import judge_section
from tests.controls.planted import RIGHT, planted
from tests.controls.registry import Pair, control
from tests.controls.simulated import simulated_evidence

FILMS = 1200
BACTERIAL, NORMAL, VIRAL = range(3)
WRONG = np.array([VIRAL, VIRAL, NORMAL])
"""What a film of each class is called where it is called wrong: so also by whoever asks about viral films alone."""


def recorded(answers: Answers, **columns: object) -> Answers:
    """Return the answers on films of which more is recorded."""
    return replace(answers, cohort=replace(answers.cohort, table=answers.cohort.table.assign(**columns)))


def lots(films: int, seed: int = 0) -> tuple[np.ndarray, np.ndarray]:
    """Return (N,) whether a film is of a woman, and (N,) numbers in [0, 1); neither knows of the other or the class."""
    generator = np.random.default_rng(seed)
    return generator.random(films) < 0.4, generator.random(films)


def sexes(women: np.ndarray) -> np.ndarray:
    """Return the column `sex`, spelt as five hospitals would."""
    spellings = np.array([["M", "male", "1", "Mann", "MALE"], ["F", "female", "2", "Frau", "f"]])
    return spellings[women.astype(int), np.arange(len(women)) % 5]


def judged(claim: Claim, answers: Answers, cache) -> Judgement:
    """Return the judgement of one claim, alone in its section."""
    measure = get(claim.endpoint)
    try:
        found = measured_alone(measure, simulated_evidence(answers, cache), claim)
    except NotEvaluable as reason:
        found = str(reason)
    return judge_section([claim], "s", {claim.id: found})[0]


def missing(shares: tuple[float, float], films: int = FILMS, **more: object) -> Answers:
    """Answers that call a share of ill films normal, of men and of women; right about all others."""
    women, lot = lots(films)
    truth = np.arange(films) % 3
    calls = np.where((truth != NORMAL) & (lot < np.where(women, shares[1], shares[0])), NORMAL, RIGHT)
    return recorded(planted({"clean": calls}, films=films), sex=sexes(women), **more)


@control("underdiagnosis_gap")
def underdiagnosis_gap(claim, _, folder) -> Pair:
    """The one sends a third of ill women home and a tenth of ill men; the other a tenth of both."""
    return Pair(
        caught=judged(claim, missing((0.1, 0.33)), folder),
        cleared=judged(claim, missing((0.1, 0.1)), folder),
    )


def ranked(skills: tuple[float, float]) -> Answers:
    """Answers whose P(ill) tells ill from healthy so far apart (in standard deviations), in men and in women."""
    women, _ = lots(FILMS)
    main = recorded(planted({}, films=FILMS), sex=sexes(women))
    truth = np.arange(FILMS) % 3
    apart = np.where(women, skills[1], skills[0])
    ill = np.random.default_rng(1).normal(0, 1, FILMS) + np.where(truth == NORMAL, -0.5, 0.5) * apart
    logits = pd.DataFrame({"logit_0": 0.0, "logit_1": -ill, "logit_2": -3.0})
    logits.loc[truth == VIRAL, ["logit_0", "logit_2"]] = [-3.0, 0.0]
    return replace(main, predictions=replace(main.predictions, table=main.predictions.table.assign(
        **{name: logits[name].to_numpy() for name in logits}
    )))  # fmt: skip


@control("auroc_gap")
def auroc_gap(claim, _, folder) -> Pair:
    """The one tells ill from healthy men twice as far apart as women; the other both alike."""
    return Pair(
        caught=judged(claim, ranked((3.0, 1.2)), folder),
        cleared=judged(claim, ranked((2.5, 2.5)), folder),
    )


@control("calibration_gap")
def calibration_gap(claim, _, folder) -> Pair:
    """Four of five calls are right: the one is as sure as that of men, of women nearly certain; the other of both."""
    women, lot = lots(FILMS)
    truth = np.arange(FILMS) % 3
    calls = np.where(lot < 0.2, WRONG[truth], truth)
    fair = np.log(0.8 / 0.1)

    def answers(of_women: float) -> Answers:
        sure = np.where(women, of_women, fair)
        return recorded(planted({"clean": calls}, films=FILMS, sure=sure), sex=sexes(women))

    return Pair(caught=judged(claim, answers(7.0), folder), cleared=judged(claim, answers(fair), folder))


@control("stress_gap")
def stress_gap(claim, _, folder) -> Pair:
    """Under the last condition the one loses a third of the calls on women and a tenth on men; the other a tenth."""
    women, lot = lots(FILMS)
    truth = np.arange(FILMS) % 3

    def answers(of_women: float) -> Answers:
        lost = np.where(lot < np.where(women, of_women, 0.1), WRONG[truth], RIGHT)
        conditions = claim.parameters["conditions"]
        calls = {name: np.full(FILMS, RIGHT) for name in conditions} | {conditions[-1]: lost}
        return recorded(planted(calls, films=FILMS), sex=sexes(women))

    return Pair(caught=judged(claim, answers(0.35), folder), cleared=judged(claim, answers(0.1), folder))


@control("found_slice")
def found_slice(claim, _, folder) -> Pair:
    """The one fails on half of the films of the old women; the other on as many films of anybody."""
    films = 2 * FILMS  # half of them are searched, and a slice of the others is a small part
    women, lot = lots(films)
    truth = np.arange(films) % 3
    ages = np.random.default_rng(2).uniform(20, 90, films)
    slice_ = women & (ages > 55)

    def answers(share: np.ndarray) -> Answers:
        calls = np.where(lot < share, WRONG[truth], RIGHT)
        return recorded(planted({"clean": calls}, films=films), sex=sexes(women), age=ages)

    return Pair(
        caught=judged(claim, answers(np.where(slice_, 0.5, 0.02)), folder),
        cleared=judged(claim, answers(np.full(films, 0.1)), folder),
    )


@control("features_tell_groups")
def features_tell_groups(claim, _, folder) -> Pair:
    """One feature of the one is the sex, with noise; the other's know the class and nothing of the patient."""
    women, _ = lots(600)
    truth = np.arange(600) % 3
    generator = np.random.default_rng(4)

    def answers(of_women: float) -> Answers:
        seen = generator.normal(0, 1, (600, 12))
        seen[:, 0] += 2 * (truth == NORMAL)
        seen[:, 1] += of_women * women + (truth == VIRAL)
        main = recorded(planted({}, films=600), sex=sexes(women))
        return replace(main, predictions=replace(main.predictions, features=seen.astype(np.float32)))

    return Pair(caught=judged(claim, answers(2.0), folder), cleared=judged(claim, answers(0.0), folder))
