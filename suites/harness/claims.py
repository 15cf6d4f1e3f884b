"""Claims, measures and verdicts: the sentences of the limitations page in a form that can be judged.

The claims live in one TOML table (`suites/claims.toml`, or `--claims FILE`), margins fixed before looking. An endpoint
(see `suites.harness.endpoints`) turns the prediction table into measures; the first one, the effect, is held against
the margin here.
"""

from __future__ import annotations

import math
from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass, field
from enum import StrEnum
from pathlib import Path
from typing import Any, Literal

import pandas as pd
from matplotlib.figure import Figure

from suites.harness.errors import UsageProblem

DEFAULT_TABLE = Path(__file__).parent.parent / "claims.toml"
Kind = Literal["limitation", "requirement"]


class Verdict(StrEnum):
    """What the evidence says about a claim."""

    SUPPORTED = "supported"
    NOT_SUPPORTED = "not_supported"
    MET = "met"
    VIOLATED = "violated"
    INCONCLUSIVE = "inconclusive"
    NOT_EVALUABLE = "not_evaluable"


@dataclass(frozen=True, kw_only=True)
class Claim:
    """One sentence of the page, with the rule that judges it.

    Attributes:
        id: unique, dotted: `<section slug>.<name>`; a suite picks its claims by the part before the dot.
        section: heading under which the report prints it; Holm runs over the claims of one section.
        statement: one line in our words.
        kind: a documented `limitation` (we expect the harm) or a `requirement` (we demand its absence).
        endpoint: name of a registered endpoint.
        margin: the effect beyond which a limitation counts, or which a requirement must reach.
        direction: `above` when a larger effect speaks for the claim, `below` when a smaller one does.
        documented: size up to which the page admits the harm; an effect surely beyond it fails.
        parameters: whatever else the endpoint takes (measure, conditions, class, ...).
        remedy: one line: what would help.
    """

    id: str
    section: str
    statement: str
    kind: Kind
    endpoint: str
    margin: float
    direction: Literal["above", "below"] = "above"
    documented: float | None = None
    remedy: str = ""
    parameters: Mapping[str, Any] = field(default_factory=dict)

    def __post_init__(self) -> None:
        if self.kind not in ("limitation", "requirement"):
            raise UsageProblem(f"claim {self.id}: kind must be 'limitation' or 'requirement', not {self.kind!r}")
        if self.direction not in ("above", "below"):
            raise UsageProblem(f"claim {self.id}: direction must be 'above' or 'below', not {self.direction!r}")
        if not math.isfinite(self.margin):
            raise UsageProblem(f"claim {self.id}: margin must be a finite number, not {self.margin}")


@dataclass(frozen=True, kw_only=True)
class Measure:
    """A number with its interval.

    Attributes:
        name: the field's snake_case name (`accuracy`, `recall_viral_pneumonia`, `ece`, `flip_rate`, ...).
        condition: what was done to the films (`clean`, `gamma_low@3`, a probe's name, a difference `a - b`).
        estimate: point estimate; `low`, `high` the interval's ends (equal to the estimate for an exact count).
        n: films; `patients`: clusters the interval was drawn over.
        estimator: how it was computed, interval included (`patient bootstrap, B=2000, 95 %`).
        exploratory: the cell is too small to rest a verdict on.
    """

    name: str
    condition: str
    estimate: float
    low: float
    high: float
    n: int
    patients: int
    estimator: str
    exploratory: bool = False


@dataclass(frozen=True, kw_only=True)
class Result:
    """What an endpoint found for one claim and one subject.

    Attributes:
        effect: the measure held against the margin.
        p_beyond: one-sided p of the hypothesis that the effect does not lie beyond the margin.
        p_within: one-sided p of the hypothesis that it does; both `None` for exact counts.
        measures: everything else worth printing.
        summary: one sentence with the numbers, for a reader in a hurry.
        figures: file stem -> a function drawing the figure (called only when a report is written).
        tables: title -> table for the report.
        needed: films needed for a verdict when this one is inconclusive, where it can be said.
    """

    effect: Measure
    p_beyond: float | None = None
    p_within: float | None = None
    measures: Sequence[Measure] = ()
    summary: str = ""
    figures: Mapping[str, Callable[[], Figure]] = field(default_factory=dict)
    tables: Mapping[str, pd.DataFrame] = field(default_factory=dict)
    galleries: Mapping[str, Sequence[GalleryItem]] = field(default_factory=dict)
    needed: int | None = None


@dataclass(frozen=True, kw_only=True)
class GalleryItem:
    """One picture of a gallery: how to draw it, and the caption under it (escaped by the page)."""

    caption: str
    draw: Callable[[], Figure]
    facts: Mapping[str, object] = field(default_factory=dict)


@dataclass(frozen=True, kw_only=True)
class Judgement:
    """A claim, the subject it was judged on, the result, and the verdict with its reason."""

    claim: Claim
    subject: str
    verdict: Verdict
    reason: str
    result: Result | None = None
    beyond_documented: bool = False
