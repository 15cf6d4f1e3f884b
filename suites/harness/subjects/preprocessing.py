"""Which pixels does the network see of a film? Resize, crop, channels; normalisation lives inside the network.

Two recipes of the published model are in circulation and disagree, so each has a name and the report prints it:
the repository's evaluation transform (short side 255, bilinear) and the Hub's image processor (read from
`preprocessor_config.json`, there usually short side 256, bicubic). Both resize 8-bit images with an integer kernel,
which rounds after each of its two passes: torchvision's differs from Pillow's, and a resize in floats that is rounded
once differs from both, in up to a fifth of the pixels. Calling a recipe therefore runs the kernel it names, bit for
bit, wherever the films lie (torchvision itself resizes in floats on a GPU); `nearest`, and what does not low-pass, on
the CPU. `differentiable` resizes in floats so that gradients pass, and nothing is predicted or called a flip from its
pixels alone.

torchvision has its 8-bit bilinear kernel on processors with AVX2 (all x86 servers since 2015) and resizes in floats
on others; so does the recipe itself when it is run there.
"""

from __future__ import annotations

from dataclasses import asdict, dataclass
from typing import Literal

import numpy as np
import torch
from PIL import Image
from torch import Tensor
from torchvision.transforms import InterpolationMode
from torchvision.transforms.v2 import functional as vision

from robustness.primitives.resize_bytes import (
    FILTERS,
    four_at_once,
    has_whole_numbers,
    pillow_resized,
    torchvision_resized,
)

Interpolation = Literal["nearest", "bilinear", "bicubic", "lanczos"]
Kernel = Literal["torchvision", "pillow"]
Margin = Literal["even", "down", "zero"]


@dataclass(frozen=True, kw_only=True)
class Preprocessing:
    """A deterministic recipe from films of any size to square network input.

    Attributes:
        name: how the recipe is called in the report (`repository`, `hub`, ...).
        short_side: the film is resized, aspect ratio kept, until its short side has this many pixels;
            `None` resizes straight to `(size, size)` and squeezes the anatomy.
        size: side of the centre crop in pixels; what lies outside is padded with black.
        interpolation: resampling filter.
        antialias: low-pass before downsampling; without it fine grid lines alias into the input.
        channels: 3 repeats the grey film, 1 keeps it.
        eight_bit: films are rounded to 256 levels and resized as bytes, as both published recipes do; a film of 16 bits
            or from DICOM is rounded to 8 before the resize, for the recipes know nothing else.
        kernel: whose resize of bytes: `torchvision` (on tensors) or `pillow` (which always low-passes).
        odd_margin: where the crop lies when it cannot lie in the middle: torchvision rounds half of the margin to the
            nearest `even` number, Transformers rounds it `down` on Pillow images and towards `zero` on tensors (which
            differ where the film is smaller than the crop). One pixel, but it is the recipe.
    """

    name: str
    short_side: int | None = 255
    size: int = 224
    interpolation: Interpolation = "bilinear"
    antialias: bool = True
    channels: int = 3
    eight_bit: bool = True
    kernel: Kernel = "torchvision"
    odd_margin: Margin = "even"

    def __post_init__(self) -> None:
        if not 8 <= self.size <= 4096:
            raise ValueError(f"size must lie in 8..4096 pixels, not {self.size}")
        if self.short_side is not None and not 8 <= self.short_side <= 8192:
            raise ValueError(f"short_side must lie in 8..8192 pixels, not {self.short_side}")
        if self.channels not in (1, 3):
            raise ValueError(f"channels must be 1 or 3, not {self.channels}")
        if self.kernel not in ("torchvision", "pillow"):
            raise ValueError(f"kernel must be torchvision or pillow, not {self.kernel!r}")
        if self.kernel == "pillow" and not (self.antialias and self.eight_bit):
            raise ValueError(
                "Pillow's kernel takes 8-bit films and always low-passes: antialias and eight_bit are True"
            )

    def __call__(self, films: Tensor) -> Tensor:
        """Return network input for a batch of films.

        Args:
            films: (B, H, W) float in [0, 1], white is dense; or uint8, where the recipe `takes_bytes`.

        Returns:
            (B, channels, size, size) float32 in [0, 1], on the films' device, without a graph where `eight_bit`.
        """
        if not self.eight_bit:
            return self.differentiable(films)
        levels = _rounded(films).unsqueeze(1)
        rows, columns = self.resized_shape(*levels.shape[-2:])
        if levels.is_cpu and self._four_at_once and min(rows, columns) >= self.size:
            # Only what the crop shows.
            top, left = (self._start(length - self.size) for length in (rows, columns))
            kept = slice(top, top + self.size), slice(left, left + self.size)
            each = [four_at_once(film, rows, columns, self.interpolation, kept) for film in levels[:, 0]]
            levels = torch.stack(each).unsqueeze(1)
        else:
            levels = self._cropped(self._resized_levels(levels))
        return levels.to(torch.float32).div_(255).expand(-1, self.channels, -1, -1)

    @property
    def _four_at_once(self) -> bool:
        """Whether `four_at_once` is the recipe's kernel on this processor."""
        whole = self.kernel == "torchvision" and self.antialias and self.interpolation in {"bilinear", "bicubic"}
        return whole and has_whole_numbers()

    @property
    def takes_bytes(self) -> bool:
        """Whether films may be given as they are rounded anyway: not to what is written by somebody else."""
        return self.eight_bit and type(self) is Preprocessing

    def differentiable(self, films: Tensor) -> Tensor:
        """Return the pixels of a resize in floats, near the recipe's own, so that gradients reach the film."""
        _, height, width = films.shape
        rows, columns = self.resized_shape(height, width)
        pixels = films.unsqueeze(1).to(torch.float32)
        if (rows, columns) != (height, width):
            mode = InterpolationMode(self.interpolation)
            pixels = vision.resize(pixels, [rows, columns], interpolation=mode, antialias=self.antialias).clamp(0, 1)
        return self._cropped(pixels).expand(-1, self.channels, -1, -1)

    def straight_through(self, films: Tensor) -> Tensor:
        """Return the recipe's own pixels and `differentiable`'s gradient (straight-through; Bengio et al. 2013)."""
        exact = self(films)
        if not (films.requires_grad and torch.is_grad_enabled()):
            return exact
        smooth = self.differentiable(films)
        return exact + (smooth - smooth.detach())

    def _resized_levels(self, levels: Tensor) -> Tensor:
        """Return (B, 1, H, W) bytes after the resize by the recipe's own kernel."""
        rows, columns = self.resized_shape(*levels.shape[-2:])
        if (rows, columns) == tuple(levels.shape[-2:]):
            return levels
        if not levels.is_cpu:
            return self._resized_elsewhere(levels, rows, columns)
        if self.kernel == "torchvision":
            if self._four_at_once:
                each = [four_at_once(film, rows, columns, self.interpolation) for film in levels[:, 0]]
                return torch.stack(each).unsqueeze(1)
            mode = InterpolationMode(self.interpolation)
            resized: Tensor = vision.resize(levels, [rows, columns], interpolation=mode, antialias=self.antialias)
            return resized
        code = Image.Resampling[self.interpolation.upper()]
        films = [Image.fromarray(film).resize((columns, rows), code) for film in levels[:, 0].numpy()]
        return torch.from_numpy(np.stack([np.asarray(film) for film in films])).unsqueeze(1)

    def _resized_elsewhere(self, levels: Tensor, rows: int, columns: int) -> Tensor:
        """Return the same bytes for films that do not lie on the CPU."""
        how = self.interpolation
        if self.kernel == "pillow" and how in FILTERS:
            return torch.stack([pillow_resized(film, rows, columns, how) for film in levels[:, 0]]).unsqueeze(1)
        if self.kernel == "torchvision" and self.antialias and how in {"bilinear", "bicubic"}:
            return torchvision_resized(levels, rows, columns, how)
        return self._resized_levels(levels.cpu()).to(levels.device)

    def _cropped(self, pixels: Tensor) -> Tensor:
        """Return the centre of (B, 1, H, W) pixels, padded with black where they are smaller than the crop."""
        top, left = (self._start(length - self.size) for length in pixels.shape[-2:])
        cropped: Tensor = vision.crop(pixels, top, left, self.size, self.size)
        return cropped

    def _start(self, margin: int) -> int:
        """Return where the crop begins, given what the film has more than the crop."""
        if self.odd_margin == "down":
            return margin // 2
        return int(margin / 2) if margin < 0 or self.odd_margin == "zero" else round(margin / 2)

    def masks(self, masks: Tensor) -> Tensor:
        """Carry masks through the same resize and crop.

        Args:
            masks: (B, H, W) bool.

        Returns:
            (B, size, size) bool; a pixel belongs to the mask when at least half of it does.
        """
        return self.differentiable(masks.to(torch.float32))[:, 0] >= 0.5

    def resized_shape(self, height: int, width: int) -> tuple[int, int]:
        """Return (rows, columns) after the resize, before the crop."""
        if self.short_side is None:
            return self.size, self.size
        if height <= width:
            return self.short_side, int(self.short_side * width / height)
        return int(self.short_side * height / width), self.short_side

    def fingerprint(self) -> dict[str, object]:
        """Return every field that decides the pixels (the name does not)."""
        return {key: value for key, value in asdict(self).items() if key != "name"}


@dataclass(frozen=True, kw_only=True)
class Untouched(Preprocessing):
    """No recipe here: the subject takes films whole and resizes them where nobody else sees it (a service)."""

    name: str = "the service's own"
    channels: int = 1

    def __call__(self, films: Tensor) -> Tensor:
        """Return (B, 1, H, W) films rounded to 8 bits, as they are sent."""
        return as_levels(films).unsqueeze(1).to(films.device, torch.float32).div_(255)

    def differentiable(self, films: Tensor) -> Tensor:
        """Return (B, 1, H, W) films as they are."""
        return films.unsqueeze(1).to(torch.float32)

    def resized_shape(self, height: int, width: int) -> tuple[int, int]:
        """Return (rows, columns) unchanged."""
        return height, width

    def fingerprint(self) -> dict[str, object]:
        """Return what is known: films leave here whole, with 8 bits."""
        return {"films_sent": "whole", "eight_bit": self.eight_bit}


def as_levels(films: Tensor) -> Tensor:
    """Return films in [0, 1] as bytes on the CPU, each value at the nearest of 256 grey levels."""
    return _rounded(films.cpu())


def _rounded(films: Tensor) -> Tensor:
    if films.dtype == torch.uint8:
        return films
    return (films.detach().to(torch.float32) * 255).round_().clamp_(0, 255).to(torch.uint8)


REPOSITORY = Preprocessing(name="repository")
"""The evaluation transform of the published repository: Resize(255, bilinear, antialias) and CenterCrop(224)."""
