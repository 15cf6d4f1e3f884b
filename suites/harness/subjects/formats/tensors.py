"""Are these the weights of that network? Plain tensors under its names, of its shapes, finite in its precision."""

from __future__ import annotations

from collections.abc import Callable, Iterable, Mapping, Sequence
from pathlib import Path

import torch
from torch import Tensor, nn

from suites.harness.errors import SubjectProblem
from suites.harness.subjects.formats.wording import first_few

State = dict[str, Tensor]

BESIDE_THE_NETWORK = ("criterion", "loss", "metric", "train_", "val_", "test_", "n_averaged")
"""How the names begin of what training modules hold besides their network: losses, metrics and counts, which no
prediction uses."""

MOST_DIMENSIONS = 8
KINDS = frozenset({
    torch.float16, torch.bfloat16, torch.float32, torch.float64, torch.bool, torch.uint8, torch.int8, torch.int16,
    torch.int32, torch.int64,
})  # fmt: skip
"""Numbers that are cast to another kind by their value alone; 8-bit floats need a scale that is kept elsewhere."""


def is_state(content: object) -> bool:
    """Whether something is a table of tensors by name."""
    return (
        isinstance(content, Mapping)
        and len(content) > 0
        and all(isinstance(key, str) and isinstance(value, Tensor) for key, value in content.items())
    )


def as_state(content: object, path: Path) -> State:
    """Check that what a file holds is a non-empty table of plain tensors, and return it.

    Raises:
        SubjectProblem: it is something else, or a tensor in it is no dense array of numbers on a CPU.
    """
    if not isinstance(content, Mapping) or not content:
        raise SubjectProblem(f"{path}: holds no weights, but a {type(content).__name__}")
    strange = [
        key if isinstance(key, str) else f"a {type(key).__name__}"
        for key, value in content.items()
        if not isinstance(key, str) or not isinstance(value, Tensor)
    ]
    if strange:
        raise SubjectProblem(
            f"{path}: holds entries that are no tensors: {first_few(strange)}; save network.state_dict() alone, of the "
            "network as it was before it was quantised"
        )
    odd = [f"{key[:60]} ({fault})" for key, value in content.items() if (fault := _fault(value))]
    if odd:
        raise SubjectProblem(
            f"{path}: {len(odd)} weights are no plain numbers: {first_few(odd, 2)}; save dense float32 tensors, of the "
            "network as it was before it was quantised, pruned or compiled"
        )
    return {key: value.detach() for key, value in content.items()}


def _fault(tensor: Tensor) -> str:
    """Return what keeps a tensor from being a plain weight; nothing for one that is."""
    if tensor.is_quantized:
        return "quantised"
    if tensor.layout is not torch.strided or tensor.is_nested:
        kind = "nested" if tensor.is_nested else str(tensor.layout).removeprefix("torch.")
        return f"{kind}, not dense"
    if tensor.is_meta or tensor.device.type != "cpu":
        return f"without values, on the device {tensor.device.type}"
    if tensor.dtype not in KINDS:
        return str(tensor.dtype).removeprefix("torch.")
    if tensor.ndim > MOST_DIMENSIONS:
        return f"{tensor.ndim} dimensions"
    if tensor.numel() * tensor.element_size() > tensor.untyped_storage().nbytes():
        return f"{tensor.numel()} values, fewer of which are stored"
    return ""


def unwrapped(state: State) -> State:
    """Return weights without what `DataParallel` (`module.`) and `torch.compile` (`_orig_mod.`) put before names."""
    plain: State = {}
    for key, tensor in state.items():
        name = key.replace("_orig_mod.", "").removeprefix("module.")
        plain[key if name in plain else name] = tensor
    return plain


def of_network(state: State, expected: Iterable[str]) -> tuple[State, str]:
    """Return weights under a network's own names where it was saved as a part of something else.

    Args:
        state: weights as they were saved, of a training module say: `model.conv1.weight`, `criterion.weight`.
        expected: names of the network's weights.

    Returns:
        The weights, and the prefix that was taken off (empty where there was none). What lies beside the network stays
        as it is, except losses, metrics and counts of training.
    """
    names = set(expected)
    longest = max(names, key=len, default="")
    prefixes = {key.removesuffix(longest) for key in state if key.endswith(f".{longest}")}
    prefix = prefixes.pop() if not names & set(state) and len(prefixes) == 1 else ""
    kept = {key: tensor for key, tensor in state.items() if key in names or not key.startswith(BESIDE_THE_NETWORK)}
    return {key.removeprefix(prefix): tensor for key, tensor in kept.items()}, prefix


def outputs_of(head: Tensor | None, classes: Sequence[str], source: object) -> int:
    """Return how many logits a head gives, as its weight says; as many as there are classes where none was found.

    One logit between two classes speaks for the second; whether other numbers agree is for the caller to say.

    Raises:
        SubjectProblem: the head is a single number, or one class is named for its one logit.
    """
    if head is None:
        return len(classes)
    if head.ndim == 0:
        raise SubjectProblem(f"{source}: the head is a single number and should be (classes, features)")
    if head.shape[0] == 1 == len(classes):
        raise SubjectProblem(
            f"{source}: one logit decides between two classes, but only {classes[0][:40]!r} is named; name both, that "
            f"without the finding first, as in normal and {classes[0][:40]}"
        )
    return int(head.shape[0])


def filled(make: Callable[[], nn.Module], plan: nn.Module, state: State, source: Path) -> nn.Module:
    """Build a network and give it its weights; no difference in names, shapes or kinds of number is accepted.

    Args:
        make: builds the network.
        plan: the same network on the meta device, which the weights are compared with before any memory is taken.
        state: weights under the network's names.
        source: their file, for messages.

    Raises:
        SubjectProblem: keys are missing or unexpected, shapes differ, or values are not finite in the network's
            precision; each is named.
    """
    tensors = _fitting(plan.state_dict(), state, source)
    network = make()
    network.load_state_dict(tensors)
    return network


def _fitting(expected: Mapping[str, Tensor], state: State, source: Path) -> State:
    """Return the weights in the precision of those expected."""
    missing = [key for key in expected if key not in state]
    unexpected = [key for key in state if key not in expected]
    shared = [key for key in expected if key in state]
    shapes = [
        f"{key} is {tuple(state[key].shape)} and should be {tuple(expected[key].shape)}"
        for key in shared
        if state[key].shape != expected[key].shape
    ]
    kinds = [key for key in shared if state[key].is_floating_point() != expected[key].is_floating_point()]
    faults = {
        "missing": missing,
        "unexpected": unexpected,
        "of another shape": shapes,
        "not floating-point": kinds,
    }
    found = {fault: keys for fault, keys in faults.items() if keys}
    named = 3 if len(found) == 1 else 1  # each fault is to be read, whatever the length of names and path
    lines = [f"{len(keys)} {fault}: {first_few(keys, named)}" for fault, keys in found.items()]
    if lines:
        raise SubjectProblem(
            f"{source}: the weights are not those of this network ({'; '.join(lines)}); name the one they are of"
        )
    # After the cast: 1e300 is finite as it is saved, and infinite as it is used.
    cast = {key: state[key].to(expected[key].dtype) for key in shared}
    broken = [key for key, tensor in cast.items() if not bool(torch.isfinite(tensor).all())]
    if broken:
        raise SubjectProblem(
            f"{source}: {len(broken)} of {len(cast)} tensors hold NaN or infinite values: {first_few(broken)}; take a "
            "checkpoint from before the training diverged"
        )
    return cast
