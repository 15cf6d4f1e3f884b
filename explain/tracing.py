"""What did a forward pass make, in which order, and what came of it? One film's pass, recorded to be asked afterwards.

One film is run through with gradients. Every output of a module, and every result of a torch function, that could be a
map is noted with its edge in the autograd graph, so that it can be asked whether all that the logits see leads through
it, what of the logits depends on each of its places, and which places of an earlier map it looks at. A layer chosen
from a record (`explain.layers`) is met again in later passes with `captured`.
"""

from __future__ import annotations

import math
from collections import defaultdict
from collections.abc import Iterator
from contextlib import contextmanager
from dataclasses import dataclass
from typing import Any

import torch
from torch import Tensor, nn
from torch.autograd.graph import GradientEdge
from torch.overrides import TorchFunctionMode

from explain.network import NotAttributableError, borrowed

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
class Point:
    """One tensor of the forward pass: when it was made, its edge in the graph, and who gave it."""

    order: int
    edge: GradientEdge
    shape: Shape
    name: str
    module: nn.Module | None
    call: int

    @property
    def tensor(self) -> tuple[Any, int]:
        """What tells its tensor from all others of the pass."""
        return self.edge.node, self.edge.output_nr


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
        self.points: list[Point] = []
        self.weights_at = -1
        self.before = "the pixels"

    def see(self, function: str, result: Tensor) -> Tensor:
        if function in WEIGHTED:
            self.weights_at = self.last
        if _could_be_map(result.shape) and result.grad_fn is not None:
            edge = GradientEdge(result.grad_fn, result.output_nr)
            name = f"{function} after {self.before}"
            self.points.append(Point(self.last, edge, tuple(result.shape), name, None, self.last))
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
            self._score = (logits * mixed).sum()
        self._through, self._from_pixels = _paths(self.end)

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
            point = Point(noting.last, edge, tuple(output.shape), name, module, call - 1)
            passed_on = any(
                isinstance(one, Tensor) and one.grad_fn is edge.node and one.output_nr == edge.output_nr
                for one in inputs
            )
            if not passed_on and not isinstance(module, POOLING):  # an identity, a dropout: not a layer of its own
                noting.points.append(point)

        return look

    def is_cut(self, point: Point) -> bool:
        """Tell whether every path from the pixels to the logits leads through a point."""
        node, number = point.tensor
        if node is self.end:
            return True
        return self._through.get((node, number), 0) * self._from_pixels.get(node, 0) == self._from_pixels[self.end]

    def slope(self, point: Point) -> Tensor | None:
        """Return what a mixture of the logits depends on at a point, in its shape; None if on nothing there."""
        (slope,) = torch.autograd.grad(self._score, [point.edge], retain_graph=True, allow_unused=True)
        return None if slope is None else slope.reshape(point.shape)

    def looked_at(self, point: Point, weights: Tensor, earlier: Point | None) -> Tensor | None:
        """Return what a weighted sum of a point's values depends on, at an earlier point or (None) at the pixels."""
        source: Any = self.pixels if earlier is None else earlier.edge
        pull = weights.view(point.shape).to(self.pixels.device)
        (slope,) = torch.autograd.grad([point.edge], [source], [pull], retain_graph=True, allow_unused=True)
        return slope if slope is None or earlier is None else slope.reshape(earlier.shape)

    def named(self, point: Point) -> Point:
        """Return the module to name among all that return this tensor: the outermost that is a block, called once."""
        same = [one for one in self.points if one.module is not None and one.tensor == point.tensor]
        blocks = [one for one in same if type(one.module) is not nn.Sequential] or same
        return min(blocks, key=lambda one: (self.calls[one.name] > 1, one.name.count(".")), default=point)

    def is_mere_form(self, point: Point) -> bool:
        """Tell whether a result is some module's map but for a rectifier, pooling or reshaping."""
        modules = {one.edge.node for one in self.points if one.module is not None}
        node: Any = point.edge.node
        while node is not None:
            if node in modules:
                return True
            onward = [one for one, _ in node.next_functions if one is not None]
            node = onward[0] if len(onward) == 1 and "Convolution" not in type(node).__name__ else None
        return False

    def candidates(self) -> list[str]:
        """Return the names of modules whose last output keeps a spatial extent, in order of the pass."""
        found = [one.name for one in self.points if one.module is not None and extent(one.shape) > 1]
        return list(dict.fromkeys(found))


def extent(shape: Shape) -> int:
    """Return the longer side of a map as PyTorch lays it out; of tokens, that they have one."""
    return max(shape[2:]) if len(shape) == 4 else 2


def _paths(end: Any) -> tuple[dict[tuple[Any, int], int], dict[Any, int]]:  # noqa: ANN401 -- torch's nodes have no type
    """Count the paths of an autograd graph.

    A tensor is a cut if as many paths lead through it as there are. Counts are exact: Python's integers have no limit.

    Returns:
        (node, output) -> paths to it from the logits; node -> paths from it to the pixels, the one leaf: weights are
        frozen and have no place in the graph.
    """
    from_pixels: dict[Any, int] = {}
    waiting = [(end, False)]
    while waiting:
        node, ready = waiting.pop()
        onward = [one for one, _ in node.next_functions if one is not None]
        if ready:
            from_pixels[node] = 1 if hasattr(node, "variable") else sum(from_pixels[one] for one in onward)
        elif node not in from_pixels:
            waiting += [(node, True), *((one, False) for one in onward if one not in from_pixels)]
    through: dict[tuple[Any, int], int] = defaultdict(int)
    reached: dict[Any, int] = defaultdict(int, {end: 1})
    for node in reversed(from_pixels):
        for one, number in node.next_functions:
            if one is not None:
                through[one, number] += reached[node]
                reached[one] += reached[node]
    return dict(through), from_pixels
