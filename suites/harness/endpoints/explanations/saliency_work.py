"""What is asked of films about saliency, as any process answers it? Maps, and whether these go with the weights.

A map is kept under what decides it: weights, preprocessing, method, film, class and condition. Every film is attributed
alone, so a map does not depend on its neighbours and serves claims, tables and galleries alike.
"""

from __future__ import annotations

import json
from collections import OrderedDict
from collections.abc import Callable, Iterable, Iterator, Mapping, Sequence
from contextlib import contextmanager
from dataclasses import dataclass, field
from importlib.metadata import version

import numpy as np
import pandas as pd
import torch
from torch import Tensor, nn

import explain
from explain import AttributionMap, NotAttributableError, Passes
from explain.regions import Mask
from explain.sanity import cascading_randomisation
from robustness.content_cache import forget
from suites.harness.cache.code_digest import decoding
from suites.harness.cohorts.cohort import Film
from suites.harness.errors import NotEvaluable
from suites.harness.foreign_code import foreign
from suites.harness.predictions.blocks import Told
from suites.harness.predictions.conditions import CLEAN, Condition, parse, shown
from suites.harness.predictions.film_work import Values, class_of, content_of, together
from suites.harness.predictions.opened import Opened
from suites.harness.predictions.resolution import Resolution
from suites.harness.process import LARGE, give_back
from suites.harness.subjects.attribution_layer import LAYERED, layer_of, method_of
from suites.harness.subjects.subject import Subject

FILMS = 8
"""Films of a block: their maps cost a second or more, and as many are checked together."""
COLUMNS = {"map": "bytes", "about": "text"}
"""Of a map: its pixels, and as JSON what else is known of it, so that every digit comes back."""
STAGES = 3
"""Steps in which a network's weights are redrawn; a map of every film before them and after each."""
MOST_SEEN = 96 * 1024**2
"""Bytes of what networks see of films that are remembered, whatever the number of films and of their pixels."""


@dataclass(frozen=True)
class Seen:
    """What the network sees of a film: grey (1, 1, S, S), masks by name (S, S), share of each mask that is visible."""

    grey: Tensor
    masks: Mapping[str, Mask]
    visible: Mapping[str, float]

    @property
    def bytes(self) -> int:
        """Memory it takes."""
        return self.grey.nbytes + sum(mask.nbytes for mask in self.masks.values())


_REMEMBERED: OrderedDict[tuple[str, ...], Seen] = OrderedDict()


def seen(
    subject: Subject, decode: Callable[[], Film], content: str, image: str, condition: Condition,
    *, seed: int, resolution: Resolution,
) -> Seen:  # fmt: skip
    """Return what the network sees of a film; that of the last ones is remembered, for several look at the same.

    Args:
        subject: whose network it is.
        decode: gives the film.
        content: what identifies its pixels.
        image: its id.
        condition: what is done to it.
        seed: of the run.
        resolution: at which films are perturbed.
    """
    identity = (str(subject.cache_key), content, image, condition.identity, str(seed), str(resolution))
    if identity not in _REMEMBERED:
        _REMEMBERED[identity] = _looked(subject, decode(), image, condition, seed=seed, resolution=resolution)
    _REMEMBERED.move_to_end(identity)
    while len(_REMEMBERED) > 1 and sum(one.bytes for one in _REMEMBERED.values()) > MOST_SEEN:
        _REMEMBERED.popitem(last=False)
    return _REMEMBERED[identity]


def _looked(
    subject: Subject, film: Film, image: str, condition: Condition, *, seed: int, resolution: Resolution
) -> Seen:
    """Change and preprocess one film (of several views the first)."""
    grey = subject.pixels(shown(film, condition, image, seed=seed, resolution=resolution)[:1])[:, :1]
    masks, visible = {}, {}
    recipe = subject.preprocessing
    if condition.text == CLEAN:  # a mask is carried through the same resize and crop as its film
        rows, columns = recipe.resized_shape(*film.pixels.shape)
        for name, mask in film.masks.items():
            whole = torch.from_numpy(mask).unsqueeze(0)
            masks[name] = recipe.masks(whole)[0].numpy()
            full = float(whole.float().mean()) * rows * columns
            visible[name] = min(1.0, float(masks[name].sum()) / full) if full else np.nan
    found = Seen(grey.clone(), masks, visible)
    if film.pixels.nbytes > LARGE:
        forget()
        give_back()  # what a map is made of is small, and fits nowhere there
    return found


def network_of(subject: Subject) -> nn.Module:
    """Return the subject's network.

    Raises:
        NotEvaluable: it has none, only answers.
    """
    if subject.network is None:
        raise NotEvaluable(
            f"{subject.name} answers whole films without gradients, so no saliency can be had; "
            "explain the weights behind it"
        )
    return subject.network


@contextmanager
def asking(method: str, code: object) -> Iterator[None]:
    """Turn what a method or the network under it raises into a reason; what is refused keeps its own."""
    what, passing = f"the attribution {method!r} failed", (NotAttributableError,)
    try:
        with foreign(NotEvaluable, what, at=type(code), only_theirs=True, passing=passing):
            yield
    except NotAttributableError as refused:
        raise NotEvaluable(str(refused)) from refused


@dataclass(frozen=True, kw_only=True)
class Looking:
    """Work that looks at what the network sees of films under one condition.

    Attributes:
        seed: of the run.
        resolution: at which films are perturbed.
        condition: what is done to them.
        code: of the methods asked for; unpickling it imports, and so registers, those of a user.
    """

    seed: int
    resolution: Resolution
    condition: Condition = field(default_factory=lambda: parse(CLEAN))
    code: Sequence[type] = ()

    def conditions(self) -> Iterable[Condition]:
        """Yield the condition."""
        yield self.condition

    def key(self, subjects: Sequence[Subject], asked: str) -> Mapping[str, object]:
        """Return everything that decides what a method shows of a film besides film, class and condition.

        Raises:
            NotEvaluable: the method looks at a layer, and there is none.
        """
        (subject,) = subjects
        layer: dict[str, object] = {}
        if asked in LAYERED and subject.network is not None:
            try:
                layer = {"layer": layer_of(subject).text}
            except NotAttributableError as refused:
                raise NotEvaluable(str(refused)) from refused
        return {
            "method": asked,
            **layer,
            **subject.cache_key,
            "seed": self.seed,
            "captum": version("captum"),
            "decoding": decoding(),
            "resolution": str(self.resolution),
            "version": 4,
        }

    def identity(self, asked: str, films: Sequence[Opened]) -> str:  # noqa: ARG002 - part of the key
        """Return which films are looked at together."""
        return together(films)

    def _input(self, subject: Subject, film: Opened) -> Tensor:
        """Return (1, C, S, S) network input of a film; all channels are the same grey."""
        image, content = film.key[0], content_of(film)
        try:
            grey = seen(
                subject, film.decode, content, image, self.condition, seed=self.seed, resolution=self.resolution
            ).grey
        finally:
            forget()
        return grey.expand(-1, subject.preprocessing.channels, -1, -1).contiguous()

    def inputs(self, subject: Subject, films: Sequence[Opened]) -> Tensor:
        """Return (M, C, S, S) network input of films."""
        return torch.cat([self._input(subject, film) for film in films])


@dataclass(frozen=True, kw_only=True)
class MapWork(Looking):
    """Maps of the methods that are asked, one film at a time."""

    kind: str = "maps"

    @property
    def columns(self) -> Mapping[str, str]:
        """Columns of a row and their kinds."""
        return COLUMNS

    def identity(self, asked: str, films: Sequence[Opened]) -> str:  # noqa: ARG002 - each film alone
        """Return what is done to the films."""
        return self.condition.identity

    def rows(
        self, subjects: Sequence[Subject], asked: str, films: Sequence[Opened], lacking: Sequence[int], told: Told
    ) -> Iterator[tuple[int, Values]]:
        """Yield the place of a film and its map.

        Raises:
            NotEvaluable: the method is not valid for this subject, or its code failed.
        """
        del told
        (subject,) = subjects
        network_of(subject)
        for at in lacking:
            film = films[at]
            pixels, target, image = self._input(subject, film), class_of(film), film.key[0]
            yield at, packed(attributed(subject, asked, pixels, target=target, image=image, seed=self.seed))


def attributed(subject: Subject, method: str, pixels: Tensor, *, target: int, image: str, seed: int) -> AttributionMap:
    """Return the map of one film.

    Args:
        subject: whose network it is.
        method: of `explain`.
        pixels: (1, C, S, S).
        target: class asked about.
        image: id of the film.
        seed: of the run.

    Raises:
        NotEvaluable: the method is not valid for this subject, or its code failed.
    """
    network = network_of(subject)
    try:
        attribution = method_of(subject, method)
    except NotAttributableError as refused:
        raise NotEvaluable(str(refused)) from refused
    with asking(method, attribution):
        return attribution(network, pixels, [target], [image], seed=seed)


@dataclass(frozen=True, kw_only=True)
class SanityWork(Looking):
    """Are the maps of a method lost with the weights? Asked of all films of a block together."""

    kind: str = "map-checks"

    @property
    def columns(self) -> Mapping[str, str]:
        """Columns of a row and their kinds."""
        return {"checked": "text"}

    def key(self, subjects: Sequence[Subject], asked: str) -> Mapping[str, object]:
        """Return everything that decides the check besides its films."""
        return {**super().key(subjects, asked), "rule": "whole interval", "stages": STAGES}

    def rows(
        self, subjects: Sequence[Subject], asked: str, films: Sequence[Opened], lacking: Sequence[int], told: Told
    ) -> Iterator[tuple[int, Values]]:
        """Yield the place of every film, and as JSON outcome and reason of all, own and other similarity of its map.

        Raises:
            NotEvaluable: the method is not valid for this subject, or its code failed.
        """
        del lacking, told
        (subject,) = subjects
        network = network_of(subject)
        pixels = self.inputs(subject, films)
        targets, ids = [class_of(film) for film in films], [film.key[0] for film in films]
        with asking(asked, network):
            found = cascading_randomisation(
                method_of(subject, asked), network, pixels, targets, ids, stages=STAGES, seed=self.seed
            )
        similar = zip(found.ssim[-1].tolist(), found.pair_ssim.tolist(), strict=True)
        for at, (own, others) in enumerate(similar):
            yield at, {"checked": json.dumps([found.outcome, found.reason, own, others])}


def code_of(methods: Iterable[str]) -> list[type]:
    """Return the classes of attribution methods, by name; of those that nobody registered none."""
    known = set(explain.names())
    return [type(explain.get(name)) for name in methods if name in known and name not in LAYERED]


def packed(one: AttributionMap) -> Values:
    """Return the map of one film as it is kept."""
    promised = one.completeness_gap is not None and one.explained is not None
    about = {
        "target": int(one.targets[0]),
        "side": int(one.maps.shape[-1]),
        "status": one.status[0],
        "signed": bool(one.signed),
        "class_specific": bool(one.class_specific),
        "gap": float(one.completeness_gap[0]) if promised and one.completeness_gap is not None else None,
        "explained": float(one.explained[0]) if promised and one.explained is not None else None,
        "forward": float(one.passes.forward),
        "backward": float(one.passes.backward),
    }
    return {"map": one.maps[0].astype(np.float32).tobytes(), "about": json.dumps(about)}


def unpacked(rows: Sequence[Values], method: str) -> AttributionMap:
    """Return the maps of some films as one."""
    table = pd.DataFrame([{**json.loads(row["about"]), "image": row["image"], "map": row["map"]} for row in rows])
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
