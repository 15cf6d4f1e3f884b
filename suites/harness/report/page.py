"""How does a record become the page? Templates filled with its views, autoescaped, one self-contained HTML text."""

from __future__ import annotations

import re
from collections.abc import Mapping, Sequence
from pathlib import Path
from typing import Any

import jinja2
import numpy as np
import pandas as pd
from markupsafe import Markup

from robustness.card import Card
from robustness.validation import validation_of
from suites.harness.counts import counted
from suites.harness.formatting import wording
from suites.harness.local_paths import spec_without_folders, without_folders
from suites.harness.performance import clean_films
from suites.harness.predictions.per_finding import whole_of
from suites.harness.predictions.subject_checks import FLOAT_PATH, SubjectCheck
from suites.harness.process import give_back
from suites.harness.record import Record
from suites.harness.report import checklist, facts, findings, flags, repetition, views
from suites.harness.report.comparison_section import ComparisonSection
from suites.harness.report.finding_matrix import anchor, finding_matrices
from suites.harness.report.grid_section import GridSection
from suites.harness.report.growing_tables import MOST_ROWS
from suites.harness.report.hospitals_section import HospitalsSection
from suites.harness.report.pictures import Picture
from suites.harness.report.table import as_table
from suites.harness.report.views import Evidence, Shot
from suites.harness.statistics import RESAMPLES, forget
from suites.harness.subjects.subject import Subject

FILMS = "films.html"
"""The page beside this one that lists every film."""
TEMPLATES = Path(__file__).with_name("templates")
SUBGROUPS = ("view", "age_group", "sex", "site", "scanner", "finding", "split")
CONTENTS = (
    ("summary", "Summary"),
    ("claims", "Claims"),
    ("appendix", "Appendix"),
)
APPENDIX = (
    ("performance", "Performance on clean films"),
    ("grid", "Stress grid"),
    ("hospitals", "Stress and other hospitals"),
    ("comparison", "Subjects compared"),
    ("flow", "Films"),
    ("provenance", "Provenance"),
    ("limits", "Limits of the evidence"),
    ("flags", "What checks and warnings mean"),
    ("checklist", "Reporting checklist"),
    ("downloads", "Downloads"),
)


def render(
    record: Record,
    evidence: Mapping[tuple[str, str], Evidence],
    downloads: Sequence[tuple[str, str]],
    comparison: ComparisonSection | None = None,
    grid: GridSection | None = None,
    *,
    hospitals: HospitalsSection | None = None,
    hospital_pictures: Mapping[str, Sequence[Picture]] | None = None,
) -> str:
    """Return index.html.

    Args:
        record: the finished run.
        evidence: pictures already stored, by (claim id, subject).
        downloads: (file, what it holds), linked at the end.
        comparison: the section on pairs of subjects, its pictures stored already.
        grid: the section on every perturbation, its pictures stored already.
        hospitals: the section on stress beside other hospitals.
        hospital_pictures: its pictures by hospital, stored already.
    """
    names = [subject.name for subject in record.subjects]
    first = {whole_of(subject).name: subject for subject in reversed(record.subjects)}
    wholes = [whole_of(subject) for subject in reversed(first.values())]  # a network of several findings once
    absent = {"comparison" if len(wholes) < 2 else "", "grid" if grid is None else ""}
    absent.add("hospitals" if hospitals is None else "")
    parts = views.sections(record, evidence)
    tallies = views.tallies(record)  # a run that ended early may have judged nothing of a subject
    heads = [_first(record, subject) for subject in record.subjects if subject.name in tallies]
    performance = [_performance(record, index) for index in range(len(names))]
    forget()  # here the last is resampled
    give_back()
    return environment().get_template("page.html.j2").render(
        record=record,
        title=_title(names, record),
        matrices=finding_matrices(record),
        subjects=names,
        sides={subject.name: subject.classes for subject in record.subjects if subject.whole is not None},
        several=len(names) > 1,
        contents=CONTENTS,
        appendix=[entry for entry in APPENDIX if entry[0] not in absent],
        sections=parts,
        judged=bool(record.judgements),
        tallies=tallies,
        beside=views.beside(record),
        counts=views.claim_counts(parts),
        all_words=list(wording.VERDICTS.values()),
        first=heads,
        performance=performance,
        estimators=repetition.Estimators.of(record.judgements),
        resamples=f"{RESAMPLES:,}",
        ranks=as_table(views.ranks(record)),
        comparison=comparison,
        films_page=next((name for name, _ in downloads if name == FILMS), ""),
        grid=grid,
        hospitals=hospitals,
        hospital_pictures=hospital_pictures or {},
        flow=_flow(record),
        duration=_duration(record.seconds),
        expected=_duration(record.expected) if record.expected else "",
        weights=[whole.provenance.sha256[:10] for whole in wholes],
        provenance=[_provenance(whole, record.checks.get(first[whole.name].name, ())) for whole in wholes],
        raised=flags.raised(record),
        checklist=checklist.answers(record, grid=grid is not None),
        downloads=downloads,
        **assets(),
    )  # fmt: skip


def render_cards(record: Record, cards: Sequence[Card], shots: Sequence[Shot] = ()) -> str:
    """Return perturbations.html: the physics card of every perturbation of the run, its picture from `shots` on it."""
    return (
        environment()
        .get_template("perturbations.html.j2")
        .render(record=record, cards=cards, shots=shots, validated=[validation_of(card) for card in cards], **assets())
    )


def render_checks(record: Record) -> str:
    """Return checks.html: every check and warning a report can carry."""
    return environment().get_template("checks.html.j2").render(record=record, groups=flags.entries(record), **assets())


def environment() -> jinja2.Environment:
    """Return where templates are found, autoescaped, with the filters that they use."""
    found = jinja2.Environment(
        loader=jinja2.FileSystemLoader(TEMPLATES),
        finalize=_published,
        autoescape=True,
        undefined=jinja2.StrictUndefined,
        trim_blocks=True,
        lstrip_blocks=True,
    )
    found.filters |= {"estimate": wording.estimate, "interval": wording.interval, "words": wording.plain_name}
    found.filters |= {"measure_words": wording.measure_words, "counted": counted}
    found.filters |= {
        "opened": wording.opened,
        "stress": wording.stress,
        "anchor": checklist.claim_anchor,
        "headline": wording.headline,
        "sized": wording.sized,
        "condition": wording.condition_words,
        "run_of": repetition.run_of,
    }
    found.globals |= {"verdict_words": wording.VERDICTS, "beyond_words": wording.BEYOND}
    found.tests["in_one_piece"] = wording.in_one_piece
    return found


def _published(value: object) -> object:
    """Return what the page prints of a value: texts without folders of this machine, our own HTML as it is."""
    return without_folders(value) if isinstance(value, str) and not isinstance(value, Markup) else value


def assets(script: str = "page.js") -> dict[str, Markup]:
    """Return our own style and scripts, the only text that goes into a page unescaped."""
    files = {"style": "style.css", "early": "early.js", "script": script}
    return {name: Markup((TEMPLATES / file).read_text(encoding="utf-8")) for name, file in files.items()}  # noqa: S704


def _title(names: Sequence[str], record: Record) -> str:
    if record.subjects:  # one of several findings once
        names = list(dict.fromkeys(whole_of(subject).name for subject in record.subjects))
    return " against ".join(names) if names else record.cohort.name


def _duration(seconds: float) -> str:
    minutes, rest = divmod(round(seconds), 60)
    hours, minutes = divmod(minutes, 60)
    return f"{hours} h {minutes} min" if hours else f"{minutes} min {rest} s" if minutes else f"{seconds:.1f} s"


def _provenance(subject: Subject, checks: Sequence[SubjectCheck]) -> dict[str, Any]:
    """Return a subject with its preprocessing, checks and training as text; the weights' hash is printed once."""
    training = facts.lines(subject.provenance.training, told=(subject.provenance.sha256,))
    recipe = facts.lines(subject.preprocessing.fingerprint())
    return {
        "subject": subject,
        "source": spec_without_folders(subject.provenance.source),
        "preprocessing": ", ".join(f"{name} {text}" for name, text in recipe.items()),
        "held": [check.name for check in checks if check.passed],
        "told": [check.detail for check in checks if not check.passed or check.name == FLOAT_PATH],
        "training": {name: _in_words(text, subject) for name, text in training.items()},
    }


def _in_words(text: str, subject: Subject) -> str:
    """Return a text with the classes of a subject in words."""
    for name in subject.classes:
        text = re.sub(rf"(?<!\w){re.escape(name)}(?!\w)", wording.plain_name(name), text)
    return text


def _first(record: Record, subject: Subject) -> dict[str, Any]:
    """Return what the first screen says of a subject."""
    answers = clean_films.clean_answers(record, subject)
    overall = clean_films.overall(answers) if answers else []
    by_class = clean_films.row_intervals(answers) if answers else []
    sides = subject.classes if subject.whole is not None else ()
    recalls = [
        (
            wording.measure_words(f"recall_{label}", sides) if sides else f"{wording.plain_name(label)} recognised",
            by_class[row][answers.classes.index(label)],
        )
        for row, label in enumerate(answers.labels if answers else ())
        if answers and label in answers.classes
    ]
    return {
        "subject": subject.name,
        "anchor": anchor(subject.name) if subject.whole is not None else "",
        "accuracy": next((measure for measure in overall if measure.name == "accuracy"), None),
        "recalls": recalls,
        "told": findings.shown(record, subject.name),
        "open": findings.unsettled(record, subject.name),
        "findings": findings.findings(record.judgements, subject.name, findings.whose(record.cohort)),
    }


def _performance(record: Record, index: int) -> dict[str, Any]:
    subject = record.subjects[index]
    answers = clean_films.clean_answers(record, subject)
    if answers is None:
        return {"subject": subject.name, "matrix": []}
    shares = clean_films.row_intervals(answers)
    return {
        "subject": subject.name,
        "overall": clean_films.overall(answers),
        "classes": answers.classes,
        "matrix": [
            {
                "label": label,
                "total": int(answers.counts[row].sum()),
                "cells": [
                    (shares[row][column], int(answers.counts[row, column]), label == said)
                    for column, said in enumerate(answers.classes)
                ],
            }
            for row, label in enumerate(answers.labels)
        ],
        "strange": [label for label in answers.labels if label not in answers.classes],
        "classwise": clean_films.per_class(answers),
        "prevalence": clean_films.at_prevalence(answers),
    }


def _distinct(table: pd.DataFrame) -> int:
    """Return how many different rows a table has; of millions not all are numbered at once."""
    parts = [table.iloc[at : at + MOST_ROWS].drop_duplicates() for at in range(0, len(table), MOST_ROWS)]
    return len(pd.concat(parts).drop_duplicates()) if parts else 0


def _flow(record: Record) -> dict[str, Any]:
    films = record.cohort.table
    own = record.excluded[record.excluded["cohort"] == record.cohort.name]
    asked = _distinct(record.predictions[["cohort", "condition", "severity"]])
    known: list[str] = []
    unknown: list[str] = []
    for name in SUBGROUPS:
        values = (
            films[name].astype(str).replace({"nan": "", "None": "", "<NA>": ""}) if name in films else pd.Series([""])
        )
        (known if (values != "").any() else unknown).append(name)
    subgroups = []
    for name in known:
        if name != "split":  # patients alone are grouped: parts of the whole table would be as large as it is
            groups = films["patient"].groupby(films[name].astype(str), sort=True)
            sizes = groups.size()
            subgroups += [
                {
                    "what": wording.plain_name(name),
                    "value": str(value) or "not recorded",
                    "films": size,
                    "patients": patients,
                }
                for value, size, patients in zip(sizes.index, sizes, groups.nunique(), strict=True)
            ]
    probes = [
        {
            "role": role,
            "films": len(cohort),
            "patients": cohort.patients,
            "name": cohort.name,
            "simulated": cohort.simulated,
        }
        for role, cohort in record.probes.items()
    ]
    classes = (
        films[["id", "patient", "label"]]
        .assign(split=films["split"].astype(str).where(films["split"].astype(str).ne(""), "whole"))
        .groupby(["label", "split"], sort=True)
        .agg(films=("id", "size"), patients=("patient", "nunique"))
        .reset_index()
        .rename(columns={"label": "class"})
    )
    return {
        "found": len(record.cohort) + len(own),
        "lost": len(own),
        "all_lost": len(record.excluded),
        "answers": len(record.predictions),
        "conditions": asked,
        "classes": as_table(classes, names=set(classes["class"])),
        "probes": as_table(pd.DataFrame(probes)),
        "subgroups": as_table(pd.DataFrame(subgroups).replace({np.nan: ""})),
        "unknown": [wording.plain_name(name) for name in unknown],
        "excluded": as_table(record.excluded[["cohort", "file", "reason"]].reset_index(drop=True)),
    }
