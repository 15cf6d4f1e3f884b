"""Does stress predict what subjects lose at other hospitals? The first study, on real films of three hospitals.

    CHEST_XRAY_SHARED=... uv run python -m tests.benchmarks.small_subjects SUBJECTS
    CHEST_XRAY_SHARED=... uv run python -m tests.benchmarks.hospital_study SUBJECTS OUT            # about an hour
    CHEST_XRAY_SHARED=... uv run python -m tests.benchmarks.hospital_study SUBJECTS OUT --films 60  # a first look

Children's films of one hospital (`shared/data/kermany`, test split) are home; adults' frontal films of two collections
are the others (`nih`, `cidc`; their findings are read as labels). Subjects: the stand-in for the published weights and
the small subjects of `small_subjects`. Every perturbation of the preset `quick` is run on the home films.

Writes OUT/report-stand-in and OUT/report-small (the runs' own), OUT/validity (page, figure, tables over all subjects),
OUT/predictive.csv (the same as `robustness/predictive.csv`)
and OUT/pixels.csv (which small mix of perturbations makes home films look like those of each hospital, by statistics of
pixels). No film is kept.
"""

from __future__ import annotations

import argparse
import os
from pathlib import Path

import numpy as np
import pandas as pd
import torch

from robustness import get as perturbation
from robustness.perturbation import PerturbationUndefined
from suites.harness import evaluate
from suites.harness.claims_table import load_claims
from suites.harness.cohorts.cohort import Cohort
from suites.harness.cohorts.layouts import load_cohort
from suites.harness.cohorts.rows import Row
from suites.harness.stress_grid.whole import preset_conditions
from suites.harness.validity.drops import drops_of
from suites.harness.validity.jpeg_tables import jpeg_quality
from suites.harness.validity.mix import distance, small_mix
from suites.harness.validity.write import write_validity
from tests.benchmarks.film_statistics import STATISTICS
from tests.benchmarks.small_subjects import specs

LOOKED_AT = 40
"""Films of each hospital whose pixels are measured."""
MEASURED = ("width", "typical", "clipped", "noise", "slope", "edges", "laplacian", "frame", "letters", "blocking")
"""Statistics: histogram, noise power, sharpness, borders and what lies on them, compression."""
NUMBERS = (*MEASURED, "JPEG quality, tens")
"""With that of the file's own tables."""
CLAIMS = ("external.drop",)
NAMES = {"nih": "adults of ChestX-ray14", "cidc": "adults of the COVID-19 Image Data Collection"}
"""How `robustness/predictive.csv` calls the hospitals."""


def manifests(shared: Path, out: Path) -> dict[str, str]:
    """Write a manifest of the adults' films of each collection; returns name -> spec."""
    root = shared / "data" / "external"
    table = pd.read_csv(root / "metadata.csv")
    found = {}
    for name in ("nih", "cidc"):
        mine = table[table["file"].str.startswith(f"adult_frontal/{name}/")]
        out.mkdir(parents=True, exist_ok=True)
        mine.assign(file=[str(root / file) for file in mine["file"]]).to_csv(out / f"{name}.csv", index=False)
        found[name] = str(out / f"{name}.csv")
    return found


def numbers(cohort: Cohort, films: int, condition: tuple[str, int] | None = None) -> np.ndarray:
    """Return (n, S) statistics of films drawn from a cohort, as they are or under a perturbation."""
    rows = []
    for row in cohort.limited(films, 0).rows():
        film = torch.from_numpy(cohort.decode(row).pixels)
        if condition is not None:
            name, severity = condition
            try:
                film = perturbation(name)(film[None], severity, [str(row["id"])])[0]
            except PerturbationUndefined:
                continue
        rows.append([*(STATISTICS[name].of(film.numpy()) for name in MEASURED), quality(row, condition)])
    return np.asarray(rows, dtype=np.float64)


def quality(row: Row, condition: tuple[str, int] | None = None) -> float:
    """Return the JPEG quality of a film's file, in tens; under compression that of the copy."""
    if condition is not None and condition[0] == "jpeg_quality":
        return float(perturbation("jpeg_quality").levels[condition[1] - 1]["quality"]) / 10
    return jpeg_quality(Path(str(row["file"]))) / 10


def published(validity: Path) -> pd.DataFrame:
    """Return the table of a study as `robustness/predictive.csv` has it."""
    table = pd.read_csv(validity / "validity.csv").drop(columns="p")
    table["hospital"] = table["hospital"].map(lambda name: NAMES.get(Path(name).stem, name))
    return table.round(3)


def pixels(home: Cohort, others: dict[str, Cohort], films: int = LOOKED_AT) -> pd.DataFrame:
    """Return for each hospital the small mix that describes it best, and how near it truly comes."""
    at_home = numbers(home, films)
    changed = {}
    for condition in preset_conditions("quick"):
        changed[condition.text] = numbers(home, films, (condition.perturbation, condition.severity))
    rows = []
    for name, cohort in others.items():
        away = numbers(cohort, films)
        found = small_mix(at_home, away, changed)
        alone = {text: distance(at_home, away, made) for text, made in changed.items()}
        best = min(alone, key=alone.__getitem__)
        rows.append(
            {"hospital": name, "distance": found.before, "mix": " + ".join(found.conditions) or "none helps",
             "left if steps add up": found.after, "nearest single": best, "left by it, measured": alone[best]}
            | {f"{one}, hospital": value for one, value in zip(NUMBERS, found.away, strict=True)}
            | {f"{one}, mix": value for one, value in zip(NUMBERS, found.made, strict=True)}
        )  # fmt: skip
    return pd.DataFrame(rows)


def judged(subjects: dict[str, str], words: argparse.Namespace, others: dict[str, str], shared: Path) -> Path:
    """Judge subjects on the films of all hospitals and write their report; returns its folder."""
    run = evaluate(
        list(subjects.values()), str(shared / "data" / "kermany"), name=list(subjects), external=list(others.values()),
        claims=[claim for claim in load_claims() if claim.id in CLAIMS], preset="quick", limit=words.films,
        cache=words.cache or words.out / "cache",
    )  # fmt: skip
    print(run.to_pandas()[["claim", "subject", "verdict", "estimate", "low", "high"]].to_string(), flush=True)
    folder = words.out / ("report-stand-in" if "kermany-atto" in subjects else "report-small")
    run.report(folder)
    return folder


def main() -> None:
    """Run the study."""
    given = argparse.ArgumentParser(description=(__doc__ or "").split("\n")[0])
    given.add_argument("subjects", type=Path)
    given.add_argument("out", type=Path)
    given.add_argument("--films", type=int, default=None, help="home films (default all)")
    given.add_argument("--cache", type=Path, default=None)
    given.add_argument("--part", choices=("all", "small", "stand-in", "pixels"), default="all")
    words = given.parse_args()
    torch.set_num_threads(1)
    shared = Path(os.environ["CHEST_XRAY_SHARED"])
    others = manifests(shared, words.out)
    if words.part in ("all", "stand-in"):
        judged({"kermany-atto": str(shared / "weights" / "kermany-convnextv2-atto")}, words, others, shared)
    if words.part in ("all", "small"):
        judged(specs(words.subjects), words, others, shared)
    if reports := sorted(words.out.glob("report-*")):
        print(write_validity(drops_of(reports), words.out / "validity"), flush=True)
        published(words.out / "validity").to_csv(words.out / "predictive.csv", index=False)
    if words.part in ("all", "pixels"):
        home = load_cohort(str(shared / "data" / "kermany"))
        table = pixels(home, {name: load_cohort(spec) for name, spec in others.items()},
                       min(LOOKED_AT, (words.films or 3 * LOOKED_AT) // 3))  # fmt: skip
        table.to_csv(words.out / "pixels.csv", index=False)
        print(table.T.to_string())


if __name__ == "__main__":
    main()
