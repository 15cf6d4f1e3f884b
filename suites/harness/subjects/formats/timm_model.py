"""Any timm model: `timm:NAME?checkpoint=PATH&classes=a,b,c`, with further settings where timm's own do not fit."""

from __future__ import annotations

import difflib
import math
from functools import partial
from pathlib import Path
from typing import Any
from urllib.parse import unquote

import timm
from timm.data.config import resolve_data_config
from torch import nn

from suites.harness.errors import SubjectProblem, one_line
from suites.harness.subjects.finding import NormalisedFindings
from suites.harness.subjects.formats import class_order
from suites.harness.subjects.formats.network_size import refuse_large, without_values
from suites.harness.subjects.formats.paths import local_path
from suites.harness.subjects.formats.registry import register
from suites.harness.subjects.formats.schemas import LARGEST_SIDE
from suites.harness.subjects.formats.tensors import State, filled, of_network, outputs_of
from suites.harness.subjects.formats.weights import read_content, sha256_of_file, tensors_in
from suites.harness.subjects.formats.wording import in_one_line
from suites.harness.subjects.heads import HEADS, Heads, read_thresholds
from suites.harness.subjects.preprocessing import Preprocessing
from suites.harness.subjects.subject import Normalised, Provenance, Subject

OPTIONS = {
    "checkpoint": "safetensors or torch file with the weights",
    "classes": "class names in the order of the logits",
    "size": "side of the network input in pixels",
    "channels": "1 or 3",
    "mean": "per channel, of pixels in [0, 1]",
    "std": "per channel, of pixels in [0, 1]",
    "short_side": "length of the film's short side before the crop, or `squeeze`",
    "interpolation": "nearest, bilinear or bicubic",
    "heads": "softmax (classes that exclude one another) or sigmoid (findings)",
    "thresholds": "operating point of each finding, a probability; empty where none is published",
}


@register(
    "timm:NAME?checkpoint=PATH&classes=a,b,c[&size=224&channels=1&mean=0.5&std=0.25&short_side=256&interpolation=bilinear&heads=sigmoid]",
    matches=lambda spec: spec.startswith("timm:"),
)
def load_timm(spec: str) -> Subject:
    """Load a timm model from a file of weights; preprocessing and normalisation as timm resolves them, unless given.

    Two classes may be answered by one sigmoid logit; it speaks for the second class. With `heads=sigmoid` the classes
    are findings, and each has a logit of its own.
    """
    name, options = _parse(spec)
    heads: Heads = "sigmoid" if options.get("heads", "softmax") == "sigmoid" else "softmax"
    classes = tuple(part.strip() for part in options["classes"].split(","))
    if not all(classes):
        raise SubjectProblem(f"{spec}: a class name is empty in {options['classes']!r}")
    channels = 3 if (given := _whole(options, "channels", spec)) is None else given
    if channels not in (1, 3):
        raise SubjectProblem(f"{spec}: channels should be 1 or 3, not {channels}")
    size = _whole(options, "size", spec)
    if size is not None and not 8 <= size <= LARGEST_SIDE:
        raise SubjectProblem(f"{spec}: size must lie in 8..{LARGEST_SIDE} pixels, not {size}")
    path = local_path(options["checkpoint"])
    content = read_content(path)
    notes = class_order.compared(class_order.stated(content), classes, path)
    state, found = tensors_in(content, path)
    make = partial(_create, name, spec, in_chans=channels, img_size=size)
    plan = without_values(partial(make, num_classes=len(classes)))
    state, inside = of_network(state, plan.state_dict())
    outputs = _outputs(name, state, classes, path, heads)
    make = partial(make, num_classes=outputs)
    if outputs != len(classes):
        plan = without_values(make)
    recipe, mean, std, told = _recipe(plan, options, channels, spec)
    notes += told
    refuse_large(plan, side=recipe.size, channels=channels, source=spec)
    network = filled(make, plan, state, path)
    if found:
        notes.append(f"weights from the file's `{found}`")
    if inside:
        notes.append(f"weights from under `{inside}`")
    if outputs == 1 and heads == "softmax":
        notes.append(f"one sigmoid logit, for {classes[1]}")
    return Subject(
        name=name if path.stem in ("model", "best", "last", "pytorch_model") else path.stem,
        classes=classes,
        network=(NormalisedFindings if heads == "sigmoid" else Normalised)(network, mean, std),
        preprocessing=recipe,
        preprocessings={recipe.name: recipe},
        heads=heads,
        thresholds=read_thresholds(options.get("thresholds"), spec),
        provenance=Provenance(
            spec=spec,
            format="timm",
            source=str(path),
            sha256=sha256_of_file(path),
            architecture=name,
            notes=tuple(notes),
            metadata={"library_name": "timm"},
        ),
    )


def _parse(spec: str) -> tuple[str, dict[str, str]]:
    name, _, query = spec.removeprefix("timm:").partition("?")
    if not timm.is_model(name):
        # A longer name than any, by far, is not compared letter by letter with all of them.
        close = ", ".join(difflib.get_close_matches(name[:100], timm.list_models(), n=5, cutoff=0.4))
        raise SubjectProblem(f"{spec}: timm has no model {name!r}" + (f"; near to it: {close}" if close else ""))
    options: dict[str, str] = {}
    for part in filter(None, query.split("&")):
        key, _, value = part.partition("=")
        if key not in OPTIONS:
            raise SubjectProblem(
                f"{one_line(spec, 80)}: no option {one_line(repr(key), 50)}; options are {', '.join(OPTIONS)} "
                "(write & in a path as %26)"
            )
        options[key] = unquote(value)
    for key in ("checkpoint", "classes"):
        if not options.get(key):
            raise SubjectProblem(
                f"{spec}: {key} is missing: give ?checkpoint=PATH&classes=a,b,c ({key}: {OPTIONS[key]})"
            )
    if options.get("heads", "softmax") not in HEADS:
        raise SubjectProblem(f"{one_line(spec, 80)}: heads should be {OPTIONS['heads']}")
    return name, options


def _outputs(name: str, state: State, classes: tuple[str, ...], path: Path, heads: Heads) -> int:
    """Return how many logits the head has, after comparing it with the class names."""
    settings = timm.models.get_pretrained_cfg(name)
    head = settings.classifier if settings else None
    head = head[0] if isinstance(head, (tuple, list)) else head
    weight = state.get(f"{head}.weight")
    several = heads == "sigmoid" and weight is not None and weight.ndim > 0
    rows = len(weight) if several and weight is not None else outputs_of(weight, classes, path)
    if rows != len(classes) and not (rows == 1 and len(classes) == 2 and heads == "softmax"):
        raise SubjectProblem(
            f"{path}: wrong number of classes: {head}.weight has {rows} outputs, but {len(classes)} classes are named "
            f"({', '.join(classes)})"
        )
    return rows


def _create(name: str, spec: str, *, num_classes: int, in_chans: int, img_size: int | None) -> nn.Module:
    settings = timm.models.get_pretrained_cfg(name)
    sized: dict[str, Any] = {"img_size": img_size} if img_size and settings and settings.fixed_input_size else {}
    try:
        network: nn.Module = timm.create_model(name, num_classes=num_classes, in_chans=in_chans, **sized)
    except Exception as error:  # hundreds of constructors, each with complaints of its own
        raise SubjectProblem(f"{spec}: timm cannot build {name} ({in_one_line(error)})") from error
    return network


def _recipe(
    network: nn.Module, options: dict[str, str], channels: int, spec: str
) -> tuple[Preprocessing, tuple[float, ...], tuple[float, ...], list[str]]:
    defaults: dict[str, Any] = resolve_data_config({}, model=network)  # type: ignore[no-untyped-call]
    notes: list[str] = []
    size = _whole(options, "size", spec) or defaults["input_size"][-1]
    short_side: int | None = math.floor(size / defaults["crop_pct"])
    if defaults["crop_mode"] == "squash" and short_side == size:
        short_side = None
    elif defaults["crop_mode"] != "center" and "short_side" not in options:
        raise SubjectProblem(f"{spec}: timm's crop mode {defaults['crop_mode']!r} is not known here; give short_side=")
    if options.get("short_side") == "squeeze":
        short_side = None
    elif "short_side" in options:
        short_side = _whole(options, "short_side", spec)
    normalisation = {}
    for key in ("mean", "std"):
        if key in options:
            values = _numbers(options[key], key, spec)
            values = values * channels if len(values) == 1 else values
        else:
            values = tuple(defaults[key])
            if len(values) != channels:
                values = (sum(values) / len(values),) * channels
                notes.append(f"{key}: average of timm's three channels")
        least = 1e-6 if key == "std" else -1000
        if len(values) != channels or not all(least <= value <= 1000 for value in values):
            raise SubjectProblem(f"{spec}: {key}={options.get(key)} does not fit {channels} channel(s)")
        normalisation[key] = values
    interpolation: Any = options.get("interpolation", defaults["interpolation"])
    if interpolation not in ("nearest", "bilinear", "bicubic", "lanczos"):
        raise SubjectProblem(f"{spec}: interpolation {interpolation!r} is none of nearest, bilinear, bicubic")
    try:
        recipe = Preprocessing(
            name="timm",
            short_side=short_side,
            size=size,
            interpolation=interpolation,
            channels=channels,
            kernel="pillow",  # timm's evaluation transform resizes Pillow images
        )
    except ValueError as error:
        raise SubjectProblem(f"{spec}: {error}") from error
    return recipe, normalisation["mean"], normalisation["std"], notes


def _whole(options: dict[str, str], key: str, spec: str) -> int | None:
    if key not in options:
        return None
    if not options[key].isdecimal() or len(options[key]) > 9:
        raise SubjectProblem(f"{spec}: {key} should be a whole number, not {options[key][:40]!r}")
    return int(options[key])


def _numbers(text: str, key: str, spec: str) -> tuple[float, ...]:
    try:
        numbers = tuple(float(part) for part in text.split(","))
    except ValueError as error:
        raise SubjectProblem(f"{spec}: {key} should be numbers such as 0.5 or 0.5,0.4,0.4, not {text!r}") from error
    if not all(map(math.isfinite, numbers)):
        raise SubjectProblem(f"{spec}: {key} should be finite, not {text!r}")
    return numbers
