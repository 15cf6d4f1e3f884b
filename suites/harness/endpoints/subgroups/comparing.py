"""How much worse is a group off than all others, raw and with both sides of one mix? Paired on resamples of patients.

Every group is held against all others of whom the same is recorded. What is judged is the largest gap of any group, its
low end and p value corrected for how many there are (`statistics.Largest`); that it is small is concluded only where
the interval of every group lies below the margin. Whatever else these films leave open stays open: "no difference is
shown" is no finding of equality, so the smallest gap that would have shown stands beside each.
"""

from __future__ import annotations

import math
from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass, replace
from functools import cached_property

import numpy as np
import numpy.typing as npt
import pandas as pd
from scipy.special import ndtri

from suites.harness import statistics
from suites.harness.claims import Claim, Measure, Result, Unit
from suites.harness.endpoints import headroom
from suites.harness.endpoints.registry import beyond, measured, within
from suites.harness.endpoints.spoken import finding as asked_about
from suites.harness.endpoints.subgroups.groups import FEWEST, Films, Group, Groups, kinds_of_film, one_mix, patients
from suites.harness.endpoints.subgroups.statistic import Side, Statistic, all_sampled
from suites.harness.errors import NotEvaluable
from suites.harness.formatting.cells import NONE, cell, points, whole_percent
from suites.harness.formatting.wording import number as plain_number
from suites.harness.formatting.wording import opened, p_value
from suites.harness.predictions.answers import Answers
from suites.harness.statistics import Largest, Sampled, difference

Sides = tuple[Side, Side]
"""The films of a group and those of all others."""
POWER = 0.8
BEYOND, REACHED = float(ndtri(0.5 + statistics.LEVEL / 2)), float(ndtri(POWER))
"""Normal scores of the level and of the power."""
_LEAST = 1e-9


@dataclass(frozen=True)
class Compared:
    """A group beside all others.

    Attributes:
        group: which.
        values: of the group and of the others.
        gap: how much worse the group is off.
        standardised: the same with both sides of one mix, None where they have no kind of film in common.
        covered: share of the films that `standardised` rests on.
        counted: films and patients of the group that the measure counts.
    """

    group: Group
    values: tuple[Sampled, Sampled]
    gap: Sampled
    standardised: Sampled | None
    covered: float
    counted: tuple[int, int]

    @property
    def detectable(self) -> float:
        """The gap that four of five such cohorts would show, at a two-sided level of 5 %, alone.

        By the width of the interval, which knows that nothing seen on few films is not nothing.
        """
        ends = self.gap.interval()
        return (ends.high - ends.low) / 2 * (BEYOND + REACHED) / BEYOND


@dataclass(frozen=True)
class LargestGap(Largest):
    """The largest gap of any group; its p values are those of its intervals at any level.

    A p value of resamples is never below one over their number, which times the number of groups would settle nothing.
    The ends of an interval are drawn out beyond the resamples (`calibration.accelerated`), so they are asked instead.
    """

    def p_above(self, margin: float) -> float:
        """Return the one-sided p of the hypothesis that no gap truly exceeds the margin."""
        return min(1.0, len(self.parts) * min(p_above(part, margin) for part in self.parts.values()))


def p_above(sampled: Sampled, margin: float) -> float:
    """Return `Sampled.p_above`, below one over the number of resamples by the ends of the interval."""
    p = sampled.p_above(margin)
    floor = 1 / (1 + len(sampled.replicates))
    if p > 1.001 * floor:
        return p
    least, most = math.log(_LEAST), math.log(floor)
    for _ in range(30):
        middle = (least + most) / 2
        clears = sampled.low_at(1 - 2 * math.exp(middle)) > margin
        least, most = (least, middle) if clears else (middle, most)
    return min(p, math.exp(most))


@dataclass(frozen=True)
class Gaps:
    """How a measure differs between each group and all others.

    Attributes:
        compared: by group, those that could be.
        without: group -> why it could not.
        groups: all of them.
    """

    compared: Mapping[str, Compared]
    without: Mapping[str, str]
    groups: Groups

    @cached_property
    def largest(self) -> LargestGap:
        """The largest raw gap."""
        return LargestGap({name: one.gap for name, one in self.compared.items()})

    @property
    def worst(self) -> Compared:
        """The group that is worst off."""
        return self.compared[self.largest.name]

    @property
    def tests(self) -> list[float]:
        """Return p of every group, Holm over all of them: that it is worse off at all."""
        return [float(p) for p in statistics.holm([p_above(one.gap, 0.0) for one in self.compared.values()])]


def compare(
    answers: Answers,
    groups: Groups,
    statistic: Statistic,
    *,
    counts: Callable[[Films], Mapping[str, Films]],
    rising: bool,
    bounds: tuple[float, float] = (0.0, 1.0),
    averaged: bool = True,
) -> Gaps:
    """Return how a measure differs between each group and all others.

    Args:
        answers: of the subject.
        groups: of films with a label and an answer.
        statistic: the measure.
        counts: from (N,) films to those of them that count, by what they are (`ill`, `healthy`), each of which must
            have ten patients on either side.
        rising: whether more of it is worse.
        bounds: the values that the measure can take.
        averaged: whether it is a mean over patients (see `Sampled`).

    Raises:
        NotEvaluable: no group has enough patients of every kind.
    """
    without: dict[str, str] = {}
    alike: dict[frozenset[str], npt.NDArray[np.int64]] = {}  # the same for most groups
    shown: list[tuple[Group, Sides, Sides | None, float]] = []
    for group in groups.shown:
        kinds = [counts(films) for films in (group.inside, group.outside)]
        if short := _short(answers, kinds):
            without[group.name] = short
            continue
        here, there = (np.logical_or.reduce(list(kind.values())) for kind in kinds)
        of_kind = frozenset(group.attributes) & {"view", "age"}  # see `kinds_of_film`
        if of_kind not in alike:
            alike[of_kind] = kinds_of_film(answers, groups, group)
        factor, covered = one_mix(alike[of_kind], here, there)
        even = [films & (factor > 0) for films in (here, there)]
        enough = covered > 0 and not _short(answers, [counts(films) for films in even])
        of_one_mix: Sides | None = ((even[0], factor), (even[1], factor)) if enough else None
        shown.append((group, ((here, None), (there, None)), of_one_mix, covered))
    if not shown:
        first, why = next(iter(without.items()))
        raise NotEvaluable(f"no group can be compared: {first} has {why}, {len(without)} groups in all")
    wanted = [side for _, raw, of_one_mix, _ in shown for side in (*raw, *(of_one_mix or ()))]
    found = iter(all_sampled(answers, wanted, statistic, bounds=bounds, averaged=averaged))

    def gap(sides: Sides) -> tuple[Sampled, Sampled, Sampled]:
        inside, outside = next(found), next(found)
        together = patients(answers, sides[0][0] | sides[1][0])
        apart = difference(inside, outside, together) if rising else difference(outside, inside, together)
        return inside, outside, apart

    compared = {}
    for group, raw, mixed, covered in shown:
        inside, outside, of_all = gap(raw)
        standardised = gap(mixed)[2] if mixed else None
        count = int(raw[0][0].sum()), inside.patients
        compared[group.name] = Compared(group, (inside, outside), of_all, standardised, covered, count)
    return Gaps(compared, without, groups)


def _short(answers: Answers, kinds: Sequence[Mapping[str, Films]]) -> str:
    """Return which kind of films has too few patients on one side; empty where all have enough."""
    for whose, kind in zip(("", "others with "), kinds, strict=True):
        for name, films in kind.items():
            if (count := patients(answers, films)) < FEWEST:
                number = "no" if not count else f"only {count}"
                return f"{whose}{number} {name} patient{'' if count == 1 else 's'}"
    return ""


@dataclass(frozen=True)
class Told:
    """How a measure and its gap are called.

    Attributes:
        gap: snake_case name of the effect.
        value: heading of the measure in the table.
        films: what the effect counts, in words.
        sentence: what `{group}` has more of than all others, by `{size}`.
        condition: of the measures.
        plain: whether it is a plain number and no share of films.
        kinds: what films of one mix are alike in.
    """

    gap: str
    value: str
    films: str
    sentence: str
    condition: str = "clean"
    plain: bool = False
    kinds: str = "class, view and age"

    def number(self, value: float) -> str:
        """Return a gap as it stands in a sentence."""
        return plain_number(value) if self.plain else points(value, signed=False)

    def sized(self, value: float) -> str:
        """Return the same with its unit."""
        return self.number(value) if self.plain else f"{self.number(value)} points"


def result(answers: Answers, claim: Claim, gaps: Gaps, told: Told, **more: object) -> Result:
    """Return the result of a claim about the largest gap, its sentences such that no silence reads as fairness."""
    if asked := asked_about(answers):
        told = replace(told, kinds=f"{asked}, view and age")
    largest, worst = gaps.largest, gaps.worst
    unit: Unit = "plain" if told.plain else "points"
    effect = replace(
        measured(told.gap, told.condition, largest, worst.counted[0], unit=unit), patients=worst.counted[1]
    )
    finding = _finding(gaps, told, effect, claim)
    return Result(
        effect=effect,
        p_beyond=beyond(largest, claim),
        p_within=within(largest, claim),
        headroom=[headroom.skill(answers)],
        caveat=f"the group is {worst.group.name}{_even(worst, told)}; nothing is said of groups that nobody recorded",
        films=told.films,
        measures=_measures(gaps, told),
        summary=" ".join(filter(None, (finding, _beside(gaps, told), _left_out(gaps)))),
        finding=finding,
        tables={"Every group against all others": table(gaps, told)},
        **more,  # type: ignore[arg-type] # further fields of a Result
    )


def _finding(gaps: Gaps, told: Told, effect: Measure, claim: Claim) -> str:
    """Return what is known of the largest gap: shown, excluded beyond the margin, or neither."""
    worst, span = gaps.worst, f"{told.number(effect.low)} to {told.number(effect.high)}"
    several = f", the largest of {len(gaps.compared)} comparisons" if len(gaps.compared) > 1 else ""
    size = f"{told.sized(effect.estimate)} ({span}{several})"
    where = told.sentence.format(group=worst.group.name, size=size)
    if effect.low > 0:
        return f"{opened(where)}."
    if effect.high < claim.margin:
        return f"{opened(where)}; gaps above {told.sized(claim.margin)} are excluded for every group compared."
    return f"{opened(where)}: no difference is shown, which does not mean that there is none."


def _beside(gaps: Gaps, told: Told) -> str:
    """Return what the gap is once both sides have one mix, and which gap these films would have shown."""
    worst = gaps.worst
    if worst.standardised is not None:
        ends = worst.standardised.interval()
        even = (
            f"With both sides of one mix of {told.kinds} it is {told.number(ends.estimate)} "
            f"({told.number(ends.low)} to {told.number(ends.high)}, over {whole_percent(worst.covered)} of the films)."
        )
    else:
        even = "It cannot be standardised: the two sides have too few films of a kind in common."
    smallest = min(one.detectable for one in gaps.compared.values())
    best = f", and of {told.sized(smallest)} for the one that is known best" if len(gaps.compared) > 1 else ""
    return f"{even} Four of five such cohorts would show a gap of {told.sized(worst.detectable)} for this group{best}."


def _even(worst: Compared, told: Told) -> str:
    if worst.standardised is None:
        return ""
    return f", with both sides of one mix of {told.kinds} {told.sized(worst.standardised.estimate)}"


def _left_out(gaps: Gaps) -> str:
    """Return which groups could not be compared, and which are not shown."""
    told = [f"{name} ({why})" for name, why in gaps.without.items()]
    shown = ", ".join(told[:3]) + (f" and {len(told) - 3} more" if len(told) > 3 else "")
    return " ".join(filter(None, (f"Not evaluable: {shown}." if told else "", gaps.groups.sentence)))


def _measures(gaps: Gaps, told: Told) -> list[Measure]:
    """Return the gap of every group, raw and standardised."""
    found = []
    for name, one in gaps.compared.items():
        for kind, gap in (("", one.gap), ("_standardised", one.standardised)):
            if gap is not None:
                unit: Unit = "plain" if told.plain else "points"
                condition = f"{told.condition}, {name}"
                found.append(replace(
                    measured(f"{told.gap}{kind}", condition, gap, one.counted[0], unit=unit), patients=one.counted[1]
                ))  # fmt: skip
    return found


def table(gaps: Gaps, told: Told) -> pd.DataFrame:
    """Return a row per group: its size, its value and the others', the gap raw and standardised, and what is open."""
    unit: Unit = "plain" if told.plain else "points"
    rows = []
    for (name, one), p in zip(gaps.compared.items(), gaps.tests, strict=True):
        inside, outside = (cell(value.interval(), "plain" if told.plain else "share") for value in one.values)
        standardised = cell(one.standardised.interval(), unit) if one.standardised is not None else NONE
        rows.append({
            "group": name, "films": one.counted[0], "patients": one.counted[1], told.value: inside, "others": outside,
            "gap (95 %)": cell(one.gap.interval(), unit), "standardised": standardised,
            "p, Holm": p_value(p), "gap these films would show": told.sized(one.detectable),
        })  # fmt: skip
    rows += [
        {"group": name, "films": NONE, "patients": NONE, told.value: f"not evaluable: {why}"}
        for name, why in gaps.without.items()
    ]
    return pd.DataFrame(rows).astype(object).fillna(NONE)
