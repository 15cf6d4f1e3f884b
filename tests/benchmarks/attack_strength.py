"""How far each protocol of attacks stays behind a plain margin PGD of 100 steps from 5 starts, and what it costs of it.

    uv run python -m tests.benchmarks.attack_strength [quick|standard|thorough]

prints one line per network: robust accuracy at 1, 2, 4 and 8 grey levels, of the protocol and of plain PGD, the worst
difference in points (positive: the protocol missed what PGD found) and the protocol's passes as a share of PGD's. Two
points are what the default may miss; it says of every verdict that it is an upper bound, because some network needs
more. The networks: three small ones trained here in seconds on drawn films, one of them against attacks; random ReLU
networks, where ascent is slowest; the bundled subjects on simulated films; and, where CHEST_XRAY_SHARED names the real
films, the stand-in of the published weights on those.

Measured of `quick` (films; robust accuracy at 1, 2, 4, 8 levels of quick | of plain PGD; share of its passes):

    drawn, 28 px, batch norm       60  1.000 1.000 0.850 0.000 | 1.000 1.000 0.850 0.333  .057
    drawn, 28 px, plain, attacked  60  1.000 at all four       | 1.000 at all four        .018, .023
    random, 2 classes              96  0.896 0.781 0.708 0.479 | the same                 .030
    random, 3 classes              96  0.854 0.719 0.531 0.312 | 0.854 0.719 0.542 0.323  .044
    bundled:fragile                32  0.469 0.062 0.000 0.000 | 0.469 0.062 0.062 0.000  .081
    bundled:hardened               32  0.781 0.500 0.125 0.031 | 0.812 0.562 0.156 0.031  .061
"""

from __future__ import annotations

import os
import sys
from collections.abc import Iterator
from pathlib import Path

import torch
from torch import Tensor, nn

from robustness.attacks import PROFILES, attack_films
from suites.harness import load_cohort, load_subject
from tests.controls.films import CLASSES, cohort_of
from tests.robustness.attacks.test_quick_strength import GRID, SIDE, Tangled, plain_pgd

Case = tuple[str, nn.Module, Tensor, Tensor]


def trained() -> Iterator[Case]:
    """Networks of 28 px on drawn films: plain, with batch norm, and trained against one step of an attack."""
    table = cohort_of(330)
    drawn = torch.stack([torch.from_numpy(table.decode(row).pixels) for row in table.table.to_dict("records")])
    films = nn.functional.interpolate(drawn[:, None], size=(28, 28), mode="area")
    films = (films * 255).round() / 255
    labels = torch.tensor([CLASSES.index(label) for label in table.table["label"]])
    for name, norm, against in (("plain", False, 0.0), ("batch norm", True, 0.0), ("against attacks", False, 4 / 255)):
        torch.manual_seed(0)
        middle = [nn.BatchNorm2d(8)] if norm else []
        network = nn.Sequential(
            nn.Conv2d(3, 8, 5, stride=2), *middle, nn.ReLU(), nn.Conv2d(8, 16, 3, stride=2), nn.ReLU(),
            nn.Flatten(), nn.Linear(16 * 25, 3),
        )  # fmt: skip
        optimiser = torch.optim.Adam(network.parameters(), 2e-3)
        for _ in range(150):
            batch = torch.randint(0, 270, (64,))
            seen = films[batch].clone().requires_grad_()
            if against:
                loss = nn.functional.cross_entropy(network(seen.expand(-1, 3, -1, -1)), labels[batch])
                (slope,) = torch.autograd.grad(loss, seen)
                seen = (seen + against * slope.sign()).clamp(0, 1).detach()
            optimiser.zero_grad()
            nn.functional.cross_entropy(network(seen.expand(-1, 3, -1, -1)), labels[batch]).backward()
            optimiser.step()
        network.eval().requires_grad_(requires_grad=False)
        yield f"drawn, 28 px, {name}", network, films[270:], labels[270:]


def tangled() -> Iterator[Case]:
    """Random networks, 96 films each."""
    films = (torch.rand(96, 1, SIDE, SIDE, generator=torch.Generator().manual_seed(1)) * 255).round() / 255
    for classes in (2, 3):
        network = Tangled(classes).eval().requires_grad_(requires_grad=False)
        yield f"random, {classes} classes", network, films, network(films.expand(-1, 3, -1, -1)).argmax(1)


def subjects() -> Iterator[Case]:
    """The bundled subjects on simulated films, and the stand-in on real ones, at the input of the network."""
    asked = [("bundled:fragile", "phantom:n=60"), ("bundled:hardened", "phantom:n=60")]
    if shared := os.environ.get("CHEST_XRAY_SHARED"):
        asked.append((f"{shared}/weights/kermany-convnextv2-atto", f"{shared}/data/kermany"))
    for spec, data in asked:
        subject, cohort = load_subject(spec), load_cohort(data).limited(30, 0)
        rows = cohort.table.to_dict("records")
        films = [torch.from_numpy(cohort.decode(row).pixels) for row in rows]
        pixels = torch.cat([subject.pixels(film[None])[:, :1] for film in films])
        labels = torch.tensor([subject.classes.index(label) for label in cohort.table["label"]])
        yield Path(spec).name, subject.network, pixels, labels


def line(case: Case, profile: str) -> str:
    """Return one network's line of the table."""
    name, network, films, labels = case
    ids = [f"film{at}" for at in range(len(films))]
    found = attack_films(network, films, labels, ids, budgets=GRID, profile=PROFILES[profile], examples=False)
    plain, spent = [], 0
    for budget in GRID:
        standing, passes = plain_pgd(network, films, labels, budget)
        plain.append(float(standing.double().mean()))
        spent += passes
    ours = [float(found.curve[budget]) for budget in GRID]
    behind = 100 * max(mine - theirs for mine, theirs in zip(ours, plain, strict=True))
    share = sum(result.forward + result.backward for result in found.results) / spent
    curves = (" ".join(f"{value:.3f}" for value in curve) for curve in (ours, plain))
    return f"{name:28} {len(films):3} films  {' | '.join(curves)}  {behind:+5.1f} points  {share:.3f} of the passes"


if __name__ == "__main__":
    protocol = sys.argv[1] if len(sys.argv) > 1 else "quick"
    print(f"{protocol}: robust accuracy at 1, 2, 4, 8 grey levels | plain PGD-100 x 5")
    for source in (trained, tangled, subjects):
        for one in source():
            print(line(one, protocol), flush=True)
