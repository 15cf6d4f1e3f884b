"""From a verdict to the film: which page shows every film with what was said of it, and the worst ones to look at?

One static page beside the report: searchable, sortable, a link to each film, and for the worst of them pictures pixel
for pixel, clean and stressed. It embeds two bytes per film and condition; everything else of it is in Parquet. Of more
films than a page can hold it lists the worst and, as many, a random sample of the others.
"""

from __future__ import annotations

import io
import json
from collections.abc import Callable, Mapping, Sequence
from pathlib import Path
from typing import Any

import numpy as np
import numpy.typing as npt
import pandas as pd
from markupsafe import Markup
from PIL import Image

from robustness.perturbation import PerturbationUndefined
from suites.harness.formatting.film_figures import in_8_bits
from suites.harness.predictions.conditions import CLEAN
from suites.harness.process import give_back
from suites.harness.record import Record
from suites.harness.report import growing_tables, page
from suites.harness.report.film_answers import STEPS, UNDEFINED, FilmAnswers, described, film_answers
from suites.harness.statistics import forget

PAGE = page.FILMS
SUMMARY, ANSWERS = "film-summary", "film-answers.parquet"
PICTURED = 12
"""Films whose pictures lie beside the page."""
GROUPS = 3
"""Perturbations shown of each: those that change its call at most severities."""
MOST_BYTES = 20 * 1024**2
"""Of pictures; films at their own pixels are large."""

PAGE_BYTES = 3 * 1024**2
"""Of what the page embeds about films, about."""

_JSON: dict[str, Any] = {"separators": (",", ":"), "ensure_ascii": False, "allow_nan": False}
_AT_ONCE = 2**10
"""Films whose texts are made objects together."""

Look = Callable[[str, str], npt.NDArray[np.float32]]
"""From a film's id and a condition to (H, W) in [0, 1], as the subject was shown it."""


def files(films: int) -> tuple[tuple[str, str], ...]:
    """Return name and content of what `write_films` writes of a run of so many films."""
    return (
        (PAGE, "every film with what was said of it, the worst ones to look at"),
        (
            growing_tables.named(SUMMARY, films),
            "one row per film and subject: truth, call, conditions that change it, its surest wrong call",
        ),
        (ANSWERS, "one row per film, subject and condition: call, confidence, right, changed"),
    )


def write_films(record: Record, look: Look | None, folder: Path) -> list[FilmAnswers]:
    """Write films.html, its tables and the pictures of the worst films; return what they were made from.

    Args:
        record: the finished run.
        look: shows a film of the main cohort under a condition; without it, or where it cannot, there are no pictures.
        folder: of the report.
    """
    answers = film_answers(record)
    if not answers:
        return []
    forget()  # nothing is resampled here, and drawing takes less than a second
    give_back()
    first, *others = (one.summary() for one in answers)
    everyone = len(answers[0].films)
    worst = first.iloc[answers[0].worst(25)]  # for readers without scripts
    summary = pd.concat([first, *others], ignore_index=True) if others else first
    table = growing_tables.write_table(summary, folder, SUMMARY, films=everyone)
    del first, others, summary
    give_back()
    growing_tables.write_rows((one.long for one in answers), folder / ANSWERS, films=everyone)
    give_back()
    listed = _listed(answers, record.seed)
    shown = [one.among(listed) for one in answers]
    chosen = _chosen(shown, record.cohort.name) if look else []
    conditions = [described(text) for text in answers[0].conditions]
    pictures = _pictures(shown, chosen, conditions, look, folder) if look else {}
    films = shown[0].films
    data = embedded({
        "steps": STEPS,
        "films": _Json(_rows_as_json(films[["id", "label", "patient", "cohort"]])),
        "conditions": conditions,
        "subjects": [one.packed() for one in shown],
        "pictures": pictures,
    })  # fmt: skip
    page.environment().get_template("films.html.j2").stream(
        record=record, data=data, pictured=len(pictures), films=everyone, listed=len(films), table=table,
        worst=worst.to_dict("records"), subjects=[one.subject for one in answers], **page.assets(script="films.js"),
    ).dump(str(folder / PAGE), encoding="utf-8")  # fmt: skip
    return answers


def _listed(answers: Sequence[FilmAnswers], seed: int) -> npt.NDArray[np.int64]:
    """Return the places of the films that the page lists, in their order: all, or as many as it can hold.

    Half of them are the worst of each subject in turn, the others a random sample of the rest.
    """
    films, conditions = answers[0].calls.shape
    about = answers[0].films[["id", "label", "patient", "cohort"]].astype(str)
    row = float(sum(about[name].str.len().mean() for name in about)) + 16 + len(answers) * conditions * 8 / 3
    most = max(int(PAGE_BYTES / row), 2 * PICTURED)
    if films <= most:
        return np.arange(films)
    turns = np.array([one.worst(most // 2) + [-1] * most for one in answers])[:, : most // 2].T.ravel()
    worst = np.array(list(dict.fromkeys(turns[turns >= 0].tolist()))[: most // 2], dtype=np.int64)
    others = np.setdiff1d(np.arange(films), worst)
    sample = np.random.default_rng(seed).choice(others, most - len(worst), replace=False)
    return np.sort(np.concatenate([worst, sample]))


class _Json(str):
    """A text that is JSON already."""


def _as_json(value: object) -> str:
    return value if isinstance(value, _Json) else json.dumps(value, **_JSON)


def _rows_as_json(table: pd.DataFrame) -> str:
    """Return the rows of a table as JSON has a list of lists; some are made objects at a time."""
    parts = (table.iloc[at : at + _AT_ONCE] for at in range(0, len(table), _AT_ONCE))
    rows = (_as_json(list(part.itertuples(index=False, name=None)))[1:-1] for part in parts)
    return f"[{','.join(rows)}]"


def embedded(data: Mapping[str, object]) -> Markup:
    """Return data as JSON for a script element of type application/json: nothing in it can end the element."""
    text = "{" + ",".join(f"{_as_json(name)}:{_as_json(value)}" for name, value in data.items()) + "}"
    safe = text.replace("<", "\\u003c").replace(">", "\\u003e").replace("&", "\\u0026")
    return Markup(safe)  # noqa: S704 - every character that HTML looks at is escaped


def _chosen(answers: Sequence[FilmAnswers], cohort: str) -> list[int]:
    """Return the films to be pictured: the worst of each subject in turn, those of the main cohort only."""
    main = answers[0].films["cohort"].to_numpy() == cohort
    each = [[at for at in one.worst(len(main)) if main[at]][:PICTURED] for one in answers]
    turns = [at for place in range(PICTURED) for films in each for at in films[place : place + 1]]
    return list(dict.fromkeys(turns))[:PICTURED]


def _pictures(
    answers: Sequence[FilmAnswers],
    chosen: Sequence[int],
    conditions: Sequence[dict[str, Any]],
    look: Look,
    folder: Path,
) -> dict[str, list[dict[str, Any]]]:
    """Write the pictures; return film -> its perturbations, each with (severity, file, width, height), clean as 0."""
    found: dict[str, list[dict[str, Any]]] = {}
    spent = 0
    (folder / "figures").mkdir(exist_ok=True)
    for number, at in enumerate(chosen):
        if spent > MOST_BYTES:
            break
        image = str(answers[0].films["id"].iloc[at])
        clean, size = _stored(look, image, CLEAN, folder / "figures" / f"film-{number:02d}.clean.jpg")
        spent += size
        series = []
        for order, group in enumerate(_groups(answers, at, conditions)):
            shots = [clean]
            for entry in group:
                file = folder / "figures" / f"film-{number:02d}.{order}-{entry['severity']}.jpg"
                shot, size = _stored(look, image, entry["text"], file)
                spent += size
                shots.append(shot | {"severity": entry["severity"]})
            series.append(
                {
                    "group": group[0]["group"],
                    "name": group[0]["name"],
                    "shots": [shot for shot in shots if shot["file"]],
                }
            )
        found[str(at)] = series or [{"group": CLEAN, "name": CLEAN, "shots": [clean]}]
    return found


def _groups(
    answers: Sequence[FilmAnswers], at: int, conditions: Sequence[dict[str, Any]]
) -> list[list[dict[str, Any]]]:
    """Return the perturbations that change a film's call at most severities, of any subject, with their conditions."""
    groups: dict[str, list[dict[str, Any]]] = {}
    flips: dict[str, int] = {}
    for place, entry in enumerate(conditions):
        if not entry["severity"] or all(one.calls[at, place] >= UNDEFINED for one in answers):
            continue
        groups.setdefault(entry["group"], []).append(entry)
        flips[entry["group"]] = flips.get(entry["group"], 0) + sum(int(one.changed[at, place]) for one in answers)
    order = sorted((name for name in groups if flips[name]), key=lambda name: -flips[name])
    return [sorted(groups[name], key=lambda entry: int(entry["severity"])) for name in order[:GROUPS]]


def _stored(look: Look, image: str, condition: str, file: Path) -> tuple[dict[str, Any], int]:
    """Write one film at its own pixels; return its entry and its bytes, no file where it cannot be shown."""
    try:
        pixels = look(image, condition)
    except PerturbationUndefined:
        return {"severity": 0, "file": "", "width": 0, "height": 0}, 0
    buffer = io.BytesIO()
    grey = Image.fromarray(in_8_bits(pixels))
    grey.save(buffer, "JPEG", quality=90, optimize=True)
    file.write_bytes(buffer.getvalue())
    entry = {"severity": 0, "file": f"figures/{file.name}", "width": grey.width, "height": grey.height}
    return entry, buffer.tell()
