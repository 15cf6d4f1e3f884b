"""Controls of claims about a finding where those of three classes do not fail, or do not hold, for one of them.

Registered apart from those: what an endpoint has no control of its own here for, it has there.
"""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import replace

import numpy as np
import numpy.typing as npt

from suites.harness.cohorts.cohort import Cohort, Film
from suites.harness.predictions.answers import Answers
from tests.controls import group_pairs
from tests.controls.call_pairs import Wary
from tests.controls.films import cohort_of, draw, inverted
from tests.controls.group_pairs import FILMS, NORMAL, VIRAL, lots, recorded, sexes
from tests.controls.planted import planted
from tests.controls.registry import Control, Pair
from tests.controls.subjects import Mistaken, Reader, subject_of

JUDGED, HEALTHY = "viral_pneumonia", "normal"
OF_FINDINGS: dict[str, Control] = {}
"""Endpoint -> its control of findings."""


def control(endpoint: str) -> Callable[[Control], Control]:
    """Register the decorated function as the control of an endpoint for findings."""

    def register(function: Control) -> Control:
        OF_FINDINGS[endpoint] = function
        return function

    return register


@control("recall_gap")
def recall_gap(claim, judge, _) -> Pair:
    """The one misses the finding; the other errs on one in a hundred with it, and on as many without."""
    drawn = cohort_of(1800)
    alike = drawn.select(drawn.table["label"].isin([JUDGED, HEALTHY]))
    return Pair(
        caught=judge(claim, subject_of(Mistaken(claim.margin + 0.2, JUDGED, HEALTHY), "unfair"), films=330),
        cleared=judge(claim, subject_of(Mistaken(0.01), "fair"), cohort=alike),
    )


@control("operating_point")
def operating_point(claim, judge, _) -> Pair:
    """The one misses the finding on a third of the films that show it; the other says it of others only."""
    return Pair(
        caught=judge(claim, subject_of(Mistaken(0.35, JUDGED, HEALTHY), "missing"), films=330),
        cleared=judge(claim, subject_of(Mistaken(0.35, HEALTHY, JUDGED), "alarming"), films=330),
    )


def ranked(skills: tuple[float, float]) -> Answers:
    """Answers whose log-odds of the finding tell films with it so far apart (in deviations), in men and in women."""
    women, _ = lots(FILMS)
    main = recorded(planted({}, films=FILMS), sex=sexes(women))
    there = np.arange(FILMS) % 3 == VIRAL
    apart = np.where(women, skills[1], skills[0])
    odds = np.random.default_rng(1).normal(0, 1, FILMS) + np.where(there, 0.5, -0.5) * apart
    table = main.predictions.table.assign(logit_0=-40.0, logit_1=0.0, logit_2=odds)
    return replace(main, predictions=replace(main.predictions, table=table))


@control("auroc_gap")
def auroc_gap(claim, _, folder) -> Pair:
    """The one tells films of men with the finding twice as far apart as those of women; the other both alike."""
    return Pair(
        caught=group_pairs.judged(claim, ranked((3.0, 1.2)), folder),
        cleared=group_pairs.judged(claim, ranked((2.5, 2.5)), folder),
    )


@control("calibration_gap")
def calibration_gap(claim, _, folder) -> Pair:
    """Four of five calls are right: the one is as sure as that of men, of women nearly certain; the other of both."""
    women, lot = lots(FILMS)
    there = np.arange(FILMS) % 3 == VIRAL
    said = there ^ (lot < 0.2)
    fair = np.where(said, np.log(8), np.log(3))  # of three logits, one raised by this has .8, or the two others have

    def answers(of_women: npt.ArrayLike) -> Answers:
        calls = np.where(said, VIRAL, NORMAL)
        sure = np.where(women, of_women, fair)
        return recorded(planted({"clean": calls}, films=FILMS, sure=sure), sex=sexes(women))

    return Pair(group_pairs.judged(claim, answers(7.0), folder), group_pairs.judged(claim, answers(fair), folder))


def unsaid(name: str, decode: Callable[..., Film] = draw) -> Cohort:
    """Films of which nobody says what they show."""
    drawn = cohort_of(90, name=name, labelled=False)
    table = drawn.table.assign(drawn=drawn.table["finding"], finding="")
    return replace(drawn, table=table, decode=lambda row: decode({**row, "finding": row["drawn"]}))


@control("confident_on_probe")
def confident_on_probe(claim, judge, _) -> Pair:
    """The one says the finding surely of a third of strange films; the other reads films as well, but no negatives."""
    role = str(claim.parameters["role"])
    return Pair(
        caught=judge(claim, subject_of(Reader(sharpness=400), "sure"), probes={role: unsaid("strange")}),
        cleared=judge(claim, subject_of(Wary(sharpness=400), "wary"), probes={role: unsaid("negatives", inverted)}),
    )
