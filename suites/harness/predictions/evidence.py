"""What may an endpoint look at? The answers on the cohort under test, on its probes and on films of other hospitals."""

from __future__ import annotations

from collections.abc import Callable, Collection, Iterable, Iterator, Mapping, Sequence
from dataclasses import dataclass, field
from pathlib import Path
from typing import TypeVar

from suites.harness.cohorts.external import is_external
from suites.harness.cohorts.probes import asked_for
from suites.harness.errors import NotEvaluable
from suites.harness.predictions.answers import Answers
from suites.harness.subjects.subject import Subject

T = TypeVar("T")


class WhenAsked(Mapping[str, T]):
    """Values by role, each made when somebody asks for it and not for saying that it is there.

    Args:
        roles: in their order.
        make: gives the value of a role; asked each time, so it remembers what is costly itself.
    """

    def __init__(self, roles: Iterable[str], make: Callable[[str], T]) -> None:
        self._roles, self._make = list(roles), make

    def __getitem__(self, role: str) -> T:
        if role not in self._roles:
            raise KeyError(role)
        return self._make(role)

    def __contains__(self, role: object) -> bool:
        return role in self._roles

    def __iter__(self) -> Iterator[str]:
        return iter(self._roles)

    def __len__(self) -> int:
        return len(self._roles)


@dataclass(frozen=True, kw_only=True)
class Evidence:
    """Everything an endpoint may look at.

    Attributes:
        main: answers on the cohort under test; `probes` answers on further cohorts by role; `external` on the films of
            other hospitals.
        profile: `quick`, `standard` or `full`.
        seed: of the run.
        cache: folder for whatever an endpoint computes beyond predictions.
        peers: role (`main` or a probe's) -> answers of the run's other subjects of the same classes on the same films.
        severities: those of a range such as `gamma_low@1-5` that this profile runs.
    """

    main: Answers
    profile: str
    seed: int
    cache: Path
    probes: Mapping[str, Answers]
    external: Mapping[str, Answers] = field(default_factory=dict)
    severities: tuple[int, ...] = (1, 2, 3, 4, 5)
    peers: Mapping[str, Sequence[Answers]] = field(default_factory=dict)

    @property
    def subject(self) -> Subject:
        """The classifier under test."""
        return self.main.subject

    def probe(self, role: str) -> Answers:
        """Return the answers on a further cohort.

        Raises:
            NotEvaluable: none was given.
        """
        if role not in self.probes:
            films = asked_for(role, of_findings=self.subject.whole is not None)
            raise NotEvaluable(f"no {films} were given (pass --probe-{role} SPEC)")
        return self.probes[role]

    def hospital(self, role: str) -> Answers:
        """Return the answers on the films of another hospital.

        Raises:
            NotEvaluable: none was given.
        """
        if role not in self.external:
            raise NotEvaluable("no films of another hospital were given (pass --external SPEC)")
        return self.external[role]


def gathered(
    name: str, answers: Callable[[str, str], Answers], *, roles: Sequence[str], without: Collection[str],
    peers: Sequence[str], looked: set[str], profile: str, seed: int, cache: Path, severities: tuple[int, ...],
) -> Evidence:  # fmt: skip
    """Return what there is of one subject, on a probe when somebody looks at it.

    Args:
        name: of the subject.
        answers: gives those of a subject on a cohort, by their names.
        roles: of the probes.
        without: roles that are not to be had.
        peers: the run's other subjects of the same classes.
        looked: takes the roles that somebody has looked at.
        profile: as `Evidence` has it, and so `seed`.
        seed: of the run.
        cache: as `Evidence` has it, and so `severities`.
        severities: of a range.
    """

    def there(role: str) -> Answers:
        looked.add(role)
        return answers(name, role)

    def beside(role: str) -> list[Answers]:
        mine = there(role)
        return [one for peer in peers if (one := answers(peer, role)).images == mine.images]

    return Evidence(
        main=answers(name, "main"), profile=profile, seed=seed, cache=cache, severities=severities,
        probes=WhenAsked((role for role in roles if not (is_external(role) or role in without)), there),
        external=WhenAsked(filter(is_external, roles), there), peers=WhenAsked(["main", *roles], beside),
    )  # fmt: skip
