"""What is an attribution method? The contract of every one, and the registry that holds them.

A *network* maps pixels in [0, 1] of shape (B, C, S, S) to logits (B, K), its normalisation inside; it is a
`torch.nn.Module`, or, where only predictions are to be had, any callable of that shape. An *attribution* answers, for
each film and one class, which pixels moved that class's logit. Its author writes `run`; `__call__` checks what goes in
and what comes out, counts the passes it cost, and is final.

To add one, write a class in a file of this folder::

    from collections.abc import Sequence
    import torch
    from torch import Tensor
    from explain.attribution import Attribution, Raw, register
    from explain.network import Watched

    @register
    class InputTimesGradient(Attribution):
        '''The gradient of the target logit times the pixel (Shrikumar et al. 2016).'''

        name = "input times gradient"
        source = "Shrikumar et al. 2016"

        def run(self, network: Watched, pixels: Tensor, targets: Tensor, generators: Sequence[torch.Generator]) -> Raw:
            own = network(pixels).gather(1, targets[:, None]).sum()
            return Raw(pixels * torch.autograd.grad(own, pixels)[0])

Sign convention: a positive value speaks for the target class, a negative one against it. Methods without a sign are
non-negative.
"""

from __future__ import annotations

import warnings
from abc import ABC, abstractmethod
from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from fnmatch import fnmatchcase
from typing import Any, ClassVar, Literal, final

import numpy as np
import numpy.typing as npt
import torch
from torch import Tensor, nn

from explain.network import F32, F64, Network, NotAttributableError, Watched, borrowed, generator_for
from explain.registration import defined_in, taken, unknown_name

Profile = Literal["quick", "standard", "full"]
BACKWARD_IN_FORWARDS = 2.0
"""A backward pass is booked as two forward passes, the usual convention."""

SMALL_DIFFERENCE = 0.2
"""A smaller logit difference counts as this where a gap is held against it: 5 % allowed is then .01 of a logit at
least, which moves no probability by more than .0025. Without such a floor a film that is as good as its reference (a
difference of .02, say) fails by what float32 sums and a finite number of steps leave over.
"""


@dataclass(frozen=True)
class Passes:
    """Network passes per film that a map cost, as counted by hooks rather than declared."""

    forward: float
    backward: float

    @property
    def as_forwards(self) -> float:
        """The cost in multiples of one forward pass, a backward pass being `BACKWARD_IN_FORWARDS` of them."""
        return self.forward + BACKWARD_IN_FORWARDS * self.backward


@dataclass(frozen=True)
class AttributionMap:
    """The maps of one method for a batch of films.

    Attributes:
        method: name of the method.
        maps: float32 (B, S, S); signed maps keep their sign (positive speaks for the target class).
        image_ids: B names.
        targets: B class indices.
        status: per film "ok", "flat" (one value everywhere: the map says nothing) or "not finite" (left out of every
            average).
        signed: False if the method's maps are non-negative by construction.
        class_specific: False if the map does not depend on the target class (attention rollout, the baselines).
        completeness_gap: (B,) sum of the map minus the logit difference it should add up to; None where the method
            promises no such sum.
        explained: (B,) that logit difference, f(film) - f(reference); None likewise.
        passes: what the maps cost per film.
    """

    method: str
    maps: F32
    image_ids: tuple[str, ...]
    targets: tuple[int, ...]
    status: tuple[str, ...]
    signed: bool = True
    class_specific: bool = True
    completeness_gap: F64 | None = None
    explained: F64 | None = None
    passes: Passes = Passes(0, 0)

    @property
    def magnitude(self) -> F32:
        """Absolute values, (B, S, S)."""
        return np.abs(self.maps)

    @property
    def usable(self) -> npt.NDArray[np.bool_]:
        """(B,) True where the map holds finite numbers only."""
        return np.array([status != "not finite" for status in self.status], dtype=bool)

    @property
    def left_out(self) -> dict[str, str]:
        """Films whose map must not enter an average, with the reason."""
        return {
            name: status for name, status in zip(self.image_ids, self.status, strict=True) if status == "not finite"
        }

    @property
    def relative_gap(self) -> F64 | None:
        """Absolute completeness gap over the logit difference to be explained, (B,); None if nothing is promised.

        The difference counts as `SMALL_DIFFERENCE` at least, so a bound r on this is a relative bound r and an
        absolute one of r * `SMALL_DIFFERENCE`, whichever is wider.
        """
        if self.completeness_gap is None or self.explained is None:
            return None
        return np.abs(self.completeness_gap) / np.maximum(np.abs(self.explained), SMALL_DIFFERENCE)


@dataclass(frozen=True)
class Raw:
    """What `run` hands back: maps (B, S, S) or (B, C, S, S), and the gap and target of a promised sum, each (B,)."""

    maps: Tensor
    gap: Tensor | None = None
    explained: Tensor | None = None


class Attribution(ABC):
    """One attribution method. Subclasses set the class variables, may refuse a network, and write `run`.

    Args:
        batch: largest number of film copies in one network pass; bounds the memory.

    Attributes:
        name: unique, as printed.
        needs_gradients: whether predictions alone will not do.
        signed: whether its maps have a sign.
        class_specific: whether they depend on the class asked about.
        baseline: whether it never looks at the network; shown as a control only.
        profile: the shortest run that shows and measures it beside the others.
        source: who described it, where.
    """

    name: ClassVar[str]
    needs_gradients: ClassVar[bool] = True
    signed: ClassVar[bool] = True
    class_specific: ClassVar[bool] = True
    baseline: ClassVar[bool] = False
    profile: ClassVar[Profile] = "quick"
    source: ClassVar[str]

    def __init__(self, *, batch: int = 16) -> None:
        if batch < 1:
            raise ValueError(f"batch must be at least 1, not {batch}")
        self.batch = batch

    @property
    def copies(self) -> int:
        """Copies of each film that one pass should hold at once (integration steps, noisy samples)."""
        return 1

    def refusal(self, network: Network) -> str | None:
        """Say why this method is not valid for the network, without running it; None if nothing speaks against it."""
        if self.needs_gradients and not isinstance(network, nn.Module):
            return "the subject gives predictions but no gradients; use occlusion"
        return None

    @abstractmethod
    def run(self, network: Watched, pixels: Tensor, targets: Tensor, generators: Sequence[torch.Generator]) -> Raw:
        """Attribute a chunk of films: pixels (b, C, S, S), targets (b,), one random generator per film."""

    @final
    def __call__(
        self,
        network: Network,
        pixels: Tensor,
        targets: Tensor | Sequence[int] | int,
        image_ids: Sequence[str],
        seed: int = 0,
    ) -> AttributionMap:
        """Attribute each film's target logit to its pixels.

        Args:
            network: see the module's text; restored to its own mode afterwards.
            pixels: float (B, C, S, S) in [0, 1], C 1 or 3.
            targets: class index per film, or one for all.
            image_ids: B distinct names; with `seed` they determine every random choice, whatever the batch order.
            seed: of the random choices.

        Raises:
            NotAttributableError: the method is not valid for this network.
            ValueError: pixels, targets or names are not what is asked for.
        """
        targets = _checked(pixels, targets, image_ids)
        reason = self.refusal(network)
        if reason is not None:
            raise NotAttributableError(self.name, reason)
        device = (
            next((p.device for p in network.parameters()), pixels.device)
            if isinstance(network, nn.Module)
            else pixels.device
        )
        watched = Watched(network, self.name, targets)
        raws: list[Raw] = []
        films = max(1, self.batch // self.copies)
        with borrowed(network), torch.enable_grad(), warnings.catch_warnings():
            warnings.filterwarnings(
                "ignore", message="Setting (forward, )?backward hooks"
            )  # Captum announces its own hooks
            for start in range(0, len(pixels), films):
                part = slice(start, start + films)
                chunk = pixels[part].detach().to(device, torch.float32, copy=True).requires_grad_(self.needs_gradients)
                raws.append(self._one(watched, chunk, targets[part].to(device), image_ids[part], seed))
        maps = torch.cat([raw.maps for raw in raws]).numpy()
        return AttributionMap(
            method=self.name,
            maps=maps,
            signed=self.signed,
            class_specific=self.class_specific,
            image_ids=tuple(image_ids),
            targets=tuple(targets.tolist()),
            status=tuple(_status(one) for one in maps),
            completeness_gap=_joined([raw.gap for raw in raws]),
            explained=_joined([raw.explained for raw in raws]),
            passes=Passes(watched.forward_films / len(pixels), watched.backward_films / len(pixels)),
        )

    def _one(self, network: Watched, pixels: Tensor, targets: Tensor, image_ids: Sequence[str], seed: int) -> Raw:
        """Run one chunk, sum its channels, and refuse a map of the wrong shape (Captum returns such silently)."""
        raw: Any
        try:
            raw = self.run(network, pixels, targets, [generator_for(name, self.name, seed) for name in image_ids])
        except RuntimeError as problem:  # quantised, or computed elsewhere: torch finds no way from output to input
            if "used in the graph" not in str(problem):
                raise
            told = "the output does not depend on the input through torch operations that have gradients"
            raise NotAttributableError(self.name, told) from problem
        if not isinstance(raw, Raw) or not isinstance(raw.maps, Tensor):
            given = type(raw.maps if isinstance(raw, Raw) else raw).__name__
            told = f"`run` returned {given}, and must return a Raw with a tensor of maps ({defined_in(type(self))})"
            raise NotAttributableError(self.name, told)
        maps = raw.maps.detach().float().cpu()
        maps = maps.sum(dim=1) if maps.ndim == 4 else maps
        expected = (len(pixels), *pixels.shape[2:])
        if tuple(maps.shape) != expected:
            told = f"it returned a map of shape {tuple(raw.maps.shape)} where {expected} was due"
            raise NotAttributableError(self.name, f"{told} ({defined_in(type(self))})")
        return Raw(maps, raw.gap, raw.explained)


def _checked(pixels: Tensor, targets: Tensor | Sequence[int] | int, image_ids: Sequence[str]) -> Tensor:
    """Return the targets as int64 (B,), or say what is wrong with the input."""
    if pixels.ndim != 4 or pixels.shape[1] not in {1, 3} or pixels.shape[2] != pixels.shape[3] or len(pixels) == 0:
        raise ValueError(f"pixels must be (B, 1 or 3, S, S) with B > 0, not {tuple(pixels.shape)}")
    if not torch.isfinite(pixels).all() or float(pixels.min()) < 0 or float(pixels.max()) > 1:
        raise ValueError("pixels must be finite and lie in [0, 1]; normalisation belongs inside the network")
    if len(image_ids) != len(pixels) or len(set(image_ids)) != len(image_ids):
        raise ValueError(f"{len(pixels)} films need as many distinct image ids, got {len(image_ids)}")
    chosen = torch.full((len(pixels),), targets) if isinstance(targets, int) else torch.as_tensor(targets).cpu().long()
    if chosen.shape != (len(pixels),) or int(chosen.min()) < 0:
        raise ValueError(f"targets must be {len(pixels)} class indices >= 0, not {chosen.tolist()}")
    return chosen


def _status(one: F32) -> str:
    if not np.isfinite(one).all():
        return "not finite"
    return "flat" if float(np.ptp(one)) == 0.0 else "ok"


def _joined(parts: Sequence[Tensor | None]) -> F64 | None:
    known = [part.detach().double().cpu() for part in parts if part is not None]
    return torch.cat(known).numpy() if len(known) == len(parts) else None


_REGISTRY: dict[str, type[Attribution]] = {}


def register(cls: type[Attribution]) -> type[Attribution]:
    """Class decorator: make a method known by its name.

    Raises:
        ValueError: the name is taken, or name or source are missing.
    """
    for attribute in ("name", "source"):
        if not isinstance(getattr(cls, attribute, None), str) or not getattr(cls, attribute):
            raise ValueError(f"{cls.__name__} ({defined_in(cls)}) does not declare `{attribute}`")
    if cls.name in _REGISTRY:
        raise ValueError(taken("attribution method", cls.name, _REGISTRY[cls.name], cls))
    _REGISTRY[cls.name] = cls
    return cls


def names(pattern: str = "*") -> list[str]:
    """Names of the registered methods that match a shell-style pattern, in the order of tables: as registered."""
    return [name for name in _REGISTRY if fnmatchcase(name, pattern)]


def get(name: str, **options: Any) -> Attribution:  # noqa: ANN401 -- each method names and checks its own options
    """Make a method by name.

    Raises:
        ValueError: unknown name; the message lists the nearest ones.
    """
    if name not in _REGISTRY:
        raise ValueError(unknown_name("attribution method", name, names()))
    return _REGISTRY[name](**options)


def refusals(network: Network) -> Mapping[str, str | None]:
    """For each registered method: None if it can be tried on this network, else why it cannot."""
    return {name: get(name).refusal(network) for name in _REGISTRY}
