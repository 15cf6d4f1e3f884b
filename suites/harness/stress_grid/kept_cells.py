"""Was the grid of these answers measured before? Its cells are kept, for the resamples of many films take long.

Of a cohort that is resampled as a stream only (more than `DENSE` films): of fewer, measuring takes no longer than
finding. Kept are estimates and replicates to the last bit, so that whatever is made of cells is the same.
"""

from __future__ import annotations

import io
import json
from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import numpy as np
import pandas as pd

from suites.harness.cache.shards import Shards
from suites.harness.statistics import DENSE, Sampled
from suites.harness.stress_grid.measuring import Cell, Measured

_SAMPLED = ("error", "before", "plain", "plain_before")
_COLUMNS = {"cells": "text", "replicates": "bytes"}


@dataclass(frozen=True)
class KeptCells:
    """The cells in a cache.

    Attributes:
        cache: its root.
        decided_by: everything that decides a cell besides its subject and condition, JSON-serialisable.
    """

    cache: Path
    decided_by: Mapping[str, object]

    def once(self, subject: str, films: int, conditions: Sequence[str], measure: Callable[[], Measured]) -> Measured:
        """Return what was measured under some conditions, measuring it if nobody has.

        Args:
            subject: its name.
            films: of the cohort.
            conditions: texts, each a cell.
            measure: them.

        Raises:
            UsageProblem: the cache cannot be written.
        """
        if films <= DENSE:
            return measure()
        key = {"subject": subject, "conditions": list(conditions), **self.decided_by}
        rows = Shards(self.cache, "grids", key, _COLUMNS).once(lambda: pd.DataFrame([_row(measure())]))
        return _measured(rows["cells"].iloc[0], rows["replicates"].iloc[0])


def _row(measured: Measured) -> dict[str, object]:
    arrays: dict[str, Any] = {}
    cells = []
    for at, cell in enumerate(measured.cells):
        told: dict[str, object] = {
            "severity": cell.severity, "films": cell.films, "undefined": cell.undefined, "flips": cell.flips,
            "recall_drops": dict(cell.recall_drops),
        }  # fmt: skip
        for name in _SAMPLED:
            told[name] = _told(getattr(cell, name), f"{at} {name}", arrays)
        cells.append(told)
    stream = io.BytesIO()
    np.savez(stream, **arrays)
    return {"cells": json.dumps({"cells": cells, "trends": dict(measured.trends)}), "replicates": stream.getvalue()}


def _told(one: Sampled, name: str, arrays: dict[str, Any]) -> dict[str, object]:
    """Return all of it but its arrays, which are added by name."""
    arrays[name] = one.replicates
    if one.left_out is not None:
        arrays[f"{name} left out"] = one.left_out
    return {
        "estimate": one.estimate, "patients": one.patients, "bounds": one.bounds, "strata": one.strata,
        "events": one.events, "averaged": one.averaged, "coarse": one.coarse,
        "of": [_told(part, f"{name} {index}", arrays) for index, part in enumerate(one.of)],
    }  # fmt: skip


def _sampled(fields: dict[str, Any], name: str, arrays: Mapping[str, Any]) -> Sampled:
    pairs: dict[str, Any] = {key: tuple(fields.pop(key)) for key in ("bounds", "strata")}
    of = tuple(_sampled(part, f"{name} {index}", arrays) for index, part in enumerate(fields.pop("of")))
    return Sampled(replicates=arrays[name], left_out=arrays.get(f"{name} left out"), of=of, **pairs, **fields)


def _measured(text: str, replicates: bytes) -> Measured:
    told = json.loads(text)
    cells = []
    with np.load(io.BytesIO(replicates), allow_pickle=False) as arrays:
        for at, cell in enumerate(told["cells"]):
            sampled: dict[str, Any] = {}
            for name in _SAMPLED:
                sampled[name] = _sampled(cell.pop(name), f"{at} {name}", arrays)
            cells.append(Cell(**cell, **sampled))
    return Measured(cells=tuple(cells), trends=told["trends"])
