"""What do perturbations do to one film? A contact sheet, a row each, severities across.

python -m robustness.preview FILM SHEET [PATTERN]
"""

from __future__ import annotations

import sys
import textwrap
from collections.abc import Sequence
from pathlib import Path

import numpy as np
import torch
from PIL import Image, ImageDraw, ImageFont
from torch import Tensor

from robustness import perturbation
from robustness.filters import resize
from robustness.perturbation import PerturbationUndefined, get

LABEL = 16
LETTER = 7
"""Width of a letter, pixels, broadly taken."""
GAP = 4
PAPER = 245


def load_film(path: str | Path) -> Tensor:
    """Decode an image file to (H, W) float32 in [0, 1]; colour is turned to grey."""
    with Image.open(path) as image:
        return torch.from_numpy(np.array(image.convert("L"))).float() / 255.0


def contact_sheet(
    film: Tensor,
    names: Sequence[str] | None = None,
    *,
    severities: Sequence[int] = (0, 1, 2, 3, 4, 5),
    image_id: str = "preview",
    seed: int = 0,
    lungs: Tensor | None = None,
    height: int = 192,
) -> Image.Image:
    """Draw a sheet of one film under perturbations.

    Args:
        film: (H, W) float32 in [0, 1].
        names: perturbations, a row each; all registered ones by default.
        severities: columns.
        image_id: identity of the film (determines random choices).
        seed: seed of the run.
        lungs: (H, W) lung mask, where there is one.
        height: pixels per tile; the width follows the film.

    Returns:
        A grey image. Where a perturbation is undefined for the film, its row says why.
    """
    names = perturbation.names() if names is None else list(names)
    width = round(height * film.shape[1] / film.shape[0])
    columns, rows = len(severities), len(names)
    size = (columns * (width + GAP) + GAP, rows * (height + LABEL + GAP) + GAP)
    sheet = Image.new("L", size, PAPER)
    pen = ImageDraw.Draw(sheet)
    font = ImageFont.load_default(LABEL - 4)
    masks = None if lungs is None else lungs[None]
    for row, name in enumerate(names):
        top = GAP + row * (height + LABEL + GAP)
        for column, severity in enumerate(severities):
            left = GAP + column * (width + GAP)
            text = f"{name}  {severity}" if column == 0 else str(severity)
            pen.text((left + 1, top), text, fill=0, font=font)
            try:
                changed = get(name)(film[None], severity, [image_id], seed=seed, masks=masks)[0]
            except PerturbationUndefined as undefined:
                why = "\n".join(textwrap.wrap(undefined.reason, max(8, width // LETTER)))
                pen.multiline_text((left + 4, top + LABEL + 4), why, fill=90, font=font)
                continue
            sheet.paste(_tile(changed, height, width), (left, top + LABEL))
    return sheet


def _tile(film: Tensor, height: int, width: int) -> Image.Image:
    """Fit a film into a tile without distorting it; what is left of the tile is the paper, no part of the film."""
    scale = min(height / film.shape[0], width / film.shape[1])
    small = resize(film.cpu(), round(film.shape[0] * scale), round(film.shape[1] * scale))
    tile = np.full((height, width), PAPER, dtype=np.uint8)
    tile[: small.shape[0], : small.shape[1]] = (small * 255.0).round().clamp(0, 255).to(torch.uint8).numpy()
    return Image.fromarray(tile)


if __name__ == "__main__":
    source, target, *pattern = sys.argv[1:]
    contact_sheet(load_film(source), perturbation.names(pattern=pattern[0] if pattern else "*")).save(target)
