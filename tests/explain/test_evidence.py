"""Where the evidence is known every method finds it; the baselines and networks with random weights do not."""

import numpy as np
import pytest

import explain
from explain.localisation import localise
from explain.sanity import randomisable_modules, randomise_, restored_afterwards

BASELINES = [name for name in explain.names() if explain.get(name).baseline]
METHODS = [name for name in explain.names() if name not in BASELINES]
ON_TRANSFORMER = [name for name in METHODS if name not in {"deeplift", "guided backpropagation", "guided grad-cam"}]
FILMS, DRAWS = 8, 4
LIGHT = {
    "integrated gradients": {"steps": 8},
    "smoothgrad": {"samples": 8, "noise": 0.2},
    "gradient shap": {"samples": 9},
    "occlusion": {"window": 1 / 6, "stride": 1.0},
}


def build(name, subject):
    needs_layer = subject == "stripe_reader" and "grad-cam" in name
    return explain.get(name, **LIGHT.get(name, {}), **({"layer": "inner.second_rectifier"} if needs_layer else {}))


def hit_rate(method, network, films, count):
    maps = method(network, films.pixels[:count], 1, films.image_ids[:count])
    return localise(maps, films.evidence[:count])["hit"].mean()


CASES = [("stripe_reader", name) for name in METHODS if name != "attention rollout"]
CASES += [("vision_transformer", name) for name in ON_TRANSFORMER]


@pytest.mark.parametrize(("subject", "name"), CASES)
def test_the_method_finds_the_evidence_and_its_broken_control_does_not(subject, name, films, request):
    network = request.getfixturevalue(subject)
    method = build(name, subject)
    chance = max(hit_rate(explain.get(baseline), network, films, len(films.pixels)) for baseline in BASELINES)
    found = hit_rate(method, network, films, FILMS)
    assert found > chance + 0.15
    broken = []
    for seed in range(DRAWS):
        with restored_afterwards(network):
            for part, module in randomisable_modules(network):
                randomise_(module, part, seed)
            broken.append(hit_rate(method, network, films, FILMS))
    # One random network may happen to like vertical stripes; random networks together must not.
    assert np.mean(broken) - 2 * np.std(broken, ddof=1) / DRAWS**0.5 <= chance
    assert found > np.mean(broken) + 0.25


def test_the_subjects_know_their_trade(stripe_reader, vision_transformer, film_maker):
    new = film_maker(100, 9)
    for network in (stripe_reader, vision_transformer):
        assert (network(new.pixels).argmax(dim=1) == new.truth).float().mean() > 0.95
