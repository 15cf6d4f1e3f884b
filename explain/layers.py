"""Which layer should Grad-CAM look at? The last spatial feature map of a network nobody chose, or the one named.

Of the tensors of one recorded pass (`explain.tracing`) a layer is taken if

- its places are places of the film: each half of the map looks at that half of the map before it, and so on down to
  the pixels; or, on the same grid as the map before it, at all of it (large kernels, global responses, attention);
- every path from the pixels to the logits leads through it (a cut of the graph), so that nothing bypasses the map;
- the logits have a gradient at more than one of its places (after the last block of a transformer that reads a class
  token, patches have none);
- weights follow: what comes after the classifier is a score of each class by place, not a feature.

The last such layer is the one, among those of at least `FINE` x `FINE` places if there are any. In a transformer that
reads a class token it is the last norm whose patches still reach that token: the input of the last attention.
"""

from __future__ import annotations

import difflib
import math
from dataclasses import dataclass
from functools import cached_property

import torch
from torch import Tensor, nn

from explain.network import NotAttributableError
from explain.tracing import Layer, Point, Trace, as_grid, extent, token_grid

FINE = 4
"""Fewer places than this on a side say little of where; a film of 28 pixels may end in a map of 1 x 1."""
ORDERED = 0.15
"""Fraction of a map's side by which opposite halves of the next must look at different places of it: .3 to .5 where
layers are local; a layer that mixes all places gives up to .09, in any direction, one that mixes many up to .25 in the
right one (bundled subjects)."""


@dataclass(frozen=True)
class _Map:
    """A point whose places are places of the film, in this layout; no point for the film itself."""

    point: Point | None
    channels_last: bool
    grid: tuple[int, int]


class Maps:
    """The maps of a recorded pass, each held against the one before it."""

    def __init__(self, trace: Trace) -> None:
        self.trace = trace

    @cached_property
    def _cuts(self) -> list[_Map]:
        """The film, and all maps that everything the logits see leads through, in order of the pass."""
        height, width = self.trace.pixels.shape[2:]
        found, seen = [_Map(None, channels_last=False, grid=(height, width))], set()
        for point in self.trace.points:
            if point.tensor in seen or not self.trace.is_cut(point):
                continue
            seen.add(point.tensor)
            fitting = self._against(point, found[-1])
            found += [fitting] if fitting is not None else []
        return found

    def _map(self, point: Point) -> _Map | None:
        if self.trace.is_cut(point):
            same = (one for one in self._cuts if one.point is not None and one.point.tensor == point.tensor)
            return next(same, None)
        before = [one for one in self._cuts if one.point is None or one.point.order < point.order]
        return self._against(point, before[-1])

    def _against(self, point: Point, before: _Map) -> _Map | None:
        """Return a point as a map, if it is one, by where its places look on the map before it."""
        mixing = None
        for channels_last in (False, True) if len(point.shape) == 4 else (False,):
            places = as_grid(torch.arange(math.prod(point.shape)).view(point.shape), channels_last=channels_last)
            if places is None or min(places.shape[2:]) < 2:
                continue
            found = _Map(point, channels_last, (places.shape[2], places.shape[3]))
            apart = self._apart(point, places, before)
            if apart is None:  # rectifiers shut on this film: nothing speaks against the usual layout
                if not channels_last:
                    return found
                continue
            (down, down_across), (across_down, across) = apart
            if down > max(ORDERED, abs(down_across)) and across > max(ORDERED, abs(across_down)):
                return found
            # Anything between looking at its own half and at all of the map before it, on the same grid.
            elsewhere = max(-down, abs(down_across), abs(across_down), -across) > ORDERED
            grids = [(one.grid, one.channels_last) for one in (before, found)]
            if not elsewhere and before.point is not None and grids[0] == grids[1]:
                mixing = found
        return mixing

    def _apart(
        self, point: Point, places: Tensor, before: _Map
    ) -> tuple[tuple[float, float], tuple[float, float]] | None:
        """Return how far apart opposite halves of a map look on the map before it, as fractions of its sides.

        Args:
            point: the map.
            places: (1, C, h, w) positions of its places among its values.
            before: the map before it.

        Returns:
            (down, across) from the upper half to the lower, and from the left half to the right, by the centres of the
            squared gradient; None where a half has no gradient.
        """
        channels, height, width = places.shape[1:]
        weights = torch.randn(channels, height, width, generator=torch.Generator().manual_seed(0))
        rows, columns = torch.arange(height)[:, None], torch.arange(width)[None]
        centres = []
        for half in (rows < height / 2, rows >= height / 2, columns < width / 2, columns >= width / 2):
            pull = torch.zeros(math.prod(point.shape))
            pull[places[0]] = weights * half  # drawn: a layer norm's channels add up to a constant
            slope = self.trace.looked_at(point, pull, before.point)
            seen = None if slope is None else as_grid(slope, channels_last=before.channels_last)
            energy = torch.zeros(before.grid) if seen is None else seen.double().square().sum(dim=(0, 1)).cpu()
            total = float(energy.sum())
            if total == 0.0:
                return None
            centres.append([float(_centre(energy.sum(1)) / total), float(_centre(energy.sum(0)) / total)])
        upper, lower, left, right = centres
        return (lower[0] - upper[0], lower[1] - upper[1]), (right[0] - left[0], right[1] - left[1])

    def layer(self, point: Point) -> Layer | None:
        """Return a point as a layer with its layout, if its places are places of the film and have a gradient."""
        if point.shape[1:] == tuple(self.trace.pixels.shape[1:]):
            return None  # the film itself, normalised
        slope = self.trace.slope(point)
        if slope is None or not bool(slope.any()):
            return None
        found = self._map(point)
        seen = as_grid(slope, channels_last=found.channels_last) if found is not None else None
        if found is None or seen is None or int((seen != 0).any(dim=1).sum()) < 2:
            return None
        calls = self.trace.calls[point.name] if point.module is not None else 1
        return Layer(point.name, point.module, point.call, calls, found.channels_last, found.grid)

    def last(self) -> tuple[Layer, int] | None:
        """Return the last map by the rules of this module, and when it was made; None if there is none."""
        trace = self.trace
        followed = [point for point in trace.points if point.order < trace.weights_at] or trace.points
        coarse = None
        for point in reversed(followed):
            if not trace.is_cut(point) or (point.module is None and trace.is_mere_form(point)):
                continue
            found = self.layer(trace.named(point))
            if found is not None and min(found.grid) >= FINE:
                return found, point.order
            coarse = coarse or (None if found is None else (found, point.order))
        return coarse

    def before_class_token(self, since: int) -> Layer | None:
        """Return the last norm of tokens, made after `since`, whose patches the class token still reads.

        After the last attention only the class token has a gradient; the norm before it is the last place where patches
        have one. It is no cut of the graph: the class token itself goes around it.
        """
        for point in reversed(self.trace.points):
            tokens = token_grid(point.shape) if len(point.shape) == 3 else None
            norm = point.module is not None and "norm" in type(point.module).__name__.lower()
            if point.order > since and norm and tokens is not None and tokens[1]:
                found = self.layer(point)
                if found is not None:
                    return found
        return None


def _centre(energy: Tensor) -> Tensor:
    return energy @ (torch.arange(len(energy), dtype=torch.float64) / len(energy))


def find_layer(network: nn.Module, pixels: Tensor, name: str | None = None) -> Layer:
    """Return the layer Grad-CAM should look at: the named one, or the last spatial feature map.

    Args:
        network: pixels to logits.
        pixels: (B, C, S, S) in [0, 1]; one film is run.
        name: dotted name of a module; of several calls in a pass the last that is a map is taken. It need not be a cut.

    Raises:
        NotAttributableError: there is no such layer, it is no map of the film, or the logits do not depend on it.
    """
    trace = Trace(network, pixels)
    maps = Maps(trace)
    if name is not None:
        return _the_named(maps, name)
    found = maps.last()
    layer = maps.before_class_token(found[1] if found else -1) or (found[0] if found else None)
    if layer is None:
        raise NotAttributableError(
            "grad-cam",
            f"no map carries all that the logits see, or has a gradient; name a layer, one of: {_listed(trace)}",
        )
    return layer


def _listed(trace: Trace) -> str:
    return ", ".join(trace.candidates()[-12:]) or "none"


def _near(name: str, modules: list[str]) -> list[str]:
    """Return the modules whose names end in what looks like a name, the likest first."""
    ends: dict[str, list[str]] = {}
    for known in modules:
        ends.setdefault(".".join(known.split(".")[-1 - name.count(".") :]), []).append(known)
    likest = difflib.get_close_matches(name, ends, n=5, cutoff=0.5)
    return [known for end in likest for known in ends[end]]


def _the_named(maps: Maps, name: str) -> Layer:
    trace = maps.trace
    full = [known for known in trace.modules if known == name] or [
        known for known in trace.modules if known.endswith(f".{name}")
    ]
    spatial = f"layers with a spatial extent: {_listed(trace)}"
    if len(full) != 1 or not name:
        near = full or _near(name, list(trace.modules))
        what = f"{len(full)} layers end in" if full else "no layer"
        hint = f" (near: {', '.join(near[:5])})" if near else ""
        raise NotAttributableError("grad-cam", f"{what} {name!r}; {spatial}{hint}")
    own = [point for point in trace.points if point.name == full[0]]
    for point in reversed(own):
        found = maps.layer(point)
        if found is not None:
            return found
    gave = trace.shapes.get(full[0])
    why = ""
    if own and extent(own[-1].shape) > 1:
        why = ", but its places are not places of the film, or the logits do not depend on them"
    shape = gave if gave is not None else f"nothing of use in {trace.calls.get(full[0], 0)} calls"
    raise NotAttributableError("grad-cam", f"layer {name!r} gave {shape}{why}; {spatial}")
