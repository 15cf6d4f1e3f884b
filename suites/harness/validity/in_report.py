"""What does a run with films of other hospitals say of its stress? The section of its own report."""

from __future__ import annotations

from functools import partial

import numpy as np
import pandas as pd
from matplotlib.figure import Figure

from suites.harness.cohorts.external import is_external
from suites.harness.formatting.figures import QUIET, SERIES, styled
from suites.harness.formatting.wording import stress
from suites.harness.record import Record
from suites.harness.report.hospitals_section import FILES, HospitalPart, HospitalsSection
from suites.harness.report.table import as_table
from suites.harness.validity.drops import Drops, drops_among
from suites.harness.validity.predictive import FEWEST, Ends, no_stress, validities
from suites.harness.validity.write import cell, figure, over_subjects, sentence, table


def section_of(record: Record) -> HospitalsSection | None:
    """Return the section of a run's report; None where no films of another hospital were given, or no stress was run.

    Args:
        record: the finished run.
    """
    if not any(is_external(role) for role in record.probes) or record.predictions.empty:
        return None
    drops = drops_among([("this run", record)])
    if drops.table.empty and not drops.left_out:
        return None
    rows = drops.table
    found = validities(rows, seed=record.seed)
    alone = {str(name): no_stress(mine).estimate for name, mine in rows.groupby("hospital", sort=False)}
    return HospitalsSection(
        parts=[_part(hospital, drops, record.seed) for hospital in dict.fromkeys(rows["hospital"])],
        left_out=drops.left_out,
        tables={FILES[0][0]: table(found, alone), FILES[1][0]: rows},
    )


def _part(hospital: str, drops: Drops, seed: int) -> HospitalPart:
    mine = drops.table[drops.table["hospital"] == hospital]
    by_subject = {str(name): rows for name, rows in mine.groupby("subject", sort=False)}
    found = validities(mine, seed=seed)
    enough = len(by_subject) >= FEWEST
    told = (
        sentence(found, no_stress(mine, seed=seed))
        if enough
        else f"Whether a stress foretells who loses more cannot be told from {len(by_subject)} "
        f"subject{'s' * (len(by_subject) > 1)}; {FEWEST} are the fewest: the command validity reads several reports "
        "together."
    )
    if enough:
        figures = {"Drop at the hospital against the drop under stress": partial(figure, mine, found)}
    else:
        figures = {f"What stress costs {name}": partial(beside, rows) for name, rows in by_subject.items()}
    return HospitalPart(
        hospital=hospital,
        told=told,
        reading=drops.readings.get(hospital, ""),
        lost={name: _lost(rows) for name, rows in by_subject.items()},
        drops={name: as_table(_by_severity(rows)) for name, rows in by_subject.items()},
        over_subjects=over_subjects(found) if enough else None,
        figures=figures,
    )


def _lost(rows: pd.DataFrame) -> str:
    """Return what a subject lost at the hospital, points with their interval."""
    first = rows.iloc[0]
    return cell(Ends(first["measured"], first["low"], first["high"]), in_points=True)


def _by_severity(rows: pd.DataFrame) -> pd.DataFrame:
    """Return the drops under every perturbation, a column for each severity, the largest mean first."""
    severities = sorted(rows["severity"].unique())
    told = []
    for name, mine in sorted(rows.groupby("perturbation", sort=False), key=lambda pair: -pair[1]["predicted"].mean()):
        cells = {
            int(row["severity"]): cell(
                Ends(row["predicted"], row["predicted_low"], row["predicted_high"]), in_points=True
            )
            for row in mine.to_dict("records")
        }
        told.append({"perturbation": stress(str(name))} | {f"severity {at}": cells.get(at, "") for at in severities})
    return pd.DataFrame(told)


@styled
def beside(rows: pd.DataFrame) -> Figure:
    """Draw what each perturbation costs one subject at home, by severity, and as a band what the hospital costs it."""
    order = rows.groupby("perturbation", sort=False)["predicted"].mean().sort_values().index.tolist()
    severities = sorted(rows["severity"].unique())
    drawn = Figure(figsize=(6.4, 1.4 + 0.27 * len(order)))
    axes = drawn.subplots()
    first = rows.iloc[0]
    axes.axvspan(100 * first["low"], 100 * first["high"], color=QUIET, alpha=0.25, linewidth=0)
    axes.axvline(100 * first["measured"], color=QUIET, linewidth=1.4, label="at the hospital, with its interval")
    axes.axvline(0, color=QUIET, linewidth=0.6, linestyle=(0, (2, 3)))
    lanes = np.linspace(0.22, -0.22, len(severities)) if len(severities) > 1 else np.zeros(1)
    for at, severity in enumerate(severities):
        mine = rows[rows["severity"] == severity]
        colour, _, marker = SERIES[at % len(SERIES)]
        places = [order.index(name) + lanes[at] for name in mine["perturbation"]]
        ends = [np.abs(mine[name] - mine["predicted"]).to_numpy() for name in ("predicted_low", "predicted_high")]
        axes.errorbar(
            100 * mine["predicted"], places, xerr=100 * np.stack(ends), color=colour, marker=marker, markersize=4,
            linestyle="none", elinewidth=0.8, label=f"severity {severity}",
        )  # fmt: skip
    axes.set_yticks(range(len(order)), [stress(str(name)) for name in order])
    axes.set(xlabel="points of balanced accuracy lost", ylim=(-0.6, len(order) - 0.4))
    handles, labels = axes.get_legend_handles_labels()
    drawn.legend(handles, labels, loc="outside lower center", ncols=len(labels), fontsize=8)
    return drawn
