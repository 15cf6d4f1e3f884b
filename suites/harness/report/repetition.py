"""What stands on the page already? A number or table that claims share is printed with the first of them.

Nothing is lost by it: results.csv holds every measure with every claim.
"""

from __future__ import annotations

from collections import Counter
from collections.abc import Container, Iterable, Mapping, Sequence
from dataclasses import dataclass

from suites.harness.claims import Judgement, Measure
from suites.harness.formatting.wording import spoken
from suites.harness.predictions.conditions import CLEAN
from suites.harness.report.results import all_measures
from suites.harness.report.table import Table, as_table

MOST_NUMBERS = 12
"""Numbers of a claim on the page; of more than that, a table of the claim tells the rest, or results.csv alone."""


class Printed:
    """What the page prints of one subject, claims in the order in which they are read.

    Args:
        judgements: on the subject.
        classes: identifiers of classes, which tables print in words.
    """

    def __init__(self, judgements: Sequence[Judgement], classes: Container[str]) -> None:
        self._measures: set[tuple[object, ...]] = set()
        self._tables = [
            (judgement.claim.id, spoken(title), as_table(frame, names=classes))
            for judgement in judgements
            for title, frame in (judgement.result.tables.items() if judgement.result else ())
        ]
        self._elsewhere = shown_with(self._tables)

    def numbers(self, measures: Sequence[Measure]) -> tuple[list[Measure], int]:
        """Return those of a claim's measures that are printed with it, and how many more the files beside have.

        The effect always is. Of the others those of clean films once on the page, any other once in its claim.

        Args:
            measures: of the claim, the effect first.
        """
        own: set[tuple[object, ...]] = set()
        shown: list[Measure] = []
        for measure in measures:
            key = (measure.name, measure.condition, measure.estimate, measure.low, measure.high, measure.n)
            if not shown or (key not in own and key not in self._measures):
                shown.append(measure)
            own.add(key)
            if measure.condition == CLEAN:
                self._measures.add(key)
        return shown[:MOST_NUMBERS], max(0, len(shown) - MOST_NUMBERS)

    def tables(self, claim: str) -> tuple[dict[str, Table], dict[str, str]]:
        """Return title -> table of those that are printed with a claim, and title -> claim that shows the others."""
        own = {title: table for whose, title, table in self._tables if whose == claim}
        elsewhere = {title: self._elsewhere[claim, title] for title in own if (claim, title) in self._elsewhere}
        return {title: table for title, table in own.items() if title not in elsewhere}, elsewhere


def shown_with(tables: Sequence[tuple[str, str, Table]]) -> dict[tuple[str, str], str]:
    """Return (claim, title) of every table that another one holds already -> the claim that shows that one.

    Args:
        tables: of one subject: id of the claim, title and table, in the order of the page.
    """
    found: dict[tuple[str, str], tuple[str, str]] = {}
    for at, (claim, title, table) in enumerate(tables):
        for other, (whose, named, larger) in enumerate(tables):
            alike = larger.rows == table.rows
            earlier = other < at and named == title
            if larger.columns == table.columns and ((alike and earlier) or (not alike and _holds(larger, table))):
                found[claim, title] = whose, named
                break

    def shown(place: tuple[str, str]) -> tuple[str, str]:
        return shown(found[place]) if place in found else place

    return {place: shown(place)[0] for place in found}


def _holds(larger: Table, table: Table) -> bool:
    return bool(table.rows) and all(row in larger.rows for row in table.rows)


def run_of(measures: Sequence[Measure], at: int, *names: str) -> int:
    """Return how many rows from row `at` on share these attributes; 0 where the row before shares them, too."""

    def of(row: int) -> list[object]:
        return [getattr(measures[row], name) for name in names]

    if at and of(at - 1) == of(at):
        return 0
    return next((row for row in range(at, len(measures)) if of(row) != of(at)), len(measures)) - at


@dataclass(frozen=True)
class Estimators:
    """How the intervals of a run were made: said once for all tables, with a letter for those made otherwise.

    Attributes:
        usual: how most were made; empty where there is none.
        others: letter -> how the others were made, as far as it is otherwise; the commonest first.
    """

    usual: str
    others: Mapping[str, str]

    @classmethod
    def of(cls, judgements: Iterable[Judgement]) -> Estimators:
        """Return those of a run."""
        counts = Counter(measure.estimator for judgement in judgements for measure in all_measures(judgement))
        names = [name for name, _ in counts.most_common()]
        return cls(names[0] if names else "", {_letter(at): name for at, name in enumerate(names[1:])})

    def letter(self, estimator: str) -> str:
        """Return the letter of an interval; empty for the usual one."""
        return next((letter for letter, name in self.others.items() if name == estimator), "")

    def told(self) -> list[tuple[str, str]]:
        """Return (letter, how it was made otherwise than usual) of the others."""
        return [(letter, name.removeprefix(self.usual).removeprefix(", ")) for letter, name in self.others.items()]


def _letter(at: int) -> str:
    """Return `a` to `z`, then `aa`, `ab` and so on."""
    first, last = divmod(at, 26)
    return (_letter(first - 1) if first else "") + "abcdefghijklmnopqrstuvwxyz"[last]
