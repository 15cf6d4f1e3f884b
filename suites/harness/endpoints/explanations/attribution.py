"""Where do maps of the chosen films point? Each computed once, with the check that says whether to believe it.

How a map is made and kept is told in `saliency_work`: here is asked for it.
"""

from __future__ import annotations

import json
from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass
from functools import partial
from pathlib import Path
from typing import NamedTuple

import numpy as np
import numpy.typing as npt
import pandas as pd
from torch import Tensor, cat

from explain import AttributionMap
from explain.regions import Mask
from explain.sanity import UNCHANGED, Outcome
from suites.harness.cache import Row, Shards
from suites.harness.cohorts.film_disk_cache import remembering
from suites.harness.endpoints.explanations import saliency_work
from suites.harness.endpoints.explanations.saliency_work import (
    STAGES,
    MapWork,
    SanityWork,
    Seen,
    attributed,
    code_of,
    network_of,
    packed,
    seen,
    unpacked,
)
from suites.harness.errors import NotEvaluable
from suites.harness.predictions.answers import Answers
from suites.harness.predictions.blocks import Block, cut
from suites.harness.predictions.conditions import CLEAN, parse
from suites.harness.predictions.film_work import Asking, Work, rows_of

FILMS: Mapping[str, int] = {"quick": 32, "standard": 100, "full": 300}
"""Films attributed by profile, whole patients, by class."""
CHECKED = 8
"""Films on which a method's sanity is checked."""


@dataclass(frozen=True)
class Maps:
    """The maps of one method for some films of a cohort, in one order.

    Attributes:
        index: (M,) positions in the cohort.
        maps: as computed, or read from the cache.
        pixels: gives (M, C, S, S), the network's input; a film is decoded only when somebody looks at it.
    """

    index: npt.NDArray[np.int64]
    maps: AttributionMap
    pixels: Callable[[], Tensor]


@dataclass(frozen=True)
class Checked:
    """What became of a method's maps when the network's weights were redrawn.

    Attributes:
        outcome: `passed`, `failed`, `undecided` or `not evaluable`; `reason` in words.
        index: (M,) positions in the cohort of the films it was checked on.
        own: (M,) structural similarity of each film's map to its map after all weights were redrawn.
        others: (M,) of its map to those of other films.
    """

    outcome: Outcome
    reason: str
    index: npt.NDArray[np.int64]
    own: npt.NDArray[np.float64]
    others: npt.NDArray[np.float64]

    @property
    def lost(self) -> npt.NDArray[np.float64]:
        """(M,) 1 where the map went with the weights, 0 where it stayed, NaN where nothing can be said."""
        lost = np.where((self.own <= self.others) & (self.own <= UNCHANGED), 1.0, 0.0)
        lost[~np.isfinite(self.own - self.others)] = np.nan
        return lost

    @property
    def counted(self) -> str:
        """How many maps went with the weights, `(3 of 8 maps lost)`; empty where nothing can be said."""
        known = self.lost[np.isfinite(self.lost)]
        return f"({int(known.sum())} of {len(known)} maps lost)" if len(known) else ""

    @property
    def told(self) -> str:
        """The outcome with how many maps went with the weights: `undecided (3 of 8 maps lost)`."""
        return f"{self.outcome} {self.counted}".strip()


def chosen(
    answers: Answers, profile: str, among: npt.NDArray[np.bool_], films: Mapping[str, int] = FILMS
) -> npt.NDArray[np.int64]:
    """Return the positions of the films to attribute.

    Raises:
        NotEvaluable: none qualifies, or the subject has no gradients to attribute with.
    """
    network_of(answers.subject)
    if not among.any():
        raise NotEvaluable(f"no film of {answers.cohort.name} qualifies for an attribution")
    kept = answers.cohort.select(pd.Series(among)).limited(films[profile], answers.seed)
    ids = set(kept.table["id"].astype(str))
    return np.array([at for at, image in enumerate(answers.images) if image in ids], dtype=np.int64)


def _seen(answers: Answers, at: int, condition: str) -> Seen:
    """Return what is seen of a film."""
    image = answers.images[at]
    return seen(
        answers.subject, lambda: answers.film(image), answers.content(image), image, parse(condition),
        seed=answers.seed, resolution=answers.resolution,
    )  # fmt: skip


def explained(answers: Answers, called: npt.ArrayLike) -> list[int]:
    """Return which logit the map of each film explains: that of the class it is called, of one finding always its own.

    What stands for the absence of a finding is one number for all films, which no pixel moves: its map would be flat.
    So a map of a finding shows what speaks for it, also on a film on which it is denied.

    Args:
        answers: of the subject.
        called: (M,) class called of each film.
    """
    calls = np.asarray(called).astype(np.int64)
    own = len(answers.subject.classes) - 1
    return [own] * len(calls) if answers.subject.whole is not None else [int(one) for one in calls]


def inputs(answers: Answers, index: Sequence[int], condition: str = CLEAN) -> Tensor:
    """Return (M, C, S, S) network input of some films under a condition; all channels are the same grey."""
    grey = cat([_seen(answers, at, condition).grey for at in index])
    return grey.expand(-1, answers.subject.preprocessing.channels, -1, -1).contiguous()


def masks(answers: Answers, index: Sequence[int], name: str) -> tuple[dict[str, Mask], npt.NDArray[np.float64]]:
    """Return image id -> (S, S) mask carried through the resize and crop, and the share of each that stayed visible.

    Where a film's lesions have a mask for each finding, `lesion` is that of the subject's own finding alone: what was
    drawn around another one is no place to look for it.

    Raises:
        NotEvaluable: the films carry no mask of that name.
    """
    looked = {answers.images[at]: _seen(answers, at, CLEAN) for at in index}
    if any(name not in one.masks for one in looked.values()):
        raise NotEvaluable(f"the films of {answers.cohort.name} carry no {name} mask")
    own = f"{name}:{answers.subject.classes[-1]}"
    found, visible = {}, []
    for image, one in looked.items():
        apart = answers.subject.whole is not None and any(other.startswith(f"{name}:") for other in one.masks)
        named = own if apart else name
        found[image] = one.masks.get(named, np.zeros_like(one.masks[name]))
        visible.append(one.visible.get(named, np.nan))
    return found, np.array(visible)


def attribute(
    answers: Answers,
    index: npt.NDArray[np.int64],
    method: str,
    cache: Path,
    condition: str = CLEAN,
    *,
    targets: Sequence[int] | None = None,
) -> Maps:
    """Attribute each film's call (see `explained`) under a condition, or the class in `targets` (M,), to its pixels.

    Raises:
        NotEvaluable: the method is not valid for this subject; the reason is its own.
    """
    asked = targets if targets is not None else explained(answers, answers.called(condition)[index])
    work = MapWork(seed=answers.seed, resolution=answers.resolution, condition=parse(condition), code=code_of([method]))
    with answers.progress.doing("explaining", f"{answers.subject.name}, {method}"):
        blocks = cut(rows_of(answers, index, asked), saliency_work.FILMS, [method])
        rows = list(asking_for(answers, work, cache).rows(blocks))
    return Maps(index, unpacked(rows, method), lambda: inputs(answers, index.tolist(), condition))


def asking_for(answers: Answers, work: Work, cache: Path, *, each: int = 1) -> Asking:
    """Return a job on the films of some answers; those that are costly to make are kept.

    Args:
        answers: of the subject.
        work: what is done.
        cache: root of the cache.
        each: units of progress that a film is.
    """
    return Asking(answers, work, cache, decode=remembering(answers.cohort, answers.cache or cache), each=each)


class Asked(NamedTuple):
    """A film to be explained: its name, what tells its pixels from all others, and the class asked about."""

    image: str
    content: str
    target: int


def attribute_each(
    answers: Answers, films: Sequence[Asked], method: str, cache: Path, pixels: Callable[[int], Tensor]
) -> AttributionMap:
    """Attribute one class of each film to its pixels, one film at a time.

    Args:
        answers: of the subject.
        films: M of them.
        method: of `explain`.
        cache: root of the cache.
        pixels: row -> (1, C, S, S), asked only for films that are not in the cache.

    Raises:
        NotEvaluable: the method is not valid for this subject; the reason is its own.
    """
    subject = answers.subject
    network_of(subject)
    progress = answers.progress
    work = MapWork(seed=answers.seed, resolution=answers.resolution)
    columns = {"image": "text", "content": "text", "target": "whole", **saliency_work.COLUMNS}
    shards = Shards(cache, "maps-of-examples", work.key([subject], method), columns)

    def mapped(row: int, film: Asked) -> Row:
        made = attributed(subject, method, pixels(row), target=film.target, image=film.image, seed=answers.seed)
        progress.done()
        return packed(made)

    asked = ((film, partial(mapped, row, film)) for row, film in enumerate(films))
    with progress.doing("explaining", f"{subject.name}, {method}"):
        return unpacked(shards.fill(Asked._fields, asked), method)


def sanity(answers: Answers, index: npt.NDArray[np.int64], method: str, cache: Path) -> Checked:
    """Return what redrawing all weights of the network does to a method's maps of the first films of `index`.

    Raises:
        NotEvaluable: the method is not valid for this subject.
    """
    few = index[:CHECKED]
    with answers.progress.doing("explaining", f"{answers.subject.name}, is {method} lost with the weights"):
        asking, blocks = _checking(answers, few, [method], cache)
        rows = list(asking.rows(blocks))
    told = [json.loads(row["checked"]) for row in rows]
    outcome: Outcome = told[0][0]
    own, others = (np.array([one[place] for one in told], dtype=np.float64) for place in (2, 3))
    return Checked(outcome, told[0][1], few, own, others)


def _checking(
    answers: Answers, few: npt.NDArray[np.int64], methods: Sequence[str], cache: Path
) -> tuple[Asking, list[Block]]:
    asked = explained(answers, answers.called()[few])
    work = SanityWork(seed=answers.seed, resolution=answers.resolution, code=code_of(methods))
    return asking_for(answers, work, cache, each=STAGES + 1), cut(rows_of(answers, few, asked), CHECKED, methods)


def prepare(
    answers: Answers, index: npt.NDArray[np.int64], few: npt.NDArray[np.int64], methods: Sequence[str], cache: Path
) -> None:
    """Have all methods checked on the first films of `index`, and `few` films mapped, before somebody asks one by one.

    So workers have all of it at once; of a method that is not valid whoever asks for it is told.
    """
    asking, blocks = _checking(answers, index[:CHECKED], methods, cache)
    with answers.progress.doing("explaining", f"{answers.subject.name}, are maps lost with the weights"):
        list(asking.by_block(blocks))
    asked = explained(answers, answers.called()[few])
    work = MapWork(seed=answers.seed, resolution=answers.resolution, code=code_of(methods))
    with answers.progress.doing("explaining", f"{answers.subject.name}, all methods"):
        maps = cut(rows_of(answers, few, asked), saliency_work.FILMS, methods)
        list(asking_for(answers, work, cache).by_block(maps))
