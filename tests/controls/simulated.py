"""Evidence made of numbers: a prediction table whose truth is known, without films and without a network."""

from __future__ import annotations

from collections.abc import Mapping
from pathlib import Path

import numpy as np
import pandas as pd
from scipy.special import softmax

from suites.harness.cohorts.cohort import Cohort
from suites.harness.predictions.answers import Answers
from suites.harness.predictions.evidence import Evidence
from suites.harness.predictions.table import Predictions
from suites.harness.subjects.subject import Subject
from tests.controls.subjects import CLASSES, Reader, draw, subject_of


def simulated_answers(
    temperatures: Mapping[str, float], *, name: str = "c", films: int = 600, seed: int = 0, spread: float = 1.6,
    features: tuple[float, int] | None = None, subject: Subject | None = None,
) -> Answers:  # fmt: skip
    """Labels drawn from softmax(z); the logits under each condition are its temperature times z.

    Args:
        temperatures: condition -> how much too sure the subject is under it.
        name: of the cohort, and of its films and patients.
        films: number of films, two per patient.
        seed: decides everything.
        spread: standard deviation of z.
        features: mean and number of unit normal features; the first three carry z as well.
        subject: whose answers these are.
    """
    generator = np.random.default_rng([seed, *name.encode()])
    true = generator.normal(0, spread, (films, 3))
    labels = (generator.random((films, 1)) > np.cumsum(softmax(true, axis=1), axis=1)[:, :-1]).sum(axis=1)
    ids = [f"{name}{number}" for number in range(films)]
    table = pd.DataFrame({"id": ids, "number": range(films), "file": "", "label": [CLASSES[k] for k in labels]})
    table["patient"] = [f"{name}p{number // 2}" for number in range(films)]
    table = table.assign(view="", age_group="", finding="", split="")
    logits = [f"logit_{k}" for k in range(3)]
    shown = pd.concat(
        [
            pd.DataFrame(factor * true, columns=logits).assign(image=ids, condition=condition)
            for condition, factor in temperatures.items()
        ]
    ).assign(subject="s", cohort=name, severity=0, undefined="")
    seen = None
    if features is not None:
        seen = generator.normal(features[0], 1, (films, features[1]))
        seen[:, :3] += true
    empty = pd.DataFrame(columns=["cohort", "file", "reason"])
    return Answers(
        subject=subject or subject_of(Reader(), "s"),
        cohort=Cohort(name=name, spec=name, table=table, decode=draw),
        predictions=Predictions(shown, None if seen is None else seen.astype(np.float32), empty, 0),
        seed=seed,
    )


def simulated_evidence(main: Answers, cache: Path, *, probes: Mapping[str, Answers] | None = None) -> Evidence:
    """Return the evidence of a quick run on these answers."""
    return Evidence(main=main, profile="quick", seed=main.seed, cache=cache, probes=probes or {})
