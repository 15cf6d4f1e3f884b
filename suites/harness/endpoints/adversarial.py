"""Endpoints under attack: how many films stay right when an adversary may change each grey value a little."""

from __future__ import annotations

from functools import partial

import numpy as np
import pandas as pd
from matplotlib.figure import Figure

from robustness.attacks import BUDGETS
from robustness.attacks.sanity import conclusive
from suites.harness import attacking, film_figures, statistics
from suites.harness.attacking import Attack
from suites.harness.claims import Claim, GalleryItem, Measure, Result
from suites.harness.endpoints.registry import beyond, endpoint, measured, within
from suites.harness.evidence import Answers, Evidence
from suites.harness.report import figures
from suites.harness.statistics import Sampled, difference


@endpoint("robust_accuracy")
def robust_accuracy(evidence: Evidence, claim: Claim) -> Result:
    """Share of films called right at `levels` grey levels of 255 (L-inf, grey pixel of the input), ensemble of attacks.

    Where a sanity check fails the subject may only seem robust, so such a run can show weakness but never robustness.
    """
    answers, levels = evidence.main, float(claim.parameters.get("levels", 1.0))
    attack = attacking.attack(answers, evidence.profile, evidence.cache)
    noise = attacking.attack(answers, evidence.profile, evidence.cache, protocol="noise")
    curve = {budget: _rate(answers, attack, attack.robust(budget)) for budget in BUDGETS}
    control = {budget: _rate(answers, noise, noise.robust(budget)) for budget in BUDGETS}
    budget = min(BUDGETS, key=lambda value: abs(value * 255 - levels))
    value, n, smallest = curve[budget], len(attack.index), _smallest(answers, attack)
    effect = measured("robust_accuracy", _text(attack, budget), value, n, smallest=smallest)
    measures = [
        measured("robust_accuracy", _text(attack, other), item, n, smallest=smallest)
        for other, item in curve.items()
        if other != budget
    ]
    measures.append(
        measured("robust_accuracy", f"random signs {budget * 255:g}/255", control[budget], n, smallest=smallest)
    )
    measures.append(
        measured(
            "noise_harm",
            f"random signs {budget * 255:g}/255 - attack",
            difference(control[budget], value),
            n,
            smallest=smallest,
        )
    )
    trusted = conclusive(attack.checks)
    failed = [check.name for check in attack.checks if check.blocking and not check.passed]
    passes = sum(result.forward + result.backward for result in attack.found.results) / n
    sizes = attack.distances[attack.distances > 0]
    median = float(np.median(sizes)) if len(sizes) else 0.0
    return Result(
        effect=effect,
        p_beyond=beyond(value, claim),
        p_within=within(value, claim) if trusted else 1.0,
        measures=[*measures, *_distances(answers, attack)],
        summary=(
            f"With changes of at most {budget * 255:g} of 255 grey levels, invisible to a reader, "
            f"{effect.estimate:.0%} of {n} films stay right; random noise of that size leaves "
            f"{control[budget].estimate:.0%}. Half the films that were right "
            f"fall to {median:.2g} levels. {passes:.0f} network passes per film."
            + (
                f" Sanity checks failed: {', '.join(failed)}; robustness cannot be concluded from this run."
                if failed
                else ""
            )
        ),
        figures={"robust_accuracy": partial(_curve_figure, curve, control, answers)},
        tables=_tables(answers, attack),
        galleries={"Smallest changes that flip the call": _examples(answers, attack)},
    )


def _rate(answers: Answers, attack: Attack, values: np.ndarray[tuple[int], np.dtype[np.float64]]) -> Sampled:
    among = np.zeros(len(answers.cohort), dtype=bool)
    among[attack.index] = True
    return statistics.rate(values, answers.resamples.subset(among))


def _smallest(answers: Answers, attack: Attack) -> int:
    counts = np.bincount(answers.labels[attack.index])
    return int(counts[counts > 0].min())


def _text(attack: Attack, budget: float) -> str:
    return f"{attack.threat} {budget * 255:g}/255"


def _distances(answers: Answers, attack: Attack) -> list[Measure]:
    """Return the median smallest flipping change of each class, in grey levels, over films that were right."""
    measures = []
    for index, name in enumerate(answers.subject.classes):
        mine = (answers.labels[attack.index] == index) & (attack.distances > 0)
        if not mine.any():
            continue
        sizes, weights = attack.distances[mine], answers.resamples.weights[:, attack.index[mine]]
        order = np.argsort(sizes, kind="stable")
        shares = np.cumsum(weights[:, order], axis=1)
        at = (shares < 0.5 * shares[:, -1:]).sum(axis=1).clip(max=len(order) - 1)
        middle = Sampled(float(np.median(sizes)), sizes[order][at], int(mine.sum()), (0.0, 255.0))
        measures.append(measured(f"median_flip_levels_{name}", attack.threat, middle, int(mine.sum())))
    return [measure for measure in measures if np.isfinite([measure.estimate, measure.low, measure.high]).all()]


def _curve_figure(curve: dict[float, Sampled], control: dict[float, Sampled], answers: Answers) -> Figure:
    levels = [0.0, *(budget * 255 for budget in curve)]
    series = {}
    for name, values in (("ensemble of attacks", curve), ("random noise of that size", control)):
        ends = [value.interval() for value in values.values()]
        clean = answers.score("accuracy", "clean").interval()
        points = [clean, *ends]
        series[name] = ([p.estimate for p in points], [p.low for p in points], [p.high for p in points])
    return figures.severity_curve(
        levels,
        series,
        ylabel="films called right",
        xlabel="grey levels of 255",
        title="Robust accuracy by budget",
        limits=(0, 1),
    )


def _tables(answers: Answers, attack: Attack) -> dict[str, pd.DataFrame]:
    classes = answers.subject.classes
    flips = np.zeros((len(classes), len(classes)), dtype=np.int64)
    for result in attack.found.results:
        if 0 < result.distance < np.inf:
            flips[result.label, result.prediction] += 1
    checks = pd.DataFrame(
        [(c.name, "yes" if c.passed else "NO", c.detail) for c in attack.checks], columns=["check", "passed", "detail"]
    )
    by = (
        attack.found.films["attack"]
        .replace("", "none")
        .value_counts()
        .rename_axis("found by")
        .reset_index(name="films")
    )
    return {
        "Which way the smallest flips go (rows: truth)": pd.DataFrame(flips, columns=list(classes))
        .assign(truth=classes)
        .set_index("truth")
        .reset_index(),
        "Is the attack to be trusted": checks,
        "Which attack found the smallest change": by,
    }


def _examples(answers: Answers, attack: Attack, how_many: int = 4) -> list[GalleryItem]:
    """Return the films that flip most easily, with the stored 8-bit examples that can be replayed."""
    able = [
        result
        for result in attack.found.results
        if result.stored is not None and result.film is not None and result.distance > 0
    ]
    items = []
    for result in sorted(able, key=lambda item: (item.stored_distance, item.image_id))[:how_many]:
        assert result.film is not None and result.stored is not None  # noqa: S101, PT018 - filtered above
        film, example = result.film[0], (result.stored[0] / 255.0).astype(np.float32)
        change = np.clip(0.5 + (example - film) * 20, 0, 1).astype(np.float32)
        after = int(np.argmax(result.stored_logits))
        names = [answers.subject.classes[index] for index in (result.clean_prediction, after)]
        size = result.stored_distance * 255
        draw = partial(
            film_figures.films_in_a_row, [film, change, example],
            [f"film\n{names[0]}", f"change x 20\nat most {size:.0f} of 255", f"attacked, 8 bit\n{names[1]}"],
        )  # fmt: skip
        caption = f"{result.image_id}: {names[0]} becomes {names[1]} at {size:.0f} of 255 grey levels ({result.attack})"
        items.append(GalleryItem(caption=caption, draw=draw, facts={"image": result.image_id, "levels": size}))
    return items
