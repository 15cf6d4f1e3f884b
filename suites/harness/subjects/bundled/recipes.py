"""How is each bundled subject made? One entry per subject, all numbers of it."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass

from robustness.phantom.several import SEVERAL
from suites.harness.subjects.bundled.cohorts import CLASSES

DEPTHS = (1, 1, 3, 1)
DIMS = (16, 32, 64, 128)
"""Blocks and channels of the ConvNeXt-V2 of *fragile* and *hardened*: 0.3 M parameters."""

VIT = {"patch_size": 16, "embed_dim": 96, "depth": 4, "num_heads": 3}
"""The ViT in DINOv2's layout of *probe*: 0.5 M parameters."""

SEEN = (
    "underexposure_stress", "underexposure_fixed_window", "overexposure_fixed_window", "tube_voltage", "bad_portable",
    "scatter", "window_widening", "gamma_low", "gamma_high", "grid_stripes", "grid_lines", "grid_cutoff",
)  # fmt: skip
"""Perturbations *hardened* meets in training, with other random numbers; all others stay new to it."""


@dataclass(frozen=True)
class Recipe:
    """One subject.

    Attributes:
        name: behind `bundled:`.
        about: what it is for, in one or two sentences for its record.
        layout: `convnextv2` or `dinov2`, as the Hub's config says it.
        seed: of the initial weights, the order of films and every random crop.
        epochs: passes over the training films.
        batch: films per step.
        rate: largest learning rate (AdamW, one warm-up epoch, cosine to zero).
        decay: weight decay.
        smallest_crop: of the random resized crop, as a share of the film's area.
        masks: weight of the question where lung, heart and opacities lie.
        smoothing: label smoothing.
        perturbed: share of films shown as one of their perturbed copies.
        variants: perturbed copies per training film.
        budget: largest adversarial step in grey levels of 255; 0 for none. Each film draws its own up to this.
        outliers: whether lateral and adult films are shown with an even target.
        tempered: whether the head is divided by a temperature. It is fitted on validation films, their perturbed copies
            and unanswerable films of other patients: one that is right on clean films only is too sure elsewhere.
        start: subject whose weights it starts from, read from its folder; none means random weights.
        frozen: whether the classes see only a linear layer on a frozen backbone that learned anatomy.
        several: whether it answers each of several findings at once with a sigmoid, in place of one class of three.
    """

    name: str
    about: str
    layout: str
    seed: int
    epochs: int
    batch: int = 18
    rate: float = 5e-3
    decay: float = 0.05
    smallest_crop: float = 0.7
    masks: float = 6.0
    smoothing: float = 0.0
    perturbed: float = 0.0
    variants: int = 0
    budget: float = 0.0
    outliers: bool = False
    tempered: bool = False
    start: str = ""
    frozen: bool = False
    several: bool = False

    @property
    def classes(self) -> tuple[str, ...]:
        """What its logits stand for, in their order."""
        return SEVERAL if self.several else CLASSES


RECIPES: Mapping[str, Recipe] = {
    recipe.name: recipe
    for recipe in (
        Recipe(
            "fragile",
            "Trained as the published model was: random resized crop and flip, nothing against exposure, grids or "
            "attacks, frontal films of children only. Expected to show the documented failure modes.",
            layout="convnextv2",
            seed=11,
            epochs=24,
        ),
        Recipe(
            "hardened",
            "Goes on from fragile with perturbed and adversarial films, lateral and adult films as unanswerable, label "
            "smoothing and a temperature. Expected to show fewer failure modes.",
            layout="convnextv2",
            seed=12,
            start="fragile",
            epochs=30,
            rate=4e-3,
            smoothing=0.05,
            perturbed=0.5,
            variants=4,
            budget=1.5,
            outliers=True,
            tempered=True,
        ),
        Recipe(
            "probe",
            "A linear layer on a frozen ViT that learned to draw lungs, heart and opacities of simulated films, never "
            "their classes. For comparison of models.",
            layout="dinov2",
            seed=13,
            epochs=24,
            rate=1.5e-3,
            frozen=True,
        ),
        Recipe(
            "findings",
            "Answers five findings at once, each with a sigmoid; goes on from fragile with films of none to three of "
            "them, nothing against exposure, grids or attacks. For the suites of subjects with several findings.",
            layout="convnextv2",
            seed=14,
            start="fragile",
            epochs=6,
            rate=4e-3,
            several=True,
        ),
    )
}
