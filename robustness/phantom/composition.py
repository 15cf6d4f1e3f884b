"""Composition of overlapping bodies along a ray: exact unions of intervals, and priority.

With all entries sorted (S) and all exits sorted (E) independently of one another, a union of intervals has a gap
between E[i] and S[i+1] wherever S[i+1] > E[i]; hence |union| = E[n] - S[1] - sum of the gaps. Clipping every interval
to one common interval keeps both orders, so the part of a union inside any convex body costs no new sorting.
"""

from __future__ import annotations

import torch
from torch import Tensor

Interval = tuple[Tensor, Tensor]


def _insert(stack: list[Tensor], new: Tensor) -> None:
    for i, old in enumerate(stack):
        stack[i] = torch.minimum(old, new)
        new = torch.maximum(old, new)
    stack.append(new)


def meet(first: Interval, second: Interval) -> Interval:
    """Return the common part of two intervals (entry equal to exit where there is none)."""
    enter = torch.maximum(first[0], second[0])
    return enter, torch.maximum(torch.minimum(first[1], second[1]), enter)


class Cover:
    """The exact union of many intervals on every ray."""

    def __init__(self, enter: Tensor | None = None, leave: Tensor | None = None) -> None:
        self.enter: list[Tensor] = []
        self.leave: list[Tensor] = []
        if enter is not None and leave is not None:
            for first, last in zip(enter, leave, strict=True):
                self.add(first, last)

    def add(self, enter: Tensor, leave: Tensor) -> None:
        """Add one interval per ray (insertion into both sorted lists)."""
        _insert(self.enter, enter)
        _insert(self.leave, leave)

    def part(self, window: tuple[slice, slice]) -> Cover:
        """Return the same union on fewer rays."""
        smaller = Cover()
        smaller.enter = [one[window] for one in self.enter]
        smaller.leave = [one[window] for one in self.leave]
        return smaller

    def length(self, within: Interval | None = None) -> Tensor:
        """Return the length of the union, or of its part within one interval per ray."""
        if within is None:
            total = self.leave[-1] - self.enter[0]
            for start, end in zip(self.enter[1:], self.leave[:-1], strict=True):
                total -= (start - end).clamp_(min=0.0)
            return total
        low, high = within
        total = self.leave[-1].clamp(low, high) - self.enter[0].clamp(low, high)
        for start, end in zip(self.enter[1:], self.leave[:-1], strict=True):
            total -= start.clamp(low, high).sub_(end.clamp(low, high)).clamp_(min=0.0)
        return total

    def free(self, within: Interval) -> Tensor:
        """Return how much of an interval no member of the union covers."""
        return (within[1] - within[0] - self.length(within)).clamp_(min=0.0)

    def gaps(self, within: Interval, samples: int) -> Tensor:
        """Return (samples, ...) depths, evenly spread over what no member of the union covers of an interval."""
        low, high = within
        before, start = torch.zeros_like(low), low
        gaps: list[tuple[Tensor, Tensor]] = []  # of those that any ray has: free length before it, and where it starts
        for enter, leave in zip([*self.enter, high], [*self.leave, high], strict=True):
            end = torch.maximum(enter.clamp(low, high), start)
            length = end - start
            if bool((length > 0.0).any()):
                gaps.append((before, start))
            before = before + length
            start = torch.maximum(leave.clamp(low, high), end)
        steps = (torch.arange(samples, device=low.device) + 0.5) / samples
        along = steps.view(-1, *[1] * low.dim()) * before
        if not gaps:
            return low + along
        # Gaps follow one another: a place lies in the last one that starts before it.
        shift = gaps[0][1] - gaps[0][0]
        for free, first in gaps[1:]:
            shift = torch.where(along > free, first - free, shift)
        return along.add_(shift)


def priority_lengths(enter: Tensor, leave: Tensor) -> Tensor:
    """Return how long each ray runs in each body when, where bodies overlap, the first one wins.

    Args:
        enter: (n, ...) depths of entry, bodies in order of falling priority.
        leave: (n, ...) depths of exit.

    Returns:
        (n, ...) exclusive lengths; their sum is the length of the union, so no path is lost or counted twice.
    """
    cover, lengths, before = Cover(), [], torch.zeros_like(enter[0])
    for first, last in zip(enter, leave, strict=True):
        cover.add(first, last)
        now = cover.length()
        lengths.append(now - before)
        before = now
    return torch.stack(lengths)
