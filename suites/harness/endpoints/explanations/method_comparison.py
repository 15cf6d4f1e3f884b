"""Which attribution methods can be believed? One row of measures per method, kept in the cache."""

from __future__ import annotations

import json
from collections.abc import Iterator, Mapping, Sequence
from dataclasses import dataclass

import numpy as np
import numpy.typing as npt
import pandas as pd
from torch import Tensor

import explain
from explain import AttributionMap
from explain.attribution import SMALL_DIFFERENCE
from explain.faithfulness import erasure, infidelity, sensitivity_max
from explain.sanity import completeness
from explain.similarity import agreement, average
from suites.harness.cache.places import Root
from suites.harness.endpoints.explanations import attribution
from suites.harness.endpoints.explanations.attribution import Checked
from suites.harness.endpoints.explanations.saliency_work import Looking, MapWork, code_of, network_of, unpacked
from suites.harness.errors import NotEvaluable
from suites.harness.predictions.blocks import Told, cut
from suites.harness.predictions.evidence import Evidence
from suites.harness.predictions.film_work import Values, rows_of, shards_of
from suites.harness.predictions.opened import Opened
from suites.harness.subjects.attribution_layer import described, method_of
from suites.harness.subjects.subject import Subject

CONTROLS = ("edge detector",)
"""Maps that never saw the network: their row shows that the checks catch such a thing."""
FILMS = {"quick": 4, "standard": 16, "full": 50}
PROFILES = tuple(FILMS)
STEPS = 10
ABOUT = {
    "sanity check": "cascading randomisation of the weights; undecided where the interval of the difference holds 0",
    "maps lost": "films whose map is then no more like itself than maps of other films are",
    "completeness gap": f"share of the logit difference (at least {SMALL_DIFFERENCE:g}) that the map misses; 0 is best",
    "deletion": "area won over random order when the film is erased, most important cells first; above 0 is good",
    "insertion": "the same when it is revealed",
    "infidelity": "how badly the map predicts the logit's change under grey noise; 0 is best",
    "sensitivity": "largest relative change of the map under faint noise; 0 is best (not in the profile quick)",
    "cost": "in forward passes per film; a backward pass counts as two",
}
"""What the columns of the table say."""


def methods(profile: str) -> list[str]:
    """Return the methods that a run shows and measures; those that are not valid for a subject are listed with why."""
    known = [explain.get(name) for name in explain.names()]
    return [one.name for one in known if not one.baseline and PROFILES.index(one.profile) <= PROFILES.index(profile)]


def compared(
    evidence: Evidence, index: npt.NDArray[np.int64], *also: str
) -> tuple[pd.DataFrame, pd.DataFrame, dict[str, Checked]]:
    """Return the table of all methods, how far they agree with one another, and each sanity check.

    Args:
        evidence: of the run.
        index: films of the cohort; the first few are measured.
        also: methods beside those of the profile.
    """
    answers, few = evidence.main, index[: FILMS[evidence.profile]]
    rows: list[dict[str, object]] = []
    checks: dict[str, Checked] = {}
    kept: list[AttributionMap] = []
    asked = list(dict.fromkeys((*methods(evidence.profile), *also, *CONTROLS)))
    attribution.prepare(answers, index, few, asked, evidence.cache)
    _believing(evidence, few, asked)
    for method in asked:
        try:
            checked = attribution.sanity(answers, index, method, evidence.cache)
            maps = attribution.attribute(answers, few, method, evidence.cache).maps
        except NotEvaluable as reason:
            rows.append({"method": method, "sanity check": str(reason)})
            continue
        kept.append(maps)
        checks[method] = checked
        known = np.isfinite(checked.own)
        rows.append(
            {
                "method": f"{method} (control)" if method in CONTROLS else described(answers.subject, method),
                "sanity check": checked.outcome,
                "SSIM, weights redrawn": average(checked.own).mean,
                "SSIM, other films": average(checked.others).mean,
                "maps lost": int(np.nansum(checked.lost)),
                "films checked": int(known.sum()),
                "completeness gap": completeness(maps).average.mean,
                **_faithful(evidence, few, method),
                "cost": maps.passes.as_forwards,
                "films": int(maps.usable.sum()),
            }
        )
    together = agreement(kept).rename(columns={"rank_correlation": "rank correlation", "n": "films"})
    return pd.DataFrame(rows), together.drop(columns="left_out"), checks


@dataclass(frozen=True, kw_only=True)
class BeliefWork(Looking):
    """Deletion, insertion, infidelity and sensitivity of the maps of a block's films, on average.

    Attributes:
        slow: sensitivity, too.
        cache: where maps are kept that were made before.
    """

    slow: bool
    cache: Root
    kind: str = "map-beliefs"

    @property
    def columns(self) -> Mapping[str, str]:
        """Columns of a row and their kinds."""
        return {"means": "text"}

    def key(self, subjects: Sequence[Subject], asked: str) -> Mapping[str, object]:
        """Return everything that decides the measures besides the films."""
        return {**super().key(subjects, asked), "slow": self.slow}

    def rows(
        self, subjects: Sequence[Subject], asked: str, films: Sequence[Opened], lacking: Sequence[int], told: Told
    ) -> Iterator[tuple[int, Values]]:
        """Yield the place of every film, and as JSON the means over all of them.

        Raises:
            NotEvaluable: the method is not valid for this subject, or its code failed.
        """
        del lacking
        (subject,) = subjects
        maps = unpacked(self._maps(subjects, asked, films, told), asked)
        means = json.dumps(_measured(subject, self.inputs(subject, films), asked, maps, seed=self.seed, slow=self.slow))
        for at in range(len(films)):
            yield at, {"means": means}

    def _maps(self, subjects: Sequence[Subject], asked: str, films: Sequence[Opened], told: Told) -> list[Values]:
        """Return the map of every film, made now where none is kept."""
        work = MapWork(seed=self.seed, resolution=self.resolution)
        shards, identity = shards_of(self.cache, work, subjects, asked), work.identity(asked, films)
        known = shards.known([film.key for film in films], [identity])
        found = {at: row for at, film in enumerate(films) if (row := known.get((film.key[1], film.key[0], identity)))}
        lacking = [at for at in range(len(films)) if at not in found]
        for at, values in work.rows(subjects, asked, films, lacking, told):
            found[at] = {**values, "image": films[at].key[0]}
        return [found[at] for at in range(len(films))]


def _believing(
    evidence: Evidence, few: npt.NDArray[np.int64], methods: Sequence[str]
) -> dict[str, list[Values] | NotEvaluable]:
    """Return by method what is kept of its faithfulness on some films, working out what is not."""
    answers = evidence.main
    work = BeliefWork(
        seed=answers.seed, resolution=answers.resolution, slow=evidence.profile != "quick", code=code_of(methods),
        cache=evidence.cache if answers.blocks_at is None else answers.blocks_at,
    )  # fmt: skip
    rows = rows_of(answers, few, attribution.explained(answers, answers.called()[few]))
    with answers.progress.doing("explaining", f"{answers.subject.name}, are maps faithful"):
        asking = attribution.asking_for(answers, work, evidence.cache, each=0)
        return {block.asked: found for block, found in asking.by_block(cut(rows, len(rows), methods))}


def _faithful(evidence: Evidence, few: npt.NDArray[np.int64], method: str) -> dict[str, float]:
    """Return mean deletion, insertion, infidelity and sensitivity of some films' maps.

    Raises:
        NotEvaluable: the method is not valid for this subject, or its code failed.
    """
    rows = _believing(evidence, few, [method])[method]
    if isinstance(rows, NotEvaluable):
        raise rows
    return {str(name): float(value) for name, value in json.loads(str(rows[0]["means"])).items()}


def _measured(
    subject: Subject, pixels: Tensor, method: str, maps: AttributionMap, *, seed: int, slow: bool
) -> dict[str, float]:
    network = network_of(subject)
    cell = max(1, pixels.shape[-1] // 16)  # 256 cells, whatever the size of the film
    erased, revealed = (
        erasure(network, pixels, maps, way, steps=STEPS, cell=cell, seed=seed).advantage
        for way in ("deletion", "insertion")
    )
    found = {
        "deletion": average(erased).mean,
        "insertion": average(revealed).mean,
        "infidelity": average(infidelity(network, pixels, maps, seed=seed)).mean,
    }
    if slow:
        called = list(maps.targets)
        found["sensitivity"] = average(
            sensitivity_max(method_of(subject, method), network, pixels, called, maps.image_ids, seed=seed)
        ).mean
    return found
