"""What was found for each claim of a run? Measured once, by this process or its workers, then found in the cache."""

from __future__ import annotations

import time
from collections.abc import Callable, Iterable, Iterator, Mapping, Sequence
from dataclasses import dataclass, field
from functools import cached_property

import pandas as pd

from suites.harness.cache.code_digest import OUR_PACKAGES, digest_of, digest_of_table, digest_of_texts
from suites.harness.cache.results import KeptResults
from suites.harness.cache.versions import library_versions
from suites.harness.claims import Claim, Result
from suites.harness.cohorts.class_roles import for_finding
from suites.harness.endpoints import get
from suites.harness.endpoints.measuring import all_is_ours, is_ours, measured_alone, measured_on
from suites.harness.errors import NotEvaluable
from suites.harness.measuring_ahead import Asked, Circumstances, Found, Key, MeasuringAhead
from suites.harness.predicted_run import SEVERITIES, PredictedRun
from suites.harness.predictions.answers import Answers
from suites.harness.predictions.dispatching import MOST_DEATHS
from suites.harness.predictions.local_processes import LocalProcesses
from suites.harness.predictions.subject_checks import refuse
from suites.harness.process import give_back
from suites.harness.subjects.subject import device_kind

STARTING, IMPORTING = 6.0, 2.5
"""Seconds until a worker measures that must be started, and one that stands but must import what it measures with."""


def is_measured_from_answers(claim: Claim) -> bool:
    """Whether a claim asks for nothing beyond what was predicted."""
    endpoint = get(claim.endpoint)
    return (endpoint.about, endpoint.stage) == ("subject", "measuring")


@dataclass(kw_only=True)
class MeasuredRun(PredictedRun):
    """A run that predicts and measures as it is asked, and remembers."""

    _kept: dict[tuple[str, tuple[str, ...]], KeptResults] = field(default_factory=dict, repr=False)
    _digests: dict[int, tuple[pd.DataFrame | Mapping[str, str], str]] = field(default_factory=dict, repr=False)
    _found: dict[tuple[str, str], Found] = field(default_factory=dict, repr=False)
    _seen: set[str] = field(default_factory=set, repr=False)

    def measured(self, section: Mapping[str, Sequence[Claim]]) -> dict[tuple[str, str], Result | str]:
        """Return what was found, by subject and id of the claim: a result, or the reason why there is none.

        Args:
            section: name of a subject -> the claims that are measured on it.
        """
        results = self._measured_ahead(section)
        for name, claims in section.items():
            for claim in claims:
                if (name, claim.id) not in results:
                    results[name, claim.id] = self._measure(claim, name)
        for kept in self._kept.values():
            kept.flush()
        give_back()
        return results

    def _measured_ahead(self, section: Mapping[str, Sequence[Claim]]) -> dict[tuple[str, str], Result | str]:
        """Have workers measure several findings, for `_measure` to find; return what is measured already."""
        results: dict[tuple[str, str], Result | str] = {}
        if len(section) < 2 or self._ahead is None or self._ahead.deaths >= MOST_DEATHS or not all_is_ours():
            return results

        def measure(one: Asked) -> None:
            claim = next(other for other in section[one.subject] if other.id == one.claim.id)
            results[one.subject, claim.id] = self._measure(claim, one.subject)

        asked = list(self._new(section))
        self._seen |= {one.claim.section for one in asked}
        if not self._ahead.sent:
            asked = self._that_pays(asked, measure)
        while asked:
            with self.progress.doing("measuring", f"{asked[0].claim.section}, {len(section)} findings"):
                found, waiting = self._ahead.measured(asked, self.progress.under_way)
            self._found |= found
            # Passes are shared out by this process, among all workers; those of a claim serve every finding.
            firsts = {one.claim.id: one for one in reversed(waiting)}
            for one in firsts.values():
                measure(one)
            asked = [one for one in waiting if firsts[one.claim.id] is not one]
        return results

    def _that_pays(self, asked: Sequence[Asked], measure: Callable[[Asked], object]) -> list[Asked]:
        """Measure one finding after the other until it is known that workers pay; return what is left for them.

        What one takes, but for the first, which takes longer, tells what the others will, and all later sections; these
        are taken to be known where an earlier run has left anything.
        """
        assert self._ahead is not None  # noqa: S101 - asked where there are workers
        findings = list(dict.fromkeys(one.subject for one in asked))
        claims = [one for one in self.running if is_measured_from_answers(one)]
        fresh = not any(kept.earlier for kept in self._kept.values())
        later = len(findings) * sum(one.section not in self._seen for one in claims) if fresh else 0
        workers = self._ahead.workers
        for number, name in enumerate(findings):
            own, began = [one for one in asked if one.subject == name], time.perf_counter()
            for one in own:
                measure(one)
            asked = [one for one in asked if one.subject != name]
            rest = (time.perf_counter() - began) / len(own) * (len(asked) + later)
            if number and rest * (1 - 1 / workers.count) > (IMPORTING if workers.standing else STARTING):
                return list(asked)
        return []

    def _new(self, section: Mapping[str, Sequence[Claim]]) -> Iterator[Asked]:
        """Yield what nobody has measured yet of what a worker can; what it looks at has been predicted then."""
        for name, claims in section.items():
            for claim in claims:
                if not is_measured_from_answers(claim) or not is_ours(claim):
                    continue
                try:
                    asked = self._asked_on(claim, name)
                except NotEvaluable:
                    continue  # for a reason that is found again
                if not self._results(name, asked.roles).knows(asked.claim):
                    yield asked

    @cached_property
    def _ahead(self) -> MeasuringAhead | None:
        """Who measures ahead: processes of this machine that are the same in all, where there are several."""
        if not isinstance(self.workers, int) or self.workers < 2 or self.tolerance is not None:
            return None
        if not isinstance(self._workers, LocalProcesses):
            return None
        families = {
            one.name: [other.name for other in self.judged if other.whole is one.whole]
            for one in self.judged
            if one.whole is not None
        }
        run = Circumstances(
            roles=list(self.probes), profile=self.profile, seed=self.seed, cache=self.cache,
            severities=SEVERITIES[self.profile], siblings=families,
            peers={one.name: self.peers(one) for one in self.judged},
        )  # fmt: skip
        return MeasuringAhead(self._workers, run, self._predicted)

    def _predicted(self, key: Key) -> Answers | None:
        return self._answers.get(key)

    def _measure(self, claim: Claim, subject: str) -> Result | str:
        """Return the result of a claim's endpoint, or the reason why it cannot be had."""
        measure = get(claim.endpoint)
        try:
            if measure.about == "page":
                return measured_alone(measure, None, claim)
            if measure.about == "cohort":
                return measured_alone(measure, self.cohort, claim)
            asked = self._asked_on(claim, subject)
            looked: set[str] = set()
            evidence = self.evidence(subject, looked, without=asked.without)

            def here() -> Result:
                return measured_on(evidence, asked.claim, looked, asked.roles)

            def found() -> Result:
                ahead = self._found.pop(asked.key, None)
                return here() if ahead is None else ahead.result(here)

            with self.progress.doing(measure.stage, f"{claim.id}, {subject}"):
                result = self._results(subject, asked.roles).once(asked.claim, found) if is_ours(claim) else found()
                if measure.stage == "measuring":
                    self.progress.done()
                return result
        except NotEvaluable as reason:
            return str(reason)

    def _asked_on(self, claim: Claim, name: str) -> Asked:
        """Return what a claim asks about a subject; what it looks at has been predicted then.

        Raises:
            NotEvaluable: the subject is no function of the film, or its films cannot be answered.
        """
        subject = self._named(name)
        refuse(subject, self.checks[name])
        if subject.whole is not None:
            claim = for_finding(claim, subject.classes)
        roles, every = self.roles(claim), get(claim.endpoint).roles(claim, self.probes)
        self.answers(subject, self.cohort, "main")
        for role in roles:
            self.answers(subject, self.probes[role], role)
        return Asked(claim=claim, subject=name, roles=roles, without=frozenset(every) - frozenset(roles))

    def _results(self, subject: str, roles: Sequence[str]) -> KeptResults:
        """Return what was found of a subject before with these probes; called when they have been predicted."""
        key = subject, tuple(roles)
        if key not in self._kept:
            self._kept[key] = KeptResults(self.cache, {"about": subject, **self._decided_by(roles)})
        return self._kept[key]

    def _decided_by(self, roles: Iterable[str]) -> dict[str, object]:
        """Return everything that decides a result or a picture besides its claim, where these probes are looked at."""
        looked = ["main", *roles]
        films = [self.cohort.table, *(self.probes[role].table for role in looked[1:])]
        return {
            "answers": [
                [*key, self._digest(found.predictions.table), self._digest(found.predictions.contents)]
                for key, found in self._in_order()
                if key[1] in looked
            ],
            "probes": list(self.probes),
            "films": [self._digest(table) for table in films],
            "subjects": [[one.name, one.cache_key, one.attribution_layer] for one in self.subjects],
            "profile": self.profile,
            "preset": self.preset,
            "resolution": str(self.working),
            "seed": self.seed,
            "code": [digest_of(package, "**/*.py") for package in OUR_PACKAGES],
            "versions": self._versions,
        }

    def _digest(self, of: pd.DataFrame | Mapping[str, str]) -> str:
        """Return the digest of a table, or of what films hold, of this run; every finding's results are keyed by it."""
        if id(of) not in self._digests:
            self._digests[id(of)] = of, digest_of_table(of) if isinstance(of, pd.DataFrame) else digest_of_texts(of)
        return self._digests[id(of)][1]

    @cached_property
    def _versions(self) -> dict[str, str]:
        return library_versions(
            (device_kind(subject.device) for subject in self.subjects),
            (subject.precision for subject in self.subjects if subject.network is not None),
        )
