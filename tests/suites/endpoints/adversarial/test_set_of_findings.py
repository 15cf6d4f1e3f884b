"""The attack on all findings of a film: exact on a linear subject, else the first finding to fall."""

from __future__ import annotations

import numpy as np
import pytest
import torch
from torch import nn

from robustness.attacks import PROTOCOLS, ThreatModel, attack_each, gather
from robustness.attacks.loss import any_side_left
from suites.harness.claims_table import load_claims
from suites.harness.endpoints.adversarial.runs import attack
from suites.harness.evaluation import Evaluation
from tests.controls.findings import EFFUSION, MASS, cohort_of_findings, subject_of_findings

SIDE = 6
GRID = tuple(level / 255 for level in (1.0, 4.0, 16.0, 64.0))


def linear(findings: int = 3) -> tuple[nn.Module, torch.Tensor, torch.Tensor, np.ndarray]:
    """Return a linear network, films, sides as the network calls them, and each film's exact distance per finding."""
    generator = torch.Generator().manual_seed(4)
    weight = torch.randn(findings, SIDE * SIDE, generator=generator)
    network = nn.Sequential(nn.Flatten(), nn.Linear(SIDE * SIDE, findings))
    network.eval()
    network[1].weight.data = weight
    network[1].bias.data = -0.5 * weight.sum(1)
    films = 0.5 + 0.1 * (torch.rand(12, 1, SIDE, SIDE, generator=generator) - 0.5)
    with torch.no_grad():
        logits = network(films)
    return network, films, logits.sign(), (logits.abs() / weight.abs().sum(1)).numpy()


def test_findings_as_classes_leave_their_side_one_by_one_and_do_not_count_where_nobody_says():
    logits = torch.tensor([[2.0, -3.0, 0.5], [-1.0, -3.0, 0.5]])
    sides = torch.tensor([[1.0, -1.0, 0.0], [1.0, -1.0, 0.0]])
    seen = any_side_left(logits, sides)
    assert seen.argmax(1).tolist() == [0, 1]
    assert seen[:, :3].tolist() == [[0.0, -2.0, -3.0], [0.0, 1.0, -3.0]]
    assert (seen[:, 3] < seen[:, :3].amin(1)).all()
    assert any_side_left(logits, torch.zeros_like(sides)).argmax(1).tolist() == [0, 0]


def test_a_set_falls_where_its_nearest_finding_does():
    network, films, sides, exact = linear()
    sides[:4, int(exact[0].argmin())] = 0  # of these films nobody says whether they show it
    known = np.where(sides.numpy() == 0, np.inf, exact)
    names = [f"film{at}" for at in range(len(films))]
    threat = ThreatModel(channels=1)
    found = gather(
        attack_each(network, films, [0] * len(films), names, threat, budgets=GRID, profile="quick", sides=sides)
    )
    distances = np.array([one.distance for one in found.results])
    np.testing.assert_allclose(distances, known.min(axis=1), rtol=0.02)
    fell_for = [one.prediction - 1 for one in found.results]
    np.testing.assert_allclose(known[np.arange(len(films)), fell_for], known.min(axis=1), rtol=0.02)


def test_findings_of_one_subject_are_attacked_on_the_same_films_as_all_together(tmp_path):
    claims = [claim for claim in load_claims() if claim.id == "adversarial.two_levels"]
    run = Evaluation(
        subjects=[subject_of_findings()], cohort=cohort_of_findings(8, unsaid=2), claims=claims, cache=tmp_path,
        quiet=True,
    ).run()  # fmt: skip
    found = {}
    for subject in run.subjects:
        answers = run.evidence(subject.name).main
        found[subject.classes[1]] = attack(answers, "quick", tmp_path)
    (films, results), (again, _) = (one.together for one in found.values())
    assert films.job.key == again.job.key
    assert films.job.plan == PROTOCOLS["quick"]
    each = {name: {one.image_id: one.distance for one in of.found.results} for name, of in found.items()}
    assert set(each[EFFUSION]) == {f"film{number}" for number in range(2, 8)}
    assert set(each[MASS]) == {f"film{number}" for number in range(8)}
    for one in results.results:
        nearest = min(of.get(one.image_id, np.inf) for of in each.values())
        assert one.distance == pytest.approx(nearest, rel=0.1)
    measures = [one for one in run.judgements[0].result.measures if one.name == "exact_match_robust_accuracy"]
    assert [(one.condition, one.n) for one in measures] == [("clean", 8), ("linf/grey 2/255", 8)]
    fallen = sum(one.distance <= 2 / 255 for one in results.results)
    assert measures[1].estimate == pytest.approx(films.right.mean() - fallen / 8)
    assert "An adversary who may turn any finding leaves all of them right on" in run.judgements[0].result.summary
