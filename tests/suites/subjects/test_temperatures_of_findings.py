"""Findings have one temperature for all and one for each: a run writes both, and no call changes by them."""

from __future__ import annotations

import hashlib
import json
import math
from dataclasses import replace

import numpy as np
import pandas as pd
import pytest
import torch
from scipy.optimize import minimize_scalar
from scipy.special import expit, log_expit
from torch import nn

from suites.harness import evaluate
from suites.harness.claims import Verdict
from suites.harness.claims_table import load_claims
from suites.harness.cohorts.cohort import Cohort, Film
from suites.harness.errors import SubjectProblem, UsageProblem
from suites.harness.subjects.finding import NormalisedFindings
from suites.harness.subjects.preprocessing import Preprocessing
from suites.harness.subjects.subject import Provenance, Subject
from suites.harness.subjects.temperature_file import read_temperature
from suites.harness.subjects.temperature_scaling import with_temperatures

FINDINGS = ("Effusion", "Mass", "Hernia")
TOO_SURE = (2.5, 0.6, 1.0)
"""By what the logits of each finding are more than what its labels were drawn from; nobody labels the last."""
TEMPERATURE, CALLS = "calibration.temperature", "classes.balanced_accuracy"
CLAIMS = {claim.id: claim for claim in load_claims()}


class Greys(nn.Module):
    """Reads a finding from the grey of each half of a film."""

    def forward(self, pixels):
        halves = pixels[..., :8].mean(dim=(1, 2, 3)), pixels[..., 8:].mean(dim=(1, 2, 3))
        honest = [12 * (half - 0.5) for half in halves]
        return torch.stack([TOO_SURE[0] * honest[0], TOO_SURE[1] * honest[1], honest[0]], dim=1)


def film_of(row) -> Film:
    pixels = np.zeros((16, 16), np.float32)
    pixels[:, :8], pixels[:, 8:] = row["left"], row["right"]
    return Film(pixels=pixels, content=hashlib.sha256(pixels.tobytes()).hexdigest())


def cohort_of(name: str, films: int = 400) -> Cohort:
    generator = np.random.default_rng([films, *name.encode()])
    greys = np.round(generator.uniform(0.25, 0.75, (films, 2)) * 255) / 255
    there = generator.random((films, 2)) < expit(12 * (greys - 0.5))
    table = pd.DataFrame({"id": [f"{name}-{at}" for at in range(films)], "left": greys[:, 0], "right": greys[:, 1]})
    table["patient"] = [f"{name}-p{at // 2}" for at in range(films)]
    for column, finding in enumerate(FINDINGS[:2]):
        table[f"finding:{finding}"] = np.where(there[:, column], "positive", "negative")
    return Cohort(
        name=name, spec=name, decode=film_of,
        table=table.assign(file="", label="", view="", age_group="", finding="", split=""),
    )  # fmt: skip


def subject_of() -> Subject:
    return Subject(
        name="greys", classes=FINDINGS, heads="sigmoid", thresholds=(0.2, math.nan, 0.7),
        network=NormalisedFindings(Greys(), mean=(0.0,) * 3, std=(1.0,) * 3),
        preprocessing=Preprocessing(name="small", short_side=16, size=16),
        provenance=Provenance(spec="greys", format="user", source="test", sha256="a" * 64),
    )  # fmt: skip


def judged(cohort: Cohort, subject: Subject, folder, name: str = TEMPERATURE):
    claim = CLAIMS[name] if name == CALLS else replace(CLAIMS[name], parameters={})
    return evaluate(subject, cohort, claims=[claim], cache=folder / "cache")


@pytest.fixture(scope="module")
def place(tmp_path_factory):
    """A run on films with both findings, and the folder of its report with the files of its temperatures."""
    folder = tmp_path_factory.mktemp("temperatures")
    run = judged(cohort_of("first"), subject_of(), folder)
    run.report(folder / "report")
    return run, folder


def best(z, y) -> float:
    """The temperature by a search of its own: the log loss of the sigmoid of z / T."""

    def loss(t):
        return -np.mean(np.where(y, log_expit(z / t), log_expit(-z / t)))

    return float(minimize_scalar(loss, bounds=(0.05, 20), method="bounded", options={"xatol": 1e-9}).x)


def logits_and_truth(cohort: Cohort, subject: Subject):
    films = torch.stack([torch.from_numpy(film_of(row).pixels) for row in cohort.rows()])
    logits = subject.answer(subject.pixels(films))[0].double().numpy()
    return logits, np.stack([cohort.finding(name) == 1 for name in FINDINGS[:2]], axis=1)


def test_both_temperatures_are_those_that_the_labels_want(place):
    _, folder = place
    logits, truth = logits_and_truth(cohort_of("first"), subject_of())
    own = [best(logits[:, at], truth[:, at]) for at in (0, 1)]
    pooled = best(logits[:, :2].ravel(), truth.ravel())
    one = read_temperature(folder / "report" / "temperature-greys.json")
    each = read_temperature(folder / "report" / "temperature-greys-per-finding.json")
    assert one.temperature == each.temperature == pytest.approx(pooled, rel=1e-4)
    assert not one.temperatures
    assert each.temperatures == pytest.approx([*own, pooled], rel=1e-4)  # nobody labels a hernia: it has that of all
    assert one.low < pooled < one.high
    assert each.nll_after < one.nll_after < one.nll_before
    assert (one.films, one.patients) == (400, 200)


@pytest.mark.parametrize("name", ["temperature-greys.json", "temperature-greys-per-finding.json"])
def test_no_call_changes_and_the_probabilities_are_those_of_divided_logits(place, name):
    run, folder = place
    fitted = read_temperature(folder / "report" / name)
    (cooled,) = with_temperatures([subject_of()], [folder / "report" / name])
    films, before = cohort_of("second", 60), subject_of()
    plain, _ = logits_and_truth(films, before)
    now, _ = logits_and_truth(films, cooled)
    np.testing.assert_allclose(now, plain / np.array(fitted.divisors), rtol=1e-5)
    assert cooled.thresholds[0] == pytest.approx(expit(np.log(0.2 / 0.8) / fitted.divisors[0]))
    assert math.isnan(cooled.thresholds[1])
    tables = [judged(films, one, folder, CALLS).record().predictions for one in (before, cooled)]
    first, second = ((one["logit_1"] > one["logit_0"]).tolist() for one in tables)
    assert first == second
    assert cooled.fingerprint != run.wholes[0].fingerprint


def test_with_its_own_temperature_a_finding_is_calibrated_and_never_judged_on_the_films_of_the_fit(place):
    _, folder = place
    (cooled,) = with_temperatures([subject_of()], [folder / "report" / "temperature-greys-per-finding.json"])
    before, after = (
        {
            (one.claim.id, one.subject.partition(": ")[2]): one
            for one in judged(cohort_of("third"), who, folder).judgements
        }
        for who in (subject_of(), cooled)
    )
    sure = TEMPERATURE, "Effusion"
    assert before[sure].verdict is Verdict.SUPPORTED
    assert after[sure].result.effect.estimate == pytest.approx(1, abs=0.3)
    assert after[TEMPERATURE, "Mass"].result.effect.estimate == pytest.approx(1, abs=0.3)
    for one in judged(cohort_of("first"), cooled, folder).judgements:
        assert one.verdict is Verdict.NOT_EVALUABLE
        assert "400 of these 400 films" in one.reason


@pytest.mark.parametrize(
    ("entries", "message"),
    [
        ({"temperatures": [1.0, 2.0]}, "2 temperatures for 3 logits"),
        ({"temperatures": [1.0, 2.0, 0.0]}, r"a temperature is a positive number, not 0\.0"),
        ({"temperatures": "1"}, "expected a list of numbers"),
    ],
)
def test_a_file_that_fits_no_findings_is_refused_in_a_line(place, tmp_path, entries, message):
    document = json.loads((place[1] / "report" / "temperature-greys-per-finding.json").read_text())
    path = tmp_path / "changed.json"
    path.write_text(json.dumps(document | entries))
    with pytest.raises(UsageProblem, match=message):
        with_temperatures([subject_of()], [path])


def test_a_subject_of_classes_has_no_temperature_for_each_logit(place, tmp_path):
    document = json.loads((place[1] / "report" / "temperature-greys-per-finding.json").read_text())
    path = tmp_path / "changed.json"
    path.write_text(json.dumps(document))
    classes = replace(subject_of(), heads="softmax", thresholds=None)
    with pytest.raises(SubjectProblem, match="one class among several"):
        with_temperatures([classes], [path])
