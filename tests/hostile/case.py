"""What may come of an input nobody asked for? Each case says what is done with it, and what is right.

A generator makes one case from a seeded source of random numbers and an empty folder of its own::

    @generator("sizes", share=20)
    def many_simulated_films(rng, place):
        count = 10 ** rng.randint(8, 18)
        return refused(lambda: load_cohort(f"phantom:n={count}"), what=f"n={count}", where="n=")

`share` is how many of them a whole run has, of about five thousand. A case is known by `kind.generator-number`, and is
made anew from that name.
"""

from __future__ import annotations

import random
from collections.abc import Callable, Iterator
from dataclasses import dataclass
from pathlib import Path
from typing import Any

Act = Callable[[], Any]
Right = Callable[[Any], object]
"""Of what came out: whether it is right, or what is wrong with it in words."""


@dataclass(frozen=True)
class Case:
    """One input.

    Attributes:
        act: gives it to a public entry point.
        what: the input in a few words, for a person who reads a finding.
        right: judges what was accepted; `None`: nothing of it may be accepted.
        refusable: one line may refuse it as well.
        where: what a refusal has to name, the file or the key; `a|b`: one of them.
    """

    act: Act
    what: str
    right: Right | None
    refusable: bool
    where: str


def refused(act: Act, *, what: str, where: str = "") -> Case:
    """Return a case that one line must refuse."""
    return Case(act, what, None, refusable=True, where=where)


def accepted(act: Act, right: Right, *, what: str) -> Case:
    """Return a case of something people legitimately have: it works, and the result is right."""
    return Case(act, what, right, refusable=False, where="")


def either(act: Act, right: Right, *, what: str, where: str = "") -> Case:
    """Return a case that may be refused or accepted, but not misread."""
    return Case(act, what, right, refusable=True, where=where)


Make = Callable[[random.Random, Path], Case]


@dataclass(frozen=True)
class Generator:
    """A function that makes cases, of which kind it is, and how many of them a usual run has."""

    kind: str
    make: Make
    share: int

    @property
    def name(self) -> str:
        return f"{self.kind}.{self.make.__name__}"


GENERATORS: dict[str, Generator] = {}


def generator(kind: str, *, share: int) -> Callable[[Make], Make]:
    """Register a function that makes cases of a kind."""

    def enter(make: Make) -> Make:
        known = Generator(kind, make, share)
        assert known.name not in GENERATORS, f"two generators are called {known.name}"
        GENERATORS[known.name] = known
        return make

    return enter


def named(name: str, place: Path) -> Case:
    """Return the case of a name, made anew in an empty folder."""
    known, _, _ = name.rpartition("-")
    return GENERATORS[known].make(random.Random(name), place)


def names(times: float = 1) -> Iterator[str]:
    """Give the names of a run that has so many times the usual cases, kinds mixed."""
    spread = [
        ((number + 0.5) / count, f"{known.name}-{number}")
        for known in GENERATORS.values()
        for count in [max(1, round(known.share * times))]
        for number in range(count)
    ]
    return (name for _, name in sorted(spread))
