"""A film that is looked at under many conditions is decoded once, and nobody can change what the next one sees."""

from __future__ import annotations

from dataclasses import replace

import numpy as np
import pytest

from suites.harness.claims_table import load_claims
from suites.harness.errors import NotEvaluable
from suites.harness.evaluation import Evaluation
from suites.harness.predictions.conditions import parse
from suites.harness.report.write import _look
from suites.harness.stress_grid.whole import stress_grid
from tests.controls.films import cohort_of, inverted
from tests.controls.subjects import Reader, subject_of

STRESS = [f"gamma_low@{severity}" for severity in (1, 3, 5)]


@pytest.fixture
def looked(tmp_path):
    """Answers on films, and the ids of those that are decoded."""
    decoded = []

    def decode(row):
        decoded.append(str(row["id"]))
        return inverted(row)

    claims = [claim for claim in load_claims() if claim.id == "contrast.gamma"]
    run = Evaluation(subjects=[subject_of(Reader(), "reader")], cohort=cohort_of(6, decode=decode), claims=claims,
                     cache=tmp_path, quiet=True)  # fmt: skip
    answers = run.evidence("reader").main
    decoded.clear()
    return answers, decoded


def test_pictures_of_a_film_decode_it_once(looked):
    answers, decoded = looked
    look = _look(stress_grid([answers], None))
    shown = [look(image, text) for image in answers.images[:2] for text in ("clean", *STRESS)]
    assert decoded == list(answers.images[:2])
    assert not np.allclose(shown[0], shown[1])


def test_what_is_done_to_a_film_is_not_done_to_the_next_look(looked):
    answers, _ = looked
    image = answers.images[0]
    first = answers.film(image)
    first.pixels[:] = 0
    assert answers.film(image).pixels.max() > 0
    fresh = replace(answers)
    assert np.array_equal(answers.film(image).pixels, fresh.film(image).pixels)
    for text in STRESS:
        assert np.array_equal(answers.under(image, parse(text)), fresh.under(image, parse(text)))


def test_a_score_that_cannot_be_told_says_why(looked):
    answers, _ = looked
    first, *_ = answers.subject.classes
    others = answers.labels != 0
    with pytest.raises(NotEvaluable, match=f"recall_{first}: none of the films of .* that count is labelled {first}$"):
        answers.score(f"recall_{first}", "clean", others)
    with pytest.raises(NotEvaluable, match=r"balanced_accuracy: none of the films of .* that count has a label"):
        answers.score("balanced_accuracy", "clean", np.zeros(len(others), dtype=bool))
    with pytest.raises(
        NotEvaluable, match=r"no measure 'recall_measles'; there are accuracy, .*, and recall_ and called_"
    ):
        answers.score("recall_measles", "clean")
