"""How is a deployed service a subject? `http://host:port`, asked film by film as its users ask it.

    GET  /health     -> any JSON
    POST /predict    multipart field `file` -> {"pred": name or index, "probs": {name: p} or [p, ...]}

Films go out whole, as lossless 8-bit grey PNG. A service commonly opens uploads with Pillow and turns them to RGB, and
Pillow clips 16-bit grey at 255 in that step: a 16-bit film would arrive white without a word. Resizing and normalising
are the service's own. It answers with probabilities; their logarithms serve as logits, which gives back the same
probabilities under softmax. There are no gradients and no features.
"""

from __future__ import annotations

import hashlib
import io
import json
from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass
from typing import Any
from urllib.parse import parse_qsl

import httpx
import numpy as np
import numpy.typing as npt
import torch
from PIL import Image
from torch import Tensor

from suites.harness.errors import SubjectProblem
from suites.harness.subjects.formats.http_client import Wire
from suites.harness.subjects.formats.hub import PUBLISHED_CLASSES
from suites.harness.subjects.formats.registry import register
from suites.harness.subjects.formats.service_answer import Reading, in_order, read
from suites.harness.subjects.formats.wording import in_one_line, in_short
from suites.harness.subjects.output_scale import waves
from suites.harness.subjects.preprocessing import Untouched
from suites.harness.subjects.subject import Provenance, Subject

LIMITS: dict[str, tuple[Callable[[str], float], float, float]] = {
    "timeout": (float, 0.1, 3600),
    "workers": (int, 1, 64),
}
"""Type and range of the settings that are numbers."""
FLOOR = 1e-12
"""Smallest probability told from none: a service that rounds answers 0, and log 0 is no logit."""
STEADY = 1e-3
"""Answers to the same film that differ by more than this are remarked upon."""


@dataclass(frozen=True)
class Settings:
    """What may follow the address behind a `?`.

    Attributes:
        classes: names in the order of `probs`, for a service whose answers do not name them.
        timeout: seconds one answer may take.
        workers: films under way at the same time.
    """

    classes: tuple[str, ...] = ()
    timeout: float = 30.0
    workers: int = 8


@dataclass(frozen=True)
class Service:
    """A service whose class names are known.

    Attributes:
        wire: the connection.
        classes: names in the order of the logits.
    """

    wire: Wire
    classes: tuple[str, ...]

    def respond(self, films: Sequence[Tensor]) -> Tensor:
        """Return (B, K) log-probabilities of (H, W) films in [0, 1].

        Raises:
            SubjectProblem: the service cannot be reached, or an answer is not the probabilities of its classes.
        """
        return torch.stack(self.wire.together(self._logits, films))

    def _logits(self, film: Tensor) -> Tensor:
        reading = _ask(self.wire, film)
        return log_probabilities(in_order(reading, self.classes, self.wire.address))


@register(
    "http://HOST:PORT[?classes=a,b,c&timeout=30&workers=8] (a service)",
    matches=lambda spec: spec.lower().startswith(("http://", "https://")),
)
def load_service(spec: str) -> Subject:
    """Take a running service as a subject, after asking it about a few fixed films.

    Raises:
        SubjectProblem: it cannot be reached, or does not keep to the contract above.
    """
    address, settings = _parse(spec)
    wire = Wire(address, timeout=settings.timeout, workers=settings.workers)
    before = wire.get("/health")
    films = waves()
    *readings, again = wire.together(lambda film: _ask(wire, film), [*films, films[0]])
    classes, remarks = _classes(readings[0], settings.classes, before, address)
    answers = np.stack([in_order(reading, classes, address) for reading in readings])
    moved = float(np.abs(in_order(again, classes, address) - answers[0]).max())
    if moved > STEADY:
        remarks.append(
            f"the same film, sent twice, was answered up to {moved:.3f} apart: its answers are not repeatable"
        )
    health = _unchanged(before, wire.get("/health"))
    return Subject(
        name=address.partition("://")[2],
        classes=classes,
        respond=Service(wire, classes).respond,
        preprocessing=Untouched(),
        provenance=Provenance(
            spec=spec,
            format="service",
            source=address,
            sha256=identity(address, classes, health, answers),
            notes=(
                f"films are sent whole as 8-bit grey PNG; of its probabilities none is taken as less than {FLOOR:g}",
                f"SHA-256 of the address, of /health and of the answers to {len(films)} fixed films, not of weights",
                f"/health: {in_short(health)}",
                *remarks,
            ),
        ),
    )


def log_probabilities(probabilities: npt.NDArray[np.float64]) -> Tensor:
    """Return float32 log p, each p scaled to a sum of 1 over its film and taken as at least `FLOOR`."""
    scaled = probabilities / probabilities.sum(axis=-1, keepdims=True)
    return torch.from_numpy(np.log(np.maximum(scaled, FLOOR)).astype(np.float32))


def identity(address: str, classes: Sequence[str], health: object, answers: npt.NDArray[np.float64]) -> str:
    """Return 64 hexadecimal digits that change when another model answers at an address.

    Args:
        address: of the service.
        classes: names in the order of the answers.
        health: what `/health` says, without what moves from one request to the next.
        answers: (F, K) probabilities of the fixed films; compared as logarithms to three decimals, so that saturated
            answers count and rounding noise of the hardware does not.
    """
    rounded = (np.round(log_probabilities(answers).double().numpy(), 3) + 0.0).tolist()
    parts = {"address": address, "classes": list(classes), "health": health, "answers": rounded}
    return hashlib.sha256(json.dumps(parts, sort_keys=True).encode()).hexdigest()


def png_of(film: Tensor) -> bytes:
    """Return an (H, W) film in [0, 1] as an 8-bit grey PNG."""
    grey = np.round(film.detach().cpu().clamp(0, 1).numpy() * 255).astype(np.uint8)
    buffer = io.BytesIO()
    Image.fromarray(grey).save(buffer, "PNG", compress_level=1)
    return buffer.getvalue()


def _ask(wire: Wire, film: Tensor) -> Reading:
    return read(wire.upload("/predict", png_of(film)), wire.address)


def _parse(spec: str) -> tuple[str, Settings]:
    """Return the address without its settings, and the settings."""
    try:
        url = httpx.URL(spec)
    except (httpx.InvalidURL, ValueError) as error:
        raise SubjectProblem(f"{spec!r}: is no address ({in_one_line(error)}); write http://HOST:PORT") from error
    if not url.host:
        raise SubjectProblem(f"{spec!r}: names no host; write http://HOST:PORT")
    if url.host in {"huggingface.co", "hf.co"}:
        raise SubjectProblem(f"{spec}: a repository on the Hub is written hf:owner/name")
    if url.userinfo:
        raise SubjectProblem(f"{url.host}: leave user and password out of the address, for the report prints it")
    given = parse_qsl(url.query.decode(), keep_blank_values=True)
    settings: dict[str, Any] = {key: _setting(key, value, spec) for key, value in given}
    address = str(url.copy_with(query=None, fragment=None)).rstrip("/")
    return address.removesuffix("/predict"), Settings(**settings)


def _setting(key: str, value: str, spec: str) -> object:
    """Return the value of a setting, of its own type and in its range."""
    if key == "classes":
        return tuple(name.strip() for name in value.split(","))
    if key not in LIMITS:
        raise SubjectProblem(f"{spec}: no setting {key!r}; there are classes, {', '.join(LIMITS)}")
    kind, low, high = LIMITS[key]
    try:
        number = kind(value)
    except ValueError as error:
        raise SubjectProblem(f"{spec}: {key} is {value!r}; expected a number") from error
    if not low <= number <= high:
        raise SubjectProblem(f"{spec}: {key} is {value}; expected {low:g} to {high:g}")
    return number


def _classes(
    reading: Reading, given: tuple[str, ...], health: object, address: str
) -> tuple[tuple[str, ...], list[str]]:
    """Return the class names, and a remark where they do not come from the answers themselves.

    Answers that name their classes settle it. Else the user names them, or `/health` does, or three numbers are taken
    in the published order; of any other count nobody can know what they mean.
    """
    if reading.names is not None:
        if given and given != reading.names:
            named = ",".join(reading.names)
            raise SubjectProblem(f"{address}: the answers name their classes ({named}); leave ?classes out")
        return reading.names, []
    count = len(reading.probabilities)
    if given:
        if len(given) != count or not all(given):
            raise SubjectProblem(f"{address}: ?classes names {len(given)} classes, the answers are {count} numbers")
        return given, ["its answers do not name their classes; their names and order were given with the address"]
    listed = health.get("classes") if isinstance(health, Mapping) else None
    if isinstance(listed, list) and len(listed) == count and all(isinstance(name, str) for name in listed):
        return tuple(listed), ["its answers do not name their classes; names and order as /health lists them"]
    if count == len(PUBLISHED_CLASSES):
        return PUBLISHED_CLASSES, ["its answers do not name their classes; the published order is assumed"]
    raise SubjectProblem(f"{address}: answers with {count} numbers without names; add ?classes=a,b,c in their order")


def _unchanged(before: object, after: object) -> object:
    """Return of `/health` what two requests agree on: uptimes and clocks must not make every run a new subject."""
    if isinstance(before, Mapping) and isinstance(after, Mapping):
        return {str(key): value for key, value in before.items() if key in after and after[key] == value}
    return before if before == after else None
