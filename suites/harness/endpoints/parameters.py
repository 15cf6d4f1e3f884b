"""What may a claim ask of an endpoint? Typed parameters, checked before anything is predicted; some name conditions.

An endpoint declares its parameters where it is registered::

    @endpoint("confusion_rate", parameters={"from": ClassName(), "towards": ClassName()})

A parameter without a default must be given. A claim with one that is missing, misspelt or of another type is refused in
one line when the run is built, and the conditions a run predicts are those that the parameters of its claims name.
"""

from __future__ import annotations

import math
from collections.abc import Iterable, Mapping
from dataclasses import dataclass, field
from difflib import get_close_matches
from typing import Any, ClassVar

from robustness.remedies import REMEDIES
from suites.harness.cohorts.external import ROLE as EXTERNAL
from suites.harness.cohorts.external import is_external
from suites.harness.cohorts.probes import ROLES
from suites.harness.errors import UsageProblem
from suites.harness.predictions.conditions import CLEAN, expand, parse

REQUIRED = object()
"""Stands for the default of a parameter that a claim must name."""


@dataclass(frozen=True)
class Parameter:
    """One parameter of an endpoint.

    Attributes:
        default: what an endpoint gets where the claim does not name the parameter; `REQUIRED` where it must.
        beside_verdict: whether what it names only stands beside the verdict: neither the effect, nor its p values, nor
            whether the claim is evaluable at all depend on it. A claim that is measured for the sake of Holm's
            correction alone goes without.
        words: what a value must be, for messages.
        thorough_only: whether what it names is predicted in the profiles standard and full only.
    """

    default: Any = REQUIRED
    beside_verdict: bool = field(default=False, kw_only=True)
    words: ClassVar[str] = "text"
    thorough_only: ClassVar[bool] = False

    @property
    def required(self) -> bool:
        """Whether a claim must name it."""
        return self.default is REQUIRED

    @property
    def expected(self) -> str:
        """What a value must be, in words."""
        return self.words

    def read(self, value: object) -> Any:  # noqa: ANN401 - the type is the parameter's own
        """Return the value as the endpoint takes it.

        Raises:
            ValueError: it is not of this type; the message says what was expected instead.
        """
        if not isinstance(value, str) or not value.strip():
            raise ValueError(f"expected {self.expected}")
        return value

    def conditions(self, value: Any, asked: Mapping[str, Any]) -> Iterable[str]:  # noqa: ANN401, ARG002
        """Return the conditions to predict because of this value, ranges not yet written out.

        Args:
            value: as returned by `read`, or the default.
            asked: all parameters of the claim, by name.
        """
        return ()

    def probe_conditions(self, value: Any) -> Iterable[str]:  # noqa: ANN401, ARG002
        """Return the conditions to predict on the films of probes because of this value, besides as they came."""
        return ()


def _nearest(value: object, known: Iterable[str]) -> str:
    near = get_close_matches(str(value), list(known), n=1, cutoff=0.6)
    return f"; the nearest is {near[0]!r}" if near else ""


@dataclass(frozen=True)
class ClassName(Parameter):
    """The name of a class; a subject that has none of that name cannot be judged, which is for the claim to say."""

    words = "the name of a class"


@dataclass(frozen=True)
class ClassNames(Parameter):
    """Names of classes, in the order of a table's rows."""

    words = "a list of names of classes"

    def read(self, value: object) -> list[str]:
        """Return the names."""
        if not isinstance(value, list) or not value or not all(isinstance(name, str) and name for name in value):
            raise ValueError(f"expected {self.expected}")
        if len(set(value)) < len(value):
            raise ValueError("expected each class once")
        return value


@dataclass(frozen=True)
class Counts(Parameter):
    """A square table of counts, rows the truth."""

    words = "a square table of whole numbers"

    def read(self, value: object) -> list[list[int]]:
        """Return the rows."""
        rows = value if isinstance(value, list) else []
        good = rows and all(isinstance(row, list) and len(row) == len(rows) for row in rows)
        if not good or not all(type(cell) is int and 0 <= cell < 2**53 for row in rows for cell in row):
            raise ValueError(f"expected {self.expected}, none negative")
        return rows


@dataclass(frozen=True)
class Number(Parameter):
    """A number between two ends, both allowed."""

    low: float = -math.inf
    high: float = math.inf

    @property
    def expected(self) -> str:
        """What a value must be, in words."""
        return "a number" if math.isinf(self.high) else f"a number from {self.low:g} to {self.high:g}"

    def read(self, value: object) -> float:
        """Return the number."""
        if isinstance(value, bool) or not isinstance(value, int | float) or not self.low <= value <= self.high:
            raise ValueError(f"expected {self.expected}")
        return float(value)


@dataclass(frozen=True)
class OneOf(Parameter):
    """One of a few texts or numbers."""

    options: tuple[str | float, ...] = ()

    @property
    def expected(self) -> str:
        """What a value must be, in words."""
        shown = [f"{option:g}" if isinstance(option, float) else option for option in self.options]
        return f"{', '.join(shown[:-1])} or {shown[-1]}" if len(shown) > 1 else shown[0]

    def read(self, value: object) -> str | float:
        """Return the option."""
        plain = float(value) if isinstance(value, int) and not isinstance(value, bool) and abs(value) < 2**53 else value
        if isinstance(plain, bool) or not isinstance(plain, str | float) or plain not in self.options:
            texts = [option for option in self.options if isinstance(option, str)]
            raise ValueError(f"expected {self.expected}{_nearest(value, texts)}")
        return plain


@dataclass(frozen=True)
class Role(Parameter):
    """The role of a probe."""

    @property
    def expected(self) -> str:
        """What a value must be, in words."""
        return f"the role of a probe ({', '.join(ROLES)})"

    def read(self, value: object) -> str:
        """Return the role."""
        if value not in list(ROLES):
            raise ValueError(f"expected {self.expected}{_nearest(value, ROLES)}")
        return str(value)


@dataclass(frozen=True)
class Hospital(Role):
    """The role of an external cohort; a claim that names none is asked of each that is given."""

    default: Any = EXTERNAL

    @property
    def expected(self) -> str:
        """What a value must be, in words."""
        return f"the role of an external cohort ({EXTERNAL}, {EXTERNAL}-2, ...)"

    def read(self, value: object) -> str:
        """Return the role."""
        if not isinstance(value, str) or not is_external(value):
            raise ValueError(f"expected {self.expected}")
        return value


@dataclass(frozen=True)
class Flag(Parameter):
    """Yes or no."""

    default: Any = False
    words = "true or false"

    def read(self, value: object) -> bool:
        """Return the flag."""
        if value is True or value is False:
            return value
        raise ValueError(f"expected {self.expected}")


@dataclass(frozen=True)
class Score(Parameter):
    """The name of a score of the calls, as `Answers.score` knows them."""

    NAMES: ClassVar[tuple[str, ...]] = (
        "accuracy", "balanced_accuracy", "false_positive_rate", "confident_share", "mean_confidence",
    )  # fmt: skip
    OF_A_CLASS: ClassVar[tuple[str, ...]] = ("recall_", "called_")

    @property
    def expected(self) -> str:
        """What a value must be, in words."""
        return f"a score: {', '.join((*self.NAMES, *(f'{start}<class>' for start in self.OF_A_CLASS)))}"

    def read(self, value: object) -> str:
        """Return the name."""
        of_a_class = isinstance(value, str) and any(
            value.removeprefix(start) not in {"", value} for start in self.OF_A_CLASS
        )
        if not isinstance(value, str) or not (value in self.NAMES or of_a_class):
            raise ValueError(f"expected {self.expected}{_nearest(value, self.NAMES)}")
        return value


@dataclass(frozen=True)
class ConditionName(Parameter):
    """One condition (see `suites.harness.predictions.conditions`); predicted."""

    words = "a condition, such as gamma_low@3"

    def read(self, value: object) -> str:
        """Return its canonical text."""
        if not isinstance(value, str) or not value.strip():
            raise ValueError(f"expected {self.expected}")
        return parse(value).text

    def conditions(self, value: Any, asked: Mapping[str, Any]) -> Iterable[str]:  # noqa: ANN401, ARG002
        """Return it."""
        return [value] if value else []


@dataclass(frozen=True)
class Conditions(Parameter):
    """Several conditions, a range such as `gamma_low@1-5` standing for its severities; predicted."""

    default: Any = ()
    words = "a list of conditions, such as gamma_low@1-5"

    def read(self, value: object) -> list[str]:
        """Return the texts; ranges are written out by whoever knows the profile."""
        if not isinstance(value, list) or not all(isinstance(text, str) for text in value):
            raise ValueError(f"expected {self.expected}")
        if not value and self.required:
            raise ValueError("expected at least one condition")
        expand(value)
        return value

    def conditions(self, value: Any, asked: Mapping[str, Any]) -> Iterable[str]:  # noqa: ANN401, ARG002
        """Return them."""
        return list(value)


@dataclass(frozen=True)
class FurtherConditions(Conditions):
    """Conditions that add detail; predicted in the profiles standard and full only."""

    thorough_only = True


@dataclass(frozen=True)
class Remedies(Parameter):
    """Remedies (`robustness.remedies`) of the condition that another parameter names; predicted after it, and alone."""

    default: Any = ()
    of: str = "condition"

    @property
    def expected(self) -> str:
        """What a value must be, in words."""
        return f"a list of remedies ({', '.join(REMEDIES)})"

    def read(self, value: object) -> list[str]:
        """Return the names."""
        names = [str(name) for name in value] if isinstance(value, list) else [str(value)]
        for name in names:
            if name not in REMEDIES:
                raise ValueError(f"expected {self.expected}{_nearest(name, REMEDIES)}")
        return names

    def conditions(self, value: Any, asked: Mapping[str, Any]) -> Iterable[str]:  # noqa: ANN401
        """Return each remedy on the clean film, and after the condition."""
        return [text for name in value for text in (name, f"{asked[self.of]} | {name}")]


@dataclass(frozen=True)
class Views(Parameter):
    """A remedy that answers several views of a film; predicted on clean films, the named condition and the probes.

    Costs a pass per view, so it runs in the profiles standard and full only.
    """

    thorough_only = True
    default: Any = ""
    of: str = "whiteout"

    @property
    def expected(self) -> str:
        """What a value must be, in words."""
        return f"a remedy ({', '.join(REMEDIES)})"

    def read(self, value: object) -> str:
        """Return the name."""
        if value not in list(REMEDIES):
            raise ValueError(f"expected {self.expected}{_nearest(value, REMEDIES)}")
        return str(value)

    def conditions(self, value: Any, asked: Mapping[str, Any]) -> Iterable[str]:  # noqa: ANN401
        """Return the views of clean films and of those under the condition."""
        return [value, f"{asked[self.of] or CLEAN} | {value}"] if value else []

    def probe_conditions(self, value: Any) -> Iterable[str]:  # noqa: ANN401
        """Return the views of a probe's films."""
        return [value] if value else []


def read_all(
    declared: Mapping[str, Parameter], given: Mapping[str, object], *, where: str, beside: Iterable[str] = ()
) -> dict[str, Any]:
    """Return every declared parameter by name, typed, defaults filled in.

    Args:
        declared: by an endpoint.
        given: by a claim.
        where: how a message begins (`claim classes.mine (endpoint 'confusion_rate')`).
        beside: further names a claim may have meant, those of its own fields.

    Raises:
        UsageProblem: one is missing, unknown or of another type; one line with what is known.
    """
    known = ", ".join(declared) or "none"
    for name in given:
        if name not in declared:
            shown = name[:40] if name.isprintable() else repr(name[:40])
            raise UsageProblem(
                f"{where} has no parameter `{shown}`{_nearest(name, (*declared, *beside))}; it takes: {known}"
            )
    found: dict[str, Any] = {}
    for name, parameter in declared.items():
        if name not in given:
            if parameter.required:
                raise UsageProblem(f"{where} needs `{name}`, {parameter.expected}; it takes: {known}")
            found[name] = parameter.default
            continue
        try:
            found[name] = parameter.read(given[name])
        except (ValueError, UsageProblem) as problem:
            shown = repr(given[name])
            shown = shown if len(shown) <= 60 else f"{shown[:57]}..."
            raise UsageProblem(f"{where}: `{name}` is {shown}: {problem}") from problem
    return found
