"""Which films do the bundled subjects learn from and are judged by? No patient stands in two splits."""

from __future__ import annotations

import multiprocessing
import os
from collections.abc import Mapping, Sequence
from concurrent.futures import ProcessPoolExecutor
from dataclasses import dataclass, replace
from typing import Any

import numpy as np
import numpy.typing as npt
import pandas as pd
import torch
from torch import Tensor

from robustness.perturbation import PerturbationUndefined, get
from robustness.phantom import PhantomFilm, cohort_table, render_row
from robustness.phantom.cohort import LABELS, MIXES, SEVERAL_AT_ONCE, names_in, render_several_row
from robustness.phantom.several import SEVERAL, drawn_names
from suites.harness.cache.code_digest import digest_of
from suites.harness.subjects.preprocessing import REPOSITORY, Preprocessing
from suites.import_names import PREFIX

CLASSES = ("bacterial_pneumonia", "normal", "viral_pneumonia")
"""The published order."""
SIZE = 128
"""Side of the network's input in pixels."""
RESIZED = int(SIZE * 1.14)
"""Short side before the crop, by the published repository's rule."""


@dataclass(frozen=True)
class Split:
    """Which simulated films; another seed and another split name, so other patients.

    With `twins`, every patient is filmed once healthy and once with each finding, all else equal: what no hospital
    can do, and what teaches a small network from few films to look at the finding and at nothing else. Of several
    findings at once (`findings` is "several") twins are as many draws of none to three of them.
    """

    name: str
    films: int
    seed: int
    view: str = "AP"
    age: str = "child"
    findings: str = "mix"
    twins: bool = False

    def table(self) -> pd.DataFrame:
        """Return the rows as `robustness.phantom.cohort_table` draws them; twins stand beside one another."""
        if not self.twins:
            return cohort_table(
                self.films, seed=self.seed, view=self.view, age=self.age, findings=self.findings, split=self.name
            )
        names = MIXES["mix" if self.several else self.findings]
        patients = cohort_table(
            self.films // len(names), seed=self.seed, view=self.view, age=self.age, findings=(names[0],),
            split=self.name, films_per_patient=1.0,
        )  # fmt: skip
        twins = pd.concat(
            [patients.assign(finding=self._drawn(name, patients), id=patients.id + f"-{name}") for name in names]
        )
        twins["label"] = ["" if self.several else LABELS.get(name, "") for name in twins.finding]
        return twins.sort_index(kind="stable").reset_index(drop=True)

    @property
    def several(self) -> bool:
        """Whether a film shows none to three findings at once."""
        return self.findings == SEVERAL_AT_ONCE

    def _drawn(self, twin: str, patients: pd.DataFrame) -> list[str]:
        """Return what each patient has on one of the twins."""
        if not self.several:
            return [twin] * len(patients)
        draws = [drawn_names(self.seed, self.age, self.name, twin, patient) for patient in patients.patient]
        return ["+".join(names) or "normal" for names in draws]


TRAIN = Split("train", 3600, 101, twins=True)
VALIDATION = Split("validation", 180, 102)
HELD_OUT = Split("held-out", 300, 103)
"""The default cohort `phantom` has seed 0 and the split `test`."""
OUTLIERS = (
    Split("outliers", 60, 104, view="LATERAL"),
    Split("outliers", 60, 104, view="PA", age="adult"),
    Split("outliers", 180, 105, view="AP", age="adult"),
)
"""Films on which the hardened subject is taught to answer `cannot know`; unseen findings are not among them."""
OUTLIERS_VALIDATION = (
    Split("outliers-validation", 60, 106, view="LATERAL"),
    Split("outliers-validation", 120, 107, view="AP", age="adult"),
)
"""Others like them, on which its temperature is fitted."""
SEVERAL_TRAIN = Split("train", 1500, 111, findings=SEVERAL_AT_ONCE, twins=True)
SEVERAL_VALIDATION = Split("validation", 120, 112, findings=SEVERAL_AT_ONCE)
SEVERAL_HELD_OUT = Split("held-out", 300, 113, findings=SEVERAL_AT_ONCE)
"""Films of none to three findings at once."""


@dataclass(frozen=True)
class Films:
    """Films as they lie in memory.

    Attributes:
        pixels: (N, 1 + V, RESIZED, RESIZED) uint8: the clean film and V perturbed ones, after the resize.
        labels: (N,) index into `CLASSES`, -1 where no answer is right; of several findings at once (N, F) 1.0 where a
            film shows the finding of `SEVERAL`, else 0.0.
        regions: (N, 3, 8, 8) share of lung, heart and lesion in each patch of the centre crop; of several findings at
            once (N, 2 + F, 8, 8), a lesion of each.
    """

    pixels: Tensor
    labels: Tensor
    regions: Tensor

    def __len__(self) -> int:
        return len(self.labels)

    def joined(self, other: Films) -> Films:
        """Return both, one after the other."""
        return Films(
            torch.cat([self.pixels, other.pixels]),
            torch.cat([self.labels, other.labels]),
            torch.cat([self.regions, other.regions]),
        )

    def unanswerable(self) -> Films:
        """Return the films without an answer: whatever an adult or a lateral film shows, no class is right for it."""
        return replace(self, labels=torch.full_like(self.labels, -1))

    def labelled(self) -> Films:
        """Return the films that have a right answer."""
        keep = self.labels >= 0
        return replace(self, pixels=self.pixels[keep], labels=self.labels[keep], regions=self.regions[keep])

    def shrunk(self, films: int) -> Films:
        """Return the first films only."""
        return replace(self, pixels=self.pixels[:films], labels=self.labels[:films], regions=self.regions[:films])


@dataclass(frozen=True)
class Lessons:
    """All films of a training: to learn from, to fit the temperature on, to judge by, and the unanswerable ones."""

    train: Films
    validation: Films
    held_out: Films
    outliers: Films


def rendered(
    split: Split, perturbations: Sequence[str] = (), variants: int = 0, *, workers: int | None = None
) -> Films:
    """Render a split on all cores; the bytes do not depend on how many there are.

    Args:
        split: which films.
        perturbations: names of perturbations of which each perturbed copy is one, at a severity from 1 to 5.
        variants: perturbed copies per film.
        workers: processes; by default one per core.
    """
    rows = split.table().to_dict("records")
    jobs = [
        (rows[start : start + 30], split.several, tuple(perturbations), variants) for start in range(0, len(rows), 30)
    ]
    workers = workers or os.cpu_count() or 1
    if workers == 1 or len(jobs) == 1:
        parts = [_render(job) for job in jobs]
    else:
        with ProcessPoolExecutor(workers, mp_context=multiprocessing.get_context("spawn")) as pool:
            parts = list(pool.map(_render, jobs))
    pixels, regions = (np.concatenate(arrays) for arrays in zip(*parts, strict=True))
    return Films(torch.from_numpy(pixels), _labels(rows, split), torch.from_numpy(regions))


def _labels(rows: Sequence[Mapping[Any, Any]], split: Split) -> Tensor:
    if split.several:
        return torch.tensor([[float(name in names_in(row["finding"])) for name in SEVERAL] for row in rows])
    return torch.tensor([CLASSES.index(LABELS[row["finding"]]) if row["finding"] in LABELS else -1 for row in rows])


_Job = tuple[Sequence[Mapping[object, object]], bool, tuple[str, ...], int]


def _render(job: _Job) -> tuple[npt.NDArray[np.uint8], npt.NDArray[np.float32]]:
    rows, several, perturbations, variants = job
    torch.set_num_threads(1)
    whole = replace(REPOSITORY, short_side=RESIZED, size=RESIZED, channels=1)
    network_input = replace(REPOSITORY, short_side=RESIZED, size=SIZE, channels=1)
    pixels, regions = [], []
    for row in rows:
        made, lesions = _several(row) if several else _one(row)
        copies = [made.film, *(_perturbed(made.film, made.lung, row, perturbations, i) for i in range(variants))]
        pixels.append(torch.cat([_stored(copy, whole) for copy in copies]).numpy())
        masks = torch.stack([made.lung, made.heart, *lesions]).float()
        seen = network_input.differentiable(masks)
        regions.append(torch.nn.functional.adaptive_avg_pool2d(seen[:, 0], (8, 8)).numpy())
    return np.stack(pixels), np.stack(regions).astype(np.float32)


def _one(row: Mapping[object, object]) -> tuple[PhantomFilm, list[Tensor]]:
    made = render_row(row)
    return made, [made.lesion]


def _several(row: Mapping[object, object]) -> tuple[PhantomFilm, list[Tensor]]:
    """Return a film of several findings, and the lesion of each of `SEVERAL`, empty where it is not there."""
    drawn = render_several_row(row)
    return drawn.film, [drawn.lesions.get(name, torch.zeros_like(drawn.film.lesion)) for name in SEVERAL]


def _stored(film: Tensor, recipe: Preprocessing) -> Tensor:
    """Return a film as the bundled subjects learned from it: resized in floats, rounded once.

    A run resizes bytes instead and differs by one grey level in some pixels; the published weights were made with this.
    """
    return (recipe.differentiable(film[None])[:, 0] * 255).round().to(torch.uint8)


def _perturbed(
    film: Tensor, lung: Tensor, row: Mapping[object, object], perturbations: tuple[str, ...], copy: int
) -> Tensor:
    """Return one perturbed copy of a film; what and how severe follows from the film's identity."""
    seeds = np.random.SeedSequence([int(str(row["seed"])), copy, *str(row["id"]).encode()])
    rng = np.random.default_rng(seeds)
    name, severity = str(rng.choice(perturbations)), int(rng.integers(1, 6))
    try:
        return get(name)(film[None], severity, [str(row["id"])], seed=1000 + copy, masks=lung[None])[0]
    except PerturbationUndefined:
        return film


def phantom_sha256() -> str:
    """Return a digest of the code that draws the phantoms, so that a record says which ones it learned from."""
    return digest_of(f"{PREFIX}robustness.phantom")


def batch_of(films: Films, copies: Sequence[int] | Tensor | None = None) -> Tensor:
    """Return (N, 1, SIZE, SIZE) network input in [0, 1] by the repository's evaluation recipe: the centre crop."""
    index = torch.zeros(len(films), dtype=torch.int64) if copies is None else torch.as_tensor(copies)
    margin = round((RESIZED - SIZE) / 2)
    chosen = films.pixels[torch.arange(len(films)), index]
    return chosen[:, None, margin : margin + SIZE, margin : margin + SIZE].float() / 255
