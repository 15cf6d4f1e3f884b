"""Whose temperature is it, and which films has it seen? A fitted temperature as a small file.

The temperature belongs to the logits of the weights themselves. A run on a subject that already carries one writes the
product, so a file never has to be applied on top of another.
"""

from __future__ import annotations

import hashlib
import json
import math
from collections.abc import Mapping
from dataclasses import MISSING, asdict, dataclass, fields
from pathlib import Path
from typing import Any

import pandas as pd

from suites.harness.errors import UsageProblem, reason
from suites.harness.foreign_file import read_text
from suites.harness.strict_json import check, parse_json

SCHEMA = "temperature/1"
DIGITS = 10
"""Hexadecimal digits kept of a film's digest: two of a million films collide with a chance below one in two."""


@dataclass(frozen=True, kw_only=True)
class FittedTemperature:
    """One temperature with what a user must know before relying on it.

    Attributes:
        temperature: T > 0, the logits of the weights are divided by it; `low`, `high` its 95 % interval over patients.
        subject: name of the subject it was fitted for; `sha256` of its weights, `classes` in the order of its logits.
        preprocessing: name of the recipe under which it answered.
        cohort: name of the films it was fitted on; `fingerprint` of that cohort, `films` their number, `patients`
            theirs.
        nll_before: log loss of these films at T = 1; `nll_after` at T; both on the films of the fit.
        seen: one digest per film of the fit (id, label, patient), so that a later run knows them again.
        answers: logits of the weights to fixed patterns (`output_scale.pattern_logits`), so that the same weights under
            another normalisation or activation are told apart; empty for a service, and in files that never had it.
        recipe: everything that decides the pixels of that recipe, as one SHA-256 (`recipe_digest` of `subject`), so
            that two of one name are told apart; empty in files that never had it.
        temperatures: of a subject of several findings, one for each of its logits, where each has its own; a finding
            that none could be fitted for has the one for all. Empty where `temperature` divides all logits.
    """

    temperature: float
    low: float
    high: float
    subject: str
    sha256: str
    classes: tuple[str, ...]
    preprocessing: str
    cohort: str
    fingerprint: str
    films: int
    patients: int
    nll_before: float
    nll_after: float
    seen: tuple[str, ...]
    answers: tuple[float, ...] = ()
    recipe: str = ""
    temperatures: tuple[float, ...] = ()

    def __post_init__(self) -> None:
        if not _number(self.temperature) or self.temperature <= 0:
            raise UsageProblem(f"a temperature is a positive number, not {self.temperature!r}")
        if not (_number(self.low) and _number(self.high) and 0 < self.low <= self.temperature <= self.high):
            raise UsageProblem(
                f"the interval {self.low!r} to {self.high!r} does not hold the temperature {self.temperature:g}"
            )
        if self.temperatures and len(self.temperatures) != len(self.classes):
            raise UsageProblem(f"{len(self.temperatures)} temperatures for {len(self.classes)} logits; one is for each")
        if wrong := [one for one in self.temperatures if not _number(one) or one <= 0]:
            raise UsageProblem(f"a temperature is a positive number, not {wrong[0]!r}")

    @property
    def divisors(self) -> tuple[float, ...]:
        """(K,) what each logit of the weights is divided by."""
        return self.temperatures or (self.temperature,) * len(self.classes)

    def text(self) -> str:
        """Return the file's content: JSON, floats to the last bit."""
        return json.dumps({"schema": SCHEMA, **asdict(self)}, indent=1, allow_nan=False) + "\n"

    def known(self, films: pd.DataFrame) -> int:
        """Return how many of these films (columns `id`, `label`, `patient`) the temperature was fitted on."""
        return len(set(self.seen) & set(digests(films)))


def digests(films: pd.DataFrame) -> list[str]:
    """Return one short digest per film from the columns `id`, `label`, `patient`, in their order."""
    columns = (films[name].astype(str) for name in ("id", "label", "patient"))
    return [hashlib.sha256("\x1f".join(row).encode()).hexdigest()[:DIGITS] for row in zip(*columns, strict=True)]


def read_temperature(path: Path) -> FittedTemperature:
    """Read a file that a run wrote.

    Raises:
        UsageProblem: it cannot be read, is of another schema, incomplete, or holds no usable temperature.
    """
    try:
        document = parse_json(read_text(path))
    except (OSError, ValueError) as problem:
        raise UsageProblem(f"cannot read the temperature file {path}: {reason(problem)}") from problem
    found = document.pop("schema", None) if isinstance(document, dict) else None
    if found != SCHEMA:
        raise UsageProblem(
            f"{path}: schema {repr(found)[:40]}, but this version reads {SCHEMA!r} (temperature-*.json of a report)"
        )
    try:
        check(document, _CONTENT)
    except ValueError as problem:
        raise UsageProblem(f"{path}: not a complete temperature file ({problem})") from problem
    listed = {key: tuple(document.get(key, ())) for key in ("classes", "seen", "answers", "temperatures")}
    known = {field.name for field in fields(FittedTemperature)}
    try:
        return FittedTemperature(**{key: value for key, value in document.items() if key in known} | listed)
    except UsageProblem as problem:
        raise UsageProblem(f"{path}: {problem}") from problem


def _number(value: object) -> bool:
    return isinstance(value, int | float) and not isinstance(value, bool) and math.isfinite(value)


_TEXT = {"type": "string", "maxLength": 4096, "description": "text"}
_TEXTS = {"type": "array", "items": _TEXT, "description": "a list of texts"}
_NUMBER = {"type": "number", "description": "a number"}
_NUMBERS = {"type": "array", "items": _NUMBER, "description": "a list of numbers"}
_COUNT = {"type": "integer", "minimum": 0, "description": "a number of films or patients"}
_CONTENT: Mapping[str, Any] = {
    "type": "object",
    "required": [field.name for field in fields(FittedTemperature) if field.default is MISSING],
    "properties": {
        **dict.fromkeys(("subject", "sha256", "preprocessing", "cohort", "fingerprint", "recipe"), _TEXT),
        **dict.fromkeys(("temperature", "low", "high", "nll_before", "nll_after"), _NUMBER),
        **dict.fromkeys(("films", "patients"), _COUNT),
        **dict.fromkeys(("classes", "seen"), _TEXTS),
        **dict.fromkeys(("answers", "temperatures"), _NUMBERS),
    },
}
