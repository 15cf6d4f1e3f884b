"""Attribution maps of chosen films, with the sanity check that says whether the method may be believed."""

from __future__ import annotations

import io
from collections.abc import Sequence
from dataclasses import dataclass
from pathlib import Path

import numpy as np
import numpy.typing as npt
import pandas as pd
import torch
from torch import Tensor

from explain import AttributionMap, NotAttributableError, create_method
from explain.gallery import Conditioned, build_panels
from explain.panel import Panel, Sanity
from explain.regions import Mask
from explain.sanity import Outcome, Randomisation, cascading_randomisation
from explain.selection import Pick
from suites.harness.cache import Shards
from suites.harness.conditions import CLEAN
from suites.harness.errors import NotEvaluable
from suites.harness.evidence import Answers
from suites.harness.film_figures import under

FILMS = {"quick": 32, "standard": 100, "full": 300}
"""Films attributed by profile, whole patients, by class."""
CHECKED = 8
"""Films on which a method's sanity is checked."""


@dataclass(frozen=True)
class Maps:
    """The maps of one method for some films of a cohort.

    Attributes:
        index: (M,) positions in the cohort.
        films: (M, S, S) as the network saw them.
        maps: in the same order.
    """

    index: npt.NDArray[np.int64]
    films: npt.NDArray[np.float32]
    maps: AttributionMap


def chosen(answers: Answers, profile: str, among: npt.NDArray[np.bool_]) -> npt.NDArray[np.int64]:
    """Return the positions of the films to attribute.

    Raises:
        NotEvaluable: none qualifies, or the subject has no gradients to attribute with.
    """
    if not answers.subject.differentiable:
        raise NotEvaluable(
            f"{answers.subject.name} answers whole films without gradients, so no saliency can be had; "
            "explain the weights behind it"
        )
    if not among.any():
        raise NotEvaluable(f"no film of {answers.cohort.name} qualifies for an attribution")
    kept = answers.cohort.select(pd.Series(among)).limited(FILMS[profile], answers.seed)
    ids = set(kept.table["id"].astype(str))
    return np.array([at for at, image in enumerate(answers.images) if image in ids], dtype=np.int64)


def inputs(answers: Answers, index: Sequence[int], condition: str = CLEAN) -> Tensor:
    """Return (M, C, S, S) network input of some films under a condition."""
    films = [torch.from_numpy(under(answers, answers.images[at], condition)) for at in index]
    return torch.cat([answers.subject.pixels(film.unsqueeze(0)) for film in films])


def attribute(answers: Answers, index: npt.NDArray[np.int64], method: str, cache: Path, condition: str = CLEAN) -> Maps:
    """Attribute each film's call to its pixels.

    Raises:
        NotEvaluable: the method is not valid for this subject; the reason is its own.
    """
    if answers.subject.network is None:
        raise NotEvaluable(f"{answers.subject.name} answers without gradients, so {method} cannot be had")
    ids = [answers.images[at] for at in index]
    called = answers.called(condition)[index].astype(np.int64)
    pixels = inputs(answers, index.tolist(), condition)
    shards = Shards(cache, "maps", _key(answers, ids, method, condition, pixels))
    known = shards.read()
    if len(known):
        maps = _unpacked(known.iloc[0], method, ids, called)
    else:
        try:
            maps = create_method(method)(answers.subject.network, pixels, called.tolist(), ids, seed=answers.seed)
        except NotAttributableError as refused:
            raise NotEvaluable(str(refused)) from refused
        shards.add(_packed(maps))
    return Maps(index, pixels[:, 0].detach().cpu().numpy(), maps)


def sanity(answers: Answers, index: npt.NDArray[np.int64], method: str, cache: Path) -> tuple[Outcome, str]:
    """Return the outcome of randomising the network under a method (`passed`, `failed`, `not evaluable`) and why."""
    if answers.subject.network is None:
        return "not evaluable", "the subject has no weights here to randomise"
    few = index[:CHECKED]
    ids = [answers.images[at] for at in few]
    pixels = inputs(answers, few.tolist())
    shards = Shards(cache, "map-checks", _key(answers, ids, method, CLEAN, pixels))
    known = shards.read()
    if len(known):
        stored: Outcome = known.iloc[0]["outcome"]
        return stored, str(known.iloc[0]["reason"])
    called = answers.called()[few].astype(np.int64).tolist()
    found: Randomisation = cascading_randomisation(
        create_method(method), answers.subject.network, pixels, called, ids, stages=3, seed=answers.seed
    )
    shards.add(pd.DataFrame([{"outcome": found.outcome, "reason": found.reason}]))
    return found.outcome, found.reason


def masks(answers: Answers, index: npt.NDArray[np.int64], name: str) -> tuple[dict[str, Mask], npt.NDArray[np.float64]]:
    """Return image id -> (S, S) mask carried through the resize and crop, and the share of each that stayed visible.

    Raises:
        NotEvaluable: the films carry no mask of that name.
    """
    found: dict[str, Mask] = {}
    visible = []
    recipe = answers.subject.preprocessing
    for at in index:
        film = answers.film(answers.images[at])
        if name not in film.masks:
            raise NotEvaluable(f"the films of {answers.cohort.name} carry no {name} mask")
        whole = torch.from_numpy(film.masks[name]).unsqueeze(0)
        seen = recipe.masks(whole)[0].numpy()
        rows, columns = recipe.resized_shape(*film.pixels.shape)
        full = float(whole.float().mean()) * rows * columns
        found[answers.images[at]] = seen
        visible.append(min(1.0, float(seen.sum()) / full) if full else np.nan)
    return found, np.array(visible)


def panels(
    answers: Answers,
    picks: Sequence[Pick],
    before: Maps,
    *,
    topic: str,
    outcome: Sanity,
    after: Maps | None = None,
    condition: str = CLEAN,
    outlines: tuple[dict[str, Mask], dict[str, Mask]] = ({}, {}),
) -> list[Panel]:
    """Return one gallery panel per pick; `outlines` are the lesion and the lung masks where known."""
    names = answers.subject.classes
    truth = {answers.images[at]: names[answers.labels[at]] for at in before.index if answers.labels[at] >= 0}
    sides = [Conditioned(before.films, answers.probabilities()[before.index], before.maps)]
    if after is not None:
        sides.append(Conditioned(after.films, answers.probabilities(condition)[after.index], after.maps))
    lesions, lungs = outlines
    return build_panels(
        picks, names, *sides, topic=topic, condition=condition, truth=truth,
        sanity={before.maps.method: outcome}, lesions=lesions, lungs=lungs,
    )  # fmt: skip


def _key(answers: Answers, ids: Sequence[str], method: str, condition: str, pixels: Tensor) -> dict[str, object]:
    return {
        "subject": answers.subject.fingerprint,
        "preprocessing": answers.subject.preprocessing.fingerprint(),
        "method": method,
        "condition": condition,
        "films": list(ids),
        "pixels": str(pixels.double().sum(dim=(1, 2, 3)).tolist()),
        "seed": answers.seed,
        "torch": torch.__version__,
        "device": torch.device(answers.subject.device).type,
        "version": 1,
    }


def _packed(maps: AttributionMap) -> pd.DataFrame:
    buffer = io.BytesIO()
    np.savez_compressed(buffer, maps=maps.maps, status=np.array(maps.status), flags=[maps.signed, maps.class_specific])
    return pd.DataFrame([{"maps": buffer.getvalue()}])


def _unpacked(row: pd.Series, method: str, ids: Sequence[str], called: npt.NDArray[np.int64]) -> AttributionMap:
    with np.load(io.BytesIO(row["maps"]), allow_pickle=False) as stored:
        return AttributionMap(
            method=method,
            maps=stored["maps"],
            image_ids=tuple(ids),
            targets=tuple(called.tolist()),
            status=tuple(str(text) for text in stored["status"]),
            signed=bool(stored["flags"][0]),
            class_specific=bool(stored["flags"][1]),
        )
