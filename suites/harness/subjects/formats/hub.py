"""How is the Hub's layout read? config.json, preprocessor_config.json and model.safetensors, here or on the Hub."""

from __future__ import annotations

import os
import re
from collections.abc import Callable, Mapping
from functools import partial
from pathlib import Path
from typing import Any, NamedTuple

from huggingface_hub import constants, snapshot_download
from huggingface_hub.errors import LocalEntryNotFoundError, RepositoryNotFoundError, RevisionNotFoundError
from torch import nn

from suites.harness.errors import SubjectProblem
from suites.harness.subjects.finding import NormalisedFindings
from suites.harness.subjects.formats import keys, networks, processor, schemas
from suites.harness.subjects.formats.network_size import planned
from suites.harness.subjects.formats.paths import is_folder, is_listed, local_path
from suites.harness.subjects.formats.recorded import CARD, recorded
from suites.harness.subjects.formats.registry import register
from suites.harness.subjects.formats.tensors import State, filled, outputs_of
from suites.harness.subjects.formats.weights import checked, read_json, read_safetensors, sha256_of_file
from suites.harness.subjects.formats.wording import first_few, in_one_line, in_short
from suites.harness.subjects.heads import Heads
from suites.harness.subjects.preprocessing import Preprocessing
from suites.harness.subjects.subject import Normalised, Provenance, Subject

PUBLISHED = "kiselyovd/chest-xray-classifier"
PUBLISHED_CLASSES = ("bacterial_pneumonia", "normal", "viral_pneumonia")
"""The published repository sorts its class folders by name."""
FILES = ["config.json", "preprocessor_config.json", "model.safetensors", "training.json", CARD]
ACTIVATIONS = {
    "gelu": "gelu",
    "gelu_new": "gelu_tanh",
    "gelu_pytorch_tanh": "gelu_tanh",
    "relu": "relu",
    "silu": "silu",
}
"""Activations in Transformers' names and in timm's."""
HEADS = ("classifier.weight", "head.fc.weight")
"""What the weight of the head is called by Transformers, and by timm."""

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
    matches=lambda spec: spec != "" and is_folder(local_path(spec)),
)
def load_folder(spec: str) -> Subject:
    """Load a folder in the Hub's layout."""
    folder = local_path(spec)
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
        if not is_listed(file):
            present = sorted(entry.name for entry in folder.iterdir())
            advice = "; save pickled weights (.bin) as safetensors" if any(n.endswith(".bin") for n in present) else ""
            raise SubjectProblem(
                f"{spec}: {file.name} is missing; {source} holds {first_few(present, 8) or 'nothing'}{advice}"
            )
    config = read_json(config_file, schemas.CONFIG)
    classes = class_names(config, config_file)
    channels = config.get("num_channels", 3)
    processor_file = folder / "preprocessor_config.json"
    notes = ["read into timm from Transformers' names"]
    settings: dict[str, Any] = {}
    if is_listed(processor_file):
        kind = config.get("model_type")
        settings, told = processor.settled(read_json(processor_file), kind, processor_file.name)
        notes += told
    mean, std = processor.normalisation(settings, channels, str(processor_file))
    size = config.get("image_size", 224)
    recipes = {}
    if settings:
        recipes["hub"] = processor.hub_recipe(settings, channels, str(processor_file))
        size = recipes["hub"].size
    else:
        notes.append("no preprocessor_config.json: only the repository's recipe, ImageNet's normalisation")
    recipes["repository"] = processor.repository_recipe(size, channels)
    recipe, told = _default(recipes, classes, is_published=source == f"hf:{PUBLISHED}")
    notes += told
    state = read_safetensors(weights_file)
    weight = next((state[key] for key in HEADS if key in state), None)
    heads = _heads(config, classes, None if weight is None or weight.ndim == 0 else len(weight), config_file)
    outputs = len(classes) if heads == "sigmoid" else outputs_of(weight, classes, weights_file)
    if outputs == 1 and len(classes) == 2:
        notes.append(f"one sigmoid logit, for {classes[1]}")
    else:
        outputs = len(classes)
    built = _network(config, outputs, size, config_file)
    plan = planned(built.make, side=size, channels=channels, source=config_file)
    network = filled(built.make, plan, built.renamed(state), weights_file)
    digest = sha256_of_file(weights_file)
    training = folder / "training.json"
    return Subject(
        name=name,
        classes=classes,
        network=(NormalisedFindings if heads == "sigmoid" else Normalised)(network, mean, std),
        preprocessing=recipe,
        preprocessings=recipes,
        heads=heads,
        provenance=Provenance(
            spec=spec,
            format="hub",
            source=source,
            sha256=digest,
            revision=revision,
            architecture=built.architecture,
            notes=tuple(notes),
            training=read_json(training) if is_listed(training) else {},
            metadata=recorded(folder, config, source.removeprefix("hf:")),
        ),
    )


def _default(
    recipes: Mapping[str, Preprocessing], classes: tuple[str, ...], *, is_published: bool
) -> tuple[Preprocessing, list[str]]:
    """Return the recipe in use unless another is asked for, and a note where a reader may expect the other.

    Of the published model two recipes are in circulation, and its numbers were taken with the repository's. A folder is
    of its kind where it says what the published one says: the same classes, and the same recipe in its processor's
    file. That file of any other folder tells how its network was trained.
    """
    repository, stated = recipes["repository"], recipes.get("hub")
    if stated is None or is_published:
        return repository, []
    if set(classes) == set(PUBLISHED_CLASSES) and processor.is_published_recipe(stated):
        note = (
            "preprocessing: repository unless chosen, as for the published model; preprocessor_config.json states "
            "another, which --preprocessing hub takes"
        )
        return repository, [note]
    note = (
        "preprocessing: hub unless chosen, as preprocessor_config.json states; its classes or recipe are not those of "
        "the published model"
    )
    return stated, [note]


def _heads(config: Mapping[str, Any], classes: tuple[str, ...], outputs: int | None, source: Path) -> Heads:
    """Return what the outputs are by `problem_type`; one logit alone tells two classes apart, whatever it says.

    Raises:
        SubjectProblem: they are neither classes that exclude one another nor findings.
    """
    kind = config.get("problem_type")
    if kind in {None, "single_label_classification"}:
        return "softmax"
    if kind == "multi_label_classification":
        return "softmax" if outputs == 1 and len(classes) == 2 else "sigmoid"
    raise SubjectProblem(
        f"{source}: problem_type is {in_short(kind, 60)}, which is not judged here; write single_label_classification "
        "(classes that exclude one another) or multi_label_classification (findings, each with a sigmoid)"
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
    # Numbers, or their digits as text, as in Transformers' own example.
    backwards = {name: int(number) for name, number in (config.get("label2id") or {}).items()}
    if backwards and backwards != {name: index for index, name in enumerate(names)}:
        raise SubjectProblem(f"{source}: id2label {dict(table)} and label2id {backwards} contradict each other")
    return tuple(names)


class Built(NamedTuple):
    """How a network is built, the name of its architecture, and how its weights are renamed."""

    make: Callable[[], nn.Module]
    architecture: str
    renamed: Callable[[State], State]


def _network(config: Mapping[str, Any], outputs: int, size: int, source: Path) -> Built:
    builders = {"convnextv2": _convnextv2, "dinov2": _dinov2}
    kind = config.get("model_type")
    if kind not in builders:
        raise SubjectProblem(
            f"{source}: model_type {kind!r} is not read from the Hub's layout ({' and '.join(builders)} are); pass it "
            "as timm:NAME?checkpoint=PATH&classes=... or as module:factory"
        )
    checked(config, schemas.NETWORKS[kind], source)
    return builders[kind](config, outputs, size, source)


def _dinov2(config: Mapping[str, Any], outputs: int, size: int, source: Path) -> Built:
    if config.get("use_swiglu_ffn", False) or config.get("hidden_act", "gelu") != "gelu":
        raise SubjectProblem(
            f"{source}: only DINOv2 with GELU is read here, not with SwiGLU or {config.get('hidden_act')!r}"
        )
    patch, width = config.get("patch_size", 14), config.get("hidden_size", 768)
    blocks, heads = config.get("num_hidden_layers", 12), config.get("num_attention_heads", 12)
    if size % patch or width % heads:
        raise SubjectProblem(
            f"{source}: the input of {size} pixels should be a multiple of patch_size {patch}, and hidden_size {width} "
            f"of num_attention_heads {heads}"
        )
    make = partial(
        networks.Dinov2,
        size=size,
        patch=patch,
        width=width,
        blocks=blocks,
        heads=heads,
        num_classes=outputs,
        channels=config.get("num_channels", 3),
        ratio=float(config.get("mlp_ratio", 4)),
        norm_eps=float(config.get("layer_norm_eps", 1e-6)),
    )
    renamed = partial(keys.dinov2_to_timm, grid=size // patch, width=width)
    return Built(make, f"dinov2 (blocks {blocks}, channels {width})", renamed)


def _convnextv2(config: Mapping[str, Any], outputs: int, size: int, source: Path) -> Built:  # noqa: ARG001 - any size fits
    depths, dims = config.get("depths", [3, 3, 9, 3]), config.get("hidden_sizes", [96, 192, 384, 768])
    activation = config.get("hidden_act", "gelu")
    if activation not in ACTIVATIONS:
        raise SubjectProblem(f"{source}: hidden_act {activation!r} is none of {', '.join(ACTIVATIONS)}")
    make = partial(
        networks.convnextv2,
        depths,
        dims,
        outputs,
        channels=config.get("num_channels", 3),
        activation=ACTIVATIONS[activation],
        norm_eps=float(config.get("layer_norm_eps", 1e-12)),
    )
    return Built(make, networks.convnextv2_name(depths, dims), keys.convnextv2_to_timm)
