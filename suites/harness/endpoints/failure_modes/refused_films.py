"""Which films allow no such change, and why? Counted and named: a film that is missing is part of what was found."""

from __future__ import annotations

import re
from collections.abc import Iterable
from dataclasses import dataclass, field

import numpy as np
import numpy.typing as npt
import pandas as pd

from suites.harness.errors import NotEvaluable, one_line
from suites.harness.formatting.wording import plain_name
from suites.harness.predictions.answers import Answers

Films = npt.NDArray[np.bool_]
NAMED, REASONS = 2, 3
"""How many films of a reason, and how many reasons, a sentence names."""
LISTED = 20
"""How many films of a reason the table names."""
ALL_OF_THEM = "all in predictions.parquet, column undefined"


@dataclass(frozen=True, kw_only=True)
class Refused:
    """The films under question for which a condition is undefined.

    Attributes:
        asked: films under question.
        films: (N,) those of them on which every condition is defined.
        reasons: film -> (first condition that is undefined for it, why).
        by_class: class -> (refused, asked) of its films; those refused are seldom like those left.
    """

    asked: int
    films: Films
    reasons: dict[str, tuple[str, str]]
    by_class: dict[str, tuple[int, int]] = field(default_factory=dict)

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
        by_class = {
            name: (int((mine & ~films).sum()), int(mine.sum()))
            for index, name in enumerate(answers.subject.classes)
            if (mine := among & (answers.labels == index)).any()
        }
        found = cls(asked=int(among.sum()), films=films, reasons=reasons, by_class=by_class)
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
            named = ", ".join(one_line(image.rpartition("/")[2] or image, 40) for image in images[:NAMED])
            told.append(f"{one_line(why, 100)} ({len(images)}: {named}{', ...' if len(images) > NAMED else ''})")
        rest = sum(map(len, by_reason.values())) - sum(sorted(map(len, by_reason.values()))[-REASONS:])
        more = f"; for further reasons {rest}" if rest else ""
        return f"Not evaluable on {len(self.reasons)} of {self.asked} films: {'; '.join(told)}{more}.{self._kinds}"

    @property
    def _kinds(self) -> str:
        """How many films of each class were refused, where that differs; empty elsewhere."""
        shares = {refused / asked for refused, asked in self.by_class.values()}
        if len(shares) < 2:
            return ""
        told = ", ".join(f"{plain_name(name)} {refused} of {asked}" for name, (refused, asked) in self.by_class.items())
        return f" That is {told}: what is said here is said of films like those left."

    @property
    def tables(self) -> dict[str, pd.DataFrame]:
        """A row per reason: how many films it refused and which, under its title; empty where none was refused."""
        if not self.reasons:
            return {}
        groups: dict[tuple[str, str], list[str]] = {}
        for image, (condition, why) in self.reasons.items():
            groups.setdefault((why, condition), []).append(image)
        rows = [
            (why, condition, len(images), ", ".join(one_line(image, 80) for image in images[:LISTED])
             + (f" and {len(images) - LISTED} more" if len(images) > LISTED else ""))
            for (why, condition), images in groups.items()
        ]  # fmt: skip
        title = f"Films it is not evaluable on: {len(self.reasons)} of {self.asked} ({ALL_OF_THEM})"
        return {title: pd.DataFrame(rows, columns=["reason", "condition", "films", "which"])}


def _plain(reason: str) -> str:
    """Return a reason without what is special to one film (numbers in brackets) and without the name before it."""
    told = re.sub(r" \([^()]*\)", "", re.sub(r"^\w+ is undefined: ", "", reason))
    return told.strip() or reason
