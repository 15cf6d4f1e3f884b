"""What is claimed, what was measured, and what may a verdict be? The limitations page in a form that can be judged.

The claims live in one TOML table (see `suites.harness.claims_table`), margins fixed before looking. An endpoint
(see `suites.harness.endpoints`) turns the prediction table into measures; the first one, the effect, is held against
the margin here.
"""

from __future__ import annotations

import sys
from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass, field
from enum import StrEnum
from typing import Any, Literal

import pandas as pd
from matplotlib.figure import Figure
from PIL import Image

from suites.harness.errors import UsageProblem

Kind = Literal["limitation", "requirement"]
LARGEST_SIZE = 1e3
"""Of a margin or a documented size: shares are at most 1, grey levels 255, nats fewer than 1000."""
Unit = Literal["share", "points", "width", "count", "levels", "nats", "plain"]
"""How a number is printed: a share as `82.4 %`, a difference of shares as `−7.3 pp`, half an interval of shares as
`2.2 pp`, a count, grey levels of 255, nats, or a plain decimal."""


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
        two_classes: `statement` and parameters in their place for a subject that tells only ill from healthy, with
            `{ill}` and `{healthy}` for its classes (see `cohorts.class_roles`); empty where the claim reads the same.
        finding: the same for a subject of several findings, which is asked about each of them, `id` its name there (see
            `table_ids`), `section` and `remedy` in place of its own, `short` what a table of findings calls it; or, as
            `not_evaluable`, why it cannot be asked. By default as of two classes.
        per: `finding` for a claim that is made of findings only.
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
    two_classes: Mapping[str, Any] = field(default_factory=dict)
    finding: Mapping[str, Any] = field(default_factory=dict)
    per: Literal["", "finding"] = ""

    def __post_init__(self) -> None:
        if self.kind not in ("limitation", "requirement"):
            raise UsageProblem(f"claim {self.id}: kind must be 'limitation' or 'requirement', not {self.kind!r}")
        if self.per not in ("", "finding"):
            raise UsageProblem(f"claim {self.id}: per must be 'finding' or left out, not {self.per!r}")
        if self.direction not in ("above", "below"):
            raise UsageProblem(f"claim {self.id}: direction must be 'above' or 'below', not {self.direction!r}")
        for name, value in (("margin", self.margin), ("documented", self.documented)):
            if value is not None and not _finite(value):
                shown = repr(value)[:20] if isinstance(value, float | str) else f"one of type {type(value).__name__}"
                raise UsageProblem(f"claim {self.id}: {name} must be a finite number, not {shown}")
            if value is not None and abs(value) > LARGEST_SIZE:
                raise UsageProblem(
                    f"claim {self.id}: {name} is {value:.3g}, which nothing measured here can reach; it is in the unit "
                    "of the effect, 0.1 for ten points or 10 % of the films"
                )


def _finite(value: object) -> bool:
    return isinstance(value, int | float) and not isinstance(value, bool) and abs(value) < sys.float_info.max


@dataclass(frozen=True, kw_only=True)
class Measure:
    """A number with its interval.

    Attributes:
        name: the field's snake_case name (`accuracy`, `recall_viral_pneumonia`, `ece`, `flip_rate`, ...).
        condition: what was done to the films (`clean`, `gamma_low@3`, a probe's name, a difference `a - b`).
        estimate: point estimate; `low`, `high` the interval's ends (equal to the estimate for an exact count).
        n: films; `patients`: whose they are, None where nobody knows (a published table counts films only).
        estimator: how it was computed, interval included (`patient bootstrap, B=2000, 95 %`).
        unit: in which it is printed; margins and documented sizes of a claim are in that of its effect.
        exploratory: the cell is small: what is said of it holds for these films only.
        smallest: films of the smallest class (or kind of unseen finding) among the n; 0 where they are of one.
        too_few: why no verdict may rest on the interval, too few patients for it to hold; empty where one may.
    """

    name: str
    condition: str
    estimate: float
    low: float
    high: float
    n: int
    patients: int | None
    estimator: str
    unit: Unit
    exploratory: bool = False
    smallest: int = 0
    too_few: str = ""


@dataclass(frozen=True, kw_only=True)
class Headroom:
    """How much a subject has to lose on these films, and how much of that a claim needs.

    A subject that always answers the same loses nothing under any change. That is neither robust nor safe, so a verdict
    that a reader would take for either needs something that could have been lost.

    Attributes:
        measure: the largest effect the subject could show, or its skill, with its interval.
        bar: what it must surely exceed, or with `side` `below` surely stay under.
        alarms: whether the verdict that the subject fails needs it as well (a low score that is as low untouched).
    """

    measure: Measure
    bar: float
    side: Literal["above", "below"] = "above"
    alarms: bool = False

    @property
    def sure(self) -> bool:
        """Whether the whole interval is on the side it must be on; False where there is no number."""
        return self.measure.low > self.bar if self.side == "above" else self.measure.high < self.bar


@dataclass(frozen=True)
class Label:
    """What stands beneath a tile: what it shows, what is said of it, and if that is `right`, `wrong` or neither."""

    title: str
    note: str = ""
    tone: str = ""


@dataclass(frozen=True)
class Tiles:
    """A picture of equal tiles side by side, without a letter in it: the page writes beneath each what it is.

    Attributes:
        picture: the tiles in one row, no space between them.
        labels: of the tiles, from left to right.
    """

    picture: Image.Image
    labels: Sequence[Label]


@dataclass(frozen=True)
class Drawn:
    """A picture as it will lie in its file.

    Attributes:
        content: bytes of the file.
        suffix: `svg` for a curve, `jpg` for a film.
        size: width and height in CSS pixels.
        labels: of its tiles, where it is a row of them.
    """

    content: bytes
    suffix: str
    size: tuple[int, int]
    labels: Sequence[Label] = ()


Draw = Callable[[], Figure | Image.Image | Tiles | Drawn]


@dataclass(frozen=True, kw_only=True)
class Help:
    """Something that was measured to make a subject better on these films, its whole interval on the good side.

    Attributes:
        sentence: what it is and what it gains, with numbers.
        gain: the measure behind it, larger being better.
    """

    sentence: str
    gain: Measure


@dataclass(frozen=True, kw_only=True)
class Result:
    """What an endpoint found for one claim and one subject.

    Attributes:
        effect: the measure held against the margin.
        p_beyond: one-sided p of the hypothesis that the effect does not lie beyond the margin.
        p_within: one-sided p of the hypothesis that it does; both `None` for exact counts.
        headroom: what the subject has to lose, every one must be sure; empty where no subject has anything to lose.
        only_beyond: why nothing can be concluded from an effect within the margin, where that is so (a search for
            weaknesses that may have missed them); `p_within` is 1 then.
        only_within: the same for an effect beyond the margin (an attack that takes hardly anything); `p_beyond` is 1.
        unproven: why nothing can be concluded on either side, where that is so (a map that may show nothing the subject
            learned); both p are 1 then.
        caveat: what every verdict on it must say as well (a search that can only ever find more).
        films: what the n of the effect counts, in words (`viral pneumonia films`).
        measures: everything else worth printing.
        summary: a few sentences with the numbers, for a reader in a hurry.
        finding: what was found, in one short sentence that is true whatever the verdict; by default the first sentence
            of the summary.
        helps: what was measured to make it better, surely on these films.
        figures: file stem -> a function drawing the figure (called only when a report is written).
        tables: title -> table for the report.
        needed: films needed for a verdict when this one is inconclusive, where it can be said.
        settled: False where a later run on the same answers may show more (an attack that has not been run yet).
        files: name, of its own per subject -> (text, what it holds), written beside results.json and linked.
    """

    effect: Measure
    p_beyond: float | None = None
    p_within: float | None = None
    headroom: Sequence[Headroom] = ()
    only_beyond: str = ""
    only_within: str = ""
    unproven: str = ""
    caveat: str = ""
    films: str = "films"
    measures: Sequence[Measure] = ()
    summary: str = ""
    finding: str = ""
    helps: Sequence[Help] = ()
    figures: Mapping[str, Draw] = field(default_factory=dict)
    tables: Mapping[str, pd.DataFrame] = field(default_factory=dict)
    galleries: Mapping[str, Sequence[GalleryItem]] = field(default_factory=dict)
    needed: int | None = None
    settled: bool = True
    files: Mapping[str, tuple[str, str]] = field(default_factory=dict)


@dataclass(frozen=True, kw_only=True)
class GalleryItem:
    """One picture of a gallery.

    Attributes:
        caption: stands under it (escaped by the page).
        draw: gives the picture, called only when a report is written.
        facts: what the page shows with it; a gallery can be filtered by class, method and condition.
        details: gives plain JSON values to be written beside the picture, where there are any.
    """

    caption: str
    draw: Draw
    facts: Mapping[str, object] = field(default_factory=dict)
    details: Callable[[], Mapping[str, object]] | None = None


@dataclass(frozen=True, kw_only=True)
class Judgement:
    """A claim, the subject it was judged on, the result, and the verdict with its reason.

    Attributes:
        because: in a few words, why the verdict is not what the interval and the margin alone would say; else empty.
    """

    claim: Claim
    subject: str
    verdict: Verdict
    reason: str
    result: Result | None = None
    beyond_documented: bool = False
    because: str = ""
