"""What does the subject say to a white film? Every class it calls, how surely, and what it leaves to a person.

By what made the film white, how much of it, on which side, and whether the film was normal or ill before. The right
answer to a white hemithorax of unknown cause is to abstain, so what it says instead is told in full.
"""

from __future__ import annotations

from collections.abc import Iterable, Mapping, Sequence
from dataclasses import dataclass
from functools import lru_cache

import numpy as np
import numpy.typing as npt
import pandas as pd

from calibration import scores
from calibration import selective as abstention
from robustness import perturbation
from robustness.consolidation import LOBAR, side_of
from robustness.draws import Draws
from suites.harness.claims import Measure
from suites.harness.cohorts.class_roles import healthy
from suites.harness.cohorts.finding_names import meaning
from suites.harness.endpoints.registry import measured
from suites.harness.endpoints.spoken import finding, said_of
from suites.harness.formatting.cells import cell, percent, whole_percent
from suites.harness.formatting.cells import columns as numbers_of
from suites.harness.formatting.severities import in_units
from suites.harness.formatting.wording import plain_name
from suites.harness.predictions.answers import CONFIDENT, Answers
from suites.harness.predictions.conditions import CLEAN, parse
from suites.harness.statistics import Interval, Sampled

Films = npt.NDArray[np.bool_]
NORMAL = "normal"
TRULY = {
    "whiteout_lobar": {"consolidation", "pneumonia", "infiltration", "lung opacity"},
    "whiteout_effusion": {"pleural effusion"},
    "whiteout_collapse": {"atelectasis", "lung opacity"},
    "whiteout_mass": {"mass", "lung lesion", "nodule/mass", "lung opacity"},
    "whiteout_bilateral": {"consolidation", "pneumonia", "infiltration", "edema", "lung opacity"},
}
"""Perturbation -> the findings, by `finding_names.meaning`, that a film it made white may truly show."""
RISK = 0.05
"""Errors that abstaining on the least sure clean films leaves, as in the claims about abstention."""
BOTH_SIDES, ANY_SIDE = "both", "any"
IN_THE_PICTURE = {"left": "left of the picture", "right": "right of the picture"}
"""Not the patient's: in the usual display the left of the picture is the patient's right."""
TWO_SIDED = frozenset({"whiteout_bilateral"})
"""White-outs of both lungs; of all others a film has its own side, the same for every cause."""


@dataclass(frozen=True, kw_only=True)
class Said:
    """What a subject says to one group of films under one condition.

    Attributes:
        before: what the films were before (`normal`, `ill`, `not labelled`, or `all`; of a finding `with` and `without`
            it).
        side: of the picture that is white (`left`, `right`), `both`, or `any`.
        called: class -> share of the films called so.
        confidence: mean softmax probability of the call; `sure` the share above .9.
        left: share left to a person by the rule of `abstains`; None where there is no rule.
    """

    condition: str
    before: str
    side: str
    n: int
    called: Mapping[str, Sampled]
    confidence: Sampled
    sure: Sampled
    left: Sampled | None

    @property
    def patients(self) -> int:
        """Patients whose films they are."""
        return self.confidence.patients

    @property
    def measures(self) -> list[Measure]:
        """Everything, as measures of a claim."""
        where = f"{self.condition}, {self.before} films"
        found = [measured(f"called_{name}", where, share, self.n, unit="share") for name, share in self.called.items()]
        found.append(measured("mean_confidence", where, self.confidence, self.n, unit="share"))
        if self.left is not None:
            found.append(measured("left_to_a_person", where, self.left, self.n, unit="share"))
        return found


def truly_shows(condition: str, name: str) -> bool:
    """Whether a film that a condition made white may truly show a finding, so that claiming it is no failure."""
    return meaning(name) in {meaning(one) for one in TRULY.get(parse(condition).perturbation, ())}


def groups_of(answers: Answers) -> dict[str, Films]:
    """Return what films were before -> (N,) which they are; `all` where the subject has no class of that name."""
    labelled = answers.labels >= 0
    if healthy(answers.subject.classes) is None:
        return {"all": np.ones(len(answers.labels), dtype=bool)}
    normal = answers.labels == answers.class_index(NORMAL)
    without, ill = (f"without {asked}", f"with {asked}") if (asked := finding(answers)) else (NORMAL, "ill")
    groups = {without: normal, ill: labelled & ~normal, "not labelled": ~labelled}
    return {name: np.asarray(films, dtype=bool) for name, films in groups.items() if films.any()}


def sides_of(answers: Answers, condition: str) -> npt.NDArray[np.str_]:
    """Return (N,) which side of each film is white: `left`, `right` or `both`; `any` where nothing draws a side."""
    name = parse(condition).perturbation
    if name == CLEAN or perturbation.get(name).family != "opacity":
        return np.full(len(answers.images), ANY_SIDE)
    if name in TWO_SIDED:
        return np.full(len(answers.images), BOTH_SIDES)
    return _own_sides(tuple(answers.images), answers.seed)


@lru_cache(maxsize=4)
def _own_sides(images: tuple[str, ...], seed: int) -> npt.NDArray[np.str_]:
    """Return (N,) the side of each film, whatever the cause; for all findings of a subject the films are the same."""
    sides = np.array([side_of(Draws(image, LOBAR, seed)) for image in images], dtype=str)
    sides.flags.writeable = False
    return sides


def abstains(answers: Answers, condition: str, risk: float = RISK) -> npt.NDArray[np.float64] | None:
    """Return (N,) 1 where the subject would leave a film to a person, NaN where it has no answer.

    It does so where it is less sure than on the least sure clean film that may be answered at a `risk`; None where
    no clean film is labelled, or every one is called wrong.
    """
    known = answers.shared(CLEAN)
    wrong = answers.correct()[known] == 0
    if not known.any() or wrong.all():
        return None
    score = scores.get("max-softmax")
    most = abstention.threshold(score(answers.logits()[known]), wrong, risk=risk)
    logits = answers.logits(condition)
    seen, left = np.isfinite(logits).all(axis=1), np.full(len(logits), np.nan)
    if seen.any():
        left[seen] = score(logits[seen]) > most
    return left


def said(answers: Answers, condition: str, films: Films, *, by_side: bool = True) -> list[Said]:
    """Return what is said to the `films` (N,) under a condition: by what they were before, and within that by side."""
    left, calls, sides = abstains(answers, condition), answers.called(condition), sides_of(answers, condition)
    seen = films & np.isfinite(calls)
    confidence = answers.probabilities(condition).max(axis=1)
    whole = BOTH_SIDES if (sides == BOTH_SIDES).all() else ANY_SIDE
    found = []
    for before, group in groups_of(answers).items():
        drawn = sorted(set(sides[seen & group]) & {"left", "right"}) if by_side else []
        for side in (whole, *drawn):
            among = np.asarray(seen & group & ((sides == side) | (side == whole)), dtype=bool)
            if not among.any():
                continue
            called = {name: answers.rate(calls == index, among) for index, name in enumerate(answers.subject.classes)}
            found.append(
                Said(
                    condition=condition,
                    before=before,
                    side=side,
                    n=int(among.sum()),
                    called=called,
                    confidence=answers.rate(confidence, among),
                    sure=answers.rate(confidence > CONFIDENT, among),
                    left=None if left is None else answers.rate(left, among),
                )
            )
    return found


def cause(condition: str) -> str:
    """Return what made a film white, in a word or two."""
    return plain_name(parse(condition).perturbation).removeprefix("whiteout ")


def table(answers: Answers, rows: Iterable[Said]) -> pd.DataFrame:
    """Return the rows as a reader reads them: shares with their 95 % intervals."""
    rows = list(rows)
    return pd.DataFrame([
        {"cause": cause(row.condition), "severity": parse(row.condition).severity or "", "film before": row.before}
        | {"films": row.n, "patients": row.patients}
        | {said_of(answers, name): _share(share) for name, share in row.called.items()}
        | {"mean confidence": percent(row.confidence.estimate), f"above {whole_percent(CONFIDENT)}": _share(row.sure)}
        | ({} if row.left is None else {"left to a person": _share(row.left)})
        for row in rows
    ])  # fmt: skip


def numbers(rows: Iterable[Said], subject: str) -> pd.DataFrame:
    """Return the rows as numbers for a CSV, one per condition, group and side."""
    return pd.DataFrame([
        {"subject": subject, "condition": row.condition, "severity": parse(row.condition).severity}
        | {"severity_in_units": in_units(row.condition, plain=True), "film_before": row.before}
        | {"white_side": IN_THE_PICTURE.get(row.side, row.side)}
        | {"films": row.n, "patients": row.patients}
        | {
            f"{name}{end}": value
            for name, found in _intervals(row).items()
            for end, value in zip(("", "_low", "_high"), numbers_of(found), strict=True)
        }
        for row in rows
    ])  # fmt: skip


def _intervals(row: Said) -> dict[str, Interval | None]:
    shares = {f"called_{name}": share for name, share in row.called.items()}
    shares |= {"mean_confidence": row.confidence, "confident_share": row.sure}
    found: dict[str, Interval | None] = {name: share.interval() for name, share in shares.items()}
    return found | {"left_to_a_person": None if row.left is None else row.left.interval()}


def _share(share: Sampled) -> str:
    return cell(share.interval(), "share")


def shares(rows: Sequence[Said]) -> dict[str, dict[str, list[float]]]:
    """Return what films were before -> condition in words -> share called each class, for a figure."""
    panels: dict[str, dict[str, list[float]]] = {}
    several = len({parse(row.condition).severity for row in rows}) > 1
    for row in rows:
        label = cause(row.condition) + (f" {parse(row.condition).severity}" if several else "")
        panels.setdefault(f"{row.before} films", {})[label] = [share.estimate for share in row.called.values()]
    return panels
