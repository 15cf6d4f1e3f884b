"""How do the bundled subjects learn? Plain functions of films and a recipe, whose seed gives all randomness."""

from __future__ import annotations

import math
from collections.abc import Callable, Iterator, Sequence
from typing import cast

import torch
import torch.nn.functional as F
from timm.models.convnext import ConvNeXt
from torch import Tensor, nn
from tqdm import tqdm

from suites.harness.subjects.bundled.cohorts import CLASSES, RESIZED, SIZE, Films, batch_of
from suites.harness.subjects.bundled.recipes import DIMS, Recipe
from suites.harness.subjects.subject import Normalised


def random_crops(n: int, smallest: float, generator: torch.Generator) -> Tensor:
    """Draw a rectangle for each of n films, and mirror half of them.

    The random resized crop of Szegedy et al. (Going deeper with convolutions, CVPR 2015), aspect ratios 3/4 to 4/3.

    Args:
        n: films.
        smallest: least share of a film's area.
        generator: source of all randomness.

    Returns:
        (n, 2, 3) affine maps from the crop to the film, both as squares from -1 to 1.
    """
    area, aspect, x, y, mirror = torch.rand(5, n, generator=generator)
    area = smallest + (1 - smallest) * area
    ratio = torch.exp((2 * aspect - 1) * math.log(4 / 3) / 2)
    half_width, half_height = (area.sqrt() * ratio).clamp(max=1), (area.sqrt() / ratio).clamp(max=1)
    theta = torch.zeros(n, 2, 3)
    theta[:, 0, 0] = half_width * torch.where(mirror < 0.5, -1.0, 1.0)
    theta[:, 1, 1] = half_height
    theta[:, 0, 2] = (2 * x - 1) * (1 - half_width)
    theta[:, 1, 2] = (2 * y - 1) * (1 - half_height)
    return theta


def cut(images: Tensor, theta: Tensor, size: int) -> Tensor:
    """Cut the rectangles theta (B, 2, 3) out of images (B, C, H, W): (B, C, size, size)."""
    grid = F.affine_grid(theta, [len(images), 1, size, size], align_corners=False)
    return F.grid_sample(images, grid, padding_mode="border", align_corners=False)


def targets_of(labels: Tensor, smoothing: float) -> Tensor:
    """Return (B, K) target probabilities; films labelled -1 get the same for every class."""
    classes = len(CLASSES)
    hard = F.one_hot(labels.clamp(min=0), classes).float()
    soft = hard * (1 - smoothing) + smoothing / classes
    return torch.where((labels >= 0)[:, None], soft, 1 / classes)


class Taught(nn.Module):
    """A ConvNeXt-V2 that is also asked, while it learns, where lung, heart and opacity of each class lie.

    Exact masks stand in for the pre-training on photographs that the published network had: without either, a few
    hundred films teach it nothing. The extra layer is thrown away afterwards.
    """

    def __init__(self, network: Normalised, classes: Sequence[str] = CLASSES) -> None:
        super().__init__()
        self.network = network
        self.body = cast("ConvNeXt", network.backbone)
        self.where = nn.Conv2d(DIMS[2], 2 + len(classes), 1)

    def forward(self, pixels: Tensor) -> tuple[Tensor, Tensor]:
        """Return logits (B, K), and maps (B, 2 + K, S / 16, S / 16) as logits."""
        x = self.body.stem((pixels.expand(-1, 3, -1, -1) - self.network.mean) / self.network.std)
        for stage in self.body.stages[:3]:
            x = stage(x)
        return self.body.forward_head(self.body.stages[3](x)), self.where(x)


def attacked(
    network: nn.Module, pixels: Tensor, targets: Tensor, epsilon: Tensor, generator: torch.Generator
) -> Tensor:
    """Return films moved by one signed gradient step from a random start.

    Fast adversarial training (Wong, Rice, Kolter: Fast is better than free, ICLR 2020), step 1.25 epsilon.

    Args:
        network: gives logits first.
        pixels: (B, 1, S, S) in [0, 1].
        targets: (B, K).
        epsilon: (B, 1, 1, 1) largest change of each film.
        generator: source of the random start.
    """
    delta = (torch.rand(pixels.shape, generator=generator) * 2 - 1) * epsilon
    start = (pixels + delta).clamp(0, 1).requires_grad_()
    (slope,) = torch.autograd.grad(F.cross_entropy(network(start)[0], targets), start)
    delta = (start.detach() + 1.25 * epsilon * slope.sign() - pixels).clamp(-epsilon, epsilon)
    return (pixels + delta).clamp(0, 1)


def learn_classes(network: Normalised, films: Films, recipe: Recipe, outliers: Films | None = None) -> None:
    """Train all weights of a ConvNeXt-V2 by a recipe, in place."""
    shown = films if outliers is None else films.joined(outliers)
    generator = torch.Generator().manual_seed(recipe.seed)
    taught = Taught(network).to(memory_format=torch.channels_last)  # a tenth faster on a CPU

    def loss_of(index: Tensor) -> Tensor:
        n, labels = len(index), shown.labels[index]
        copies = torch.randint(1, recipe.variants + 1, (n,), generator=generator) if recipe.variants else 0
        changed = torch.rand(n, generator=generator) < recipe.perturbed
        theta = random_crops(n, recipe.smallest_crop, generator)
        pixels = cut(shown.pixels[index, copies * changed][:, None].float() / 255, theta, SIZE)
        targets = targets_of(labels, recipe.smoothing)
        if recipe.budget:
            epsilon = recipe.budget / 255 * torch.rand(n, 1, 1, 1, generator=generator)
            pixels = attacked(taught, pixels, targets, epsilon, generator)
        logits, maps = taught(pixels)
        # The maps cover the centre crop, so a crop of the film is a wider crop of them.
        lung, heart, opacity = cut(shown.regions[index], theta * (RESIZED / SIZE), maps.shape[-1]).unbind(1)
        answer = torch.stack([lung, heart, *(opacity * (labels == k)[:, None, None] for k in range(len(CLASSES)))], 1)
        known = (labels >= 0)[:, None, None, None].float().expand_as(maps)
        return F.cross_entropy(logits, targets) + recipe.masks * F.binary_cross_entropy_with_logits(maps, answer, known)

    descend(taught, loss_of, len(shown), recipe, generator)


def descend(
    network: nn.Module, loss_of: Callable[[Tensor], Tensor], films: int, recipe: Recipe, generator: torch.Generator
) -> None:
    """Minimise a loss over batches of film numbers, twins together: AdamW, one warm-up epoch, cosine to zero."""
    warm = math.ceil(films / recipe.batch)
    steps = warm * recipe.epochs
    plain = [weight for weight in network.parameters() if weight.ndim < 2]
    shaped = [weight for weight in network.parameters() if weight.ndim >= 2]
    optimizer = torch.optim.AdamW(
        [{"params": shaped, "weight_decay": recipe.decay}, {"params": plain, "weight_decay": 0.0}], lr=recipe.rate
    )
    schedule = torch.optim.lr_scheduler.LambdaLR(
        optimizer,
        lambda step: min((step + 1) / warm, 0.5 * (1 + math.cos(math.pi * max(step - warm, 0) / max(steps - warm, 1)))),
    )
    network.train()
    progress = tqdm(_batches(films, recipe, generator), total=steps, desc=recipe.name, mininterval=10)
    for index in progress:
        loss = loss_of(index)
        optimizer.zero_grad(set_to_none=True)
        torch.autograd.backward(loss)
        nn.utils.clip_grad_norm_(network.parameters(), 1.0)
        optimizer.step()
        schedule.step()
        progress.set_postfix(loss=f"{float(loss.detach()):.3f}", refresh=False)
    network.eval()


def _batches(films: int, recipe: Recipe, generator: torch.Generator) -> Iterator[Tensor]:
    twins = torch.split(torch.arange(films), len(CLASSES))
    for _ in range(recipe.epochs):
        order = torch.cat([twins[i] for i in torch.randperm(len(twins), generator=generator).tolist()])
        yield from torch.split(order, recipe.batch)


def logits_of(network: nn.Module, pixels: Tensor) -> Tensor:
    """Return (N, K) float64 logits of (N, 1, SIZE, SIZE) network input."""
    with torch.inference_mode():
        return torch.cat([network(part) for part in torch.split(pixels, 64)]).double()


def fitted_temperature(logits: Tensor, targets: Tensor) -> float:
    """Return the temperature of least negative log-likelihood, to 0.1 %: a golden-section search in its logarithm.

    Args:
        logits: (N, K) float64.
        targets: (N,) classes, or (N, K) float64 probabilities.
    """
    low, high = math.log(0.05), math.log(20.0)
    golden = (math.sqrt(5) - 1) / 2

    def nll(log_temperature: float) -> float:
        return float(F.cross_entropy(logits / math.exp(log_temperature), targets))

    while high - low > 1e-3:
        left, right = high - golden * (high - low), low + golden * (high - low)
        low, high = (low, right) if nll(left) < nll(right) else (left, high)
    return math.exp((low + high) / 2)


def accuracy(network: nn.Module, films: Films) -> float:
    """Return the share of clean films called right."""
    called = logits_of(network, batch_of(films)).argmax(1)
    return float((called == films.labels).double().mean())
