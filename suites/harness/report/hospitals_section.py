"""What does the section "Stress and other hospitals" show? Drops under stress beside drops measured elsewhere."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from pathlib import Path

import pandas as pd

from suites.harness.claims import Draw
from suites.harness.formatting.wording import slug
from suites.harness.report import pictures
from suites.harness.report.pictures import Picture
from suites.harness.report.table import Table

FILES = (
    ("validity.csv", "one row per hospital and perturbation: rank correlation, mean error, slope, with intervals"),
    ("validity-drops.csv", "one row per subject, hospital and perturbation: predicted and measured drop"),
)


@dataclass(frozen=True, kw_only=True)
class HospitalPart:
    """What the section shows of one hospital.

    Attributes:
        told: what the subjects of the run say of perturbations, a few sentences; `reading`: how labels were mapped.
        lost: subject -> what it lost there, points with their interval.
        drops: subject -> its drop under every perturbation at every severity.
        over_subjects: what each perturbation says over subjects; None where these are too few.
        figures: title -> what draws it.
    """

    hospital: str
    told: str
    reading: str
    lost: Mapping[str, str]
    drops: Mapping[str, Table]
    over_subjects: Table | None
    figures: Mapping[str, Draw]


@dataclass(frozen=True, kw_only=True)
class HospitalsSection:
    """The whole section.

    Attributes:
        left_out: sentences on what has no number, and why.
        tables: file -> what it holds, one for each of `FILES`.
    """

    parts: Sequence[HospitalPart]
    left_out: Sequence[str]
    tables: Mapping[str, pd.DataFrame]

    def write(self, folder: Path) -> dict[str, list[Picture]]:
        """Write tables and pictures into a report's folder; return the pictures by hospital."""
        for name, table in self.tables.items():
            table.to_csv(folder / name, index=False)
        return {
            part.hospital: [
                pictures.store(draw, folder, f"hospital.{slug(part.hospital)}.{slug(title)}", title)
                for title, draw in part.figures.items()
            ]
            for part in self.parts
        }
