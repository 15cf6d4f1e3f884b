"""Endpoint of the shortcut probe: does a call hang on the border and corners of a film, where no lung lies?"""

from __future__ import annotations

import json
from collections.abc import Iterator, Mapping, Sequence
from dataclasses import dataclass
from pathlib import Path

import numpy as np
import numpy.typing as npt
import pandas as pd

from explain.shortcut import shortcut_probe
from suites.harness.claims import Claim, Result
from suites.harness.endpoints import headroom
from suites.harness.endpoints.explanations import attribution
from suites.harness.endpoints.explanations.saliency_work import Looking, network_of
from suites.harness.endpoints.registry import beyond, endpoint, measured, within
from suites.harness.endpoints.toll import of_calls
from suites.harness.formatting.cells import percent
from suites.harness.predictions.answers import Answers
from suites.harness.predictions.blocks import Told, cut
from suites.harness.predictions.conditions import CLEAN
from suites.harness.predictions.evidence import Evidence
from suites.harness.predictions.film_work import Values, rows_of
from suites.harness.predictions.opened import Opened
from suites.harness.subjects.subject import Subject

BATCH = 64
"""Films of a batch of the network."""
FILMS = {"quick": 120, "standard": 400, "full": 1_000_000}
"""Films probed by profile, whole patients, by class."""


@endpoint("border_flips", stage="explaining")
def border_flips(evidence: Evidence, claim: Claim) -> Result:
    """Share of films whose call flips when the border, or the corners, are covered with the film's mean grey.

    Beside it the same for a square of equal area at a random place inside, which hides anatomy and may flip more.
    """
    answers = evidence.main
    index = attribution.chosen(answers, evidence.profile, answers.shared(CLEAN), FILMS)
    table = _probed(answers, index, evidence.cache)
    among = np.zeros(len(answers.cohort), dtype=bool)
    among[index] = True
    n, smallest = len(index), answers.smallest_class(index)

    def flips(part: pd.DataFrame) -> npt.NDArray[np.float64]:
        """Return (N,) whether any of these covers flipped a film."""
        by_film = part.groupby("image_id")["flipped"].any()
        values = np.zeros(len(answers.cohort))
        values[index] = [float(by_film[answers.images[at]]) for at in index]
        return values

    covers, control = table[~table["control"]], table["control"]
    share = answers.rate(flips(covers), among)
    inside = answers.rate(flips(table[control]), among)
    each = {str(name): answers.rate(flips(part), among) for name, part in covers.groupby("cover", sort=False)}
    rows = (
        table.groupby(["cover", "control"], sort=False)
        .agg(area=("area", "mean"), flipped=("flipped", "mean"), logit_fall=("logit_shift", "mean"))
        .reset_index()
        .assign(control=lambda frame: np.where(frame["control"], "square inside, same area", "covered"))
        .rename(columns={"control": "where", "logit_fall": "fall of the logit"})
    )
    return Result(
        effect=measured("flips_when_edges_covered", CLEAN, share, n, unit="share", smallest=smallest),
        p_beyond=beyond(share, claim),
        p_within=within(share, claim),
        headroom=[headroom.skill(answers, max(headroom.SKILL, claim.margin))],
        measures=[
            *(
                measured(f"flips_when_{name}_covered", CLEAN, value, n, unit="share", smallest=smallest)
                for name, value in each.items()
            ),
            measured("flips_when_inside_covered", CLEAN, inside, n, unit="share", smallest=smallest),
            *of_calls(answers, answers.called(), _after(answers, covers), among, "mean over covers - clean"),
        ],
        finding=f"Covering only the border or the corners changes {percent(share.estimate)} of the calls.",
        summary=(
            f"Covering the border or the corners changes {percent(share.estimate)} of {n} calls; squares of the "
            f"same area inside the film change {percent(inside.estimate)}."
        ),
        tables={"What covering changes": rows},
    )


def _after(answers: Answers, covers: pd.DataFrame) -> list[npt.NDArray[np.float64]]:
    """Return (N,) what every film is called under each cover, NaN where it was not covered."""
    place = {image: at for at, image in enumerate(answers.images)}
    found = []
    for _, part in covers.groupby("cover", sort=False):
        calls = np.full(len(answers.images), np.nan)
        calls[[place[image] for image in part["image_id"]]] = part["predicted_after"].to_numpy(np.float64)
        found.append(calls)
    return found


@dataclass(frozen=True, kw_only=True)
class CoverWork(Looking):
    """Calls of films whose border or corners are covered; a block is a batch of the network."""

    kind: str = "shortcut-probe"

    @property
    def columns(self) -> Mapping[str, str]:
        """Columns of a row and their kinds."""
        return {"records": "text"}

    def rows(
        self, subjects: Sequence[Subject], asked: str, films: Sequence[Opened], lacking: Sequence[int], told: Told
    ) -> Iterator[tuple[int, Values]]:
        """Yield the place of every film, and as JSON one record for each cover."""
        del asked, lacking, told
        (subject,) = subjects
        ids = [film.key[0] for film in films]
        table = shortcut_probe(network_of(subject), self.inputs(subject, films), ids, seed=self.seed, batch=BATCH)
        for image, own in table.groupby("image_id", sort=False):
            yield ids.index(str(image)), {"records": json.dumps(own.to_dict("records"))}


def _probed(answers: Answers, index: npt.NDArray[np.int64], cache: Path) -> pd.DataFrame:
    """Return one row per film and cover, from the cache if the same films were probed before."""
    work = CoverWork(seed=answers.seed, resolution=answers.resolution)
    with answers.progress.doing("explaining", f"{answers.subject.name}, border and corners covered"):
        blocks = cut(rows_of(answers, index), BATCH, ["shortcut probe"])
        rows = attribution.asking_for(answers, work, cache, each=0).rows(blocks)
        return pd.DataFrame([record for row in rows for record in json.loads(row["records"])])
