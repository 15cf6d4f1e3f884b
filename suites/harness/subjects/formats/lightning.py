"""How are Lightning checkpoints (`best.ckpt`) of the published repository's three networks read?

Its training script stores `model_name` and `num_classes` as hyper-parameters and the network under `model.`; class
names are not stored. The network is Transformers' ConvNeXt-V2 under `convnextv2_tiny`, torchvision's under `resnet50`,
and under `dinov2_linear_probe` a Transformers DINOv2 (`backbone`) with a linear layer (`head`) on its class token.
"""

from __future__ import annotations

from collections.abc import Callable, Mapping
from pathlib import Path
from typing import Any

from torch import nn

from suites.harness.errors import SubjectProblem
from suites.harness.subjects.formats import keys, networks
from suites.harness.subjects.formats.processor import HUB
from suites.harness.subjects.formats.registry import register
from suites.harness.subjects.formats.weights import State, as_state, load_into, read_torch, sha256_of_file
from suites.harness.subjects.formats.wording import first_few
from suites.harness.subjects.preprocessing import REPOSITORY, Preprocessing
from suites.harness.subjects.subject import Normalised, Provenance, Subject

PUBLISHED_CLASSES = ("bacterial_pneumonia", "normal", "viral_pneumonia")
"""The published repository sorts its class folders by name."""

BESIDE_THE_NETWORK = ("criterion.", "train_", "val_", "test_")
"""What the published Lightning module holds besides its network: loss and metrics, which no prediction uses."""

SIZE = 224


def _convnextv2_tiny(state: State, num_classes: int) -> tuple[nn.Module, State]:
    transformers = any(key.startswith("convnextv2.") for key in state)
    depths, dims = networks.CONVNEXTV2_SIZES["tiny"]
    network = networks.convnextv2(depths, dims, num_classes, norm_eps=1e-12 if transformers else 1e-6)
    return network, keys.convnextv2_to_timm(state)


def _dinov2_linear_probe(state: State, num_classes: int) -> tuple[nn.Module, State]:
    return networks.dinov2_small(num_classes, SIZE), keys.dinov2_probe_to_timm(state, grid=SIZE // 14)


def _resnet50(state: State, num_classes: int) -> tuple[nn.Module, State]:
    return networks.resnet50(num_classes), state


NETWORKS: dict[str, Callable[[State, int], tuple[nn.Module, State]]] = {
    "convnextv2_tiny": _convnextv2_tiny,
    "dinov2_linear_probe": _dinov2_linear_probe,
    "resnet50": _resnet50,
}
HEADS = {
    "convnextv2_tiny": ("classifier.weight", "head.fc.weight"),
    "dinov2_linear_probe": ("head.weight",),
    "resnet50": ("fc.weight",),
}


@register("FILE.ckpt (Lightning)", matches=lambda spec: spec.endswith(".ckpt") and not spec.startswith("timm:"))
def load_lightning(spec: str) -> Subject:
    """Load a Lightning checkpoint of one of the published networks; nothing in it is executed."""
    path = Path(spec).expanduser()
    checkpoint = read_torch(path)
    digest = sha256_of_file(path)
    if not isinstance(checkpoint, Mapping) or "state_dict" not in checkpoint:
        raise SubjectProblem(f"{path}: is no Lightning checkpoint (no state_dict); try timm:NAME?checkpoint=...")
    settings = checkpoint.get("hyper_parameters")
    settings = settings if isinstance(settings, Mapping) else {}
    kind = settings.get("model_name")
    if not isinstance(kind, str) or kind not in NETWORKS:
        raise SubjectProblem(
            f"{path}: hyper_parameters name the model {kind!r}, which is none of {', '.join(NETWORKS)}"
        )
    state = _network_state(as_state(checkpoint["state_dict"], path), path)
    classes, notes = _classes(settings, state, kind, path)
    network, tensors = NETWORKS[kind](state, len(classes))
    load_into(network, tensors, path)
    recipes: dict[str, Preprocessing] = {"repository": REPOSITORY}
    if kind != "resnet50":
        recipes["hub"] = HUB
        notes.append("hub: the recipe of the image processor of the base weights; the checkpoint itself names none")
    if kind == "dinov2_linear_probe":
        notes.append(f"position table resampled to {SIZE} px (bicubic, no antialiasing), as Transformers does")
    return Subject(
        name=kind if path.stem in ("best", "last") else path.stem,
        classes=classes,
        network=Normalised(network),
        preprocessing=REPOSITORY,
        preprocessings=recipes,
        provenance=Provenance(
            spec=spec,
            format="lightning",
            source=str(path),
            sha256=digest,
            architecture="vit_small_patch14_dinov2" if kind == "dinov2_linear_probe" else kind,
            notes=tuple(notes),
            training={"hyper_parameters": _plain(settings), "epoch": checkpoint.get("epoch")},
        ),
    )


def _network_state(state: State, path: Path) -> State:
    strangers = [key for key in state if not key.startswith(("model.", *BESIDE_THE_NETWORK))]
    if strangers:
        raise SubjectProblem(
            f"{path}: {len(strangers)} weights outside `model.` that could change its answers: {first_few(strangers)}"
        )
    return {key.removeprefix("model."): tensor for key, tensor in state.items() if key.startswith("model.")}


def _classes(settings: Mapping[str, Any], state: State, kind: str, path: Path) -> tuple[tuple[str, ...], list[str]]:
    """Return class names and notes, after the head, `num_classes` and the names were found to agree."""
    head = next((state[key] for key in HEADS[kind] if key in state), None)
    if head is None:
        raise SubjectProblem(f"{path}: the head model.{HEADS[kind][0]} is missing among {len(state)} weights")
    declared = settings.get("num_classes", head.shape[0])
    if declared != head.shape[0]:
        raise SubjectProblem(
            f"{path}: wrong number of classes: num_classes is {declared}, but the head has {head.shape[0]} outputs"
        )
    named = settings.get("classes", settings.get("class_names"))
    if isinstance(named, (list, tuple)) and all(isinstance(name, str) for name in named):
        classes, notes = tuple(named), ["class names from the checkpoint's hyper-parameters"]
    else:
        classes = PUBLISHED_CLASSES
        notes = [
            f"the checkpoint carries no class names: the published alphabetical order is taken, {', '.join(classes)}"
        ]
    if len(classes) != head.shape[0]:
        raise SubjectProblem(
            f"{path}: wrong number of classes: the head has {head.shape[0]} outputs, the classes {', '.join(classes)} "
            "are named; store the names as hyper-parameter `classes`, or pass the model as module:factory"
        )
    return classes, notes


def _plain(settings: Mapping[str, Any]) -> dict[str, object]:
    return {
        str(key): value for key, value in settings.items() if isinstance(value, (str, int, float, bool, type(None)))
    }
