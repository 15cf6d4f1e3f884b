"""Which films are attacked and how hard, by profile? Whole patients, by class, the same for every subject.

Fewer films are always among the more, so that what runs on a few of them can be set beside what ran on all.
"""

from __future__ import annotations

from dataclasses import replace

import numpy as np
import numpy.typing as npt
import pandas as pd

from robustness.attacks import BUDGETS, PROTOCOLS, Protocol, alone, get
from robustness.attacks.attack import names
from suites.harness.cohorts.cohort import Cohort
from suites.harness.errors import NotEvaluable
from suites.harness.predictions.answers import Answers

FILMS = {"quick": 60, "standard": 200, "full": 1_000_000}
"""Films of the attack on the network's input."""
WHOLE_FILMS = {"quick": 60, "standard": 100, "full": 200}
"""Films of the attack on whole films: their pixels are many, and so are the bytes kept of each."""
COMPARED_FILMS = {"quick": 24, "standard": 60, "full": 200}
"""Films on which threat models and attacks stand side by side, and on which transfer is measured."""
PATTERN_FILMS = {"quick": 120, "standard": 300, "full": 1000}
"""Films that one pattern for all is fitted and judged on: it needs many, and is asked once per film."""
REMOTE_FILMS = {"quick": 12, "standard": 24, "full": 48}
"""Films of a search without gradients on a deployed service: others use it, too."""

ENSEMBLES = {"quick": "quick", "standard": "standard", "full": "thorough"}
"""The ensemble that verdicts rest on."""
COMPARED_ENSEMBLES = {"quick": "brief", "standard": "quick", "full": "standard"}
"""The ensemble of a threat model that only the table asks about: one stage shorter, and named there."""
SQUARE_QUERIES = {"quick": 50, "standard": 500, "full": 2000}
REMOTE_QUERIES = {"quick": 50, "standard": 100, "full": 250}
LIBRARY_STEPS = {"quick": 10, "standard": 40, "full": 100}
"""Steps of torchattacks' PGD and APGD, from one start."""

WHOLE_LEVELS = tuple(level / 255 for level in (1.0, 2.0, 4.0, 8.0))
"""Budgets for whole films: a stored film has no half grey levels."""
COMPARED = tuple(level / 255 for level in (0.5, 1.0, 2.0, 4.0))
"""Budgets of the table of threat models and attacks."""


def chosen_films(answers: Answers, films: int) -> npt.NDArray[np.int64]:
    """Return the positions of about so many labelled films: whole patients, in proportion to the classes.

    Of one finding of several: those films among the ones that all findings share whose labels tell of it; where they
    tell of it on fewer than half of these, further ones.

    Raises:
        NotEvaluable: no film carries a label.
    """
    if not (answers.labels >= 0).any():
        raise NotEvaluable(f"no film of {answers.cohort.name} carries a label, so no call can be made wrong")
    labelled = answers.cohort.select(pd.Series(answers.labels >= 0))
    told = set(labelled.table["id"].astype(str))
    ids = set(shared_films(answers, films).table["id"].astype(str)) & told if answers.siblings() else set()
    if 2 * len(ids) < min(films, len(told)):
        ids |= set(
            labelled.limited(films if not answers.siblings() else films // 2, answers.seed).table["id"].astype(str)
        )
    return np.array([index for index, image in enumerate(answers.images) if image in ids], dtype=np.int64)


def shared_films(answers: Answers, films: int) -> Cohort:
    """Return about so many of the films that the labels tell of any finding of the subject's whole."""
    known = [one.cohort.select(pd.Series(one.labels >= 0)).table for one in answers.siblings()]
    everyone = pd.concat(known, ignore_index=True)
    shown = everyone.groupby("id", sort=False)["label"].agg(
        "|".join
    )  # a class of its own where no finding has a column
    table = everyone.drop_duplicates("id").reset_index(drop=True)
    table = table.assign(label=table["id"].map(shown))
    return replace(answers.cohort, table=table).limited(films, answers.seed)


OWN_LINES = frozenset(
    {"random-sign", "blank", "square", "torchattacks-fgsm", "torchattacks-pgd", "torchattacks-apgd-ce"}
)
"""Attacks that have a line of their own under another name, see `plan_of`."""


def further() -> list[str]:
    """Return the registered attacks that want a line of their own (`Attack.compared`) and are in none yet."""
    used = {attack.name for protocol in PROTOCOLS.values() for attack in protocol.attacks} | OWN_LINES
    return [name for name in names() if name not in used and get(name).compared]


def plan_of(protocol: str, profile: str, *, remote: bool = False, compared: bool = False) -> Protocol:
    """Return the attacks of a protocol.

    Args:
        protocol: `ensemble`, `square`, `noise` (random signs) or `blank`, which are ours; `fgsm`, `pgd` or `apgd`,
            which are torchattacks'; or the name of a further attack (see `further`).
        profile: of the run.
        remote: the subject is asked over a network and gives no gradients: few queries, `square` for the ensemble.
        compared: for the table of threat models and attacks only: a shorter ensemble.
    """
    if protocol == "ensemble" and not remote:
        return PROTOCOLS[(COMPARED_ENSEMBLES if compared else ENSEMBLES)[profile]]
    if protocol == "fgsm":
        return alone("torchattacks-fgsm")
    if protocol in ("ensemble", "square"):
        queries = REMOTE_QUERIES[profile] if remote else SQUARE_QUERIES[profile]
        return Protocol("square", (get("square", queries=queries),))
    if protocol in further():
        return alone(protocol)
    # Of the others it is taken that what withstands a budget withstands the smaller ones: a sixth of the passes.
    attacks = {
        "pgd": get("torchattacks-pgd", steps=LIBRARY_STEPS[profile]),
        "apgd": get("torchattacks-apgd-ce", steps=LIBRARY_STEPS[profile]),
        "noise": get("random-sign", draws=2 if remote else 5),
        "blank": get("blank"),
    }
    return Protocol(protocol, (attacks[protocol],))


def budgets_of(*, whole: bool, compared: bool) -> tuple[float, ...]:
    """Return the budgets of an attack, ascending.

    Args:
        whole: the film as it came is changed.
        compared: the attack is there for the table of threat models and attacks only.
    """
    if whole:
        return WHOLE_LEVELS
    return COMPARED if compared else BUDGETS
