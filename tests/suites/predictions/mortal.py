"""Films and a subject that other processes can be given; the subject kills its process at a pass somebody chose."""

from __future__ import annotations

import hashlib
import os
import signal
import time
from dataclasses import replace
from pathlib import Path

import numpy as np
import pandas as pd
import torch
from torch import nn

from suites.harness.cohorts.cohort import Cohort, Film
from suites.harness.errors import FilmUnreadable
from suites.harness.predictions.conditions import expand
from suites.harness.subjects.preprocessing import Preprocessing
from suites.harness.subjects.subject import Normalised, Provenance, Subject

CONDITIONS = expand(["clean", "gamma_low@1-5", "window_widening@3", "whiteout_lobar@3"])
DOOM = "TEST_FATAL_PASS"
"""Environment variable: a file that holds at which pass, counted over all processes, one of them dies or fails."""
BROKEN = 5
"""Number of a film that cannot be read."""


def draw(row) -> Film:
    number = int(row["number"])
    if number == BROKEN:
        raise FilmUnreadable("truncated after 12 bytes")
    generator = np.random.default_rng(number)
    shape = (64, 64 + 8 * (number % 3))
    pixels = np.clip(np.linspace(0.2, 0.8, shape[1])[None] + generator.normal(0, 0.1, shape), 0, 1).astype(np.float32)
    note = "its brightness was guessed" if number % 40 == 3 else ""
    return Film(pixels=pixels, content=hashlib.sha256(pixels.tobytes()).hexdigest(), note=note)


def named(row) -> str:
    return hashlib.sha256(f"film {row['number']}".encode()).hexdigest()


def cohort_of(films: int, decode=draw, *, known=False, first=0) -> Cohort:
    columns = dict.fromkeys(("view", "age_group", "finding", "split"), "")
    rows = [
        {"id": f"film{number}", "file": f"film{number}.png", "label": ("a", "b", "c")[number % 3],
         "patient": f"p{number // 2}", "number": number, **columns}
        for number in range(first, first + films)
    ]  # fmt: skip
    return Cohort(
        name="drawn", spec="drawn", table=pd.DataFrame(rows), decode=decode, identify=named if known else None
    )


class Mortal(nn.Module):
    def __init__(self, seed: int = 0) -> None:
        super().__init__()
        torch.manual_seed(seed)
        self.layers = nn.Sequential(
            nn.Conv2d(3, 4, 5, stride=4),
            nn.ReLU(),
            nn.AdaptiveAvgPool2d(1),
            nn.Flatten(),
            nn.Dropout(0.2),
            nn.Linear(4, 3),
        )

    def forward(self, pixels):
        if file := os.environ.get(DOOM):
            meet(Path(file))
        return self.layers(pixels)


def arm(file: Path, at_pass: int, how: str = "die") -> None:
    file.with_suffix(".passes").unlink(missing_ok=True)
    file.write_text(f"{how} {at_pass}")


def meet(file: Path) -> None:
    """Count a pass, and at the chosen one die by SIGKILL or fail, once."""
    try:
        how, at_pass = file.read_text().split()
    except (FileNotFoundError, ValueError):
        return
    passes = file.with_suffix(".passes")
    with passes.open("a") as counted:
        counted.write(".")
    if passes.stat().st_size == int(at_pass):
        file.unlink()
        if how == "die":
            os.kill(os.getpid(), signal.SIGKILL)
        if how == "wait":
            file.with_suffix(".waiting").write_text(str(os.getpid()))
            time.sleep(60)
        raise ValueError("boom")


def subject_of(seed: int = 0, name: str = "mortal") -> Subject:
    return Subject(
        name=name, classes=("a", "b", "c"), network=Normalised(Mortal(seed)),
        provenance=Provenance(
            spec=name, format="user", source="test", sha256=hashlib.sha256(f"{seed}".encode()).hexdigest()
        ),
        preprocessing=Preprocessing(name="small", short_side=40, size=32),
        preprocessings={"other": Preprocessing(name="other", short_side=36, size=32)},
    )  # fmt: skip


def renamed(subject: Subject, name: str) -> Subject:
    return replace(subject, name=name)
