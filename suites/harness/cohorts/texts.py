"""Which of many texts are among others, and where? As Arrow holds them, end to end: pandas makes an object of each."""

from __future__ import annotations

from bisect import bisect_left
from collections.abc import ItemsView, Iterable, Iterator, Mapping, Sequence

import numpy as np
import numpy.typing as npt
import pandas as pd
import pyarrow as pa
import pyarrow.compute as pc

AT_ONCE = 2**12
"""Texts that are made objects together."""


class TextByName(Mapping[str, str]):
    """A text for each name, as a dictionary has them: of 100,000 films and what identifies them 30 MB less than one.

    Args:
        pairs: of names, each once, and texts; in an order that is kept.
    """

    def __init__(self, pairs: Iterable[tuple[str, str]]) -> None:
        names: list[pa.Array] = [pa.array([], pa.large_string())]
        texts = names.copy()
        waiting: list[tuple[str, str]] = []

        def take() -> None:
            names.append(pa.array([name for name, _ in waiting], pa.large_string()))
            texts.append(pa.array([text for _, text in waiting], pa.large_string()))
            waiting.clear()

        for pair in pairs:
            waiting.append(pair)
            if len(waiting) == AT_ONCE:
                take()
        take()
        self._names, self._texts = pa.concat_arrays(names), pa.concat_arrays(texts)
        self._order = pc.sort_indices(self._names).to_numpy()

    def __getitem__(self, name: str) -> str:
        """Return the text of a name.

        Raises:
            KeyError: there is none.
        """
        at = bisect_left(self._order, name, key=lambda place: self._names[int(place)].as_py())
        if at == len(self._order) or self._names[place := int(self._order[at])].as_py() != name:
            raise KeyError(name)
        return str(self._texts[place].as_py())

    def __len__(self) -> int:
        return len(self._names)

    def __iter__(self) -> Iterator[str]:
        return _each(self._names)

    def items(self) -> ItemsView[str, str]:
        """Return the pairs; they are read one after the other, and none is looked up."""
        return _Pairs(self, self._names, self._texts)


class _Pairs(ItemsView[str, str]):
    """The pairs of a `TextByName`."""

    def __init__(self, held: TextByName, names: pa.Array, texts: pa.Array) -> None:
        super().__init__(held)
        self._own = names, texts

    def __iter__(self) -> Iterator[tuple[str, str]]:
        return zip(*map(_each, self._own), strict=True)


def _each(texts: pa.Array) -> Iterator[str]:
    for at in range(0, len(texts), AT_ONCE):
        yield from texts[at : at + AT_ONCE].to_pylist()


def as_arrow(texts: Sequence[str]) -> pa.Array:
    """Return (N,) texts as Arrow holds them."""
    return pa.array(texts, pa.large_string())


def texts_of(column: pd.Series) -> pa.Array:
    """Return (N,) what `astype(str)` makes of a column."""
    if isinstance(column.dtype, pd.CategoricalDtype):
        return texts_of(pd.Series(column.cat.categories)).take(pa.array(column.cat.codes.to_numpy()))
    found = pa.array(column.astype("str"), pa.large_string())
    return found.combine_chunks() if isinstance(found, pa.ChunkedArray) else found


def among(texts: pa.Array, known: pa.Array) -> npt.NDArray[np.bool_]:
    """Return (N,) whether each text is one of those known."""
    return np.asarray(pc.is_in(texts, value_set=known).to_numpy(zero_copy_only=False), dtype=bool)


def places(texts: pa.Array, known: pa.Array) -> npt.NDArray[np.int64]:
    """Return (N,) the first place of each text among those known, -1 where it is none of them."""
    found = pc.index_in(texts, value_set=known)
    return np.asarray(pc.fill_null(found, -1).to_numpy(zero_copy_only=False), dtype=np.int64)
