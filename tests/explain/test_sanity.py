"""The sanity checks themselves: that they pass what depends on the weights and catch what does not."""

from dataclasses import replace

import numpy as np
import pytest
import torch
from torch import nn

import explain
from explain.attribution import Attribution, AttributionMap, Raw
from explain.sanity import (
    cascading_randomisation,
    completeness,
    judge_randomisation,
    pair_similarity,
    randomisable_modules,
    randomise_,
    restored_afterwards,
)


def fake(maps, status=None):
    maps = np.asarray(maps, dtype=np.float32)
    names = tuple(f"f{i}" for i in range(len(maps)))
    status = status or ("ok",) * len(maps)
    return AttributionMap("m", maps, names, (0,) * len(maps), status)


@pytest.mark.parametrize("name", ["grad-cam", "integrated gradients", "smoothgrad"])
def test_methods_that_read_the_weights_pass(name, vision_transformer, films):
    light = {"integrated gradients": {"steps": 8}, "smoothgrad": {"samples": 8}}
    method = explain.get(name, **light.get(name, {}))
    result = cascading_randomisation(method, vision_transformer, films.pixels[:8], 1, films.image_ids[:8], stages=3)
    assert result.outcome == "passed", result.reason
    assert result.ssim.shape == (3, 8)
    assert result.stages[0] == "inner.head"
    assert result.difference.mean < 0
    assert result.interval[0] <= result.difference.mean <= result.interval[1]


@pytest.mark.parametrize("name", ["edge detector", "random map", "centre prior"])
def test_maps_that_ignore_the_weights_fail(name, vision_transformer, films):
    result = cascading_randomisation(
        explain.get(name), vision_transformer, films.pixels[:6], 1, films.image_ids[:6], stages=2
    )
    assert result.outcome == "failed"
    np.testing.assert_allclose(result.ssim, 1)
    np.testing.assert_allclose(result.rank_correlation, 1)


def test_the_network_comes_back_bit_for_bit_even_after_an_error(vision_transformer, films):
    before = {name: tensor.clone() for name, tensor in vision_transformer.state_dict().items()}

    class Fragile(Attribution):
        name = "fragile"
        source = "this test"
        calls = 0

        def run(self, network, pixels, targets, generators):
            self.calls += 1
            if self.calls > 1:
                raise RuntimeError("the machine is on fire")
            return Raw(pixels.detach().mean(dim=1))

    with pytest.raises(RuntimeError, match="on fire"):
        cascading_randomisation(Fragile(), vision_transformer, films.pixels[:2], 1, films.image_ids[:2])
    after = vision_transformer.state_dict()
    assert all(torch.equal(before[name], after[name]) for name in before)


def test_restoring_also_covers_buffers_and_says_so_if_it_cannot():
    network = nn.Sequential(nn.Conv2d(1, 2, 1), nn.BatchNorm2d(2))
    with restored_afterwards(network):
        network[1].running_mean.fill_(7)
    assert network[1].running_mean.sum() == 0
    with pytest.raises(KeyError), restored_afterwards(network):
        network.add_module("late", nn.Linear(2, 2))


def test_randomising_loses_structure_and_keeps_scale():
    layer = nn.Linear(200, 300)
    old = layer.weight.detach().clone()
    randomise_(layer, "head", seed=0)
    assert float(layer.weight.detach().std()) == pytest.approx(float(old.std()), rel=0.02)
    assert abs(np.corrcoef(layer.weight.detach().ravel(), old.ravel())[0, 1]) < 0.02
    first = layer.weight.detach().clone()
    randomise_(layer, "head", seed=0)
    torch.testing.assert_close(layer.weight.detach(), first, rtol=0.02, atol=1e-4)


def test_the_cascade_runs_from_the_logits_down(stripe_reader):
    assert [name for name, _ in randomisable_modules(stripe_reader)] == [
        "inner.head",
        "inner.features",
        "inner.filters",
    ]


def test_the_pass_rule_by_hand():
    maps = fake(np.random.default_rng(0).random((4, 16, 16)))
    assert judge_randomisation(maps, np.full(4, 0.2), np.full(4, 0.3))[0] == "passed"
    outcome, reason, difference, interval = judge_randomisation(maps, np.full(4, 0.4), np.full(4, 0.3))
    assert outcome == "failed"
    assert "0.40" in reason
    assert difference.mean == pytest.approx(0.1)
    assert interval == pytest.approx((0.1, 0.1))
    assert judge_randomisation(maps, np.full(4, 0.99), np.full(4, 1.0))[0] == "failed"  # never changes, for any film
    unclear = judge_randomisation(maps, np.array([0.1, 0.5, 0.1, 0.49]), np.full(4, 0.3))
    assert unclear[0] == "undecided", "the mean difference is -0.0025, its interval holds 0"
    assert unclear[3][0] < 0 < unclear[3][1]
    flat = fake(np.ones((4, 16, 16)), ("flat",) * 4)
    assert judge_randomisation(flat, np.full(4, 0.0), np.full(4, 0.3))[0] == "failed"
    outcome, reason, difference, _ = judge_randomisation(maps, np.array([0.1, np.nan, np.nan, 0.1]), np.full(4, 0.3))
    assert outcome == "not evaluable"
    assert (difference.n, difference.left_out) == (2, 2)


def test_pairs_are_different_films_and_enough():
    maps = fake(np.stack([np.eye(16)] * 3 + [np.random.default_rng(0).random((16, 16))]))
    similarity = pair_similarity(maps, pairs=50)
    assert similarity[0] == pytest.approx((1 + 1 + similarity[3]) / 3, abs=0.02)
    assert similarity[3] < 0.5
    assert np.isnan(pair_similarity(fake(np.ones((1, 16, 16))))).all()


def test_completeness_passes_a_smooth_path_and_catches_a_broken_one(stripe_reader, vision_transformer, films):
    """Layer normalisation blows up the faintest contrast: an even grey film is no start of a path."""
    pixels, names = films.pixels[:3], films.image_ids[:3]
    method = explain.get("integrated gradients", reference="mean grey")
    fine = completeness(method(stripe_reader, pixels, 1, names))
    broken = completeness(method(vision_transformer, pixels, 1, names))
    assert fine.outcome == "passed"
    assert broken.outcome == "failed"
    assert broken.worst > fine.worst
    assert completeness(explain.get("grad-cam")(vision_transformer, pixels, 1, names)).outcome == "not evaluable"


@pytest.mark.parametrize(
    ("gap", "explained", "outcome"),
    [
        (0.005, 0.02, "passed"),  # a quarter of next to nothing: .005 of a logit moves no probability by a thousandth
        (0.02, 0.02, "failed"),  # the sum is off by all there was to explain
        (0.09, 2.0, "passed"),
        (0.2, 2.0, "failed"),
        (0.02, 0.0, "failed"),
    ],
)
def test_completeness_is_bounded_by_a_share_and_by_a_size(gap, explained, outcome):
    maps = replace(fake(np.ones((1, 8, 8))), completeness_gap=np.array([gap]), explained=np.array([explained]))
    assert completeness(maps).outcome == outcome
