"""How does one get the public data set? `kaggle`: downloaded by kagglehub (an optional extra) and cached by it."""

from __future__ import annotations

from dataclasses import replace
from importlib import import_module
from pathlib import Path

from suites.harness.cohorts.cohort import Cohort
from suites.harness.cohorts.layouts.kaggle import kaggle_root, load_kaggle
from suites.harness.cohorts.layouts.registry import Spec, register
from suites.harness.cohorts.quoting import shown
from suites.harness.errors import CohortProblem

DATASET = "paultimothymooney/chest-xray-pneumonia"
_BY_HAND = "or download it by hand and pass the folder that holds train, val and test"


@register(
    "kaggle",
    recognises=lambda spec: spec.location == "kaggle" and not spec.path.is_dir(),
    precedence=10,
    described=f"`kaggle` (downloads {DATASET})",
)
def kaggle(spec: Spec) -> Cohort:
    """Download the data set, or find it in kagglehub's cache, and load it."""
    try:
        kagglehub = import_module("kagglehub")
    except ImportError as problem:
        raise CohortProblem(
            f"`kaggle` needs kagglehub: install the extra with `uv sync --extra kaggle`, {_BY_HAND}"
        ) from (problem)
    try:
        folder = Path(kagglehub.dataset_download(DATASET))
    except Exception as problem:
        raise CohortProblem(
            f"Kaggle did not deliver {DATASET} ({shown(f'{type(problem).__name__}: {problem}')}); try again, {_BY_HAND}"
        ) from (problem)
    root = kaggle_root(folder)
    if root is None:
        raise CohortProblem(
            f"{shown(folder)}: the download of {DATASET} holds no {{train,val,test}}/{{NORMAL,PNEUMONIA}}"
        )
    return replace(load_kaggle(root, spec), name="kaggle")
