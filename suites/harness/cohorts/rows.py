"""How is a table of films walked through, row by row? Some hundred rows are made at a time, never all of a million."""

from __future__ import annotations

from collections.abc import Callable, Iterator, Mapping, Sequence
from typing import overload

import numpy as np
import pandas as pd

Row = Mapping[str, object]
"""One film's line of a cohort's table, by column."""
AT_ONCE = 1024
"""Rows that are made together."""


class _Table:
    """Makes rows of a table.

    Attributes:
        made: the place of the first of those that were made last, and these: who looks twice has them made once.
    """

    def __init__(self, table: pd.DataFrame, completed: Callable[[Row], Row] | None) -> None:
        self._table, self._completed = table, completed
        self.made: tuple[int, list[Row]] = 0, []

    def __getitem__(self, place: int) -> Row:
        first, made = self.made  # at once: another thread may have others made meanwhile
        if not first <= place < first + len(made):
            first = place // AT_ONCE * AT_ONCE
            made = made_of(self._table.iloc[first : first + AT_ONCE])
            if self._completed is not None:
                made = [self._completed(row) for row in made]
            self.made = first, made
        return made[place - first]


class Rows(Sequence[Row]):
    """Rows of a table in their order, made when they are looked at; to another process they are sent as a list.

    Args:
        table: of the films.
        completed: from a row of the table to what is told of it; called again whenever it is made again.
    """

    def __init__(self, table: pd.DataFrame, completed: Callable[[Row], Row] | None = None) -> None:
        self._source, self._places = _Table(table, completed), range(len(table))

    @overload
    def __getitem__(self, at: int) -> Row: ...
    @overload
    def __getitem__(self, at: slice) -> Rows: ...
    def __getitem__(self, at: int | slice) -> Row | Rows:
        """Return a row, or some of them, still to be made."""
        if isinstance(at, slice):
            part = object.__new__(Rows)
            part._source, part._places = self._source, self._places[at]
            return part
        return self._source[self._places[at]]

    def __iter__(self) -> Iterator[Row]:
        """Yield one row after the other."""
        return map(self._source.__getitem__, self._places)

    def __len__(self) -> int:
        return len(self._places)

    def __reduce__(self) -> tuple[type[list[Row]], tuple[list[Row]]]:
        return list, (list(self),)


def made_of(table: pd.DataFrame) -> list[Row]:
    """Return all rows of a table, by column."""
    names = [str(name) for name in table]
    return [dict(zip(names, values, strict=True)) for values in zip(*map(_plain, table.items()), strict=True)]


def _plain(column: tuple[object, pd.Series]) -> list[object]:
    """Return the values of a column as Python's own; of texts, the most by far, without a call for each."""
    values = column[1]
    if values.dtype == "str":
        codes, known = pd.factorize(values, use_na_sentinel=False)  # one object for all that say the same
        texts: list[object] = np.asarray(known, dtype=object)[codes].tolist()
        return texts
    return list(values.reset_index(drop=True).to_dict().values())
