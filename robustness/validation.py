"""What of a perturbation is validated, and what is not? Source, what it was held against, what it predicts, gaps.

Nothing here is judged anew: the parts come from the card, from what was measured beside real films (`likeness`), and
from a study over subjects of whether the drop under it foretells the drop at another hospital
(`tests/benchmarks/hospital_study.py`, whose `validity.csv` becomes `predictive.csv` here). What nobody looked at is
said to be so. The study: the stand-in weights and small subjects of eight recipes, the 468 test films of
`shared/data/kermany` at home, 679 films of adults of ChestX-ray14 there, where 20 to 44 points are lost (of the other
collection four healthy films are too few to say what is lost). None of 24 surely ranks the nine: nearest come a fixed
window over an underexposed film (rank correlation 0.85) and scatter (0.80) at severity 5, beside 0.73 of the accuracy
at home without any stress. Only these cost about what the adults do (3 and 2 points less on average); noise, stripes,
leads, compression and softening foretell 29 points too little. Rows of an earlier version of a perturbation (the lobar
white-out's 7) are not shown.
"""

from __future__ import annotations

import csv
import functools
from collections.abc import Collection, Mapping
from dataclasses import dataclass
from pathlib import Path

from robustness import perturbation
from robustness.card import NOT_TOLD, Card
from robustness.likeness import LIES, MEASURED_AT, measured_rows

PREDICTIVE = Path(__file__).with_name("predictive.csv")
NOT_STUDIED = "not studied: nobody has held it against the drop at another hospital"
PLACES = {"inside": "among them", "within all": "at their edge", "beyond": "beyond all real films"}
NOT_MEASURED = "not held against real films"


@dataclass(frozen=True, kw_only=True)
class Validation:
    """One line of the page of what is validated.

    Attributes:
        name: of the perturbation.
        source: where model and numbers come from.
        formula: whether the card states one.
        films: what was measured of this version beside real films, and where it lies among them.
        evidence: what is known of how it predicts drops at other hospitals.
        gaps: what the real thing does besides, and what gives it away.
    """

    name: str
    source: str
    formula: str
    films: str
    evidence: str
    gaps: str

    @property
    def beside_films(self) -> bool:
        """Whether it was held against real films."""
        return self.films != NOT_MEASURED

    @property
    def studied(self) -> bool:
        """Whether it was held against the drop at another hospital."""
        return self.evidence != NOT_STUDIED

    @property
    def nothing(self) -> bool:
        """Whether it was held against nothing at all."""
        return not (self.beside_films or self.studied)


def validation_of(card: Card) -> Validation:
    """Return what is validated of the perturbation of a card."""
    gaps = [text for text in (card.not_modelled, card.differs_from) if text != NOT_TOLD]
    return Validation(
        name=card.name,
        source=card.source,
        formula=NOT_TOLD if card.formula == NOT_TOLD else "stated, the code's own numbers in it",
        films=_beside(card.name),
        evidence=_evidence(card.name),
        gaps=" ".join(gaps) or NOT_TOLD,
    )


def _beside(name: str) -> str:
    """Return which statistics were measured beside real films, and where each severity lies among them."""
    told = []
    for row in measured_rows(name, perturbation.get(name).version):
        at = {word: [str(one) for one in MEASURED_AT if row[f"verdict {one}"] == word] for word, _ in LIES}
        parts = [f"severity {', '.join(at[word])} {PLACES[word]}" for word, _ in LIES if at[word]]
        told.append(f"{row['statistic']}, beside {row['beside']}: {'; '.join(parts)}")
    return "; ".join(told) or NOT_MEASURED


def studied_rows(name: str, severities: Collection[int] = ()) -> list[Mapping[str, str]]:
    """Return what studies over subjects found of a perturbation as it is now, a row per severity and hospital.

    Args:
        name: of the perturbation; numbers of another version of it are not quoted.
        severities: that are told of; all by default.
    """
    return [
        row
        for row in _predictive().get(name, [])
        if row["rank"]
        and int(row["version"]) == perturbation.get(name).version
        and (not severities or int(row["condition"].partition("@")[2]) in severities)
    ]


def _evidence(name: str) -> str:
    """Return what studies over subjects found of this version, hospital by hospital."""
    told = []
    for row in studied_rows(name):
        ends = f" ({float(row['rank_low']):.2f} to {float(row['rank_high']):.2f})" if row["rank_low"] else ""
        told.append(
            f"{row['condition']}, {row['hospital']}: rank correlation {float(row['rank']):.2f}{ends} over "
            f"{row['subjects']} subjects (with no stress at all {float(row['rank_no_stress']):.2f}), {row['reading']}"
        )
    return "; ".join(told) or NOT_STUDIED


@functools.cache
def _predictive() -> Mapping[str, list[dict[str, str]]]:
    found: dict[str, list[dict[str, str]]] = {}
    if not PREDICTIVE.exists():
        return found
    with PREDICTIVE.open(newline="", encoding="utf-8") as file:
        for row in csv.DictReader(file):
            found.setdefault(row["condition"].partition("@")[0], []).append(row)
    return found
