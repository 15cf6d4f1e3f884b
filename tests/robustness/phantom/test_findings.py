"""Findings show the signs they are named for."""

import pytest
import torch

from robustness.phantom import FINDINGS, Finding, draw_finding, sample_patient
from robustness.phantom.film import optical_depth

PATIENT = sample_patient("signs", 2, "child")
STRAIGHT = PATIENT
SIZE = 96


def depths(found, view="AP"):
    return optical_depth(STRAIGHT, found, view, SIZE)


def middle(mask):
    columns = torch.arange(mask.shape[1], dtype=torch.float32)
    weight = mask.sum(0)
    return float((columns * weight).sum() / weight.sum())


def halves(depth):
    """Return lesion mass on the patient's right (film's left) and left."""
    split = round(middle((depth.lung > 0).float()))
    amount = depth.lesion.abs()
    return float(amount[:, :split].sum()), float(amount[:, split:].sum())


@pytest.mark.parametrize("name", ["lobar", "effusion", "pneumothorax", "mass"])
@pytest.mark.parametrize("side", ["right", "left"])
def test_one_sided_findings_stay_on_their_side(name, side):
    right, left = halves(depths(Finding(name, side, 0.5, 0.9)))
    share = (right if side == "right" else left) / (right + left)
    assert share > 0.93


def test_the_interstitial_pattern_is_on_both_sides_and_faint():
    faint, dense = depths(Finding("interstitial", "both", 0.7, 0.8)), depths(Finding("lobar", "right", 0.7, 1.0))
    right, left = halves(faint)
    assert 0.5 < right / left < 2.0
    assert float(faint.lesion.quantile(0.99)) < 0.6 * float(dense.lesion.quantile(0.99))


def test_opacities_add_depth_and_a_pneumothorax_takes_it_away():
    for name in ("lobar", "effusion", "mass", "interstitial"):
        assert float(depths(draw_finding(PATIENT, name)).lesion.sum()) > 0
    assert float(depths(Finding("pneumothorax", "right", 0.7)).lesion.sum()) < 0


@pytest.mark.parametrize("name", [f for f in FINDINGS if f not in {"normal", "pneumothorax", "whiteout_collapse"}])
def test_more_extent_is_more_opacity(name):
    side = "both" if name in {"interstitial", "whiteout_bilateral"} else "right"
    small, large = (float(depths(Finding(name, side, e, 0.9)).lesion.sum()) for e in (0.25, 0.95))
    assert large > 1.15 * small > 0


def test_a_collapsed_lung_is_small_and_dense():
    little, much = (depths(Finding("whiteout_collapse", "right", e, 0.9)) for e in (0.25, 1.0))
    volumes = [float(d.lung[:, : SIZE // 2].sum()) for d in (little, much)]
    assert volumes[1] < 0.8 * volumes[0]
    opaque = [
        float((d.lesion > 0.1 * d.lesion.max())[:, : SIZE // 2][d.lung[:, : SIZE // 2] > 0].float().mean())
        for d in (little, much)
    ]
    assert opaque[1] > opaque[0]


def test_fluid_pushes_and_collapse_pulls_the_mediastinum():
    normal = middle(depths(Finding("normal")).heart > 0.5)
    assert middle(depths(Finding("whiteout_effusion", "left", 1.0)).heart > 0.5) < normal - 2
    assert middle(depths(Finding("whiteout_collapse", "left", 1.0)).heart > 0.5) > normal + 2
    assert middle(depths(Finding("whiteout_lobar", "left", 1.0)).heart > 0.5) == pytest.approx(normal, abs=0.5)


def test_fluid_lies_low_and_its_surface_climbs_the_wall():
    depth = depths(Finding("effusion", "right", 0.4))
    rows = torch.arange(SIZE, dtype=torch.float32)

    def height(amount):
        return float((rows * amount.sum(1)).sum() / amount.sum())

    assert height(depth.lesion) > height(depth.lung) + 0.1 * SIZE
    liquid = depth.lesion > 0.2 * depth.lesion.max()
    columns = liquid.any(0).nonzero().flatten()
    top = [int(liquid[:, c].nonzero().min()) for c in columns.tolist()]
    third = len(top) // 3
    assert min(top[:third]) < min(top[third : 2 * third]), "the meniscus is highest at the lateral wall"


def test_a_consolidation_in_the_lingula_wipes_out_the_heart_border():
    fine = 2 * SIZE  # two pixels beside the border are then still in front of the oblique fissure

    def edge(found):
        depth = optical_depth(STRAIGHT, found, "AP", fine)
        border = (depth.heart > 0.3) != (depth.heart > 0.3).roll(1, 1)
        border &= (torch.arange(fine) > middle(depth.heart > 0.3))[None, :]
        step = (depth.total.roll(-2, 1) - depth.total.roll(2, 1)).abs()
        return float(step[border].mean())

    assert edge(Finding("lobar", "left", 1.0, 1.0, "lingula")) < 0.75 * edge(Finding("normal"))


def test_consolidations_keep_to_their_lobe():
    rows = torch.arange(SIZE, dtype=torch.float32)

    def height(lobe):
        amount = depths(Finding("lobar", "right", 0.5, 1.0, lobe)).lesion.clamp(min=0)
        return float((rows * amount.sum(1)).sum() / amount.sum())

    assert height("upper") < height("lower") - 5
    assert height("upper") < height("middle") - 5


def test_bronchi_stay_open_in_a_consolidation():
    """Air bronchograms: within the opacity some rays lose depth again against their neighbours."""
    lesion = depths(Finding("lobar", "right", 0.9, 1.0, "lower")).lesion
    core = lesion > 0.5 * lesion.max()
    around = torch.nn.functional.avg_pool2d(lesion[None, None], 7, 1, 3)[0, 0]
    assert float((around - lesion)[core].max()) > 0.06


def test_cases_range_from_faint_to_dense():
    masses = sorted(
        float(depths(draw_finding(sample_patient(f"d{i}", 0, "child"), "lobar")).lesion.sum()) for i in range(16)
    )
    assert masses[-1] > 6 * masses[0] > 0


@pytest.mark.parametrize(
    ("kwargs", "message"),
    [
        ({"name": "flu"}, "known: normal"),
        ({"name": "lobar", "side": "up"}, "side"),
        ({"name": "lobar", "extent": 1.5}, "extent"),
        ({"name": "lobar", "density": float("nan")}, "density"),
        ({"name": "lobar", "side": "right", "lobe": "lingula"}, "middle"),
    ],
)
def test_impossible_findings_are_refused(kwargs, message):
    with pytest.raises(ValueError, match=message):
        Finding(**kwargs)
