"""Cohorts of simulated films as a table, rendered row by row."""

from __future__ import annotations

from collections.abc import Iterator, Mapping, Sequence
from typing import Any

import pandas as pd
import torch

from .film import PhantomFilm, render
from .findings import FINDINGS
from .patient import AGE_GROUPS, sample_patient, stream
from .projection import VIEWS
from .several import SeveralFindings, drawn_names, render_several

LABELS = {"lobar": "bacterial_pneumonia", "normal": "normal", "interstitial": "viral_pneumonia"}
MIXES: dict[str, tuple[str, ...]] = {
    "mix": ("normal", "lobar", "interstitial"),
    "unseen": ("effusion", "pneumothorax", "mass"),
    "whiteout": tuple(name for name in FINDINGS if name.startswith("whiteout")),
}
SEVERAL_AT_ONCE = "several"
COLUMNS = ("id", "patient", "label", "view", "age_group", "finding", "split", "seed", "film")


def cohort_table(
    n: int, *, seed: int = 0, view: str = "AP", age: str = "child",
    findings: str | Sequence[str] = "mix", split: str = "test", films_per_patient: float = 1.4,
) -> pd.DataFrame:  # fmt: skip
    """Return one row per film of a simulated cohort; nothing is rendered yet.

    Args:
        n: number of films, at least 1.
        seed: of the cohort; other seeds give other patients. Rows do not depend on n.
        view: one of `VIEWS`.
        age: one of `AGE_GROUPS`.
        findings: names from `FINDINGS`, taken in turn, or "mix", "unseen" or "whiteout"; "several": none to three of
            `several.SEVERAL` at once, drawn for each patient.
        split: value of the column `split`; part of every identity, so splits share no patient.
        films_per_patient: mean number of films of one patient, 1 to 4; all of them show the same finding.

    Returns:
        Columns id, patient, label (empty for findings outside the three classes), view, age_group, finding (several
        joined by +, "normal" for none), split, seed, film.

    Raises:
        ValueError: for an unknown name or an impossible number.
    """
    if n < 1:
        raise ValueError(f"n={n!r} must be at least 1 film")
    if not 1.0 <= films_per_patient <= 4.0:
        raise ValueError(f"films_per_patient={films_per_patient!r} must lie between 1 and 4")
    if view not in VIEWS:
        raise ValueError(f"unknown view {view!r}; known: {', '.join(VIEWS)}")
    if age not in AGE_GROUPS:
        raise ValueError(f"unknown age group {age!r}; known: {', '.join(AGE_GROUPS)}")
    several = findings == SEVERAL_AT_ONCE
    mixes = {**MIXES, SEVERAL_AT_ONCE: ("normal",)}
    names = mixes.get(findings, (findings,)) if isinstance(findings, str) else tuple(findings)
    unknown = [name for name in names if name not in FINDINGS]
    if unknown or not names:
        raise ValueError(
            f"unknown finding {unknown[0] if unknown else findings!r}; known: {', '.join([*FINDINGS, *mixes])}"
        )
    rows: list[tuple[object, ...]] = []
    number = 0
    while len(rows) < n:
        patient = f"{split}-{number:05d}"
        drawn = "+".join(drawn_names(seed, age, split, number)) if several else names[number % len(names)]
        finding = drawn or "normal"
        rng = stream("cohort", seed, age, split, number)
        count = 1 + int(rng.binomial(3, (films_per_patient - 1.0) / 3.0))
        for film in range(min(count, n - len(rows))):
            name = f"phantom-{seed}-{age}-{patient}-{film}-{view}-{finding}"
            rows.append(
                (
                    name,
                    f"phantom-{seed}-{age}-{patient}",
                    "" if several else LABELS.get(finding, ""),
                    view,
                    age,
                    finding,
                    split,
                    seed,
                    film,
                )
            )
        number += 1
    return pd.DataFrame(rows, columns=list(COLUMNS))


def render_row(row: Mapping[Any, Any], *, size: int = 256, device: str | torch.device = "cpu") -> PhantomFilm:
    """Render the film of one row of `cohort_table`."""
    patient = sample_patient(str(row["patient"]), int(row["seed"]), str(row["age_group"]), film=int(row["film"]))
    return render(patient, str(row["finding"]), str(row["view"]), size, device=device)


def render_several_row(
    row: Mapping[Any, Any], *, size: int = 256, device: str | torch.device = "cpu"
) -> SeveralFindings:
    """Render the film of one row of a cohort with several findings at once."""
    patient = sample_patient(str(row["patient"]), int(row["seed"]), str(row["age_group"]), film=int(row["film"]))
    return render_several(patient, names_in(str(row["finding"])), str(row["view"]), size, device=device)


def names_in(finding: str) -> tuple[str, ...]:
    """Return the findings that the column `finding` of such a cohort names."""
    return () if finding == "normal" else tuple(finding.split("+"))


def films(
    table: pd.DataFrame, *, size: int = 256, device: str | torch.device = "cpu"
) -> Iterator[tuple[str, PhantomFilm]]:
    """Yield (id, film) row by row; only one film is held at a time."""
    for row in table.to_dict("records"):
        yield str(row["id"]), render_row(row, size=size, device=device)
