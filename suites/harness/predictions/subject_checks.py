"""What must be known of a subject before anything it says is believed: is it a function of the film at all?

Found out once, before the first prediction: on a few films of the cohort, and where these show nothing, by showing a
network all of them twice, so that noise on one film in ten is seen, too. A claim about a subject whose answer changes
from call to call, or with the films beside it, would be judged on noise, so all its claims are barred with that reason.
"""

from __future__ import annotations

from collections.abc import Iterable, Iterator, Mapping, Sequence
from dataclasses import asdict, dataclass
from itertools import islice
from pathlib import Path

import numpy as np
import pandas as pd
import torch
from torch import Tensor, nn

from suites.harness.cache import Shards
from suites.harness.cache.code_digest import decoding
from suites.harness.cohorts.cohort import Cohort
from suites.harness.cohorts.film_disk_cache import remembering
from suites.harness.errors import FilmUnreadable, NotEvaluable, PredictionProblem, SubjectProblem, one_line
from suites.harness.foreign_code import foreign
from suites.harness.subjects.heads import log_odds, operating_point
from suites.harness.subjects.subject import Subject

FILMS = 8
"""Films looked at closely, spread evenly over the cohort."""
BATCH = 16
"""Films at a time, where a network is shown all of them twice."""
REPEATS = 4
"""Times that the same films are shown to a network."""
ASKED = 2
"""Films that a service is asked about, twice, for others use it, too."""
STEADY = 1e-3
"""What rounding may change: of a probability, and of a logit as a share of the spread of all logits."""
HARMFUL = 0.01
"""Of a probability: from here on, or where a call changes, no number about the subject means anything. Below, as where
activations are quantised by the range of their batch, numbers hold to that much, and the reader is told."""
FLOAT_PATH = "gradients follow the recipe"
VERSION = 4
COLUMNS = {"name": "text", "passed": "flag", "detail": "text", "blocking": "flag"}


@dataclass(frozen=True)
class SubjectCheck:
    """One thing found out about a subject.

    Attributes:
        name: short, unique.
        passed: whether it is as it should be.
        detail: what was measured, in a sentence with numbers that is true whether it passed or not.
        blocking: whether no claim about the subject can be judged where it fails.
    """

    name: str
    passed: bool
    detail: str
    blocking: bool = True


def barred(checks: Sequence[SubjectCheck]) -> str:
    """Return why no claim about a subject can be judged, else ''."""
    return "; ".join(check.detail for check in checks if check.blocking and not check.passed)


def subject_checks(subject: Subject, cohort: Cohort, cache: Path) -> tuple[SubjectCheck, ...]:
    """Return what the clean films show about a subject, from the cache where it was found out before.

    Empty where nothing can be said: no film can be read, or an answer is not finite (the prediction names the film).

    Args:
        subject: the classifier.
        cohort: the films under test.
        cache: root of the cache.

    Raises:
        SubjectProblem: it fails on these films, or answers with anything but logits.
    """
    everything = cohort.rows()
    rows = cohort.rows(_spread(len(cohort)))
    shown = everything if subject.network is not None else rows
    key = {
        **subject.cache_key, "films": [_content(cohort, row) for row in shown], "decoding": decoding(),
        "version": VERSION,
    }  # fmt: skip
    shards = Shards(cache, "subject-checks", key, COLUMNS)

    def checked() -> pd.DataFrame:
        films = _films(cohort, rows, cache)
        checks = _of_network(subject, films) if subject.network is not None else _of_service(subject, films)
        if subject.network is not None and len(everything) > len(rows) and checks and not barred(checks):
            checks = _with_all_films(checks, subject, everything, cohort, cache)
        return pd.DataFrame([asdict(check) for check in checks], columns=list(COLUMNS))

    try:
        with foreign(SubjectProblem, f"{subject.name}: showing it films of {cohort.name} failed"):
            found = shards.once(checked)
    except PredictionProblem as problem:  # before the run, so nothing is lost yet: the subject itself is the problem
        raise SubjectProblem(f"{problem}; shown films of {one_line(cohort.name, 40)}") from problem
    return tuple(
        SubjectCheck(str(row["name"]), bool(row["passed"]), str(row["detail"]), bool(row["blocking"]))
        for row in found.drop_duplicates("name").to_dict("records")
    )


def _spread(films: int) -> list[int]:
    places: list[int] = np.unique(np.linspace(0, films - 1, FILMS).round().astype(int)).tolist()
    return places


def _content(cohort: Cohort, row: Mapping[str, object]) -> str:
    try:
        return cohort.content(row)
    except FilmUnreadable as unreadable:
        return str(unreadable)


def _films(cohort: Cohort, rows: Sequence[Mapping[str, object]], cache: Path) -> Iterator[Tensor]:
    """Yield those of the films that can be read, (H, W) each, one at a time: a large one is as large as a network."""
    decode = remembering(cohort, cache)
    for row in rows:
        try:
            yield torch.from_numpy(decode(row).pixels)
        except FilmUnreadable:
            continue


def _of_network(subject: Subject, films: Iterable[Tensor]) -> tuple[SubjectCheck, ...]:
    network, recipe = subject.network, subject.preprocessing
    assert network is not None  # noqa: S101 - the caller sent services elsewhere
    made = [
        (subject.pixels(film[None]), recipe.differentiable(film[None]) if recipe.eight_bit else None) for film in films
    ]
    if not made:
        return ()
    pixels = torch.cat([exact for exact, _ in made])
    floats = torch.cat([inexact for _, inexact in made if inexact is not None]) if recipe.eight_bit else None
    answers = [_calls(subject, pixels) for _ in range(REPEATS)]
    if not all(bool(torch.isfinite(logits).all()) for logits in answers):
        return ()
    trained = [name or type(module).__name__ for name, module in network.named_modules() if module.training]
    mode = (
        f"its network answers in training mode ({_few(trained)}), with dropout and batch statistics switched on"
        if trained
        else "its network answers in evaluation mode, with dropout and batch statistics switched off"
    )
    turned = _calls(subject, pixels.flip(0)).flip(0)
    # Beside other films: what a batch norm in training mode makes of a film depends on its neighbours.
    alone = torch.cat([_calls(subject, one[None]) for one in pixels])
    return (
        SubjectCheck("in evaluation mode", not trained, mode),
        _repeatable(answers),
        _independent([answers[0], turned, alone]),
        _saturated(answers[0]),
        *_gradients(subject, network, floats, pixels, answers[0]),
    )  # fmt: skip


def _calls(subject: Subject, pixels: Tensor) -> Tensor:
    """Return (B, K) logits of (B, C, S, S) pixels in float64, or (B, F, 2) of each of F findings for itself."""
    return _decided(subject, subject.answer(pixels)[0].cpu().double())


def _decided(subject: Subject, logits: Tensor) -> Tensor:
    if subject.heads == "softmax":
        return logits
    offsets = [log_odds(operating_point(subject.thresholds, index)[0]) for index in range(len(subject.classes))]
    there = logits - logits.new_tensor(offsets)
    return torch.stack([torch.zeros_like(there), there], dim=-1)


def _with_all_films(
    checks: tuple[SubjectCheck, ...],
    subject: Subject,
    rows: Sequence[Mapping[str, object]],
    cohort: Cohort,
    cache: Path,
) -> tuple[SubjectCheck, ...]:
    """Return the checks, that for the same answer failed where two passes over all films differ harmfully."""
    first, second = [], []
    for start in range(0, len(rows), BATCH):
        made = [subject.pixels(film[None]) for film in _films(cohort, rows[start : start + BATCH], cache)]
        if made:
            pixels = torch.cat(made)
            first.append(_calls(subject, pixels))
            second.append(_calls(subject, pixels.flip(0)).flip(0))
    answers = torch.cat(first), torch.cat(second)
    if not all(bool(torch.isfinite(logits).all()) for logits in answers):
        return checks
    found = _repeatable(answers)
    if found.passed or not found.blocking:
        return checks
    return tuple(found if check.name == found.name else check for check in checks)


def _of_service(subject: Subject, films: Iterable[Tensor]) -> tuple[SubjectCheck, ...]:
    asked = list(islice(films, ASKED))
    if not asked:
        return ()
    answers = [_decided(subject, subject.reply(asked).cpu().double()) for _ in range(2)]
    if not all(bool(torch.isfinite(logits).all()) for logits in answers):
        return ()
    return _repeatable(answers, logits=False), _saturated(answers[0])


def _difference(answers: Sequence[Tensor], *, logits: bool = True) -> tuple[float, float, int]:
    """Return how far answers to the same films lie apart.

    Args:
        answers: each (N, K) logits of the same films.
        logits: whether differences of logits count; those of tiny probabilities that a service rounds do not.

    Returns:
        The largest difference of a probability, of a logit as a share of the spread of all, and the calls that change.
    """
    stack = torch.stack(list(answers))
    spread = float(stack[0].max() - stack[0].min())
    apart = float((stack - stack[0]).abs().max())
    sure = stack.softmax(-1)
    calls = int(_of_films((stack.argmax(-1) != stack[0].argmax(-1)).any(0)).any(-1).sum())
    share = apart / spread if logits and spread > 0 else float(logits and apart > 0)
    return float((sure - sure[0]).abs().max()), share, calls


def _of_films(told: Tensor) -> Tensor:
    """Return (N, F) what holds of each film and finding, F = 1 for one of several classes."""
    return told.reshape(len(told), -1)


def _repeatable(answers: Sequence[Tensor], *, logits: bool = True) -> SubjectCheck:
    probability, share, calls = _difference(answers, logits=logits)
    steady = max(probability, share) <= STEADY
    films = len(answers[0])
    found = "its answers stay the same from call to call" if steady else "its answers differ from call to call"
    detail = (
        f"{found}: {len(answers)} passes over the same {films} films change a probability by up to {probability:.2g} "
        f"and the call on {calls}"
    )
    return SubjectCheck("the same answer twice", steady, detail, blocking=calls > 0 or probability > HARMFUL)


def _independent(answers: Sequence[Tensor]) -> SubjectCheck:
    probability, share, calls = _difference(answers)
    steady = max(probability, share) <= STEADY
    found = "does not depend" if steady else "depends"
    detail = (
        f"its answer to a film {found} on the films beside it: in another order, or alone, a probability changes by up "
        f"to {probability:.2g} and the call on {calls} of {len(answers[0])} films"
    )
    return SubjectCheck("a film is answered alone", steady, detail, blocking=calls > 0 or probability > HARMFUL)


def _saturated(logits: Tensor) -> SubjectCheck:
    """In float32, as it is served, a softmax of such logits is exactly 1, and one film is as sure as another."""
    full = int(_of_films(logits.float().softmax(-1).amax(-1) == 1).all(-1).sum())
    free = 2 * full < len(logits)
    measured = f"in float32 the probability of the class called is exactly 1 on {full} of {len(logits)} films"
    detail = (
        f"its head is not saturated: {measured}"
        if free
        else f"its head is saturated: {measured}, so its confidence cannot tell them apart"
    )
    return SubjectCheck("not saturated", free, detail, blocking=False)


def _gradients(
    subject: Subject, network: nn.Module, floats: Tensor | None, exact: Tensor, logits: Tensor
) -> tuple[SubjectCheck, ...]:
    """Whether gradients reach the film, and how far from the recipe's own pixels they are taken.

    Args:
        subject: the classifier.
        network: its network.
        floats: (N, C, S, S) pixels of the recipe without its rounding to 8 bit; `None` where it does not round.
        exact: (N, C, S, S) pixels of the recipe.
        logits: (N, K) of these.
    """
    pixels = exact if floats is None else floats.to(exact.device)
    first, there = _with_gradient(network, pixels[:2])
    flat = logits[0]
    constant = (
        subject.heads == "softmax" and len(flat) > 1 and bool((flat == flat[0]).all())
    )  # its gradient is zero because it has none to give
    # White-box attacks and gradient maps need it; they refuse on their own, this says so first.
    detail = (
        "gradients of its logits reach its input"
        if there
        else "its logits of a film are all the same, so that there is no gradient of their difference to look for"
        if constant
        else "no gradient reaches its input (quantised, detached or computed elsewhere): of attacks and maps only "
        "those without gradients can say anything"
    )
    reach = SubjectCheck("gradients reach the film", there or constant, detail, blocking=False)
    if floats is None:
        return (reach,)
    rest = pixels[len(first) :]
    answered = [part for part in (first, *([subject.answer(rest)[0].cpu().double()] if len(rest) else [])) if len(part)]
    other = _decided(subject, torch.cat(answered))
    return reach, _float_path(pixels, exact, other, logits)


def _with_gradient(network: nn.Module, pixels: Tensor) -> tuple[Tensor, bool]:
    """Return (n, K) logits, none where the network fails with a graph, and whether the first depends on its pixels."""
    logits = pixels.new_zeros((0, 0), dtype=torch.float64, device="cpu")
    try:
        moved = pixels.detach().clone().requires_grad_()
        with torch.enable_grad():
            outputs = network(moved)
            logits = outputs.detach().cpu().double()
            one = outputs[0].amax() - outputs[0].amin() if outputs.shape[1] > 1 else outputs[0, 0]
            (gradient,) = torch.autograd.grad(one, moved, allow_unused=True)
    except RuntimeError:  # what torch raises where there is no graph
        return logits, False
    return logits, gradient is not None and bool((gradient != 0).any())


def _float_path(pixels: Tensor, exact: Tensor, other: Tensor, logits: Tensor) -> SubjectCheck:
    """How far what gradients are taken through, a resize in floats, lies from the recipe's own 8-bit pixels.

    Calls, and whether an attack succeeded, are always read off the exact ones.
    """
    levels = ((pixels * 255).round() - (exact * 255).round()).abs()
    calls = int(_of_films(other.argmax(-1) != logits.argmax(-1)).any(-1).sum())
    share = 100 * float((levels > 0).double().mean())
    apart = float((other - logits).abs().max())
    detail = (
        f"gradients are taken through a resize in floats, where {share:.2g} % of the pixels round to another of 256 "
        f"grey levels than in the recipe's own resize (by {float(levels.max()):.0f} at most); its logits differ by up "
        f"to {apart:.2g}, its call on {calls} of {len(logits)} films"
    )
    return SubjectCheck(FLOAT_PATH, passed=True, detail=detail, blocking=False)  # a distance, not a fault


def _few(names: Sequence[str], most: int = 3) -> str:
    return ", ".join(names[:most]) + (f" and {len(names) - most} more" if len(names) > most else "")


def refuse(subject: Subject, checks: Sequence[SubjectCheck]) -> None:
    """Raise the reason why no claim about a subject can be judged, where there is one.

    Raises:
        NotEvaluable: a blocking check failed.
    """
    if reason := barred(checks):
        raise NotEvaluable(f"{subject.name} cannot be judged: {reason}")
