"""Subjects that have a failure by construction, or have not, and films on which both can be shown.

Every film here is drawn from numbers: a body, two lungs, and in sick films a dense patch (bacterial) or a fine texture
(viral) inside a lung. A control subject reads exactly one thing from it, so its failures are known before it is judged.
"""

from __future__ import annotations

import hashlib
from collections.abc import Callable

import numpy as np
import pandas as pd
import torch
from torch import Tensor, nn

from suites.harness.cohort import Cohort, Film
from suites.harness.preprocessing import Preprocessing
from suites.harness.subject import Normalised, Provenance, Subject

CLASSES = ("bacterial_pneumonia", "normal", "viral_pneumonia")
SIDE = 64


def draw(row) -> Film:
    generator = np.random.default_rng([int(row["number"]), 7])
    y, x = (np.mgrid[0:SIDE, 0:SIDE] + 0.5) / SIDE
    lung = np.zeros((SIDE, SIDE), dtype=bool)
    for centre in (0.3, 0.7):
        lung |= ((x - centre) / 0.16) ** 2 + ((y - 0.5) / 0.34) ** 2 <= 1
    film = np.where(lung, 0.25, 0.62) + generator.normal(0, 0.015, (SIDE, SIDE))
    lesion = np.zeros_like(lung)
    label = str(row["label"]) or str(row["finding"])
    if label == "bacterial_pneumonia":
        lesion = lung & (((x - 0.3) / 0.12) ** 2 + ((y - 0.55) / 0.16) ** 2 <= 1)
        film = film + 0.3 * lesion
    if label == "viral_pneumonia":
        lesion = lung.copy()
        film = film + 0.12 * lung
    film = np.clip(film, 0, 1).astype(np.float32)
    content = hashlib.sha256(film.tobytes()).hexdigest()
    return Film(pixels=film, content=content, masks={"lung": lung, "lesion": lesion})


def cohort_of(films: int, *, name: str = "drawn", view: str = "AP", labelled: bool = True) -> Cohort:
    kinds = [CLASSES[number % 3] for number in range(films)]
    table = pd.DataFrame({"number": range(films), "finding": kinds, "label": kinds if labelled else ""})
    table["id"] = table["patient"] = [f"{name}{number}" for number in range(films)]
    table = table.assign(file="", view=view, age_group="child", split="test")
    return Cohort(name=name, spec=name, table=table, decode=draw)


def subject_of(network: nn.Module, name: str) -> Subject:
    return Subject(
        name=name,
        classes=CLASSES,
        network=Normalised(network, mean=(0.0, 0.0, 0.0), std=(1.0, 1.0, 1.0)),
        preprocessing=Preprocessing(name="small", short_side=SIDE, size=SIDE),
        provenance=Provenance(
            spec=name, format="user", source="control", sha256=hashlib.sha256(name.encode()).hexdigest()
        ),
    )


class Reader(nn.Module):
    """Reads the grey of the lungs and decides by it; `sharpness` scales its logits, `read` says what it reads.

    The left lung more than .22 denser than the right is bacterial, the right denser than .31 viral, else normal.
    """

    def __init__(self, sharpness: float = 60.0, read: Callable[[Tensor], Tensor] = lambda grey: grey) -> None:
        super().__init__()
        self.sharpness, self.read = sharpness, read
        y, x = torch.meshgrid(torch.arange(SIDE) + 0.5, torch.arange(SIDE) + 0.5, indexing="ij")
        y, x = y / SIDE, x / SIDE
        self.register_buffer("left", (((x - 0.3) / 0.1) ** 2 + ((y - 0.55) / 0.14) ** 2 <= 1).float())
        self.register_buffer("right", (((x - 0.7) / 0.1) ** 2 + ((y - 0.55) / 0.14) ** 2 <= 1).float())
        self.head = nn.Linear(2, 3)
        # bacterial: left above right; viral: right above .31; normal: neither
        self.head.weight.data = torch.tensor([[1.0, -1.0], [0.0, 0.0], [0.0, 1.0]])
        self.head.bias.data = torch.tensor([-0.22, 0.0, -0.31])

    def forward(self, pixels: Tensor) -> Tensor:
        grey = self.read(pixels.mean(dim=1))
        sides = [(grey * mask).sum(dim=(1, 2)) / mask.sum() for mask in (self.left, self.right)]
        return self.sharpness * self.head(torch.stack(sides, dim=1))


def rewindowed(grey: Tensor) -> Tensor:
    """Undo any display window: lungs and body come back to the greys they were drawn with."""
    low, high = (torch.quantile(grey.flatten(1), q, dim=1)[:, None, None] for q in (0.05, 0.95))
    return 0.25 + (grey - low) / (high - low).clamp_min(1e-3) * 0.37
