"""What stands on the page already? A number or table that claims share is printed with the first of them.

Nothing is lost by it: results.csv holds every measure with every claim.
"""

from __future__ import annotations

from collections import Counter
from collections.abc import Iterable, Mapping, Sequence
from typing import TypeVar

from suites.harness.claims import Judgement, Measure
from suites.harness.predictions.conditions import CLEAN
from suites.harness.report.results import all_measures

MOST_NUMBERS = 24
"""Numbers of a claim on the page; of more than that, a table of the claim tells the rest, or results.csv alone."""
Shown = TypeVar("Shown")


class Printed:
    """What the page has printed of one subject so far, claims in the order in which they are read."""

    def __init__(self) -> None:
        self._measures: set[tuple[object, ...]] = set()
        self._tables: dict[str, str] = {}

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

    def tables(self, claim: str, tables: Mapping[str, Shown]) -> tuple[dict[str, Shown], dict[str, str]]:
        """Return the tables that are printed with a claim, and the others with the claim that shows them.

        Args:
            claim: its id.
            tables: title -> table.
        """
        fresh, elsewhere = {}, {}
        for title, table in tables.items():
            first = self._tables.setdefault(f"{title}\n{table!r}", claim)
            if first == claim:
                fresh[title] = table
            else:
                elsewhere[title] = first
        return fresh, elsewhere


def usual_estimator(judgements: Iterable[Judgement]) -> str:
    """Return how most intervals of a run were made, which is said once for all of them; empty where there are none."""
    counts = Counter(measure.estimator for judgement in judgements for measure in all_measures(judgement))
    return counts.most_common(1)[0][0] if counts else ""


def otherwise(estimator: str, usual: str) -> str:
    """Return how an interval was made, as far as it was made otherwise than usual."""
    return estimator.removeprefix(usual).removeprefix(", ") if usual else estimator
