"""Which formats of weights are there? One file per format, one decorated function per form of spec.

To add one, write a function in a new file of this folder; nothing else has to be edited::

    from hashlib import sha256
    import torch
    from suites.harness.subjects.formats.registry import register
    from suites.harness.subjects.subject import Provenance, Subject

    @register("coin:CLASS+CLASS", matches=lambda spec: spec.startswith("coin:"))
    def coin(spec: str) -> Subject:
        classes = tuple(spec.removeprefix("coin:").split("+"))
        return Subject(
            name="coin",
            classes=classes,
            respond=lambda films: torch.zeros(len(films), len(classes)),  # a list of (H, W); or `network=...`
            provenance=Provenance(spec=spec, format="coin", source=spec, sha256=sha256(spec.encode()).hexdigest()),
        )
"""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import dataclass
from typing import TypeVar

from robustness.registration import taken, unknown_name
from suites.harness.errors import SubjectProblem
from suites.harness.subjects.subject import Subject

Loader = TypeVar("Loader", bound=Callable[[str], Subject])


@dataclass(frozen=True)
class SubjectFormat:
    """One form of spec: how it looks, when it applies, and the function that reads it."""

    form: str
    matches: Callable[[str], bool]
    load: Callable[[str], Subject]
    last: bool = False


_REGISTRY: dict[str, SubjectFormat] = {}


def register(form: str, *, matches: Callable[[str], bool], last: bool = False) -> Callable[[Loader], Loader]:
    """Register a function that turns a spec into a subject.

    It raises `SubjectProblem` with one line for people when it cannot read what the spec names.

    Args:
        form: how the spec is written, shown to a user whose spec fits no format.
        matches: whether a spec has this form; by the spec alone, except that paths may be looked up.
        last: asked after all others, for a form so general that it would swallow theirs.

    Raises:
        SubjectProblem: the form is registered already.
    """

    def enter(load: Loader) -> Loader:
        if form in _REGISTRY:
            raise SubjectProblem(taken("subject format", form, _REGISTRY[form].load, load))
        _REGISTRY[form] = SubjectFormat(form, matches, load, last)
        return load

    return enter


def get(form: str) -> SubjectFormat:
    """Return the format of that form, as `names` writes it.

    Raises:
        SubjectProblem: unknown form; the message lists the nearest ones.
    """
    if form not in _REGISTRY:
        raise SubjectProblem(unknown_name("subject format", form, names()))
    return _REGISTRY[form]


def names() -> list[str]:
    """Every form a spec can take, in the order they are asked, for help texts."""
    return [known.form for known in sorted(_REGISTRY.values(), key=lambda known: known.last)]
