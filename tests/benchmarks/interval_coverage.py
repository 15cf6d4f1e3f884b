"""How often the intervals of `Sampled` hold the truth: simulated cohorts of clustered patients, known populations.

    uv run python -m tests.benchmarks.interval_coverage            # the table below, 1,000 cohorts a cell
    uv run python -m tests.benchmarks.interval_coverage 200 60     # fewer cohorts, 60 patients only

A patient has 1 to 9 films (2.4, 1.2 and 1.9 on average in the three classes), an effect of its own on all its logits,
and is the easier to call the more films there are, so cluster sizes carry information. Logits are 1.7 times too sure.
`low` and `high` are the shares of cohorts whose interval lies wholly above and wholly below the truth (2.5 % promised);
cohorts that are said to have too few patients count as neither, `few` is their share. Standard error of a share of 3 %
among 1,000: half a point. Measured:

    patients                                            24                      60                     156
                                    cover  low  high   few  cover  low  high   few  cover  low  high   few
    accuracy                         99.0  0.0   1.0   0.0   95.2  2.5   2.3   0.0   94.9  2.7   2.4   0.0
    balanced accuracy                98.8  0.0   1.2   0.0   96.1  1.8   2.1   0.0   95.2  2.4   2.4   0.0
    recall of the largest clusters  100.0  0.0   0.0   0.0   98.8  0.0   1.2   0.0   95.1  3.1   1.8   0.0
    recall of the rarest class       99.9  0.0   0.1   0.0   99.3  0.0   0.7   0.0   96.3  1.9   1.8   0.0
    recall gap                       99.9  0.1   0.0   0.0   99.2  0.2   0.6   0.0   96.6  1.3   2.1   0.0
    confusion rate                  100.0  0.0   0.0   0.0   99.4  0.6   0.0   0.0   98.6  1.4   0.0   0.0
    harm to balanced accuracy        97.4  1.7   0.9   0.0   94.1  1.8   4.1   0.0   94.9  2.2   2.9   0.0
    rise of false positives          99.5  0.3   0.2   0.0   97.6  1.5   0.9   0.0   95.8  1.7   2.5   0.0
    flip rate                        98.3  1.6   0.1   0.0   95.6  1.2   3.2   0.0   94.7  2.8   2.5   0.0
    share above 90 % confidence      97.0  1.4   1.6   0.0   95.4  2.6   2.0   0.0   94.0  2.5   3.5   0.0
    share of a map                   94.3  1.4   4.3   0.0   95.9  0.9   3.2   0.0   94.2  1.6   4.2   0.0
    temperature                      99.9  0.1   0.0  99.7   98.2  1.3   0.5  31.8   95.6  1.2   3.2   0.0
    Brier                            96.2  1.2   2.6   0.0   95.2  2.2   2.6   0.0   95.7  2.3   2.0   0.0
    failure AUROC                   100.0  0.0   0.0  99.7   96.4  2.2   1.4  31.8   95.7  2.4   1.9   0.0
    coverage at 5 % risk            100.0  0.0   0.0  99.7   97.1  0.5   2.4  31.8   95.6  2.1   2.3   0.0
    probe AUROC                      96.5  1.7   1.8   0.0   95.0  2.4   2.6   0.0   94.4  2.4   3.2   0.0
    sensitivity                      99.6  0.0   0.4   0.0   99.2  0.0   0.8   0.0   94.3  3.6   2.1   0.0
    ECE                              99.0  0.1   0.9   0.0   97.1  0.8   2.1   0.0   94.9  1.2   3.9   0.0
    sections with a wrong verdict     2.0                     2.4                     2.8

624 patients are in the table the command prints; rates over-cover where few patients err, because no interval is
narrower than the exact bound of no event.
"""

from __future__ import annotations

import sys
from collections.abc import Callable, Iterator, Mapping
from contextlib import suppress
from dataclasses import dataclass

import numpy as np

from calibration import error, interval, ood, scaling, scoring, selective
from calibration.checks import FitError, softmax
from suites.harness import statistics
from suites.harness.claims import Claim, Result
from suites.harness.endpoints.registry import beyond, measured, within
from suites.harness.judging import judge_section
from suites.harness.labelled import LabelledFilms
from suites.harness.statistics import Resamples, Sampled

SIZES = np.arange(1, 10)
SHARES = (0.35, 0.4, 0.25)  # of patients by class
RATIOS = (0.62, 0.18, 0.49)  # of the geometric cluster sizes
COHORTS, RESAMPLES = 1000, 1000
SETTLED = {"supported", "not_supported", "met", "violated"}


@dataclass(frozen=True)
class Drawn:
    """One cohort: (N, 3) logits clean and changed, labels, patients, a map's share, and (M, 3) logits of a probe."""

    logits: np.ndarray
    changed: np.ndarray
    labels: np.ndarray
    patients: np.ndarray
    share: np.ndarray
    probe: np.ndarray
    probe_patients: np.ndarray


def cohort(generator: np.random.Generator, patients: int) -> Drawn:
    """Return a cohort of so many patients, and a probe of half as many others."""
    counts = np.maximum(2, np.round(patients * np.array(SHARES))).astype(int)
    sizes = np.concatenate(
        [
            generator.choice(SIZES, count, p=ratio ** (SIZES - 1.0) / (ratio ** (SIZES - 1.0)).sum())
            for count, ratio in zip(counts, RATIOS, strict=True)
        ]
    )
    owner = np.repeat(np.arange(len(sizes)), sizes)
    labels = np.repeat(np.arange(3), counts)[owner]
    z = 0.8 * generator.normal(size=(len(sizes), 3))[owner] + 0.8 * generator.normal(size=(len(owner), 3))
    z[np.arange(len(owner)), labels] += 2.3 + np.minimum(0.15 * (sizes - 1), 0.6)[owner] - 0.5 * (labels == 2)
    changed = z + 0.7 * generator.normal(size=(len(sizes), 3))[owner] + np.array([0.5, -0.3, 0.0])
    share = 1 / (1 + np.exp(2 - generator.normal(size=len(sizes))[owner] - generator.normal(size=len(owner))))
    strangers = np.repeat(np.arange(max(2, patients // 2)), 2)
    probe = 1.2 * generator.normal(size=(strangers[-1] + 1, 3))[strangers] + generator.normal(size=(len(strangers), 3))
    return Drawn(3.2 * z, 3.2 * changed, labels, owner, share, 3.2 * probe, strangers)


def statistics_of(films: Drawn, seed: int, count: int = RESAMPLES) -> Iterator[tuple[str, Sampled]]:
    """Yield every kind of statistic that a verdict rests on, by name, made the way the endpoints make it."""
    z, y, owner = films.logits, films.labels, films.patients
    resamples = Resamples.draw(owner, y, seed=seed, count=count)
    labelled = LabelledFilms(z, y, owner.astype(str), resamples, np.ones(len(y), dtype=bool))
    called, after, p = z.argmax(axis=1), films.changed.argmax(axis=1), softmax(z)
    right, wrong = (called == y).astype(float), called != y
    yield "accuracy", statistics.rate(right, resamples)
    recalls = statistics.class_recalls(right, y, 3, resamples)
    changed = statistics.class_recalls((after == y).astype(float), y, 3, resamples)
    balanced = statistics.average(recalls, resamples.patients)
    yield "balanced accuracy", balanced
    yield "recall of the largest clusters", recalls[0]
    yield "recall of the rarest class", recalls[2]
    yield "recall gap", statistics.difference(recalls[1], recalls[2], recalls[1].patients + recalls[2].patients)
    viral = y == 2
    yield "confusion rate", statistics.rate((called == 0)[viral], resamples.subset(viral))
    yield "harm to balanced accuracy", statistics.difference(balanced, statistics.average(changed, resamples.patients))
    well = resamples.subset(y == 1)
    false = [statistics.rate((calls != 1)[y == 1], well) for calls in (after, called)]
    yield "rise of false positives", statistics.difference(*false)
    yield "flip rate", statistics.rate(called != after, resamples)
    yield "share above 90 % confidence", statistics.rate(p.max(axis=1) > 0.9, resamples)
    yield "share of a map", statistics.rate(films.share, resamples)
    yield "Brier", labelled.sampled(lambda weights: scoring.brier(p, y, weights=weights), (0.0, 2.0))
    doubt = 1 - p.max(axis=1)
    if wrong.any() and not wrong.all():
        with suppress(FitError):  # a dozen patients may show no overconfidence at all
            yield (
                "temperature",
                labelled.sampled(
                    lambda weights: scaling.temperature(z, y, weights=weights), (0.02, 50.0), labelled.events
                ),
            )
        yield (
            "failure AUROC",
            labelled.sampled(
                lambda weights: selective.failure_auroc(doubt, wrong, weights=weights), (0.0, 1.0), labelled.events
            ),
        )
        yield (
            "coverage at 5 % risk",
            labelled.sampled(
                lambda weights: selective.selective(doubt, wrong, weights=weights).coverage, (0.0, 1.0), labelled.events
            ),
        )
    strangers = Resamples.draw(films.probe_patients, np.zeros(len(films.probe)), seed=seed + 1, count=count)
    both = resamples.beside(strangers)
    scores = np.concatenate([doubt, 1 - softmax(films.probe).max(axis=1)])
    outside = np.repeat([False, True], [len(z), len(films.probe)])
    drawn = [np.asarray(ood.auroc(scores, outside, weights=w)) for w in (None, both.weights, both.left_out)]
    fewest = min(resamples.patients, strangers.patients)
    yield "probe AUROC", Sampled(float(drawn[0]), drawn[1], both.patients, strata=(fewest,), left_out=drawn[2])
    sensitive = y != 1
    yield "sensitivity", statistics.rate((called != 1)[sensitive], resamples.subset(sensitive))


def truths(patients: int = 200_000) -> dict[str, float]:
    """Return every statistic of a cohort so large that it is the population."""
    films = cohort(np.random.default_rng(1), patients)
    few = _without_resamples(films)
    return {name: sampled.estimate for name, sampled in few}


def _without_resamples(films: Drawn) -> Iterator[tuple[str, Sampled]]:
    """Yield the statistics with a single resample: of the population only the estimate is wanted."""
    original = Resamples.left_out
    try:
        Resamples.left_out = property(lambda self: self.weights)  # type: ignore[assignment]
        yield from statistics_of(films, 0, count=1)
    finally:
        Resamples.left_out = original  # type: ignore[method-assign]


def measure(
    patients: int,
    cohorts: int,
    truth: Mapping[str, float],
    ends: Callable[[Sampled], tuple[float, float]] | None = None,
    count: int = RESAMPLES,
) -> dict[str, np.ndarray]:
    """Return name -> shares (covered, interval above the truth, below it, too few patients).

    Args:
        patients: of each cohort.
        cohorts: how many to simulate.
        truth: by name.
        ends: another interval than that of `Sampled`, to compare.
        count: resamples of each cohort.
    """
    generator = np.random.default_rng(patients)
    found: dict[str, list[tuple[bool, bool, bool]]] = {}
    for seed in range(cohorts):
        for name, sampled in statistics_of(cohort(generator, patients), seed, count):
            interval_ = sampled.interval()
            low, high = ends(sampled) if ends else (interval_.low, interval_.high)
            few = bool(sampled.too_few) and ends is None
            found.setdefault(name, []).append((truth[name] < low and not few, truth[name] > high and not few, few))
    shares = {name: np.mean(rows, axis=0) for name, rows in found.items()}
    return {name: np.array([1 - low - high, low, high, few]) for name, (low, high, few) in shares.items()}


def sections_with_an_error(patients: int, sections: int, truth: Mapping[str, float]) -> float:
    """Return the share of sections with a settled verdict although every claim's truth is exactly its margin."""
    generator, wrong = np.random.default_rng([7, patients]), 0
    for seed in range(sections):
        results, claims = {}, []
        for name, sampled in statistics_of(cohort(generator, patients), seed, count=2000):
            claim = Claim(id=f"x.{name}", section="x", statement="", kind="limitation", endpoint="x",
                          margin=truth[name])  # fmt: skip
            effect = measured("rate", "clean", sampled, patients, unit="share")
            results[claim.id] = Result(effect=effect, p_beyond=beyond(sampled, claim), p_within=within(sampled, claim))
            claims.append(claim)
        wrong += any(one.verdict.value in SETTLED for one in judge_section(claims, "s", results))
    return wrong / sections


def calibration_errors(patients: int, cohorts: int) -> np.ndarray:
    """Return the shares for the ECE, whose interval is its own (`calibration.interval.recentred_interval`)."""
    big = cohort(np.random.default_rng(1), 200_000)
    truth = float(np.asarray(error.ece(softmax(big.logits), big.labels)))
    generator, rows = np.random.default_rng(patients), []
    for seed in range(cohorts):
        films = cohort(generator, patients)
        weights = Resamples.draw(films.patients, films.labels, seed=seed, count=RESAMPLES).weights
        found = interval.recentred_interval(softmax(films.logits), films.labels, weights)
        rows.append((truth < found.low, truth > found.high))
    low, high = np.mean(rows, axis=0)
    return np.array([1 - low - high, low, high, 0.0])


def main() -> None:
    """Print the table."""
    cohorts = int(sys.argv[1]) if len(sys.argv) > 1 else COHORTS
    truth = truths()
    for patients in [int(text) for text in sys.argv[2:]] or [24, 60, 156, 624]:
        print(f"{f'{patients} patients':32s}{'cover':>7s}{'low':>7s}{'high':>7s}{'few':>7s}")
        shares = measure(patients, cohorts, truth) | {"ECE": calibration_errors(patients, cohorts)}
        for name, row in shares.items():
            print(f"{name:32s}" + "".join(f"{100 * value:7.1f}" for value in row), flush=True)
        wrong = sections_with_an_error(patients, max(50, cohorts // 4), truth)
        print(f"{'sections with a wrong verdict':32s}{100 * wrong:7.1f}", flush=True)


if __name__ == "__main__":
    main()
