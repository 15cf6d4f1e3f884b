"""Which films allow no such change, and why? Counted and named: a film that is missing is part of what was found."""

from __future__ import annotations

import re
from collections.abc import Iterable
from dataclasses import dataclass

import numpy as np
import numpy.typing as npt
import pandas as pd

from suites.harness.errors import NotEvaluable, one_line
from suites.harness.predictions.answers import Answers

Films = npt.NDArray[np.bool_]
NAMED, REASONS = 3, 2
"""How many films of a reason, and how many reasons, a sentence names; the table holds all."""


@dataclass(frozen=True, kw_only=True)
class Refused:
    """The films under question for which a condition is undefined.

    Attributes:
        asked: films under question.
        films: (N,) those of them on which every condition is defined.
        reasons: film -> (first condition that is undefined for it, why).
    """

    asked: int
    films: Films
    reasons: dict[str, tuple[str, str]]

    @classmethod
    def of(cls, answers: Answers, conditions: Iterable[str], among: Films) -> Refused:
        """Return which of `among` (N,) are answered under all the conditions.

        Raises:
            NotEvaluable: none of them is, though some were asked about; the message says why.
        """
        films, reasons = among.copy(), {}
        for condition in conditions:
            why = answers.undefined(condition)
            for index in np.flatnonzero(films & (why != "")):
                reasons[answers.images[index]] = condition, _plain(str(why[index]))
            films &= why == ""
        found = cls(asked=int(among.sum()), films=films, reasons=reasons)
        if reasons and not films.any():
            raise NotEvaluable(one_line(found.sentence.rstrip("."), 290))
        return found

    @property
    def sentence(self) -> str:
        """How many films were refused, for which reasons, and which; empty where none was."""
        if not self.reasons:
            return ""
        by_reason: dict[str, list[str]] = {}
        for image, (_, why) in self.reasons.items():
            by_reason.setdefault(why, []).append(image)
        told = []
        for why, images in sorted(by_reason.items(), key=lambda item: -len(item[1]))[:REASONS]:
            named = ", ".join(one_line(image, 30) for image in images[:NAMED])
            told.append(f"{one_line(why, 60)} ({len(images)}: {named}{', ...' if len(images) > NAMED else ''})")
        more = f"; and {len(by_reason) - REASONS} further reasons" if len(by_reason) > REASONS else ""
        return f"Not evaluable on {len(self.reasons)} of {self.asked} films: {'; '.join(told)}{more}."

    @property
    def tables(self) -> dict[str, pd.DataFrame]:
        """Every refused film with the condition and the reason, under its title; empty where none was refused."""
        if not self.reasons:
            return {}
        rows = [(image, condition, why) for image, (condition, why) in self.reasons.items()]
        title = f"Films it is not evaluable on ({len(rows)} of {self.asked})"
        return {title: pd.DataFrame(rows, columns=["film", "condition", "reason"])}


def _plain(reason: str) -> str:
    """Return a reason without what is special to one film (numbers in brackets) and without the name before it."""
    told = re.sub(r" \([^()]*\)", "", re.sub(r"^\w+ is undefined: ", "", reason))
    return told.strip() or reason
