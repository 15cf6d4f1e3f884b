"""Does a film averaged down before it is perturbed get the same answer?

For every condition of a grid: logits of films perturbed as stored and at the working resolution, the root mean square
of their difference beside that of another seed, and beside what the perturbation does at all. A condition passes where
the resolution changes no more than another seed does, or less than a twentieth of its effect, or less than .02; one
that does not belongs to a perturbation that must say why it needs the film as stored (`Perturbation.native`).

Measured on three films of 3056 x 2544 (12 bit, noise of single pixels) with a network of 224 pixels and 1020 as the
working resolution, severities 1, 3 and 5: scatter .005 of 2.2, grid_cutoff .017 (another seed .326), whiteouts .001 to
.005 of .1 to .9, window_widening .010 of 1.5, tube_voltage .018 of .6. What failed is native since: photon noise (.16
where another seed makes .05), jpeg_quality (.037 of .006), low_resolution (.021 of .006), clahe (.18 of 3.0),
markers (.15 of .03), aspect_squeeze (.095 of .2), edge_enhancement (.072 of 1.0) and bit_depth (.20 of .43).

Noise of photons passes since it is that of the detector's pixels, whatever those of the film (`Draws.finer`), but for
electronic_noise and underexposure_stress, whose noise is white and cut off at no signal. It is drawn anew at another
resolution, so what is left is another seed. On four films of 3056 x 2544, severities 1, 3 and 5, resolution and seed:
underexposure .050, .174, .272 and .051, .128, .481 (at 3 the means over six seeds of each differ by .059, by chance),
bad_portable .052, .060, .199 and .054, .096, .238, underexposure_fixed_window .022, .057, .013 and .028, .096, .057,
grid_cutoff .009, .031, .048 and .077, .381, .691. At the network's 224 pixels blocks of 1 to 224 of them vary as on the
film as stored: by 0 to 2 % more at severity 3 of underexposure (at 5, 2 to 16 %), which is lighter there by less than
a grey level (at 5, by 1.5 to 2.8, where noise is 10).

    python -m tests.benchmarks.resolution_agreement WEIGHTS FILMS [--limit N] [--preset NAME]
"""

from __future__ import annotations

import argparse

import numpy as np
import torch
from numpy.typing import NDArray

from robustness import perturbation
from robustness.perturbation import PerturbationUndefined
from suites.harness.cohorts.layouts import load_cohort
from suites.harness.predictions.conditions import Condition, parse, shown
from suites.harness.predictions.resolution import AS_STORED, Resolution
from suites.harness.subjects.formats import load_subject
from suites.harness.subjects.subject import Subject

SHARE, LEAST = 0.05, 0.02
"""Of the effect of a condition, and in logits: what nobody needs to look into."""


def passes(resolution: float, seed: float, effect: float) -> bool:
    """Whether a difference between resolutions is no more than what does not matter."""
    return resolution <= max(seed, SHARE * effect, LEAST)


def size_of(difference: NDArray[np.float64]) -> float:
    """Return the root mean square of (N, K) differences of centred logits: what all classes share says nothing."""
    centred = difference - difference.mean(axis=1, keepdims=True)
    return float(np.sqrt(np.mean(centred**2)))


def main() -> None:
    """Print a line for every condition, those that fail marked."""
    parser = argparse.ArgumentParser(description=__doc__.splitlines()[0])
    parser.add_argument("weights")
    parser.add_argument("films")
    parser.add_argument("--limit", type=int, default=6)
    parser.add_argument("--preset", default="standard")
    parser.add_argument("--severities", type=int, nargs="+", default=[1, 3, 5])
    asked = parser.parse_args()
    subject, cohort = load_subject(asked.weights), load_cohort(asked.films).limited(asked.limit, 0)
    working = Resolution.enough_for([subject.preprocessing])
    films = [(str(row["id"]), cohort.decode(row)) for row in cohort.rows()]
    print(f"{len(films)} films, the first of {films[0][1].pixels.shape}; {working}")

    def answers(condition: Condition, resolution: Resolution, seed: int) -> NDArray[np.float64]:
        found = []
        for image, film in films:
            try:
                views = shown(film, condition, image, seed=seed, resolution=resolution)
            except PerturbationUndefined:
                found.append(np.full(len(subject.classes), np.nan))
                continue
            found.append(_logits(subject, views))
        return np.stack(found)

    clean = answers(parse("clean"), AS_STORED, 0)
    for name in [name for name in perturbation.names() if asked.preset in perturbation.get(name).presets]:
        for severity in asked.severities:
            condition = parse(f"{name}@{severity}")
            stored = answers(condition, AS_STORED, 0)
            keep = np.isfinite(stored).all(axis=1)
            if not keep.any():
                print(f"{condition.text:34} undefined")
                continue
            there, again = answers(condition, working, 0), answers(condition, AS_STORED, 1)
            keep &= np.isfinite(there).all(axis=1) & np.isfinite(again).all(axis=1)
            sizes = [size_of((other - stored)[keep]) for other in (there, again)]
            effect = size_of((stored - clean)[keep])
            mark = "" if passes(sizes[0], sizes[1], effect) else "  FAILS" + (" (native)" if condition.native else "")
            print(f"{condition.text:34} resolution {sizes[0]:.3f}  seed {sizes[1]:.3f}  effect {effect:.3f}{mark}")


def _logits(subject: Subject, views: torch.Tensor) -> NDArray[np.float64]:
    with torch.inference_mode():
        logits, _ = subject.answer(subject.pixels(views))
    return np.asarray(logits[0].double().numpy())


if __name__ == "__main__":
    main()
