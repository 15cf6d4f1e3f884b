"""The numbers of a report, recomputed from its predictions.parquet and films.csv with pandas and scikit-learn alone."""

from __future__ import annotations

import json
from dataclasses import replace
from pathlib import Path

import numpy as np
import pandas as pd
import pytest
from sklearn.metrics import roc_auc_score

from suites.harness.claims_table import load_claims
from suites.harness.evaluation import Evaluation
from suites.harness.report.results import films_table, predictions_table
from tests.benchmarks.subgroups_on_real_films import adults, run_on, stand_in
from tests.controls.films import cohort_of
from tests.controls.subjects import Mistaken, subject_of

CONDITIONS = ("scatter@3", "underexposure_stress@3", "grid_stripes@3")


def recomputed(folder: Path) -> dict[tuple[str, str], float]:
    """Return the gap of each group of one attribute, by name of the measure and condition, from the tables alone."""
    films = pd.read_csv(folder / "films.csv", keep_default_na=False).rename(columns={"id": "image"})
    classes = json.loads((folder / "classes.json").read_text())
    asked = pd.read_parquet(folder / "predictions.parquet").merge(films, on=["image", "cohort"], validate="m:1")
    logits = asked[[f"logit_{k}" for k in range(len(classes))]].to_numpy()
    odds = np.exp(logits - logits.max(axis=1, keepdims=True))
    asked["risk"] = 1 - odds[:, classes.index("normal")] / odds.sum(axis=1)
    asked["right"] = (np.array(classes)[logits.argmax(axis=1)] == asked["label"]).astype(float)
    asked["ill"] = asked["label"] != "normal"
    wide = asked.pivot_table(index="image", columns="condition", values="right")
    clean = asked[asked["condition"] == "clean"].set_index("image")
    found = {}
    for column, name in (("view", "view"), ("age_band", "age"), ("sex", "sex")):
        known = clean[clean[column] != ""] if column in clean else clean[:0]
        for value in known[column].unique() if len(known) else ():
            sides = known[known[column] == value], known[known[column] != value]
            missed = [(side["risk"] < 0.5)[side["ill"]].mean() for side in sides]
            found["underdiagnosis_gap", f"clean, {name} {value}"] = missed[0] - missed[1]
            if all(side["ill"].nunique() == 2 for side in sides):
                areas = [roc_auc_score(side["ill"], side["risk"]) for side in sides]
                found["auroc_gap", f"clean, {name} {value}"] = areas[1] - areas[0]
            for number, condition in enumerate(name for name in CONDITIONS if name in wide):
                lost = [(wide["clean"] - wide[condition]).loc[side.index].mean() for side in sides]
                found["stress_gap", f"{name} {value}, {number}"] = lost[0] - lost[1]
    return found


def measured(run: Evaluation) -> dict[tuple[str, str], float]:
    """Return the same as the claims have it."""
    found = {}
    for judgement in run.judgements:
        for one in judgement.result.measures if judgement.result else ():
            condition = one.condition
            if one.name == "stress_gap" and ", under " in condition:
                group, under = condition.removeprefix("stress - clean, ").split(", under ")
                number = next(at for at, word in enumerate(("scatter", "underexposure", "grid")) if word in under)
                condition = f"{group}, {number}"
            found[one.name, condition] = one.estimate
    return found


def compared(run: Evaluation, folder: Path) -> int:
    """Hold both against each other on the files of a report, and return how many numbers there are."""
    record = run.record()
    folder.mkdir()
    predictions_table(record).to_parquet(folder / "predictions.parquet")
    films_table(record).to_csv(folder / "films.csv", index=False)
    (folder / "classes.json").write_text(json.dumps(record.subjects[0].classes))
    ours, theirs = measured(run), recomputed(folder)
    shared = sorted(set(ours) & set(theirs))
    np.testing.assert_allclose([ours[key] for key in shared], [theirs[key] for key in shared], atol=1e-6)
    return len(shared)


def test_drawn_films(tmp_path):
    generator = np.random.default_rng(0)
    cohort = cohort_of(150)
    facts = {"sex": generator.choice(["M", "Frau", ""], 150), "age": generator.choice(["005Y", "40", "-1"], 150)}
    run = Evaluation(
        subjects=[subject_of(Mistaken(0.3), "mistaken")],
        cohort=replace(cohort, table=cohort.table.assign(**facts)),
        claims=[claim for claim in load_claims() if claim.id.startswith("subgroup.")],
        cache=tmp_path / "cache", quiet=True,
    )  # fmt: skip
    assert compared(run.run(), tmp_path / "report") == 4 * 5


@pytest.mark.realdata
def test_adult_films_by_view_age_and_sex(shared, tmp_path):
    cohort = adults(shared, tmp_path).limited(60, seed=0)
    chosen = ("subgroup.underdiagnosis", "subgroup.auroc")
    assert compared(run_on(cohort, stand_in(shared), tmp_path / "cache", chosen), tmp_path / "report") >= 4
