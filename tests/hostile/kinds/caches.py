"""What if files of the cache or of an earlier report are not as they were written? They are set aside and made anew."""

from __future__ import annotations

import random
import shutil
from pathlib import Path
from typing import Any

import numpy as np
import pandas as pd
import pyarrow as pa
import pyarrow.parquet as pq

from suites.harness.report.gate import GateOutcome, compare_with_baseline
from suites.harness.report.results import load_results
from tests.hostile import material
from tests.hostile.case import Case, accepted, either, generator


def _damage(rng: random.Random, file: Path) -> str:
    """Damage one file as disks, other versions and other programs do."""
    kind = rng.choice(
        ["cut", "empty", "bits", "foreign", "half a table", "no rows", "text", "types", "nulls", "folder", "not ours"]
    )
    data = bytearray(file.read_bytes())
    if kind in ("half a table", "no rows", "types", "nulls") and file.suffix == ".parquet":
        table = pq.read_table(file)
        column = rng.choice(table.schema.names)
        if kind == "half a table":
            table = table.drop_columns([column])
        elif kind == "no rows":
            table = table.slice(0, 0)
        else:
            values = pa.nulls(len(table)) if kind == "nulls" else pa.array([["x"]] * len(table))
            table = table.set_column(table.schema.names.index(column), column, values)
        pq.write_table(table, file)
        return f"{kind}: {column}"
    if kind == "folder":
        file.unlink()
        file.mkdir()
    elif kind == "foreign":
        pq.write_table(pa.table({"a": [1, 2], "b": ["x", "y"]}), file)
    elif kind == "bits":
        for _ in range(3):
            data[rng.randrange(len(data))] ^= 1 << rng.randrange(8)
        file.write_bytes(data)
    else:
        file.write_bytes(
            {"cut": data[: rng.randrange(len(data))], "text": b"[1, 2", "not ours": b"\0" * 500}.get(kind, b"")
        )
    return kind


def numbers(run: Any) -> pd.DataFrame:
    return run.to_pandas()


@generator("caches", share=70)
def shards(rng: random.Random, place: Path) -> Case:
    """Predictions, results, measures and pictures; a run on what is left is like the first one."""
    shutil.copytree(material.finished() / "cache", place / "cache")
    files = sorted(path for path in (place / "cache").rglob("*") if path.is_file())
    file = rng.choice([path for path in files if path.suffix == ".parquet"] if rng.random() < 0.9 else files)
    kind = file.relative_to(place / "cache").parts[0]
    done = _damage(rng, file)
    report = material.finished() / "report"

    def act() -> Any:
        run = material.judged(place / "cache")
        if kind in ("pictures", "measures"):
            run.report(place / "report")
        return run

    def right(run: Any) -> object:
        expected = {claim["id"]: claim for claim in load_results(report)["claims"]}
        for row in run.to_pandas().to_dict("records"):
            known = expected[row["claim"]]
            pair = row["verdict"], row["estimate"]
            if pair != (known["verdict"], known["effect"]["estimate"]):
                return f"{row['claim']}: {pair}, not {known['verdict']}, {known['effect']['estimate']}"
        return True

    return accepted(act, right, what=f"{kind}/{file.name[:12]}: {done}")


@generator("caches", share=50)
def tables_of_a_baseline(rng: random.Random, place: Path) -> Case:
    """Columns that are missing, rows that repeat, text for numbers: refused, or compared as if nothing were wrong."""
    report = material.finished() / "report"
    for name in ("results.json", "predictions.parquet", "films.csv"):
        shutil.copy(report / name, place / name)
    name = rng.choice(["predictions.parquet", "films.csv"])
    table = (
        pd.read_parquet(place / name)
        if name.endswith("parquet")
        else pd.read_csv(place / name, dtype=str, keep_default_na=False)
    )
    column, form = (
        rng.choice(list(table)),
        rng.choice(["missing", "repeated", "text", "nulls", "no rows", "damaged", "lists"]),
    )
    if form == "missing":
        table = table.drop(columns=column)
    elif form == "repeated":
        table = pd.concat([table, table.iloc[:5]])
    elif form == "no rows":
        table = table.iloc[:0]
    elif form != "damaged":
        table[column] = {"text": "x", "nulls": np.nan}.get(form) if form != "lists" else [["x"]] * len(table)
    if name.endswith("parquet"):
        table.to_parquet(place / name, index=False)
    else:
        table.to_csv(place / name, index=False)
    if form == "damaged":
        form = _damage(rng, place / name)
    same = form != "lists"

    def right(found: GateOutcome) -> object:
        return isinstance(found, GateOutcome) and (found.passed or not same)

    return either(lambda: compare_with_baseline(report, place), right, what=f"baseline {name}: {column} {form}")
