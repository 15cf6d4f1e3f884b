"""How does every suite, attack and map see recalibrated logits? A subject with its temperature inside."""

from __future__ import annotations

import math
from collections.abc import Callable, Sequence
from dataclasses import replace
from pathlib import Path

import torch
from torch import Tensor, nn

from suites.harness.errors import SubjectProblem
from suites.harness.subjects.heads import log_odds
from suites.harness.subjects.output_scale import pattern_logits
from suites.harness.subjects.subject import Subject, recipe_digest
from suites.harness.subjects.temperature_file import FittedTemperature, read_temperature


class Tempered(nn.Module):
    """A network whose logits are divided by one number, or each by its own; differentiable, and no call changes."""

    temperature: float | Tensor

    def __init__(self, network: nn.Module, temperature: float | Tensor) -> None:
        super().__init__()
        self.network = network
        if isinstance(temperature, Tensor):
            self.register_buffer("temperature", temperature)
        else:
            self.temperature = temperature

    def forward(self, pixels: Tensor) -> Tensor:
        """Return (B, K) logits / T for (B, C, S, S) pixels in [0, 1]."""
        logits: Tensor = self.network(pixels)
        return logits / self.temperature


def with_temperature(subject: Subject, fitted: FittedTemperature) -> Subject:
    """Return the subject with its logits divided by a fitted temperature; name, provenance and fingerprint say so.

    Of findings the operating points move with their logits, so that no call changes.

    Raises:
        SubjectProblem: the temperature was fitted for other weights or classes, or the subject carries one already.
    """
    if subject.temperature is not None:
        raise SubjectProblem(
            f"{subject.name} already carries the temperature {subject.temperature.temperature:.4g}; pass one file per "
            "subject (a file holds the whole temperature of its weights)"
        )
    if fitted.sha256 != subject.provenance.sha256:
        raise SubjectProblem(
            f"the temperature was fitted for {fitted.subject} (weights sha256 {fitted.sha256[:12]}...), not for "
            f"{subject.name} ({subject.provenance.sha256[:12]}...); fit one on these weights with --report"
        )
    if not _same_answers(fitted.answers, pattern_logits(subject)):
        raise SubjectProblem(
            f"the temperature was fitted for {fitted.subject} with the same weights, but with another normalisation, "
            f"activation or other setting than {subject.name} has here; fit one on this subject with --report"
        )
    if fitted.classes != subject.classes:
        raise SubjectProblem(
            f"the temperature was fitted for the classes {', '.join(fitted.classes)}, but {subject.name} answers "
            f"{', '.join(subject.classes)}"
        )
    divisor, name = fitted.temperature, f"{subject.name}-T{fitted.temperature:.3g}"
    size = f"T = {divisor:.4g} ({fitted.low:.4g} to {fitted.high:.4g})"
    by: float | Tensor = divisor
    if fitted.temperatures:
        if subject.heads != "sigmoid":
            raise SubjectProblem(f"{subject.name} answers one class among several: its logits have one temperature")
        by, name = _device_of(subject, fitted.temperatures), f"{subject.name}-T-per-finding"
        size = "T of its own each: " + ", ".join(
            f"{one} {own:.3g}" for one, own in zip(subject.classes, fitted.temperatures, strict=True)
        )
    told = f"logits divided by {size}, fitted on {fitted.films} films of {fitted.cohort}"
    told += _other_recipe(subject, fitted)
    origin = replace(subject.provenance, notes=(*subject.provenance.notes, told))
    return replace(
        subject,
        name=name,
        provenance=origin,
        temperature=fitted,
        network=None if subject.network is None else Tempered(subject.network, by),
        respond=None if subject.respond is None else _cooled(subject.respond, by),
        thresholds=_moved(subject.thresholds, fitted.divisors),
    )


def _device_of(subject: Subject, temperatures: Sequence[float]) -> Tensor:
    """Return (K,) temperatures where the subject's logits are."""
    return torch.tensor(temperatures, dtype=torch.float32, device=subject.device)


def _moved(thresholds: tuple[float, ...] | None, divisors: Sequence[float]) -> tuple[float, ...] | None:
    """Return the operating points, as probabilities, at which the divided logits call what they called before."""
    if thresholds is None:
        return None
    return tuple(
        one if math.isnan(one) else 1 / (1 + math.exp(-log_odds(one) / by))
        for one, by in zip(thresholds, divisors, strict=True)
    )


def _other_recipe(subject: Subject, fitted: FittedTemperature) -> str:
    """Return what is to be said where the temperature was, or may have been, fitted on other pixels; else ''."""
    name, here = fitted.preprocessing, subject.preprocessing
    if fitted.recipe == recipe_digest(here):  # the name alone changes no pixel
        return ""
    if name != here.name:
        return f" under the preprocessing {name!r}, which is not the one in use here"
    if fitted.recipe:
        return (
            f" under another preprocessing that is also called {name!r}: its settings differ from those in use here, "
            "so the temperature may not fit; fit one under this recipe with --report"
        )
    return f" under a preprocessing called {name!r}, as here; the file is of an earlier version and does not say more"


def _same_answers(fitted: Sequence[float], here: Sequence[float]) -> bool:
    """Whether two networks answer the patterns alike, as far as both are known; another device may round otherwise."""
    if not fitted or not here:
        return True
    if len(fitted) != len(here):
        return False
    spread = max(here) - min(here)
    return max(abs(one - other) for one, other in zip(fitted, here, strict=True)) <= 1e-3 * spread


def _cooled(
    respond: Callable[[Sequence[Tensor]], Tensor], temperature: float | Tensor
) -> Callable[[Sequence[Tensor]], Tensor]:
    def answer(films: Sequence[Tensor]) -> Tensor:
        return respond(films) / temperature

    return answer


def with_temperatures(subjects: Sequence[Subject], files: Sequence[Path]) -> list[Subject]:
    """Return the subjects, each with the temperature whose file names its weights.

    Args:
        subjects: of the run; those no file names are returned as they are.
        files: temperature files, each for at least one of them.

    Raises:
        UsageProblem: a file cannot be used (see `read_temperature`, `with_temperature`), or belongs to none of them.
    """
    found = list(subjects)
    for file in files:
        fitted = read_temperature(file)
        # A single subject is asked for its reason; among several, the weights decide whose temperature it is.
        mine = [index for index, one in enumerate(found) if one.provenance.sha256 == fitted.sha256 or len(found) == 1]
        if not mine:
            known = ", ".join(f"{one.name} ({one.provenance.sha256[:12]}...)" for one in found)
            raise SubjectProblem(
                f"{file}: fitted for {fitted.subject} (weights sha256 {fitted.sha256[:12]}...), not for {known}"
            )
        if len(mine) > 1:  # of several with these weights, those that answer as the one of the fit did
            mine = [index for index in mine if _same_answers(fitted.answers, pattern_logits(found[index]))] or mine
        for index in mine:
            try:
                found[index] = with_temperature(found[index], fitted)
            except SubjectProblem as problem:
                raise SubjectProblem(f"{file}: {problem}") from problem
    return found
