"""Which claims can so many patients not settle? The interval to expect, beside the margin, before any prediction.

An estimate for planning, by the formulas of textbooks, from nothing but the number of patients in each class. A claim
counts as open when an effect of none, as well as one of twice the margin (for a rate: no film at all, or all), would
still lie within a 95 % interval's half-width of the margin. Assumed are: films of one patient count once; a rate varies
as at its margin (binomial); of comparisons one call in ten differs between the two (`CHANGED`, McNemar 1947), recalls
are near 90 %, and an AUROC varies as at its margin (Hanley & McNeil 1982, 10.1148/radiology.143.1.7063747). Holm's
correction, which asks for more, is left out. Claims on sizes without a planning figure are left out, too.
"""

from __future__ import annotations

import math
from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass
from typing import Any

from suites.harness.claims import Claim
from suites.harness.cohorts.layouts.labels import NORMAL

Z = 1.959964
"""Standard normal quantile of a 95 % interval."""
CHANGED = 0.1
"""Share of calls that are taken to differ in a comparison of the same films."""
RECALL = 0.9
"""Recall that is taken where two classes are compared."""


@dataclass(frozen=True)
class Group:
    """Films that a subject will be asked about.

    Attributes:
        patients: class as the subject spells it -> patients; their films are labelled.
        everyone: patients of all films, each counted once.
        films: of all of them.
        healthy: the class of films that show nothing, or not the finding.
    """

    patients: Mapping[str, int]
    everyone: int
    films: int
    healthy: str = NORMAL

    def among(self, *names: str) -> list[int]:
        """Return the patients of some classes, 0 for one that has no film."""
        return [self.patients.get(name, 0) for name in names]


@dataclass(frozen=True)
class Precision:
    """What an interval of a claim will come to.

    Attributes:
        claim: its id.
        half_width: of the interval to expect.
        distance: from the margin to an effect of none.
        patients: it rests on.
        finding: that it is asked about, of a subject of several; else empty.
    """

    claim: str
    half_width: float
    distance: float
    patients: int
    finding: str = ""

    @property
    def named(self) -> str:
        """The claim, and of which finding."""
        return f"{self.claim} of {self.finding}" if self.finding else self.claim

    @property
    def open(self) -> bool:
        """Whether so many patients cannot settle it, unless the effect is larger than twice its margin."""
        return not self.half_width <= self.distance

    @property
    def wanted(self) -> int | None:
        """About how many patients, in the same proportions, would settle it, in two digits; None where none would."""
        if not self.distance or not self.patients or not math.isfinite(self.half_width):
            return None
        exact = self.patients * (self.half_width / self.distance) ** 2
        step = int(10 ** max(0, len(str(math.ceil(exact))) - 2))
        return math.ceil(exact / step) * step


def rate(parts: Sequence[int], at: float) -> float:
    """Return the half-width of the plain mean of rates over parts of so many patients, each rate near `at`."""
    spread = max(at * (1 - at), 0.0)
    return _mean_of([spread] * len(parts), parts)


def paired(parts: Sequence[int]) -> float:
    """Return the half-width of the plain mean of paired differences over parts of so many patients."""
    return _mean_of([CHANGED] * len(parts), parts)


def gap(first: int, second: int) -> float:
    """Return the half-width of a difference of recalls of two classes."""
    return 2 * _mean_of([RECALL * (1 - RECALL)] * 2, (first, second))


def auroc(first: int, second: int, at: float) -> float:
    """Return the half-width of an AUROC near `at` between so many patients of either side."""
    if not first or not second:
        return math.inf
    one, two = at / (2 - at), 2 * at**2 / (1 + at)
    spread = at * (1 - at) + (second - 1) * (one - at**2) + (first - 1) * (two - at**2)
    return Z * math.sqrt(max(spread, 0.0) / (first * second))


def _mean_of(spreads: Sequence[float], parts: Sequence[int]) -> float:
    if not parts or not all(parts):
        return math.inf
    total = sum(spread / count for spread, count in zip(spreads, parts, strict=True))
    return Z * math.sqrt(total) / len(parts)


def precision(
    claim: Claim, asked: Mapping[str, Any], groups: Mapping[str, Group], limits: Mapping[str, int]
) -> Precision | None:
    """Return what to expect of a claim's interval, None where there is no planning figure for it.

    Args:
        claim: about a subject.
        asked: its parameters, defaults filled in.
        groups: role (`main`, a probe's) -> its films.
        limits: endpoint -> films at most that it looks at in this profile.
    """
    rule = RULES.get(claim.endpoint)
    main = groups["main"]
    if rule is None or (asked.get("role") or asked.get("hospital") or "main") not in groups:
        return None
    half_width, distance, patients = rule(claim, asked, groups)
    shown = min(1.0, limits.get(claim.endpoint, main.films) / main.films) if main.films else 1.0
    return Precision(claim.id, half_width / math.sqrt(shown), distance, round(patients * shown))


Found = tuple[float, float, int]
Rule = Callable[[Claim, Mapping[str, Any], Mapping[str, Group]], Found]


def _to_an_end(margin: float) -> float:
    return min(margin, 1 - margin)


def _parts(measure: str, main: Group, truth: str = "") -> list[int]:
    """Return the patients of the parts that a score is the mean of."""
    if truth:
        return main.among(truth)
    if measure == "balanced_accuracy":
        return list(main.patients.values())
    if measure == "false_positive_rate":
        return main.among(main.healthy)
    if measure.startswith("recall_"):
        return main.among(measure.removeprefix("recall_"))
    return [main.everyone]


def _score(claim: Claim, asked: Mapping[str, Any], groups: Mapping[str, Group]) -> Found:
    parts = _parts(asked["measure"], groups["main"])
    return rate(parts, claim.margin), _to_an_end(claim.margin), sum(parts)


def _stress(claim: Claim, asked: Mapping[str, Any], groups: Mapping[str, Group]) -> Found:
    parts = _parts(asked["measure"], groups["main"], asked["truth"])
    return paired(parts), abs(claim.margin), sum(parts)


def _worst_class(claim: Claim, _: Mapping[str, Any], groups: Mapping[str, Group]) -> Found:
    fewest = min(groups["main"].patients.values(), default=0)
    return paired([fewest]), abs(claim.margin), sum(groups["main"].patients.values())


def _gap(claim: Claim, asked: Mapping[str, Any], groups: Mapping[str, Group]) -> Found:
    first, second = groups["main"].among(asked["better"], asked["worse"])
    return gap(first, second), abs(claim.margin), first + second


def _share(of: Callable[[Mapping[str, Any], Mapping[str, Group]], int]) -> Rule:
    def rule(claim: Claim, asked: Mapping[str, Any], groups: Mapping[str, Group]) -> Found:
        patients = of(asked, groups)
        return rate([patients], claim.margin), _to_an_end(claim.margin), patients

    return rule


def _white(asked: Mapping[str, Any], groups: Mapping[str, Group]) -> int:
    main = groups["main"]
    if asked["truth"]:
        return main.among(asked["truth"])[0]
    return sum(count for name, count in main.patients.items() if name != asked["other_than"])


def _side(asked: Mapping[str, Any], groups: Mapping[str, Group]) -> int:
    main = groups["main"]
    healthy = main.among(main.healthy)[0]
    return healthy if asked["side"] == "specificity" else sum(main.patients.values()) - healthy


def _apart(claim: Claim, asked: Mapping[str, Any], groups: Mapping[str, Group]) -> Found:
    near, far = groups["main"].everyone, groups[asked["role"]].everyone
    return auroc(near, far, claim.margin), _to_an_end(claim.margin), near + far


def _hospitals(claim: Claim, asked: Mapping[str, Any], groups: Mapping[str, Group]) -> Found:
    near, far = groups["main"].everyone, groups[asked["hospital"]].everyone
    return gap(near, far), abs(claim.margin), near + far


def _calibration(claim: Claim, _: Mapping[str, Any], groups: Mapping[str, Group]) -> Found:
    everyone = groups["main"].everyone
    return rate([everyone], RECALL), abs(claim.margin), everyone


_EVERYONE = _share(lambda _, groups: groups["main"].everyone)
RULES: Mapping[str, Rule] = {
    "score": _score,
    "stress": _stress,
    "recall_of_every_class": _worst_class,
    "recall_gap": _gap,
    "confusion_rate": _share(lambda asked, groups: groups["main"].among(asked["from"])[0]),
    "called_whatever_the_cause": _share(_white),
    "operating_point": _share(_side),
    "confident_on_probe": _share(lambda asked, groups: groups[asked["role"]].everyone),
    "probe_detection": _apart,
    "calibration_error": _calibration,
    "external_drop": _hospitals,
    "external_standardised": _hospitals,
    **dict.fromkeys(
        (
            "disagreement", "flip_rate", "confident_whatever_the_cause", "selective", "conformal_coverage",
            "missed_findings", "robust_accuracy", "universal_pattern", "border_flips",
        ),
        _EVERYONE,
    ),
}  # fmt: skip
"""Endpoint -> half-width to expect, distance from the margin to an effect of none, patients."""
WITHOUT = frozenset(
    {"temperature", "looks_at_lesion", "looks_off_the_lung", "looks_at_border", "map_moves",
     "map_goes_with_the_weights", "underdiagnosis_gap", "auroc_gap", "calibration_gap", "stress_gap", "found_slice",
     "features_tell_groups", "external_auroc", "external_threshold", "external_confidence"}
)  # fmt: skip
"""Endpoints about a subject for which there is no planning figure: their spread is known only once it is measured."""
