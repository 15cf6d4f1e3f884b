"""What does a section of the page ask for, and what does it get? Attacks by name."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass, replace
from pathlib import Path

import numpy as np
import numpy.typing as npt

from robustness.attacks import Attacked, gather
from robustness.attacks.masking_checks import SanityCheck, conclusive
from suites.harness.endpoints.adversarial.runs.access import INPUT
from suites.harness.endpoints.adversarial.runs.effort import passes_of
from suites.harness.endpoints.adversarial.runs.job import Job
from suites.harness.endpoints.adversarial.runs.protocols import (
    COMPARED_FILMS,
    FILMS,
    REMOTE_FILMS,
    WHOLE_FILMS,
    budgets_of,
    chosen_films,
    plan_of,
)
from suites.harness.endpoints.adversarial.runs.set_of_findings import SetOfFindings, set_of_findings
from suites.harness.predictions.answers import Answers

NO_GRADIENTS = "no gradients"
"""Why a white-box attack cannot be had of a deployed service."""


@dataclass(frozen=True)
class Attack:
    """A finished attack.

    Attributes:
        found: one record per film.
        threat: name of the threat model.
        index: (M,) position of each attacked film in the cohort.
        budgets: ascending.
        checks: whether the attack could be trusted.
        together: of one finding, the attack on all findings of its whole, and what that found.
    """

    found: Attacked
    threat: str
    index: npt.NDArray[np.int64]
    budgets: tuple[float, ...]
    checks: tuple[SanityCheck, ...] = ()
    together: tuple[SetOfFindings, Attacked] | None = None

    def robust(self, budget: float) -> npt.NDArray[np.float64]:
        """Return (M,) 1 where no flip of at most this size was found and the clean film is right.

        Raises:
            KeyError: the budget is not one of the attack's.
        """
        if not np.isclose(self.budgets, budget).any():
            raise KeyError(f"budget {budget * 255:g}/255 was not attacked")
        at = [next(item for item in result.at if np.isclose(item.budget, budget)) for result in self.found.results]
        return np.array([float(item.robust) for item in at])

    @property
    def right(self) -> npt.NDArray[np.float64]:
        """Return (M,) 1 where the clean film is called right."""
        return np.array([float(result.clean_prediction == result.label) for result in self.found.results])

    @property
    def distances(self) -> npt.NDArray[np.float64]:
        """Return (M,) the smallest flipping change found, in grey levels of 255; 0 where already wrong, else inf."""
        return np.array([result.distance * 255 for result in self.found.results])

    @property
    def passes(self) -> int:
        """Return forward and backward passes spent on all films; of a service, the requests made."""
        return sum(result.forward + result.backward for result in self.found.results)

    @property
    def trusted(self) -> bool:
        """Whether a film that was not flipped may be called robust."""
        return conclusive(self.checks)

    def among(self, index: npt.NDArray[np.int64]) -> Attack:
        """Return the same attack on those of its films that are at these positions of the cohort."""
        keep = np.isin(self.index, index)
        found = gather(result for result, kept in zip(self.found.results, keep, strict=True) if kept)
        return replace(self, found=found, index=self.index[keep])


def attack(
    answers: Answers,
    profile: str,
    cache: Path,
    *,
    threat: str = INPUT,
    protocol: str = "ensemble",
    compared: bool = False,
) -> Attack:
    """Attack a subject on the films of a profile.

    A subject without gradients (a service) is searched by Square on a few whole films: what that flips is a weakness,
    what it leaves standing proves nothing.

    Args:
        answers: of the subject on the clean films.
        profile: of the run; decides films and effort.
        cache: root of the cache; films that are finished there are not attacked again.
        threat: name of the threat model.
        protocol: `ensemble`, or one attack or control (see `protocols.plan_of`).
        compared: on the films and budgets of the side-by-side table only, with its shorter ensemble.

    Raises:
        NotEvaluable: no film carries a label, or the subject has no such threat model.
    """
    job = _job(answers, profile, threat, protocol, compared=compared)
    together = _together(answers, job, profile, cache) if protocol == "ensemble" and not compared else None
    found = job.run(cache)
    checks: tuple[SanityCheck, ...] = ()
    if not answers.subject.differentiable:
        told = "a search by answers alone ran in their place; what it misses proves nothing"
        checks = (SanityCheck("gradients exist", passed=False, detail=f"white-box attacks are not evaluable: {told}"),)
    elif protocol == "ensemble" and threat == INPUT:
        with answers.progress.doing("attacking", f"{answers.subject.name}: can the attack be trusted"):
            checks = job.checks(cache, found)
    return Attack(found, job.model.name, job.index, job.budgets, checks, together)


def _together(answers: Answers, job: Job, profile: str, cache: Path) -> tuple[SetOfFindings, Attacked] | None:
    """Return the attack on all findings of a subject's whole, finished; None where it answers no one of several."""
    films = (WHOLE_FILMS if job.whole else FILMS)[profile]
    found = set_of_findings(answers, films, job)
    return None if found is None else (found, found.job.run(cache))


def finished(answers: Answers, profile: str, cache: Path) -> Attack | None:
    """Return the attack of a profile if all its films are in the cache, else `None`: nothing is attacked for it."""
    if not answers.subject.differentiable or not (answers.labels >= 0).any():
        return None
    job = _job(answers, profile, INPUT, "ensemble", compared=False)
    if (together := set_of_findings(answers, FILMS[profile], job)) is not None and not together.job.finished(cache):
        return None
    return attack(answers, profile, cache) if job.finished(cache) else None


def requests_at_most(answers: Answers, profile: str) -> int:
    """Return the requests that the search of a service can come to: each budget searched to the end, twice scaled.

    Per film: the clean film, at each budget the queries, four steps of scaling down and two of evidence, and four more
    steps at the end.
    """
    job = _job(answers, profile, INPUT, "ensemble", compared=False)
    queries = sum(int(getattr(one, "queries", 0)) for one in job.plan.attacks)
    return len(job.index) * (1 + len(job.budgets) * (queries + 4 + 2) + 4)


def _job(answers: Answers, profile: str, threat: str, protocol: str, *, compared: bool) -> Job:
    remote = not answers.subject.differentiable
    whole = remote or threat.endswith("/film")
    films: Mapping[str, int] = WHOLE_FILMS if whole else FILMS
    if remote:
        films = REMOTE_FILMS
    elif compared:
        films = COMPARED_FILMS
    return Job(
        answers,
        chosen_films(answers, films[profile]),
        plan_of(protocol, profile, remote=remote, compared=compared),
        threat,
        budgets_of(whole=whole, compared=compared),
        passes_of(protocol, profile, compared=compared),
    )
