"""Subjects that have a failure by construction, or have not.

A control subject reads exactly one thing from a drawn film, so its failures are known before it is judged.
"""

from __future__ import annotations

import hashlib
from collections.abc import Callable, Mapping, Sequence
from functools import cache

import numpy as np
import torch
from torch import Tensor, nn

from suites.harness.cohorts.cohort import Cohort
from suites.harness.subjects.preprocessing import Preprocessing
from suites.harness.subjects.subject import Normalised, Provenance, Subject
from tests.controls.films import CLASSES, SIDE, cohort_of, draw

__all__ = [
    "CLASSES", "SIDE", "Calm", "Distracted", "Memoriser", "Mistaken", "Oracle", "PlaceReader", "Reader", "cohort_of",
    "draw", "line_strength", "rewindowed", "subject_of",
]  # fmt: skip
"""The films come along: a subject is judged on nothing else."""


def subject_of(
    network: nn.Module, name: str, *, side: int = SIDE, recipes: Mapping[str, Preprocessing] | None = None
) -> Subject:
    return Subject(
        name=name,
        classes=CLASSES,
        network=Normalised(network, mean=(0.0, 0.0, 0.0), std=(1.0, 1.0, 1.0)),
        preprocessing=Preprocessing(name="small", short_side=side, size=side),
        preprocessings=recipes or {},
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


class Calm(nn.Module):
    """Calls every film normal, hardly more surely than chance."""

    def forward(self, pixels: Tensor) -> Tensor:
        return torch.tensor([0.0, 0.1, 0.0]).expand(len(pixels), 3) + 0 * pixels.mean()


class Oracle(nn.Module):
    """Right about `exposed` films under any change of exposure: it compares the lungs with one another.

    What one lung is denser than the other, in units of what the heart is denser than the tops of the lungs, no display
    curve, haze, blur or noise can hide.

    Args:
        order: how its three calls are renamed; None leaves them right.
        sharpness: scales its logits.
    """

    def __init__(self, order: Sequence[int] | None = None, sharpness: float = 30.0) -> None:
        super().__init__()
        self.head = nn.Linear(1, 3)
        named = list(order or range(3))
        self.head.weight.data = sharpness * torch.tensor([[1.0], [0.0], [-1.0]])[named]
        self.head.bias.data = sharpness * torch.tensor([0.0, 0.4, 0.0])[named]

    def forward(self, pixels: Tensor) -> Tensor:
        grey = pixels.mean(dim=1)
        left, right, heart = (self.within(grey, x, 0.55, 0.06, 0.1) for x in (0.3, 0.7, 0.5))
        tops = (self.within(grey, 0.3, 0.28, 0.05, 0.06) + self.within(grey, 0.7, 0.28, 0.05, 0.06)) / 2
        more = ((left - right) / (heart - tops).clamp_min(0.02)).clamp(-2, 2)
        return self.head(more[:, None])

    @staticmethod
    def within(grey: Tensor, x: float, y: float, wide: float, high: float) -> Tensor:
        """(B,) mean grey of a box of (B, S, S) films, given by its middle and half its sides, in shares of the film."""
        side = grey.shape[-1]
        rows, columns = (
            slice(round((middle - half) * side), round((middle + half) * side))
            for middle, half in ((y, high), (x, wide))
        )
        return grey[:, rows, columns].mean(dim=(1, 2))


class Memoriser(nn.Module):
    """Knows some films by heart: right while one equals its stored self to a quarter of a grey level, else wrong.

    Args:
        cohort: the films it knows.
        tolerance: root mean square by which a film may differ from its stored self.
        otherwise: what it calls all others; None for bacterial, except for a bacterial film.
        doubt: factor on the logits of all others, below 1 less sure.
    """

    def __init__(
        self, cohort: Cohort, tolerance: float = 0.25 / 255, otherwise: str | None = None, doubt: float = 1.0
    ) -> None:
        super().__init__()
        self.otherwise, self.doubt = otherwise and CLASSES.index(otherwise), doubt
        films = [cohort.decode(row).pixels for row in cohort.table.to_dict("records")]
        known = torch.round(torch.from_numpy(np.stack(films)) * 255) / 255
        self.register_buffer("known", known.flatten(1))
        truth = torch.tensor([CLASSES.index(label) for label in cohort.table["label"]])
        self.register_buffer("truth", truth)
        self.tolerance = tolerance

    def forward(self, pixels: Tensor) -> Tensor:
        grey = pixels.mean(dim=1).flatten(1)
        distance, nearest = torch.cdist(grey, self.known, compute_mode="donot_use_mm_for_euclid_dist").min(dim=1)
        same = distance / grey.shape[1] ** 0.5 <= self.tolerance
        wrong = torch.where(self.truth[nearest] == 0, 1, 0)  # bacterial, except for a bacterial film
        if self.otherwise is not None:
            wrong = torch.full_like(wrong, self.otherwise)
        sure = torch.where(same, 5.0, 5.0 * self.doubt)
        return sure[:, None] * nn.functional.one_hot(torch.where(same, self.truth[nearest], wrong), 3).float()


class Mistaken(nn.Module):
    """Reads films right, then calls a known share of those it reads as `start` by the name of `end`.

    Which ones is decided by the noise of one pixel of the body, drawn from a normal distribution.

    Args:
        share: of the films of `start`, in [0, 1].
        start: class whose films are called wrong; None for all classes.
        end: what they are called; the next class of the three where `start` is None.
        sure: factor on the logits of a wrong call: 1 as sure as of the others, below 1 less sure.
    """

    def __init__(self, share: float, start: str | None = None, end: str | None = None, sure: float = 1.0) -> None:
        super().__init__()
        self.reader = Reader()
        self.limit = 0.62 + 0.015 * float(torch.special.ndtri(torch.tensor(share, dtype=torch.float64)))
        self.start = None if start is None else CLASSES.index(start)
        self.end = None if end is None else CLASSES.index(end)
        self.sure = sure

    def forward(self, pixels: Tensor) -> Tensor:
        logits = self.reader(pixels)
        called = logits.argmax(dim=1)
        wrong = pixels[:, 0, 0, 0] < self.limit
        if self.start is not None:
            wrong = wrong & (called == self.start)
        target = (called + 1) % 3 if self.end is None else torch.full_like(called, self.end)
        swapped = logits.clone()
        swapped.scatter_(1, target[:, None], logits.gather(1, called[:, None]))
        swapped.scatter_(1, called[:, None], logits.gather(1, target[:, None]))
        return torch.where(wrong[:, None], self.sure * swapped, logits)


class PlaceReader(nn.Module):
    """A linear subject that looks at two places only, so that its saliency is known: nothing anywhere else.

    Args:
        left, right: (S, S) the places.
        rule: (3, 2) weights of their mean greys; `bias` (3,) of the logits.
    """

    def __init__(self, left: Tensor, right: Tensor, rule: Tensor, bias: Tensor) -> None:
        super().__init__()
        places = torch.stack([left.flatten() / left.sum(), right.flatten() / right.sum()])
        centred = rule - rule.mean(dim=0)  # the same calls; now the logit of `normal` looks somewhere, too
        self.places = nn.Linear(SIDE * SIDE, 3)
        self.places.weight.data = 60 * centred @ places
        self.places.bias.data = 60 * bias

    @classmethod
    def lungs(cls) -> PlaceReader:
        """Reads what `Reader` reads."""
        reader = Reader()
        return cls(reader.left, reader.right, reader.head.weight.data, reader.head.bias.data)

    @classmethod
    def corners(cls) -> PlaceReader:
        """Reads the diagnosis that is burnt into the corners of `marked` films."""
        left, right = torch.zeros(SIDE, SIDE), torch.zeros(SIDE, SIDE)
        left[:3, :3] = right[:3, SIDE - 3 :] = 1
        return cls(left, right, torch.tensor([[1.0, 0.0], [0.0, 0.0], [0.0, 1.0]]), torch.tensor([-0.8, 0.0, -0.8]))

    def forward(self, pixels: Tensor) -> Tensor:
        return self.places(pixels.mean(dim=1).flatten(1))


@cache
def templates() -> Tensor:
    """(3, S, S) the mean drawn film of each class."""
    drawn = [[draw({"number": n, "label": label, "finding": ""}).pixels for n in range(40)] for label in CLASSES]
    return torch.from_numpy(np.array(drawn)).mean(dim=1)


def line_strength(grey: Tensor) -> Tensor:
    """(B,) how far one spatial frequency stands out of what (B, S, S) films have beyond the nearest drawn one."""
    rest = grey[:, None] - templates()
    nearest = rest[torch.arange(len(rest)), rest.square().mean(dim=(2, 3)).argmin(dim=1)]
    spectrum = torch.fft.rfft2(nearest - nearest.mean(dim=(1, 2), keepdim=True)).abs().flatten(1)
    return spectrum.max(dim=1).values / spectrum.median(dim=1).values


class Distracted(nn.Module):
    """Looks at the lungs of a film like the drawn ones, and at the corners of any other."""

    def __init__(self) -> None:
        super().__init__()
        self.lungs, self.corners = PlaceReader.lungs(), PlaceReader.corners()

    def forward(self, pixels: Tensor) -> Tensor:
        usual = line_strength(pixels.detach().mean(dim=1)) < 5
        return torch.where(usual[:, None], self.lungs(pixels), self.corners(pixels))


def rewindowed(grey: Tensor) -> Tensor:
    """Undo any display window: lungs and body come back to the greys they were drawn with."""
    low, high = (torch.quantile(grey.flatten(1), q, dim=1)[:, None, None] for q in (0.05, 0.95))
    return 0.25 + (grey - low) / (high - low).clamp_min(1e-3) * 0.37
