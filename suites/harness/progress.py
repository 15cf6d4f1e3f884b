"""How far is a run, what is it doing, and how long will it take? One small object that is handed down and told.

Whoever does the work says so; nobody who works knows whether anybody looks. What is shown, and where, is for whoever
owns the terminal (`suites.progress_line`); a run from Python shows nothing of it.
"""

from __future__ import annotations

import time
from collections.abc import Callable, Iterator, Mapping
from contextlib import contextmanager
from dataclasses import dataclass
from typing import Literal

Stage = Literal["checking", "predicting", "measuring", "attacking", "explaining", "drawing"]
STAGES: Mapping[Stage, str] = {
    "checking": "films x subjects",
    "predicting": "films x conditions",
    "measuring": "claims",
    "attacking": "films x attacks",
    "explaining": "maps",
    "drawing": "pictures",
}
"""What a run does, in this order, and what its units are."""


TRIED = 0.1
"""Share of a stage after which its rate is taken as measured; before, the planned one fades out."""


@dataclass
class Work:
    """One stage of a run.

    Attributes:
        units: planned, as far as they can be counted before they are done; 0 where nobody knows.
        seconds: that they were expected to take, nan where nobody knows; `spent` those they have taken so far.
        done: units finished, those that were found in the cache among them; `found` only these.
        part: units that are under way, each counted as the share of it that is done.
        worth: of all planned units, in the time of a unit that is worth one; `earned` by what is done, `given` by what
            was found, and `each` what the unit at work is worth.
        began: whether it has been worked on.
        films: planned to be decoded for it, each worth `film`; `decoded` so far.
    """

    units: int = 0
    seconds: float = 0.0
    done: int = 0
    found: int = 0
    part: float = 0.0
    worth: float = 0.0
    earned: float = 0.0
    given: float = 0.0
    each: float = 1.0
    spent: float = 0.0
    began: bool = False
    films: int = 0
    film: float = 0.0
    decoded: int = 0

    @property
    def made(self) -> float:
        """Units that were not in the cache, the share of those under way among them."""
        return self.done - self.found + self.part

    @property
    def todo(self) -> float:
        """What is left, by its worth."""
        units = 0.0 if self.done >= self.units else max(0.0, self.worth - self.earned - self.part * self.each)
        return units + self.film * max(0, self.films - self.decoded)

    def left(self, spent: float) -> float:
        """Return about how many seconds are left after so many: by the rate so far, at first rather as planned."""
        planned = self.worth + self.film * self.films
        if self.made <= 0 or spent <= 0:
            return self.seconds * self.todo / planned if planned else max(0.0, self.seconds - spent)
        made = self.earned - self.given + self.part * self.each + self.film * self.decoded
        trust = min(1.0, made / (TRIED * planned)) if planned and self.seconds > 0 else 1.0
        rate = trust * spent / made + ((1.0 - trust) * self.seconds / planned if trust < 1.0 else 0.0)
        return self.todo * rate


class Progress:
    """What a run has done of what was planned.

    Its seconds are those of the clock, each counted to one stage only: the innermost that is being worked on.

    Args:
        clock: gives seconds.

    Example:
        >>> ticks = iter([0.0, 10.0, 10.0])
        >>> progress = Progress(lambda: next(ticks))
        >>> progress.expect("predicting", units=40)
        >>> with progress.doing("predicting", "24 films of phantom"):
        ...     progress.done(10)
        >>> progress.line()
        'predicting 24 films of phantom: 10 of 40 films x conditions, 1.0/s; about 30 s left of the run'
    """

    def __init__(self, clock: Callable[[], float] = time.monotonic) -> None:
        self.work: dict[Stage, Work] = {stage: Work() for stage in STAGES}
        self._clock = clock
        self._stack: list[tuple[Stage, str]] = []
        self._counted = set[str]()
        self._last: tuple[Stage, str] | None = None
        self._since = 0.0

    def expect(
        self,
        stage: Stage,
        *,
        units: int,
        seconds: float | None = None,
        films: int = 0,
        film: float = 0.0,
        worth: float | None = None,
    ) -> None:
        """Say how much of a stage there will be in the whole run, and about how long it will take.

        Args:
            stage: of the run; nothing more is expected of one that is over before anybody planned it.
            units: of it.
            seconds: for all of them; what was expected before where none are given.
            films: that are decoded for it.
            film: units that take as long as one film takes to be decoded.
            worth: of all of them, where one takes longer than another; each is worth one where it is not given.
        """
        work = self.work[stage]
        if work.began and not work.units and not self._stack:
            return
        work.units, work.films, work.film = units, films, film
        work.worth = units if worth is None else worth
        work.seconds = work.seconds if seconds is None else seconds

    @property
    def expected(self) -> float:
        """Seconds that the run was expected to take; 0 where nobody planned it."""
        return sum(work.seconds for work in self.work.values())

    @contextmanager
    def doing(self, stage: Stage, what: str = "", *, each: float = 1.0) -> Iterator[None]:
        """Count what passes within the block as that stage's.

        Args:
            stage: of the run.
            what: on what, for the reader.
            each: what a unit of it is worth.
        """
        self._book()
        self._stack.append((stage, what))
        self._last = stage, what
        work = self.work[stage]
        outer, work.began, work.each = work.each, True, each
        try:
            yield
        finally:
            self._book()
            self._stack.pop()
            work.part, work.each = 0.0, outer

    def done(self, units: int = 1) -> None:
        """Say that so many units of the stage at work are finished."""
        if self._stack:
            work = self.work[self._stack[-1][0]]
            work.done += units
            work.earned += units * work.each
            work.part = max(0.0, work.part - units)

    def under_way(self, units: float) -> None:
        """Say that of units of the stage at work which are not finished so much is done, by share, in all of them."""
        if self._stack:
            self.work[self._stack[-1][0]].part = units

    def decoded(self, films: int = 1) -> None:
        """Say that one film more, or several, are through with the stage at work."""
        if self._stack:
            self.work[self._stack[-1][0]].decoded += films

    def found(self, units: int, once: str = "") -> None:
        """Say that so many units of the stage at work need not be done: the cache has them.

        Args:
            units: of the stage.
            once: names work that several ask for, and that counts the first time only.
        """
        if once and once in self._counted:
            return
        self._counted.add(once)
        self.done(units)
        if self._stack:
            work = self.work[self._stack[-1][0]]
            work.found += units
            work.given += units * work.each

    def _book(self) -> None:
        now = self._clock()
        if self._stack:
            self.work[self._stack[-1][0]].spent += now - self._since
        self._since = now

    def spent(self) -> dict[Stage, float]:
        """Return the seconds that each stage has taken, those of the one at work until now among them."""
        seconds = {stage: work.spent for stage, work in self.work.items()}
        if self._stack:
            seconds[self._stack[-1][0]] += self._clock() - self._since
        return seconds

    def left(self) -> float:
        """Return about how many seconds the rest of the run will take."""
        spent = self.spent()
        over = max((place for place, work in enumerate(self.work.values()) if work.began), default=0)
        return sum(
            work.left(spent[stage])
            for place, (stage, work) in enumerate(self.work.items())
            if place >= over or work.units  # of a stage whose units nobody counted, nothing is left once another began
        )

    def line(self, columns: int | None = None) -> str:
        """Return what is being done, how much of it, how fast, and what is left of the whole run; empty before all.

        Args:
            columns: that there are; where they do not do, what it is done to is shortened, never how much is left.
        """
        now = self._stack[-1] if self._stack else self._last
        if now is None:
            return ""
        stage, what = now
        work, spent = self.work[stage], self.spent()
        told = ""
        if work.units:
            planned = f" of {work.units:,}" if work.done <= work.units else ""
            done = f"{work.done + work.part:,.1f}" if work.part else f"{work.done:,}"
            told = f"{':' if what else ''} {done}{planned} {STAGES[stage]}"
            if work.made > 0 and spent[stage] > 0:
                told += f", {_rate(work.made / spent[stage])}"
        left = self.left()
        told += f"; about {duration(left)} left of the run" if left >= 1 else ""
        if columns is not None and len(stage) + 1 + len(what) + len(told) > columns:
            told = told.removesuffix(" of the run")
            room = columns - len(stage) - 1 - len(told)
            what = what if len(what) <= room else f"{what[: max(0, room - 1)]}…"
        return f"{stage} {what}{told}" if what else f"{stage}{told}"


def _rate(per_second: float) -> str:
    return (
        f"{per_second:,.0f}/s"
        if per_second >= 10
        else f"{per_second:.1f}/s"
        if per_second >= 0.1
        else (f"{60 * per_second:.1f}/min")
    )


def duration(seconds: float) -> str:
    """Return a time as a reader plans with it: `40 s`, `3 min`, `1 h 20 min`."""
    if seconds < 90:
        return f"{max(1, round(seconds)):.0f} s"
    minutes = round(seconds / 60)
    hours, rest = divmod(minutes, 60)
    return f"{hours} h {rest} min" if hours else f"{minutes} min"
