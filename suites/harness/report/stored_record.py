"""What does the folder of a report tell of its run? A record again, so that a model card is written as from the run.

Its subjects answer nothing any more and its films are not there: a record made of a folder is for telling of, not for
asking again.
"""

from __future__ import annotations

import math
from collections.abc import Mapping, Sequence
from dataclasses import fields
from pathlib import Path
from typing import Any, NoReturn

from torch import Tensor, nn

from suites.harness.claims import Claim, Headroom, Judgement, Measure, Result, Verdict
from suites.harness.cohorts.cohort import Cohort
from suites.harness.cohorts.rows import Row
from suites.harness.errors import FilmUnreadable, PredictionProblem, UsageProblem
from suites.harness.record import Record, no_exclusions
from suites.harness.report.results import FILM_COLUMNS, part_of
from suites.harness.report.stored_run import stored
from suites.harness.subjects.preprocessing import Preprocessing
from suites.harness.subjects.subject import Provenance, Subject

_OF_MEASURE = {one.name for one in fields(Measure)}


def record_of(path: Path) -> Record:
    """Return the record of a finished run, given its report's folder.

    Raises:
        UsageProblem: the folder holds no report, or not the predictions and films that belong to it; what is missing is
            named.
    """
    run = stored(path, predictions_needed=True)
    if run.predictions is None or run.films is None:
        known = (path / "predictions.parquet").exists()
        lacking = "films.csv" if known else "predictions.parquet"
        raise UsageProblem(f"{path}: {lacking} is not beside results.json; give the whole folder of the report")
    document, films = run.document, run.films
    if "run" not in document:
        raise UsageProblem(f"{path}: results.json does not tell how it was run; write that report again")
    told = document["run"]
    columns = [name for name in FILM_COLUMNS if name != "cohort"]
    if missing := [name for name in columns if name not in films]:
        raise UsageProblem(f"{path}: films.csv has no column {missing[0]}; write that report again")

    def cohort(entry: Mapping[str, Any]) -> Cohort:
        mine = films[films["cohort"] == entry["name"]].reset_index(drop=True)
        return Cohort(
            name=entry["name"], spec=entry.get("spec", ""), table=mine[columns].assign(file=""), decode=_gone,
            simulated=entry.get("simulated", False), notes=tuple(entry.get("notes", ())),
        )  # fmt: skip

    return Record(
        subjects=[_subject(entry) for entry in document["subjects"]],
        cohort=cohort(document["cohort"]),
        judgements=[_judgement(entry) for entry in document["claims"]],
        predictions=run.predictions,
        excluded=no_exclusions(),
        profile=told["profile"],
        seed=told["seed"],
        command=told["command"],
        started=told["started"],
        seconds=told["seconds"],
        versions=told["versions"],
        probes={role: cohort(entry) for role, entry in document.get("probes", {}).items()},
        notes=document.get("notes", ()),
        resolution=told.get("resolution", ""),
        part=part_of(document),
    )


def _subject(entry: Mapping[str, Any]) -> Subject:
    asked = entry.get("differentiable", entry.get("format") != "service")
    return Subject(
        name=entry["name"],
        classes=tuple(entry["classes"]),
        network=nn.Identity() if asked else None,
        respond=None if asked else _silent,
        preprocessing=Preprocessing(name=str(entry.get("preprocessing", {}).get("name", ""))),
        provenance=Provenance(
            spec=entry.get("spec", ""),
            format=entry.get("format", ""),
            source=entry.get("source", ""),
            sha256=entry["sha256"],
            revision=entry.get("revision"),
            architecture=entry.get("architecture", ""),
            notes=tuple(entry.get("notes", ())),
            metadata=entry.get("metadata", {}),
        ),
    )


def _judgement(entry: Mapping[str, Any]) -> Judgement:
    claim = Claim(
        id=entry["id"], section=entry["section"], statement=entry["statement"], kind=entry["kind"],
        endpoint=entry.get("endpoint", ""), margin=entry.get("margin", 0.0), direction=entry.get("direction", "above"),
        documented=entry.get("documented"), remedy=entry.get("remedy", ""), parameters=entry.get("parameters", {}),
    )  # fmt: skip
    measures = [_measure(one) for one in entry["measures"]]
    result = None
    if entry.get("effect"):
        result = Result(
            effect=measures[0],
            p_beyond=entry.get("p_beyond"),
            p_within=entry.get("p_within"),
            headroom=[
                Headroom(measure=_measure(one["measure"]), bar=one["bar"], side=one["side"], alarms=one["alarms"])
                for one in entry.get("headroom", [])
            ],
            measures=measures[1:],
            summary=entry.get("summary", ""),
            needed=entry.get("needed"),
        )
    return Judgement(
        claim=claim, subject=entry["subject"], verdict=Verdict(entry["verdict"]), reason=entry.get("reason", ""),
        result=result, beyond_documented=entry.get("beyond_documented", False),
    )  # fmt: skip


def _measure(entry: Mapping[str, Any]) -> Measure:
    known = {key: value for key, value in entry.items() if key in _OF_MEASURE}
    numbers = {key: math.nan if entry[key] is None else entry[key] for key in ("estimate", "low", "high")}
    return Measure(**({"unit": "plain"} | known | numbers))


def _gone(row: Row) -> NoReturn:
    raise FilmUnreadable(f"{row['id']}: a stored report keeps no films")


def _silent(films: Sequence[Tensor]) -> NoReturn:
    raise PredictionProblem(f"a stored report cannot answer {len(films)} further films")
