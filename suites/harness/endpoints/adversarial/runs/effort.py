"""How many passes does an attack take of a film? For the plan of a run, and to say how far an attack is.

Counted on the demonstration subject (quick; the ensemble of standard); those of full from the steps of its attacks. A
subject that falls sooner takes fewer, one that stands takes more.
"""

from __future__ import annotations

import math
from collections.abc import Mapping

from suites.harness.endpoints.adversarial.runs.access import FILM, INPUT

Passes = tuple[float, float]
"""Forward passes, and backward passes, of one film."""
ENSEMBLE: Mapping[str, Passes] = {"quick": (82, 50), "standard": (870, 190), "full": (5000, 1000)}
"""Of the ensemble that verdicts rest on."""
TABLE: Mapping[str, Passes] = {"quick": (200, 70), "standard": (900, 330), "full": (3900, 1000)}
"""Of the further lines of the side-by-side table together."""
CONTROL: Passes = (6, 0)
CHECKS = 8 * 60
"""Forward passes in which the trust in an attack is checked."""
LINES = (
    (INPUT, "ensemble"),
    ("l2/grey", "ensemble"),
    ("linf/colour", "ensemble"),
    (FILM, "ensemble"),
    (INPUT, "fgsm"),
    (INPUT, "pgd"),
    (INPUT, "apgd"),
    (INPUT, "square"),
    (INPUT, "noise"),
    (INPUT, "blank"),
)
"""Threat models and attacks of that table."""
CLAIMED = frozenset({(INPUT, "ensemble"), (INPUT, "noise"), (FILM, "ensemble")})
"""Lines that run on more films for the claims; their part on the films of this table costs nothing more."""
TABLE_LINES = sum(line not in CLAIMED for line in LINES)


def passes_of(protocol: str, profile: str, *, compared: bool) -> float:
    """Return about how many passes, forward and backward, an attack of a profile takes of a film.

    Args:
        protocol: of `protocols.plan_of`.
        profile: of the run.
        compared: for the side-by-side table only, whose lines are taken for equal.
    """
    if compared:
        return sum(TABLE[profile]) / TABLE_LINES
    return sum(ENSEMBLE[profile] if protocol == "ensemble" else CONTROL)


def share(passes: float, expected: float) -> float:
    """Return how much of its work was done by so many passes where so many were expected; never all of it."""
    done = passes / expected
    return done if done < 0.8 else 1.0 - 0.2 * math.exp(-(done - 0.8) / 0.2)
