"""What if a factory returns no Subject, but a network alone, or a network and its classes? The rest is assumed, aloud.

A network in PyTorch says neither what its logits mean nor how its films were prepared. What is taken in place of that
is what most published classifiers were trained with, and stands first in the report, for it decides every number.
"""

from __future__ import annotations

from collections.abc import Sequence

import torch
from torch import Tensor, nn

from suites.harness.errors import SubjectProblem, one_line
from suites.harness.foreign_code import foreign
from suites.harness.subjects.formats.class_order import stated
from suites.harness.subjects.preprocessing import REPOSITORY
from suites.harness.subjects.subject import Normalised, Provenance, Subject, no_tensor

CLASSES = {2: ("normal", "pneumonia"), 3: ("bacterial_pneumonia", "normal", "viral_pneumonia")}
"""By number of logits, in the order of the alphabet: that of folders of films, as torchvision's ImageFolder numbers."""
INPUT = "3 channels of 224 pixels (short side to 255, centre crop), normalised by ImageNet's mean and deviation"
_NEXT = "return a Subject with a Preprocessing of its own"


def network_and_classes(returned: object) -> tuple[nn.Module, Sequence[object] | None] | None:
    """Return the network that a factory returned and the classes it named; `None` where it is neither form."""
    if isinstance(returned, nn.Module):
        return returned, None
    if isinstance(returned, tuple | list) and len(returned) == 2 and isinstance(returned[0], nn.Module):
        classes = returned[1]
        if isinstance(classes, Sequence) and not isinstance(classes, str | bytes):
            return returned[0], list(classes)
    return None


def subject_of(name: str, network: nn.Module, named: Sequence[object] | None) -> Subject:
    """Make a subject of a network, with what nobody said assumed (`Provenance.assumed`).

    Args:
        name: of the subject.
        network: (B, 3, 224, 224) normalised films to (B, K) logits, or one logit, which speaks for the second class.
        named: its classes in the order of the logits; else those it states itself (`classes`, `id2label`, ...), else
            `CLASSES`.

    Raises:
        SubjectProblem: it cannot be asked about such films, or its logits fit no classes; the line says what to return.
    """
    normalised = isinstance(network, Normalised)
    inside = network if normalised else Normalised(network)
    inside.eval()
    seen: list[object] = []
    watched = inside.get_submodule("backbone").register_forward_hook(
        lambda _network, _given, answer: seen.append(answer)
    )
    with (
        foreign(SubjectProblem, f"{name}: the network fails on 3 x 224 x 224 pixels; for another input {_NEXT}"),
        torch.inference_mode(),
    ):
        logits = inside(REPOSITORY(torch.full((2, 256, 256), 0.5)))
    watched.remove()
    if not isinstance(logits, Tensor):
        raise SubjectProblem(f"{name}: the network {no_tensor(logits)}")
    if logits.ndim != 2:
        raise SubjectProblem(f"{name}: two films give logits of shape {tuple(logits.shape)}; return films x classes")
    classes, how = _classes(name, network, named, int(logits.shape[1]))
    single = f"{_one_output(classes[1])}, and " if any(map(_is_single, seen)) else ""
    films = INPUT.partition(", normalised")[0] if normalised else INPUT
    return Subject(
        name=name,
        classes=classes,
        network=inside,
        provenance=Provenance(
            spec=name,
            format="user",
            source=name,
            sha256="",
            architecture=type(network).__name__,
            assumed=f"Assumed: {how}{single}films of {films}. Where that is not so, every number here is wrong: "
            f"{_NEXT}",
        ),
    )


def _classes(name: str, network: nn.Module, named: Sequence[object] | None, logits: int) -> tuple[tuple[str, ...], str]:
    """Return the classes, and how to say so where they are assumed, else ''."""
    if named is None:
        found = next(iter(stated({key: value for key, value in vars(network).items() if key[0] != "_"}).items()), None)
        classes = found[1] if found else CLASSES.get(logits, ())
        how = f"its {found[0]}, " if found else ""
        if not classes:
            raise SubjectProblem(
                f"{name}: nobody says what its {logits} logits mean; return the pair (network, classes), the names in "
                "the order of the logits"
            )
        how = f"{how}in the order of its logits {', '.join(classes)}, and "
    elif not all(isinstance(one, str) for one in named):
        raise SubjectProblem(f"{name}: its classes are not all text; return (network, ('normal', 'sick'))")
    else:
        classes, how = tuple(map(str, named)), ""
    if len(classes) != logits:
        raise SubjectProblem(
            f"{name}: {len(classes)} classes are named ({one_line(', '.join(classes), 60)}), but the network gives "
            f"{logits} logits; name each, in the order of the logits"
        )
    return classes, f"classes {how}" if how else ""


def _is_single(answer: object) -> bool:
    """Whether a network answered two films with one number each (see `Normalised`)."""
    return isinstance(answer, Tensor) and answer.ndim > 0 and answer.numel() == len(answer)


def _one_output(second: str) -> str:
    """Return how the one number of a network is read, a logit or (see `output_scale`) a probability."""
    how = "read, through a sigmoid unless it ends in one, as the probability of"
    return f"its one output {how} {second}, the second class"
