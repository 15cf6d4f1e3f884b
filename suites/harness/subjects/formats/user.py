"""How is a model of one's own a subject? `module:factory`: it returns a network, (network, classes), or a Subject."""

from __future__ import annotations

import importlib
import re
import sys
from collections.abc import Callable, Mapping
from contextlib import chdir, suppress
from dataclasses import replace
from pathlib import Path
from types import NoneType
from typing import Any

from torch import nn

from suites.harness.errors import SubjectProblem, one_line
from suites.harness.foreign_code import defined_in, foreign, place_of
from suites.harness.subjects.formats.bare_network import network_and_classes, subject_of
from suites.harness.subjects.formats.registry import register
from suites.harness.subjects.network_digest import digest_of_network
from suites.harness.subjects.preprocessing import Preprocessing
from suites.harness.subjects.subject import Provenance, Subject
from suites.harness.subjects.temperature_file import FittedTemperature

_FORM = re.compile(r"^(?P<module>[A-Za-z_]\w*(?:\.[A-Za-z_]\w*)*):(?P<factory>[A-Za-z_]\w*)$")

_FIELDS: tuple[tuple[str, Any, str], ...] = (
    ("name", str, "text"),
    ("classes", (tuple, list), "a tuple of names"),
    ("provenance", Provenance, "a Provenance"),
    ("network", (nn.Module, NoneType), "a torch.nn.Module"),
    ("respond", (Callable, NoneType), "a function of films"),
    ("preprocessing", Preprocessing, "a Preprocessing"),
    ("preprocessings", Mapping, "a mapping of name to Preprocessing"),
    ("device", str, "text such as 'cpu'"),
    ("temperature", (FittedTemperature, NoneType), "a FittedTemperature"),
    ("attribution_layer", (str, NoneType), "the name of a module"),
    ("heads", str, "'softmax' or 'sigmoid'"),
    ("thresholds", (tuple, NoneType), "a tuple of probabilities"),
)
"""What a subject is made of, and of what type: nothing else checks what is built in Python."""


@register("MODULE:FACTORY", matches=lambda spec: _FORM.match(spec) is not None, last=True)
def load_user(spec: str) -> Subject:
    """Call a function of the user's, found in the current folder or on the Python path, and take its subject."""
    match = _FORM.match(spec)
    if match is None:
        raise SubjectProblem(f"{spec!r}: should read module:factory")
    here = str(Path.cwd())
    sys.path.insert(0, here)
    shown = one_line(spec, 80)
    try:
        with (
            chdir(here),  # theirs may change the folder, and the paths of this run are relative to it
            foreign(SubjectProblem, f"{shown}: importing {match['module'][-60:]} from {_end(here)} failed"),
        ):
            module = importlib.import_module(match["module"])
    finally:
        with suppress(ValueError):  # the user's own module may have taken it out
            sys.path.remove(here)
    factory = getattr(module, match["factory"], None)
    if not callable(factory):
        raise SubjectProblem(
            f"{shown}: {match['module'][-60:]} has no function {match['factory'][:60]}; write one that returns your "
            "network"
        )
    try:
        with chdir(here), foreign(SubjectProblem, f"{shown}: {match['factory'][:60]}() failed", at=factory):
            subject = factory()
            if (alone := network_and_classes(subject)) is not None:
                subject = subject_of(spec.replace(":", "."), *alone)
            if isinstance(subject, Subject):
                subject = identified(subject)
    except SubjectProblem as problem:
        place = place_of(problem.__cause__ or problem) or place_of(problem) or defined_in(factory)
        if place in str(problem):
            raise
        raise SubjectProblem(f"{problem} ({place})") from problem  # they made a subject of what cannot be one
    if not isinstance(subject, Subject):
        raise SubjectProblem(
            f"{shown}: {match['factory'][:60]}() returned {_kind(subject)}, not a Subject; return a network "
            f"(torch.nn.Module), (network, class names), or a Subject ({defined_in(factory)})"
        )
    return replace(subject, provenance=replace(subject.provenance, spec=spec))


def identified(subject: Subject) -> Subject:
    """Make sure that a subject built in Python carries a SHA-256, since cached predictions are found by it.

    One of 64 hexadecimal digits is kept (the hash of a file of weights, say). Anything else is replaced by the hash of
    everything that decides the network's logits.

    Raises:
        SubjectProblem: there is neither a hash nor a network to take it from, or a field is of another type.
    """
    for name, kind, expected in _FIELDS:
        if not isinstance(value := getattr(subject, name), kind):
            raise SubjectProblem(f"{_named(subject)}: its {name} is {_kind(value)}; expected {expected}")
    if not all(isinstance(name, str) for name in subject.classes):
        raise SubjectProblem(f"{_named(subject)}: its classes are not all text; name each, as in ('normal', 'sick')")
    subject = replace(subject, classes=tuple(subject.classes))
    if re.fullmatch(r"[0-9a-f]{64}", str(subject.provenance.sha256)):
        return subject
    if subject.network is None:
        raise SubjectProblem(
            f"{subject.name}: provenance.sha256 must be 64 hexadecimal digits that change whenever its answers do, "
            "because there is no network to take them from"
        )
    return replace(subject, provenance=replace(subject.provenance, sha256=digest_of_network(subject.network)))


def _named(subject: Subject) -> str:
    return one_line(str(subject.name), 60)


def _kind(value: object) -> str:
    return "None" if value is None else f"a {one_line(type(value).__name__, 40)}"


def _end(folder: str) -> str:
    return folder if len(folder) <= 60 else f"...{folder[-60:]}"
