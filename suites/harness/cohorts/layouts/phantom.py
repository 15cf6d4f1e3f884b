"""How are simulated films asked for? `phantom`, or `phantom:n=200,view=LAT,age=adult,findings=effusion+mass,seed=3`.

Findings are taken in turn, one for each patient; with `findings=several` a patient has none to three of them at once,
and the cohort is labelled with findings.
`phantom:hospital=other` are films of another hospital, of other patients (`robustness.phantom_hospital`).
"""

from __future__ import annotations

import hashlib
import json
import re
from collections.abc import Mapping
from dataclasses import dataclass, field
from inspect import getsource

import numpy as np
import pandas as pd

from robustness.phantom import AGE_GROUPS, VIEWS, age_of, cohort_table, render_row
from robustness.phantom.cohort import SEVERAL_AT_ONCE, names_in, render_several_row
from robustness.phantom.several import SEVERAL
from robustness.phantom_hospital import HOSPITALS, numbers, render_there, treated
from suites.harness.cache.code_digest import digest_of
from suites.harness.cohorts.cohort import Cohort, Film
from suites.harness.cohorts.film_disk_cache import KeptFilms
from suites.harness.cohorts.findings import NEGATIVE, POSITIVE
from suites.harness.cohorts.findings import PREFIX as FINDING
from suites.harness.cohorts.layouts.registry import Spec, register
from suites.harness.cohorts.patient_facts import with_patient_facts
from suites.harness.cohorts.quoting import shown
from suites.harness.errors import CohortProblem
from suites.import_names import PREFIX

FILMS = 360
"""Films of the default cohort: 120 per class, above the 100 that a rate needs."""
MOST_FILMS = 100_000
"""A table of more takes long to write before the first film is drawn, and no interval gets narrower that matters."""
_LARGEST = 2**63 - 1
_KEYS = ("n", "view", "age", "findings", "seed", "hospital")


@dataclass(frozen=True)
class Renderer:
    """Renders the film of a row when it is asked for, so memory does not grow with the cohort.

    Attributes:
        several: the column `finding` names none to three findings of `robustness.phantom.SEVERAL`.
    """

    several: bool = False

    def __call__(self, row: Mapping[str, object]) -> Film:
        """Return the film with its lung, heart and lesion masks, of several findings with a mask of each as well."""
        lesions = {}
        if self.several:
            drawn = render_several_row(row)
            made, lesions = drawn.film, {f"lesion:{name}": mask.numpy() for name, mask in drawn.lesions.items()}
        else:
            made = render_row(row)
        masks = {"lung": made.lung.numpy(), "heart": made.heart.numpy(), "lesion": made.lesion.numpy(), **lesions}
        return Film(pixels=made.film.numpy().astype(np.float32), content=self.identify(row), masks=masks)

    def identify(self, row: Mapping[str, object]) -> str:
        """Return what decides the film: its row, and the code that draws it."""
        keys = ("patient", "seed", "age_group", "film", "finding", "view")
        parts = [digest_of(f"{PREFIX}robustness.phantom"), *(str(row[key]) for key in keys)]
        parts += ["several"] * self.several  # with masks of their own
        return hashlib.sha256(json.dumps(parts).encode()).hexdigest()


@dataclass(frozen=True)
class RendererThere(Renderer):
    """Renders films as another hospital takes them; `hospital` is its name."""

    hospital: str = field(kw_only=True)

    def __call__(self, row: Mapping[str, object]) -> Film:
        """Return the film with its lung, heart and lesion masks."""
        made = render_there(row, HOSPITALS[self.hospital])
        masks = {"lung": made.lung.numpy(), "heart": made.heart.numpy(), "lesion": made.lesion.numpy()}
        return Film(pixels=made.film.numpy().astype(np.float32), content=self.identify(row), masks=masks)

    def identify(self, row: Mapping[str, object]) -> str:
        """Return what decides the film: that of home, and every number of the hospital."""
        told = [super().identify(row), getsource(render_there), getsource(treated), numbers(HOSPITALS[self.hospital])]
        return hashlib.sha256(json.dumps(told, sort_keys=True).encode()).hexdigest()


@register(
    "phantom",
    recognises=lambda spec: spec.location == "phantom" or spec.location.startswith("phantom:"),
    precedence=5,
    described="phantom[:n=..,view=..,age=..,findings=..,seed=..,hospital=..]",
)
def phantom(spec: Spec) -> Cohort:
    """Load a simulated cohort.

    Raises:
        CohortProblem: an unknown key or value; the known ones are listed.
    """
    given = _given(spec)
    findings = given.get("findings", "mix")
    try:
        table = cohort_table(
            _whole(given.get("n", str(FILMS)), "n", 1, MOST_FILMS),
            seed=_whole(given.get("seed", "0"), "seed", -_LARGEST, _LARGEST),
            view=_known(given.get("view", "AP"), VIEWS, "view"),
            age=_known(given.get("age", "child"), AGE_GROUPS, "age"),
            findings=findings.split("+") if "+" in findings else findings,
        )
    except ValueError as problem:
        raise CohortProblem(f"{shown(spec.text)}: {shown(problem, 180)}") from problem
    several, hospital, notes = findings == SEVERAL_AT_ONCE, given.get("hospital"), tuple[str, ...]()
    renderer = Renderer(several)
    if several:
        shown_on = [names_in(str(text)) for text in table["finding"]]
        table = table.assign(
            **{f"{FINDING}{name}": [POSITIVE if name in found else NEGATIVE for found in shown_on] for name in SEVERAL}
        )
    if hospital is not None:
        if hospital not in HOSPITALS:
            raise CohortProblem(
                f"{shown(spec.text)}: hospital is {shown(hospital, 40)!r}; known are {', '.join(HOSPITALS)}"
            )
        if several:
            raise CohortProblem(f"{shown(spec.text)}: of another hospital each film has one finding; leave one out")
        renderer = RendererThere(hospital=hospital)
        table = table.assign(**{key: f"{hospital}-" + table[key] for key in ("id", "patient")}, site=hospital)
        notes = (f"simulated hospital {hospital!r}: {HOSPITALS[hospital].told}",)
    return Cohort(
        name=shown(spec.location.replace("phantom:", "phantom ", 1)),
        spec=spec.text,
        table=with_patient_facts(table.assign(file="", age=_ages(table))),
        decode=KeptFilms(renderer, renderer.identify),
        identify=renderer.identify,
        simulated=True,
        no_label=f"they are labelled with findings ({', '.join(SEVERAL)}), not with classes" if several else "",
        notes=notes,
    )


def _ages(table: pd.DataFrame) -> list[float]:
    """Return the ages of the films' patients; a phantom has no sex, no site and no scanner that could be recorded."""
    who = table[["patient", "seed", "age_group"]]
    known = {row: age_of(*row) for row in who.drop_duplicates().itertuples(index=False, name=None)}
    return [known[row] for row in who.itertuples(index=False, name=None)]


def _given(spec: Spec) -> dict[str, str]:
    """Return the settings behind the colon."""
    text = spec.location.removeprefix("phantom").removeprefix(":")
    settings = {}
    for pair in filter(None, text.split(",")):
        key, mark, value = pair.partition("=")
        if not mark or key not in _KEYS:
            known = ", ".join(f"{name}=..." for name in _KEYS)
            raise CohortProblem(f"{shown(spec.text)}: {shown(pair, 40)!r} is not one of {known}")
        settings[key] = value
    return settings


def _known(value: str, known: tuple[str, ...], what: str) -> str:
    """Return the known value of that spelling, whatever its case."""
    match = {name.lower(): name for name in known}
    match |= {"lateral": match.get("lateral", match.get("lat", value))} if what == "view" else {}
    if value.lower() not in match:
        raise ValueError(f"{what} is {shown(value, 40)!r}; known are {', '.join(known)}")
    return match[value.lower()]


def _whole(text: str, what: str, least: int, most: int) -> int:
    """Return a whole number within bounds."""
    if not re.fullmatch(r"[+-]?[0-9]{1,19}", text.strip()) or not least <= int(text) <= most:
        raise ValueError(f"{what} is {shown(text, 40)!r}; it must be a whole number from {least:,} to {most:,}")
    return int(text)
