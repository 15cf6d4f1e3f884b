"""The temperature file: written by a run, applied to its own subject only, never judged on the films it has seen."""

from __future__ import annotations

import hashlib
import json
from dataclasses import replace

import numpy as np
import pandas as pd
import pytest
import torch
from scipy.special import softmax
from torch import nn

from suites.harness import FittedTemperature, evaluate, load_subject, with_temperature
from suites.harness.claims import Verdict
from suites.harness.claims_table import load_claims
from suites.harness.cohorts.cohort import Cohort, Film
from suites.harness.errors import SubjectProblem, UsageProblem
from suites.harness.subjects.output_scale import pattern_logits
from suites.harness.subjects.preprocessing import Preprocessing
from suites.harness.subjects.subject import Normalised, Provenance, Subject
from suites.harness.subjects.temperature_file import read_temperature
from suites.harness.subjects.temperature_scaling import with_temperatures

CLASSES = ("bacterial_pneumonia", "normal", "viral_pneumonia")
CLAIMS = [
    replace(claim, parameters={"condition": "clean"} if "conformal" in claim.endpoint else {})
    for claim in load_claims()
    if claim.id in ("calibration.error", "calibration.temperature", "abstention.conformal", "abstention.coverage")
]
TOO_SURE = 2.5


class Grey(nn.Module):
    """Reads the mean grey of a film; its logits are 2.5 times what the labels were drawn from."""

    def forward(self, pixels):
        return TOO_SURE * honest(pixels.mean(dim=(1, 2, 3)))


def honest(grey):
    away = 12 * (grey - 0.5)
    stack = torch.stack if isinstance(grey, torch.Tensor) else np.stack
    return stack([away, 0.8 - 0.5 * abs(away), -away], -1)


def cohort_of(name: str, films: int = 240) -> Cohort:
    generator = np.random.default_rng([films, *name.encode()])
    greys = np.round(generator.uniform(0.2, 0.8, films) * 255) / 255
    chances = np.cumsum(softmax(honest(greys), axis=1), axis=1)
    labels = (generator.random((films, 1)) > chances[:, :-1]).sum(axis=1)
    ids = [f"{name}-{number}" for number in range(films)]
    table = pd.DataFrame({"id": ids, "file": "", "label": [CLASSES[k] for k in labels], "grey": greys})
    table["patient"] = [f"{name}-p{number // 2}" for number in range(films)]
    table = table.assign(view="", age_group="", finding="", split="")
    return Cohort(name=name, spec=name, table=table, decode=film_of)


def film_of(row) -> Film:
    pixels = np.full((16, 16), row["grey"], np.float32)
    return Film(pixels=pixels, content=hashlib.sha256(pixels.tobytes()).hexdigest())


def subject_of(name="grey", classes=CLASSES) -> Subject:
    return Subject(
        name=name, classes=classes, network=Normalised(Grey(), mean=(0.0,) * 3, std=(1.0,) * 3),
        preprocessing=Preprocessing(name="small", short_side=16, size=16),
        provenance=Provenance(
            spec=name, format="user", source="test", sha256=hashlib.sha256(name.encode()).hexdigest()
        ),
    )  # fmt: skip


@pytest.fixture(scope="module")
def place(tmp_path_factory):
    """A report on 240 films with the temperature it found, and a function that runs on."""
    folder = tmp_path_factory.mktemp("temperature")

    def run(cohort, subject=None, **options):
        return evaluate(subject or subject_of(), cohort, claims=CLAIMS, cache=folder / "cache", **options)

    index = run(cohort_of("fourth")).report(folder / "report")
    return run, index.parent / "temperature-grey.json"


@pytest.fixture
def changed(place, tmp_path):
    """Return a function that writes the file with some entries changed or removed."""

    def write(**entries):
        document = {**json.loads(place[1].read_text()), **entries}
        path = tmp_path / "changed.json"
        path.write_text(json.dumps({key: value for key, value in document.items() if value != "removed"}))
        return path

    return write


def found(run, claim):
    return next(judgement for judgement in run.judgements if judgement.claim.id == claim)


def test_a_run_writes_the_temperature_and_offers_it(place):
    fitted = read_temperature(place[1])
    assert fitted.low < TOO_SURE < fitted.high
    assert fitted.nll_after < fitted.nll_before
    assert (fitted.films, fitted.patients, fitted.classes) == (240, 120, CLASSES)
    assert fitted.fingerprint == cohort_of("fourth").fingerprint
    assert fitted.sha256 == subject_of().provenance.sha256
    assert 'href="temperature-grey.json"' in (place[1].parent / "index.html").read_text()


def test_the_subject_answers_every_suite_with_logits_over_t(place):
    run, file = place
    fitted, films = read_temperature(file), cohort_of("fifth")
    raw, recalibrated = run(films), run(films, temperature=file)
    subject = recalibrated.subjects[0]
    assert subject.name == f"grey-T{fitted.temperature:.3g}"
    assert subject.fingerprint != subject_of().fingerprint
    assert any("divided by T" in note for note in subject.provenance.notes)
    logits = ["logit_0", "logit_1", "logit_2"]
    before, after = (one.record().predictions[logits].to_numpy() for one in (raw, recalibrated))
    np.testing.assert_allclose(after, before / fitted.temperature, rtol=1e-5)
    assert found(raw, "calibration.error").verdict is Verdict.SUPPORTED
    assert found(recalibrated, "calibration.error").verdict is not Verdict.SUPPORTED
    effect = found(recalibrated, "calibration.temperature").result.effect
    assert effect.low < 1.05
    assert effect.high > 0.95
    pixels = torch.rand(2, 3, 16, 16, requires_grad=True)
    subject.network(pixels).amax(dim=1).sum().backward()
    assert pixels.grad.abs().min() > 0


def test_a_file_written_by_a_mended_subject_holds_the_whole_temperature(place, tmp_path):
    run, file = place
    films = cohort_of("fifth")
    run(films).report(tmp_path / "raw")
    again = run(films, temperature=file)
    again.report(tmp_path / "mended")
    raw = read_temperature(tmp_path / "raw" / "temperature-grey.json")
    whole = read_temperature(next((tmp_path / "mended").glob("temperature-grey-t*.json")))
    assert whole.temperature == pytest.approx(raw.temperature, rel=1e-4)
    assert whole.nll_before == pytest.approx(raw.nll_before, rel=1e-4)
    assert whole.sha256 == raw.sha256


@pytest.mark.parametrize("share", ["all", "half"])
def test_calibration_on_films_of_the_fit_is_not_evaluable(place, share):
    """Not even when only some of them are judged again, which gives the cohort another fingerprint."""
    run, file = place
    judged = run(cohort_of("fourth"), temperature=file, limit=None if share == "all" else 120)
    for claim in ("calibration.error", "calibration.temperature", "abstention.conformal"):
        judgement = found(judged, claim)
        assert judgement.verdict is Verdict.NOT_EVALUABLE, claim
        assert "was fitted on" in judgement.reason
    assert found(judged, "abstention.coverage").verdict is not Verdict.NOT_EVALUABLE
    assert any("its temperature was fitted on" in note for note in judged.notes)


@pytest.mark.parametrize(
    ("entries", "message"),
    [
        ({"temperature": 0}, "a temperature is a positive number, not 0"),
        ({"temperature": -1.5}, "a temperature is a positive number, not -1.5"),
        ({"temperature": float("nan")}, "`temperature` is NaN, expected a number"),
        ({"temperature": "2.0"}, '`temperature` is "2.0", expected a number'),
        ({"low": 9.0}, "does not hold the temperature"),
        ({"schema": "temperature/9"}, "schema 'temperature/9', but this version reads 'temperature/1'"),
        ({"films": "removed"}, "not a complete temperature file"),
        ({"classes": "abc"}, "not a complete temperature file"),
        ({"sha256": "0" * 64}, r"fitted for grey \(weights sha256 000000000000...\), not for grey"),
        ({"classes": ["a", "b", "c"]}, "fitted for the classes a, b, c, but grey answers bacterial_pneumonia"),
    ],
)
def test_an_unfit_file_is_refused_with_the_reason(changed, entries, message):
    with pytest.raises(UsageProblem, match=message):
        with_temperatures([subject_of()], [changed(**entries)])


def test_a_missing_file_and_one_that_is_no_json_are_refused(tmp_path):
    (tmp_path / "text.json").write_text("T = 2")
    for name in ("none.json", "text.json"):
        with pytest.raises(UsageProblem, match=f"cannot read the temperature file .*{name}"):
            with_temperatures([subject_of()], [tmp_path / name])


def test_among_several_subjects_the_weights_decide(place, changed):
    both = [subject_of("other"), subject_of()]
    assert [one.temperature is not None for one in with_temperatures(both, [place[1]])] == [False, True]
    with pytest.raises(UsageProblem, match=r"not for other \(.*\), grey \("):
        with_temperatures(both, [changed(sha256="0" * 64)])
    with pytest.raises(UsageProblem, match="already carries the temperature"):
        with_temperatures(both, [place[1], place[1]])


def test_a_service_is_mended_through_its_answers(place):
    service = replace(subject_of(), network=None, respond=lambda films: torch.ones(len(films), 3))
    [mended] = with_temperatures([service], [place[1]])
    answer = mended.respond([torch.zeros(4, 4)] * 2)
    assert answer.shape == (2, 3)
    assert answer[0, 0].item() == pytest.approx(1 / read_temperature(place[1]).temperature)


def test_the_same_weights_under_another_normalisation_are_refused():
    """The SHA-256 of a file of weights does not tell what the network around them does; its answers do."""
    subject = load_subject("bundled:fragile")
    fitted = FittedTemperature(
        temperature=2.0, low=1.5, high=2.5, subject="one", sha256=subject.provenance.sha256, classes=subject.classes,
        preprocessing="repository", cohort="films", fingerprint="f", films=9, patients=9, nll_before=1.0, nll_after=0.9,
        seen=(), answers=pattern_logits(subject),
    )  # fmt: skip
    assert with_temperature(subject, fitted).temperature is fitted
    assert with_temperature(subject, replace(fitted, answers=())).temperature is not None, "files of earlier versions"
    other = replace(subject, network=Normalised(subject.network.backbone, (0.3,) * 3, (0.2,) * 3))
    with pytest.raises(SubjectProblem, match="same weights, but with another normalisation"):
        with_temperature(other, fitted)


def test_another_recipe_of_the_same_name_is_said(place, changed):
    """The name of a recipe decides no pixel."""

    def told(recipe, file=place[1]):
        [mended] = with_temperatures([replace(subject_of(), preprocessing=recipe)], [file])
        return mended.provenance.notes[-1]

    own = subject_of().preprocessing
    assert "preprocessing" not in told(own)
    assert "preprocessing" not in told(replace(own, name="renamed")), "the same pixels by another name"
    assert "another preprocessing that is also called 'small'" in told(replace(own, antialias=False))
    assert "'small', which is not the one in use here" in told(replace(own, name="other", antialias=False))
    assert "is of an earlier version" in told(own, changed(recipe="removed")), "it is still read"
    with pytest.raises(UsageProblem, match="`recipe` is 7, expected text"):
        told(own, changed(recipe=7))


def test_a_subject_that_is_far_too_unsure_is_not_called_sound(place):
    class Unsure(Grey):
        def forward(self, pixels):
            return 1e-4 * super().forward(pixels)

    run, _ = place
    judged = found(run(cohort_of("fourth"), replace(subject_of("unsure"), network=Unsure())), "calibration.temperature")
    assert judged.result.effect.high < 1 / 1.1
    assert "far too unsure (under-confident)" in judged.reason
    assert "under-confident" not in found(run(cohort_of("fourth")), "calibration.temperature").reason
