"""Films resemble real ones in sharpness and greys, and no single number tells the class."""

import numpy as np
import pandas as pd
import pytest
import torch
import torchvision.transforms.v2.functional as vision
from PIL import Image
from sklearn.metrics import roc_auc_score

from robustness.phantom import cohort_table, films


def statistics(image):
    """Return sharpness (mean |Laplacian|, grey levels) and grey percentiles of uint8 (H, W) at the published input."""
    seen = vision.center_crop(vision.resize(image[None], 255, antialias=True), [224, 224])[0].double()
    around = seen[:-2, 1:-1] + seen[2:, 1:-1] + seen[1:-1, :-2] + seen[1:-1, 2:]
    sharpness = float((around - 4 * seen[1:-1, 1:-1]).abs().mean())
    return [sharpness, *np.percentile(seen.numpy(), [25, 50, 75, 95]), float(seen.mean()), float(seen.std())]


NAMES = ["sharpness", "p25", "p50", "p75", "p95", "mean", "sd"]


@pytest.fixture(scope="module")
def phantoms():
    table = cohort_table(90, seed=11)
    rows = [statistics((film.film * 255).round().to(torch.uint8)) for _, film in films(table)]
    return pd.DataFrame(rows, columns=NAMES).assign(finding=table.finding.to_numpy())


@pytest.mark.parametrize("sick", ["lobar", "interstitial"])
def test_no_single_number_tells_a_sick_chest_from_a_healthy_one(phantoms, sick):
    two = phantoms[phantoms.finding.isin(["normal", sick])]
    for name in NAMES:
        auc = roc_auc_score(two.finding == sick, two[name])
        assert max(auc, 1 - auc) < 0.80, f"{name} alone separates {sick} from normal with AUC {auc:.2f}"


def test_sharpness_lies_in_the_published_range(phantoms):
    assert 3.5 < phantoms.sharpness.median() < 8.0
    assert phantoms.sharpness.quantile(0.95) - phantoms.sharpness.quantile(0.05) > 2.0, "sharpness varies between films"


@pytest.mark.realdata
def test_sharpness_and_greys_lie_within_the_range_of_real_films(phantoms, shared):
    folder = shared / "data" / "kermany_native"
    table = pd.read_csv(folder / "metadata.csv")
    table = table[table.split == "train"].groupby("label").sample(60, random_state=0)
    real = pd.DataFrame(
        [statistics(torch.from_numpy(np.array(Image.open(folder / f).convert("L")))) for f in table.file], columns=NAMES
    )
    for name in NAMES:
        low, high = real[name].quantile([0.03, 0.97])
        median = phantoms[name].median()
        assert low < median < high, f"{name}: phantom median {median:.1f} outside real films' {low:.1f} to {high:.1f}"
        overlap = phantoms[name].between(*real[name].quantile([0.005, 0.995])).mean()
        assert overlap > 0.7, f"{name}: only {overlap:.0%} of phantom films lie in the real range"
