"""Which films have a label and a prediction? As the arrays `calibration` takes, with everybody's resamples."""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import dataclass

import numpy as np
import numpy.typing as npt

from calibration.validation import CalibrationError, FloatArray
from suites.harness.claims import Claim, Result
from suites.harness.errors import NotEvaluable
from suites.harness.predictions.answers import Answers
from suites.harness.predictions.evidence import Evidence
from suites.harness.statistics import DENSE, Integers, Resamples, Sampled
from suites.harness.statistics.resamples import applied, ranked

SIMULATED = 10_000
"""Films of a random sample of more than `DENSE`, for what draws outcomes of every film thousands of times."""


@dataclass(frozen=True)
class LabelledFilms:
    """The films with a label and an answer under one condition, as arrays for `calibration`."""

    logits: FloatArray
    labels: Integers
    patients: npt.NDArray[np.str_]
    resamples: Resamples
    keep: npt.NDArray[np.bool_]

    @classmethod
    def of(cls, answers: Answers, *conditions: str) -> LabelledFilms:
        """Return the films answered under all the conditions, with the logits of the last."""
        keep = answers.shared(*conditions)
        if not keep.any():
            raise NotEvaluable(f"no labelled film of {answers.cohort.name} was answered under {conditions[-1]}")
        return cls(
            answers.logits(conditions[-1])[keep],
            answers.labels[keep],
            answers.patients[keep],
            answers.resamples.subset(keep),
            keep,
        )

    def sample(self) -> Integers:
        """Return the places of all films, of more than `DENSE` a random sample of whole patients, `SIMULATED` films."""
        if len(self.labels) <= DENSE:
            return np.arange(len(self.labels))
        _, owner, films = np.unique(self.patients, return_inverse=True, return_counts=True)
        order = np.random.default_rng(0).permutation(len(films))
        taken = order[: int(np.searchsorted(np.cumsum(films[order]), SIMULATED)) + 1]
        return np.flatnonzero(np.isin(owner, taken))

    def among(self, places: Integers) -> LabelledFilms:
        """Return some of the films, as a cohort of their own where they are not all."""
        if len(places) == len(self.labels):
            return self
        keep = np.zeros_like(self.keep)
        keep[np.flatnonzero(self.keep)[places]] = True
        resamples = Resamples.draw(self.patients[places], self.labels[places], seed=0)
        return LabelledFilms(self.logits[places], self.labels[places], self.patients[places], resamples, keep)

    @property
    def smallest(self) -> int:
        """Films of the smallest class."""
        return int(np.bincount(self.labels).min())

    @property
    def events(self) -> int:
        """Patients with a wrong call or patients with a right one, whichever are fewer."""
        wrong = self.logits.argmax(axis=1) != self.labels
        return min(len(np.unique(self.patients[wrong])), len(np.unique(self.patients[~wrong])))

    def sampled(
        self,
        estimator: Callable[..., object],
        bounds: tuple[float, float],
        events: int | None = None,
        *,
        averaged: bool = True,
        by_rank: bool = False,
    ) -> Sampled:
        """Return an estimator (called with `weights=`) on the films and on the resamples; see `Sampled`, `ranked`."""
        estimate = float(np.asarray(estimator(weights=None)))
        coarse = 0.0
        if by_rank:
            replicates, left_out, bins = ranked(estimator, self.resamples)
            coarse = float(bins)
        else:
            replicates, left_out = (
                applied(estimator, rows) for rows in (self.resamples.weights, self.resamples.left_out)
            )
        return Sampled(
            estimate,
            replicates,
            self.resamples.patients,
            bounds,
            left_out=left_out,
            events=events,
            averaged=averaged,
            coarse=coarse,
        )


def reasoned(function: Callable[[Evidence, Claim], Result]) -> Callable[[Evidence, Claim], Result]:
    """Turn the errors of `calibration` (a class absent, too few films) into reasons why a claim cannot be judged."""

    def judged(evidence: Evidence, claim: Claim) -> Result:
        try:
            return function(evidence, claim)
        except CalibrationError as problem:
            raise NotEvaluable(str(problem)) from problem

    judged.__qualname__, judged.__doc__ = function.__qualname__, function.__doc__
    return judged


def folds_for(films: LabelledFilms) -> int:
    """Return five folds, or fewer where that would leave a fold with too few films."""
    return int(min(5, max(2, len(films.labels) // 45)))
