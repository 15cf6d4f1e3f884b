"""Where do maps of the chosen films point? Each computed once, with the check that says whether to believe it.

A map is kept under what decides it: weights, preprocessing, method, film, condition and seed. Every film is attributed
alone, so a map does not depend on its neighbours and serves claims, tables and galleries alike.
"""

from __future__ import annotations

import json
from collections import OrderedDict
from collections.abc import Callable, Iterator, Mapping, Sequence
from contextlib import contextmanager
from dataclasses import dataclass
from functools import lru_cache, partial
from importlib.metadata import version
from pathlib import Path
from typing import NamedTuple

import numpy as np
import numpy.typing as npt
import pandas as pd
import torch
from torch import Tensor, nn

from explain import AttributionMap, NotAttributableError, Passes
from explain.regions import Mask
from explain.sanity import UNCHANGED, Outcome, cascading_randomisation
from suites.harness.cache import Key, Row, Shards
from suites.harness.cache.code_digest import decoding
from suites.harness.errors import NotEvaluable
from suites.harness.foreign_code import foreign
from suites.harness.formatting.film_figures import under
from suites.harness.predictions.answers import Answers
from suites.harness.predictions.conditions import CLEAN, parse
from suites.harness.subjects.attribution_layer import LAYERED, layer_of, method_of

FILMS: Mapping[str, int] = {"quick": 32, "standard": 100, "full": 300}
"""Films attributed by profile, whole patients, by class."""
COLUMNS = {
    "image": "text", "content": "text", "target": "whole", "map": "bytes", "side": "whole", "status": "text",
    "signed": "flag", "class_specific": "flag", "gap": "number", "explained": "number", "forward": "number",
    "backward": "number",
}  # fmt: skip
CHECKS = {"outcome": "text", "reason": "text", "similar": "text"}
STAGES = 3
"""Steps in which a network's weights are redrawn for that; a map of every film before them and after each."""
CHECKED = 8
"""Films on which a method's sanity is checked."""
MOST_SEEN = 96 * 1024**2
"""Bytes of what networks see of films that are remembered, whatever the number of films and of their pixels."""


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
    network_of(answers)
    if not among.any():
        raise NotEvaluable(f"no film of {answers.cohort.name} qualifies for an attribution")
    kept = answers.cohort.select(pd.Series(among)).limited(films[profile], answers.seed)
    ids = set(kept.table["id"].astype(str))
    return np.array([at for at, image in enumerate(answers.images) if image in ids], dtype=np.int64)


def network_of(answers: Answers) -> nn.Module:
    """Return the subject's network.

    Raises:
        NotEvaluable: it has none, only answers.
    """
    if answers.subject.network is None:
        raise NotEvaluable(
            f"{answers.subject.name} answers whole films without gradients, so no saliency can be had; "
            "explain the weights behind it"
        )
    return answers.subject.network


@dataclass(frozen=True)
class _Seen:
    """What the network sees of a film: grey (1, 1, S, S), masks by name (S, S), share of each mask that is visible."""

    grey: Tensor
    masks: Mapping[str, Mask]
    visible: Mapping[str, float]

    @property
    def bytes(self) -> int:
        return self.grey.nbytes + sum(mask.nbytes for mask in self.masks.values())


def _seen(answers: Answers, at: int, condition: str) -> _Seen:
    """Return what is seen of a film; that of the last ones is remembered, for several claims look at the same."""
    subject, image = answers.subject, answers.images[at]
    names = (str(subject.cache_key), answers.content(image), image)
    identity = (*names, parse(condition).identity, str(answers.seed), str(answers.resolution))
    if identity not in _REMEMBERED:
        _REMEMBERED[identity] = _looked(answers, image, condition)
    _REMEMBERED.move_to_end(identity)
    while len(_REMEMBERED) > 1 and sum(one.bytes for one in _REMEMBERED.values()) > MOST_SEEN:
        _REMEMBERED.popitem(last=False)
    return _REMEMBERED[identity]


_REMEMBERED: OrderedDict[tuple[str, ...], _Seen] = OrderedDict()


def _looked(answers: Answers, image: str, condition: str) -> _Seen:
    """Decode, change and preprocess one film."""
    grey = answers.subject.pixels(torch.from_numpy(under(answers, image, condition)).unsqueeze(0))[:, :1]
    masks, visible = {}, {}
    recipe = answers.subject.preprocessing
    if condition == CLEAN:  # a mask is carried through the same resize and crop as its film
        film = answers.film(image)
        rows, columns = recipe.resized_shape(*film.pixels.shape)
        for name, mask in film.masks.items():
            whole = torch.from_numpy(mask).unsqueeze(0)
            masks[name] = recipe.masks(whole)[0].numpy()
            full = float(whole.float().mean()) * rows * columns
            visible[name] = min(1.0, float(masks[name].sum()) / full) if full else np.nan
    return _Seen(grey.clone(), masks, visible)


def inputs(answers: Answers, index: Sequence[int], condition: str = CLEAN) -> Tensor:
    """Return (M, C, S, S) network input of some films under a condition; all channels are the same grey."""
    grey = torch.cat([_seen(answers, at, condition).grey for at in index])
    return grey.expand(-1, answers.subject.preprocessing.channels, -1, -1).contiguous()


def masks(answers: Answers, index: Sequence[int], name: str) -> tuple[dict[str, Mask], npt.NDArray[np.float64]]:
    """Return image id -> (S, S) mask carried through the resize and crop, and the share of each that stayed visible.

    Where a film's lesions have a mask for each finding, `lesion` is that of the subject's own finding alone: what was
    drawn around another one is no place to look for it.

    Raises:
        NotEvaluable: the films carry no mask of that name.
    """
    seen = {answers.images[at]: _seen(answers, at, CLEAN) for at in index}
    if any(name not in one.masks for one in seen.values()):
        raise NotEvaluable(f"the films of {answers.cohort.name} carry no {name} mask")
    own = f"{name}:{answers.subject.classes[-1]}"
    found, visible = {}, []
    for image, one in seen.items():
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
    """Attribute each film's call under a condition, or the class in `targets` (M,), to its pixels.

    Raises:
        NotEvaluable: the method is not valid for this subject; the reason is its own.
    """
    called = targets if targets is not None else answers.called(condition)[index].astype(np.int64).tolist()
    # A map is kept under the film's content, so that a finished one is found without decoding any film.
    contents = [f"{text} {parse(condition).identity}" for text in _contents(answers, index)]
    films = [Asked(answers.images[at], *pair) for at, *pair in zip(index, contents, called, strict=True)]
    maps = attribute_each(answers, films, method, cache, lambda row: inputs(answers, [int(index[row])], condition))
    return Maps(index, maps, lambda: inputs(answers, index.tolist(), condition))


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
    network = network_of(answers)
    try:
        attribution = method_of(answers.subject, method)
    except NotAttributableError as refused:
        raise NotEvaluable(str(refused)) from refused
    shards = Shards(cache, "maps", {"method": method, **_key(answers, method)}, COLUMNS)

    progress = answers.progress

    def mapped(row: int, film: Asked) -> Row:
        shown = pixels(row)
        with _asking(method, attribution):
            made = _packed(attribution(network, shown, [film.target], [film.image], seed=answers.seed))
        progress.done()
        return made

    try:
        asked = ((film, partial(mapped, row, film)) for row, film in enumerate(films))
        with progress.doing("explaining", f"{answers.subject.name}, {method}"):
            return _unpacked(shards.fill(Asked._fields, asked, _finished(shards)), method)
    except NotAttributableError as refused:
        raise NotEvaluable(str(refused)) from refused


@contextmanager
def _asking(method: str, code: object) -> Iterator[None]:
    """Turn what a method or the network under it raises into a reason; what is refused keeps its own."""
    what, passing = f"the attribution {method!r} failed", (NotAttributableError,)
    try:
        with foreign(NotEvaluable, what, at=type(code), only_theirs=True, passing=passing):
            yield
    except NotAttributableError as refused:
        raise NotEvaluable(str(refused)) from refused


@lru_cache(maxsize=16)
def _finished(shards: Shards) -> dict[Key, Row]:
    """Return the maps of a folder, read once; what is computed since is added by `Shards.fill`."""
    return shards.known(Asked._fields)


def sanity(answers: Answers, index: npt.NDArray[np.int64], method: str, cache: Path) -> Checked:
    """Return what redrawing all weights of the network does to a method's maps of the first films of `index`.

    Raises:
        NotEvaluable: the method is not valid for this subject.
    """
    few = index[:CHECKED]
    called = answers.called()[few].astype(np.int64).tolist()
    shards = Shards(cache, "map-checks", {**key_of(answers, few, method), "rule": "whole interval"}, CHECKS)

    def randomised() -> pd.DataFrame:
        ids, pixels = [answers.images[at] for at in few], inputs(answers, few.tolist())
        what = f"{answers.subject.name}, is {method} lost with the weights"
        with answers.progress.doing("explaining", what), _asking(method, network_of(answers)):
            found = cascading_randomisation(
                method_of(answers.subject, method),
                network_of(answers),
                pixels,
                called,
                ids,
                stages=STAGES,
                seed=answers.seed,
            )
            answers.progress.done(len(ids) * (STAGES + 1))
        similar = json.dumps([found.ssim[-1].tolist(), found.pair_ssim.tolist()])
        return pd.DataFrame([{"outcome": found.outcome, "reason": found.reason, "similar": similar}])

    row = shards.once(randomised).iloc[0]
    outcome: Outcome = row["outcome"]
    own, others = np.array(json.loads(str(row["similar"])), dtype=np.float64)
    return Checked(outcome, str(row["reason"]), few, own, others)


def _contents(answers: Answers, index: npt.NDArray[np.int64]) -> list[str]:
    """Return what identifies the pixels of some films as they came."""
    return [answers.cohort.content(row) for row in answers.cohort.rows(index)]


def key_of(answers: Answers, index: npt.NDArray[np.int64], method: str) -> dict[str, object]:
    """Return all that decides what is measured of a method on the calls of some clean films."""
    called = answers.called()[index].astype(np.int64).tolist()
    return {
        "method": method,
        "films": list(zip(_contents(answers, index), called, strict=True)),
        **_key(answers, method),
    }


def _key(answers: Answers, method: str) -> dict[str, object]:
    layer: dict[str, object] = {}
    if method in LAYERED and answers.subject.network is not None:
        try:
            layer = {"layer": layer_of(answers.subject).text}
        except NotAttributableError as refused:
            raise NotEvaluable(str(refused)) from refused
    return {
        **layer,
        **answers.subject.cache_key,
        "seed": answers.seed,
        "captum": version("captum"),
        "decoding": decoding(),
        "resolution": str(answers.resolution),
        "version": 3,
    }


def _packed(one: AttributionMap) -> dict[str, object]:
    promised = one.completeness_gap is not None and one.explained is not None
    return {
        "map": one.maps[0].astype(np.float32).tobytes(),
        "side": one.maps.shape[-1],
        "status": one.status[0],
        "signed": one.signed,
        "class_specific": one.class_specific,
        "gap": float(one.completeness_gap[0]) if promised and one.completeness_gap is not None else None,
        "explained": float(one.explained[0]) if promised and one.explained is not None else None,
        "forward": one.passes.forward,
        "backward": one.passes.backward,
    }


def _unpacked(rows: Sequence[Mapping[str, object]], method: str) -> AttributionMap:
    table = pd.DataFrame([dict(row) for row in rows])
    pictures = [
        np.frombuffer(data, np.float32).reshape(side, side)
        for data, side in zip(table["map"], table["side"], strict=True)
    ]
    gap, explained = (table[name].to_numpy(np.float64, na_value=np.nan) for name in ("gap", "explained"))
    promised = bool(np.isfinite(explained).any())
    return AttributionMap(
        method=method,
        maps=np.stack(pictures),
        image_ids=tuple(table["image"].astype(str)),
        targets=tuple(int(target) for target in table["target"]),
        status=tuple(table["status"].astype(str)),
        signed=bool(table["signed"].iloc[0]),
        class_specific=bool(table["class_specific"].iloc[0]),
        completeness_gap=gap if promised else None,
        explained=explained if promised else None,
        passes=Passes(float(table["forward"].mean()), float(table["backward"].mean())),
    )
