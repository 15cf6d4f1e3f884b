"""A factory may return a network alone, or with its classes: what nobody said is assumed, aloud, or asked for."""

from __future__ import annotations

import pytest
import torch
from torch import nn

from suites.harness import Normalised
from suites.harness.errors import SubjectProblem
from suites.harness.subjects.formats.bare_network import network_and_classes, subject_of
from suites.harness.subjects.formats.user import identified


class Small(nn.Module):
    def __init__(self, logits: int, channels: int = 3) -> None:
        super().__init__()
        self.stem, self.head = nn.Conv2d(channels, 4, 3), nn.Linear(4, logits)

    def forward(self, pixels):
        return self.head(self.stem(pixels).mean((2, 3)))


@pytest.mark.parametrize(
    ("logits", "classes"),
    [
        (1, ("normal", "pneumonia")),
        (2, ("normal", "pneumonia")),
        (3, ("bacterial_pneumonia", "normal", "viral_pneumonia")),
    ],
)
def test_a_network_alone_is_asked_as_most_were_trained_and_that_is_said(logits, classes):
    network = Small(logits)
    subject = identified(subject_of("mine.load", *network_and_classes(network)))
    assert subject.classes == classes
    assert ", ".join(classes) in subject.provenance.assumed
    assert "224 pixels" in subject.provenance.assumed
    single = "its one output read, through a sigmoid unless it ends in one, as the probability of pneumonia, the second"
    assert (single in subject.provenance.assumed) is (logits == 1)
    pixels = torch.rand(2, 3, 224, 224)
    mean, std = (torch.tensor(one).view(1, 3, 1, 1) for one in ((0.485, 0.456, 0.406), (0.229, 0.224, 0.225)))
    asked = network((pixels - mean) / std)
    assert torch.equal(subject.network(pixels)[:, -1], asked[:, -1])
    assert len(subject.provenance.sha256) == 64


@pytest.mark.parametrize("returned", [Small(1), nn.Sequential(Small(1), nn.Flatten(0)), Normalised(Small(1))])
def test_how_one_logit_is_read_is_said_of_named_classes_too(returned):
    subject = subject_of("mine.load", *network_and_classes((returned, ["TB-", "TB+"])))
    assert "the probability of TB+, the second class" in subject.provenance.assumed
    assert subject.network(torch.rand(2, 3, 224, 224)).shape == (2, 2)


def test_what_the_network_or_the_pair_says_is_not_assumed():
    network = Small(2)
    network.classes = ["sick", "well"]
    assert subject_of("a", network, None).classes == ("sick", "well")
    assert "its classes, in the order of its logits sick, well" in subject_of("a", network, None).provenance.assumed
    named = subject_of("a", *network_and_classes((network, ["NORMAL", "PNEUMONIA"])))
    assert named.classes == ("NORMAL", "PNEUMONIA")
    assert "classes" not in named.provenance.assumed
    normalised = subject_of("a", Normalised(Small(2), mean=(0.5,) * 3, std=(0.5,) * 3), None)
    assert "ImageNet" not in normalised.provenance.assumed


@pytest.mark.parametrize(
    ("returned", "next_step"),
    [
        (Small(4), r"return the pair \(network, classes\)"),
        ((Small(2), ("a", "b", "c")), "3 classes are named .*2 logits; name each"),
        ((Small(2), (0, 1)), r"not all text; return \(network"),
        (Small(2, channels=1), "return a Subject with a Preprocessing of its own"),
        (nn.Identity(), r"logits of shape \(2, 3, 224, 224\); return films x classes"),
    ],
)
def test_what_cannot_be_assumed_names_the_next_step(returned, next_step):
    with pytest.raises(SubjectProblem, match=next_step) as caught:
        subject_of("mine.load", *network_and_classes(returned))
    assert len(str(caught.value)) < 300


@pytest.mark.parametrize("returned", [5, None, (Small(2),), (Small(2), "normal"), ("normal", Small(2)), [1, 2]])
def test_anything_else_is_neither(returned):
    assert network_and_classes(returned) is None
