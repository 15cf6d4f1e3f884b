"""May the same films be cohort, probe and external cohort at once? They share ids, and the report says so."""

from __future__ import annotations

import json
import random
import shutil
from pathlib import Path
from typing import Any

from suites.harness import evaluate
from tests.controls.films import cohort_of
from tests.controls.subjects import Reader, subject_of
from tests.hostile import material
from tests.hostile.case import Case, accepted, generator

ROLES = ("lateral", "adult", "unseen")


@generator("same_films", share=10)
def as_probes(rng: random.Random, place: Path) -> Case:
    """The cohort itself as a probe, as several, or two probes that are one."""
    roles = rng.sample(ROLES, rng.randint(1, 3))
    count = rng.choice([24, 24, 12])
    probes = {role: cohort_of(count) for role in roles}

    def act() -> Any:
        run = material.judged(place / "cache", probes=probes)
        run.report(place / "report")
        return json.loads((place / "report" / "results.json").read_text())

    return accepted(
        act,
        lambda found: len(found["claims"]) == 2 and all(found["probes"][role]["n"] == count for role in roles),
        what=f"the cohort as {', '.join(roles)}, {count} films",
    )


@generator("same_films", share=6)
def copies_of_a_file(rng: random.Random, place: Path) -> Case:
    """One film under several names is counted as often as it is there, and no cache mixes its names."""
    folder = place / "films"
    shutil.copytree(material.films_folder(), folder)
    first = sorted(folder.rglob("*.png"))[rng.randrange(9)]
    for number in range(rng.randint(1, 3)):
        shutil.copy(first, first.with_name(f"copy{number}.png"))
    count = len(list(folder.rglob("*.png")))

    def act() -> Any:
        return evaluate(
            subject_of(Reader(), "reader"), str(folder), claims=material.claims_file(), cache=place / "cache"
        )

    return accepted(
        act, lambda run: len(run.cohort) == count and len(run.judgements) == 2, what=f"{count} files of 9 films"
    )
