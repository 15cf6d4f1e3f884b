"""How many films keep all of their findings? One attack that may turn any of them, and what it tells the others.

It looks at the findings that the labels tell of and that the subject calls right, all in the same passes. A film is not
searched again, finding by finding, below the budget at which it fell for any, and its changed film is the first that
the search for that finding looks at.
"""

from __future__ import annotations

import hashlib
import json
from collections.abc import Mapping
from dataclasses import dataclass, replace
from functools import cached_property

import numpy as np
import numpy.typing as npt
import pandas as pd
import torch
from torch import Tensor, nn

from robustness.attacks import Attacked, Known
from robustness.attacks.threat import ROUNDING
from suites.harness import statistics
from suites.harness.endpoints.adversarial.runs.job import Job
from suites.harness.endpoints.adversarial.runs.protocols import shared_films
from suites.harness.predictions.answers import Answers
from suites.harness.statistics import Resamples, Sampled
from suites.harness.subjects.finding import own_finding


class FromOperatingPoints(nn.Module):
    """A network of several findings, some of its logits, each counted from its operating point."""

    def __init__(self, network: nn.Module, findings: Mapping[int, float]) -> None:
        super().__init__()
        self.network = network
        self.register_buffer("index", torch.tensor(list(findings), dtype=torch.long))
        self.register_buffer("offset", torch.tensor(list(findings.values()), dtype=torch.float32))

    def forward(self, pixels: Tensor) -> Tensor:
        """Return (B, F) logits for (B, C, S, S) pixels in [0, 1]; a finding is called above 0."""
        logits: Tensor = self.network(pixels)
        return logits[:, self.index] - self.offset


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

    @cached_property
    def identity(self) -> str:
        """Of the attack, for what is searched after it."""
        return hashlib.sha256(json.dumps(self.job.key, sort_keys=True, default=str).encode()).hexdigest()

    def known(self, found: Attacked, finding: str) -> dict[str, Known]:
        """Return film -> what a search for one of its findings need not find out again.

        The changed film is one to look at for the finding that it was changed for.
        """
        budgets, own = self.job.budgets, self.job.answers.subject.classes.index(finding) + 1
        return {
            one.image_id: Known(
                stands=next((size for size in budgets if size + ROUNDING >= one.distance), budgets[-1]),
                example=one.stored if one.prediction == own else None,
            )
            for one in found.results
        }

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
    counted = dict(own_finding(one.subject) for one in siblings)
    subject = replace(
        whole, name=f"{whole.name}: any finding", classes=tuple(str(one.subject.answers) for one in siblings),
        network=FromOperatingPoints(whole.network, counted), thresholds=None, whole=whole, answers="any finding",
    )  # fmt: skip
    everyone = replace(answers, subject=subject, cohort=chosen, siblings=tuple, offset=0.0)
    job = Job(
        everyone, index, like.plan, like.threat, like.budgets, like.passes, torch.from_numpy(sides[index]).float()
    )
    return SetOfFindings(job, chosen.table, right, answers.seed)
