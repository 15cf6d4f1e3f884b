"""How is a report written? Numbers, tables, figures and the page, all at once or not at all."""

from __future__ import annotations

import json
from collections.abc import Sequence
from hashlib import sha256
from pathlib import Path

import numpy as np
import torch
from numpy.typing import NDArray

from robustness.perturbation import PerturbationUndefined
from suites.harness.claims import Judgement
from suites.harness.errors import UsageProblem
from suites.harness.formatting.wording import slug
from suites.harness.local_paths import without_folders
from suites.harness.performance.paired_comparison import Pair
from suites.harness.predictions.conditions import CLEAN, parse
from suites.harness.process import give_back
from suites.harness.record import Record
from suites.harness.report import (
    comparison_section,
    films_page,
    grid_section,
    growing_tables,
    hospitals_section,
    page,
    pictures,
    results,
    shots,
)
from suites.harness.report.folder import report_folder
from suites.harness.report.hospitals_section import HospitalsSection
from suites.harness.report.views import Evidence
from suites.harness.stress_grid import StressGrid
from suites.harness.stress_grid.paired import pairs_under_stress

DOWNLOADS = (
    ("results.json", "every claim with its verdict and measures (schema 1)"),
    ("results.schema.json", "the JSON Schema of that file"),
    ("results.csv", "the same measures as a flat table"),
    ("predictions.parquet", "every answer of every subject: logits by film and condition"),
)
FILMS = "films", "the films with label and patient, to recompute any number"

CHECKS = ("checks.html", "what every check and warning means")


def write_report(
    record: Record,
    folder: Path,
    *,
    comparison: Sequence[Pair] = (),
    grid: StressGrid | None = None,
    hospitals: HospitalsSection | None = None,
) -> Path:
    """Write the report of a run and return its `index.html`.

    Args:
        record: the finished run.
        folder: created where missing; an earlier report in it is replaced, index.html last.
        comparison: every pair of subjects on clean films.
        grid: every perturbation of the run; its section is left out where there is none.
        hospitals: drops under stress beside those at other hospitals; left out where no films of any were given.

    Raises:
        UsageProblem: no claim was judged, the folder holds files no report wrote, it cannot be written, or the disk is
            full. What was there before is then untouched.
    """
    if not record.judgements:
        raise UsageProblem("no claim was selected, so there is nothing to report; check --claims and -k")
    stressed = pairs_under_stress(grid.subjects) if grid else []
    document = results.results_document(record, comparison_section.comparison_document(comparison, stressed))
    with report_folder(folder) as partial:
        seen: Seen = {}
        evidence = {
            (judgement.claim.id, judgement.subject): _once(_evidence(judgement, partial), judgement, partial, seen)
            for judgement in record.judgements
        }
        text = json.dumps(document, indent=1, ensure_ascii=False, allow_nan=False)
        (partial / "results.json").write_text(text + "\n", encoding="utf-8")
        (partial / "results.schema.json").write_bytes(results.SCHEMA_FILE.read_bytes())
        results.measures_table(document).to_csv(partial / "results.csv", index=False)
        films = results.films_table(record)
        count = len(films)
        parts = results.predictions_in_parts(record, growing_tables.MOST_ROWS)
        growing_tables.write_parts(parts, partial / "predictions.parquet")
        listed = growing_tables.write_table(films, partial, FILMS[0], films=count)
        del films
        give_back()  # here and below: what a part took that is made of all films, before the next is made
        section = grid_section.write_grid(grid, partial) if grid else None
        pairs = comparison_section.write_comparison(comparison, stressed, partial) if comparison else None
        further = (*(grid_section.FILES if grid else ()), *([comparison_section.FILE] if pairs else ()))
        drawn = hospitals.write(partial) if hospitals else {}
        further = (*further, *(hospitals_section.FILES if hospitals else ()))
        if films_page.write_films(record, _look(grid), partial):
            further = (*further, *films_page.files(count))
        give_back()
        downloads = (*DOWNLOADS, (listed, FILMS[1]), CHECKS, *further, *_files(record, partial))
        if section:
            cards = page.render_cards(record, section.cards, section.shots)
            (partial / grid_section.CARDS).write_text(cards, encoding="utf-8")
        (partial / CHECKS[0]).write_text(page.render_checks(record), encoding="utf-8")
        html = page.render(record, evidence, downloads, pairs, section, hospitals=hospitals, hospital_pictures=drawn)
        (partial / "index.html").write_text(html, encoding="utf-8")
    return folder / "index.html"


def _look(grid: StressGrid | None) -> films_page.Look | None:
    """Return what shows a film of the main cohort under a condition, where the run has any."""
    if grid is None:
        return None
    judged = [one.answers for one in grid.subjects]  # of several findings, each on films of its own

    def look(image: str, condition: str) -> NDArray[np.float32]:
        answers = next((one for one in judged if image in one.images), None)
        if answers is None:
            raise PerturbationUndefined("no subject is judged on it")
        if condition == CLEAN:  # with as many pixels as under stress
            return answers.resolution.working(torch.from_numpy(answers.film(image).pixels), None)[0].numpy()
        return answers.under(image, parse(condition))[0].numpy()

    return look


def _files(record: Record, folder: Path) -> list[tuple[str, str]]:
    """Write what the endpoints hand over as files; return (name, what it holds)."""
    given: dict[str, tuple[str, str]] = {}
    for judgement in record.judgements:
        given |= judgement.result.files if judgement.result else {}
    for name, (text, _) in given.items():
        (folder / name).write_text(without_folders(text), encoding="utf-8")
    return [(name, told) for name, (_, told) in given.items()]


Seen = dict[tuple[str, str], str]
"""(Subject, sha256 of a picture) -> the claim that shows it."""


def _once(evidence: Evidence, judgement: Judgement, folder: Path, seen: Seen) -> Evidence:
    """Return the evidence without pictures that another claim on the same subject shows already, which is named."""
    elsewhere: dict[str, None] = {}

    def fresh(picture: pictures.Picture, sidecar: str = "") -> bool:
        if not picture.file:
            return True
        digest = sha256((folder / picture.file).read_bytes()).hexdigest()
        first = seen.setdefault((judgement.subject, digest), judgement.claim.id)
        if first == judgement.claim.id:
            return True
        elsewhere[first] = None
        for name in filter(None, (picture.file, sidecar)):
            (folder / name).unlink()
        return False

    figures = [picture for picture in evidence.figures if fresh(picture)]
    kept = {
        title: [shot for shot in shots_of if fresh(shot.picture, shot.sidecar)]
        for title, shots_of in (evidence.galleries or {}).items()
    }
    galleries = {title: shots_of for title, shots_of in kept.items() if shots_of}
    return Evidence(figures=figures, galleries=galleries, elsewhere=tuple(elsewhere))


def _evidence(judgement: Judgement, folder: Path) -> Evidence:
    if judgement.result is None:
        return Evidence()
    stem = f"{slug(judgement.claim.id)}.{slug(judgement.subject)}"
    figures = [
        pictures.store(draw, folder, f"{stem}.{slug(name)}", name.replace("_", " "))
        for name, draw in judgement.result.figures.items()
    ]
    galleries = {
        title: shots.store_gallery(items, folder, f"{stem}.{slug(title)}")
        for title, items in judgement.result.galleries.items()
    }
    return Evidence(figures=figures, galleries=galleries)
