"""A subject that is no function of the film is found out before anything is judged; a sound one never is."""

from __future__ import annotations

import json
import weakref
from dataclasses import replace

import numpy as np
import pytest
import torch
from torch import Tensor, nn

from suites.harness import evaluate, load_claims, load_cohort, load_subject
from suites.harness.claims import Verdict
from suites.harness.evaluation import Evaluation
from suites.harness.predictions.subject_checks import FILMS, barred, subject_checks
from suites.harness.subjects.preprocessing import Preprocessing, Untouched
from tests.controls.subjects import Calm, Memoriser, Mistaken, Reader, cohort_of, subject_of

COHORT = cohort_of(24)


class Dropping(nn.Module):
    """Dropout that eval mode does not switch off."""

    def __init__(self) -> None:
        super().__init__()
        self.reader = Reader()

    def forward(self, pixels: Tensor) -> Tensor:
        return self.reader(nn.functional.dropout(pixels, 0.5))


class Training(Dropping):
    """Switches itself to training mode, whatever the caller does."""

    def forward(self, pixels: Tensor) -> Tensor:
        self.train()
        return self.reader(pixels)


class Neighbourly(Dropping):
    """Subtracts the mean of the batch: a batch norm that never left training."""

    def forward(self, pixels: Tensor) -> Tensor:
        return self.reader(pixels - pixels.mean(dim=0) + 0.5)


class Seeded(Dropping):
    """Noise from a seed of its own: the same twice, but another for every place in a batch."""

    def forward(self, pixels: Tensor) -> Tensor:
        noise = torch.randn(pixels.shape, generator=torch.Generator().manual_seed(0))
        return self.reader(pixels + 0.2 * noise)


class Silent(nn.Module):
    """Says the same of every film and class."""

    def forward(self, pixels: Tensor) -> Tensor:
        return 0 * pixels.mean((1, 2, 3))[:, None].expand(-1, 3)


class Coin(nn.Module):
    """Calls at random, anew at every call."""

    def forward(self, pixels: Tensor) -> Tensor:
        return torch.rand(len(pixels), 3)


class Cut(Dropping):
    """No gradient reaches the film."""

    def forward(self, pixels: Tensor) -> Tensor:
        return self.reader(pixels.detach())


class Wavering(nn.Module):
    """Adds noise to the logits of the films it is least sure of, one in fifteen, and to no other."""

    def __init__(self, noise: float = 2.0, margin: float = 1.5) -> None:
        super().__init__()
        self.reader, self.noise, self.margin = Reader(sharpness=20.0), noise, margin

    def forward(self, pixels: Tensor) -> Tensor:
        logits = self.reader(pixels)
        best = logits.topk(2).values
        close = (best[:, 0] - best[:, 1] < self.margin)[:, None]
        return logits + close * self.noise * torch.randn(logits.shape)


def checks_of(network: nn.Module, tmp_path) -> dict[str, bool]:
    return {check.name: check.passed for check in subject_checks(subject_of(network, "one"), COHORT, tmp_path)}


@pytest.mark.parametrize(
    ("network", "failed"),
    [
        (Dropping, {"the same answer twice", "a film is answered alone"}),
        (Coin, {"the same answer twice", "a film is answered alone", "gradients reach the film"}),
        (Training, {"in evaluation mode"}),
        (Neighbourly, {"a film is answered alone"}),
        (Seeded, {"a film is answered alone"}),
        (Cut, {"gradients reach the film"}),
        (lambda: Reader(sharpness=1e5), {"not saturated"}),
    ],
)
def test_each_fault_is_found_and_no_other(network, failed, tmp_path):
    assert {name for name, passed in checks_of(network(), tmp_path).items() if not passed} == failed


FAULTS = ("training mode", "differ from call", " depends on the films", "head is saturated", "no gradient reaches")


@pytest.mark.parametrize(
    "network", [Reader, Calm, Dropping, Coin, Training, Neighbourly, Cut, Silent, lambda: Reader(sharpness=1e5)]
)
def test_a_check_that_passed_is_not_told_as_a_fault(network, tmp_path):
    for check in subject_checks(subject_of(network(), "one"), COHORT, tmp_path):
        assert any(fault in check.detail for fault in FAULTS) is not check.passed, check


@pytest.mark.parametrize("network", [Reader, Calm, lambda: Mistaken(0.3), lambda: Memoriser(COHORT)])
def test_a_sound_subject_has_none_of_them(network, tmp_path):
    failed = {name for name, passed in checks_of(network(), tmp_path).items() if not passed}
    assert failed <= {"gradients reach the film"}, "Memoriser compares films: that has no gradient"
    assert not barred(subject_checks(subject_of(network(), "one"), COHORT, tmp_path / "again"))


@pytest.mark.parametrize("network", [Dropping, Training, Coin])
def test_no_claim_about_it_is_judged_and_the_report_is_written(network, tmp_path):
    run = evaluate(subject_of(network(), "loose"), COHORT, cache=tmp_path / "cache")
    mine = [judgement for judgement in run.judgements if judgement.subject == "loose"]
    assert len(mine) > 30
    assert {judgement.verdict for judgement in mine} == {Verdict.NOT_EVALUABLE}
    assert all("loose cannot be judged: its " in judgement.reason for judgement in mine)
    assert "None of its claims is judged" in run.notes[0]
    page = run.report(tmp_path / "report").read_text(encoding="utf-8")
    assert "None of its claims is judged" in page


def test_a_change_too_small_to_matter_is_told_and_bars_nothing(tmp_path):
    """As where activations are quantised by the range of the batch they stand in."""

    class Slightly(Dropping):
        def forward(self, pixels: Tensor) -> Tensor:
            return 0.05 * self.reader(pixels) + 0.15 * pixels.mean() * torch.tensor([1.0, 0.0, 0.0])

    checks = {check.name: check for check in subject_checks(subject_of(Slightly(), "slight"), COHORT, tmp_path)}
    assert not checks["a film is answered alone"].passed
    assert not barred(tuple(checks.values()))


def test_beside_a_sound_subject_only_the_loose_one_is_barred(tmp_path):
    claim = next(claim for claim in load_claims() if claim.id == "classes.balanced_accuracy")
    run = Evaluation(
        subjects=[subject_of(Dropping(), "loose"), subject_of(Reader(), "sound")], cohort=COHORT, claims=[claim],
        cache=tmp_path, quiet=True,
    ).run()  # fmt: skip
    loose, sound = run.judgements
    assert (loose.subject, loose.verdict) == ("loose", Verdict.NOT_EVALUABLE)
    assert sound.result is not None
    assert list(run.record().predictions["subject"].unique()) == ["sound"]


def test_what_was_found_out_is_kept(tmp_path):
    first = subject_checks(subject_of(Dropping(), "one"), COHORT, tmp_path)
    assert subject_checks(subject_of(Dropping(), "one"), COHORT, tmp_path) == first


def test_a_service_that_rounds_is_steady_and_one_that_guesses_is_not(tmp_path):
    def service(name, respond):
        bare = subject_of(Reader(), name)
        return replace(bare, network=None, respond=respond, preprocessing=Untouched())

    tiny = iter([1e-12, 3e-12])

    def rounding(films):
        rest = next(tiny)
        return torch.tensor([[0.7, 0.3 - rest, rest]] * len(films)).log()

    assert not barred(subject_checks(service("rounding", rounding), COHORT, tmp_path))
    guessing = service("guessing", lambda films: torch.rand(len(films), 3).softmax(1).log())
    assert "differ from call to call" in barred(subject_checks(guessing, COHORT, tmp_path))


def test_noise_on_a_few_films_that_the_closer_look_misses_is_found(tmp_path):
    films = cohort_of(72)
    network = Reader(sharpness=20.0)
    shown = torch.stack([torch.from_numpy(films.decode(row).pixels) for row in films.table.to_dict("records")])
    subject = subject_of(network, "sure")
    margins = subject.answer(subject.pixels(shown))[0].topk(2).values
    apart = margins[:, 0] - margins[:, 1]
    looked_at = set(range(72)) & {round(place) for place in np.linspace(0, 71, FILMS)}
    others = sorted(float(apart[place]) for place in set(range(72)) - looked_at)
    limit = min(others[4] + 1e-6, *(float(apart[place]) for place in looked_at))
    hidden = sum(value < limit for value in others)
    assert hidden >= 1, "some films are less sure than all that are looked at closely"
    wavering = subject_of(Wavering(noise=5.0, margin=limit), "wavering")
    torch.manual_seed(0)
    reason = barred(subject_checks(wavering, films, tmp_path))
    assert "differ from call to call: 2 passes over the same 72 films" in reason
    assert reason == barred(subject_checks(wavering, films, tmp_path)), "from the cache"
    assert not barred(subject_checks(subject_of(Wavering(noise=0.0), "steady"), films, tmp_path))


def test_the_report_says_how_far_gradients_lie_from_the_recipe(tmp_path):
    claim = next(claim for claim in load_claims() if claim.id == "classes.balanced_accuracy")
    subject = load_subject("bundled:fragile")
    run = Evaluation(subjects=[subject], cohort=load_cohort("phantom:n=6"), claims=[claim], cache=tmp_path, quiet=True)
    page = run.run().report(tmp_path / "report").read_text(encoding="utf-8")
    assert "Gradients are taken through a resize in floats, where " in page
    (told,) = json.loads((tmp_path / "report" / "results.json").read_text())["subjects"]
    found = {check["name"]: check for check in told["checks"]}
    share = float(found["gradients follow the recipe"]["detail"].split("where ")[1].split(" %")[0])
    assert 0 < share < 40
    assert all(check["passed"] for check in found.values())


def test_films_are_held_one_at_a_time(tmp_path):
    """Eight films as they come from a detector take as much memory as a network."""
    films, most = [], []

    class Pixels(np.ndarray):
        pass

    def decode(row):
        film = COHORT.decode(row)
        pixels = film.pixels.view(Pixels)
        films.append(weakref.ref(pixels))
        most.append(sum(one() is not None for one in films))
        return replace(film, pixels=pixels)

    subject = replace(subject_of(Reader(), "sound"), preprocessing=Preprocessing(name="small", short_side=80, size=64))
    subject_checks(subject, replace(COHORT, decode=decode, identify=None), tmp_path)
    assert len(most) >= FILMS
    assert max(most) <= 3
