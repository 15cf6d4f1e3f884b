"""From a film to the pixels the network sees: resize, crop, channels. Normalisation lives inside the network.

Two recipes of the published model are in circulation and disagree, so each has a name and the report prints it:
the repository's evaluation transform (short side 255, bilinear) and the Hub's image processor (read from
`preprocessor_config.json`, there usually short side 256, bicubic). Both resize 8-bit images, so both round to
8 bits after the resize; `differentiable` leaves that rounding out so that gradients pass.
"""

from __future__ import annotations

from dataclasses import asdict, dataclass
from typing import Literal

import torch
from torch import Tensor
from torchvision.transforms import InterpolationMode
from torchvision.transforms.v2 import functional as vision

Interpolation = Literal["nearest", "bilinear", "bicubic", "lanczos"]


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
        eight_bit: round to 256 levels after the resize, as both published recipes do.
        odd_margin: where the crop lies when it cannot lie in the middle: torchvision rounds half of the margin to the
            nearest `even` number, Transformers rounds it `down`. One pixel, but it is the recipe.
    """

    name: str
    short_side: int | None = 255
    size: int = 224
    interpolation: Interpolation = "bilinear"
    antialias: bool = True
    channels: int = 3
    eight_bit: bool = True
    odd_margin: Literal["even", "down"] = "even"

    def __post_init__(self) -> None:
        if not 8 <= self.size <= 4096:
            raise ValueError(f"size must lie in 8..4096 pixels, not {self.size}")
        if self.short_side is not None and not 8 <= self.short_side <= 8192:
            raise ValueError(f"short_side must lie in 8..8192 pixels, not {self.short_side}")
        if self.channels not in (1, 3):
            raise ValueError(f"channels must be 1 or 3, not {self.channels}")

    def __call__(self, films: Tensor) -> Tensor:
        """Return network input for a batch of films.

        Args:
            films: (B, H, W) float in [0, 1], white is dense.

        Returns:
            (B, channels, size, size) float32 in [0, 1].
        """
        pixels = self.differentiable(films)
        if not self.eight_bit:
            return pixels
        # The channels are views of one: it is rounded once.
        return (pixels[:, :1] * 255).round_().div_(255).expand(-1, self.channels, -1, -1)

    def differentiable(self, films: Tensor) -> Tensor:
        """Return the same pixels without the 8-bit rounding, so that gradients reach the film."""
        _, height, width = films.shape
        rows, columns = self.resized_shape(height, width)
        pixels = films.unsqueeze(1).to(torch.float32)
        if (rows, columns) != (height, width):
            mode = InterpolationMode(self.interpolation)
            pixels = vision.resize(pixels, [rows, columns], interpolation=mode, antialias=self.antialias).clamp(0, 1)
        if self.odd_margin == "down":  # without its last row and column, an odd margin becomes an even one
            pixels = pixels[..., : rows - max(rows - self.size, 0) % 2, : columns - max(columns - self.size, 0) % 2]
        cropped: Tensor = vision.center_crop(pixels, [self.size, self.size])
        return cropped.expand(-1, self.channels, -1, -1)

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

    def differentiable(self, films: Tensor) -> Tensor:
        """Return (B, 1, H, W) films as they are (calling the recipe rounds them to 8 bits, as they are sent)."""
        return films.unsqueeze(1).to(torch.float32)

    def resized_shape(self, height: int, width: int) -> tuple[int, int]:
        """Return (rows, columns) unchanged."""
        return height, width

    def fingerprint(self) -> dict[str, object]:
        """Return what is known: films leave here whole, with 8 bits."""
        return {"films_sent": "whole", "eight_bit": self.eight_bit}


REPOSITORY = Preprocessing(name="repository")
"""The evaluation transform of the published repository: Resize(255, bilinear, antialias) and CenterCrop(224)."""
