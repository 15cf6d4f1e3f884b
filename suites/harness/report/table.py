"""How does a frame become a table of the page? Every cell as text, names and conditions in words."""

from __future__ import annotations

from collections.abc import Container, Sequence
from dataclasses import dataclass
from typing import Any

import pandas as pd

from suites.harness.formatting import wording


@dataclass(frozen=True, kw_only=True)
class Table:
    """A table as text."""

    columns: Sequence[str]
    rows: Sequence[Sequence[str]]
    numeric: Sequence[bool]


def as_table(frame: pd.DataFrame, most: int = 200, names: Container[str] = ()) -> Table:
    """Return a frame as text, at most `most` rows, names of classes in words; an index with a name becomes a column."""
    shown = (frame.reset_index() if any(name is not None for name in frame.index.names) else frame).head(most)
    numeric = [pd.api.types.is_numeric_dtype(shown.dtypes.iloc[i]) for i in range(shown.shape[1])]
    # A column of counts has no digits; of any other every number has the same.
    whole = [number and _counts(shown.iloc[:, i]) for i, number in enumerate(numeric)]
    rows = [
        [
            _cell(value, names, whole=counts) if number or pd.notna(value) else ""
            for value, number, counts in zip(row, numeric, whole, strict=True)
        ]
        for row in shown.itertuples(index=False, name=None)
    ]
    return Table(
        columns=[wording.plain_name(wording.spoken(str(name))) for name in shown.columns], rows=rows, numeric=numeric
    )


def _counts(column: pd.Series[Any]) -> bool:
    finite = pd.to_numeric(column, errors="coerce").dropna()
    return bool((finite % 1 == 0).all())


def _cell(value: object, names: Container[str], *, whole: bool) -> str:
    if isinstance(value, bool):
        return "yes" if value else "no"
    if isinstance(value, int | float) or (hasattr(value, "item") and not isinstance(value, str)):
        plain = float(value)  # type: ignore[arg-type]
        return (
            f"{int(plain):,}".replace("-", wording.MINUS)
            if plain.is_integer() and abs(plain) < 1e15 and whole
            else wording.number(plain)
        )
    text = "" if value is None or value is pd.NA else str(value)
    return wording.plain_name(text) if text in names else wording.spoken(text)
