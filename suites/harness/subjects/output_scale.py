"""Are a network's outputs logits, or probabilities that must be undone?

Softmax of a softmax has a confidence of .73 at most for two classes, and an ECE and a temperature that mean nothing; of
one sigmoid output p, the logits (0, p) always call the second class. Outputs are probabilities where the network ends
in a softmax or sigmoid, whatever averages, scales, clamps or rounds it afterwards, or where rows that vary all sum to
one. Their logarithms take their place: a softmax of these gives the same probabilities back (divided by their sum).
What a linear layer or a convolution gives are logits, wherever they lie.
"""

from __future__ import annotations

import math
from dataclasses import replace

import torch
from torch import Tensor, nn
from torch.autograd.graph import Node, saved_tensors_hooks

from suites.harness.errors import PredictionProblem, SubjectProblem
from suites.harness.subjects.subject import Subject

TOLERANCE = 1e-3
"""How far from one the probabilities of a film may sum: half precision rounds each to 5e-4."""
PERCENT = 100.0
_ROUTES = frozenset({"Alias", "AsStrided", "Cat", "Clone", "Expand", "Permute", "ReshapeAlias", "Select", "Slice",
                     "Squeeze", "Stack", "ToCopy", "Transpose", "T", "Unbind", "UnsafeView", "Unsqueeze", "View",
                     })  # fmt: skip
"""Operations that move numbers and change none, as their backward functions are called."""
_MIXES = frozenset({"Add", "Sub", "Rsub", "Neg", "Mul", "Div", "Mean", "Sum", "Lerp", "Maximum", "Minimum", "Round"})
_BOUNDS = frozenset({"Clamp", "ClampMin", "ClampMax"})
"""Operations that average, scale, shift, round or cut what a sigmoid or softmax gave, or a linear layer."""
_LAYERS = frozenset({"Addmm", "Linear", "Convolution", "MkldnnConvolution", "CudnnConvolution"})
_LINEAR = _LAYERS | {"Mm", "Bmm", "Baddbmm", "Mv", "Addmv", "Dot"}
"""A product of matrices may also mix probabilities; a layer gives none."""
_SQUASHED = frozenset({"Sigmoid", "Tanh", "Softmax", "Hardsigmoid"})
_NEVER_NEGATIVE = _SQUASHED | {"Relu", "Softplus", "Exp", "Abs"}
_CUT = 0.02
"""How far from the whole the probabilities of a film may sum for each class, where they were rounded or cut."""


class LogProbabilities(nn.Module):
    """A network that returns probabilities, as one that returns their logarithms.

    Args:
        network: (B, C, S, S) pixels to (B, K) probabilities; with `single`, to (B, 2) rows (0, p).
        whole: what the probabilities of a film sum to, 1 or 100.
        single: there is one probability, that of the second class.
    """

    def __init__(self, network: nn.Module, *, whole: float = 1.0, single: bool = False) -> None:
        super().__init__()
        self.network, self.whole, self.single = network, whole, single

    def forward(self, pixels: Tensor) -> Tensor:
        """Return (B, K) logits, each the logarithm of a probability (of none less than the smallest float)."""
        probabilities = self.network(pixels) / self.whole
        if self.single:
            second = probabilities[:, 1:]
            probabilities = torch.cat([1 - second, second], dim=1)
        logits: Tensor = probabilities.clamp_min(torch.finfo(probabilities.dtype).tiny).log()
        return logits


class LogOdds(nn.Module):
    """A network that returns a probability for each finding, as one that returns their log-odds."""

    def __init__(self, network: nn.Module) -> None:
        super().__init__()
        self.network = network

    def forward(self, pixels: Tensor) -> Tensor:
        """Return (B, F) logits ln(p / (1 - p)), p kept as far from 0 and 1 as float32 tells it from them."""
        logits: Tensor = torch.logit(self.network(pixels), eps=torch.finfo(torch.float32).eps)
        return logits


def as_logits(subject: Subject) -> Subject:
    """Return the subject itself where its outputs are logits, else one that returns the logarithms of probabilities.

    Raises:
        SubjectProblem: the outputs are neither (a sigmoid for each class), or cannot be told apart.
    """
    network = subject.network
    if network is None:  # a service: its format takes logarithms itself
        return subject
    outputs, graph = _outputs(subject, network)
    ends, sources, cut = _last(graph, _ROUTES)[0], *_last(graph, _ROUTES | _MIXES | _BOUNDS)
    if not bool(torch.isfinite(outputs).any()):
        raise SubjectProblem(
            f"{subject.name}: it answers none of {len(outputs)} patterns with a finite number; are its weights "
            "those of this network, and is its input scaled as in training?"
        )
    if not bool(torch.isfinite(outputs).all()):
        return subject  # named with its film when the films are predicted
    if subject.heads == "sigmoid":
        return _findings(subject, network, ends, sources, cut)
    low, high = float(outputs.min()), float(outputs.max())
    varies = bool((outputs.amax(dim=0) - outputs.amin(dim=0)).max() > 0)
    sums = outputs.sum(dim=1)
    for whole in (1.0, PERCENT):
        together = bool(((sums / whole - 1).abs() < TOLERANCE).all()) and low >= 0 and high <= whole * (1 + TOLERANCE)
        if together and (
            ends == {"Softmax"} or (varies and not (sources and sources <= _LAYERS and not cut & _BOUNDS))
        ):
            return _undone(subject, network, whole=whole)
    if low < 0 or high > PERCENT:
        return subject
    whole = 1.0 if high <= 1 else PERCENT
    logits = bool(sources & _LINEAR) and not cut & _BOUNDS
    if outputs.shape[1] == 2 and not bool(outputs[:, 0].any()):
        if ends == {"Sigmoid"}:
            return _undone(subject, network, single=True)
        return subject if logits or not varies else _one_output(subject, network, outputs[:, 1], sources)
    if varies and _rounded(outputs, whole) and (sources == {"Softmax"} or (not logits and _even(outputs, whole))):
        return _undone(subject, network, whole=whole)
    if whole == 1 and sources == {"Sigmoid"}:
        raise SubjectProblem(
            f"{subject.name}: it gives each class a sigmoid of its own, and such numbers are no probabilities of one "
            "class among several; return one logit for each class, without the sigmoid, or, where they are findings, a "
            'Subject with heads="sigmoid"'
        )
    return subject


def _findings(subject: Subject, network: nn.Module, ends: set[str], sources: set[str], cut: set[str]) -> Subject:
    """Undo the sigmoids of findings; refuse what was made of probabilities otherwise, for it is neither.

    Args:
        subject: with sigmoid heads.
        network: its network.
        ends: the operations nearest to its outputs; `sources` with averages and scales left out, which are in `cut`.
        sources: see `ends`.
        cut: see `ends`.

    Raises:
        SubjectProblem: the outputs are a softmax, or probabilities that were changed (averaged, rescaled, clamped).
    """
    if ends == {"Sigmoid"}:
        note = "its outputs are probabilities (a sigmoid for each finding), not logits: their log-odds are taken"
        provenance = replace(subject.provenance, notes=(*subject.provenance.notes, note))
        return replace(subject, network=LogOdds(network), provenance=provenance)
    if sources & {"Softmax", "Sigmoid", "LogSoftmax"}:
        how = f" ({', '.join(sorted(cut))[:60]})" if cut else ""
        raise SubjectProblem(
            f"{subject.name}: its heads are said to be sigmoids, but its outputs come of "
            f"{' and '.join(sorted(sources))}{how}; return one logit for each finding"
        )
    return subject


def _one_output(subject: Subject, network: nn.Module, output: Tensor, sources: set[str]) -> Subject:
    """Undo one output that comes of a sigmoid and calls both classes; refuse one that may be either.

    Args:
        subject: whose output it is.
        network: its network.
        output: (12,) what it gives for the patterns, in 0 to 1 or 0 to 100.
        sources: the operations it comes of, averages and scales left out.
    """
    low, high = float(output.min()), float(output.max())
    whole = 1.0 if high <= 1 else PERCENT
    if sources and sources <= _SQUASHED and low < whole / 2 < high:
        return _undone(subject, network, whole=whole, single=True)
    if whole == 1 or (sources and sources <= _NEVER_NEGATIVE):
        raise SubjectProblem(
            f"{subject.name}: its one output lies between {low:.3g} and {high:.3g} whatever it is shown, and its "
            "graph does not say whether that is a probability or a logit; return both classes, or the logit"
        )
    return subject


def _rounded(outputs: Tensor, whole: float) -> bool:
    """Whether all rows nearly sum to the whole, as rounded or cut probabilities do."""
    return bool(((outputs.sum(dim=1) / whole - 1).abs() <= _CUT * outputs.shape[1]).all())


def _even(outputs: Tensor, whole: float) -> bool:
    """Whether all outputs are whole percents, and none of the rows is further from 100 than rounding takes it."""
    percents = outputs * (PERCENT / whole)
    off = (percents.sum(dim=1) - PERCENT).abs().max()
    return bool((percents - percents.round()).abs().max() < TOLERANCE) and float(off) <= outputs.shape[1] / 2


def _undone(subject: Subject, network: nn.Module, *, whole: float = 1.0, single: bool = False) -> Subject:
    what = "one probability (a sigmoid)" if single else "percentages" if whole == PERCENT else "probabilities"
    if single and whole == PERCENT:
        what = "one percentage (of a sigmoid)"
    note = f"its outputs are {what}, not logits: their logarithms are taken as logits, which gives the same back"
    undone = LogProbabilities(network, whole=whole, single=single)
    provenance = replace(subject.provenance, notes=(*subject.provenance.notes, note))
    return replace(subject, network=undone, provenance=provenance)


def waves(side: int = 256) -> Tensor:
    """Return (5, side, side) films in [0, 1] of waves from dark to bright and from coarse to fine; none is blank."""
    down, across = _places(side)
    return torch.stack(
        [
            (mean + 0.4 * torch.sin(2 * math.pi * 2**k * across) * torch.cos(2 * math.pi * 2**k * down)).clamp(0, 1)
            for k, mean in enumerate((0.2, 0.35, 0.5, 0.65, 0.8))
        ]
    )


def patterns(side: int = 256) -> Tensor:
    """Return (12, side, side) films in [0, 1] as unlike as can be: black, white, ramps, waves from coarse to fine."""
    down, across = _places(side)
    lungs = ((across - 0.5).abs() - 0.22).square() + 0.4 * (down - 0.5).square()
    plain = [torch.zeros_like(down), torch.ones_like(down), torch.full_like(down, 0.5), down, 1 - across]
    return torch.stack([*plain, *waves(side), (lungs * 12).clamp(0, 0.9), 1 - (lungs * 12).clamp(0, 0.9)])


def _places(side: int) -> tuple[Tensor, Tensor]:
    down, across = torch.meshgrid(torch.linspace(0, 1, side), torch.linspace(0, 1, side), indexing="ij")
    return down, across


def pattern_logits(subject: Subject) -> tuple[float, ...]:
    """Return what a network answers to the patterns as its input: an identity of it that outlives any library.

    Returns:
        12 x K logits, row by row; empty for a subject without a network.
    """
    if subject.network is None:
        return ()
    recipe = subject.preprocessing
    pixels = patterns(recipe.size).unsqueeze(1).expand(-1, recipe.channels, -1, -1)
    logits, _ = subject.answer(pixels.to(subject.device))
    return tuple(float(value) for value in logits.cpu().double().flatten())


def _outputs(subject: Subject, network: nn.Module) -> tuple[Tensor, Node | None]:
    """Return (12, K) outputs on the patterns, and the graph that made them, where there is one.

    Two films at a time, and nothing kept for a backward pass, which nobody runs: a film of 1000 x 1000 pixels would
    leave gigabytes of it.

    Raises:
        SubjectProblem: the network answers with anything but a row of K numbers for each film.
    """
    outputs: list[Tensor] = []
    graph: Node | None = None
    for films in torch.split(patterns(), 2):
        pixels = subject.pixels(films).clone().requires_grad_()
        with torch.enable_grad(), saved_tensors_hooks(_forgotten, _never):
            given = network(pixels)
        try:
            subject.check_answer(given, len(films), network)
        except PredictionProblem as problem:
            raise SubjectProblem(str(problem)) from problem
        graph = graph or given.grad_fn
        outputs.append(given.detach().to("cpu", torch.float64))
    return torch.cat(outputs), graph


def _forgotten(_: Tensor) -> None:
    """Keep nothing of what a backward pass would need."""


def _never(_: object) -> Tensor:
    raise RuntimeError("nothing was kept for a backward pass")


def _last(graph: Node | None, through: frozenset[str]) -> tuple[set[str], set[str]]:
    """Return the operations nearest to the outputs that are none of `through`, and those of `through` on the way.

    Both are empty without a graph.
    """
    found, passed, waiting, seen = set[str](), set[str](), [graph], set[Node]()
    while waiting:
        node = waiting.pop()
        if node is None or node in seen:
            continue
        seen.add(node)
        name = node.name().partition("Backward")[0]
        if name in through:
            passed.add(name)
            waiting += [following for following, _ in node.next_functions]
        else:
            found.add(name)
    return found, passed
