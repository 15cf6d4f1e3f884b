"""How is it told what stress predicts? A page, a figure and two tables, from the drops of finished reports alone."""

from __future__ import annotations

import math
from collections.abc import Mapping, Sequence
from pathlib import Path

import matplotlib as mpl
import numpy as np
import pandas as pd
from matplotlib.figure import Figure

from robustness import perturbation
from suites.harness.formatting.cells import points
from suites.harness.formatting.figures import QUIET, SERIES, styled
from suites.harness.formatting.severities import in_words
from suites.harness.formatting.wording import number
from suites.harness.report import page
from suites.harness.report.hospitals_section import FILES
from suites.harness.report.table import Table, as_table
from suites.harness.validity.drops import Drops
from suites.harness.validity.predictive import FEW, Ends, Validity, no_stress, validities

SHOWN = 9
"""Perturbations that the figure shows: those that rank subjects most and least as the hospital does."""


def write_validity(drops: Drops, folder: Path, *, seed: int = 0) -> Path:
    """Write the page with its figures and tables; returns index.html.

    Args:
        drops: of the reports.
        folder: made where it is not there.
        seed: of the resamples over subjects.
    """
    folder.mkdir(parents=True, exist_ok=True)
    found = validities(drops.table, seed=seed)
    alone = {str(name): no_stress(rows).estimate for name, rows in drops.table.groupby("hospital", sort=False)}
    table(found, alone).to_csv(folder / FILES[0][0], index=False)
    drops.table.to_csv(folder / FILES[1][0], index=False)
    parts = []
    for number_of, hospital in enumerate(dict.fromkeys(one.hospital for one in found), 1):
        mine = [one for one in found if one.hospital == hospital]
        name = f"validity-{number_of}.svg"
        with mpl.rc_context({"svg.hashsalt": "validity", "svg.fonttype": "none"}):
            drawn = figure(drops.table[drops.table["hospital"] == hospital], mine)
            drawn.savefig(folder / name, metadata={"Date": None})
        parts.append(_part(hospital, mine, drops, name))
    text = page.environment().get_template("validity.html.j2").render(
        parts=parts, left_out=drops.left_out, files=FILES, **page.assets(),
        few=FEW if max(one.subjects for one in found) < FEW else 0,
    )  # fmt: skip
    index = folder / "index.html"
    index.write_text(text, encoding="utf-8")
    return index


def table(found: Sequence[Validity], alone: Mapping[str, float]) -> pd.DataFrame:
    """Return one row per hospital and condition, numbers as fractions; `alone` is what no stress says, by hospital."""
    rows = []
    for one in found:
        row: dict[str, object] = {"hospital": one.hospital, "condition": one.condition, "subjects": one.subjects}
        row["version"] = perturbation.get(one.condition.partition("@")[0]).version
        for name in ("rank", "error", "slope"):
            ends: Ends = getattr(one, name)
            row |= {name: ends.estimate, f"{name}_low": ends.low, f"{name}_high": ends.high}
        rows.append(row | {"rank_no_stress": alone[one.hospital], "p": one.p, "p_holm": one.holm, "reading": one.word})
    return pd.DataFrame(rows)


def sentence(found: Sequence[Validity], alone: Ends) -> str:
    """Return what was found of one hospital, and what the accuracy at home says `alone`, in a few sentences."""
    measured = [one for one in found if math.isfinite(one.rank.estimate)]
    if not measured:
        return "No perturbation can be said to predict anything: " + (found[0].word if found else "none was run") + "."
    best = max(measured, key=lambda one: one.rank.estimate)
    sure = [one for one in measured if one.holm < 0.05 and one.rank.estimate > 0]
    subjects = max(one.subjects for one in measured)
    told = (
        f"Of {len(measured)} perturbations at their severities {len(sure)} surely rank{'s' * (len(sure) == 1)} these "
        f"{subjects} subjects as the hospital does; nearest comes {in_words(best.condition, inside=True)} "
        f"({cell(best.rank)})."
    )
    if math.isfinite(alone.estimate):
        told += (
            f" Their accuracy at home alone, without any stress, ranks them with {cell(alone)}: who has more can lose "
            "more, and a stress says something only beyond that."
        )
    return told + (
        f" {subjects} subjects are few: a perturbation that is not sure may still predict." * (subjects < FEW)
    )


@styled
def figure(drops: pd.DataFrame, found: Sequence[Validity]) -> Figure:
    """Draw measured against predicted drop, a point per subject, for the perturbations that rank best and worst."""
    measured = sorted((one for one in found if math.isfinite(one.rank.estimate)), key=lambda one: -one.rank.estimate)
    half = SHOWN - SHOWN // 3
    shown = measured if len(measured) <= SHOWN else [*measured[:half], *measured[-(SHOWN - half) :]]
    columns = min(3, max(1, len(shown)))
    rows = max(1, math.ceil(len(shown) / columns))
    drawn = Figure(figsize=(2.9 * columns, 2.7 * rows))
    axes = np.atleast_1d(drawn.subplots(rows, columns, sharey=True)).flatten()
    names = list(dict.fromkeys(drops["subject"]))
    for place, axis in enumerate(axes):
        if place >= len(shown):
            axis.set_visible(False)
            continue
        one = shown[place]
        mine = drops[drops["condition"] == one.condition]
        ends = [mine[["predicted", "measured"]].to_numpy().min(), mine[["predicted", "measured"]].to_numpy().max()]
        axis.plot(ends, ends, color=QUIET, linewidth=0.8, linestyle=(0, (4, 3)))
        for at, name in enumerate(names):
            of = mine[mine["subject"] == name]
            colour, _, marker = SERIES[at % len(SERIES)]
            low, high = (np.abs(of[end] - of["measured"]).to_numpy() for end in ("low", "high"))
            axis.errorbar(
                100 * of["predicted"], 100 * of["measured"], yerr=100 * np.stack([low, high]), color=colour,
                marker=marker, linestyle="none", elinewidth=0.7, label=name,
                fillstyle="none" if at >= len(SERIES) else "full",
            )  # fmt: skip
        axis.lines[0].set_data([100 * end for end in ends], [100 * end for end in ends])
        told = in_words(one.condition).replace(", severity", "\nseverity")
        axis.set_title(f"{told}, rank {number(one.rank.estimate)}", fontsize=8)
        axis.set_xlabel("drop under it, points")
    axes[0].set_ylabel("drop at the hospital, points")
    handles, labels = axes[0].get_legend_handles_labels()
    drawn.legend(handles, labels, loc="outside lower center", ncols=min(4, len(labels)), fontsize=8)
    return drawn


def cell(ends: Ends, *, in_points: bool = False) -> str:
    """Return a number with the ends of its interval as printed, a share in points where asked."""
    told = points if in_points else number
    if not math.isfinite(ends.estimate):
        return "—"
    if not math.isfinite(ends.low):
        return told(ends.estimate)
    return f"{told(ends.estimate)} ({told(ends.low)} to {told(ends.high)})"


def _part(hospital: str, found: Sequence[Validity], drops: Drops, picture: str) -> dict[str, object]:
    """Return what the page shows of one hospital."""
    mine = drops.table[drops.table["hospital"] == hospital].drop_duplicates(["report", "subject"])
    subjects = [
        {"subject": str(row["subject"]), "report": str(row["report"]),
         "lost there": cell(Ends(row["measured"], row["low"], row["high"]), in_points=True)}
        for row in mine.sort_values("measured").to_dict("records")
    ]  # fmt: skip
    return {
        "hospital": hospital, "told": sentence(found, no_stress(mine)), "reading": drops.readings.get(hospital, ""),
        "picture": picture,
        "subjects": as_table(pd.DataFrame(subjects)), "perturbations": over_subjects(found),
    }  # fmt: skip


def over_subjects(found: Sequence[Validity]) -> Table:
    """Return what each perturbation says of one hospital, the best rank correlation first."""
    order = sorted(found, key=lambda one: (not math.isfinite(one.rank.estimate), -one.rank.estimate))
    rows = [
        {
            "perturbation": in_words(one.condition), "subjects": one.subjects, "rank correlation": cell(one.rank),
            "foretold less lost (points)": cell(one.error, in_points=True), "slope": cell(one.slope),
            "p after Holm": number(one.holm), "so it": one.word,
        }
        for one in order
    ]  # fmt: skip
    return as_table(pd.DataFrame(rows))
