"""Published architectures with random weights: is the layer of Grad-CAM the one that the field looks at?

`documented` is what the readme of pytorch-grad-cam 1.5 and the papers name (`layer4[-1]`, `features[-1]`,
`blocks[-1].norm1`), or where no list names it, the module whose output is pooled. What is found may have another name
if it gives the very same tensor.
"""

import re
from itertools import pairwise

import pytest
import timm
import torch
import torch.nn.functional as F
import torchvision
from torch import nn

import explain
from explain.layers import find_layer
from explain.tracing import as_grid, captured

pytestmark = [pytest.mark.slow, pytest.mark.benchmark_suite]


class Conv(nn.Sequential):
    def __init__(self, inputs, outputs, side=1, stride=1):
        convolution = nn.Conv2d(inputs, outputs, side, stride, side // 2, bias=False)
        super().__init__(convolution, nn.BatchNorm2d(outputs), nn.SiLU(inplace=True))


class Bottleneck(nn.Module):
    def __init__(self, width):
        super().__init__()
        self.cv1, self.cv2 = Conv(width, width, 3), Conv(width, width, 3)

    def forward(self, x):
        return x + self.cv2(self.cv1(x))


class C2f(nn.Module):
    """YOLOv8's block: split, a chain of bottlenecks, and everything seen on the way concatenated."""

    def __init__(self, inputs, outputs, depth):
        super().__init__()
        self.cv1, self.cv2 = Conv(inputs, outputs), Conv((2 + depth) * outputs // 2, outputs)
        self.m = nn.ModuleList(Bottleneck(outputs // 2) for _ in range(depth))

    def forward(self, x):
        parts = list(self.cv1(x).chunk(2, 1))
        for block in self.m:
            parts.append(block(parts[-1]))
        return self.cv2(torch.cat(parts, 1))


class SPPF(nn.Module):
    """Spatial pyramid pooling: three poolings in a row, all concatenated."""

    def __init__(self, width):
        super().__init__()
        self.cv1, self.cv2, self.m = Conv(width, width // 2), Conv(2 * width, width), nn.MaxPool2d(5, 1, 2)

    def forward(self, x):
        parts = [self.cv1(x)]
        for _ in range(3):
            parts.append(self.m(parts[-1]))
        return self.cv2(torch.cat(parts, 1))


class Yolo(nn.Module):
    def __init__(self):
        super().__init__()
        widths, layers = (16, 32, 64, 128, 256), [Conv(3, 16, 3, 2)]
        for inputs, outputs in pairwise(widths):
            layers += [Conv(inputs, outputs, 3, 2), C2f(outputs, outputs, 2 if outputs in {64, 128} else 1)]
        self.model = nn.Sequential(*layers, SPPF(256))
        self.linear = nn.Linear(256, 3)

    def forward(self, x):
        return self.linear(self.model(x).mean((2, 3)))


def published(name):
    torch.manual_seed(0)
    kind, _, model = name.partition(":")
    if kind == "yolo":
        network = Yolo()
    elif kind == "torchvision":
        extra = {"init_weights": False} if model in {"googlenet", "inception_v3"} else {}
        network = torchvision.models.get_model(model, weights=None, num_classes=3, **extra)
    else:
        network = timm.create_model(model, pretrained=False, num_classes=3)
    for head in network.modules():
        if isinstance(head, nn.Linear) and not head.weight.any():  # some heads begin at zero, where nothing has a slope
            nn.init.normal_(head.weight, std=0.02)
    return network.eval()


CNN, TOKENS = True, False
TABLE = [
    ("timm:resnet18", "layer4.1", 224, CNN), ("torchvision:resnet18", "layer4.1", 224, CNN),
    ("timm:mobilenetv3_small_100", "blocks.5", 224, CNN), ("torchvision:mobilenet_v2", "features.18", 224, CNN),
    ("torchvision:mobilenet_v3_small", "features.12", 224, CNN), ("torchvision:mnasnet0_5", "layers.16", 224, CNN),
    ("timm:efficientnet_b0", "bn2", 224, CNN), ("torchvision:efficientnet_b0", "features.8", 224, CNN),
    ("timm:densenet121", "features.norm5", 224, CNN), ("torchvision:densenet121", "features", 224, CNN),
    ("timm:convnextv2_atto", "stages.3", 224, CNN), ("torchvision:convnext_tiny", "features.7.2", 224, CNN),
    ("torchvision:squeezenet1_1", "features.12", 224, CNN), ("timm:regnety_002", "s4", 224, CNN),
    ("torchvision:regnet_y_400mf", "trunk_output.block4", 224, CNN), ("timm:vgg11_bn", "features.28", 224, CNN),
    ("torchvision:vgg11_bn", "features.28", 224, CNN), ("torchvision:alexnet", "features.12", 224, CNN),
    ("timm:inception_v3", "Mixed_7c", 299, CNN), ("torchvision:inception_v3", "Mixed_7c", 299, CNN),
    ("torchvision:googlenet", "inception5b", 224, CNN), ("torchvision:shufflenet_v2_x0_5", "conv5", 224, CNN),
    ("timm:cspdarknet53", "stages.4", 256, CNN), ("timm:ghostnet_100", "blocks.9", 224, CNN),
    ("timm:fastvit_t8", "final_conv", 256, CNN), ("yolo:", "model.9", 256, CNN),
    ("timm:vit_tiny_patch16_224", "blocks.11.norm1", 224, TOKENS),
    ("timm:deit_tiny_distilled_patch16_224", "blocks.11.norm1", 224, TOKENS),
    ("torchvision:vit_b_16", "encoder.layers.encoder_layer_11.ln_1", 224, TOKENS),
    ("timm:swin_tiny_patch4_window7_224", "norm", 224, CNN), ("timm:mixer_s32_224", "norm", 224, CNN),
]  # fmt: skip


def seen_by(network, layer, pixels):
    with torch.no_grad(), captured(layer) as kept:
        network(pixels)
    return kept[0]


@pytest.mark.parametrize(("name", "documented", "side", "cut"), TABLE, ids=[row[0] for row in TABLE])
def test_the_layer_of_a_published_architecture_is_the_documented_one(name, documented, side, cut):
    network = published(name)
    draw = torch.Generator().manual_seed(0)
    film = torch.rand(1, 3, side, side, generator=draw)
    other = F.interpolate(torch.rand(1, 3, 5, 5, generator=draw), size=(side, side))
    layer = find_layer(network, film)
    assert re.fullmatch(r"[\w. ]+, \d+ x \d+(, call \d+ of \d+)?", layer.text)
    result = explain.get("grad-cam", layer=layer)(network, film, 1, ["a"])
    assert result.maps.shape == (1, side, side)
    assert result.status[0] in {"ok", "flat"}  # all slopes may be negative

    own, theirs = seen_by(network, layer, film), []
    handle = network.get_submodule(documented).register_forward_hook(lambda _, __, out: theirs.append(out.clone()))
    with torch.no_grad():
        logits = network(film)
    handle.remove()
    assert torch.equal(own, theirs[0])

    # On the path: with this map held still, the logits do not see that the film is another.
    held = layer.module.register_forward_hook(lambda _, __, out: own.clone())
    with torch.no_grad():
        moved = network(other)
        held.remove()
        free = float((network(other) - logits).abs().max())
    assert free > 0
    assert (float((moved - logits).abs().max()) < 1e-3 * free) == cut

    # Spatial: what changes in a corner of the film changes the map there more than in the corner opposite.
    for flip in (False, True):
        changed = film.clone()
        corner = slice(side * 3 // 4, side) if flip else slice(0, side // 4)
        changed[..., corner, corner] = 1 - changed[..., corner, corner]
        grid = as_grid(seen_by(network, layer, changed) - own, channels_last=layer.channels_last).square().sum((0, 1))
        height, width = (length // 2 for length in grid.shape)
        first, last = float(grid[:height, :width].sum()), float(grid[-height:, -width:].sum())
        assert (last > first) if flip else (first > last)
