"""Which uncertainty score catches which failure? Another view, other patients, white-out, a wrong call."""

from __future__ import annotations

from collections.abc import Iterator
from dataclasses import dataclass, field
from functools import partial

import numpy as np
import numpy.typing as npt
import pandas as pd

from calibration import ood
from calibration.validation import FloatArray
from suites.harness.cohorts.probes import ROLES
from suites.harness.endpoints.uncertainty import scores
from suites.harness.endpoints.uncertainty.scores import FilmSet
from suites.harness.errors import NotEvaluable
from suites.harness.formatting.cells import NONE, cell, columns
from suites.harness.predictions.conditions import CLEAN
from suites.harness.predictions.evidence import Evidence
from suites.harness.statistics import Interval, Resamples, Sampled, ranked

WHITE_OUT, WRONG = "white-out", "misclassified"
STATISTICS = {"AUROC": "auroc", "FPR95": "fpr95"}
QUICK = "profiles standard and full only"


@dataclass(frozen=True)
class Failure:
    """One kind of failure: the usual films and the failing ones, marked, with the resamples of both.

    Attributes:
        outside: (n,) true for the failing films.
        resamples: of patients.
        fewest: patients of the usual or the failing films, whichever has fewer: the bound where nothing varies.
        scores: name -> (n,).
    """

    outside: npt.NDArray[np.bool_]
    resamples: Resamples
    fewest: int
    scores: dict[str, FloatArray]


@dataclass
class Detection:
    """AUROC and FPR at 95 % TPR of every score on every failure, with intervals.

    Attributes:
        cells: (score, failure, `AUROC` or `FPR95`) -> interval.
        films: failure -> (usual films, failing films).
        problems: score -> why it is missing.
    """

    cells: dict[tuple[str, str, str], Interval] = field(default_factory=dict)
    films: dict[str, tuple[int, int]] = field(default_factory=dict)
    problems: dict[str, str] = field(default_factory=dict)

    def table(self) -> pd.DataFrame:
        """Return the table of the report: AUROC, a row per score, a column per failure."""
        rows = [("films, usual / failing", *(f"{a} / {b}" for a, b in self.films.values()), "")]
        for score in scores.all_names():
            shown = [cell(self.cells.get((score, failure, "AUROC"))) for failure in self.films]
            rows.append((score, *shown, self.problems.get(score, "") if NONE in shown else ""))
        return pd.DataFrame(rows, columns=["score", *self.films, "why empty"])

    def numbers(self) -> pd.DataFrame:
        """Return the same as numbers, one row per score, failure and statistic."""
        rows = [
            (score, failure, STATISTICS[statistic], *columns(self.cells.get((score, failure, statistic))),
             *self.films[failure], self.problems.get(score, ""))
            for score in scores.all_names() for failure in self.films for statistic in STATISTICS
        ]  # fmt: skip
        names = ["score", "failure", "statistic", "estimate", "low", "high", "usual_films", "failing_films", "problem"]
        return pd.DataFrame(rows, columns=names)


def detection(evidence: Evidence, whiteout: str, views: str) -> Detection:
    """Return which score catches which failure.

    Args:
        evidence: of the run; a probe that was not given is a failure without films, and is left out.
        whiteout: condition of the white films, '' for none; a film and its white twin share their patient's resamples.
        views: the remedy whose views are averaged, '' for none; run in the profiles standard and full, like dropout.
    """
    sets = film_sets(evidence, whiteout)
    found = Detection(problems=_score(list(sets.values()), evidence, views))
    for name, failure in _failures(sets):
        found.films[name] = int((~failure.outside).sum()), int(failure.outside.sum())
        # Of two classes several scores put films in one order.
        orders = {
            score: np.unique(values, return_inverse=True)[1].tobytes() for score, values in failure.scores.items()
        }
        first = {order: failure.scores[score] for score, order in reversed(orders.items())}
        by_order = dict(zip(first, _told_apart(failure, np.stack(list(first.values()))), strict=True))
        for score, order in orders.items():
            for statistic, interval in zip(STATISTICS, by_order[order], strict=True):
                found.cells[score, name, statistic] = interval
    return found


def _told_apart(failure: Failure, values: FloatArray) -> list[list[Interval]]:
    """Return how well each of (S, n) values tells the failing films from the usual ones, by each of the statistics."""
    estimates = ood.auroc_and_fpr(values, failure.outside)
    drawn, left_out, coarse = ranked(partial(ood.auroc_and_fpr, values, failure.outside), failure.resamples)
    patients, strata = failure.resamples.patients, (failure.fewest,)

    def interval(*at: int) -> Interval:
        further = float(coarse[at])
        estimate = float(estimates[at[0]][at[1]])
        return Sampled(estimate, drawn[at], patients, strata=strata, left_out=left_out[at], coarse=further).interval()

    return [[interval(statistic, score) for statistic in range(len(STATISTICS))] for score in range(len(values))]


def film_sets(evidence: Evidence, whiteout: str) -> dict[str, FilmSet]:
    """Return the usual films (`clean`), every probe by role, and the white films, where there are any."""
    usual = FilmSet.of(evidence.main, "main")
    sets = {CLEAN: usual} | {role: FilmSet.of(evidence.probe(role), role) for role in ROLES if role in evidence.probes}
    if whiteout:
        sets[WHITE_OUT] = FilmSet.of(evidence.main, "main", whiteout)
    return {name: films for name, films in sets.items() if films.keep.any()}


def _score(sets: list[FilmSet], evidence: Evidence, views: str) -> dict[str, str]:
    """Fill in every score; return score -> why it is missing where it is."""
    thorough = evidence.profile != "quick"
    scores.add_logit_scores(sets)
    problems = dict.fromkeys(scores.NEED_LOGITS, "the subject answers probabilities, not logits")
    problems |= scores.add_feature_scores(sets, evidence.cache if thorough else None)
    if not thorough:
        problems = dict.fromkeys(scores.names(), f"features of white films: {QUICK}") | problems
    problems |= dict.fromkeys(scores.of_passes(scores.ENSEMBLE), scores.add_ensemble(sets, evidence))
    dropped = scores.add_dropout(sets, evidence.cache) if thorough else QUICK
    problems |= dict.fromkeys(scores.of_passes(scores.DROPOUT), dropped)
    problems[scores.AUGMENTED] = "" if thorough else QUICK
    if thorough and views:
        try:
            scores.add_augmented(sets, views)
        except NotEvaluable as reason:
            problems[scores.AUGMENTED] = str(reason)
    return problems


def _failures(sets: dict[str, FilmSet]) -> Iterator[tuple[str, Failure]]:
    """Yield every kind of failure that has films of both kinds."""
    usual = sets[CLEAN]
    for name, films in sets.items():
        if name == CLEAN:
            continue
        shared = [score for score in usual.scores if score in films.scores]
        # A white film stands against the same film as it was; other cohorts against all usual films.
        near = films.keep[usual.keep] if name == WHITE_OUT else np.ones(int(usual.keep.sum()), dtype=bool)
        ours, theirs = (
            usual.answers.resamples.subset(usual.keep).subset(near),
            films.answers.resamples.subset(films.keep),
        )
        fewest = min(ours.patients, theirs.patients)
        both = {score: np.concatenate([usual.scores[score][near], films.scores[score]]) for score in shared}
        outside = np.repeat([False, True], [int(near.sum()), int(films.keep.sum())])
        yield name, Failure(outside, ours.beside(theirs), fewest, both)
    right = usual.answers.correct()[usual.keep]
    known = np.isfinite(right)
    wrong = right[known] == 0
    if wrong.any() and not wrong.all():
        resamples = usual.answers.resamples.subset(usual.keep).subset(known)
        scored = {score: values[known] for score, values in usual.scores.items()}
        yield (
            WRONG,
            Failure(wrong, resamples, min(resamples.subset(part).patients for part in (wrong, ~wrong)), scored),
        )
