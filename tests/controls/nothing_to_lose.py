"""Subjects that have nothing to lose, and what every claim about a subject says of them: one table.

Printed as Markdown by `uv run python -m tests.controls.nothing_to_lose`.
"""

from __future__ import annotations

import math
from collections.abc import Callable, Mapping
from dataclasses import replace
from functools import partial
from pathlib import Path
from tempfile import TemporaryDirectory
from unittest.mock import patch

import numpy as np
import pandas as pd
import torch
from torch import Tensor, nn

from suites.harness.claims import Claim, Verdict
from suites.harness.claims_table import load_claims
from suites.harness.cohorts.cohort import Cohort, Film
from suites.harness.endpoints import get
from suites.harness.endpoints.adversarial.runs import protocols
from suites.harness.endpoints.explanations import attribution, border_occlusion
from suites.harness.evaluation import Evaluation
from suites.harness.subjects.preprocessing import Preprocessing
from tests.controls.films import SIDE, boned, cohort_of, exposed
from tests.controls.subjects import Oracle, subject_of

FILMS = 240
STRANGE = 60
METHOD = "smoothgrad"
"""Saliency that needs no layer: these subjects have none."""
REASSURING = {Verdict.NOT_SUPPORTED, Verdict.MET}
"""The verdicts that a reader would take for robustness or safety."""


class Constant(nn.Module):
    """Gives every film the same probabilities."""

    def __init__(self, *probabilities: float) -> None:
        super().__init__()
        self.head = nn.Linear(1, 3)
        self.head.weight.data, self.head.bias.data = torch.zeros(3, 1), torch.tensor(probabilities).log()

    def forward(self, pixels: Tensor) -> Tensor:
        return self.head(pixels.mean(dim=(1, 2, 3))[:, None])


class Coin(nn.Module):
    """Throws a three-sided coin: by the film's last digits, so that the same film falls alike, or anew each time."""

    def __init__(self, *, anew: bool = False) -> None:
        super().__init__()
        self.anew, self.thrown = anew, 0
        sides = 2 * math.pi / 3 * torch.arange(3)
        self.head = nn.Linear(2, 3, bias=False)
        self.head.weight.data = 3 * torch.stack([sides.cos(), sides.sin()], dim=1)

    def forward(self, pixels: Tensor) -> Tensor:
        turned = 2e4 * pixels.mean(dim=(1, 2, 3))
        if self.anew:
            self.thrown += 1
            turned = turned + 7 * torch.rand(len(pixels), generator=torch.Generator().manual_seed(self.thrown))
        return self.head(torch.stack([turned.cos(), turned.sin()], dim=1))


class Grey(nn.Module):
    """Calls a film by one mean grey: dark ones bacterial, light ones viral.

    Args:
        border: reads the outermost pixels alone, else the whole film.
        middle, spread: greys between which a film is normal.
    """

    def __init__(self, middle: float, spread: float, *, border: bool = False) -> None:
        super().__init__()
        self.middle, self.spread = middle, spread
        weight = torch.ones(SIDE, SIDE)
        if border:
            weight[2:-2, 2:-2] = 0
        self.register_buffer("weight", weight / weight.sum())
        self.head = nn.Linear(1, 3)
        self.head.weight.data, self.head.bias.data = torch.tensor([[-6.0], [0], [6]]), torch.tensor([0, 2.6, 0])

    def forward(self, pixels: Tensor) -> Tensor:
        more = ((pixels.mean(dim=1) * self.weight).sum(dim=(1, 2)) - self.middle) / self.spread
        return self.head(more[:, None])


IDLE: Mapping[str, Callable[[], nn.Module]] = {
    "always bacterial": lambda: Constant(0.98, 0.01, 0.01),
    "always normal": lambda: Constant(0.333, 0.334, 0.333),
    "always viral": lambda: Constant(0.2, 0.2, 0.6),
    "coin by film": Coin,
    "coin anew": lambda: Coin(anew=True),
    "below chance": lambda: Oracle(order=(1, 2, 0)),
    "reads brightness": lambda: Grey(0.525, 0.06),
    "reads border": lambda: Grey(0.6, 0.3, border=True),
}
"""Subjects that no loss can happen to."""
ORACLE = "oracle"
"""Right about every film: what it keeps is worth saying."""


def trimmed(claim: Claim) -> Claim:
    """Return a claim as it stands in the table, without what only adds curves and tables to its effect."""
    beside = {"control", "remedies", "views", "whiteout", "side_by_side", "transfer"}
    needed = {"called_whatever_the_cause", "confident_whatever_the_cause", "flip_rate", "stress_gap"}
    if claim.endpoint not in needed:
        beside.add("conditions")
    kept = {key: value for key, value in claim.parameters.items() if key not in beside}
    if "method" in get(claim.endpoint).parameters:
        kept["method"] = METHOD
    return replace(claim, parameters=kept)


def with_sexes(cohort: Cohort) -> Cohort:
    """Return a cohort with the sex of every patient by lot: without groups no claim about them could be judged."""
    women = np.random.default_rng(0).random(len(cohort)) < 0.5
    return replace(cohort, table=cohort.table.assign(sex=np.where(women, "F", "M")))


def elsewhere(row) -> Film:
    """A film of other patients, taken alike."""
    return exposed({**row, "number": int(row["number"]) + 5000})


def evaluated(cache: Path) -> Evaluation:
    """Judge every claim about a subject on the idle subjects and on the oracle; attack and explain a few films only."""
    hub = Preprocessing(name="hub", short_side=SIDE + 4, size=SIDE, interpolation="bicubic")
    made = {**{name: build() for name, build in IDLE.items()}, ORACLE: Oracle()}
    strange = {
        role: cohort_of(STRANGE, name=role, labelled=False, decode=exposed) for role in ("lateral", "adult", "unseen")
    }
    there = cohort_of(STRANGE, name="there", decode=elsewhere)
    run = Evaluation(
        subjects=[subject_of(network, name, recipes={"hub": hub}) for name, network in made.items()],
        cohort=with_sexes(cohort_of(FILMS, decode=partial(boned, decode=exposed))),
        claims=[trimmed(claim) for claim in load_claims() if get(claim.endpoint).about == "subject"],
        probes=strange | {"external": there},
        cache=cache,
        quiet=True,
    )
    few = [
        patch.dict(films, {"quick": size})
        for films, size in (
            (protocols.FILMS, 12), (protocols.WHOLE_FILMS, 6), (protocols.PATTERN_FILMS, 24),
            (attribution.FILMS, 12), (border_occlusion.FILMS, 60),
        )
    ]  # fmt: skip
    for one in few:
        one.start()
    try:
        return run.run()
    finally:
        for one in few:
            one.stop()


def table(run: Evaluation) -> pd.DataFrame:
    """Return the verdicts: one row per claim, one column per subject."""
    rows = [(judged.claim.id, judged.subject, str(judged.verdict).replace("_", " ")) for judged in run.judgements]
    wide = pd.DataFrame(rows, columns=["claim", "subject", "verdict"]).set_index(["claim", "subject"])["verdict"]
    order = [list(dict.fromkeys(row[at] for row in rows)) for at in (0, 1)]
    return wide.unstack().loc[order[0], order[1]]  # noqa: PD010 - each pair has one verdict, nothing is aggregated


def markdown(verdicts: pd.DataFrame) -> str:
    """Return a table as Markdown."""
    lines = [["claim", *verdicts.columns], ["---"] * (1 + len(verdicts.columns))]
    lines += [[str(claim), *map(str, row)] for claim, row in zip(verdicts.index, verdicts.to_numpy(), strict=True)]
    return "\n".join(f"| {' | '.join(line)} |" for line in lines)


if __name__ == "__main__":
    with TemporaryDirectory() as folder:
        print(markdown(table(evaluated(Path(folder)))))
