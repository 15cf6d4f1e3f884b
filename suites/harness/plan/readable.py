"""Which films cannot be read? Tried before the work, all over the cohort, as many as some seconds allow.

What cannot be read at all fails at once, so that folders of it are through in no time. A cohort that tells its films
apart without decoding them, as the simulated ones do, is only asked for that.
"""

from __future__ import annotations

import time
from collections.abc import Callable, Iterable, Mapping
from dataclasses import dataclass, field
from pathlib import Path

import numpy as np

from suites.harness.cohorts.cohort import Cohort
from suites.harness.errors import one_line
from suites.harness.predictions.opened import opened

SECONDS, ONCE_BROKEN = 2.0, 20.0
"""For which the films of a run are tried, and of those with an unreadable one among them: there may be more."""
AT_ONCE = 16
"""Films between two looks at the clock."""
NAMED = 3
"""Unreadable films that a line names."""


@dataclass(frozen=True, kw_only=True)
class Tried:
    """What came of trying the films of one cohort.

    Attributes:
        films: of the cohort; `tried` so many of them.
        unreadable: id of a film that cannot be read -> its file and why.
    """

    films: int
    tried: int
    unreadable: Mapping[str, tuple[str, str]] = field(default_factory=dict)

    def line(self) -> str:
        """Return how many cannot be read, and the first of them with the reason; empty where all can be."""
        if not self.unreadable:
            return ""
        first = list(self.unreadable.items())[:NAMED]
        told = [why if Path(file).name in why else f"{name}: {why}" for name, (file, why) in first]
        count = len(self.unreadable)
        of = f"of {self.films:,} films" if self.tried == self.films else f"of {self.tried:,} films that were tried"
        verb, more = "is" if count == 1 else "are", "; ..." if count > NAMED else ""
        return (
            f"{count:,} {of} cannot be read and {verb} left out: {'; '.join(one_line(one, 80) for one in told)}{more}"
        )


def tried(cohorts: Iterable[tuple[str, Cohort]], clock: Callable[[], float] = time.monotonic) -> dict[str, Tried]:
    """Return, by role, what came of trying the films of each cohort; the time is that of all of them together.

    Args:
        cohorts: role and films; the first batch of each is tried in any case.
        clock: gives seconds.
    """
    began, found = clock(), {}
    for role, cohort in cohorts:
        seen, broken = 0, dict[str, tuple[str, str]]()
        order = np.random.default_rng(0).permutation(len(cohort))  # a step of some films might miss every broken one
        for start in range(0, len(cohort), AT_ONCE):
            if start and clock() - began > (ONCE_BROKEN if broken else SECONDS):
                break
            rows = cohort.rows(order[start : start + AT_ONCE])
            films, unreadable = opened(cohort, rows)
            readable = {film.key[0] for film in films}
            missing = [str(row["id"]) for row in rows if str(row["id"]) not in readable]
            broken |= dict(zip(missing, unreadable, strict=True))
            seen += len(rows)
        found[role] = Tried(films=len(cohort), tried=seen, unreadable=broken)
    return found
