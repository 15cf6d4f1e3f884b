"""Which pixels does the gradient name? Captum's attributions, each behind a guard for where Captum is silently wrong.

Captum draws its noise from global generators. Where a method needs noise it is drawn here, per film, so that a map
depends on nothing but (film, method, seed); Captum gives the gradient.
"""

from __future__ import annotations

from collections.abc import Sequence
from typing import ClassVar

import torch
import torch.nn.functional as F
from captum.attr import DeepLift, GuidedBackprop, IntegratedGradients, Saliency
from torch import Tensor, nn

from explain.attribution import SMALL_DIFFERENCE, Attribution, Profile, Raw, register
from explain.gradcam import GradCam
from explain.network import Network, NotAttributableError, Watched
from explain.reference import REFERENCES, check_reference, reference_film
from explain.tracing import Layer


def _gradient(network: Watched, pixels: Tensor, targets: Tensor) -> Tensor:
    """Return the signed gradient of each film's target logit, in the films' shape."""
    gradient: Tensor = Saliency(network).attribute(pixels.detach().requires_grad_(), target=targets, abs=False)
    return gradient


def _noise_like(film: Tensor, copies: int, generator: torch.Generator) -> Tensor:
    """Return standard normal noise (copies, 1, S, S), drawn on the CPU so that every device sees the same."""
    return torch.randn(copies, 1, *film.shape[1:], generator=generator).to(film.device)


def _logit_difference(network: Watched, pixels: Tensor, reference: Tensor, targets: Tensor) -> Tensor:
    """Return f(film) - f(reference) of the target logit, (B,)."""
    with torch.no_grad():
        film, empty = (network(part).gather(1, targets[:, None])[:, 0] for part in (pixels, reference))
    difference: Tensor = film - empty
    return difference


@register
class SmoothGrad(Attribution):
    """The mean gradient over noisy copies of the film; the noise is grey (one draw for all channels).

    Args:
        samples: noisy copies per film.
        noise: standard deviation as a fraction of the film's grey range; copies are not clipped, which would bias their
            mean.
        batch: largest number of copies in one pass.
    """

    name: ClassVar[str] = "smoothgrad"
    profile: ClassVar[Profile] = "standard"
    source: ClassVar[str] = "Smilkov et al. 2017, arXiv:1706.03825"

    def __init__(self, samples: int = 16, noise: float = 0.1, *, batch: int = 16) -> None:
        super().__init__(batch=batch)
        if samples < 1 or noise <= 0:
            raise ValueError(f"smoothgrad needs samples >= 1 and noise > 0, not {samples} and {noise}")
        self.samples, self.noise = samples, noise

    @property
    def copies(self) -> int:
        """Noisy copies of one film fill a pass."""
        return self.samples

    def run(self, network: Watched, pixels: Tensor, targets: Tensor, generators: Sequence[torch.Generator]) -> Raw:
        """See `Attribution.run`."""
        maps = []
        for film, target, generator in zip(pixels.detach(), targets, generators, strict=True):
            spread = self.noise * (film.max() - film.min())
            copies = film + spread * _noise_like(film, self.samples, generator)
            parts = [_gradient(network, part, target.expand(len(part))) for part in torch.split(copies, self.batch)]
            maps.append(torch.cat(parts).mean(dim=0))
        return Raw(torch.stack(maps))


@register
class IntegratedGradientsMap(Attribution):
    """Gradients integrated from a reference to the film; they add up to the logit's change, and the gap is booked.

    Args:
        steps: points of the Gauss-Legendre rule.
        reference: see `explain.reference`. What film and reference share gets nothing: the blurred film leaves
            detail to a map, not an even haze; an even grey breaks the sum under layer normalisation.
        batch: largest number of points in one pass.
    """

    name: ClassVar[str] = "integrated gradients"
    source: ClassVar[str] = "Sundararajan et al. 2017, arXiv:1703.01365"

    def __init__(self, steps: int = 32, reference: str = "blurred", *, batch: int = 16) -> None:
        super().__init__(batch=batch)
        if steps < 2:
            raise ValueError(f"integrated gradients needs at least 2 steps, not {steps}")
        self.steps, self.reference = steps, check_reference(reference)

    @property
    def copies(self) -> int:
        """Captum takes whole steps of all films of a chunk at once; one film per chunk fills a pass with steps."""
        return self.steps

    def run(self, network: Watched, pixels: Tensor, targets: Tensor, generators: Sequence[torch.Generator]) -> Raw:
        """See `Attribution.run`."""
        del generators
        reference = reference_film(pixels, self.reference)
        maps = IntegratedGradients(network).attribute(
            pixels,
            baselines=reference,
            target=targets,
            n_steps=self.steps,
            method="gausslegendre",
            internal_batch_size=self.batch,
        )
        explained = _logit_difference(network, pixels, reference, targets)
        return Raw(maps, maps.double().sum(dim=(1, 2, 3)) - explained, explained)


@register
class GradientShap(Attribution):
    """Expected gradients: gradient at a random point between a random reference and the film, times their difference.

    Args:
        samples: random points per film, a multiple of the number of references (`explain.reference`), which take turns.
        batch: largest number of points in one pass.
    """

    name: ClassVar[str] = "gradient shap"
    profile: ClassVar[Profile] = "full"
    source: ClassVar[str] = "Lundberg & Lee 2017, arXiv:1705.07874; Erion et al. 2021, arXiv:1906.10670"

    def __init__(self, samples: int = 24, *, batch: int = 16) -> None:
        super().__init__(batch=batch)
        if samples < 1 or samples % len(REFERENCES):
            raise ValueError(f"gradient shap needs a multiple of {len(REFERENCES)} samples, not {samples}")
        self.samples = samples

    @property
    def copies(self) -> int:
        """Random points of one film fill a pass."""
        return self.samples

    def run(self, network: Watched, pixels: Tensor, targets: Tensor, generators: Sequence[torch.Generator]) -> Raw:
        """See `Attribution.run`."""
        pixels = pixels.detach()
        references = torch.stack([reference_film(pixels, kind) for kind in REFERENCES], dim=1)
        maps = []
        for film, target, empty, generator in zip(pixels, targets, references, generators, strict=True):
            turn = torch.arange(self.samples) % len(empty)
            start = empty[turn.to(film.device)]
            stratum = torch.arange(self.samples) // len(
                empty
            )  # even cover of the way keeps the sum close to its promise
            draw = (stratum + torch.rand(self.samples, generator=generator)) / (self.samples // len(empty))
            share = draw[:, None, None, None].to(film.device)
            points = start + share * (film - start)
            parts = [_gradient(network, part, target.expand(len(part))) for part in torch.split(points, self.batch)]
            product = torch.cat(parts) * (film - start)
            maps.append(torch.stack([product[turn == kind].mean(dim=0) for kind in range(len(empty))]).mean(dim=0))
        stacked = torch.stack(maps)
        differences = [
            _logit_difference(network, pixels, references[:, kind], targets) for kind in range(references.shape[1])
        ]
        explained = torch.stack(differences).mean(dim=0)
        return Raw(stacked, stacked.double().sum(dim=(1, 2, 3)) - explained, explained)


@register
class DeepLiftMap(Attribution):
    """DeepLIFT (rescale rule), kept only where its sum holds.

    Captum sees rectifiers that are modules and are called once per pass. Functional or shared ones, GELU, normalisation
    layers and attention make its map wrong without a word; the sum that DeepLIFT promises then fails, and the map is
    refused.

    Args:
        reference: see `explain.reference`.
        tolerance: largest gap allowed, as a fraction of the logit difference (of `SMALL_DIFFERENCE` at least).
        batch: largest number of films in one pass.
    """

    name: ClassVar[str] = "deeplift"
    profile: ClassVar[Profile] = "full"
    source: ClassVar[str] = "Shrikumar et al. 2017, arXiv:1704.02685"

    def __init__(self, reference: str = "blurred", tolerance: float = 0.02, *, batch: int = 16) -> None:
        super().__init__(batch=batch)
        self.reference, self.tolerance = check_reference(reference), tolerance

    @property
    def copies(self) -> int:
        """Captum runs film and reference together."""
        return 2

    def run(self, network: Watched, pixels: Tensor, targets: Tensor, generators: Sequence[torch.Generator]) -> Raw:
        """See `Attribution.run`."""
        del generators
        reference = reference_film(pixels, self.reference)
        try:
            maps = DeepLift(network).attribute(pixels, baselines=reference, target=targets).detach()
        except (RuntimeError, AssertionError) as error:
            raise NotAttributableError(
                self.name, f"Captum cannot follow this network ({_first_line(error)})"
            ) from error
        explained = _logit_difference(network, pixels, reference, targets)
        gap = maps.double().sum(dim=(1, 2, 3)) - explained
        worst = float((gap.abs() / explained.abs().clamp_min(SMALL_DIFFERENCE)).nan_to_num(0.0).max())
        if worst > self.tolerance:
            reason = (
                f"its sum misses the logit difference by {100 * worst:.0f} % (allowed {100 * self.tolerance:.0f} %)"
            )
            raise NotAttributableError(
                self.name, f"{reason}: the network has non-linearities that Captum's hooks do not see"
            )
        return Raw(maps, gap, explained)


def _first_line(error: Exception) -> str:
    return (str(error).splitlines() or [type(error).__name__])[0][:160]


def _guided(network: Watched, pixels: Tensor, targets: Tensor) -> Tensor:
    """Return guided backpropagation, or refuse where it silently equals the plain gradient."""
    try:
        guided: Tensor = GuidedBackprop(network).attribute(pixels, target=targets).detach()
    except RuntimeError as error:
        raise NotAttributableError(
            network.method, f"Captum cannot follow this network ({_first_line(error)})"
        ) from error
    plain = _gradient(network, pixels[:1], targets[:1])
    if plain.any() and torch.allclose(guided[:1], plain, rtol=1e-4, atol=float(plain.abs().max()) * 1e-5):
        raise NotAttributableError(
            network.method, "guided equals the plain gradient: no rectifier of this network was guided"
        )
    return guided


def _needs_rectifiers(network: Network) -> str | None:
    """Guided backpropagation changes nothing but `nn.ReLU` modules."""
    if isinstance(network, nn.Module) and not any(isinstance(module, nn.ReLU) for module in network.modules()):
        return "the network has no nn.ReLU (GELU and SiLU are not guided), so guided would equal the plain gradient"
    return None


@register
class GuidedBackpropagation(Attribution):
    """The gradient with negative signals stopped at every rectifier."""

    name: ClassVar[str] = "guided backpropagation"
    profile: ClassVar[Profile] = "full"
    source: ClassVar[str] = "Springenberg et al. 2014, arXiv:1412.6806"

    def refusal(self, network: Network) -> str | None:
        """Refuse networks without rectifier modules."""
        return super().refusal(network) or _needs_rectifiers(network)

    def run(self, network: Watched, pixels: Tensor, targets: Tensor, generators: Sequence[torch.Generator]) -> Raw:
        """See `Attribution.run`."""
        del generators
        return Raw(_guided(network, pixels, targets))


@register
class GuidedGradCam(Attribution):
    """Guided backpropagation times Grad-CAM; Captum returns an empty tensor for it on a vision transformer.

    Args:
        layer: see `GradCam`.
        batch: largest number of films in one pass.
    """

    name: ClassVar[str] = "guided grad-cam"
    profile: ClassVar[Profile] = "full"
    source: ClassVar[str] = "Selvaraju et al. 2017, arXiv:1610.02391"

    def __init__(self, layer: str | Layer | None = None, *, batch: int = 16) -> None:
        super().__init__(batch=batch)
        self.cam = GradCam(layer, batch=batch)

    def refusal(self, network: Network) -> str | None:
        """Refuse networks without rectifier modules."""
        return super().refusal(network) or _needs_rectifiers(network)

    def run(self, network: Watched, pixels: Tensor, targets: Tensor, generators: Sequence[torch.Generator]) -> Raw:
        """See `Attribution.run`."""
        cam = self.cam.run(network, pixels, targets, generators).maps
        guided = _guided(network, pixels, targets).sum(dim=1)
        return Raw(guided * F.relu(cam))
