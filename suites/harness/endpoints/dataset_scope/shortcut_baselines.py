"""How well are classes told apart by properties of the files, without looking at a lung?

A subject that is not clearly better than these has proved nothing. Two sets of cues: what a file browser shows
(`file`), and in addition four numbers of the network input that any image has (`file_and_surface`).
"""

from __future__ import annotations

import numpy as np
import pandas as pd
from numpy.typing import NDArray
from sklearn.ensemble import HistGradientBoostingClassifier
from sklearn.metrics import accuracy_score, balanced_accuracy_score, roc_auc_score
from sklearn.model_selection import StratifiedGroupKFold

from suites.harness.counts import counted
from suites.harness.errors import NotEvaluable

FILE_CUES = ("bytes", "width", "height", "aspect", "bytes_per_pixel", "jpeg_quality", "colour")
SURFACE_CUES = ("sharpness", "border_dark", "mean_grey", "sd_grey")
CUE_SETS = {"file": FILE_CUES, "file_and_surface": (*FILE_CUES, *SURFACE_CUES)}
FOLDS = 5
_ABSENT = -1.0  # the JPEG quality of another format; every cue that exists is 0 or more
_LEAST_PATIENTS = 2 * FOLDS


def single_cue_auroc(properties: pd.DataFrame) -> pd.DataFrame:
    """Return how each cue alone ranks each class before the rest: `cue`, `label`, `auroc`, `n`, `patients`.

    Nothing is fitted: below one half the cue is smaller in the class. Films without the cue (`jpeg_quality` of a PNG)
    do not count; a cue that takes one value only says nothing and has 0.5.
    """
    rows = []
    for cue in CUE_SETS["file_and_surface"]:
        known = properties[properties[cue].notna()]
        for label in sorted(known["label"].unique()):
            positive = known["label"] == label
            if label == "" or positive.all():
                continue
            auroc = float(roc_auc_score(positive, known[cue]))
            patients = known["patient"].nunique()
            rows.append({"cue": cue, "label": label, "auroc": auroc, "n": len(known), "patients": patients})
    return pd.DataFrame(rows, columns=["cue", "label", "auroc", "n", "patients"])


def shortcut_probabilities(
    properties: pd.DataFrame, cue_set: str = "file", *, train: pd.DataFrame | None = None, seed: int = 0
) -> pd.DataFrame:
    """Return what a small gradient boosting model says about films it has not been fitted on.

    Args:
        properties: films to predict, as `FileAudit.properties`.
        cue_set: key of `CUE_SETS`.
        train: films to fit on; without them, five-fold cross-validation in which no patient is on both sides.
        seed: of folds and model.

    Returns:
        Columns `id`, `label`, `patient`, and `p_<class>` for every class fitted on, rows in the order given.

    Raises:
        NotEvaluable: fewer than two classes, or a class with fewer than ten patients.
    """
    cues = list(CUE_SETS[cue_set])
    films = properties[properties["label"] != ""].reset_index(drop=True)
    fitted_on = films if train is None else train[train["label"] != ""].reset_index(drop=True)
    patients = fitted_on.groupby("label")["patient"].nunique()
    if len(patients) < 2:
        raise NotEvaluable("file properties can be held against labels only where there are two classes or more")
    if patients.min() < _LEAST_PATIENTS:
        raise NotEvaluable(
            f"class {patients.idxmin()} has {counted(patients.min(), 'patient')}; cross-validation needs "
            f"{_LEAST_PATIENTS}"
        )
    classes = sorted(patients.index)
    probabilities = np.full((len(films), len(classes)), np.nan)
    if train is None:
        splitter = StratifiedGroupKFold(n_splits=FOLDS, shuffle=True, random_state=seed)
        for inside, outside in splitter.split(films, films["label"], films["patient"]):
            probabilities[outside] = _predicted(films.iloc[inside], films.iloc[outside], cues, classes, seed)
    else:
        probabilities = _predicted(fitted_on, films, cues, classes, seed)
    answer = films[["id", "label", "patient"]].copy()
    for column, label in enumerate(classes):
        answer[f"p_{label}"] = probabilities[:, column]
    return answer


def shortcut_scores(probabilities: pd.DataFrame) -> pd.DataFrame:
    """Return the scores of `shortcut_probabilities`: `measure`, `estimate`, `n`, `patients`.

    Measures: `accuracy`, `balanced_accuracy`, `majority_accuracy` (always answering the most frequent class), and
    `auroc_<class>` one-versus-rest for every class that has films.
    """
    classes = [column.removeprefix("p_") for column in probabilities.columns if column.startswith("p_")]
    scores = probabilities[[f"p_{label}" for label in classes]].to_numpy()
    truth = probabilities["label"]
    answer = np.array(classes)[scores.argmax(axis=1)]
    measures = {
        "accuracy": accuracy_score(truth, answer),
        "balanced_accuracy": balanced_accuracy_score(truth, answer),
        "majority_accuracy": truth.value_counts().max() / len(truth),
    }
    for column, label in enumerate(classes):
        positive = (truth == label).to_numpy()
        if 0 < positive.sum() < len(positive):
            measures[f"auroc_{label}"] = roc_auc_score(positive, scores[:, column])
    rows = [{"measure": name, "estimate": float(value)} for name, value in measures.items()]
    return pd.DataFrame(rows).assign(n=len(probabilities), patients=probabilities["patient"].nunique())


def _predicted(
    fitted_on: pd.DataFrame, films: pd.DataFrame, cues: list[str], classes: list[str], seed: int
) -> NDArray[np.float64]:
    """Return (n, K) probabilities of `films` in the order of `classes`; a class absent from the fit gets 0."""
    known_cues, asked_cues = (part[cues].astype(np.float64).fillna(_ABSENT) for part in (fitted_on, films))
    model = HistGradientBoostingClassifier(
        max_iter=60, max_leaf_nodes=8, min_samples_leaf=10, early_stopping=False, random_state=seed
    ).fit(known_cues, fitted_on["label"])
    probabilities = np.zeros((len(films), len(classes)))
    known = [classes.index(label) for label in model.classes_]
    probabilities[:, known] = model.predict_proba(asked_cues)
    return probabilities
