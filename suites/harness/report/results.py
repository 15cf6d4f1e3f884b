"""What do programs read of a run? results.json (schema 1), the flat table of measures, the films judged."""

from __future__ import annotations

import json
import math
from collections import Counter
from collections.abc import Iterator, Mapping, Sequence
from dataclasses import asdict
from functools import cache
from pathlib import Path
from typing import Any

import jsonschema
import numpy as np
import pandas as pd
import pyarrow as pa

from suites.harness.claims import Judgement, Measure
from suites.harness.cohorts.cohort import Cohort
from suites.harness.cohorts.findings import PREFIX
from suites.harness.cohorts.patient_facts import published_facts
from suites.harness.errors import UsageProblem, reason
from suites.harness.foreign_file import MIB, read_text
from suites.harness.local_paths import spec_without_folders, without_folders
from suites.harness.predictions.subject_checks import SubjectCheck
from suites.harness.record import Part, Record
from suites.harness.strict_json import check, parse_json
from suites.harness.subjects.subject import Subject

SCHEMA = 1
MOST_RESULTS = 256 * MIB
"""Bytes of a results.json that are read; one of ten subjects and all claims has two million."""
SCHEMA_FILE = Path(__file__).with_name("results.schema.json")
PREDICTION_COLUMNS = ("subject", "cohort", "image", "condition", "severity")
FILM_COLUMNS = ("cohort", "id", "label", "patient", "view", "age_group", "finding", "split")


def results_document(record: Record, comparison: Sequence[Mapping[str, Any]] = ()) -> dict[str, Any]:
    """Return the run as the content of results.json, plain JSON types only, checked against the schema.

    Args:
        record: the finished run.
        comparison: pairs of subjects, as the section "Comparison" has them.
    """
    document = {
        "schema": SCHEMA,
        "subjects": [_subject(subject, record.checks.get(subject.name, ())) for subject in record.subjects],
        "cohort": _cohort(record.cohort),
        "probes": {role: _cohort(cohort) for role, cohort in record.probes.items()},
        "claims": [_claim(judgement) for judgement in record.judgements],
        "run": {
            "profile": record.profile,
            "resolution": record.resolution,
            "seed": record.seed,
            "command": record.command,
            "started": record.started,
            "seconds": float(record.seconds),
            "versions": dict(record.versions),
        },
        "comparison": list(comparison),
        "notes": list(record.notes),
        "excluded": len(record.excluded),
        "incomplete": None if record.part is None else asdict(record.part),
    }
    plain: dict[str, Any] = _plain(document)
    validate(plain)
    return plain


def validate(document: object) -> None:
    """Raise `jsonschema.ValidationError` unless the document keeps the contract of schema 1."""
    jsonschema.validate(document, _schema())


def load_results(path: Path) -> dict[str, Any]:
    """Read results.json, given the file or the report's folder.

    Raises:
        UsageProblem: it is missing, not JSON, of another schema, or breaks the schema; says which and where.
    """
    file = path / "results.json" if path.is_dir() else path
    try:
        document = parse_json(read_text(file, MOST_RESULTS))
    except FileNotFoundError:
        raise UsageProblem(f"{path}: no results.json there; give the file or the folder of an earlier report") from None
    except (OSError, ValueError) as error:
        raise UsageProblem(f"{file}: cannot be read as JSON ({reason(error)})") from None
    found = document.get("schema") if isinstance(document, dict) else None
    if found != SCHEMA:
        raise UsageProblem(f"{file}: schema {repr(found)[:40]}, but this version reads schema {SCHEMA}")
    try:
        check(document, _schema())
    except ValueError as error:
        raise UsageProblem(f"{file}: breaks schema {SCHEMA}: {error}") from None
    for what, parts in (("subjects", ("name",)), ("claims", ("id", "subject"))):
        keys = [tuple(entry[part] for part in parts) for entry in document[what]]
        if repeated := next((one for one, count in Counter(keys).items() if count > 1), None):
            raise UsageProblem(f"{file}: {what} holds {' on '.join(repeated)} twice; it is no report of one run")
    return dict(document)


def part_of(document: Mapping[str, Any]) -> Part | None:
    """Return what a run judged of its table of claims, where that was not all of it."""
    told = document.get("incomplete")
    return None if told is None else Part(**{name: told[name] for name in ("judged", "of", "what", "why")})


def measures_table(document: Mapping[str, Any]) -> pd.DataFrame:
    """Return results.csv: one row per claim, subject and measure; `role` tells effect and headroom from the rest.

    Of a run that did not judge the whole table every row says so: rows are copied without what stands above them.
    """
    part = part_of(document)
    told = str(part) if part else ""
    rows: list[dict[str, object]] = []
    for claim in document["claims"]:
        head = {key: claim[key] for key in ("id", "section", "kind", "subject", "verdict")}
        measures = claim["measures"] or [{}]
        for index, measure in enumerate(measures):
            role = "effect" if index == 0 and claim.get("effect") else "measure" if measure else ""
            if role == "measure" and any(measure == room["measure"] for room in claim.get("headroom", [])):
                role = "headroom"
            rows.append({**head, "role": role, **measure, "margin": claim.get("margin"), "incomplete": told})
    columns = [
        "id",
        "section",
        "kind",
        "subject",
        "verdict",
        "role",
        "name",
        "condition",
        "estimate",
        "low",
        "high",
        "n",
    ]
    columns += ["patients", "estimator", "exploratory", "margin", "unit", "incomplete"]
    table = pd.DataFrame(rows).reindex(columns=columns)
    return table.astype({"n": "Int64", "patients": "Int64"})


def verdicts_table(judgements: Sequence[Judgement]) -> pd.DataFrame:
    """Return one row per judgement: verdict, effect with interval, margin, reason."""
    rows = []
    for judgement in judgements:
        effect = judgement.result.effect if judgement.result else None
        rows.append(
            {
                "claim": judgement.claim.id, "section": judgement.claim.section, "kind": judgement.claim.kind,
                "subject": judgement.subject, "verdict": str(judgement.verdict),
                "measure": effect.name if effect else None, "condition": effect.condition if effect else None,
                "estimate": effect.estimate if effect else None, "low": effect.low if effect else None,
                "high": effect.high if effect else None, "margin": judgement.claim.margin,
                "n": effect.n if effect else None, "patients": effect.patients if effect else None,
                "reason": judgement.reason,
            }
        )  # fmt: skip
    return pd.DataFrame(rows)


def predictions_table(record: Record) -> pd.DataFrame:
    """Return the prediction table with its columns in the published order, further ones last, texts as texts."""
    return pd.concat(predictions_in_parts(record, len(record.predictions) or 1), ignore_index=True)


def predictions_in_parts(record: Record, rows: int) -> Iterator[pd.DataFrame]:
    """Yield the prediction table as it is published, so many rows at a time; of an empty one, itself."""
    logits = sorted(
        (name for name in record.predictions.columns if str(name).startswith("logit_")),
        key=lambda name: int(str(name).removeprefix("logit_")),
    )
    first = [*PREDICTION_COLUMNS, *logits]
    columns = [*first, *(name for name in record.predictions if name not in first)]
    texts = [name for name, kind in record.predictions.dtypes.items() if isinstance(kind, pd.CategoricalDtype)]
    for at in range(0, len(record.predictions) or 1, rows):
        part = record.predictions.iloc[at : at + rows].reindex(columns=columns)
        whole = {str(name): part[name].astype(np.int64) for name, kind in part.dtypes.items() if kind == np.int8}
        yield part.assign(**{str(name): _texts(part[name]) for name in texts}, **whole)


def _texts(column: pd.Series) -> pd.Series:
    """Return categories as the texts they are, without an object for each row."""
    codes, known = pa.array(column.cat.codes.to_numpy(np.int32)), column.cat.categories.to_list()
    decoded = pa.DictionaryArray.from_arrays(codes, pa.array(known, pa.large_string())).dictionary_decode()
    return pd.Series(decoded.to_pandas().array, index=column.index)


def films_table(record: Record) -> pd.DataFrame:
    """Return the films of the run, main cohort and probes, so that every number can be recomputed from the folder.

    Of what is recorded of patients those columns follow that tell anything, of ages their band: a report is shown to
    others, and an exact age may tell who it is.
    """
    tables = [cohort.table.assign(cohort=cohort.name) for cohort in (record.cohort, *record.probes.values())]
    told = [
        table[list(FILM_COLUMNS)]
        .astype(str)
        .join(published_facts(table))
        .join(table[[name for name in table if str(name).startswith(PREFIX)]].astype(str))
        for table in tables
    ]
    known = pd.concat(told, ignore_index=True).fillna("")
    return known.drop(columns=[name for name in known if name not in FILM_COLUMNS and not (known[name] != "").any()])


def all_measures(judgement: Judgement) -> list[Measure]:
    """Return a judgement's measures, the effect first and only once."""
    if judgement.result is None:
        return []
    result = judgement.result
    rest = [*result.measures, *(room.measure for room in result.headroom if room.measure not in result.measures)]
    return [result.effect, *(measure for measure in rest if measure != result.effect)]


def _subject(subject: Subject, checks: Sequence[SubjectCheck]) -> dict[str, Any]:
    source = subject.provenance
    return {
        "name": subject.name,
        "sha256": source.sha256,
        "classes": list(subject.classes),
        "fingerprint": subject.fingerprint,
        "spec": spec_without_folders(source.spec),
        "format": source.format,
        "source": spec_without_folders(source.source),
        "revision": source.revision,
        "architecture": source.architecture,
        "attribution_layer": subject.attribution_layer,
        "differentiable": subject.differentiable,
        "preprocessing": {"name": subject.preprocessing.name, **subject.preprocessing.fingerprint()},
        "checks": [asdict(check) for check in checks],
        "notes": list(source.notes),
        "metadata": dict(source.metadata),
    }


def _cohort(cohort: Cohort) -> dict[str, Any]:
    counts = cohort.table["label"].astype(str).value_counts(sort=False)
    return {
        "name": cohort.name,
        "n": len(cohort),
        "patients": cohort.patients,
        "spec": cohort.spec,
        "fingerprint": cohort.fingerprint,
        "simulated": cohort.simulated,
        "labels": {str(label): int(counts[label]) for label in sorted(counts.index)},
        "notes": list(cohort.notes),
    }


def _claim(judgement: Judgement) -> dict[str, Any]:
    claim, result = judgement.claim, judgement.result
    measures = [asdict(measure) for measure in all_measures(judgement)]
    return {
        "id": claim.id,
        "section": claim.section,
        "kind": claim.kind,
        "subject": judgement.subject,
        "verdict": judgement.verdict.value,
        "statement": claim.statement,
        "measures": measures,
        "headroom": [asdict(room) | {"sure": room.sure} for room in result.headroom] if result else [],
        "reason": judgement.reason,
        "summary": result.summary if result else "",
        "effect": measures[0] if measures else None,
        "endpoint": claim.endpoint,
        "parameters": dict(claim.parameters),
        "margin": claim.margin,
        "direction": claim.direction,
        "documented": claim.documented,
        "beyond_documented": judgement.beyond_documented,
        "p_beyond": result.p_beyond if result else None,
        "p_within": result.p_within if result else None,
        "needed": result.needed if result else None,
        "remedy": claim.remedy,
    }


def _plain(value: object) -> Any:  # noqa: ANN401 - JSON is what it is
    """Return the value in plain JSON types; numbers that are none become null, anything unknown its text."""
    if isinstance(value, str):
        return without_folders(value)
    if value is None or isinstance(value, bool):
        return value
    if isinstance(value, np.generic):
        return _plain(value.item())
    if isinstance(value, int):
        return value
    if isinstance(value, float):
        return value if math.isfinite(value) else None
    if isinstance(value, Mapping):
        return {str(key): _plain(item) for key, item in value.items()}
    if isinstance(value, list | tuple | set | frozenset | np.ndarray):
        return [_plain(item) for item in value]
    return without_folders(str(value))


@cache
def _schema() -> dict[str, Any]:
    return dict(json.loads(SCHEMA_FILE.read_text(encoding="utf-8")))
