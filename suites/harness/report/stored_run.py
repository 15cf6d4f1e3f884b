"""What did a run find, be it this one or one that a folder tells of? Its results, predictions and films, checked.

A folder is anybody's: columns are read by their Arrow types alone, whatever else the file says about itself, and a
table that is not the one of a report is refused by the name of what is wrong in it.
"""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from io import BytesIO
from pathlib import Path
from typing import Any

import numpy as np
import pandas as pd
import pyarrow as pa
import pyarrow.parquet as pq

from suites.harness.errors import UsageProblem, reason
from suites.harness.foreign_file import MIB, read_bytes, size_text
from suites.harness.record import Record
from suites.harness.report import results
from suites.harness.report.growing_tables import table_in

MOST_PREDICTIONS = 2048 * MIB
"""Bytes of a predictions.parquet, as it is and as it inflates; 10,000 films under 150 conditions take 60 MiB."""
MOST_FILMS_BYTES = 256 * MIB
_KEYS = ("subject", "cohort", "image", "condition")


@dataclass(frozen=True)
class Run:
    """One side of a comparison: its results.json, and where they were kept its predictions and films.

    Attributes:
        document: as `results.load_results` returns it.
        predictions: columns `subject`, `cohort`, `image`, `condition` and `logit_0`, ...; each combination once.
        films: columns `cohort`, `id`, `label`, `patient`, texts; each film of a cohort once.
    """

    document: Mapping[str, Any]
    predictions: pd.DataFrame | None = None
    films: pd.DataFrame | None = None


def of_record(record: Record) -> Run:
    """Return the run that a record tells of."""
    return Run(results.results_document(record), results.predictions_table(record), results.films_table(record))


def stored(path: Path, *, predictions_needed: bool = False) -> Run:
    """Return the run of an earlier report, given its folder or its results.json.

    Args:
        path: folder or file.
        predictions_needed: who asks has no use for results.json alone.

    Raises:
        UsageProblem: one of its files cannot be read or is not what a report writes.
    """
    document = results.load_results(path)
    folder = path if path.is_dir() else path.parent
    predictions, films = folder / "predictions.parquet", table_in(folder, "films")
    if films is None or not predictions.exists():
        return Run(document)
    try:
        return Run(document, _predictions(predictions, document), _films(films, document))
    except (OSError, ValueError, UsageProblem) as error:
        alone = "" if predictions_needed else ", or pass its results.json alone, from a folder of its own"
        raise UsageProblem(
            f"{folder}: its predictions cannot be read ({reason(error)}); write that report again{alone}"
        ) from None


def _predictions(path: Path, document: Mapping[str, Any]) -> pd.DataFrame:
    classes = max((len(subject["classes"]) for subject in document["subjects"]), default=0)
    data = read_bytes(path, MOST_PREDICTIONS)
    wanted = [*_KEYS, *(f"logit_{index}" for index in range(classes))]
    try:
        file = pq.ParquetFile(BytesIO(data))
        inflated = sum(file.metadata.row_group(group).total_byte_size for group in range(file.metadata.num_row_groups))
        if inflated > MOST_PREDICTIONS:
            raise ValueError(f"{path.name} inflates to {size_text(inflated)}")
        table = file.read(columns=wanted, use_threads=False)
    except pa.ArrowInvalid:
        raise ValueError(f"{path.name} is no Parquet file, or a damaged one") from None
    except (pa.ArrowException, OSError) as error:
        raise ValueError(f"{path.name}: {error}") from None
    for name in wanted:
        kinds = [field.type for field in table.schema if field.name == name]
        if len(kinds) != 1:
            raise ValueError(f"{path.name} has no column {name}" if not kinds else f"{path.name} has {name} twice")
        if not (pa.types.is_floating(kinds[0]) if name.startswith("logit_") else _is_text(kinds[0])):
            raise ValueError(f"{path.name}: column {name} holds {kinds[0]}")
    try:
        # What pandas once noted about its own types in the file decides nothing.
        found = table.replace_schema_metadata(None).to_pandas()
    except pa.ArrowException as error:
        raise ValueError(f"{path.name}: {error}") from None
    _refuse_repeated(found, _KEYS, path, document)
    return pd.DataFrame(found).assign(
        **{name: found[name].astype(np.float64) for name in wanted if name.startswith("logit_")}
    )


def _films(path: Path, document: Mapping[str, Any]) -> pd.DataFrame:
    data = read_bytes(path, MOST_FILMS_BYTES)
    if not data.strip():
        raise ValueError(f"{path.name} is empty")
    try:
        if path.suffix == ".parquet":
            films = _texts(data)
        else:
            films = pd.read_csv(BytesIO(data), dtype=str, keep_default_na=False)
    except (pa.ArrowException, OSError, ValueError) as error:
        raise ValueError(f"{path.name}: {error}") from None
    if missing := [name for name in ("cohort", "id", "label", "patient") if name not in films]:
        raise ValueError(f"{path.name} has no column {missing[0]}")
    _refuse_repeated(films, ("cohort", "id"), path, document)
    return films


def _texts(data: bytes) -> pd.DataFrame:
    """Return a table of texts; what pandas once noted about its own types in the file decides nothing."""
    file = pq.ParquetFile(BytesIO(data))
    inflated = sum(file.metadata.row_group(group).total_byte_size for group in range(file.metadata.num_row_groups))
    if inflated > MOST_FILMS_BYTES:
        raise ValueError(f"inflates to {size_text(inflated)}")
    table = file.read(use_threads=False).replace_schema_metadata(None)
    if other := [field for field in table.schema if not _is_text(field.type)]:
        raise ValueError(f"column {other[0].name} holds {other[0].type}")
    return pd.DataFrame(table.to_pandas()).fillna("")


def _refuse_repeated(table: pd.DataFrame, keys: Sequence[str], path: Path, document: Mapping[str, Any]) -> None:
    """Refuse a table that tells of one film of the cohort twice."""
    name = document["cohort"]["name"]
    if name in {probe["name"] for probe in document.get("probes", {}).values()}:
        raise ValueError(f"a probe has the name of the cohort, {name}")  # reports of earlier versions
    mine = table[table["cohort"] == name]
    if (again := mine.duplicated(list(keys))).any():
        repeated = mine[again].iloc[0][list(keys)]
        raise ValueError(f"{path.name} holds {', '.join(map(str, repeated))} twice")


def _is_text(kind: pa.DataType) -> bool:
    plain = kind.value_type if pa.types.is_dictionary(kind) else kind
    return any(is_kind(plain) for is_kind in (pa.types.is_string, pa.types.is_large_string, pa.types.is_string_view))
