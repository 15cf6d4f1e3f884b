"""Films with two findings, each on a side of its own, and subjects that read them in ways that fail or hold."""

from __future__ import annotations

import math
from dataclasses import replace

import numpy as np
import pandas as pd
import torch
from torch import Tensor, nn

from suites.harness.cohorts.cohort import Cohort, Film
from suites.harness.subjects.finding import NormalisedFindings
from suites.harness.subjects.preprocessing import Preprocessing
from suites.harness.subjects.subject import Provenance, Subject
from tests.controls.films import SIDE, film_of

EFFUSION, MASS = "Pleural Effusion", "Mass"
PLACES = {EFFUSION: 0.3, MASS: 0.7}
"""Finding -> where across the film its patch lies."""


def _patch(centre: float, middle: float = 0.62) -> np.ndarray:
    y, x = (np.mgrid[0:SIDE, 0:SIDE] + 0.5) / SIDE
    return ((x - centre) / 0.1) ** 2 + ((y - middle) / 0.12) ** 2 <= 1


def draw_findings(row) -> Film:
    """Two lungs, and a dense patch for each finding that is there, whatever its label says."""
    generator = np.random.default_rng([int(row["number"]), 23])
    y, x = (np.mgrid[0:SIDE, 0:SIDE] + 0.5) / SIDE
    lung = np.zeros((SIDE, SIDE), dtype=bool)
    for centre in PLACES.values():
        lung |= ((x - centre) / 0.16) ** 2 + ((y - 0.5) / 0.36) ** 2 <= 1
    film = np.where(lung, 0.25, 0.62) + generator.normal(0, 0.015, (SIDE, SIDE))
    lesion, lesions = np.zeros_like(lung), {}
    for name, centre in PLACES.items():
        if row[name]:
            lesions[f"lesion:{name}"] = _patch(centre)
            lesion |= _patch(centre)
            film = film + generator.uniform(0.1, 0.3) * _patch(centre)
    made = film_of(film, lung, lesion)
    return replace(made, masks={**made.masks, **lesions})


def cohort_of_findings(films: int, *, unsaid: int = 0) -> Cohort:
    """Return films with either finding, both or none; of the first `unsaid` nobody says if an effusion is there."""
    rows = []
    for number in range(films):
        there = {EFFUSION: number % 4 in (1, 3), MASS: number % 4 in (2, 3)}
        said = {f"finding:{name}": "positive" if one else "negative" for name, one in there.items()}
        if number < unsaid:
            said[f"finding:{EFFUSION}"] = ("uncertain", "not mentioned")[number % 2]
        row = {"id": f"film{number}", "file": f"film{number}", "number": number, "patient": f"p{number}"}
        rows.append(row | {"label": "", "view": "PA", "age_group": "", "finding": "", "split": ""} | there | said)
    return Cohort(name="two findings", spec="drawn", table=pd.DataFrame(rows), decode=draw_findings)


class TwoFindings(nn.Module):
    """Reads the patch of each finding: of the mass its grey, of the effusion a ratio to the rest of the film.

    Any change of exposure moves the former and hardly the latter. Further findings read nothing.

    Args:
        further: how many of these.
    """

    def __init__(self, further: int = 0) -> None:
        super().__init__()
        self.further, self.films = further, 0
        for name, mask in {
            "effusion": _patch(0.3), "mass": _patch(0.7), "top": _patch(0.3, 0.3),
            "body": np.abs((np.mgrid[0:SIDE, 0:SIDE][1] + 0.5) / SIDE - 0.5) < 0.03,
        }.items():  # fmt: skip
            self.register_buffer(name, torch.from_numpy(mask).float())

    def forward(self, pixels: Tensor) -> Tensor:
        self.films += len(pixels)
        grey = pixels.mean(dim=1)
        effusion, mass, top, body = (
            (grey * mask).sum(dim=(1, 2)) / mask.sum() for mask in (self.effusion, self.mass, self.top, self.body)
        )
        contrast = (effusion - top) / (body - top).clamp_min(0.05)
        logits = [40 * (contrast - 0.16), 60 * (mass - 0.31), *[0 * mass - 1] * self.further]
        return torch.stack(logits, dim=1)


def subject_of_findings(further: int = 0, thresholds: tuple[float, ...] | None = None) -> Subject:
    names = ("Effusion", "Mass", *(f"Untold {number}" for number in range(further)))
    return Subject(
        name="two",
        classes=names,
        network=NormalisedFindings(TwoFindings(further), mean=(0.0, 0.0, 0.0), std=(1.0, 1.0, 1.0)),
        preprocessing=Preprocessing(name="small", short_side=SIDE, size=SIDE),
        heads="sigmoid",
        thresholds=thresholds or (0.5, *[math.nan] * (1 + further)),
        provenance=Provenance(spec="two", format="user", source="control", sha256=f"{further:064d}"),
    )
