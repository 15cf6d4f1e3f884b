"""How are Lightning checkpoints (`best.ckpt`) of the published repository's three networks read?

Its training script stores `model_name` and `num_classes` as hyper-parameters and the network under `model.`; class
names are not stored. The network is Transformers' ConvNeXt-V2 under `convnextv2_tiny`, torchvision's under `resnet50`,
and under `dinov2_linear_probe` a Transformers DINOv2 (`backbone`) with a linear layer (`head`) on its class token.
"""

from __future__ import annotations

from collections.abc import Callable, Mapping
from functools import partial
from pathlib import Path
from typing import Any

from torch import nn

from suites.harness.errors import SubjectProblem, one_line
from suites.harness.strict_json import check_values
from suites.harness.subjects.finding import NormalisedFindings
from suites.harness.subjects.formats import class_order, keys, networks, schemas
from suites.harness.subjects.formats.hub import PUBLISHED_CLASSES
from suites.harness.subjects.formats.network_size import planned
from suites.harness.subjects.formats.paths import local_path
from suites.harness.subjects.formats.processor import HUB
from suites.harness.subjects.formats.registry import register
from suites.harness.subjects.formats.tensors import (
    BESIDE_THE_NETWORK,
    State,
    as_state,
    filled,
    outputs_of,
    unwrapped,
)
from suites.harness.subjects.formats.weights import checked, read_torch, sha256_of_file
from suites.harness.subjects.formats.wording import first_few
from suites.harness.subjects.heads import Heads
from suites.harness.subjects.preprocessing import REPOSITORY, Preprocessing
from suites.harness.subjects.subject import Normalised, Provenance, Subject

SIZE = 224


Built = tuple[Callable[[], nn.Module], State]
"""How a network is built, and its weights under the names they have there."""


def _convnextv2_tiny(state: State, outputs: int) -> Built:
    transformers = any(key.startswith("convnextv2.") for key in state)
    depths, dims = networks.CONVNEXTV2_SIZES["tiny"]
    make = partial(networks.convnextv2, depths, dims, outputs, norm_eps=1e-12 if transformers else 1e-6)
    return make, keys.convnextv2_to_timm(state)


def _dinov2_linear_probe(state: State, outputs: int) -> Built:
    return partial(networks.dinov2_small, outputs, SIZE), keys.dinov2_probe_to_timm(state, grid=SIZE // 14)


def _resnet50(state: State, outputs: int) -> Built:
    return partial(networks.resnet50, outputs), state


NETWORKS: dict[str, Callable[[State, int], Built]] = {
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
    path = local_path(spec)
    checkpoint = read_torch(path)
    if not isinstance(checkpoint, Mapping) or "state_dict" not in checkpoint:
        raise SubjectProblem(f"{path}: is no Lightning checkpoint (no state_dict); try timm:NAME?checkpoint=...")
    settings = checkpoint.get("hyper_parameters")
    settings = settings if isinstance(settings, Mapping) else {}
    kind = _plain(settings.get("model_name"))
    if not isinstance(kind, str) or kind not in NETWORKS:
        raise SubjectProblem(
            f"{path}: hyper_parameters name the model {kind!r}, which is none of {', '.join(NETWORKS)}"
        )
    used = {key: _plain(settings[key]) for key in schemas.HYPER_PARAMETERS["properties"] if key in settings}
    checked({"hyper_parameters": used}, {"properties": {"hyper_parameters": schemas.HYPER_PARAMETERS}}, path)
    state = _network_state(unwrapped(as_state(checkpoint["state_dict"], path)), path)
    heads = _heads(settings, path)
    if heads == "sigmoid" and not (used.get("classes") or used.get("class_names") or class_order.stated(checkpoint)):
        raise SubjectProblem(f"{path}: nothing names its findings; store them as hyper-parameter `classes`")
    classes, outputs, notes = _classes(used, class_order.stated(checkpoint), state, kind, path, heads=heads)
    make, tensors = NETWORKS[kind](state, outputs)
    network = filled(make, planned(make, side=SIZE, channels=3, source=path), tensors, path)
    recipes: dict[str, Preprocessing] = {"repository": REPOSITORY}
    if kind != "resnet50":
        recipes["hub"] = HUB
        notes.append("hub: the recipe of the image processor of the base weights; the checkpoint itself names none")
    if kind == "dinov2_linear_probe":
        notes.append(f"position table resampled to {SIZE} px (bicubic, no antialiasing), as Transformers does")
    return Subject(
        name=kind if path.stem in ("best", "last") else path.stem,
        classes=classes,
        network=(NormalisedFindings if heads == "sigmoid" else Normalised)(network),
        preprocessing=REPOSITORY,
        preprocessings=recipes,
        heads=heads,
        provenance=Provenance(
            spec=spec,
            format="lightning",
            source=str(path),
            sha256=sha256_of_file(path),
            architecture="vit_small_patch14_dinov2" if kind == "dinov2_linear_probe" else kind,
            notes=tuple(notes),
            training={"hyper_parameters": _record(settings), **_record({"epoch": checkpoint.get("epoch")})},
        ),
    )


def _heads(settings: Mapping[Any, object], path: Path) -> Heads:
    """Return what the hyper-parameters say of the logits, be it in Transformers' word for it.

    Raises:
        SubjectProblem: it is neither classes nor findings.
    """
    told = _plain(settings.get("heads", settings.get("problem_type")))
    known: dict[object, Heads] = {
        None: "softmax", "softmax": "softmax", "single_label_classification": "softmax",
        "sigmoid": "sigmoid", "multi_label_classification": "sigmoid",
    }  # fmt: skip
    if isinstance(told, list) or told not in known:
        raise SubjectProblem(
            f"{path}: hyper_parameters say {one_line(str(told), 40)} of its logits; `heads` is softmax or sigmoid"
        )
    return known[told]


def _network_state(state: State, path: Path) -> State:
    strangers = [key for key in state if not key.startswith(("model.", *BESIDE_THE_NETWORK))]
    if strangers:
        raise SubjectProblem(
            f"{path}: {len(strangers)} weights outside `model.` that could change its answers: {first_few(strangers)}"
        )
    return {key.removeprefix("model."): tensor for key, tensor in state.items() if key.startswith("model.")}


def _classes(
    settings: Mapping[str, Any],
    stated: Mapping[str, tuple[str, ...]],
    state: State,
    kind: str,
    path: Path,
    *,
    heads: Heads = "softmax",
) -> tuple[tuple[str, ...], int, list[str]]:
    """Return class names, logits and notes, after the head, `num_classes` and the names were found to agree."""
    head = next((state[key] for key in HEADS[kind] if key in state), None)
    if head is None:
        raise SubjectProblem(f"{path}: the head model.{HEADS[kind][0]} is missing among {len(state)} weights")
    named = next((settings[key] for key in ("classes", "class_names") if isinstance(settings.get(key), list)), None)
    place, named = ("hyper-parameters", named) if named is not None else next(iter(stated.items()), ("", None))
    classes = PUBLISHED_CLASSES if named is None else tuple(named)
    several = heads == "sigmoid" and head.ndim > 0
    outputs = len(head) if several else outputs_of(head, classes, path)
    single = outputs == 1 and len(classes) == 2 and not several
    declared = settings.get("num_classes")
    if declared not in {None, outputs} and not (single and declared == 2):
        raise SubjectProblem(
            f"{path}: wrong number of classes: num_classes is {declared}, but the head has {outputs} outputs"
        )
    if len(classes) != outputs and not single:
        raise SubjectProblem(
            f"{path}: wrong number of classes: the head has {outputs} outputs, the classes {', '.join(classes)} "
            "are named; store the names as hyper-parameter `classes`, or pass the model as module:factory"
        )
    notes = [f"class names from the checkpoint's {place}", *class_order.compared(stated, classes, path)]
    if named is None:
        told = ", ".join(classes)
        notes = [f"the checkpoint carries no class names: the published alphabetical order is taken, {told}"]
    return classes, outputs, notes + ([f"one sigmoid logit, for {classes[1]}"] if single else [])


def _plain(value: object) -> object:
    """Return a value of a checkpoint as JSON would hold it, lists one deep; of others what kind they are."""
    if isinstance(value, (list, tuple)):
        return [item if isinstance(item, str) else [type(item).__name__] for item in value]
    return value if isinstance(value, (str, int, float, bool, type(None))) else f"a {type(value).__name__}"


def _record(settings: Mapping[Any, object]) -> dict[str, object]:
    """Return those settings that are plain and that a report can hold, cut to a line each."""
    kept: dict[str, object] = {}
    for key, value in settings.items():
        if isinstance(key, str) and isinstance(value, (str, int, float, bool, type(None))):
            try:
                check_values(value)
            except ValueError:
                continue
            kept[one_line(key, 60)] = one_line(value, 200) if isinstance(value, str) else value
    return kept
