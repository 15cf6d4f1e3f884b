"""Who measures the findings of one subject? Worker processes, some findings each, by the code that measures elsewhere.

What is drawn from an answer once (resamples, rates by patient) is remembered with it, so a finding stays with a worker
as long as there is one for each. A worker is sent the answers about a finding when it first measures it, others when an
endpoint has asked for them; it keeps what it has found, and draws its pictures when somebody looks at them. Whatever
a worker cannot do is left to the process that asked, and so is what one died over.
"""

from __future__ import annotations

import pickle
import warnings
from collections import deque
from collections.abc import Callable, Iterator, Mapping, Sequence
from dataclasses import dataclass, field, replace
from functools import cache, partial
from pathlib import Path

from suites.harness.cache.results import Place, picture, with_pictures, without_pictures
from suites.harness.claims import Claim, Result
from suites.harness.endpoints.measuring import measured_on
from suites.harness.errors import NotEvaluable
from suites.harness.predictions.answers import Answers
from suites.harness.predictions.blocks import Answering, Block, Receipt, Told
from suites.harness.predictions.dispatching import THIS_PROCESS
from suites.harness.predictions.errands import Desk, Errand, packed
from suites.harness.predictions.evidence import gathered
from suites.harness.predictions.local_processes import LocalProcesses
from suites.harness.process import give_back
from suites.harness.progress import Progress

Key = tuple[str, str]
"""Name of a subject and role of the films that it answered."""


@dataclass(frozen=True, kw_only=True)
class Asked:
    """A claim that is to be measured on a finding.

    Attributes:
        claim: in the words of the finding.
        subject: of the finding.
        roles: probes that it looks at, predicted; `without`: those that are not to be had.
    """

    claim: Claim
    subject: str
    roles: Sequence[str]
    without: frozenset[str]

    @property
    def key(self) -> tuple[str, str]:
        """Id of the claim and name of the subject."""
        return self.claim.id, self.subject


@dataclass(frozen=True, kw_only=True)
class Circumstances:
    """What of a run decides a result beside claim and answers: roles of its probes, profile and so on.

    Attributes:
        siblings: name of a finding's subject -> those of all findings of its whole; `peers`: the run's others of its
            classes.
    """

    roles: Sequence[str]
    profile: str
    seed: int
    cache: Path
    severities: tuple[int, ...]
    siblings: Mapping[str, Sequence[str]]
    peers: Mapping[str, Sequence[str]]


class _NotHere(Exception):
    """Something is needed that this worker has not."""


@dataclass(frozen=True)
class Lacking:
    """What a worker lacks to measure a claim: answers, or passes that would have to be shared out among all workers."""

    answers: frozenset[Key] = frozenset()
    passes: bool = False


@dataclass
class _Bench:
    """What a worker has been sent to measure with, and what it has found; it stands for whoever would pass films."""

    answers: dict[Key, Answers] = field(default_factory=dict)
    found: dict[tuple[str, str], Result] = field(default_factory=dict)
    lacking: Lacking = Lacking()

    def take(self, sent: Mapping[Key, Answers], siblings: Mapping[str, Sequence[str]]) -> None:
        for (name, role), one in sent.items():
            beside = partial(self._siblings, siblings[name], role) if name in siblings else tuple
            self.answers[name, role] = replace(one, workers=self, siblings=beside)
        if sent:
            give_back()  # of the findings before

    def there(self, name: str, role: str) -> Answers:
        self._all_there({(name, role)})
        return self.answers[name, role]

    def _siblings(self, names: Sequence[str], role: str) -> list[Answers]:
        self._all_there({(name, role) for name in names})
        return [self.answers[name, role] for name in names]

    def _all_there(self, keys: set[Key]) -> None:
        if missing := keys - self.answers.keys():
            self.lacking = replace(self.lacking, answers=self.lacking.answers | missing)
            raise _NotHere

    def receipts(self, here: Answering, blocks: Sequence[Block], told: Told) -> Iterator[Receipt]:
        for block in blocks:
            found = here.found_block(block, told) if here.job.cohort.mostly_known(block.rows) else None
            if found is None:
                self.lacking = replace(self.lacking, passes=True)
                raise _NotHere
            yield found


def _bench(desk: Desk) -> _Bench:
    bench: _Bench = desk.left.setdefault(_Bench, _Bench())
    return bench


@dataclass(frozen=True, kw_only=True)
class _Measuring(Errand):
    """Says the result of a claim without its pictures, why there is none (a text), or what is `Lacking`."""

    asked: Asked
    circumstances: Circumstances
    sent: Mapping[Key, Answers]

    def run(self, desk: Desk) -> Result | str | Lacking:
        bench, asked, run = _bench(desk), self.asked, self.circumstances
        bench.take(self.sent, run.siblings)
        bench.lacking = Lacking()
        looked: set[str] = set()
        said: Result | str = ""
        with warnings.catch_warnings():
            warnings.simplefilter("ignore")
            try:
                evidence = gathered(
                    asked.subject, bench.there, roles=run.roles, without=asked.without,
                    peers=run.peers[asked.subject], looked=looked, profile=run.profile, seed=run.seed, cache=run.cache,
                    severities=run.severities,
                )  # fmt: skip
                bench.found[asked.key] = measured_on(evidence, asked.claim, looked, asked.roles)
                said = without_pictures(bench.found[asked.key])
            except NotEvaluable as reason:
                said = str(reason)
            except _NotHere:
                pass
        # Also where an endpoint made something else of it, as of any fault in what it looks at.
        return said if bench.lacking == Lacking() else bench.lacking


@dataclass(frozen=True, kw_only=True)
class _Drawing(Errand):
    """Says what stands at a place of a result, pickled; `None` where it cannot be drawn or sent."""

    key: tuple[str, str]
    place: Place

    def run(self, desk: Desk) -> bytes | None:
        try:
            return pickle.dumps(picture(_bench(desk).found[self.key], self.place))
        except Exception:  # noqa: BLE001 - it fails again where somebody looks at it
            return None


@dataclass(frozen=True, kw_only=True)
class Found:
    """What a worker has said of a claim.

    Attributes:
        said: the result without its pictures, or why there is none.
        draw: gives the picture at a place as it is drawn there, `None` where it is not.
    """

    said: Result | str
    draw: Callable[[Place], object | None]

    def result(self, here: Callable[[], Result]) -> Result:
        """Return the result.

        Args:
            here: measures the claim in this process, for a picture that is not drawn in the worker.

        Raises:
            NotEvaluable: there is none.
        """
        if isinstance(self.said, str):
            raise NotEvaluable(self.said)
        again = cache(here)

        def give(place: Place) -> object:
            drawn = self.draw(place)
            return picture(again(), place) if drawn is None else drawn

        return with_pictures(self.said, give)


class MeasuringAhead:
    """Has the workers of a run measure, and remembers who of them knows what.

    Args:
        workers: of the run.
        circumstances: of the run.
        answers: gives those that have been predicted, or `None`.
    """

    def __init__(
        self, workers: LocalProcesses, circumstances: Circumstances, answers: Callable[[Key], Answers | None]
    ) -> None:
        self.workers, self.circumstances, self.answers = workers, circumstances, answers
        self.sent: dict[object, set[Key]] = {}
        self.owners: dict[str, object] = {}
        self.deaths = 0

    def measured(
        self, asked: Sequence[Asked], tell: Callable[[int], object]
    ) -> tuple[dict[tuple[str, str], Found], list[Asked]]:
        """Return what workers have found by claim and subject, and what waits for passes that none has made yet.

        Whatever is in neither is left to whoever asked: a worker died over it, or it could not be sent.

        Args:
            asked: what is to be measured.
            tell: takes how much has been.
        """
        course = _Course(self, asked, tell)
        self.workers.through(course)
        return course.found, course.waiting_for_passes

    def draw(self, worker: object, key: tuple[str, str], place: Place) -> object | None:
        """Return a picture that a worker draws, `None` where it does not."""
        done = self.workers.ask(worker, packed(_Drawing(key=key, place=place)))
        if done is None or not isinstance(done.value, bytes):
            return None
        drawn: object = pickle.loads(done.value)  # noqa: S301 - from a worker of this run
        return drawn


class _Course:
    """How far the findings are: an agenda in which each is with one worker at a time."""

    def __init__(self, ahead: MeasuringAhead, asked: Sequence[Asked], tell: Callable[[int], object]) -> None:
        self._ahead, self._tell, self._said = ahead, tell, 0
        self._todo: dict[str, deque[tuple[Asked, frozenset[Key]]]] = {}
        for one in asked:
            self._todo.setdefault(one.subject, deque()).append((one, frozenset()))
        self._at: dict[object, Asked] = {}
        self._begun: dict[str, object] = {}
        self.found: dict[tuple[str, str], Found] = {}
        self.waiting_for_passes: list[Asked] = []

    @property
    def left(self) -> int:
        """How many findings are to be measured further."""
        return sum(map(bool, self._todo.values()))

    def next(self, worker: object) -> bytes | None:
        """Return the next claim of the finding that a worker is at, else of one that is its own, no one's, or any."""
        free = [name for name, claims in self._todo.items() if claims and self._begun.get(name, worker) is worker]
        owners = self._ahead.owners
        at = [name for name in free if name in self._begun]
        own = [name for name in free if owners.get(name) is worker]
        names = at or own or [name for name in free if name not in owners] or free
        if not names:
            return None
        asked, wanted = self._todo[names[0]].popleft()
        keys = {(asked.subject, role) for role in ("main", *asked.roles)} | wanted
        has = self._ahead.sent.setdefault(worker, set())
        new = {key: one for key in sorted(keys - has) if (one := self._ahead.answers(key)) is not None}
        sent = {
            key: replace(one, progress=Progress(), workers=THIS_PROCESS, siblings=tuple) for key, one in new.items()
        }
        try:
            data = packed(_Measuring(asked=asked, circumstances=self._ahead.circumstances, sent=sent))
        except Exception:  # noqa: BLE001 - code of a user's that no other process can have: all of it stays here
            self._todo.clear()
            return None
        has.update(sent)
        self._at[worker] = asked
        self._begun[asked.subject] = owners[asked.subject] = worker
        return data

    def back(self, worker: object, value: object) -> None:
        """Take what a worker has found, or give it what it lacked."""
        asked = self._at.pop(worker)
        if isinstance(value, Result | str):
            self.found[asked.key] = Found(said=value, draw=partial(self._ahead.draw, worker, asked.key))
            self._said += 1
            self._tell(self._said)
        elif isinstance(value, Lacking) and value.passes:
            self.waiting_for_passes.append(asked)
        elif isinstance(value, Lacking):
            there = {key for key in value.answers if self._ahead.answers(key) is not None}
            if there == value.answers and there - self._ahead.sent[worker]:
                self._todo[asked.subject].appendleft((asked, value.answers))

    def lost(self, worker: object) -> None:
        """Leave what a worker was at, over which another might die as well."""
        self._at.pop(worker, None)
        self._ahead.deaths += 1
        for known in (self._begun, self._ahead.owners):
            for name in [name for name, one in known.items() if one is worker]:
                del known[name]
