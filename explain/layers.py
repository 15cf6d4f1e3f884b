"""The last spatial feature map of a network nobody chose, found by tracing one forward pass.

One film is run through with gradients. Every output of a module, and every result of a torch function, that could be a
map is noted with its edge in the autograd graph. A layer is taken if

- its places are places of the film: each half of the map, or of the first map of its grid, looks at that half of the
  film;
- every path from the pixels to the logits leads through it (a cut of the graph), so that nothing bypasses the map;
- the logits have a gradient at more than one of its places (after the last block of a transformer that reads a class
  token, patches have none);
- weights follow: what comes after the classifier is a score of each class by place, not a feature.

The last such layer is the one, among those of at least `FINE` x `FINE` places if there are any.
"""

from __future__ import annotations

import difflib
import math
from collections.abc import Iterator, Mapping
from contextlib import contextmanager
from dataclasses import dataclass
from typing import Any

import torch
from torch import Tensor, nn
from torch.autograd.graph import GradientEdge
from torch.overrides import TorchFunctionMode

from explain.network import NotAttributableError, borrowed

FINE = 4
"""Fewer places than this on a side say little of where; a film of 28 pixels may end in a map of 1 x 1."""
ORDERED = 0.15
"""Fraction of the film's side by which opposite halves of a map must look at different places: .3 to .5 where a map is
local; a map that mixes all places gives up to .09, in any direction (bundled subjects), and is judged by where its grid
began.
"""
WEIGHTED = frozenset(
    ["linear", "conv1d", "conv2d", "matmul", "__matmul__", "__rmatmul__", "mm", "bmm", "addmm", "einsum"]
)
"""Torch functions that hold a layer's weights."""
POOLING = (nn.AdaptiveAvgPool2d, nn.AdaptiveMaxPool2d)
"""Makes a grid of any size out of any map, so its places say nothing new."""
Shape = tuple[int, ...]


@dataclass(frozen=True)
class Layer:
    """Where Grad-CAM looks.

    Attributes:
        name: dotted name of the module; for a result that no module returns, the function and the module before it.
        module: the module; None for a result that no module returns.
        call: which call of the module in a forward pass, or which torch function, counted from 0.
        calls: how often the module is called in a forward pass.
        channels_last: the 4-D output is (B, h, w, C).
        grid: (h, w) of the map.
    """

    name: str
    module: nn.Module | None
    call: int = 0
    calls: int = 1
    channels_last: bool = False
    grid: tuple[int, int] = (0, 0)

    @property
    def text(self) -> str:
        """As printed: `features.12, 13 x 13`, with the call where the module is called several times."""
        which = f", call {self.call + 1} of {self.calls}" if self.calls > 1 else ""
        return f"{self.name}, {self.grid[0]} x {self.grid[1]}{which}"


@dataclass(frozen=True)
class _Point:
    """One tensor of the forward pass: when it was made, its edge in the graph, and who gave it."""

    order: int
    edge: GradientEdge
    shape: Shape
    name: str
    module: nn.Module | None
    call: int

    def same(self, other: _Point) -> bool:
        return self.edge.node is other.edge.node and self.edge.output_nr == other.edge.output_nr


class _Functions(TorchFunctionMode):
    """Numbers the tensors that torch functions return; `last` is the number of the newest."""

    def __init__(self) -> None:
        super().__init__()
        self.last = -1

    def __torch_function__(self, func: Any, types: Any, args: Any = (), kwargs: Any = None) -> Any:  # noqa: ANN401
        result = func(*args, **(kwargs or {}))
        if isinstance(result, Tensor):
            self.last += 1
            in_place = any(result is one for one in args)  # a copy of it would not reach the rest of the network
            return result if in_place else self.see(getattr(func, "__name__", ""), result)
        return result

    def see(self, function: str, result: Tensor) -> Tensor:
        """Look at a new tensor; what is returned goes on in its place."""
        raise NotImplementedError


class _Noting(_Functions):
    def __init__(self) -> None:
        super().__init__()
        self.points: list[_Point] = []
        self.weights_at = -1
        self.before = "the pixels"

    def see(self, function: str, result: Tensor) -> Tensor:
        if function in WEIGHTED:
            self.weights_at = self.last
        if _could_be_map(result.shape) and result.grad_fn is not None:
            edge = GradientEdge(result.grad_fn, result.output_nr)
            name = f"{function} after {self.before}"
            self.points.append(_Point(self.last, edge, tuple(result.shape), name, None, self.last))
        return result


class _Taking(_Functions):
    """Keeps the tensor of one number; a copy goes on, so that nothing in place changes what was kept."""

    def __init__(self, number: int, function: str, kept: list[Any]) -> None:
        super().__init__()
        self.number, self.function, self.kept = number, function, kept

    def see(self, function: str, result: Tensor) -> Tensor:
        if (self.last, function) != (self.number, self.function):
            return result
        self.kept.append(result)
        return result.clone()


@contextmanager
def captured(layer: Layer) -> Iterator[list[Any]]:
    """Collect what a layer gives during a forward pass: one tensor, if all is well."""
    kept: list[Any] = []
    if layer.module is None:
        with _Taking(layer.call, layer.name.split(" after ")[0], kept):
            yield kept
        return
    calls = 0

    def look(_: nn.Module, __: object, output: object) -> object:
        nonlocal calls
        calls += 1
        if calls != layer.call + 1:
            return output
        kept.append(output)
        return output.clone() if isinstance(output, Tensor) else output

    handle = layer.module.register_forward_hook(look)
    try:
        yield kept
    finally:
        handle.remove()


def _could_be_map(shape: Shape) -> bool:
    return len(shape) == 4 or (len(shape) == 3 and token_grid(shape) is not None)


def token_grid(shape: Shape) -> tuple[int, int] | None:
    """Return (side of the square of patches, leading tokens) of tokens (B, N, C); None if they form no square."""
    side = math.isqrt(shape[1])
    leading = shape[1] - side * side  # class and register tokens stand in front of the patches
    return (side, leading) if side > 1 and leading <= 16 else None


def as_grid(activation: Tensor, *, channels_last: bool = False) -> Tensor | None:
    """Return a 4-D map, or tokens (B, N, C) whose patches form a square, as (B, C, h, w); None for anything else."""
    if activation.ndim == 4:
        grid = activation.permute(0, 3, 1, 2) if channels_last else activation
        return grid if max(grid.shape[2:]) > 1 else None
    tokens = token_grid(activation.shape) if activation.ndim == 3 else None
    if tokens is None:
        return None
    side, leading = tokens
    return activation[:, leading:].transpose(1, 2).reshape(len(activation), -1, side, side)


class Trace:
    """One forward pass of one film, and what can be asked of it.

    Args:
        network: a module; restored to its own mode afterwards.
        pixels: (B, C, S, S) in [0, 1]; the first film is used.

    Raises:
        NotAttributableError: the logits do not depend differentiably on the pixels.
    """

    def __init__(self, network: nn.Module, pixels: Tensor) -> None:
        device = next((one.device for one in network.parameters()), pixels.device)
        self.pixels = pixels[:1].detach().to(device, torch.float32, copy=True).requires_grad_()
        self.calls: dict[str, int] = {}
        self.shapes: dict[str, Shape] = {}
        self.modules = dict(network.named_modules())
        noting = _Noting()
        with borrowed(network), torch.enable_grad(), noting:
            handles = [
                module.register_forward_hook(self._hook(name, noting)) for name, module in self.modules.items() if name
            ]
            try:
                logits: Any = network(self.pixels)
            finally:
                for handle in handles:
                    handle.remove()
        if not isinstance(logits, Tensor) or logits.grad_fn is None:
            raise NotAttributableError("grad-cam", "the logits do not depend differentiably on the pixels")
        self.end, self.weights_at = logits.grad_fn, noting.weights_at
        self.points = sorted(noting.points, key=lambda point: point.order)
        mixed = torch.arange(1.0, logits.numel() + 1, device=device).view_as(logits)  # logits may add up to a constant
        with torch.enable_grad():
            self.score = (logits * mixed).sum()

    def _hook(self, name: str, noting: _Noting) -> Any:  # noqa: ANN401 -- torch's own type of hooks
        def look(module: nn.Module, inputs: Any, output: object) -> None:  # noqa: ANN401
            call = self.calls[name] = self.calls.get(name, 0) + 1
            noting.before = name
            if not isinstance(output, Tensor):
                return
            self.shapes[name] = tuple(output.shape)
            if not _could_be_map(output.shape) or output.grad_fn is None:
                return
            edge = GradientEdge(output.grad_fn, output.output_nr)
            point = _Point(noting.last, edge, tuple(output.shape), name, module, call - 1)
            passed_on = any(
                isinstance(one, Tensor) and one.grad_fn is edge.node and one.output_nr == edge.output_nr
                for one in inputs
            )
            if not passed_on and not isinstance(module, POOLING):  # an identity, a dropout: not a layer of its own
                noting.points.append(point)

        return look

    def layer(self, point: _Point) -> Layer | None:
        """Return a point as a layer with its layout, if its places are places of the film and have a gradient."""
        if point.shape[1:] == tuple(self.pixels.shape[1:]):
            return None  # the film itself, normalised
        layouts = {}
        for channels_last in (False, True) if len(point.shape) == 4 else (False,):
            places = as_grid(torch.arange(math.prod(point.shape)).view(point.shape), channels_last=channels_last)
            if places is not None and min(places.shape[2:]) > 1:
                layouts[channels_last] = places
        fitting = [last for last, places in layouts.items() if self._ordered(point, places)] or [
            last for last, places in layouts.items() if self._keeps_a_grid(point, places, channels_last=last)
        ]
        if not fitting:
            return None
        (slope,) = torch.autograd.grad(self.score, [point.edge], retain_graph=True, allow_unused=True)
        seen = None if slope is None else as_grid(slope.reshape(point.shape), channels_last=fitting[0])
        if seen is None or int((seen != 0).any(dim=1).sum()) < 2:
            return None
        grid = (seen.shape[2], seen.shape[3])
        calls = self.calls[point.name] if point.module is not None else 1
        return Layer(point.name, point.module, point.call, calls, fitting[0], grid)

    def _ordered(self, point: _Point, places: Tensor) -> bool:
        """Tell whether halves of the map look at the same halves of the film, by the squared gradient at the pixels."""
        channels, height, width = places.shape[1:]
        weights = torch.randn(channels, height, width, generator=torch.Generator().manual_seed(0))
        rows, columns = torch.arange(height)[:, None], torch.arange(width)[None]
        halves = (rows < height / 2, rows >= height / 2, columns < width / 2, columns >= width / 2)
        centres = []
        for half in halves:
            pull = torch.zeros(math.prod(point.shape))
            pull[places[0]] = weights * half  # drawn: a layer norm's channels add up to a constant
            pull = pull.view(point.shape).to(self.pixels.device)
            (slope,) = torch.autograd.grad([point.edge], self.pixels, [pull], retain_graph=True, allow_unused=True)
            energy = torch.zeros_like(self.pixels) if slope is None else slope
            energy = energy.double().square().sum(dim=(0, 1)).cpu()
            if float(energy.sum()) == 0.0:  # rectifiers shut on this film: nothing speaks against the usual layout
                return places.shape[1:] == point.shape[1:]
            along = torch.arange(len(energy), dtype=torch.float64) / len(energy)
            centres.append(torch.stack([energy.sum(1) @ along, energy.sum(0) @ along]) / energy.sum())
        down, across = centres[1] - centres[0], centres[3] - centres[2]
        straight = down[0] > max(ORDERED, abs(float(down[1]))) and across[1] > max(ORDERED, abs(float(across[0])))
        return bool(straight)

    def _keeps_a_grid(self, point: _Point, places: Tensor, *, channels_last: bool) -> bool:
        """Tell whether the first map of this very grid and layout is ordered.

        Large kernels, global responses and attention mix places so far that half a map looks at the whole film; the
        order of the places is still that in which the grid began.
        """
        for one in self.points:
            if one.order >= point.order or len(one.shape) != len(point.shape):
                continue
            first = as_grid(torch.arange(math.prod(one.shape)).view(one.shape), channels_last=channels_last)
            if first is not None and first.shape[2:] == places.shape[2:]:
                return self._ordered(one, first)
        return False

    def is_cut(self, point: _Point) -> bool:
        """Tell whether every path from the logits back to the pixels leads through a point."""
        seen: set[Any] = set()
        waiting: list[Any] = [self.end] if self.end is not point.edge.node else []
        while waiting:
            node = waiting.pop()
            if node in seen:
                continue
            seen.add(node)
            if hasattr(node, "variable"):  # the pixels: weights are frozen and have no place in the graph
                return False
            for onward, number in node.next_functions:
                if onward is not None and not (onward is point.edge.node and number == point.edge.output_nr):
                    waiting.append(onward)
        return True

    def last(self) -> Layer | None:
        """Return the last map by the rules of this module, None if there is none."""
        followed = [point for point in self.points if point.order < self.weights_at] or self.points
        coarse = None
        for point in reversed(followed):
            if point.module is None and self._mere_form(point):
                continue
            found = self.layer(self._named(point)) if self.is_cut(point) else None
            if found is not None and min(found.grid) >= FINE:
                return found
            coarse = coarse or found
        return coarse

    def _named(self, point: _Point) -> _Point:
        """Return the module to name among all that return this tensor: the outermost that is a block, called once."""
        same = [one for one in self.points if one.module is not None and one.same(point)]
        blocks = [one for one in same if type(one.module) is not nn.Sequential] or same
        return min(blocks, key=lambda one: (self.calls[one.name] > 1, one.name.count(".")), default=point)

    def _mere_form(self, point: _Point) -> bool:
        """Tell whether a result without a module is some module's map but for a rectifier, pooling or reshaping."""
        modules = [one for one in self.points if one.module is not None]
        node: Any = point.edge.node
        while node is not None:
            if any(one.edge.node is node for one in modules):
                return True
            onward = [one for one, _ in node.next_functions if one is not None]
            node = onward[0] if len(onward) == 1 and "Convolution" not in type(node).__name__ else None
        return False

    def candidates(self) -> list[str]:
        """Return the names of modules whose last output keeps a spatial extent, in order of the pass."""
        found = [one.name for one in self.points if one.module is not None and _extent(one.shape) > 1]
        return list(dict.fromkeys(found))


def _extent(shape: Shape) -> int:
    return max(shape[2:]) if len(shape) == 4 else 2


def _class_token_layer(modules: Mapping[str, Any]) -> str | None:
    """Name the last norm before attention in timm's and Transformers' vision transformers.

    After their last block only the class token has a gradient; the input of its attention is the last place where
    patches have one. It is no cut of the graph: the class token itself goes around it.
    """
    for prefix, module in modules.items():
        for path in ("blocks", "encoder.layer"):
            name = f"{prefix}.{path}" if prefix else path
            blocks: Any = modules.get(name)
            if hasattr(blocks, "__len__") and len(blocks) and hasattr(blocks[-1], "norm1"):
                around = path == "encoder.layer" or hasattr(module, "patch_embed")
                if around:
                    return f"{name}.{len(blocks) - 1}.norm1"
    return None


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
    listed = ", ".join(trace.candidates()[-12:]) or "none"
    if name is not None:
        return _the_named(trace, name, listed)
    found = trace.last()
    usual = _class_token_layer(trace.modules)
    if usual in trace.modules:
        at = [trace.layer(point) for point in trace.points if point.name == usual]
        later = [point.order for point in trace.points if found is not None and point.name == found.name]
        own = [point.order for point in trace.points if point.name == usual]
        if at and at[-1] is not None and (not later or own[-1] > later[-1]):
            return at[-1]
    if found is None:
        raise NotAttributableError(
            "grad-cam",
            f"no map carries all that the logits see, or has a gradient; name a layer, one of: {listed}",
        )
    return found


def _the_named(trace: Trace, name: str, listed: str) -> Layer:
    full = [known for known in trace.modules if known == name] or [
        known for known in trace.modules if known.endswith(f".{name}")
    ]
    if len(full) != 1 or not name:
        near = full or difflib.get_close_matches(name, trace.modules, n=5, cutoff=0.5)
        what = f"{len(full)} layers end in" if full else "no layer"
        hint = f" (near: {', '.join(near[:5])})" if near else ""
        raise NotAttributableError("grad-cam", f"{what} {name!r}; layers with a spatial extent: {listed}{hint}")
    own = [point for point in trace.points if point.name == full[0]]
    for point in reversed(own):
        found = trace.layer(point)
        if found is not None:
            return found
    gave = trace.shapes.get(full[0])
    why = ""
    if own and _extent(own[-1].shape) > 1:
        why = ", but its places are not places of the film, or the logits do not depend on them"
    shape = gave if gave is not None else f"nothing of use in {trace.calls.get(full[0], 0)} calls"
    raise NotAttributableError("grad-cam", f"layer {name!r} gave {shape}{why}; layers with a spatial extent: {listed}")
