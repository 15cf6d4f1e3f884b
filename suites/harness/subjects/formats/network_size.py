"""How much memory would a network take? Counted before it takes any, and held against a limit that a spec can raise.

It is built on torch's meta device first, where tensors have shapes and no values, which takes milliseconds whatever its
size. The schemas of its settings bound the number of its layers, and so the time and room of that.
"""

from __future__ import annotations

import math
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from contextvars import ContextVar

import torch
from torch import Tensor, nn

from suites.harness.errors import SubjectProblem
from suites.harness.foreign_file import size_text

GIB = 2**30
DEFAULT_MEMORY = 2 * GIB
"""Bytes of weights (float32) and of the largest layer's work that a network may take unasked: 500 million weights."""
FILMS = 2
"""Films that are sent through at once when a subject is loaded."""

_allowed: ContextVar[int] = ContextVar("allowed", default=DEFAULT_MEMORY)


def allowed() -> int:
    """Return the bytes that a network may take: `DEFAULT_MEMORY`, or what `?memory=GiB` of its spec says."""
    return _allowed.get()


@contextmanager
def memory(gib: str | None, spec: str) -> Iterator[None]:
    """Read what a spec allows, and let it hold while the spec is loaded.

    Raises:
        SubjectProblem: it is no positive number of GiB.
    """
    if gib is None:
        yield
        return
    try:
        number = float(gib)
    except ValueError:
        number = math.nan
    if not 0 < number <= 4096:
        raise SubjectProblem(f"{spec}: memory should be GiB up to 4096, as in ?memory=8, not {gib[:20]!r}")
    token = _allowed.set(int(number * GIB))
    try:
        yield
    finally:
        _allowed.reset(token)


def without_values(make: Callable[[], nn.Module]) -> nn.Module:
    """Return a network in eval mode whose tensors have shapes and no values."""
    with torch.device("meta"):
        return make().eval()


def planned(make: Callable[[], nn.Module], *, side: int, channels: int, source: object) -> nn.Module:
    """Return a network without values, after what it would take was found to be allowed.

    Args:
        make: builds the network.
        side: of its input in pixels.
        channels: of its input.
        source: what asks for the network, for messages.

    Raises:
        SubjectProblem: its weights, or its work on two films, would take more than is allowed.
    """
    plan = without_values(make)
    refuse_large(plan, side=side, channels=channels, source=source)
    return plan


def refuse_large(plan: nn.Module, *, side: int, channels: int, source: object) -> None:
    """Refuse a network on the meta device that would take more than is allowed.

    Raises:
        SubjectProblem: its weights, or its work on two films, would.
    """
    weights = needed = sum(_bytes_of(tensor) for tensor in (*plan.parameters(), *plan.buffers()))
    if weights <= allowed():
        needed += working_bytes(plan, (FILMS, channels, side, side))
    if needed > allowed():
        raise SubjectProblem(
            f"{source}: its network would take {size_text(needed)} of memory for two films of {side} pixels, "
            f"{size_text(weights)} of them for weights, more than the {size_text(allowed())} allowed; where that is "
            f"meant, add memory={math.ceil(needed / GIB)} (GiB) to the spec, as in ?memory=8"
        )


def working_bytes(plan: nn.Module, shape: tuple[int, ...]) -> int:
    """Return twice what the largest layer takes and gives: measured networks need one to two times that.

    Args:
        plan: network on the meta device.
        shape: (B, C, S, S) of the pixels.
    """
    largest = 0

    def look(_: nn.Module, taken: object, given: object) -> None:
        nonlocal largest
        largest = max(largest, _bytes_of(taken) + _bytes_of(given))

    handles = [module.register_forward_hook(look) for module in plan.modules()]
    try:
        with torch.inference_mode():
            plan(torch.empty(shape, device="meta"))
    except Exception:  # noqa: BLE001, S110 - hundreds of architectures; the rehearsal tells on real pixels what fails
        pass
    finally:
        for handle in handles:
            handle.remove()
    return 2 * largest


def _bytes_of(value: object) -> int:
    if isinstance(value, Tensor):
        return value.numel() * value.element_size()
    return sum(map(_bytes_of, value)) if isinstance(value, (tuple, list)) else 0
