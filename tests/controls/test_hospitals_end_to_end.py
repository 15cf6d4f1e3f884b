"""From films of two hospitals to the report, and from its files alone back to the same numbers."""

from __future__ import annotations

from dataclasses import replace

import numpy as np
import pandas as pd
import pytest
import torch
from sklearn.metrics import balanced_accuracy_score, roc_auc_score, roc_curve
from torch import nn

from suites.commands import main
from suites.harness import evaluate
from suites.harness.claims_table import load_claims
from suites.harness.cohorts.cohort import Cohort
from suites.harness.cohorts.external import load_external
from suites.harness.cohorts.layouts import load_cohort
from suites.harness.errors import CohortProblem
from suites.harness.validity.in_report import section_of
from tests.benchmarks.hospital_study import manifests
from tests.controls.films import CLASSES, cohort_of, draw, film_of
from tests.controls.subjects import Reader, subject_of


class Blind(nn.Module):
    """Says the same of every film."""

    def forward(self, pixels):
        return torch.zeros(len(pixels), 3) + torch.tensor([0.0, 1.0, 0.0])


def hazy(row):
    """A film of another scanner: less contrast, another film than any at home."""
    film = draw({**row, "label": row["kind"], "number": int(row["number"]) + 1000})
    return film_of(0.35 + 0.4 * film.pixels, film.masks["lung"], film.masks["lesion"])


def elsewhere(films: int = 48) -> Cohort:
    kinds = [CLASSES[number % 3] for number in range(films)]
    labels = ["No Finding" if kind == "normal" else "Pneumonia" for kind in kinds]
    table = pd.DataFrame({"number": range(films), "kind": kinds, "label": labels, "finding": labels})
    table["id"] = table["patient"] = [f"there{number}" for number in range(films)]
    table = table.assign(file="", view="AP", age_group="adult", split="test")
    return Cohort(name="elsewhere", spec="elsewhere", table=table, decode=hazy)


def test_the_numbers_of_the_report_are_those_of_its_prediction_table(tmp_path, capsys):
    wanted = ("external.drop", "external.auroc", "contrast.gamma")
    claims = [claim for claim in load_claims() if claim.id in wanted]
    run = evaluate(
        subject_of(Reader(), "reader"), cohort_of(48), external=elsewhere(), claims=claims, cache=tmp_path / "cache"
    )
    run.report(tmp_path / "report")
    told = {judgement.claim.id: judgement.result for judgement in run.judgements}

    answers = pd.read_parquet(tmp_path / "report" / "predictions.parquet")
    films = pd.read_csv(tmp_path / "report" / "films.csv", keep_default_na=False)
    table = answers.merge(films, left_on=["cohort", "image"], right_on=["cohort", "id"])
    ill = ~table["label"].isin(["normal", "no_finding", "No Finding"])
    logits = table[["logit_0", "logit_1", "logit_2"]].to_numpy()
    table = table.assign(ill=ill, called=logits.argmax(axis=1) != 1)
    table["odds"] = np.logaddexp(logits[:, 0], logits[:, 2]) - logits[:, 1]
    clean = table[table["condition"] == "clean"]
    balanced, area = {}, {}
    for name, rows in clean.groupby("cohort"):
        balanced[name] = balanced_accuracy_score(rows["ill"], rows["called"])
        area[name] = roc_auc_score(rows["ill"], rows["odds"])
    fall = balanced["drawn"] - balanced["elsewhere"]
    assert fall > 0.1, "the other scanner must cost this subject something, or the test says little"
    assert told["external.drop"].effect.estimate == pytest.approx(fall)
    assert told["external.auroc"].effect.estimate == pytest.approx(area["drawn"] - area["elsewhere"])

    assert main(["validity", str(tmp_path / "report"), "--out", str(tmp_path / "validity")]) == 0
    assert "needs 4 subjects" in capsys.readouterr().out
    drops = pd.read_csv(tmp_path / "validity" / "validity-drops.csv")
    home = table[table["cohort"] == "drawn"]
    assert set(drops["condition"]) == {text for text in home["condition"] if text != "clean"}
    for row in drops.to_dict("records"):
        assert row["measured"] == pytest.approx(fall)
        under = home[home["condition"] == row["condition"]].dropna(subset=["logit_0"])
        before = home[(home["condition"] == "clean") & home["image"].isin(under["image"])]
        foretold = balanced_accuracy_score(before["ill"], before["called"]) - balanced_accuracy_score(
            under["ill"], under["called"]
        )
        assert row["predicted"] == pytest.approx(foretold), row["condition"]
        assert row["predicted_low"] <= row["predicted"] <= row["predicted_high"]
    in_report = pd.read_csv(tmp_path / "report" / "validity-drops.csv")
    pd.testing.assert_frame_equal(in_report.drop(columns="report"), drops.drop(columns="report"))
    page = (tmp_path / "report" / "index.html").read_text(encoding="utf-8")
    assert "Stress and other hospitals" in page
    assert "cannot be told from 1 subject; 4 are the fewest" in page


def test_a_subject_that_has_nothing_to_lose_says_nothing_of_stress(tmp_path):
    wanted = ("external.drop", "contrast.gamma")
    run = evaluate(
        subject_of(Blind(), "blind"), cohort_of(24), external=elsewhere(24), cache=tmp_path / "cache",
        claims=[claim for claim in load_claims() if claim.id in wanted],
    )  # fmt: skip
    section = section_of(run.record())
    assert section is not None
    assert list(section.parts) == []
    assert "blind of this run on elsewhere: it has nothing to lose" in section.left_out[0]


def test_a_report_without_another_hospital_says_what_to_pass(tmp_path, capsys):
    claims = [claim for claim in load_claims() if claim.id == "contrast.gamma"]
    run = evaluate(subject_of(Reader(), "reader"), cohort_of(24), claims=claims, cache=tmp_path / "cache")
    run.report(tmp_path / "report")
    assert main(["validity", str(tmp_path / "report"), "--out", str(tmp_path / "validity")]) == 4
    assert "--external SPEC" in capsys.readouterr().err
    assert not (tmp_path / "validity").exists()


def test_a_film_of_home_is_found_once_both_are_decoded(tmp_path):
    """Films made in Python are no files: their pixels are known when they are asked about."""
    again = cohort_of(24, name="again")
    again = Cohort(name="again", spec="again", table=again.table, decode=draw)
    with pytest.raises(CohortProblem, match="are home films, too, first again0"):
        evaluate(
            subject_of(Reader(), "reader"), cohort_of(24), external=again, cache=tmp_path / "cache",
            claims=[claim for claim in load_claims() if claim.id == "external.drop"],
        )  # fmt: skip


PNEUMONIAS = {
    "Pneumonia", "COVID-19", "Streptococcus", "Klebsiella", "Pneumocystis", "Varicella", "E.Coli", "Legionella",
    "Influenza", "Lipoid", "Chlamydophila",
}  # fmt: skip
"""Of these two collections."""


def by_stratum(table):
    """Films by class and view, strata of five patients and more."""
    rows = table.assign(right=(table["called"] == table["ill"]).astype(float))
    return rows.groupby(["ill", "view"]).filter(lambda films: films["patient"].nunique() >= 5).groupby(["ill", "view"])


@pytest.mark.realdata
def test_the_numbers_on_real_films_of_three_hospitals(shared, tmp_path):
    """Children at home, adults of two collections away: recomputed from the report's files alone."""
    away = [load_cohort(spec) for spec in manifests(shared, tmp_path).values()]
    wanted = (
        "external.drop", "external.auroc", "external.confidence", "external.threshold", "external.standardised"
    )  # fmt: skip
    home_films = load_cohort(str(shared / "data" / "kermany")).limited(90, seed=0)
    run = evaluate(
        str(shared / "weights" / "kermany-convnextv2-atto"), home_films,
        external=[away[0].limited(90, seed=0), away[1]], cache=tmp_path / "cache",
        claims=[claim for claim in load_claims() if claim.id in wanted],
    )  # fmt: skip
    run.report(tmp_path / "report")
    answers = pd.read_parquet(tmp_path / "report" / "predictions.parquet")
    films = pd.read_csv(tmp_path / "report" / "films.csv", keep_default_na=False)
    table = answers[answers["condition"] == "clean"].merge(
        films, left_on=["cohort", "image"], right_on=["cohort", "id"]
    )
    findings = table["finding"].str.split(r"[|,] ?", regex=True)
    table["healthy"] = (table["label"] == "normal") | (table["finding"].str.lower() == "no finding")
    table["known"] = (
        (table["label"] != "") | table["healthy"] | findings.map(lambda all_of: bool(PNEUMONIAS & {*all_of}))
    )
    table = table[table["known"]]
    logits = table[["logit_0", "logit_1", "logit_2"]].to_numpy()
    p = np.exp(logits - logits.max(axis=1, keepdims=True))
    risk = 1 - p[:, 1] / p.sum(axis=1)
    table = table.assign(
        ill=~table["healthy"], called=logits.argmax(axis=1) != 1, risk=risk,
        odds=np.logaddexp(logits[:, 0], logits[:, 2]) - logits[:, 1],
    )  # fmt: skip
    table["sure"] = np.where(table["called"], risk, 1 - risk)
    by = dict(iter(table.groupby("cohort")))
    home = by.pop("kermany test")
    assert len(by) == 2
    alarms, hits, scores = roc_curve(home["ill"], home["odds"], drop_intermediate=False)
    best = int((hits - alarms).argmax())
    kept = (scores[best] + scores[best + 1]) / 2
    compared = set()
    of_home = by_stratum(home).agg(right=("right", "mean"), share=("right", "size"))
    for rows in by.values():
        right_there = by_stratum(rows)["right"].mean()
        measured = {
            "balanced_accuracy_drop": balanced_accuracy_score(home["ill"], home["called"])
            - balanced_accuracy_score(rows["ill"], rows["called"]),
            "auroc_drop": roc_auc_score(home["ill"], home["risk"]) - roc_auc_score(rows["ill"], rows["risk"]),
            "overconfidence": (rows["sure"] - (rows["called"] == rows["ill"])).mean(),
            "threshold kept from home": balanced_accuracy_score(rows["ill"], rows["odds"] > kept),
            "standardised_accuracy_drop": sum(
                at_home["share"] * (at_home["right"] - right_there[stratum])
                for stratum, at_home in of_home.iterrows()
                if stratum in right_there
            ) / of_home["share"][of_home.index.isin(right_there.index)].sum(),
        }  # fmt: skip
        results = [
            judgement.result
            for judgement in run.judgements
            if judgement.result is not None and rows["cohort"].iloc[0] in judgement.claim.statement
        ]
        told = {result.effect.name: result.effect.estimate for result in results}
        for one in (one for result in results for one in result.measures):
            if one.name == "balanced_accuracy" and one.condition.endswith("threshold kept from home"):
                told["threshold kept from home"] = one.estimate
        told.pop("threshold_cost", None)  # the folds of the one chosen there are the suite's own
        assert told == pytest.approx({name: measured[name] for name in told}, abs=1e-6)
        compared |= told.keys()
        assert next(result.effect.n for result in results if result.effect.name == "overconfidence") == len(rows)
    assert compared == measured.keys()


def test_a_film_of_home_that_was_saved_anew_is_found_by_its_pixels(tmp_path):
    """Another file, another patient, the same pixels: what it is told apart by is decoded, and it is refused."""
    films = cohort_of(24)
    names = [f"new{number}" for number in range(24)]
    renamed = films.table.assign(id=names, patient=names)
    again = Cohort(
        name="saved-anew", spec="saved-anew", table=renamed,
        decode=lambda row: replace(draw(row), content=f"other {row['id']}"),
    )  # fmt: skip
    claims = [claim for claim in load_claims() if claim.id == "external.drop"]
    with pytest.raises(CohortProblem, match="24 of its 24 films are home films, too, first new0"):
        evaluate(subject_of(Reader(), "reader"), films, external=again, claims=claims, cache=tmp_path / "cache")
    # A subject that says the same of every film tells none apart, and no film is taken for another.
    evaluate(subject_of(Blind(), "blind"), films, external=elsewhere(24), claims=claims, cache=tmp_path / "blind")


def test_one_hospital_is_named_once(tmp_path):
    first, again = "phantom:n=24,hospital=other", "phantom:n=24,hospital=other"
    with pytest.raises(CohortProblem, match=r"its films are all those of .*; name each hospital once"):
        load_external(cohort_of(24), [first, again])
    assert len(load_external(cohort_of(24), [first, "phantom:n=24,hospital=other,seed=5"])) == 2


def test_films_that_nobody_labelled_are_counted(tmp_path):
    table = elsewhere(24).table
    empty = ["" if number < 5 else label for number, label in enumerate(table["label"])]
    some = replace(elsewhere(24), table=table.assign(label=empty, finding=empty))
    found = load_external(cohort_of(24), [some])["external"]
    assert "5 of 24 films have no label and are left out" in found.notes
    assert load_external(cohort_of(24), [elsewhere(24)])["external"].notes == elsewhere(24).notes
