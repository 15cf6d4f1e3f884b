"""How many passes does it save to attack all findings of a film together first?

`uv run python -m tests.benchmarks.findings_attacked`: a linear network of F findings on 12 films of 16 x 16 pixels, the
quick ensemble, passes (forward and backward) of one film for all of its findings; the same films stand at each budget.
"""

from __future__ import annotations

import torch
from torch import nn

from robustness.attacks import BUDGETS, Attacked, Known, ThreatModel, attack_each, gather

SIDE, FILMS = 16, 12


def passes(found: Attacked) -> float:
    """Return the passes of a film."""
    return sum(one.forward + one.backward for one in found.results) / FILMS


def measured(findings: int) -> tuple[float, float, int]:
    """Return passes per film finding by finding, with the attack on all first, and film budgets that then differ."""
    generator = torch.Generator().manual_seed(1)
    network = nn.Sequential(nn.Flatten(), nn.Linear(SIDE * SIDE, findings)).eval()
    weight = torch.randn(findings, SIDE * SIDE, generator=generator)
    network[1].weight.data, network[1].bias.data = weight, -0.5 * weight.sum(1)
    films = 0.5 + 0.1 * (torch.rand(FILMS, 1, SIDE, SIDE, generator=generator) - 0.5)
    with torch.no_grad():
        sides = network(films).sign()
    names, threat = [f"film{at}" for at in range(FILMS)], ThreatModel(channels=1)
    of_all = gather(attack_each(network, films, [0] * FILMS, names, threat, profile="quick", sides=sides))
    apart, together, differ = 0.0, passes(of_all), 0
    for finding in range(findings):
        pick = nn.Linear(findings, 1, bias=False)
        pick.weight.data = torch.eye(findings)[finding : finding + 1]
        one, labels = nn.Sequential(network, pick).eval(), (sides[:, finding] > 0).long()
        known = {
            of.image_id: Known(
                stands=next((size for size in BUDGETS if size >= of.distance), BUDGETS[-1]),
                example=of.stored if of.prediction == finding + 1 else None,
            )
            for of in of_all.results
        }
        alone, told = (
            gather(attack_each(one, films, labels, names, threat, profile="quick", known=given))
            for given in (None, known)
        )
        apart, together = apart + passes(alone), together + passes(told)
        differ += sum(
            before.robust != after.robust
            for first, second in zip(alone.results, told.results, strict=True)
            for before, after in zip(first.at, second.at, strict=True)
        )
    return apart, together, differ


if __name__ == "__main__":
    for number in (2, 5, 14):
        before, after, other = measured(number)
        print(f"{number:2} findings: {before:6.0f} passes apart, {after:6.0f} together; {other} film budgets differ")
