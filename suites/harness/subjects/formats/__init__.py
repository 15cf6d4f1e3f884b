"""Which subject does a spec name? `load_subject("published")`, a folder, a checkpoint, a timm model, a factory.

Each format is one file of this folder that signs in with `@register`; every file here is imported, so a new
format needs no edit elsewhere.
"""

from __future__ import annotations

import importlib
import pkgutil
import re
from dataclasses import replace
from urllib.parse import unquote

import torch

from explain import NotAttributableError
from suites.harness.errors import SubjectProblem, one_line, printable
from suites.harness.foreign_code import defined_in, foreign, written_in
from suites.harness.subjects.attribution_layer import layer_of
from suites.harness.subjects.device import at_precision, usable
from suites.harness.subjects.formats.network_size import memory
from suites.harness.subjects.formats.paths import exists, is_file, local_path
from suites.harness.subjects.formats.registry import get, names, register
from suites.harness.subjects.formats.wording import in_short
from suites.harness.subjects.network_digest import not_told
from suites.harness.subjects.output_scale import as_logits
from suites.harness.subjects.subject import Subject, no_tensor

for _module in pkgutil.iter_modules(__path__):
    importlib.import_module(f"{__name__}.{_module.name}")

from suites.harness.subjects.formats.user import identified  # noqa: E402 - after the formats have signed in

__all__ = ["get", "load_subject", "names", "register"]

_OF_ANY = {"layer": "features.12", "memory": "8"}
"""Options that a spec of any form may carry, each with an example."""


def load_subject(
    spec: str | Subject,
    *,
    preprocessing: str | None = None,
    device: str = "cpu",
    precision: str = "float32",
    name: str | None = None,
) -> Subject:
    """Load weights as a subject, whatever format they come in, and make sure that it answers.

    Two grey films are sent through as a rehearsal, so that a network that does not fit its preprocessing or its class
    names is refused here and not in the middle of a run. A network that returns probabilities becomes one that returns
    their logarithms, and its provenance says so.

    Args:
        spec: what `names` lists, or a subject built in Python.
        preprocessing: name of the recipe (`repository`, `hub`, ...); by default the subject's own.
        device: where the network runs (`cpu`, `cuda`, `cuda:1`, `mps`); a subject built in Python is moved there, too.
        precision: what it multiplies in: `float32`, `tf32` (CUDA only) or `bf16`; the provenance names the latter two.
        name: how the report calls the subject; by default named after its weights.

    Returns:
        The subject, with its network frozen and in eval mode.

    Raises:
        SubjectProblem: with one line that says what was wrong, where, and what to do.
    """
    subject = identified(spec) if isinstance(spec, Subject) else _with_options(spec)
    subject = _writable(replace(subject, device=usable(device, precision), name=name or subject.name))
    if preprocessing is not None:
        subject = subject.with_preprocessing(preprocessing)
    _rehearse(subject)
    with foreign(SubjectProblem, f"{subject.name}: the network fails on patterns of grey", at=subject.network):
        subject = as_logits(subject)
    return at_precision(_found_again(subject), precision)


def _writable(subject: Subject) -> Subject:
    """Return the subject with names that every file of a report can hold: those of files may be of any bytes."""
    told = subject.provenance
    told = replace(
        told,
        spec=_written_name(told.spec, 1000),
        format=_written_name(told.format, 1000),
        source=_written_name(told.source, 1000),
        architecture=_written_name(told.architecture, 1000),
        notes=tuple(_written_name(note, 1000) for note in told.notes),
    )
    return replace(subject, name=_written_name(subject.name, 200), provenance=told)


def _written_name(text: str, most: int) -> str:
    """Return a text with all of its letters, those that no file can hold escaped, as long as nobody makes it a book."""
    return one_line(printable(text), most)


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


def _with_options(spec: str) -> Subject:
    """Read a spec of any form, with what may follow each: `?layer=NAME` for Grad-CAM, `?memory=GIB` for a large one."""
    before, _, query = spec.partition("?")
    parts = query.split("&")
    options = {key: [part.partition("=")[2] for part in parts if part.startswith(f"{key}=")] for key in _OF_ANY}
    if not any(options.values()) or exists(local_path(spec)):
        return _read(spec)
    for key, values in options.items():
        if len(values) > 1 or "" in values:
            raise SubjectProblem(f"{spec}: name one {key}, as in ?{key}={_OF_ANY[key]}")
    others = "&".join(part for part in parts if part.partition("=")[0] not in _OF_ANY)
    layer, gib = (next(iter(options[key]), None) for key in ("layer", "memory"))
    with memory(gib, spec):
        subject = _read(f"{before}?{others}" if others else before)
    named = subject.attribution_layer if layer is None else unquote(layer)
    return replace(subject, provenance=replace(subject.provenance, spec=spec), attribution_layer=named)


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
    path = local_path(spec)
    if is_file(path):
        reason = "is a file in no format that is known here"
    elif "/" in spec or path.suffix:
        reason = "no such file or folder"
    else:
        reason = "is no subject"
    forms = " | ".join(re.sub(r" \(.*?\)|\[[^]]{20,}\]", "", form) for form in names())
    raise SubjectProblem(f"{in_short(spec, 40)}: {reason}; subjects are: {forms}")


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
    if not isinstance(logits, torch.Tensor):
        raise SubjectProblem(f"{subject.name}: the network {no_tensor(logits)} ({place})")
    shape = tuple(logits.shape)
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
