"""Does the subject look at the lesion, the lung, the border? Held against known masks and chance."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import replace

import numpy as np
import numpy.typing as npt
import pandas as pd

import explain
from explain import regions
from explain.localisation import energy_table, localise, marked_region, overlap, summarise
from explain.selection import Pick, largest_flips, most_confident_errors, random_correct
from suites.harness import statistics
from suites.harness.claims import Claim, Result
from suites.harness.cohorts.class_roles import healthy
from suites.harness.cohorts.probes import FILMS
from suites.harness.counts import counted
from suites.harness.endpoints import headroom
from suites.harness.endpoints.explanations import attribution, galleries
from suites.harness.endpoints.explanations.attribution import Checked, Maps
from suites.harness.endpoints.explanations.galleries import Scene
from suites.harness.endpoints.parameters import ConditionName, OneOf, Role
from suites.harness.endpoints.registry import beyond, endpoint, measured, within
from suites.harness.endpoints.two_cohorts import smallest_kind
from suites.harness.errors import NotEvaluable
from suites.harness.formatting.cells import percent
from suites.harness.formatting.severities import in_words
from suites.harness.predictions.answers import Answers
from suites.harness.predictions.conditions import CLEAN
from suites.harness.predictions.evidence import Evidence
from suites.harness.statistics import Sampled
from suites.harness.subjects.attribution_layer import described, method_for

METHOD = OneOf("grad-cam", tuple(explain.names()))
"""The attribution method of a claim."""


def _method(answers: Answers, claim: Claim) -> str:
    return method_for(answers.subject, claim.parameters["method"])[0]


@endpoint("looks_at_lesion", parameters={"method": METHOD}, stage="explaining")
def looks_at_lesion(evidence: Evidence, claim: Claim) -> Result:
    """How much more often the map's maximum hits the lesion than a guess does (pointing game).

    The guess is the better one of two: the film's centre, and a point anywhere. Lesions lie in the lungs, so a guess at
    the centre may never hit any, and beating it alone would prove little.
    """
    answers = evidence.main
    method = _method(answers, claim)
    well = healthy(answers.subject.classes)
    ill = answers.shared(CLEAN) & (answers.correct(CLEAN) == 1) & (answers.cohort.table["label"] != well).to_numpy()
    index = attribution.chosen(answers, evidence.profile, ill)
    lesions, visible = attribution.masks(answers, index.tolist(), "lesion")
    seen = np.array([lesions[answers.images[at]].any() for at in index])
    index, visible = index[seen], visible[seen]
    if not len(index):
        raise NotEvaluable("no lesion is left inside the subject's crop")
    lesions = {answers.images[at]: lesions[answers.images[at]] for at in index}
    found = attribution.attribute(answers, index, method, evidence.cache)
    checked = attribution.sanity(answers, index, method, evidence.cache)
    table = localise(found.maps, lesions, "lesion", visible=visible, seed=evidence.seed)
    return _judged(
        answers, claim, table, ("hit", "hit_centre", "hit_random"), found, checked=checked,
        summary=(
            f"the strongest point of the map lies in the lesion in {percent(table['hit'].mean())} of "
            f"{counted(len(table), 'film')} called right (a guess at the centre would in "
            f"{percent(table['hit_centre'].mean())}, a "
            f"point anywhere in {percent(table['hit_random'].mean())}); on average "
            f"{percent(float(np.nanmean(visible)))} of the lesion lies inside the crop."
        ),
        picks=_picks(answers, index), evidence=evidence,
    )  # fmt: skip


@endpoint("looks_off_the_lung", parameters={"method": METHOD, "role": Role("")}, stage="explaining")
def looks_off_the_lung(evidence: Evidence, claim: Claim) -> Result:
    """Share of the map that lies off the lung, on the cohort or on a probe (`role`)."""
    role = claim.parameters["role"]
    answers = evidence.probe(role) if role else evidence.main
    method = _method(answers, claim)
    index = attribution.chosen(answers, evidence.profile, np.isfinite(answers.called()))
    lungs, _ = attribution.masks(answers, index.tolist(), "lung")
    found = attribution.attribute(answers, index, method, evidence.cache)
    checked = attribution.sanity(answers, index, method, evidence.cache)
    table = localise(found.maps, lungs, "lung", seed=evidence.seed)
    table = table.assign(off_lung=1 - table["energy"], off_lung_chance=1 - table["energy_random"])
    return _judged(
        answers, claim, table, ("off_lung",), found, checked=checked,
        summary=(
            f"{percent(table['off_lung'].mean())} of the map lies off the lung on {len(table)} "
            f"{FILMS.get(role, f'{role} films'.strip())}; an even map would put "
            f"{percent(table['off_lung_chance'].mean())} there."
        ),
        picks=[Pick(answers.images[at], row, "first of the cohort", 0.0) for row, at in enumerate(index[:4])],
        evidence=evidence,
    )  # fmt: skip


@endpoint("looks_at_border", parameters={"method": METHOD}, stage="explaining")
def looks_at_border(evidence: Evidence, claim: Claim) -> Result:
    """Share of the map on the outer frame of the film, beyond what an even map would put there."""
    answers = evidence.main
    method = _method(answers, claim)
    index = attribution.chosen(answers, evidence.profile, answers.shared(CLEAN))
    found = attribution.attribute(answers, index, method, evidence.cache)
    checked = attribution.sanity(answers, index, method, evidence.cache)
    border = regions.border_mask(found.maps.maps.shape[-1])
    table = localise(found.maps, np.broadcast_to(border, found.maps.maps.shape), "border", seed=evidence.seed)
    return _judged(
        answers, claim, table, ("energy", "energy_random"), found, checked=checked,
        summary=(
            f"{percent(table['energy'].mean())} of the map lies on the border of {len(table)} films, where "
            f"an even map would put {percent(table['energy_random'].mean())}."
        ),
        picks=_picks(answers, index), evidence=evidence,
        more={"Share of the map by region, beside its area and a centre prior": _regions(answers, found)},
    )  # fmt: skip


def _regions(answers: Answers, found: Maps) -> pd.DataFrame:
    """Return how much of the maps lies on every region known: masks of the films, and places estimated from them."""
    films = dict(zip(found.maps.image_ids, found.pixels()[:, 0].cpu().numpy(), strict=True))
    side = found.maps.maps.shape[-1]
    known = {}
    for name in ("lesion", "lung", "heart"):
        try:
            known[name], _ = attribution.masks(answers, found.index.tolist(), name)
        except NotEvaluable:
            continue
    known["body (estimated)"] = {image: regions.body_mask(film) for image, film in films.items()}
    known["border"] = dict.fromkeys(films, regions.border_mask(side))
    known["corners"] = dict.fromkeys(films, regions.corner_mask(side))
    known["markers (estimated)"] = {image: regions.marker_mask(film) for image, film in films.items()}
    table = energy_table(found.maps, known)
    return table[table["films"] > 0].rename(columns={"left_out": "left out"})


@endpoint("map_moves", parameters={"method": METHOD, "condition": ConditionName()}, stage="explaining")
def map_moves(evidence: Evidence, claim: Claim) -> Result:
    """How far the map of the same film moves under `condition`: 1 minus the overlap of its marked regions."""
    answers = evidence.main
    method = _method(answers, claim)
    condition = claim.parameters["condition"]
    index = attribution.chosen(answers, evidence.profile, answers.shared(CLEAN, condition))
    before = attribution.attribute(answers, index, method, evidence.cache)
    after = attribution.attribute(answers, index, method, evidence.cache, condition)
    checked = attribution.sanity(answers, index, method, evidence.cache)
    moved = [
        1 - overlap(marked_region(one), marked_region(other))
        if np.isfinite(one).all() and np.isfinite(other).all() else np.nan
        for one, other in zip(before.maps.magnitude, after.maps.magnitude, strict=True)
    ]  # fmt: skip
    table = pd.DataFrame({"image_id": before.maps.image_ids, "moved": moved})
    flips = largest_flips(before.maps.image_ids, answers.logits()[index], answers.logits(condition)[index], 4)
    return _judged(
        answers, claim, table, ("moved",), before, checked=checked, condition=condition,
        summary=(
            f"under {in_words(condition, inside=True)} the marked region of the map moves by "
            f"{percent(float(np.nanmean(moved)))} on average (0 % the same pixels, 100 % none in common)."
        ),
        picks=flips or _picks(answers, index), evidence=evidence,
    )  # fmt: skip


def _picks(answers: Answers, index: npt.NDArray[np.int64]) -> list[Pick]:
    """Return the most confident errors and, by lot, films called right."""
    ids, truth, logits = [answers.images[at] for at in index], answers.labels[index], answers.logits()[index]
    return [*most_confident_errors(ids, truth, logits, 2), *random_correct(ids, truth, logits, 3, answers.seed)]


def _judged(
    answers: Answers,
    claim: Claim,
    table: pd.DataFrame,
    columns: tuple[str, ...],
    found: Maps,
    *,
    evidence: Evidence,
    checked: Checked,
    summary: str,
    picks: list[Pick],
    condition: str = CLEAN,
    more: Mapping[str, pd.DataFrame] | None = None,
) -> Result:
    """Hold the mean of a column against the margin, less the largest of what further columns would give by chance.

    A method that failed its sanity check, or may have, proves nothing.
    """
    value = columns[0]
    numbers = table[list(columns)].to_numpy(np.float64)
    usable = np.isfinite(numbers).all(axis=1)
    among = np.zeros(len(answers.cohort), dtype=bool)
    among[found.index[usable]] = True
    if not usable.any():
        raise NotEvaluable(
            f"no usable map: {counted(len(table), 'map is', 'maps are')} not finite or without a mask inside the crop"
        )
    resamples, own, method = answers.resamples.subset(among), numbers[usable, 0], found.maps.method
    plain = statistics.rate(own, resamples)
    mean = _excess([statistics.rate(own - other, resamples, (-1.0, 1.0)) for other in numbers[usable, 1:].T]) or plain
    name = {"hit": "hit_rate_excess", "energy": "border_energy_excess"}.get(value, value)
    size = _size(answers, evidence, found.index[usable])
    trusted = checked.outcome == "passed"
    index = found.index[[pick.row for pick in picks]]
    scene = Scene(
        claim.section, condition, answers, index, picks,
        before=galleries.side_of(answers, evidence.cache, index),
        after=galleries.side_of(answers, evidence.cache, index, condition) if condition != CLEAN else None,
    )  # fmt: skip
    instead = method_for(answers.subject, claim.parameters["method"])[1]
    instead = f" {instead}" if instead else ""
    said = described(answers.subject, method)
    left_out = f" {counted(int((~usable).sum()), 'map is', 'maps are')} left out." if not usable.all() else ""
    tables = {"Where the map lies, beside chance and a centre prior": summarise(table)} if "region" in table else {}
    return Result(
        effect=measured(name, condition, mean, int(usable.sum()), unit="share" if mean is plain else "points", **size),
        p_beyond=beyond(mean, claim) if trusted else 1.0,
        p_within=within(mean, claim) if trusted else 1.0,
        headroom=[headroom.skill(evidence.main)],
        unproven="" if trusted else f"the sanity check of {method} is {checked.told}",
        measures=[
            measured({"hit": "hit_rate"}.get(value, value), condition, plain, int(usable.sum()), unit="share", **size)
        ],
        summary=f"{said}: {summary}{left_out}{instead} Sanity check {checked.told}: {checked.reason}.",
        tables=tables | dict(more or {}),
        galleries={f"Saliency ({method})": galleries.items(scene, method, checked)},
    )


def _excess(over: list[Sampled]) -> Sampled | None:
    """Return the smallest of several excesses, resample by resample: what is won on the best guess."""
    if not over:
        return None
    replicates, left_out = statistics.combined(lambda *values: np.min(values, axis=0), *over)
    return replace(over[0], estimate=min(one.estimate for one in over), replicates=replicates, left_out=left_out)


def _size(answers: Answers, evidence: Evidence, index: npt.NDArray[np.int64]) -> dict[str, int]:
    """Return the rule by which a rate on these films is exploratory: by class, on a probe by kind of finding."""
    if answers is evidence.main:
        return {"smallest": answers.smallest_class(index)}
    among = np.zeros(len(answers.cohort), dtype=bool)
    among[index] = True
    return {"smallest": smallest_kind(answers, among), "needed": 50}
