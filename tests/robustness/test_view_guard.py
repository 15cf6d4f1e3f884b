"""The view guard tells frontal from lateral films by the ridge of the spine, whatever their brightness."""

from __future__ import annotations

import numpy as np
import pytest
import torch
from sklearn.metrics import roc_auc_score

from robustness.perturbation import PerturbationError
from robustness.phantom import cohort_table, render_row
from robustness.view_guard import THRESHOLD, lateral_score, ridge_height


@pytest.fixture(scope="module")
def films() -> dict[str, torch.Tensor]:
    """Simulated films that the threshold was not fixed on."""
    made = {}
    for view in ("PA", "LATERAL"):
        rows = [
            row
            for age, seed in (("child", 401), ("adult", 402))
            for row in cohort_table(15, seed=seed, view=view, age=age).to_dict("records")
        ]
        made[view] = torch.stack([render_row(row).film for row in rows]).to(torch.float32)
    return made


def test_lateral_films_are_refused_and_frontal_ones_let_through(films):
    scores = {view: lateral_score(stack).numpy() for view, stack in films.items()}
    outside = np.repeat([0, 1], [len(scores["PA"]), len(scores["LATERAL"])])
    assert roc_auc_score(outside, np.concatenate([scores["PA"], scores["LATERAL"]])) > 0.97
    assert (scores["LATERAL"] > 0).mean() >= 0.85
    assert (scores["PA"] > 0).mean() <= 0.05


def test_brightness_and_contrast_do_not_matter(films):
    heights = ridge_height(films["PA"])
    np.testing.assert_allclose(ridge_height(0.2 + 0.5 * films["PA"]), heights, atol=1e-4)


def test_a_film_turned_on_its_side_and_a_flat_one_are_refused(films):
    turned = films["PA"].rot90(1, (1, 2)).contiguous()
    assert (lateral_score(turned) > 0).float().mean() > 0.6
    assert float(ridge_height(torch.full((1, 64, 64), 0.5))) == 0.0
    assert float(lateral_score(torch.full((1, 64, 64), 0.5))) == THRESHOLD


def test_films_that_are_none_are_refused_by_name():
    with pytest.raises(PerturbationError, match="expected finite values"):
        ridge_height(torch.full((1, 64, 64), 2.0))
