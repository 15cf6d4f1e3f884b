"""How is the Hub's layout read? config.json, preprocessor_config.json and model.safetensors, here or on the Hub."""

from __future__ import annotations

import os
import re
from collections.abc import Callable, Mapping
from functools import partial
from pathlib import Path
from typing import Any

from huggingface_hub import constants, snapshot_download
from huggingface_hub.errors import LocalEntryNotFoundError, RepositoryNotFoundError, RevisionNotFoundError
from torch import nn

from suites.harness.errors import SubjectProblem
from suites.harness.subjects.formats import keys, networks, processor
from suites.harness.subjects.formats.registry import register
from suites.harness.subjects.formats.weights import State, load_into, read_json, read_safetensors, sha256_of_file
from suites.harness.subjects.formats.wording import first_few, in_one_line
from suites.harness.subjects.subject import Normalised, Provenance, Subject

PUBLISHED = "kiselyovd/chest-xray-classifier"
FILES = ["config.json", "preprocessor_config.json", "model.safetensors", "training.json"]
ACTIVATIONS = {
    "gelu": "gelu",
    "gelu_new": "gelu_tanh",
    "gelu_pytorch_tanh": "gelu_tanh",
    "relu": "relu",
    "silu": "silu",
}
"""Activations in Transformers' names and in timm's."""

_REPOSITORY = re.compile(r"^hf:(?P<repository>[\w.-]+/[\w.-]+?)(?:@(?P<revision>[\w./-]+))?$")


@register("published", matches=lambda spec: spec == "published")
def load_published(spec: str) -> Subject:
    """Load the weights the limitations page speaks of."""
    return _from_hub(spec, PUBLISHED, None)


@register("hf:OWNER/NAME[@REVISION]", matches=lambda spec: spec.startswith("hf:"))
def load_hub(spec: str) -> Subject:
    """Load a repository of the Hub: safetensors and JSON only, from its cache when the Hub is out of reach."""
    match = _REPOSITORY.match(spec)
    if not match:
        raise SubjectProblem(f"{spec!r}: should read hf:owner/name or hf:owner/name@revision")
    return _from_hub(spec, match["repository"], match["revision"])


@register(
    "FOLDER with config.json and model.safetensors",
    matches=lambda spec: spec != "" and Path(spec).expanduser().is_dir(),
)
def load_folder(spec: str) -> Subject:
    """Load a folder in the Hub's layout."""
    folder = Path(spec).expanduser()
    return from_folder(folder, spec, name=folder.resolve().name, source=str(folder), revision=None)


def _from_hub(spec: str, repository: str, revision: str | None) -> Subject:
    endpoint = os.environ.get("HF_ENDPOINT", constants.ENDPOINT).rstrip("/")
    tried = f"{endpoint}/{repository}" + (f" at revision {revision}" if revision else "")
    way_out = "download the folder elsewhere and pass its path instead"
    try:
        # snapshot_download falls back to the newest cached commit of this revision when the Hub does not answer.
        folder = Path(snapshot_download(repository, revision=revision, endpoint=endpoint, allow_patterns=FILES))
    except RevisionNotFoundError as error:
        raise SubjectProblem(f"{spec}: no such revision; tried {tried}") from error
    except RepositoryNotFoundError as error:
        raise SubjectProblem(f"{spec}: no such repository, or it is private; tried {tried}; or {way_out}") from error
    except LocalEntryNotFoundError as error:
        cause = error.__cause__ or error
        reason = in_one_line(cause)
        cache = constants.HF_HUB_CACHE
        raise SubjectProblem(
            f"{spec}: the hub cannot be reached; tried {tried} ({reason}) and the cache {cache}; {way_out}"
        ) from error
    except Exception as error:  # whatever failed underway, the person needs the same line
        reason = in_one_line(error)
        raise SubjectProblem(
            f"{spec}: downloading failed; tried {tried} ({reason}); try again, or {way_out}"
        ) from error
    return from_folder(folder, spec, name=repository.split("/")[1], source=f"hf:{repository}", revision=folder.name)


def from_folder(folder: Path, spec: str, *, name: str, source: str, revision: str | None) -> Subject:
    """Load a folder in the Hub's layout under a name of one's own.

    Args:
        folder: where the files lie.
        spec: what the user wrote, for messages.
        name: of the subject.
        source: where the folder came from, for the report.
        revision: commit on the Hub, if any.

    Raises:
        SubjectProblem: a file is missing, or says what cannot be.
    """
    config_file, weights_file = folder / "config.json", folder / "model.safetensors"
    for file in (config_file, weights_file):
        if not file.is_file():
            present = sorted(entry.name for entry in folder.iterdir())
            advice = "; save pickled weights (.bin) as safetensors" if any(n.endswith(".bin") for n in present) else ""
            raise SubjectProblem(
                f"{spec}: {file.name} is missing; {source} holds {first_few(present, 8) or 'nothing'}{advice}"
            )
    config = read_json(config_file)
    classes = class_names(config, config_file)
    channels = _number(config, "num_channels", 3, config_file)
    processor_file = folder / "preprocessor_config.json"
    notes = ["read into timm from Transformers' names"]
    settings: dict[str, Any] = {}
    if processor_file.is_file():
        kind = config.get("model_type")
        settings, told = processor.settled(read_json(processor_file), kind, processor_file.name)
        notes += told
    mean, std = processor.normalisation(settings, channels, str(processor_file))
    size = _number(config, "image_size", 224, config_file)
    recipes = {}
    if settings:
        recipes["hub"] = processor.hub_recipe(settings, channels, str(processor_file))
        size = recipes["hub"].size
    else:
        notes.append("no preprocessor_config.json: only the repository's recipe, ImageNet's normalisation")
    recipes["repository"] = processor.repository_recipe(size, channels)
    network, architecture, renamed = _network(config, len(classes), size, config_file)
    digest = sha256_of_file(weights_file)
    load_into(network, renamed(read_safetensors(weights_file)), weights_file)
    training = folder / "training.json"
    return Subject(
        name=name,
        classes=classes,
        network=Normalised(network, mean, std),
        preprocessing=recipes["repository"],
        preprocessings=recipes,
        provenance=Provenance(
            spec=spec,
            format="hub",
            source=source,
            sha256=digest,
            revision=revision,
            architecture=architecture,
            notes=tuple(notes),
            training=read_json(training) if training.is_file() else {},
        ),
    )


def class_names(config: Mapping[str, Any], source: Path) -> tuple[str, ...]:
    """Return the class names in the order of the logits, from `id2label` and nothing else.

    Raises:
        SubjectProblem: there are none, they leave gaps, are placeholders, or contradict `label2id`.
    """
    table = config.get("id2label")
    if not isinstance(table, Mapping) or not table:
        raise SubjectProblem(f"{source}: has no id2label, so nothing says which logit is which class; add it")
    names = [name for index in range(len(table)) if isinstance(name := table.get(str(index)), str) and name]
    if len(names) != len(table):
        raise SubjectProblem(f"{source}: id2label should number its classes 0 to {len(table) - 1}, not {dict(table)}")
    if all(re.fullmatch(r"LABEL_\d+", name) for name in names):
        raise SubjectProblem(f"{source}: id2label holds placeholders ({names[0]}, ...); write the classes' names there")
    backwards = config.get("label2id")
    if isinstance(backwards, Mapping) and backwards and backwards != {name: i for i, name in enumerate(names)}:
        raise SubjectProblem(f"{source}: id2label {dict(table)} and label2id {dict(backwards)} contradict each other")
    return tuple(names)


Built = tuple[nn.Module, str, Callable[[State], State]]
"""A network, the name of its architecture, and how its weights are renamed."""


def _network(config: Mapping[str, Any], num_classes: int, size: int, source: Path) -> Built:
    builders = {"convnextv2": _convnextv2, "dinov2": _dinov2}
    kind = config.get("model_type")
    if kind not in builders:
        raise SubjectProblem(
            f"{source}: model_type {kind!r} is not read from the Hub's layout ({' and '.join(builders)} are); pass it "
            "as timm:NAME?checkpoint=PATH&classes=... or as module:factory"
        )
    return builders[kind](config, num_classes, size, source)


def _dinov2(config: Mapping[str, Any], num_classes: int, size: int, source: Path) -> Built:
    if config.get("use_swiglu_ffn", False) or config.get("hidden_act", "gelu") != "gelu":
        raise SubjectProblem(
            f"{source}: only DINOv2 with GELU is read here, not with SwiGLU or {config.get('hidden_act')!r}"
        )
    patch = _number(config, "patch_size", 14, source)
    width, blocks = _number(config, "hidden_size", 768, source), _number(config, "num_hidden_layers", 12, source)
    heads = _number(config, "num_attention_heads", 12, source)
    if size % patch or width % heads:
        raise SubjectProblem(
            f"{source}: the input of {size} pixels should be a multiple of patch_size {patch}, and hidden_size {width} "
            f"of num_attention_heads {heads}"
        )
    network = networks.Dinov2(
        size=size,
        patch=patch,
        width=width,
        blocks=blocks,
        heads=heads,
        num_classes=num_classes,
        channels=_number(config, "num_channels", 3, source),
        ratio=float(config.get("mlp_ratio", 4)),
        norm_eps=float(config.get("layer_norm_eps", 1e-6)),
    )
    return network, f"dinov2 (blocks {blocks}, channels {width})", partial(keys.dinov2_to_timm, grid=size // patch)


def _convnextv2(config: Mapping[str, Any], num_classes: int, size: int, source: Path) -> Built:  # noqa: ARG001 - any size fits
    depths, dims = config.get("depths", [3, 3, 9, 3]), config.get("hidden_sizes", [96, 192, 384, 768])
    for name, numbers in (("depths", depths), ("hidden_sizes", dims)):
        whole = isinstance(numbers, list) and all(isinstance(n, int) and 0 < n <= 16384 for n in numbers)
        if not whole or len(numbers) != 4:
            raise SubjectProblem(f"{source}: {name} should be four whole numbers, not {numbers!r}")
    activation = config.get("hidden_act", "gelu")
    if activation not in ACTIVATIONS:
        raise SubjectProblem(f"{source}: hidden_act {activation!r} is none of {', '.join(ACTIVATIONS)}")
    if config.get("patch_size", 4) != 4:
        raise SubjectProblem(f"{source}: patch_size should be 4, as in every ConvNeXt-V2, not {config['patch_size']!r}")
    epsilon = config.get("layer_norm_eps", 1e-12)
    if not isinstance(epsilon, (int, float)) or not 0 <= epsilon < 1:
        raise SubjectProblem(f"{source}: layer_norm_eps should be a small number, not {epsilon!r}")
    network = networks.convnextv2(
        depths,
        dims,
        num_classes,
        channels=_number(config, "num_channels", 3, source),
        activation=ACTIVATIONS[activation],
        norm_eps=float(epsilon),
    )
    return network, networks.convnextv2_name(depths, dims), keys.convnextv2_to_timm


def _number(config: Mapping[str, Any], name: str, default: int, source: Path) -> int:
    value = config.get(name, default)
    if not isinstance(value, int) or isinstance(value, bool) or not 0 < value <= 8192:
        raise SubjectProblem(f"{source}: {name} should be a whole number, not {value!r}")
    return value
