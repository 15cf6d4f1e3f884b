"""Which subject does a spec name? `load_subject("published")`, a folder, a checkpoint, a timm model, a factory.

Each format is one file of this folder that signs in with `@register`; every file here is imported, so a new
format needs no edit elsewhere.
"""

from __future__ import annotations

import importlib
import pkgutil
from dataclasses import replace
from pathlib import Path
from urllib.parse import unquote

import torch

from explain import NotAttributableError
from suites.harness.errors import SubjectProblem
from suites.harness.foreign_code import defined_in, foreign, one_line, written_in
from suites.harness.subjects.attribution_layer import layer_of
from suites.harness.subjects.formats.device import usable
from suites.harness.subjects.formats.registry import get, names, register
from suites.harness.subjects.network_digest import not_told
from suites.harness.subjects.output_scale import as_logits
from suites.harness.subjects.subject import Subject

for _module in pkgutil.iter_modules(__path__):
    importlib.import_module(f"{__name__}.{_module.name}")

from suites.harness.subjects.formats.user import identified  # noqa: E402 - after the formats have signed in

__all__ = ["get", "load_subject", "names", "register"]


def load_subject(
    spec: str | Subject, *, preprocessing: str | None = None, device: str = "cpu", name: str | None = None
) -> Subject:
    """Load weights as a subject, whatever format they come in, and make sure that it answers.

    Two grey films are sent through as a rehearsal, so that a network that does not fit its preprocessing or its class
    names is refused here and not in the middle of a run. A network that returns probabilities becomes one that returns
    their logarithms, and its provenance says so.

    Args:
        spec: what `names` lists, or a subject built in Python.
        preprocessing: name of the recipe (`repository`, `hub`, ...); by default the subject's own.
        device: where the network runs (`cpu`, `cuda`, `cuda:1`, `mps`); a subject built in Python is moved there, too.
        name: how the report calls the subject; by default named after its weights.

    Returns:
        The subject, with its network frozen and in eval mode.

    Raises:
        SubjectProblem: with one line that says what was wrong, where, and what to do.
    """
    subject = identified(spec) if isinstance(spec, Subject) else _with_layer(spec)
    subject = replace(subject, device=usable(device), name=name or subject.name)
    if preprocessing is not None:
        subject = subject.with_preprocessing(preprocessing)
    _rehearse(subject)
    with foreign(SubjectProblem, f"{subject.name}: the network fails on patterns of grey", at=subject.network):
        return _found_again(as_logits(subject))


def _found_again(subject: Subject) -> Subject:
    """Return the subject, told apart in its provenance where no other run can find its predictions."""
    if subject.provenance.format == "service":  # its answers are its identity
        return subject
    kinds = not_told(subject.respond if subject.network is None else subject.network)
    if not kinds:
        return subject
    note = (
        f"it holds what does not tell its content ({', '.join(kinds)}), so nobody can know it again: its predictions "
        "are kept for this run only and never found again"
    )
    return replace(subject, provenance=replace(subject.provenance, notes=(*subject.provenance.notes, note)))


def _with_layer(spec: str) -> Subject:
    """Read a spec; `?layer=NAME` (or `&layer=NAME`) of any form names the layer that Grad-CAM looks at."""
    before, _, query = spec.partition("?")
    parts = query.split("&")
    named = [part.removeprefix("layer=") for part in parts if part.startswith("layer=")]
    if not named or Path(spec).expanduser().exists():
        return _read(spec)
    others = "&".join(part for part in parts if not part.startswith("layer="))
    if len(named) > 1 or not named[0]:
        raise SubjectProblem(f"{spec}: name one layer, as in ?layer=features.12")
    subject = _read(f"{before}?{others}" if others else before)
    origin = replace(subject.provenance, spec=spec)
    return replace(subject, provenance=origin, attribution_layer=unquote(named[0]))


def _read(spec: str) -> Subject:
    for entry in map(get, names()):
        shown = one_line(spec, 80)
        with foreign(SubjectProblem, f"{shown}: the format {entry.form!r} failed", at=entry.load, only_theirs=True):
            if not entry.matches(spec):
                continue
            subject: object = entry.load(spec)
        if isinstance(subject, Subject):
            return subject
        raise SubjectProblem(
            f"{shown}: the loader of the format {entry.form!r} returned {type(subject).__name__}, not a Subject "
            f"({defined_in(entry.load)})"
        )
    path = Path(spec).expanduser()
    if path.is_file():
        reason = "is a file in no format that is known here"
    elif "/" in spec or path.suffix:
        reason = "no such file or folder"
    else:
        reason = "is no subject"
    raise SubjectProblem(f"{spec!r}: {reason}; subjects are: {' | '.join(names())}")


def _rehearse(subject: Subject) -> None:
    if subject.network is None:
        if subject.attribution_layer is not None:
            raise SubjectProblem(f"{subject.name}: answers whole films, so it has no layer to name; leave out layer=")
        return
    films = torch.linspace(0, 1, 256).expand(2, 256, 256)
    with foreign(
        SubjectProblem, f"{subject.name}: the preprocessing fails on two grey films", at=subject.preprocessing
    ):
        pixels = subject.pixels(films)
        size = tuple(pixels.shape)
    how = f"{size} pixels under the preprocessing {one_line(str(subject.preprocessing.name), 40)!r}"
    place = written_in(subject.network)
    # Any network of the user's, so anything can come out of it.
    with (
        foreign(SubjectProblem, f"{subject.name}: the network fails on {how}", at=subject.network),
        torch.inference_mode(),
    ):
        logits = subject.network(pixels)
    shape = tuple(logits.shape) if isinstance(logits, torch.Tensor) else type(logits).__name__
    if shape != (2, len(subject.classes)):
        raise SubjectProblem(
            f"{subject.name}: wrong number of classes: two films give logits of shape {shape}, but the classes "
            f"{one_line(', '.join(subject.classes), 80)} need (2, {len(subject.classes)}) ({place})"
        )
    if subject.attribution_layer is not None:
        try:
            layer_of(subject)
        except NotAttributableError as refused:
            raise SubjectProblem(f"{subject.name}: layer={subject.attribution_layer}: {refused.reason}") from refused
