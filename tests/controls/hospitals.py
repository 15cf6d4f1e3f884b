"""Answers on the films of two hospitals whose difference is known by construction."""

from __future__ import annotations

from collections.abc import Sequence

import numpy as np
import pandas as pd

from suites.harness.cohorts.cohort import Cohort
from suites.harness.cohorts.common_labels import with_truth
from suites.harness.cohorts.layouts import align_labels
from suites.harness.predictions.answers import Answers
from suites.harness.predictions.table import Predictions
from tests.controls.films import CLASSES
from tests.controls.subjects import Reader, draw, subject_of


def answered(
    logits: np.ndarray, labels: Sequence[str], name: str, *, films_per_patient: int = 1, **columns: object
) -> Answers:
    """Return answers (N, 3) of a subject on labelled films of a hospital; further columns go into its table."""
    number = len(logits)
    ids = [f"{name}{at}" for at in range(number)]
    table = pd.DataFrame({"id": ids, "number": range(number), "file": "", "label": list(labels)})
    table["patient"] = [f"{name}-p{at // films_per_patient}" for at in range(number)]
    table = table.assign(**({"view": "", "age_group": "", "finding": "", "split": ""} | columns))
    cohort = align_labels(with_truth(Cohort(name=name, spec=name, table=table, decode=draw)), CLASSES, probe=True)
    shown = pd.DataFrame(logits, columns=[f"logit_{at}" for at in range(3)])
    shown = shown.assign(image=ids, condition="clean", subject="s", cohort=name, severity=0, undefined="")
    empty = pd.DataFrame(columns=["cohort", "file", "reason"])
    return Answers(
        subject=subject_of(Reader(), "s"), cohort=cohort, predictions=Predictions(shown, None, empty, 0), seed=0
    )


def right_on(
    share: float, name: str, *, each: int = 200, sure: float = 3.0, wrong: Sequence[int] = (1, 2, 0), **columns: object
) -> Answers:
    """Return answers that are right on exactly a share of the films of every class, and `wrong` about the others."""
    truth = np.repeat(np.arange(3), each)
    right = np.tile(np.arange(each) < round(share * each), 3)
    called = np.where(right, truth, np.asarray(wrong)[truth])
    return answered(sure * np.eye(3)[called], [CLASSES[code] for code in truth], name, **columns)


def scored(
    name: str, *, apart: float, moved: float = 0.0, each: int = 300, seed: int = 0, ill: str = "bacterial_pneumonia"
) -> Answers:
    """Return answers whose log odds of ill are normal around +-apart/2, both moved by the same."""
    generator = np.random.default_rng([seed, *name.encode()])
    odds = generator.normal(np.repeat([-apart / 2, apart / 2], each) + moved, 1.0)
    logits = np.stack([odds, np.zeros_like(odds), np.full_like(odds, -40.0)], axis=1)
    return answered(logits, ["normal"] * each + [ill] * each, name)
