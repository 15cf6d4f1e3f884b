"""What real film does a perturbed one look like, and what gives it away? Words and measured numbers for its card.

`beside_real.toml` has the words, by perturbation; `beside_real.csv` what `tests/benchmarks/beside_real.py` measures: a
statistic on films as taken, perturbed at three severities, and real. No film is shown or stored. A perturbation of
which neither tells may do so in its docstring ("Looks like: ...", "Differs from: ..."; see `card`).
"""

from __future__ import annotations

import csv
import functools
import tomllib
from collections.abc import Mapping
from pathlib import Path

WORDS = Path(__file__).with_name("beside_real.toml")
MEASURED = Path(__file__).with_name("beside_real.csv")
MEASURED_AT = (1, 3, 5)
"""Severities that are measured."""
LIES = (
    ("inside", "within nine in ten of those films"),
    ("within all", "outside them but not of all real films measured"),
    ("beyond", "beyond 98 in 100 of all real films measured"),
)
"""Where the median of a severity lies among real films, by verdict."""


def likeness(name: str, version: int) -> Mapping[str, str]:
    """Parts of a card, "looks_like" and "differs_from": words, and numbers where they were measured.

    Args:
        name: of the perturbation.
        version: of it; numbers of another version are not quoted.

    Returns:
        Nothing where nobody wrote about it.
    """
    words = _words().get(name)
    if words is None:
        return {}
    rows = _measured().get(name, [])
    told = dict(words)
    if any(int(row["version"]) != version for row in rows):
        told["looks_like"] += f" Not measured since version {rows[0]['version']}."
        return told
    for row in rows:
        told["looks_like"] += f" {_beside(row)}"
        told["differs_from"] += f" {_verdict(row)}"
    return told


def measured_rows(name: str, version: int) -> list[Mapping[str, str]]:
    """What was measured of this version of a perturbation beside real films, a row for each statistic."""
    return [row for row in _measured().get(name, []) if int(row["version"]) == version]


def _beside(row: Mapping[str, str]) -> str:
    """Numbers of one statistic, as a sentence."""
    of = f" ({row['unit']})" if row["unit"] else ""
    made = ", ".join(f"{float(row[f'severity {severity}']):g}" for severity in MEASURED_AT)
    low, middle, high = (f"{float(row[key]):g}" for key in ("beside 5 %", "beside median", "beside 95 %"))
    return (
        f"Measured, {row['statistic']}{of}: {float(row['taken']):g} as taken ({row['films']} films: {row['start']}), "
        f"{made} at severities 1, 3, 5; {row['beside']} {middle}, nine in ten of {row['beside films']} between {low} "
        f"and {high}."
    )


def _verdict(row: Mapping[str, str]) -> str:
    """Where the medians of the severities lie, as a sentence."""
    at = {word: [str(s) for s in MEASURED_AT if row[f"verdict {s}"] == word] for word, _ in LIES}
    parts = "; ".join(f"at severity {', '.join(at[word])} {where}" for word, where in LIES if at[word])
    return f"In the {row['statistic']} it lies {parts}."


@functools.cache
def _words() -> Mapping[str, Mapping[str, str]]:
    with WORDS.open("rb") as file:
        return tomllib.load(file)


@functools.cache
def _measured() -> Mapping[str, list[dict[str, str]]]:
    found: dict[str, list[dict[str, str]]] = {}
    with MEASURED.open(newline="", encoding="utf-8") as file:
        for row in csv.DictReader(file):
            found.setdefault(row["perturbation"], []).append(row)
    return found
