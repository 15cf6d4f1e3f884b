"""How much of a drop is the mix of patients? Both hospitals weighed alike by class, view and age, where known.

Direct standardisation: accuracy in each stratum, weighed by how many films of it the home cohort has. Strata that one
hospital has no patients of cannot be weighed and are left out on both sides, with their share.
"""

from __future__ import annotations

from collections.abc import Callable, Mapping
from dataclasses import dataclass

import numpy as np
import numpy.typing as npt
import pandas as pd

from suites.harness.claims import Claim, Result
from suites.harness.endpoints import headroom
from suites.harness.endpoints.external.two_hospitals import Hospital, TwoHospitals
from suites.harness.endpoints.parameters import Hospital as HospitalRole
from suites.harness.endpoints.registry import beyond, endpoint, within
from suites.harness.endpoints.spoken import films_of_class, finding
from suites.harness.errors import NotEvaluable
from suites.harness.formatting.cells import percent, points
from suites.harness.formatting.wording import plain_name
from suites.harness.predictions.answers import Answers
from suites.harness.predictions.evidence import Evidence
from suites.harness.statistics import Sampled, combined

FEWEST = 5
"""Patients of a stratum at each hospital below which it has no rate to weigh."""
SHARED = 0.5
"""Share of the home films whose strata both hospitals have, below which a column is not weighed by."""
BANDS = ((0, 6, "0-5"), (6, 18, "6-17"), (18, 40, "18-39"), (40, 65, "40-64"), (65, 130, "65+"))
"""Age bands in years: first, first beyond, name."""
Texts = npt.NDArray[np.str_]


@dataclass(frozen=True)
class Weighing:
    """What both hospitals are weighed by, and why by nothing more.

    Attributes:
        by: columns, `class` first.
        strata: (home, away) stratum of each film.
        used: strata that both have enough patients of -> share of the home films among them.
        without: why a column is left out, a clause each.
        covered: share of the home films in these strata.
    """

    by: tuple[str, ...]
    strata: tuple[Texts, Texts]
    used: Mapping[str, float]
    without: tuple[str, ...]
    covered: float


@endpoint("external_standardised", parameters={"hospital": HospitalRole()})
def external_standardised(evidence: Evidence, claim: Claim) -> Result:
    """Fall of accuracy at another hospital once class, view and age are weighed as at home: what the mix leaves."""
    answers = evidence.hospital(claim.parameters["hospital"])
    both = TwoHospitals.of(evidence.main, answers)
    weighing = weigh(both, evidence.main, answers)
    for name in both.classes.names:
        if not any(_of_class(stratum, name) for stratum in weighing.used):
            raise NotEvaluable(
                f"{films_of_class(evidence.main, name)} come from fewer than {FEWEST} patients at one hospital, so the "
                "mix cannot be weighed alike"
            )
    raw = both.drop(lambda side: side.rate(side.right))
    alike = both.drop(lambda side: _accuracy(side, weighing, both))
    effect = both.fallen("standardised_accuracy_drop", alike)
    before = both.fallen("accuracy_drop", raw)
    mix = points(before.estimate - effect.estimate)
    without = f" Not weighed by {'; '.join(weighing.without)}." if weighing.without else ""
    return Result(
        effect=effect,
        p_beyond=beyond(alike, claim),
        p_within=within(alike, claim),
        headroom=[headroom.skill(evidence.main, claim.margin)],
        films="films of both hospitals",
        measures=[before, *both.printed("standardised_accuracy", lambda side: _accuracy(side, weighing, both))],
        summary=(
            f"With {', '.join(weighing.by)} weighed as at home, accuracy is {points(effect.estimate, signed=False)} "
            f"points lower on the films of {both.away.name} ({points(effect.low)} to {points(effect.high)}); as the "
            f"films are, {points(before.estimate, signed=False)}, so {mix} points belong to the mix. The strata that "
            f"both have hold {percent(weighing.covered)} of the home films.{without}"
        ),
        tables={"Strata": _table(both, weighing)},
    )


def weigh(both: TwoHospitals, home: Answers, away: Answers) -> Weighing:
    """Return by what the films of both can be weighed: by class, and by what both record and share enough of."""
    by, without = [finding(home) or "class"], []
    names = np.asarray([plain_name(name) for name in both.classes.names])
    strata = [names[both.home.truth], names[both.away.truth]]
    for name, column in (("view", _view), ("age", _age)):
        told = [column(answers.cohort.table)[side.keep] for answers, side in ((home, both.home), (away, both.away))]
        if missing := [
            side.name for side, texts in zip((both.home, both.away), told, strict=True) if not _known(texts)
        ]:
            without.append(f"{name} (unrecorded in {' and '.join(missing)})")
            continue
        finer = [np.char.add(np.char.add(old, ", "), texts) for old, texts in zip(strata, told, strict=True)]
        if _covered(both, finer) < SHARED:
            seen = [", ".join(sorted(set(texts[texts != UNRECORDED]))[:4]) for texts in told]
            without.append(f"{name} ({seen[0]} at home, {seen[1]} there)")
            continue
        by.append(name)
        strata = finer
    used = _used(both, strata)
    whole = sum(used.values())
    return Weighing(
        by=tuple(by),
        strata=(strata[0], strata[1]),
        used={name: share / whole for name, share in used.items()},
        without=tuple(without),
        covered=whole,
    )


UNRECORDED = "unrecorded"


def _view(table: pd.DataFrame) -> Texts:
    texts = table["view"].astype(str).str.strip().str.upper()
    return texts.where(texts != "", UNRECORDED).to_numpy(str)


def _age(table: pd.DataFrame) -> Texts:
    """Return age bands; the group (`child`, `adult`) where no number is recorded."""
    groups = table["age_group"].astype(str).str.strip()
    found = groups.where(groups != "", UNRECORDED).to_numpy(str).astype(object)
    if "age" in table:
        years = pd.to_numeric(table["age"], errors="coerce").to_numpy(dtype=np.float64)
        for first, beyond_it, name in BANDS:
            found[(years >= first) & (years < beyond_it)] = name
    return found.astype(str)


def _known(texts: Texts) -> bool:
    """Whether most films record it."""
    return bool((texts != UNRECORDED).mean() > SHARED)


def _used(both: TwoHospitals, strata: list[Texts]) -> dict[str, float]:
    """Return the strata with patients enough at both hospitals, and their shares of the home films."""
    found = {}
    for name in np.unique(strata[0]):
        inside = [texts == name for texts in strata]
        if all(
            side.owners_of(films) >= FEWEST for side, films in zip((both.home, both.away), inside, strict=True)
        ) and not str(name).endswith(UNRECORDED):
            found[str(name)] = float(inside[0].mean())
    return found


def _covered(both: TwoHospitals, strata: list[Texts]) -> float:
    """Return the share of the home films that both hospitals have strata of; 0 where a class has none at all."""
    used = _used(both, strata)
    whole = all(any(_of_class(stratum, name) for stratum in used) for name in both.classes.names)
    return sum(used.values()) if whole else 0.0


def _of_class(stratum: str, name: str) -> bool:
    """Whether a stratum is one of a common class."""
    return stratum.split(", ", maxsplit=1)[0] == plain_name(name)


def _accuracy(side: Hospital, weighing: Weighing, both: TwoHospitals) -> Sampled:
    """Return the accuracy of a hospital, its strata weighed as at home."""
    strata = weighing.strata[0 if side is both.home else 1]
    parts = [side.rate(side.right, strata == name) for name in weighing.used]
    shares = np.asarray(list(weighing.used.values()))
    weighed: Callable[..., npt.NDArray[np.float64]] = lambda *values: shares @ np.stack(values)  # noqa: E731
    replicates, left_out = combined(weighed, *parts)
    estimate = float(shares @ np.asarray([part.estimate for part in parts]))
    return Sampled(
        estimate, replicates, side.owners, strata=tuple(part.patients for part in parts), left_out=left_out
    )  # fmt: skip


def _table(both: TwoHospitals, weighing: Weighing) -> pd.DataFrame:
    """Return every stratum with its films and accuracies."""
    rows = []
    for name in sorted({*weighing.strata[0], *weighing.strata[1]}):
        row: dict[str, object] = {"stratum": name}
        for told, side, texts in zip(("at home", "there"), (both.home, both.away), weighing.strata, strict=True):
            inside = texts == name
            row |= {f"films {told}": int(inside.sum()), f"patients {told}": side.owners_of(inside)}
            row |= {f"right {told}": percent(float(side.right[inside].mean())) if inside.any() else "—"}
        rows.append(row | {"weight": percent(weighing.used[name]) if name in weighing.used else "left out"})
    return pd.DataFrame(rows)
