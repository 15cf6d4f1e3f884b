"""Subjects that only answer: the search is bounded, finds a weakness that is there, and never concludes robustness."""

from __future__ import annotations

import warnings

import numpy as np
import pytest
import torch

from suites.harness.claims import Verdict
from suites.harness.cohorts.cohort import Film
from suites.harness.endpoints.adversarial.runs import attack
from suites.harness.endpoints.adversarial.runs.attack import requests_at_most
from tests.controls.evidence_pairs import Fragile
from tests.controls.films import SIDE, cohort_of, draw, film_of
from tests.controls.subjects import Reader, subject_of
from tests.suites.endpoints.adversarial.conftest import Answering


class Fussy(torch.nn.Module):
    """Right on clean films only: any film but the drawn ones, known by their mean, is called something else."""

    def __init__(self, films) -> None:
        super().__init__()
        self.reader = Reader()
        self.register_buffer("known", torch.stack([film.mean() for film in films]).double())

    def forward(self, pixels: torch.Tensor) -> torch.Tensor:
        here = pixels.double().mean(dim=(1, 2, 3))
        known = (here[:, None] - self.known).abs().amin(dim=1) < 2e-7
        return torch.where(known[:, None], self.reader(pixels), self.reader(pixels).roll(1, dims=1))


def stored(row) -> Film:
    """A film as a file of 8 bits gives it back."""
    film = draw(row)
    return film_of(np.round(film.pixels * 255) / 255, film.masks["lung"], film.masks["lesion"])


def eight_bit(films: int) -> list[torch.Tensor]:
    cohort = cohort_of(films)
    drawn = [torch.from_numpy(cohort.decode(row).pixels) for row in cohort.table.to_dict("records")]
    return [torch.round(film * 255) / 255 for film in drawn]


def test_requests_are_bounded_in_whole_grey_levels_and_kept(evidence, tmp_path):
    wall = Answering(Reader())
    answers = evidence(wall.subject(), films=60).main
    before = len(wall.asked)
    found = attack(answers, "quick", tmp_path)
    made = len(wall.asked) - before
    assert len(found.index) == 12
    assert made == found.passes
    assert 12 * 51 <= made <= requests_at_most(answers, "quick") < 12 * 300
    for film in wall.asked[before:]:
        levels = film * 255
        assert float((levels - levels.round()).abs().max()) < 1e-4
    assert found.threat == "linf/film"
    assert not found.trusted
    again = len(wall.asked)
    attack(answers, "quick", tmp_path)
    assert len(wall.asked) == again, "a finished search asked again"


def test_a_weakness_is_found_and_its_size_is_what_was_sent(evidence, judged, tmp_path):
    wall = Answering(Fussy(eight_bit(30)))
    found = attack(evidence(wall.subject(), films=30).main, "quick", tmp_path)
    assert not found.robust(1 / 255).any()
    assert set(found.distances.round(4)) == {1.0}, "a smaller change cannot be sent in 8 bits"
    judgement = judged("adversarial.one_level", wall.subject(), cohort=cohort_of(30, decode=stored))
    assert judgement.verdict is Verdict.SUPPORTED, judgement.reason


@pytest.mark.parametrize("name", ["adversarial.one_level", "adversarial.full_film"])
def test_what_withstands_the_search_is_never_called_robust(judged, name):
    judgement = judged(name, Answering(Reader()).subject())
    assert judgement.result.effect.estimate == 1.0
    assert judgement.verdict is Verdict.INCONCLUSIVE
    assert "no robustness can be concluded" in judgement.reason
    assert "Holm" not in judgement.reason
    assert "never robustness" in judgement.result.summary
    assert "requests" in judgement.result.summary
    again = judged(name, Answering(Reader()).subject())
    assert (again.verdict, again.reason) == (judgement.verdict, judgement.reason), "a kept result lost why"


def test_white_box_attacks_are_listed_as_not_evaluable(judged):
    tables = judged("adversarial.one_level", Answering(Fragile()).subject()).result.tables
    table = next(table for title, table in tables.items() if title.startswith("Threat models and attacks"))
    refused = table[table["attack"].str.contains("not evaluable, no gradients")]
    assert {text.split(":")[0] for text in refused["attack"]} == {
        "linf/film, ensemble (quick)", "linf/film, FGSM", "linf/film, PGD, cross-entropy, 10 steps",
        "linf/film, APGD, cross-entropy, 10 steps", "linf/grey, ensemble (quick)", "l2/grey, ensemble (brief)",
        "linf/colour, ensemble (brief)",
    }  # fmt: skip
    assert (refused["films"] == "—").all()
    ran = table[~table["attack"].str.contains("not evaluable")]
    assert ran["films"].tolist() == ["12", "12", "12"]
    assert ran["attack"].str.contains("Square").sum() == 1


def test_half_a_grey_level_cannot_be_sent(judged):
    judgement = judged("adversarial.one_level", Answering(Reader()).subject(), levels=0.5)
    assert judgement.verdict is Verdict.NOT_EVALUABLE
    assert "no 0.5 grey levels" in judgement.reason


def test_no_pattern_can_be_fitted(judged):
    judgement = judged("adversarial.universal", Answering(Reader()).subject())
    assert judgement.verdict is Verdict.NOT_EVALUABLE
    assert "no gradients" in judgement.reason


def test_quantised_layers_give_no_gradient_and_no_traceback(judged):
    """torch hands their backward pass nothing at all, neither zeros nor an error: attacks and maps say so."""

    class Quantised(torch.nn.Module):
        def __init__(self):
            super().__init__()
            with warnings.catch_warnings():
                warnings.simplefilter("ignore")
                linear = torch.nn.Sequential(torch.nn.Flatten(1), torch.nn.LazyLinear(3))
                linear(torch.rand(1, 3, SIDE, SIDE))
                self.inner = torch.ao.quantization.quantize_dynamic(linear, {torch.nn.Linear}, dtype=torch.qint8)

        def forward(self, pixels):
            return self.inner(pixels)

    with warnings.catch_warnings():
        warnings.simplefilter("ignore")
        subject = subject_of(Quantised(), "quantised")
        for name in ("adversarial.one_level", "explanations.border", "explanations.believable"):
            judgement = judged(name, subject, films=60)
            assert judgement.verdict in {Verdict.NOT_EVALUABLE, Verdict.INCONCLUSIVE}, name
