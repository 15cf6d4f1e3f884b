"""Where formats of weights sign in: one file per format, one decorated function per form of spec."""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import dataclass
from typing import TypeVar

from suites.harness.subject import Subject

Loader = TypeVar("Loader", bound=Callable[[str], Subject])


@dataclass(frozen=True)
class SubjectFormat:
    """One form of spec: how it looks, when it applies, and the function that reads it."""

    form: str
    matches: Callable[[str], bool]
    load: Callable[[str], Subject]
    last: bool = False


FORMATS: list[SubjectFormat] = []


def subject_format(form: str, *, matches: Callable[[str], bool], last: bool = False) -> Callable[[Loader], Loader]:
    """Register a function that turns a spec into a subject.

    Write it in a new file of this folder; nothing else has to be edited:

        @subject_format("onnx:FILE", matches=lambda spec: spec.startswith("onnx:"))
        def load_onnx(spec: str) -> Subject:
            ...

    Args:
        form: how the spec is written, shown to a user whose spec fits no format.
        matches: whether a spec has this form; by the spec alone, except that paths may be looked up.
        last: asked after all others, for a form so general that it would swallow theirs.

    The function raises `SubjectProblem` with one line for people when it cannot read what the spec names.
    """

    def register(load: Loader) -> Loader:
        FORMATS.append(SubjectFormat(form, matches, load, last))
        FORMATS.sort(key=lambda known: known.last)
        return load

    return register
