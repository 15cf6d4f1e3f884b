"""What got significantly worse since a stored run, beyond a tolerance? The release gate.

Two kinds of comparison. Where both runs kept their predictions, the share of films answered right is compared
condition by condition, film by film, with a bootstrap over patients of the paired difference. And every claim's effect
is compared as two independent estimates, which for the same films is cautious: what they share makes the true
uncertainty smaller. Over all comparisons of a gate the chance of any false alarm is held at 5 % (Holm).
"""

from __future__ import annotations

import math
from collections.abc import Mapping, Sequence
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any

import numpy as np
import pandas as pd
from scipy import stats

from suites.harness.claims import Unit, Verdict
from suites.harness.claims_table import table_ids
from suites.harness.cohorts.cohort import Cohort
from suites.harness.cohorts.findings import NEGATIVE, POSITIVE, PREFIX
from suites.harness.errors import UsageProblem
from suites.harness.formatting.wording import condition_words, ends, number, p_equals, plain_name
from suites.harness.record import Record
from suites.harness.report import results
from suites.harness.report.stored_run import Run, of_record, stored
from suites.harness.statistics import Floats, Resamples, holm
from suites.harness.subjects.finding import ABSENT

TOLERANCE = 0.02
ALPHA = 0.05
UNJUDGED = Verdict.NOT_EVALUABLE.value
FORMER_EFFECTS = {"confusion_rate": "false_positive_rate", "called_normal": f"called_{ABSENT}"}
"""What an effect of a finding was called by earlier versions -> how its name begins now."""


@dataclass(frozen=True, kw_only=True)
class Change:
    """One comparison of a baseline number with the current one.

    Attributes:
        subject, what: of which subject, which claim or which score under which condition.
        before, after: the two estimates; `unit` says how they are printed.
        worsening: how much worse it got (positive is worse), with the ends `low` and `high` of its 95 % interval.
        tolerance: the worsening that is let pass; `p`: one-sided, Holm-adjusted, of a worsening within it.
        paired: film by film, or as independent estimates.
    """

    subject: str
    what: str
    unit: Unit
    before: float
    after: float
    worsening: float
    low: float
    high: float
    tolerance: float
    p: float
    paired: bool

    @property
    def fails(self) -> bool:
        """Whether it got worse beyond the tolerance, significantly after Holm's correction."""
        return self.low > self.tolerance and self.p <= ALPHA

    def __str__(self) -> str:
        of_shares = self.unit in ("share", "points", "width")
        points: Unit = "points" if of_shares else self.unit
        kind = "paired" if self.paired else "independent"
        return (
            f"{self.subject}: {self.what}: {number(self.before, self.unit)} before, "
            f"{number(self.after, self.unit)} now; worse by {number(self.worsening, points)} "
            f"({ends(self.low, self.high, points)}, {kind}, {p_equals(self.p)}; tolerance "
            f"{number(self.tolerance, points).removeprefix('+')})"
        )


@dataclass(frozen=True, kw_only=True)
class GateOutcome:
    """What a gate found.

    Attributes:
        changes: every comparison made, worst first.
        lost: what the baseline judged and this run did not: a check that vanished must not pass.
        renamed: `hardened compared with the baseline's fragile`, for each subject that has another name there.
        notes: what a reader must know (no paired comparison was possible, and why).
        part: whether it compared part of the claims only, this run or the baseline having judged no more.
    """

    changes: Sequence[Change]
    lost: Sequence[str] = ()
    part: bool = False
    renamed: Sequence[str] = ()
    notes: Sequence[str] = field(default_factory=tuple)

    @property
    def worsened(self) -> list[Change]:
        """The comparisons that fail the gate."""
        return [change for change in self.changes if change.fails]

    @property
    def passed(self) -> bool:
        """Whether nothing got significantly worse and nothing vanished."""
        return not self.worsened and not self.lost

    def lines(self) -> list[str]:
        """Return the outcome for a terminal."""
        verdict = ("passed" if self.passed else "FAILED") + (" on part of the claims" if self.part else "")
        lines = [
            f"release gate {verdict}: {len(self.worsened)} of {len(self.changes)} comparisons worse than tolerated"
        ]
        lines += [f"  another name: {told}" for told in self.renamed]
        lines += [f"  worse: {change}" for change in self.worsened]
        lines += [f"  no longer judged: {what}" for what in self.lost]
        return lines + [f"  note: {note}" for note in self.notes]


def compare_with_baseline(current: Record | Path, baseline: Path, *, tolerance: float = TOLERANCE) -> GateOutcome:
    """Compare a run with a stored one.

    Args:
        current: the record of the run, or an earlier report's folder or results.json.
        baseline: the folder of an earlier report (compared film by film), or only its results.json.
        tolerance: worsening let pass: absolute for rates and whatever lies in [-1, 1], a share of the baseline's
            size for other numbers (a temperature, a count).

    Raises:
        UsageProblem: the baseline is missing, of another schema, or speaks of other films, classes or subjects; the
            message says what differs.
    """
    if not (math.isfinite(tolerance) and tolerance >= 0):
        raise UsageProblem(f"the gate's tolerance must be a number >= 0, not {tolerance}")
    now = of_record(current) if isinstance(current, Record) else stored(current)
    then = stored(baseline)
    _refuse_other_films(now.document, then.document)
    names = _matched(now.document, then.document)
    raw, notes = _paired(now, then, names, tolerance)
    effects, lost, unasked = _effects(now.document, then.document, names, tolerance)
    raw += effects
    strange = [subject["name"] for subject in now.document["subjects"] if subject["name"] not in names]
    notes += [f"{name} is not compared: the baseline judged nobody of that name" for name in strange]
    notes += _otherwise_run(now.document, then.document)
    parts = {"this run": results.part_of(now.document), "the baseline": results.part_of(then.document)}
    notes += [f"{whose} is {part}" for whose, part in parts.items() if part]
    notes += [f"{unasked} that the baseline judged are not compared: this run did not ask for them"] * bool(unasked)
    adjusted = holm([change.p for change in raw])
    changes = [Change(**(vars(change) | {"p": float(p)})) for change, p in zip(raw, adjusted, strict=True)]
    changes.sort(key=lambda change: (not change.fails, change.p, -change.worsening))
    renamed = [
        f"{name} compared with the baseline's {other}{_same_weights(now.document, name, then.document, other)}"
        for name, other in names.items()
        if name != other
    ]
    return GateOutcome(changes=changes, lost=lost, renamed=renamed, notes=notes, part=any(parts.values()))


def refuse_unfit_baseline(baseline: Path, subjects: Mapping[str, Sequence[str]], films: Sequence[Cohort]) -> None:
    """Find out before a run what keeps it from being compared with a stored one.

    Args:
        baseline: as of `compare_with_baseline`.
        subjects: name -> classes of the subjects of the run.
        films: the cohort in each form that the run may judge it in (labels as they are, and as the subjects spell
            them). Which of its films cannot be read is known at the end only, so they may be more than the baseline's.

    Raises:
        UsageProblem: as of `compare_with_baseline`.
    """
    named = [{"name": name, "classes": list(classes)} for name, classes in subjects.items()]
    then = stored(baseline)
    _matched({"subjects": named}, then.document)
    told = min((_differing(then, cohort) for cohort in films), key=len)
    if told:
        raise UsageProblem(f"{baseline}: the baseline was measured on other films ({told}); run it again on these")


def _differing(then: Run, cohort: Cohort) -> str:
    """Return what keeps a cohort from being that of a stored run, if not all of its films can be read; else ''."""
    theirs = then.document["cohort"]
    if cohort.fingerprint == theirs.get("fingerprint"):
        return ""
    left_out = len(cohort) - theirs["n"]
    if not 0 <= left_out <= then.document.get("excluded", 0):
        return f"n: {theirs['n']} in the baseline, {len(cohort)} now"
    if then.films is None:
        return ""
    keys = ["id", "label", "patient"]
    before = then.films.loc[then.films["cohort"] == theirs["name"], keys]
    now = set(cohort.table[keys].astype(str).itertuples(index=False, name=None))
    strange = [row[0] for row in before.itertuples(index=False, name=None) if row not in now]
    return f"{len(strange)} of its films are not among these, {strange[0][:60]} the first" if strange else ""


def _refuse_other_films(now: Mapping[str, Any], then: Mapping[str, Any]) -> None:
    ours, theirs = now["cohort"], then["cohort"]
    if ours.get("fingerprint", "") == theirs.get("fingerprint"):
        return  # the films decide; a cohort may have been renamed or moved
    shared = [key for key in ("name", "n", "patients", "labels", "fingerprint") if key in ours and key in theirs]
    differing = [
        f"{key}: {str(theirs[key])[:80]} in the baseline, {str(ours[key])[:80]} now"
        for key in shared
        if ours[key] != theirs[key]
    ]
    if differing:
        raise UsageProblem(f"the baseline was measured on other films ({'; '.join(differing)}); run it again on these")


def _otherwise_run(now: Mapping[str, Any], then: Mapping[str, Any]) -> list[str]:
    """Return a note for each setting that makes numbers differ though nothing about the subjects does."""
    runs = [side.get("run", {}) for side in (now, then)]
    ours, theirs = (
        {**{name: run[name] for name in ("profile", "seed") if name in run},
         "precision": run.get("versions", {}).get("precision", "float32")}
        for run in runs
    )  # fmt: skip
    return [
        f"{name}: {theirs[name]} in the baseline, {ours[name]} now; part of a difference may come from that"
        for name in ours
        if name in theirs and ours[name] != theirs[name]
    ]


def _matched(now: Mapping[str, Any], then: Mapping[str, Any]) -> dict[str, str]:
    """Return current -> baseline subject names: by name, or the only one against the only one."""
    ours, theirs = ({subject["name"]: subject["classes"] for subject in side["subjects"]} for side in (now, then))
    pairs = {name: name for name in ours if name in theirs}
    if not pairs and len(ours) == len(theirs) == 1:
        pairs = {next(iter(ours)): next(iter(theirs))}
    missing = [name for name in theirs if name not in pairs.values()]
    if missing or not pairs:
        raise UsageProblem(
            f"the baseline speaks of {', '.join(map(repr, theirs)) or 'no subject'}, this run of "
            f"{', '.join(map(repr, ours)) or 'none'}; run the same subjects under the same names (--name)"
        )
    for name, other in pairs.items():
        if list(ours[name]) != list(theirs[other]):
            raise UsageProblem(f"{name}: classes {theirs[other]} in the baseline, {ours[name]} now; not comparable")
    return pairs


def _same_weights(now: Mapping[str, Any], name: str, then: Mapping[str, Any], other: str) -> str:
    """Return whether two subjects of different names are the same network, in words; empty where a side has no hash."""
    ours, theirs = (
        next((subject.get("sha256", "") for subject in side["subjects"] if subject["name"] == wanted), "")
        for side, wanted in ((now, name), (then, other))
    )
    return f" ({'the same' if ours == theirs else 'other'} weights)" if ours and theirs else ""


def _paired(now: Run, then: Run, names: Mapping[str, str], tolerance: float) -> tuple[list[Change], list[str]]:
    """Return the film-by-film comparisons, one per subject and condition that both runs hold."""
    if now.predictions is None or then.predictions is None or now.films is None or then.films is None:
        return [], ["no film-by-film comparison: predictions.parquet and films.csv are not at hand for both runs"]
    cohort, seed = now.document["cohort"]["name"], int(now.document.get("run", {}).get("seed", 0))
    films = now.films[now.films["cohort"] == cohort].set_index("id")
    resamples = Resamples.draw(films["patient"], films["label"], seed=seed)
    changes = []
    for name, other in names.items():
        classes = next(subject["classes"] for subject in now.document["subjects"] if subject["name"] == name)
        before = _right(then.predictions, other, then.document["cohort"]["name"], films, classes)
        after = _right(now.predictions, name, cohort, films, classes)
        for condition in [condition for condition in before if condition in after]:
            kept = np.isfinite(before[condition]) & np.isfinite(after[condition])
            if kept.any():
                sides = before[condition][kept], after[condition][kept]
                changes.append(_compare(name, condition, sides, resamples.subset(kept), tolerance))
    return changes, []


def _right(
    table: pd.DataFrame, subject: str, cohort: str, films: pd.DataFrame, classes: Sequence[str]
) -> dict[str, Floats]:
    """Return, per condition, (N,) 1 where the film was answered right, NaN where it has no answer or no such class.

    Of a finding those films count of which the labels say yes or no.
    """
    rows = table[(table["subject"] == subject) & (table["cohort"] == cohort)]
    column = f"{PREFIX}{classes[-1]}"
    if len(classes) == 2 and classes[0] == f"{ABSENT}{classes[1]}" and column in films:  # one finding of several
        target = films[column].map({NEGATIVE: 0, POSITIVE: 1}).to_numpy(dtype=np.float64)
    else:
        target = films["label"].map({name: index for index, name in enumerate(classes)}).to_numpy(dtype=np.float64)
    right = {}
    for condition, answers in rows.groupby("condition", sort=False):
        logits = answers.set_index("image")[[f"logit_{index}" for index in range(len(classes))]]
        values = logits.reindex(films.index).to_numpy(dtype=np.float64)
        known = np.isfinite(values).all(1) & np.isfinite(target)
        called = np.where(np.isfinite(values), values, -np.inf).argmax(1)
        right[str(condition)] = np.where(known, called == target, np.nan)
    return right


def _compare(name: str, condition: str, sides: tuple[Floats, Floats], resamples: Resamples, tolerance: float) -> Change:
    before, after = sides
    loss = before - after
    replicates = resamples.means(loss)
    low, high = np.percentile(replicates[np.isfinite(replicates)], [2.5, 97.5])
    # The bootstrap's own tail holds 1 in 2,000 at best, too coarse for Holm over many conditions; its spread does not.
    error = float(np.nanstd(replicates, ddof=1))
    return Change(
        subject=name, what=f"films answered right, {condition_words(condition)}", unit="share",
        before=float(before.mean()), after=float(after.mean()), worsening=float(loss.mean()), low=float(low),
        high=float(high), tolerance=tolerance, paired=True,
        p=_p(float(loss.mean()) - tolerance, error, resamples.patients - 1),
    )  # fmt: skip


def _effects(
    now: Mapping[str, Any], then: Mapping[str, Any], names: Mapping[str, str], tolerance: float
) -> tuple[list[Change], list[str], int]:
    """Return the comparisons of claim effects, claims no longer judged (so), and the number of those not asked for."""
    back = {other: name for name, other in names.items()}
    known = table_ids()
    ours = {(known.get(claim["id"], claim["id"]), claim["subject"]): claim for claim in now["claims"]}
    changes, lost, unasked = [], [], 0
    for old in then["claims"]:
        subject = back.get(old["subject"], old["subject"])
        new = ours.get((known.get(old["id"], old["id"]), subject))
        if old["verdict"] == UNJUDGED or not old.get("effect") or old["effect"]["estimate"] is None:
            continue
        if new is None and now.get("incomplete") is not None:
            unasked += 1
            continue
        if new is None or new["verdict"] == UNJUDGED or not new.get("effect") or new["effect"]["estimate"] is None:
            why = new.get("reason", "") if new else "the claim is not in this run"
            lost.append(
                f"{old['id']} on {subject}: {old['verdict'].replace('_', ' ')} before; now {why or 'no number'}"
            )
            continue
        then_name, now_name = (one["effect"]["name"] for one in (old, new))
        former = then_name in FORMER_EFFECTS and now_name.startswith(FORMER_EFFECTS[then_name])
        if plain_name(then_name) != plain_name(now_name) and not former:
            lost.append(
                f"{old['id']} on {subject}: {plain_name(then_name)} before, {plain_name(now_name)} now, which is no "
                "comparison"
            )
            continue
        changes.append(_effect(old, new, subject, tolerance))
    return changes, lost, unasked


def _effect(old: Mapping[str, Any], new: Mapping[str, Any], subject: str, tolerance: float) -> Change:
    sign = (1 if new.get("direction", "above") == "above" else -1) * (1 if new["kind"] == "limitation" else -1)
    before, after = old["effect"], new["effect"]
    worsening = sign * (after["estimate"] - before["estimate"])
    error = math.hypot(_error(before), _error(after))
    allowed = tolerance * max(1.0, abs(before["estimate"]))
    half = stats.norm.ppf(0.975) * error
    return Change(
        subject=subject, what=f"{new['id']} ({plain_name(after['name'])})", unit=after["unit"],
        before=before["estimate"], after=after["estimate"], worsening=worsening, low=worsening - half,
        high=worsening + half, tolerance=allowed, p=_p(worsening - allowed, error), paired=False,
    )  # fmt: skip


def _error(measure: Mapping[str, Any]) -> float:
    """Return the standard error that a 95 % interval implies, from its wider side."""
    ends = [measure[end] for end in ("low", "high") if measure[end] is not None]
    return max((abs(end - measure["estimate"]) for end in ends), default=0.0) / float(stats.norm.ppf(0.975))


def _p(excess: float, error: float, freedom: float = math.inf) -> float:
    """Return the one-sided p that the worsening does not exceed the tolerance (Student's t over the patients)."""
    if error > 0:
        return float(stats.t.sf(excess / error, max(freedom, 1)))
    return 0.0 if excess > 0 else 1.0
