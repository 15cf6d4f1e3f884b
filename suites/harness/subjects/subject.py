"""What is a subject? The model under evaluation, whatever format its weights came in."""

from __future__ import annotations

import hashlib
import json
import unicodedata
from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass, field, replace
from functools import cached_property

import numpy as np
import torch
import torchvision
from torch import Tensor, nn

from suites.harness.errors import PredictionProblem, SubjectProblem, one_line
from suites.harness.foreign_code import foreign, written_in
from suites.harness.subjects.heads import Heads, refuse_unfit
from suites.harness.subjects.network_digest import digest_of, digest_of_network
from suites.harness.subjects.preprocessing import REPOSITORY, Preprocessing
from suites.harness.subjects.temperature_file import FittedTemperature

IMAGENET_MEAN = (0.485, 0.456, 0.406)
IMAGENET_STD = (0.229, 0.224, 0.225)
LONGEST_CLASS = 100
"""Characters of a class's name: they head columns and label axes."""


class Normalised(nn.Module):
    """A backbone with its normalisation inside, so that attacks and saliency live in pixel space.

    Takes (B, C, S, S) pixels in [0, 1] and returns (B, K) logits. A backbone that answers with one sigmoid logit z
    becomes a two-class one with logits (0, z), which leaves every decision and probability as it was.
    """

    mean: Tensor
    std: Tensor

    def __init__(
        self,
        backbone: nn.Module,
        mean: tuple[float, ...] = IMAGENET_MEAN,
        std: tuple[float, ...] = IMAGENET_STD,
    ) -> None:
        super().__init__()
        self.backbone = backbone
        self.register_buffer("mean", torch.tensor(mean).view(1, -1, 1, 1), persistent=False)
        self.register_buffer("std", torch.tensor(std).view(1, -1, 1, 1), persistent=False)

    def forward(self, pixels: Tensor) -> Tensor:
        """Return (B, K) logits, K >= 2.

        Raises:
            TypeError: the backbone returns something other than a tensor.
        """
        logits: Tensor = self.backbone((pixels - self.mean) / self.std)
        if not isinstance(logits, Tensor):
            raise TypeError(no_tensor(logits))
        if logits.ndim == 1:
            logits = logits.unsqueeze(1)
        if logits.ndim > 1 and logits.shape[1] == 1:
            logits = torch.cat([torch.zeros_like(logits), logits], dim=1)
        return logits


def no_tensor(answer: object) -> str:
    """Return what to say of a network that answers with something other than a tensor."""
    kind = type(answer).__name__[:30]
    if isinstance(answer, list | tuple | np.ndarray):
        return f"returned a {kind}, not a tensor; return the logits alone, as one torch tensor of films x classes"
    return f"returned {kind}; return the logits, a torch tensor of films x classes (Transformers: .logits)"


@dataclass(frozen=True, kw_only=True)
class Provenance:
    """Where the weights came from, as printed in the report.

    Attributes:
        spec: what the user wrote.
        format: `hub`, `lightning`, `timm`, `user`, `bundled`, `service`.
        source: file, folder or repository the weights were read from.
        sha256: of the weights' bytes, as printed; part of the identity of cached predictions (see
            `Subject.fingerprint`), and all of it for a subject without a network.
        revision: commit on the hub, if any.
        architecture: name of the network.
        notes: what a reader must know (a renaming, a licence, a training record).
        metadata: what the weights' own card or configuration records for the Hub: `license`, `base_model`, ...
        assumed: what was taken of it because nobody said; stands before every result.
    """

    spec: str
    format: str
    source: str
    sha256: str
    revision: str | None = None
    architecture: str = ""
    notes: tuple[str, ...] = ()
    training: Mapping[str, object] = field(default_factory=dict)
    metadata: Mapping[str, str | Sequence[str]] = field(default_factory=dict)
    assumed: str = ""


@dataclass(frozen=True, kw_only=True)
class Subject:
    """A classifier of films.

    Attributes:
        name: short and unique within a run.
        classes: class names in the order of the logits, from the weights' own metadata; with sigmoid heads, findings.
        network: (B, C, S, S) pixels in [0, 1] to (B, K) logits, in eval mode; `None` for a subject that only answers
            `respond` (a deployed service), which white-box suites then report as not evaluable.
        preprocessing: the recipe in use; `preprocessings` holds every recipe in circulation by name.
        respond: a list of (H, W) films in [0, 1] to (B, K) logits, for subjects without a network.
        temperature: the fitted temperature its logits are divided by already (see `tempered`).
        attribution_layer: dotted name of the module Grad-CAM looks at, or the end of it; by default the last spatial
            feature map is found. It decides no logit.
        precision: what its network multiplies in (see `device`).
        tolerance: how far logits may lie apart on machines whose answers stand for one another; `None`: they are the
            same bits.
        heads: `softmax`: classes exclude one another; `sigmoid`: each is a finding of its own, there or not, and is
            judged as a subject of two classes (see `finding`).
        thresholds: with sigmoid heads, the published operating point of each finding, a probability; `None` where none
            is published for any of them, then .5 decides, as where one is NaN.
        whole: of a subject of one finding, the subject of all; `answers`: the finding as that one calls it.
    """

    name: str
    classes: tuple[str, ...]
    provenance: Provenance
    network: nn.Module | None = None
    preprocessing: Preprocessing = REPOSITORY
    preprocessings: Mapping[str, Preprocessing] = field(default_factory=dict)
    respond: Callable[[Sequence[Tensor]], Tensor] | None = None
    device: str = "cpu"
    temperature: FittedTemperature | None = None
    attribution_layer: str | None = None
    precision: str = "float32"
    tolerance: float | None = None
    heads: Heads = "softmax"
    thresholds: tuple[float, ...] | None = None
    whole: Subject | None = None
    answers: str = ""

    def __post_init__(self) -> None:
        if not isinstance(self.name, str) or not self.name.strip():
            raise SubjectProblem(f"a subject has a name, not {one_line(repr(self.name), 40)}; give it a short one")
        refuse_unfit(self.name, self.classes, self.heads, self.thresholds)
        if self.heads == "softmax" and len(self.classes) < 2:
            raise SubjectProblem(f"{self.name}: a classifier needs at least two class names, got {list(self.classes)}")
        for name in self.classes:
            if not isinstance(name, str) or not 0 < len(name) <= LONGEST_CLASS or name.isspace() or _breaks(name):
                raise SubjectProblem(
                    f"{self.name}: the class name {one_line(repr(name), 60)} in {one_line(self.provenance.source, 80)} "
                    f"(id2label, or wherever it lists them) should be one line of up to {LONGEST_CLASS} characters, "
                    "none of them a control character"
                )
        if len(set(self.classes)) != len(self.classes):
            raise SubjectProblem(f"{self.name}: class names repeat: {list(self.classes)}")
        if (self.network is None) == (self.respond is None):
            raise SubjectProblem(f"{self.name}: give exactly one of network and respond")
        if self.network is not None:
            self.network.eval().to(self.device)
            for parameter in self.network.parameters():
                parameter.requires_grad_(False)  # noqa: FBT003 - torch names it `mode`

    @property
    def differentiable(self) -> bool:
        """Whether gradients reach the pixels; white-box attacks and most attributions need it."""
        return self.network is not None

    @cached_property
    def fingerprint(self) -> str:
        """Identity of what answers: the network as it was built, classes and temperature, without the preprocessing.

        The file of weights alone would not do: another normalisation, activation or epsilon gives other logits from
        the same file. Taken once per subject: one whose network was trained on is a new subject.
        """
        parts: dict[str, object] = {"sha256": self.provenance.sha256, "classes": list(self.classes)}
        if self.whole is not None:
            parts |= {"whole": self.whole.fingerprint, "finding": self.answers}
            return hashlib.sha256(json.dumps(parts, sort_keys=True).encode()).hexdigest()
        if self.network is not None:
            parts["network"] = digest_of_network(self.network)
        elif self.provenance.format != "service":  # a service's sha256 covers its answers, not how it is asked
            parts["respond"] = digest_of(self.respond)
        if self.temperature is not None:
            parts["temperature"] = list(self.temperature.temperatures) or self.temperature.temperature
        if self.heads != "softmax":  # of others nothing has changed: their identity is that of earlier versions
            parts |= {"heads": self.heads, "thresholds": [str(one) for one in self.thresholds or ()]}
        return hashlib.sha256(json.dumps(parts, sort_keys=True).encode()).hexdigest()

    @cached_property
    def cache_key(self) -> dict[str, object]:
        """Everything that decides a logit besides the film: the part that every cache's key begins with.

        The recipe in use and all others that a condition may ask for, the kind of device (of a GPU its model and the
        version of cuDNN), and of torch the version and what can be set for a whole process.
        """
        return {
            "subject": self.fingerprint,
            "preprocessing": _recipe(self.preprocessing),
            "recipes": {name: _recipe(recipe) for name, recipe in sorted(self.preprocessings.items())},
            # Within a tolerance a logit may come from any device; it is kept apart from those that may not.
            "device": device_kind(self.device) if self.tolerance is None else torch.device(self.device).type,
            "torch": torch.__version__,
            "torchvision": torchvision.__version__,
            "precision": [torch.get_float32_matmul_precision(), str(torch.get_default_dtype())],
            # Of networks in full precision nothing has changed: their key is that of earlier versions.
            **({} if self.precision == "float32" else {"network_precision": self.precision}),
            **({} if self.tolerance is None else {"tolerance": self.tolerance}),
        }

    def pixels(self, films: Tensor, preprocessing: Preprocessing | None = None) -> Tensor:
        """Return (B, C, S, S) network input for (B, H, W) films, on the subject's device."""
        # Resized where the films are: any device gives the bytes of a CPU, and there are fewer of them to move.
        return (preprocessing or self.preprocessing)(films).to(self.device)

    def answer(self, pixels: Tensor) -> tuple[Tensor, Tensor | None]:
        """Return (B, K) logits and (B, D) penultimate features (`None` when the network has no linear head).

        Raises:
            PredictionProblem: the network fails, or answers with anything but a row of K numbers for each film.
        """
        if self.network is None:
            raise SubjectProblem(f"{self.name} has no network: only whole films can be sent to it")
        head, caught = self.head, []
        handle = head.register_forward_pre_hook(lambda _, inputs: caught.append(inputs[0])) if head else None
        try:
            with (
                foreign(PredictionProblem, f"{self.name}: its network failed", at=self.network),
                torch.inference_mode(),
            ):
                logits = self.network(pixels)
        finally:
            if handle:
                handle.remove()
        self.check_answer(logits, len(pixels), self.network)
        features = caught[-1].flatten(1) if caught and len(caught[-1]) == len(pixels) else None
        return logits, features

    def reply(self, films: Sequence[Tensor]) -> Tensor:
        """Return (B, K) logits of (H, W) films in [0, 1], for a subject that is only asked whole films.

        Raises:
            PredictionProblem: as `answer`.
            SubjectProblem: a service cannot be had; of another subject also where it has no such function.
        """
        if self.respond is None:
            raise SubjectProblem(f"{self.name} takes the pixels of its network, not whole films")
        with foreign(PredictionProblem, f"{self.name}: asking it about whole films failed", at=self.respond):
            logits = self.respond(films)
        self.check_answer(logits, len(films), self.respond)
        return logits

    def check_answer(self, logits: object, films: int, code: object) -> None:
        """Refuse anything but (films, K) real numbers.

        Args:
            logits: what was answered.
            films: how many films were asked about.
            code: what gave it; its place is named.

        Raises:
            PredictionProblem: it is something else.
        """
        wanted = films, len(self.classes)
        if isinstance(logits, Tensor) and _is_dense(logits) and logits.shape == wanted:
            return
        given = _kind(logits) if isinstance(logits, Tensor) else type(logits).__name__
        place = written_in(code)
        raise PredictionProblem(
            f"{self.name} answered with {given[:80]} for {films} films of {len(self.classes)} classes; expected a "
            f"tensor of {wanted} logits{f' ({place})' if place else ''}"
        )

    @cached_property
    def head(self) -> nn.Linear | None:
        """The last linear layer where it gives the logits: what it sees are the features."""
        if self.whole is not None:  # its head answers all findings
            return None
        linear = [module for module in self.network.modules() if isinstance(module, nn.Linear)] if self.network else []
        outputs = {len(self.classes), 1 if len(self.classes) == 2 else len(self.classes)}
        return linear[-1] if linear and linear[-1].out_features in outputs else None

    def with_preprocessing(self, name: str) -> Subject:
        """Return the same subject under another recipe in circulation.

        Raises:
            SubjectProblem: the recipe is not one of `preprocessings`.
        """
        known = {self.preprocessing.name: self.preprocessing, **self.preprocessings}
        if name not in known:
            raise SubjectProblem(f"{self.name}: no preprocessing called {name!r}; known are {', '.join(sorted(known))}")
        return replace(self, preprocessing=known[name])


def _kind(found: Tensor) -> str:
    shape = "nested rows" if found.is_nested else f"shape {tuple(found.shape)}"
    layout = "" if found.layout is torch.strided else f", {str(found.layout).removeprefix('torch.')}"
    return f"{shape} of {found.dtype}{layout}"


def _is_dense(found: Tensor) -> bool:
    return found.layout is torch.strided and not (found.is_quantized or found.is_nested or found.is_complex())


def _breaks(name: str) -> bool:
    """Whether a name holds what no table or page can: control characters, breaks of lines, half of a pair."""
    return any(unicodedata.category(letter) in {"Cc", "Cs", "Zl", "Zp"} for letter in name)


def device_kind(device: str) -> str:
    """Return what of a device decides the last digits of a logit: cpu, or a GPU's model and its libraries."""
    kind = torch.device(device).type
    if kind != "cuda":
        return kind
    cudnn = torch.backends.cudnn.version()  # type: ignore[no-untyped-call]
    return f"cuda {torch.cuda.get_device_name(device)}, CUDA {torch.version.cuda}, cuDNN {cudnn}"


def recipe_digest(recipe: Preprocessing) -> str:
    """Return one SHA-256 of everything that decides a recipe's pixels; its name does not."""
    return hashlib.sha256(json.dumps(_recipe(recipe), sort_keys=True).encode()).hexdigest()


def _recipe(recipe: Preprocessing) -> dict[str, object]:
    """Return what decides a recipe's pixels: its settings, and its code where a user wrote a recipe of his own."""
    ours = type(recipe).__module__ == Preprocessing.__module__
    return recipe.fingerprint() | ({} if ours else {"code": digest_of(recipe)})
