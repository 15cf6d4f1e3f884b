"""Do weights load as people save them, with the answers they gave when they were saved?"""

from __future__ import annotations

import json
import random
from pathlib import Path

import torch
from torch import nn

from suites.harness import Subject, load_subject
from tests.hostile import material
from tests.hostile.case import Case, accepted, either, generator, refused


@generator("weights", share=40)
def under_the_usual_keys(rng: random.Random, place: Path) -> Case:
    """PyTorch's own tutorial, Lightning, timm, DataParallel: one table of weights under many names."""
    key = rng.choice(["model_state_dict", "state_dict", "model", "state_dict_ema", "model_ema", ""])
    prefix = rng.choice(["", "", "module."])
    state = {prefix + name: tensor for name, tensor in material.timm_state().items()}
    beside = {"epoch": 7, "loss": torch.tensor(0.3), "optimizer_state_dict": {"state": {}, "param_groups": []}}
    torch.save({key: state, **beside} if key else state, place / "tutorial.pth")
    spec = material.timm_spec(place / "tutorial.pth")
    return accepted(
        lambda: load_subject(spec),
        lambda found: material.same_timm_subject(found, 1e-6),
        what=f"key {key!r}, prefix {prefix!r}",
    )


@generator("weights", share=30)
def label2id(rng: random.Random, place: Path) -> Case:
    """Transformers' own image classification example writes `label2id` values as text."""
    forms = {
        "numbers": {name: index for index, name in enumerate(material.CLASSES)},
        "texts": {name: str(index) for index, name in enumerate(material.CLASSES)},
        "absent": {}, "null": None,
    }  # fmt: skip
    form = rng.choice(list(forms))
    config = {**material.CONFIG, "label2id": forms[form]}
    spec = material.hub_folder(place, config=json.dumps(config))
    return accepted(lambda: load_subject(spec), material.same_hub_subject, what=f"label2id: {form}")


@generator("weights", share=24)
def label2id_of_another_order(rng: random.Random, place: Path) -> Case:
    order = [1, 2, 0] if rng.random() < 0.5 else [1, 0, 2]
    table = {
        name: str(index) if rng.random() < 0.5 else index for name, index in zip(material.CLASSES, order, strict=True)
    }
    spec = material.hub_folder(place, config=json.dumps({**material.CONFIG, "label2id": table}))
    return refused(lambda: load_subject(spec), what=f"label2id {table}", where="label2id")


@generator("weights", share=24)
def one_logit(rng: random.Random, place: Path) -> Case:
    """A head with one sigmoid logit speaks for the second of two classes; for one class alone nobody can know."""
    weight, bias = torch.randn(1, material.timm_state()["fc.weight"].shape[1]), torch.randn(1)
    state = {**material.timm_state(), "fc.weight": weight, "fc.bias": bias}
    torch.save(state, place / "one.pth")
    network = material.timm_network(1, **{"fc.weight": weight, "fc.bias": bias})

    def right(found: Subject) -> bool:
        expected = network((found.pixels(material.films()) - found.network.mean) / found.network.std)[:, 0]
        logits = material.logits_of(found)
        return torch.allclose(logits[:, 1] - logits[:, 0], expected, atol=1e-4)

    if rng.random() < 0.5:
        spec = material.timm_spec(place / "one.pth")
        return accepted(lambda: load_subject(spec), right, what="one logit, two classes")
    spec = material.timm_spec(place / "one.pth", classes=("pneumonia",))
    return either(lambda: load_subject(spec), right, what="one logit, one class name", where="class")


@generator("weights", share=50)
def class_names(rng: random.Random, place: Path) -> Case:
    """Names with breaks, control characters, halves of characters: one line, or names that every report can hold."""
    strange = [
        "a\nb",
        "a\r",
        "\x1b[31m",
        "a\0b",
        "x" * 10**5,
        " ",
        "",
        "\u2028",
        "\ud800",
        "=1+1",
        "<b>",
        "é",
        "肺炎",
        "a" * 250,
        "a,b",
    ]
    names = [rng.choice(strange), "normal", "viral_pneumonia"]
    rng.shuffle(names)
    config = {**material.CONFIG, "id2label": {str(index): name for index, name in enumerate(names)}, "label2id": {}}
    spec = material.hub_folder(place, config=json.dumps(config))

    def right(found: Subject) -> object:
        return found.classes == tuple(names) and all(name.strip() and name.isprintable() for name in names)

    return either(
        lambda: load_subject(spec), right, what=f"classes {str(names)[:80]!r}", where="config.json|class name"
    )


@generator("weights", share=24)
def whole_pickled_networks(rng: random.Random, place: Path) -> Case:
    """`torch.save(model)` needs code to be run: refused, and it is not run."""
    network = rng.choice([material.timm_network(), nn.Linear(2, 2), nn.Sequential(nn.Flatten(), nn.Linear(3, 2))])
    torch.save(
        rng.choice([network, {"model": network}, {"state_dict": network.state_dict(), "args": Path("here")}]),
        place / "whole.pth",
    )
    return refused(
        lambda: load_subject(material.timm_spec(place / "whole.pth")), what="a pickled network", where="whole.pth"
    )


@generator("weights", share=40)
def of_another_network(rng: random.Random, place: Path) -> Case:
    """Keys that are missing, too many, or of another shape: named, never filled up."""
    state = dict(material.timm_state())
    key = rng.choice(list(state))
    change = rng.choice(["missing", "too many", "another shape", "two heads", "renamed", "long name"])
    if change in ("missing", "renamed"):
        tensor = state.pop(key)
        state |= {f"x.{key}": tensor} if change == "renamed" else {}
    elif change == "another shape":
        state[key] = torch.zeros(*state[key].shape, 2)
    else:
        state[{"too many": "extra", "two heads": "head.weight", "long name": "k\n" * 20000}[change]] = torch.zeros(3)
    torch.save(state, place / "other.pth")
    return refused(
        lambda: load_subject(material.timm_spec(place / "other.pth")), what=f"{key}: {change}", where="other.pth"
    )
