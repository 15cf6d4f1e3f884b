"""How many films keep all of their findings? One attack that may turn any of them.

It looks at the findings that the labels tell of and that the subject calls right, all in the same passes. Searching for
each of them apart from where the set fell was tried, and saved fewer passes than the attack on the set costs.
"""

from __future__ import annotations

from dataclasses import dataclass, replace

import numpy as np
import numpy.typing as npt
import pandas as pd

from robustness.attacks import Attacked
from robustness.attacks.threat import ROUNDING
from suites.harness import statistics
from suites.harness.endpoints.adversarial.runs.job import Job
from suites.harness.endpoints.adversarial.runs.protocols import shared_films
from suites.harness.predictions.answers import Answers
from suites.harness.statistics import Resamples, Sampled
from suites.harness.subjects.finding import own_finding


@dataclass(frozen=True)
class SetOfFindings:
    """The attack on all findings of one subject.

    Attributes:
        job: on the films that have something to lose.
        films: of all that were chosen, those that lose a call already among them.
        right: (N,) whether every call that the labels tell of is right on the clean film.
        seed: of the run.
    """

    job: Job
    films: pd.DataFrame
    right: npt.NDArray[np.bool_]
    seed: int

    def kept(self, found: Attacked, budget: float) -> Sampled:
        """Return the share of films on which no finding can be turned at a budget; 0: on the clean films."""
        distance = {one.image_id: one.distance for one in found.results}
        ids = self.films["id"].astype(str)
        beyond = np.array([distance.get(name, np.inf) > budget + ROUNDING * (budget > 0) for name in ids])
        patients = self.films["patient"].astype(str)
        resamples = Resamples.draw(patients, np.zeros(len(patients)), seed=self.seed)
        return statistics.rate((self.right & beyond).astype(np.float64), resamples, (0.0, 1.0))


def set_of_findings(answers: Answers, films: int, like: Job) -> SetOfFindings | None:
    """Return the attack on all findings of the whole that a subject of one finding belongs to; None of any other.

    Args:
        answers: of the subject.
        films: about how many are attacked.
        like: the attack on that finding, whose protocol, threat and budgets it shares.
    """
    siblings, whole = answers.siblings(), answers.subject.whole
    if len(siblings) < 2 or whole is None or whole.network is None:
        return None
    chosen = shared_films(answers, films)
    ids = chosen.table["id"].astype(str)
    sides, right = np.zeros((len(ids), len(siblings))), np.ones(len(ids), dtype=bool)
    for column, one in enumerate(siblings):
        place = {image: at for at, image in enumerate(one.images)}
        at = np.array([place.get(image, -1) for image in ids])
        known = (at >= 0) & (one.labels[at] >= 0)
        correct = known & (one.correct()[at] == 1)
        right &= correct | ~known
        sides[correct, column] = np.where(one.labels[at] == 1, 1, -1)[correct]
    index = np.flatnonzero((sides != 0).any(axis=1))
    everyone = replace(answers, subject=whole, cohort=chosen, siblings=tuple, offset=0.0)
    findings = tuple(own_finding(one.subject) for one in siblings)
    job = Job(everyone, index, like.plan, like.threat, like.budgets, like.passes, findings, sides[index])
    return SetOfFindings(job, chosen.table, right, answers.seed)
