"""Probabilities taken for logits are undone, and what is no probability of one class is refused."""

from __future__ import annotations

from dataclasses import replace

import pytest
import torch
from torch import Tensor, nn

from suites.harness import load_subject
from suites.harness.errors import SubjectProblem
from suites.harness.subjects.output_scale import _outputs, as_logits, patterns
from suites.harness.subjects.preprocessing import Preprocessing
from suites.harness.subjects.subject import Normalised, Provenance, Subject

NAMES = ("bacterial_pneumonia", "normal", "viral_pneumonia")


class Grey(nn.Module):
    """Linear in the mean grey of the film."""

    def __init__(self, classes: int = 3, scale: float = 6.0) -> None:
        super().__init__()
        torch.manual_seed(1)
        self.line = nn.Linear(1, classes)
        self.line.weight.data = scale * torch.linspace(-1, 1, classes)[:, None]
        self.line.bias.data = -0.4 * self.line.weight.data[:, 0]

    def forward(self, pixels: Tensor) -> Tensor:
        return self.line(pixels.mean((1, 2, 3))[:, None])


class Then(nn.Module):
    def __init__(self, network: nn.Module, last) -> None:
        super().__init__()
        self.network, self.last = network, last

    def forward(self, pixels: Tensor) -> Tensor:
        return self.last(self.network(pixels))


def subject(network: nn.Module, classes: int = 3) -> Subject:
    return Subject(
        name="own",
        classes=NAMES[:classes],
        network=Normalised(network, (0.0,) * 3, (1.0,) * 3),
        preprocessing=Preprocessing(name="own", short_side=None, size=32),
        provenance=Provenance(spec="own", format="user", source="own", sha256=""),
    )


def probabilities(one: Subject) -> Tensor:
    return one.network(one.pixels(patterns())).softmax(1)


@pytest.mark.parametrize(
    "last",
    [
        lambda z: z.softmax(1),
        lambda z: z.softmax(1).detach(),  # no graph: the rows say it
        lambda z: 100 * z.softmax(1),
        lambda z: torch.round(z.softmax(1), decimals=4),
        lambda z: z.softmax(1).half().float(),
        nn.functional.softmin,
    ],
)
def test_a_softmax_is_undone_and_said(last):
    own = (lambda z: (-z).softmax(1)) if last is nn.functional.softmin else lambda z: z.softmax(1)
    last = (lambda z: nn.functional.softmin(z, dim=1)) if last is nn.functional.softmin else last
    wanted = own(subject(Grey()).network(subject(Grey()).pixels(patterns())))
    found = load_subject(subject(Then(Grey(), last)))
    torch.testing.assert_close(probabilities(found), wanted, atol=6e-4, rtol=0)
    assert any("not logits" in note for note in found.provenance.notes)


def test_one_sigmoid_is_undone_in_both_classes():
    found = load_subject(subject(Then(Grey(1), torch.sigmoid), classes=2))
    calls = set(found.network(found.pixels(patterns())).argmax(1).tolist())
    assert calls == {0, 1}, "the logits (0, p) would call the second class always"
    wanted = torch.sigmoid(subject(Grey(1), classes=2).network(found.pixels(patterns()))[:, 1])
    torch.testing.assert_close(probabilities(found)[:, 1], wanted)


@pytest.mark.parametrize(
    "last",
    [
        lambda z: (torch.sigmoid(z) + torch.sigmoid(0.9 * z)) / 2,
        lambda z: torch.stack([torch.sigmoid(z), torch.sigmoid(z)]).mean(0),
        lambda z: torch.sigmoid(z).clamp(1e-6, 1 - 1e-6),
        lambda z: (torch.tanh(z / 2) + 1) / 2,
        lambda z: 100 * torch.sigmoid(z),
        lambda z: torch.round(torch.sigmoid(z), decimals=3),
    ],
)
def test_one_sigmoid_that_was_averaged_cut_or_scaled_is_undone(last):
    found = load_subject(subject(Then(Grey(1), last), classes=2))
    given = last(subject(Grey(1), classes=2).network(found.pixels(patterns()))[:, 1])
    whole = 100 if float(given.max()) > 1 else 1
    assert set((given > whole / 2).tolist()) == {False, True}
    torch.testing.assert_close(probabilities(found)[:, 1], given / whole, atol=1e-6, rtol=0)
    assert any("not logits" in note for note in found.provenance.notes)


@pytest.mark.parametrize(
    "last",
    [
        lambda z: 100 * z.softmax(1).round(decimals=2),
        lambda z: (100 * z.softmax(1)).round(),
        lambda z: (100 * z.softmax(1)).round().detach(),
        lambda z: z.softmax(1).round(decimals=2).detach(),
        lambda z: z.softmax(1).clamp(0.01, 0.99),
    ],
)
def test_a_softmax_that_was_rounded_or_cut_is_undone(last):
    own = subject(Grey())
    found = load_subject(subject(Then(Grey(), last)))
    wanted = own.network(own.pixels(patterns())).softmax(1)
    torch.testing.assert_close(probabilities(found), wanted, atol=0.025, rtol=0)
    assert any("not logits" in note for note in found.provenance.notes)


@pytest.mark.parametrize(
    "last",
    [
        lambda z: 0.1 + 0.05 * torch.tanh(z),  # as a logit it would always call the second class
        lambda z: 1 / (1 + torch.exp(-z)),
        lambda z: z.clamp(0, 1),
        torch.relu,
        lambda z: 10 * torch.sigmoid(z),
    ],
)
def test_one_output_that_is_never_negative_is_refused_with_the_way_out(last):
    with pytest.raises(SubjectProblem, match="return both classes, or the logit"):
        load_subject(subject(Then(Grey(1), last), classes=2))


@pytest.mark.parametrize(
    ("network", "classes"),
    [
        (Grey(), 3),
        (Grey(1), 2),
        (Grey(scale=0.01), 3),
        (Then(Grey(), lambda z: z.log_softmax(1)), 3),
        (Then(Grey(), lambda z: 1000 * z), 3),
        (Then(Grey(1, scale=0.1), lambda z: 0.5 + z), 2),
        (Then(Grey(1, scale=0.1), lambda z: ((0.5 + z) + (0.4 - z)) / 2 + 0.1 * z), 2),
        (Then(Grey(1), lambda z: 10 + torch.stack([z, z]).mean(0)), 2),
        (Then(Grey(2, scale=0.1), lambda z: 0.5 + z), 2),
        (Then(Grey(3, scale=0.001), lambda z: 1 / 3 + z + 0.01), 3),
        (Then(Grey(), lambda z: 2 * z.softmax(1) - 1), 3),
        (Then(Grey(), lambda z: torch.tensor([0.0, 1.0, 0.0]) + 0 * z), 3),  # constant logits that happen to sum to 1
    ],
)
def test_logits_stay_as_they_are(network, classes):
    own = subject(network, classes)
    assert as_logits(own) is own


def test_a_constant_softmax_is_told_by_its_graph():
    found = as_logits(subject(Then(Grey(), lambda z: (0 * z + torch.tensor([4.0, 0.0, 0.0])).softmax(1))))
    assert float(probabilities(found).max()) == pytest.approx(0.9647, abs=1e-4)


def test_a_sigmoid_for_each_class_is_refused():
    for last in (torch.sigmoid, lambda z: (torch.sigmoid(z) + torch.sigmoid(z / 2)) / 2):
        with pytest.raises(SubjectProblem, match="own: it gives each class a sigmoid of its own"):
            load_subject(subject(Then(Grey(), last)))


def test_one_number_that_may_be_either_is_refused():
    with pytest.raises(SubjectProblem, match="does not say whether that is a probability or a logit"):
        load_subject(subject(Then(Grey(1), lambda z: torch.sigmoid(z).detach()), classes=2))


def test_saturated_probabilities_give_finite_logits_and_gradients():
    found = as_logits(subject(Then(Grey(scale=3000.0), lambda z: z.softmax(1))))
    pixels = found.pixels(patterns()).clone().requires_grad_()
    logits = found.network(pixels)
    logits.sum().backward()
    assert torch.isfinite(logits).all()
    assert torch.isfinite(pixels.grad).all()


def test_undone_twice_is_undone_once():
    once = load_subject(subject(Then(Grey(), lambda z: z.softmax(1))))
    assert as_logits(once) is once
    assert as_logits(replace(once, name="again")).network is once.network


def test_films_are_sent_two_at_a_time_and_nothing_of_them_is_kept():
    sizes = []
    network = nn.Sequential(nn.Flatten(), nn.Linear(64 * 64, 3), nn.Softmax(dim=1))
    network.register_forward_hook(lambda _, inputs, __: sizes.append(len(inputs[0])))
    subject = Subject(
        name="small",
        classes=("a", "b", "c"),
        network=network,
        preprocessing=Preprocessing(name="own", short_side=None, size=64, channels=1),
        provenance=Provenance(spec="", format="user", source="", sha256=""),
    )
    outputs, graph = _outputs(subject, network)
    assert sizes == [2] * 6
    with torch.inference_mode():
        torch.testing.assert_close(outputs, network(subject.pixels(patterns())).double())
    with pytest.raises(RuntimeError, match="nothing was kept"):
        graph(torch.ones(2, 3))
