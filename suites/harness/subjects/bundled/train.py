"""How are the bundled subjects made again? `python -m suites.harness.subjects.bundled.train [NAME] [--into FOLDER]`.

Films are rendered on all cores, then every subject is trained on one core of its own, so that the result does not
depend on how many cores there are. On one machine with one version of torch the bytes are always the same; elsewhere
held-out accuracy agrees to a point.
"""

from __future__ import annotations

import argparse
import hashlib
import multiprocessing
import os
import platform
import sys
from collections.abc import Mapping, Sequence
from concurrent.futures import ProcessPoolExecutor
from dataclasses import asdict
from itertools import repeat
from pathlib import Path
from typing import Any, cast

import torch
import torch.nn.functional as F
from torch import Tensor, nn

from suites.harness.subjects.bundled import cohorts, export, findings, learning, probe
from suites.harness.subjects.bundled.cohorts import (
    CLASSES,
    HELD_OUT,
    OUTLIERS,
    OUTLIERS_VALIDATION,
    SEVERAL_HELD_OUT,
    SEVERAL_TRAIN,
    SEVERAL_VALIDATION,
    SIZE,
    TRAIN,
    VALIDATION,
    Films,
    Lessons,
    batch_of,
)
from suites.harness.subjects.bundled.recipes import DEPTHS, DIMS, RECIPES, SEEN, VIT, Recipe
from suites.harness.subjects.finding import NormalisedFindings
from suites.harness.subjects.formats import load_subject
from suites.harness.subjects.formats.bundled import FOLDER, NAMES
from suites.harness.subjects.formats.networks import Dinov2, convnextv2
from suites.harness.subjects.subject import Normalised, Subject


class Grey(nn.Module):
    """A network of three channels that is shown grey films (B, 1, S, S)."""

    def __init__(self, network: nn.Module) -> None:
        super().__init__()
        self.network = network

    def forward(self, pixels: Tensor) -> Tensor:
        """Return logits."""
        logits: Tensor = self.network(pixels.expand(-1, 3, -1, -1))
        return logits


def untrained(recipe: Recipe) -> Normalised:
    """Return the network of a recipe with its first weights, which follow from the recipe's seed alone."""
    with torch.random.fork_rng(devices=[]):
        torch.manual_seed(recipe.seed)
        if recipe.layout == "convnextv2":
            network = convnextv2(DEPTHS, DIMS, len(recipe.classes))
        else:
            network = Dinov2(
                size=SIZE,
                patch=VIT["patch_size"],
                width=VIT["embed_dim"],
                blocks=VIT["depth"],
                heads=VIT["num_heads"],
                num_classes=len(recipe.classes),
            )
        for module in network.modules():
            if isinstance(module, (nn.Linear, nn.Conv2d)):
                # timm's 0.02 is made for hundreds of channels; in so narrow a network the signal would die.
                nn.init.trunc_normal_(module.weight, std=module.weight[0].numel() ** -0.5)
    return (NormalisedFindings if recipe.several else Normalised)(network)


def trained(recipe: Recipe, lessons: Lessons, start: Subject | None = None) -> tuple[Normalised, float]:
    """Train one subject on one core.

    Args:
        recipe: how.
        lessons: from what.
        start: the subject it goes on from.

    Returns:
        The network, and the temperature that the validation films ask for before it is folded in.
    """
    torch.set_num_threads(1)
    network = untrained(recipe)
    if start is not None:
        network.load_state_dict(_fitting(cast("nn.Module", start.network).state_dict(), network))
    with torch.random.fork_rng(devices=[]):
        torch.manual_seed(recipe.seed)
        if recipe.frozen:
            probe.learn_regions(network, lessons.train, recipe)
            probe.fit_head(network, lessons.train)
        elif recipe.several:
            findings.learn_findings(network, lessons.train, recipe)
        else:
            learning.learn_classes(network, lessons.train, recipe, lessons.outliers if recipe.outliers else None)
    network.eval()
    temperature = validated_temperature(network, lessons, recipe)
    if recipe.tempered:
        head = cast("nn.Linear", network.get_submodule("backbone.head.fc"))
        with torch.no_grad():
            head.weight.div_(temperature)
            head.bias.div_(temperature)
    return network, temperature


def _fitting(state: Mapping[str, Tensor], network: nn.Module) -> dict[str, Tensor]:
    """Return a network's weights with those of another; a head of other classes stays as it is."""
    own = network.state_dict()
    return own | {key: value for key, value in state.items() if value.shape == own[key].shape}


def validated_temperature(network: Normalised, lessons: Lessons, recipe: Recipe) -> float:
    """Return the temperature that the validation films ask for.

    Of a tempered recipe these are every copy of every film, and unanswerable films, whose even target asks for doubt.
    """
    if recipe.several:
        logits = learning.logits_of(Grey(network), batch_of(lessons.validation))
        return findings.temperature_of(logits, lessons.validation.labels)
    films = lessons.validation if recipe.tempered else lessons.validation.labelled()
    copies = range(recipe.variants + 1 if recipe.tempered else 1)
    logits = torch.cat([learning.logits_of(Grey(network), batch_of(films, [copy] * len(films))) for copy in copies])
    targets = learning.targets_of(films.labels, 0.0).double().repeat(len(copies), 1)
    return learning.fitted_temperature(logits, targets)


def measured(subject: Subject, films: Films) -> dict[str, Any]:
    """Return what a subject does on clean films."""
    logits = learning.logits_of(Grey(cast("nn.Module", subject.network)), batch_of(films))
    if subject.heads == "sigmoid":
        return findings.measured_findings(logits, films.labels)
    called, labels = logits.argmax(1), films.labels
    confusion = torch.zeros(len(CLASSES), len(CLASSES), dtype=torch.int64)
    confusion.index_put_((labels, called), torch.ones_like(labels), accumulate=True)
    return {
        "films": len(films),
        "accuracy": round(float((called == labels).double().mean()), 4),
        "confusion": confusion.tolist(),
        "mean_confidence": round(float(logits.softmax(1).amax(1).mean()), 4),
        "negative_log_likelihood": round(float(F.cross_entropy(logits, labels)), 4),
        "temperature": round(learning.fitted_temperature(logits, labels), 3),
    }


def make(recipe: Recipe, lessons: Lessons, into: Path) -> dict[str, Any]:
    """Train one subject, write its folder, and measure what was written."""
    # Made in the same place just now, or the one in the package.
    home = into if (into / recipe.start / "model.safetensors").is_file() else FOLDER
    start = load_subject(str(home / recipe.start)) if recipe.start else None
    network, temperature = trained(recipe, lessons, start)
    folder = into / recipe.name
    export.write(folder, network.backbone, recipe)
    written = load_subject(str(folder))
    record = {
        "subject": recipe.name,
        "about": recipe.about,
        "use": "Demonstration and self-test on simulated films. It has never seen a patient; not for medical use.",
        "licence": "MIT",
        "data": "simulated films of robustness.phantom, made by this project",
        "phantom_sha256": cohorts.phantom_sha256(),
        "weights_sha256": hashlib.sha256((folder / "model.safetensors").read_bytes()).hexdigest(),
        "parameters": sum(weight.numel() for weight in network.backbone.parameters()),
        "recipe": asdict(recipe),
        "start_sha256": start.provenance.sha256 if start else "",
        "perturbations_seen": list(SEEN) if recipe.perturbed else [],
        "films": {
            "train": asdict(SEVERAL_TRAIN if recipe.several else TRAIN),
            "validation": asdict(SEVERAL_VALIDATION if recipe.several else VALIDATION),
            "held_out": asdict(SEVERAL_HELD_OUT if recipe.several else HELD_OUT),
            "outliers": [asdict(split) for split in OUTLIERS] if recipe.outliers else [],
            "outliers_validation": [asdict(split) for split in OUTLIERS_VALIDATION] if recipe.tempered else [],
        },
        "validation_temperature": round(temperature, 3),
        "held_out": measured(written, lessons.held_out),
        **({} if recipe.several else {"rows_of_confusion": list(CLASSES)}),
        "made_with": {"python": platform.python_version(), "torch": torch.__version__, "machine": platform.machine()},
    }
    export.write_json(folder / "training.json", record)
    return record


def rendered_lessons(recipes: Sequence[Recipe], workers: int) -> Lessons:
    """Render the films that recipes of one kind need, of classes or of several findings.

    Only the last ones of validation and all outliers are unanswerable.
    """
    if recipes[0].several:
        train, validation, held_out = (
            cohorts.rendered(split, workers=workers) for split in (SEVERAL_TRAIN, SEVERAL_VALIDATION, SEVERAL_HELD_OUT)
        )
        return Lessons(train, validation, held_out, train.shrunk(0))
    variants = max(recipe.variants for recipe in recipes)
    films = cohorts.rendered(TRAIN, SEEN, variants, workers=workers)
    held_out = cohorts.rendered(HELD_OUT, workers=workers)
    validation, outliers = cohorts.rendered(VALIDATION, SEEN, variants, workers=workers), films.shrunk(0)
    if any(recipe.outliers for recipe in recipes):
        for split in OUTLIERS:
            outliers = outliers.joined(cohorts.rendered(split, SEEN, variants, workers=workers).unanswerable())
        for split in OUTLIERS_VALIDATION:
            others = cohorts.rendered(split, SEEN, variants, workers=workers)
            validation = validation.joined(others.unanswerable())
    return Lessons(films, validation, held_out, outliers)


def build(names: Sequence[str], into: Path, *, workers: int | None = None) -> list[dict[str, Any]]:
    """Render the films and make the named subjects.

    Args:
        names: keys of `RECIPES`.
        into: folder that gets one folder per subject.
        workers: processes; by default one per core.

    Returns:
        The training records.
    """
    workers = workers or os.cpu_count() or 1
    asked = [RECIPES[name] for name in ordered(names)]
    kinds = {several: [recipe for recipe in asked if recipe.several == several] for several in (False, True)}
    lessons = {several: rendered_lessons(recipes, workers) for several, recipes in kinds.items() if recipes}
    if workers == 1:
        return [make(recipe, lessons[recipe.several], into) for recipe in asked]
    first = [recipe for recipe in asked if recipe.start not in names]
    second = [recipe for recipe in asked if recipe.start in names]
    with ProcessPoolExecutor(workers, mp_context=multiprocessing.get_context("spawn")) as pool:
        return [
            record
            for wave in (first, second)
            for record in list(pool.map(make, wave, [lessons[recipe.several] for recipe in wave], repeat(into)))
        ]


def ordered(names: Sequence[str]) -> list[str]:
    """Return names so that each comes after the one it starts from."""
    return sorted(names, key=lambda name: bool(RECIPES[name].start))


def _result(held_out: Mapping[str, Any]) -> str:
    if "findings" in held_out:
        return f"mean AUROC {held_out['macro_auroc']:.3f} over the findings of {held_out['films']} held-out films"
    return f"{held_out['accuracy']:.1%} of {held_out['films']} held-out films right"


def main(arguments: Sequence[str] | None = None) -> int:
    """Run the command line."""
    parser = argparse.ArgumentParser(description="Train the bundled subjects on simulated films.")
    parser.add_argument("names", nargs="*", metavar="NAME", help=f"any of {', '.join(NAMES)}; by default all")
    parser.add_argument(
        "--into", type=Path, default=FOLDER, help="where the folders are written (default: the package)"
    )
    given = parser.parse_args(arguments)
    unknown = [name for name in given.names if name not in NAMES]
    if unknown:
        parser.error(f"no bundled subject is called {unknown[0]!r}; known are {', '.join(NAMES)}")
    for record in build(given.names or NAMES, given.into):
        sys.stdout.write(f"{record['subject']}: {_result(record['held_out'])}\n")
    return 0


if __name__ == "__main__":
    raise SystemExit(main())
