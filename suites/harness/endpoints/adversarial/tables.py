"""What stands beside a robust accuracy? Its interval, and the tables of attacks."""

from __future__ import annotations

from collections import Counter
from collections.abc import Sequence

import numpy as np
import numpy.typing as npt
import pandas as pd

from robustness.attacks import PROTOCOLS
from robustness.attacks.masking_checks import SanityCheck
from suites.harness import statistics
from suites.harness.claims import Measure, Unit
from suites.harness.endpoints.adversarial.runs import Attack
from suites.harness.endpoints.adversarial.runs.protocols import COMPARED
from suites.harness.endpoints.adversarial.runs.side_by_side import Line
from suites.harness.endpoints.headroom import SKILL
from suites.harness.endpoints.registry import measured
from suites.harness.formatting.cells import cell, points
from suites.harness.predictions.answers import Answers
from suites.harness.statistics import Sampled, difference, of_films

WHAT_MOVES = {
    "linf/grey": ("each grey pixel of the network's input", "its largest change"),
    "l2/grey": ("each grey pixel of the network's input", "the root mean square of all changes"),
    "linf/colour": ("each channel of the input on its own, which no film can show", "its largest change"),
    "linf/film": ("each pixel of the film as it came, before resize and crop", "its largest change"),
}
"""Threat model -> what an adversary may change, and what is bounded."""

SHARE: Unit = "share"
POINTS: Unit = "points"

UPPER_BOUND = "what stays right is an upper bound: a longer search may flip more"
"""Said in every verdict: on random networks the quick search was up to one film of 24 behind PGD-100 x 5."""


def rate_on(answers: Answers, index: npt.NDArray[np.int64], values: npt.NDArray[np.float64]) -> Sampled:
    """Return the mean of (M,) values on some films of the cohort, resampled by patient.

    Args:
        answers: of the subject.
        index: (M,) ascending positions of the films.
        values: (M,) one value per film.
    """
    among = np.zeros(len(answers.cohort), dtype=bool)
    among[index] = True
    return statistics.rate(values, answers.resamples.subset(among))


def hardly_lost(clean: Sampled, attacked: Sampled) -> str:
    """Return why a low accuracy is no sign of an attack's success: it was as low before; empty where much was lost."""
    lost = difference(clean, attacked).interval()
    if lost.low > SKILL:
        return ""
    return (
        f"the fall from clean films, {points(lost.estimate, signed=False)} points ({points(lost.low, signed=False)} to "
        f"{points(lost.high, signed=False)}), is not surely above {points(SKILL, signed=False)}: what is low was low "
        "before"
    )


def flip_sizes(answers: Answers, attack: Attack) -> list[Measure]:
    """Return the median smallest flipping change of each class, in grey levels, over films that were right."""
    measures = []
    for index, name in enumerate(answers.subject.classes):
        mine = (answers.labels[attack.index] == index) & (attack.distances > 0)
        if not mine.any():
            continue
        sizes, weights = attack.distances[mine], of_films(answers.resamples.weights, attack.index[mine])[:]
        order = np.argsort(sizes, kind="stable")
        shares = np.cumsum(weights[:, order], axis=1)
        at = (shares < 0.5 * shares[:, -1:]).sum(axis=1).clip(max=len(order) - 1)
        patients = len(np.unique(answers.patients[attack.index[mine]]))
        middle = Sampled(float(np.median(sizes)), sizes[order][at], patients, (0.0, 255.0), averaged=False)
        measures.append(measured(f"median_flip_levels_{name}", attack.threat, middle, int(mine.sum()), unit="levels"))
    return [measure for measure in measures if np.isfinite([measure.estimate, measure.low, measure.high]).all()]


def compared(answers: Answers, lines: Sequence[Line]) -> pd.DataFrame:
    """Return one row per threat model and attack: share right when clean and at each budget, passes per film.

    The name of an attack says how long it ran, the library whose implementation it is, and numerical faults of its
    gradients stand behind the name: an attack without a gradient finds nothing, which is no sign of robustness.
    """
    budgets = {f"{budget * 255:g}/255": budget for budget in COMPARED}
    rows = []
    for line in lines:
        row: dict[str, object] = dict.fromkeys(("films", "clean", *budgets, "passes per film"), "—")
        row |= {"attack": f"{line.threat}, {line.label}", "library": line.library}
        if line.attack is None:
            row["attack"] = f"{row['attack']}: not evaluable, {line.reason}"
        else:
            found = line.attack
            faults = Counter(result.fault for result in found.found.results if result.fault)
            row["attack"] = "; ".join(
                [f"{row['attack']}", *(f"{fault} on {count} films" for fault, count in sorted(faults.items()))]
            )
            row |= {"films": str(len(found.index)), "clean": _cell(rate_on(answers, found.index, found.right))}
            row["passes per film"] = f"{found.passes / len(found.index):.0f}"
            for name, budget in budgets.items():
                if budget in found.budgets:
                    row[name] = _cell(rate_on(answers, found.index, found.robust(budget)))
        rows.append(row)
    return pd.DataFrame(rows, columns=["attack", "library", "films", "clean", *budgets, "passes per film"])


def plans(lines: Sequence[Line]) -> pd.DataFrame:
    """Return which attacks each ensemble of these rows runs, in their order, by the name it has in the table."""
    named: dict[str, str] = {}
    for line in lines:
        if line.protocol == "ensemble" and line.attack is not None and line.attack.found.results:
            profile = PROTOCOLS.get(line.attack.found.results[0].profile)
            if profile is not None:
                named[line.label] = "; ".join(one.identity for one in profile.attacks)
    return pd.DataFrame(sorted(named.items()), columns=["ensemble", "attacks in their order"])


def threat_models(lines: Sequence[Line]) -> pd.DataFrame:
    """Return what each threat model of these rows allows."""
    names = list(dict.fromkeys(line.threat for line in lines))
    return pd.DataFrame(
        [(name, *WHAT_MOVES[name]) for name in names], columns=["threat model", "what may change", "budget bounds"]
    )


def transfers(answers: Answers, rows: pd.DataFrame) -> list[Measure]:
    """Return how many films right when clean each other subject's changes turn, by budget.

    Args:
        answers: of the subject they are shown to.
        rows: of `suites.harness.endpoints.adversarial.runs.transfer.transferred`.
    """
    mine = rows[(rows["target"] == answers.subject.name) & (rows["source"] != answers.subject.name)]
    mine = mine[mine["clean_prediction"] == mine["label"]]
    position = {image: at for at, image in enumerate(answers.images)}
    measures = []
    for (source, budget), shown in mine.groupby(["source", "budget"], sort=True):
        ordered = shown.assign(at=shown["image_id"].map(position)).sort_values("at")
        wrong = np.asarray(~ordered["robust"].astype(bool), dtype=np.float64)
        index = ordered["at"].to_numpy(np.int64)
        condition = f"linf/film {float(str(budget)) * 255:g}/255 made against {source}"
        turned = rate_on(answers, index, wrong)
        measures.append(
            measured(
                "turned_share", condition, turned, len(index), unit="share", smallest=answers.smallest_class(index)
            )
        )
    return measures


def flips(answers: Answers, labels: Sequence[int], called: Sequence[int]) -> pd.DataFrame:
    """Return how many films of each class (rows) were turned into each class (columns)."""
    classes = answers.subject.classes
    counts = np.zeros((len(classes), len(classes)), dtype=np.int64)
    np.add.at(counts, (np.asarray(labels, dtype=np.int64), np.asarray(called, dtype=np.int64)), 1)
    return pd.DataFrame(counts, columns=list(classes)).assign(truth=classes).set_index("truth").reset_index()


def trust(checks: Sequence[SanityCheck]) -> pd.DataFrame:
    """Return the sanity checks, each with its numbers."""
    return pd.DataFrame(
        [(check.name, "yes" if check.passed else "NO", check.detail) for check in checks],
        columns=["check", "passed", "detail"],
    )


def found_by(attack: Attack) -> pd.DataFrame:
    """Return which attack found the smallest change, by films, and what each spent on a film."""
    counts = attack.found.films["attack"].replace("", "none").value_counts()
    spent: dict[str, int] = {}
    for result in attack.found.results:
        for name, (forward, backward) in result.passes.items():
            spent[name] = spent.get(name, 0) + forward + backward
    names = [*counts.index, *(name for name in spent if name not in counts.index)]
    return pd.DataFrame(
        {
            "attack": names,
            "smallest change found by it, films": [int(counts.get(name, 0)) for name in names],
            "passes per film": [round(spent.get(name, 0) / len(attack.index)) for name in names],
        }
    )


def _cell(value: Sampled) -> str:
    return cell(value.interval(), "share")
