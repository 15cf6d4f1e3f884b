"""How do the answers of finished blocks become one table? Each is put in its place when its block comes.

Of a block nothing else is kept: as tables of Arrow's, with names of films as objects, the answers of 100,000 films took
as much again as their table, and left holes in memory when they went.
"""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from typing import Any, TypeVar

import numpy as np
import numpy.typing as npt
import pandas as pd
import pyarrow as pa

from suites.harness.cache.block_shards import KEY
from suites.harness.cohorts.texts import as_arrow
from suites.harness.predictions.blocks import Block, Receipt, gathered
from suites.harness.predictions.conditions import CLEAN, Condition
from suites.harness.predictions.engine import Engine

Places = npt.NDArray[np.signedinteger[Any]]
_T = TypeVar("_T")


class Collected:
    """The answers of one subject, F films by C conditions, as blocks of films come in any order.

    Args:
        name: of the subject.
        engine: that answers.
        conditions: that every film is asked under.
        blocks: all blocks of the job, in the order of the films.
    """

    def __init__(self, name: str, engine: Engine, conditions: Sequence[Condition], blocks: Sequence[Block]) -> None:
        self._name, self._engine, self._conditions = name, engine, conditions
        self._first = np.cumsum([0, *(len(block.rows) for block in blocks)])
        shape = int(self._first[-1]), len(conditions)
        self._there = np.zeros(shape[0], dtype=bool)
        self._logits = {f"logit_{index}": np.empty(shape, dtype=np.float32) for index in range(engine.width)}
        self._reasons, self._known = np.zeros(shape, dtype=np.int8), {"": 0}
        self._told: dict[int, list[str]] = {}
        self._images: dict[int, pa.Array] = {}
        self._features: dict[int, npt.NDArray[np.float32]] = {}
        self.computed = 0
        """Rows that were not in the cache."""

    def take(self, receipt: Receipt) -> None:
        """Put the answers of a block in their places, now, while its shard is at hand.

        Raises:
            UsageProblem: the shard is gone.
        """
        filed = receipt.filed[self._name]
        self.computed += filed.computed
        rows = gathered(self._engine.shards, self._name, [receipt]).drop_columns(list(KEY))
        readable = {image for image, _ in receipt.films}
        films = [film for film, (image, _) in enumerate(filed.films) if image in readable]
        place = {identity: at for at, identity in enumerate(sorted(set(filed.identities)))}
        # A condition whose code failed here is in no row of the block, and at last in none of the table.
        ran = [at for at, condition in enumerate(self._conditions) if condition.identity in place]
        own = np.array([place[self._conditions[column].identity] for column in ran], dtype=np.int64)
        at = np.array(films, dtype=np.int64)[:, None] * len(place) + own
        first = int(self._first[receipt.number])
        here: Any = slice(first, first + len(films))
        if len(ran) < len(self._conditions):
            here = np.ix_(np.arange(first, first + len(films)), np.array(ran, dtype=np.int64))
        for name, values in self._logits.items():
            values[here] = rows[name].to_numpy()[at]
        self._take_reasons(receipt.number, rows["undefined"], at, here)
        self._there[first : first + len(films)] = True
        self._images[receipt.number] = as_arrow([filed.films[film][0] for film in films])
        clean = [column for column, condition in enumerate(ran) if self._conditions[condition].text == CLEAN]
        seen = rows["features"].take(at[:, clean].ravel())
        if len(seen) and not seen.null_count:
            self._features[receipt.number] = np.stack([np.frombuffer(one, np.float32) for one in seen.to_pylist()])

    def _take_reasons(self, number: int, column: pa.ChunkedArray, at: Places, here: Any) -> None:  # noqa: ANN401 - an index
        told = column.combine_chunks().dictionary_encode()
        texts = told.dictionary.to_pylist()
        codes = [self._known.setdefault(text, len(self._known)) for text in texts]
        if any(codes):  # else all are empty, as they were
            self._told[number] = texts
            if len(self._known) > np.iinfo(self._reasons.dtype).max:
                self._reasons = self._reasons.astype(np.int32)
            self._reasons[here] = np.array(codes, dtype=np.int32)[told.indices.to_numpy()[at]]

    def table(
        self, cohort: str, conditions: Sequence[Condition]
    ) -> tuple[pd.DataFrame, npt.NDArray[np.float32] | None]:
        """Return the table in the order of the films, and the features of the clean ones; asked once, at the end.

        Args:
            cohort: its name.
            conditions: those whose code failed on no film, in their order.
        """
        ran = {condition.text for condition in conditions}
        columns = np.array([condition.text in ran for condition in self._conditions], dtype=bool)

        def whole(values: npt.NDArray[Any]) -> npt.NDArray[Any]:
            """Return (F, C) values one film after the other; of films and conditions that are all there as they lie."""
            kept = values if self._there.all() else values[self._there]
            return (kept if columns.all() else kept[:, columns]).reshape(-1)

        images = _in_order(self._images)
        films, each = sum(map(len, images)), len(conditions)
        same = np.broadcast_to(np.int8(0), films * each)  # one byte, however many rows
        table = pd.DataFrame({
            "subject": _repeated(as_arrow([self._engine.subject.name]), same),
            "cohort": _repeated(as_arrow([cohort]), same),
            "image": _repeated(pa.concat_arrays([as_arrow([]), *images]), np.repeat(_numbers(films), each)),
            "condition": _repeated(
                as_arrow([condition.text for condition in conditions]), np.tile(_numbers(each), films)
            ),
            "severity": np.tile(np.array([condition.severity for condition in conditions], dtype=np.int8), films),
            **{name: whole(values) for name, values in self._logits.items()},
            "undefined": self._undefined(whole(self._reasons)),
        }, copy=False)  # fmt: skip
        features = _in_order(self._features)
        clean = films * sum(condition.text == CLEAN for condition in conditions)
        return table, np.concatenate(features) if features and sum(map(len, features)) == clean else None

    def _undefined(self, codes: Places) -> pd.Series:
        """Return the reasons by their codes, numbered as if blocks had come in their order."""
        known = list(dict.fromkeys(["", *(text for told in _in_order(self._told) for text in told)]))
        if known != list(self._known):
            codes = np.array([known.index(text) for text in self._known], dtype=codes.dtype)[codes]
        return _repeated(as_arrow(known), codes)


def _in_order(of_blocks: Mapping[int, _T]) -> list[_T]:
    return [of_blocks[number] for number in sorted(of_blocks)]


def _numbers(count: int) -> Places:
    """Return 0 to count - 1 as the smallest numbers that tell so many places, and none, apart."""
    return np.arange(count, dtype=np.min_scalar_type(-count - 1))


def _repeated(texts: pa.Array, places: Places) -> pd.Series:
    """Return a column of texts, each named by its place among a few, without an object for each row."""
    each = texts.dictionary_encode()
    small = np.min_scalar_type(-len(each.dictionary) - 1)
    if len(each.dictionary) < len(texts):
        places = each.indices.to_numpy()[places]
    categories = pd.Index(each.dictionary.to_pandas(), dtype="str")
    found = pd.Series(pd.Categorical.from_codes(places.astype(small, copy=False), categories), copy=False)
    # pandas has made an object of each text to see that there are no two of a kind, and would keep them all.
    getattr(categories, "_cache", {}).pop("_engine", None)
    return found
