"""What does the section "Comparison" show? Pairs of subjects on clean films and under stress, as text and pictures."""

from __future__ import annotations

import math
from collections.abc import Sequence
from dataclasses import asdict, dataclass
from functools import partial
from itertools import groupby
from pathlib import Path
from typing import Any

import pandas as pd

from suites.harness.counts import counted
from suites.harness.formatting.wording import ends, number, opened, p_value, plain_name, slug, stress
from suites.harness.performance.paired_comparison import Pair
from suites.harness.report import pictures
from suites.harness.report.forest_plot import drawable, forest_plot
from suites.harness.report.pictures import Picture
from suites.harness.report.table import Table, as_table
from suites.harness.stress_grid.paired import PairedHarm, PairUnderStress
from suites.harness.stress_grid.relative import RelativeScore

FILE = (
    "comparison.csv",
    "paired differences between subjects, clean and under every stress, with intervals and Holm p",
)


@dataclass(frozen=True, kw_only=True)
class PairPart:
    """What the section shows of one pair.

    Attributes:
        sentences: what was found, a reader in a hurry reads the first two; `note`: what to make of a test and an
            interval that say different things, empty where they agree.
        clean, stressed: the numbers behind them.
    """

    title: str
    sentences: list[str]
    note: str
    clean: Table
    stressed: Table


@dataclass(frozen=True, kw_only=True)
class ComparisonSection:
    """The whole section: one forest plot per subject that others are held against, then every pair."""

    forests: list[Picture]
    pairs: list[PairPart]


def write_comparison(pairs: Sequence[Pair], stressed: Sequence[PairUnderStress], folder: Path) -> ComparisonSection:
    """Write the section's table and pictures into a report's folder; return what the template shows."""
    comparison_table(pairs, stressed).to_csv(folder / FILE[0], index=False)
    forests = []
    ends = [abs(end) for pair in stressed for harm in pair.harms for end in (harm.low, harm.high) if math.isfinite(end)]
    reach = 1.05 * max(ends, default=0.1)
    for first, found in groupby(filter(drawable, stressed), key=lambda pair: pair.first):
        title = f"What each stress costs {first} against {'another subject' if len(stressed) == 1 else 'the others'}"
        draw = partial(forest_plot, list(found), reach)
        forests.append(pictures.store(draw, folder, f"comparison.{slug(first)}", title))
    by_names = {(pair.first, pair.second): pair for pair in stressed}
    parts = [_part(pair, by_names.get((pair.first, pair.second))) for pair in pairs]
    return ComparisonSection(forests=forests, pairs=parts)


def comparison_document(pairs: Sequence[Pair], stressed: Sequence[PairUnderStress]) -> list[dict[str, Any]]:
    """Return the pairs as results.json holds them: every difference is first minus second."""
    by_names = {(pair.first, pair.second): pair for pair in stressed}
    return [
        {
            **{key: value for key, value in asdict(pair).items() if key != "measures"},
            "clean": [asdict(measure) for measure in pair.measures],
            "disagreement": pair.disagreement,
            "stress": [asdict(harm) | {"settled": harm.settled} for harm in under.harms] if under else [],
            "corruption_error": [
                {key: getattr(score, key) for key in ("name", "subject", "reference", "value", "low", "high")}
                for score in (under.corruption_error if under else ())
            ],
        }
        for pair in pairs
        for under in [by_names.get((pair.first, pair.second))]
    ]


def comparison_table(pairs: Sequence[Pair], stressed: Sequence[PairUnderStress]) -> pd.DataFrame:
    """Return comparison.csv: one row per pair and measure, of clean films first, then of each perturbation."""
    columns = ["first", "second", "measure", "perturbation", "severities", "first_value", "second_value", "difference",
               "low", "high", "p", "p_holm", "films", "patients", "reason"]  # fmt: skip
    rows: list[dict[str, object]] = []
    for pair in pairs:
        names = {"first": pair.first, "second": pair.second, "patients": pair.patients}
        rows += [
            names | {
                "measure": measure.measure, "perturbation": "clean", "first_value": measure.first,
                "second_value": measure.second, "difference": measure.difference, "low": measure.low,
                "high": measure.high, "films": measure.films, "patients": measure.patients,
            }
            for measure in pair.measures
        ]  # fmt: skip
        tests = {"mcnemar_exact": pair.mcnemar, "sign_flip_over_patients": pair.sign_flip}
        rows += [
            names | {"measure": name, "perturbation": "clean", "p": p, "films": pair.films} for name, p in tests.items()
        ]
    for under in stressed:
        for harm in under.harms:
            rows.append({
                "first": under.first, "second": under.second, "measure": "loss_of_balanced_accuracy",
                "perturbation": harm.perturbation, "severities": " ".join(map(str, harm.severities)),
                "first_value": harm.first, "second_value": harm.second, "difference": harm.difference,
                "low": harm.low, "high": harm.high, "p": harm.p, "p_holm": harm.holm, "films": harm.films,
                "patients": harm.patients, "reason": harm.reason,
            })  # fmt: skip
    return pd.DataFrame(rows, columns=columns)


def _part(pair: Pair, under: PairUnderStress | None) -> PairPart:
    sentences = [_on_clean(pair)]
    if under is not None:
        sentences += [_under_stress(under), *map(_relative, under.corruption_error)]
    return PairPart(
        title=f"{pair.first} against {pair.second}",
        sentences=[sentence for sentence in sentences if sentence],
        note=pair.disagreement,
        clean=as_table(_clean_table(pair)),
        stressed=as_table(_stress_table(under) if under else pd.DataFrame()),
    )


def _on_clean(pair: Pair) -> str:
    found = pair.accuracy
    if found is None:
        return ""
    span = f"{number(found.difference, 'points')}, 95 % interval {ends(found.low, found.high, 'points')}"
    who = pair.first if found.difference > 0 else pair.second
    head = f"On clean films {who} is right more often" if found.settled else "On clean films no difference is shown"
    return (
        f"{head}: accuracy {number(found.first, 'share')} against {number(found.second, 'share')} ({span}; "
        f"{pair.first} alone is right on {counted(pair.only_first, 'film')}, {pair.second} alone on "
        f"{counted(pair.only_second, 'film')})."
    )


def _under_stress(under: PairUnderStress) -> str:
    said = []
    for name in (under.first, under.second):
        worse = under.worse(name)
        if worse:
            told = ", ".join(
                f"{stress(harm.perturbation)} ({number(abs(harm.difference), 'points').removeprefix('+')})"
                for harm in worse[:4]
            )
            more = f" and {len(worse) - 4} more" if len(worse) > 4 else ""
            said.append(f"{len(worse)} of {_tested(under)} stresses surely cost {name} more: {told}{more}.")
    return " ".join(said) or f"None of {_tested(under)} stresses surely costs one of them more than the other."


def _tested(under: PairUnderStress) -> int:
    return sum(math.isfinite(harm.holm) for harm in under.harms)


def _relative(score: RelativeScore) -> str:
    if not math.isfinite(score.value):
        return ""
    span = f" ({ends(score.low, score.high)})" if math.isfinite(score.low) else ", no interval"
    surely = math.isfinite(score.low) and not score.low <= 1 <= score.high
    way = ("less" if score.value < 1 else "more") if surely else ""
    means = f"{score.subject} surely errs {way}" if way else "which of them errs less is not settled"
    what = "errors" if score.name == "mCE" else "errors added by stress"
    return (
        f"{opened(score.name)}, {what} relative to {score.reference} (1 is as many, less is better): "
        f"{number(score.value)}{span}, {means}."
    )


def _clean_table(pair: Pair) -> pd.DataFrame:
    return pd.DataFrame([
        {
            "measure": plain_name(one.measure), pair.first: number(one.first, "share"),
            pair.second: number(one.second, "share"), "difference": number(one.difference, "points"),
            "95 % interval": ends(one.low, one.high, "points"), "films": one.films,
        }
        for one in pair.measures
    ])  # fmt: skip


def _stress_table(under: PairUnderStress) -> pd.DataFrame:
    """Return the perturbations as text, the surest differences first."""

    def place(harm: PairedHarm) -> tuple[bool, float]:
        return not math.isfinite(harm.low), harm.holm if math.isfinite(harm.holm) else 2.0

    return pd.DataFrame([
        {
            "stress": stress(one.perturbation) + (" (control)" if one.family == "control" else ""),
            "severities": ", ".join(map(str, one.severities)),
            f"costs {under.first}": number(one.first, "points"),
            f"costs {under.second}": number(one.second, "points"),
            "difference": number(one.difference, "points"),
            "95 % interval": ends(one.low, one.high, "points") if math.isfinite(one.low) else one.reason,
            "Holm p": p_value(one.holm),
        }
        for one in sorted(under.harms, key=place)
    ])  # fmt: skip
