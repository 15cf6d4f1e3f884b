"""Small architectures of many styles: the layer found is the one an expert would name, and the map is Grad-CAM's."""

import pytest
import torch
import torch.nn.functional as F
from captum.attr import LayerGradCam
from torch import nn

import explain
from explain import NotAttributableError
from explain.layers import find_layer
from explain.tracing import captured


def conv(inputs, outputs, stride=1, groups=1):
    return nn.Conv2d(inputs, outputs, 3, stride, 1, groups=groups)


class Net(nn.Module):
    def __init__(self, run, **modules):
        super().__init__()
        self.run = run
        for name, module in modules.items():
            setattr(self, name, module)

    def forward(self, x):
        return self.run(self, x)


def nested():
    trunk = nn.Sequential(nn.Sequential(conv(3, 8, 2), nn.ReLU()), nn.Sequential(conv(8, 12, 2), nn.BatchNorm2d(12)))
    return Net(lambda m, x: m.head(m.trunk(x).mean((2, 3))), trunk=trunk, head=nn.Linear(12, 3))


def functional():
    def run(m, x):
        x = F.max_pool2d(F.relu(m.one(x), inplace=True), 2)
        return m.head(F.adaptive_avg_pool2d(F.relu6(m.two(x), inplace=True), 1).flatten(1))

    return Net(run, one=conv(3, 8), two=conv(8, 12), head=nn.Linear(12, 3))


def lenet():
    def run(m, x):
        x = F.max_pool2d(torch.relu(m.one(x)), 2)
        return m.last(torch.relu(m.first(F.max_pool2d(torch.relu(m.two(x)), 2).flatten(1))))

    return Net(run, one=conv(1, 6), two=conv(6, 8), first=nn.Linear(8 * 49, 16), last=nn.Linear(16, 3))


def sequential():
    layers = (conv(3, 8, 2), nn.ReLU(inplace=True), conv(8, 12, 2), nn.ReLU(inplace=True))
    return nn.Sequential(*layers, nn.AdaptiveAvgPool2d(1), nn.Flatten(), nn.Linear(12, 3))


def squeeze():
    def fire(m, x):
        x = F.relu(m.squeeze(x))
        return torch.cat([F.relu(m.narrow(x)), F.relu(m.wide(x))], 1)

    block = Net(fire, squeeze=nn.Conv2d(8, 4, 1), narrow=nn.Conv2d(4, 6, 1), wide=conv(4, 6))
    top = nn.Sequential(nn.Dropout(), nn.Conv2d(12, 3, 1), nn.ReLU(), nn.AdaptiveAvgPool2d(1), nn.Flatten())
    return nn.Sequential(conv(3, 8, 2), block, top)


def flat_residual():
    def run(m, x):
        x = F.relu(m.stem(x))
        return m.head(F.relu(x + m.branch(x)).mean((2, 3)))

    return Net(run, stem=conv(3, 8, 4), branch=conv(8, 8), head=nn.Linear(8, 3))


def reused():
    def run(m, x):
        return m.head(m.act(m.two(m.act(m.one(x)))).mean((2, 3)))

    return Net(run, one=conv(3, 8, 2), two=conv(8, 12, 2), act=nn.ReLU(inplace=True), head=nn.Linear(12, 3))


def separable():
    def run(m, x):
        x = F.relu6(m.stem(x))
        return m.head(F.relu6(m.wide(F.relu6(m.deep(x)))).mean((2, 3)))

    return Net(run, stem=conv(3, 8, 2), deep=conv(8, 8, 2, 8), wide=nn.Conv2d(8, 12, 1), head=nn.Linear(12, 3))


def small():
    layers = [conv(1, 4, 2), nn.ReLU(), conv(4, 6, 2), nn.ReLU(), conv(6, 8, 4), nn.ReLU()]
    return nn.Sequential(*layers, nn.AdaptiveAvgPool2d(1), nn.Flatten(), nn.Linear(8, 3))


def tokens():
    def run(m, x):
        return m.head(m.mixed(m.patches(x).flatten(2).transpose(1, 2)).mean(1))

    mixed = nn.Sequential(nn.Linear(12, 12), nn.GELU(), nn.LayerNorm(12))
    return Net(run, patches=nn.Conv2d(3, 12, 8, 8), mixed=mixed, head=nn.Linear(12, 3))


TABLE = [
    (nested, 3, 32, "trunk.1.1", (8, 8)), (functional, 3, 32, "two", (16, 16)), (lenet, 1, 28, "two", (14, 14)),
    (sequential, 3, 32, "3", (8, 8)), (squeeze, 3, 32, "1", (16, 16)), (reused, 3, 32, "act", (8, 8)),
    (flat_residual, 3, 32, "relu after branch", (8, 8)), (separable, 3, 32, "wide", (8, 8)),
    (small, 1, 28, "3", (7, 7)), (tokens, 3, 32, "mixed.2", (4, 4)),
]  # fmt: skip


@pytest.mark.parametrize(("build", "channels", "side", "name", "grid"), TABLE, ids=lambda v: getattr(v, "__name__", ""))
def test_the_layer_is_the_one_an_expert_names(build, channels, side, name, grid):
    torch.manual_seed(0)
    network = build().eval()
    pixels = torch.rand(2, channels, side, side)
    layer = find_layer(network, pixels)
    assert (layer.name, layer.grid) == (name, grid)
    pixels.requires_grad_()
    with captured(layer) as kept:
        logits = network(pixels)
    (slope,) = torch.autograd.grad(logits[:, 1].sum(), kept[0])
    act = kept[0]
    if act.ndim == 3:
        act, slope = (one.transpose(1, 2).unflatten(2, grid) for one in (act, slope))
    by_hand = F.relu((slope.mean((2, 3), keepdim=True) * act).sum(1))
    by_hand = F.interpolate(by_hand[:, None], size=side, mode="bilinear")[:, 0]
    ours = explain.get("grad-cam")(network, pixels.detach(), 1, ["a", "b"]).maps
    torch.testing.assert_close(torch.from_numpy(ours), by_hand.detach())


@pytest.mark.parametrize("build", [nested, lenet, sequential, squeeze, separable, small], ids=lambda v: v.__name__)
def test_captum_agrees_on_the_same_layer(build):
    """Captum hooks modules called once and wants channels first: the rest of the table is out of its reach."""
    row = next(one for one in TABLE if one[0] is build)
    torch.manual_seed(0)
    network = build().eval()
    pixels = torch.rand(3, row[1], row[2], row[2])
    layer = find_layer(network, pixels)
    found = LayerGradCam(network, layer.module).attribute(
        pixels, target=torch.tensor([0, 1, 2]), relu_attributions=True
    )
    theirs = F.interpolate(found, size=pixels.shape[2:], mode="bilinear", align_corners=False)[:, 0].detach()
    ours = explain.get("grad-cam")(network, pixels, [0, 1, 2], ["a", "b", "c"]).maps
    assert float(theirs.max()) > 0
    torch.testing.assert_close(torch.from_numpy(ours), theirs, atol=1e-5, rtol=0)


def test_cut_gradients_are_said():
    network = Net(lambda m, x: m.head(m.trunk(x).detach().mean((2, 3))), trunk=conv(3, 8), head=nn.Linear(8, 3))
    with pytest.raises(NotAttributableError, match="do not depend differentiably"):
        find_layer(network, torch.rand(1, 3, 32, 32))


def test_axes_are_told_apart_and_a_turned_map_is_no_map_of_the_film():
    channels_last = Net(lambda m, x: m.norm(x.permute(0, 2, 3, 1)), norm=nn.LayerNorm(8))
    trunk = nn.Sequential(conv(3, 8, 4), channels_last)  # eight channels on 8 x 8 places: sizes tell nothing
    last = Net(lambda m, x: m.head(m.trunk(x).relu().mean((1, 2))), trunk=trunk, head=nn.Linear(8, 3))
    found = find_layer(last, torch.rand(1, 3, 32, 32))
    assert (found.channels_last, found.grid) == (True, (8, 8))
    turned = nn.Sequential(Net(lambda _, x: x.transpose(2, 3)), conv(3, 8, 4), nn.Flatten(), nn.Linear(8 * 64, 3))
    with pytest.raises(NotAttributableError, match="places are not places of the film"):
        find_layer(turned, torch.rand(1, 3, 32, 32), "1")
