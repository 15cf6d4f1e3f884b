"""Answers whose calls are known film by film: what a subject is made to say under each condition."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import replace

import numpy as np
import numpy.typing as npt
import pandas as pd

from suites.harness.predictions.answers import Answers
from tests.controls.simulated import simulated_answers

RIGHT = -1
"""Stands for the call that is the label."""


def planted(
    calls: Mapping[str, npt.ArrayLike],
    *,
    films: int = 240,
    classes: Sequence[str] = ("bacterial_pneumonia", "normal", "viral_pneumonia"),
    sure: float | npt.ArrayLike = 5.0,
    labels: npt.ArrayLike | None = None,
    undefined: Mapping[str, Mapping[int, str]] | None = None,
) -> Answers:
    """Answers on films, a patient each, whose classes take turns.

    Args:
        calls: condition -> (N,) class indices called, `RIGHT` for the label; `clean` is right where it is not given.
        films: N.
        classes: K names.
        sure: logit of the class called, one or (N,); the others have 0.
        labels: (N,) class indices, -1 for none; in turn by default.
        undefined: condition -> film -> why it is undefined for it.
    """
    main = simulated_answers({"clean": 1.0}, films=films)
    truth = np.arange(films) % len(classes) if labels is None else np.asarray(labels)
    ids = [f"film{number}" for number in range(films)]
    table = main.cohort.table.assign(
        id=ids, patient=ids, label=[classes[label] if label >= 0 else "" for label in truth]
    )
    frames = []
    for condition, called in ({"clean": np.full(films, RIGHT)} | dict(calls)).items():
        chosen = np.where(np.asarray(called) == RIGHT, np.maximum(truth, 0), called).astype(int)
        logits = np.zeros((films, len(classes)))
        logits[np.arange(films), chosen] = sure
        reasons = np.full(films, "", dtype=object)
        for film, why in ((undefined or {}).get(condition) or {}).items():
            logits[film], reasons[film] = np.nan, why
        frame = pd.DataFrame(logits, columns=[f"logit_{k}" for k in range(len(classes))])
        frames.append(
            frame.assign(image=ids, condition=condition, subject="s", cohort="c", severity=0, undefined=reasons)
        )
    return replace(
        main,
        subject=replace(main.subject, classes=tuple(classes)),
        cohort=replace(main.cohort, table=table),
        predictions=replace(main.predictions, table=pd.concat(frames)),
    )
