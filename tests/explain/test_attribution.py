"""The contract: what goes in, what comes out, what it costs, and that nothing depends on order or global state."""

import numpy as np
import pytest
import torch
from hypothesis import given, settings
from hypothesis import strategies as st
from torch import nn

import explain
from explain import NotAttributableError, refusals
from explain.attribution import Attribution, AttributionMap, Passes, Raw, register
from explain.similarity import average

CAM_LAYER = {"layer": "inner.second_rectifier"}


def options(name):
    return CAM_LAYER if "grad-cam" in name else {}


@pytest.mark.parametrize("name", [name for name in explain.names() if name != "attention rollout"])
def test_every_method_keeps_the_contract(name, stripe_reader, films):
    pixels, names = films.pixels[:3], films.image_ids[:3]
    before = {key: value.clone() for key, value in stripe_reader.state_dict().items()}
    result = explain.get(name, **options(name))(stripe_reader, pixels, [1, 0, 1], names)
    assert result.maps.dtype == np.float32
    assert result.maps.shape == (3, 48, 48)
    assert set(result.status) <= {"ok", "flat"}
    assert result.targets == (1, 0, 1)
    assert result.signed or (result.maps >= 0).all()
    assert all(torch.equal(value, before[key]) for key, value in stripe_reader.state_dict().items())


@pytest.mark.parametrize("name", ["smoothgrad", "gradient shap", "integrated gradients", "random map"])
def test_a_map_depends_on_film_and_seed_alone(name, stripe_reader, films):
    method = explain.get(name, **({"samples": 6} if name in {"smoothgrad", "gradient shap"} else {}))
    pixels, names = films.pixels[:3], films.image_ids[:3]
    torch.manual_seed(1)
    first = method(stripe_reader, pixels, 1, names)
    torch.manual_seed(2)
    np.random.seed(3)  # noqa: NPY002 -- global state that must not matter
    assert first.maps.tobytes() == method(stripe_reader, pixels, 1, names).maps.tobytes()
    turned = method(stripe_reader, pixels.flip(0), 1, names[::-1])
    np.testing.assert_allclose(turned.maps[::-1], first.maps, atol=1e-6)
    if name in {"smoothgrad", "gradient shap", "random map"}:
        assert not np.array_equal(first.maps, method(stripe_reader, pixels, 1, names, seed=1).maps)


def test_passes_are_counted(stripe_reader, films):
    pixels, names = films.pixels[:2], films.image_ids[:2]
    assert explain.get("grad-cam", **CAM_LAYER)(stripe_reader, pixels, 1, names).passes == Passes(1, 1)
    assert explain.get("smoothgrad", samples=5)(stripe_reader, pixels, 1, names).passes == Passes(5, 5)
    integrated = explain.get("integrated gradients", steps=8)(stripe_reader, pixels, 1, names).passes
    assert integrated == Passes(10, 8)
    assert integrated.as_forwards == 26
    assert explain.get("edge detector")(stripe_reader, pixels, 1, names).passes == Passes(0, 0)


@pytest.mark.parametrize("batch", [1, 3, 16])
def test_memory_is_bounded_by_the_batch(batch, stripe_reader, films):
    seen = []
    handle = stripe_reader.register_forward_pre_hook(lambda _, args: seen.append(len(args[0])))
    try:
        for name in ("integrated gradients", "smoothgrad", "gradient shap", "occlusion", "grad-cam"):
            explain.get(name, batch=batch, **options(name))(stripe_reader, films.pixels[:2], 1, films.image_ids[:2])
    finally:
        handle.remove()
    assert max(seen) <= batch


@pytest.mark.parametrize(
    ("pixels", "targets", "names", "message"),
    [
        (torch.rand(2, 3, 64, 32), 0, ["a", "b"], "pixels must be"),
        (torch.rand(2, 2, 64, 64), 0, ["a", "b"], "pixels must be"),
        (torch.rand(2, 3, 64, 64) * 255, 0, ["a", "b"], "normalisation belongs inside"),
        (torch.full((1, 3, 64, 64), float("nan")), 0, ["a"], "finite"),
        (torch.rand(2, 3, 64, 64), 0, ["a", "a"], "distinct"),
        (torch.rand(2, 3, 64, 64), [0], ["a", "b"], "class indices"),
        (torch.rand(2, 3, 64, 64), -1, ["a", "b"], "class indices"),
        (torch.rand(2, 3, 64, 64), 2, ["a", "b"], "target class 2 does not exist"),
    ],
)
def test_bad_input_is_named(pixels, targets, names, message, stripe_reader):
    with pytest.raises(ValueError, match=message):
        explain.get("grad-cam", **CAM_LAYER)(stripe_reader, pixels, targets, names)


def test_a_network_that_returns_no_logits_is_named(films):
    with pytest.raises(ValueError, match=r"logits \(B, K\)"):
        explain.get("smoothgrad")(nn.Conv2d(3, 2, 1), films.pixels[:1], 0, ["a"])


def test_without_gradients_only_occlusion_and_the_baselines_answer(stripe_reader, films):
    def predict(pixels):
        with torch.no_grad():
            return stripe_reader(pixels).numpy()

    reasons = refusals(predict)
    assert {name for name, reason in reasons.items() if reason is None} == {
        "occlusion", "random map", "edge detector", "centre prior",
    }  # fmt: skip
    result = explain.get("occlusion")(predict, films.pixels[:1], 1, films.image_ids[:1])
    assert result.status == ("ok",)
    with pytest.raises(NotAttributableError, match="use occlusion"):
        explain.get("smoothgrad")(predict, films.pixels[:1], 1, films.image_ids[:1])


def test_a_module_that_breaks_the_gradient_is_refused(stripe_reader, films):
    class Quantised(nn.Module):
        def __init__(self):
            super().__init__()
            self.inner = stripe_reader

        def forward(self, pixels):
            return self.inner(pixels.detach())

    for name in ("smoothgrad", "integrated gradients", "deeplift", "guided backpropagation"):
        with pytest.raises(NotAttributableError, match=r"differentiably|cannot follow"):
            explain.get(name)(Quantised(), films.pixels[:1], 1, films.image_ids[:1])


def test_maps_that_are_not_finite_are_named_and_left_out(stripe_reader, films):
    class Broken(Attribution):
        name = "broken"
        source = "this test"

        def run(self, network, pixels, targets, generators):
            maps = pixels.detach().mean(dim=1)
            maps[0, 3, 3] = float("nan")
            return Raw(maps)

    result = Broken()(stripe_reader, films.pixels[:2], 1, ["bad", "good"])
    assert result.status == ("not finite", "ok")
    assert result.left_out == {"bad": "not finite"}
    assert average([np.nan, 2.0, 4.0]) == average([2.0, np.nan, 4.0])
    assert (average([np.nan, 2.0, 4.0]).mean, average([np.nan, 2.0]).n, average([np.nan, 2.0]).left_out) == (3.0, 1, 1)


def test_a_map_of_the_wrong_shape_is_refused(stripe_reader, films):
    class Tokens(Attribution):
        name = "tokens"
        source = "this test"

        def run(self, network, pixels, targets, generators):
            return Raw(torch.zeros(len(pixels), 1, 192))

    with pytest.raises(NotAttributableError, match="shape"):
        Tokens()(stripe_reader, films.pixels[:1], 1, ["a"])


def test_training_mode_weights_and_in_place_layers_come_back(films):
    network = nn.Sequential(
        nn.Conv2d(3, 4, 3), nn.ReLU(inplace=True), nn.AdaptiveAvgPool2d(1), nn.Flatten(), nn.Linear(4, 2)
    )
    network[0].weight.requires_grad = False
    network.train()
    network[3].eval()
    explain.get("guided backpropagation")(network, films.pixels[:1], 1, ["a"])
    assert network.training
    assert not network[3].training
    assert network[1].inplace
    assert not network[0].weight.requires_grad
    assert network[4].weight.requires_grad


def test_the_registry_names_what_it_knows():
    assert "grad-cam" in explain.names("*cam*")
    with pytest.raises(ValueError, match="did you mean grad-cam"):
        explain.get("grad cam")
    with pytest.raises(ValueError, match="two attribution methods"):
        register(type("Again", (explain.gradcam.GradCam,), {}))


@pytest.mark.parametrize(
    ("name", "bad"),
    [("smoothgrad", {"samples": 0}), ("integrated gradients", {"steps": 1}), ("gradient shap", {"samples": 4}),
     ("occlusion", {"window": 0}), ("occlusion", {"batch": 0}), ("deeplift", {"reference": "white"})],
)  # fmt: skip
def test_senseless_options_are_refused(name, bad):
    with pytest.raises(ValueError, match=str(next(iter(bad.values())))):
        explain.get(name, **bad)


@settings(max_examples=25)
@given(weights=st.lists(st.floats(-3, 3), min_size=3, max_size=3), grey=st.floats(0.05, 0.95))
def test_integrated_gradients_of_a_linear_network_are_exact(weights, grey):
    """f = sum_c w_c * x_c[2, 3]: the map is zero but for that pixel, where it is sum(w) times (film - mean grey)."""

    class Linear(nn.Module):
        def forward(self, pixels):
            value = (pixels[:, :, 2, 3] * torch.tensor(weights)).sum(dim=1)
            return torch.stack([value, -value], dim=1)

    pixels = torch.zeros(1, 3, 16, 16)
    pixels[:, :, 2, 3] = grey
    result: AttributionMap = explain.get("integrated gradients", steps=4, reference="mean grey")(
        Linear(), pixels, 0, ["a"]
    )
    expected = np.zeros((16, 16))
    expected[2, 3] = sum(weights) * (grey - grey / 256)
    np.testing.assert_allclose(result.maps[0], expected, atol=1e-5)
    assert abs(result.completeness_gap[0]) < 1e-5
