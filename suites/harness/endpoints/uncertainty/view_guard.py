"""What does a view guard catch of a probe with one number per film, and what does it cost?

The guard sees the film before the subject does, so its numbers belong to the films and are the same for every subject.
"""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import dataclass
from functools import partial
from pathlib import Path

import numpy as np
import numpy.typing as npt
import torch

from calibration import ood
from calibration.validation import FloatArray
from robustness import view_guard
from robustness.perturbation import PerturbationError
from suites.harness.cache import Shards
from suites.harness.cache.code_digest import decoding
from suites.harness.claims import Measure
from suites.harness.cohorts.cohort import Film
from suites.harness.cohorts.probes import FILMS as FILMS_OF
from suites.harness.endpoints.registry import measured
from suites.harness.endpoints.two_cohorts import TwoCohorts
from suites.harness.formatting.cells import cell, percent
from suites.harness.formatting.wording import number
from suites.harness.predictions.answers import Answers
from suites.harness.predictions.evidence import Evidence

NAME = "view guard"
FILMS = {"quick": 120}
"""Films of each cohort that are looked at by profile, whole patients; all of them where none is named."""


@dataclass(frozen=True)
class Guarded:
    """What the guard does to a probe and to the cohort.

    Attributes:
        row: for the table of scores: name, AUROC with interval, FPR at 95 % TPR.
        measures: AUROC, FPR95, and the shares refused at the fixed threshold.
        sentence: the same for a reader.
    """

    row: tuple[str, str, str]
    measures: list[Measure]
    sentence: str


def guard(evidence: Evidence, role: str) -> Guarded:
    """Return how well the guard tells a probe from the cohort under test.

    Raises:
        NotEvaluable: the probe was not given.
    """
    main, probe = evidence.main, evidence.probe(role)
    usual, strange = (_looked_at(answers, evidence) for answers in (main, probe))
    near, far = (_scores(answers, keep, evidence.cache) for answers, keep in ((main, usual), (probe, strange)))
    values, both = np.concatenate([near, far]), TwoCohorts.of(main, probe, usual, strange)
    auroc, false_alarms = both.auroc(values), both.sampled(partial(ood.fpr_at_tpr, values, both.outside))
    caught = probe.rate(_at(strange, far > 0), strange)
    cost = main.rate(_at(usual, near > 0), usual)
    ends = auroc.interval()
    measures = [
        measured("auroc", f"{role}, {NAME}", auroc, both.films, unit="plain", smallest=both.smallest, needed=50),
        measured("fpr95", f"{role}, {NAME}", false_alarms, both.films, unit="share", smallest=both.smallest, needed=50),
        measured("refused_share", f"{role}, {NAME}", caught, len(far), unit="share", smallest=both.smallest, needed=50),
        measured("refused_share", f"{main.cohort.name}, {NAME}", cost, len(near), unit="share"),
    ]
    return Guarded(
        row=(NAME, cell(ends), percent(false_alarms.estimate)),
        measures=measures,
        sentence=(
            "A view guard that looks at one number per film, without any network, reaches "
            f"{number(auroc.estimate)}; at its fixed threshold it refuses {percent(caught.estimate)} of {len(far)} "
            f"{FILMS_OF.get(role, f'{role} films')}, and wrongly {percent(cost.estimate)} of {len(near)} of the "
            "usual films."
        ),
    )


def _looked_at(answers: Answers, evidence: Evidence) -> npt.NDArray[np.bool_]:
    """Return (N,) the films a profile looks at."""
    if evidence.profile not in FILMS:
        return np.ones(len(answers.cohort), dtype=bool)
    ids = set(answers.cohort.limited(FILMS[evidence.profile], answers.seed).table["id"].astype(str))
    return np.array([image in ids for image in answers.images], dtype=bool)


def _at(films: npt.NDArray[np.bool_], values: npt.NDArray[np.bool_]) -> FloatArray:
    """Return (N,) values at the places of some films, 0 elsewhere."""
    everywhere = np.zeros(len(films))
    everywhere[films] = values
    return everywhere


def _scores(answers: Answers, among: npt.NDArray[np.bool_], cache: Path) -> FloatArray:
    """Return (n,) guard scores; a film too small to judge is refused."""
    key = {
        "guard": "ridge",
        "version": 1,
        "threshold": view_guard.THRESHOLD,
        "torch": torch.__version__,
        "decoding": decoding(),
    }
    shards = Shards(cache, "view-guard", key, {"content": "text", "score": "number"})
    opened = (answers.cohort.opened(row) for row in answers.cohort.rows(np.flatnonzero(among)))
    rows = shards.fill(("content",), (((content,), partial(_scored, decode)) for content, decode in opened))
    return np.array([row["score"] for row in rows], dtype=np.float64)


def _scored(decode: Callable[[], Film]) -> dict[str, float]:
    return {"score": _score(torch.from_numpy(decode().pixels))}


def _score(film: torch.Tensor) -> float:
    try:
        return float(view_guard.lateral_score(film.unsqueeze(0)))
    except PerturbationError:
        return view_guard.THRESHOLD
