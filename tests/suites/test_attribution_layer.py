"""Naming the layer of Grad-CAM in a spec, and what steps in for a subject that has none."""

from dataclasses import replace

import pytest
import torch
from torch import nn

from suites.harness.attribution_layer import described, method_for
from suites.harness.errors import SubjectProblem
from suites.harness.formats import load_subject


@pytest.mark.parametrize("name", ["fragile", "hardened"])
def test_a_trained_network_that_mixes_all_places_is_looked_at_in_its_last_stage(name):
    assert described(load_subject(f"bundled:{name}"), "grad-cam") == "grad-cam (layer backbone.stages.3, 4 x 4)"


def test_a_spec_names_the_layer_and_no_logit_changes():
    plain, named = load_subject("bundled:fragile"), load_subject("bundled:fragile?layer=stages.2")
    assert described(named, "grad-cam") == "grad-cam (layer backbone.stages.2, 8 x 8)"
    assert (named.fingerprint, named.provenance.spec) == (plain.fingerprint, "bundled:fragile?layer=stages.2")


@pytest.mark.parametrize(
    ("layer", "reason"),
    [("stages.9", "no layer 'stages.9'"), ("head", r"layer 'head' gave \(1, 3\)"), ("", "name one layer")],
)
def test_a_layer_that_cannot_be_used_is_refused_when_the_subject_is_loaded(layer, reason):
    with pytest.raises(SubjectProblem, match=reason):
        load_subject(f"bundled:fragile?layer={layer}")


class Flat(nn.Module):
    """Pixels straight into linear layers; detached, if asked."""

    def __init__(self, side, *, cut):
        super().__init__()
        torch.manual_seed(0)
        self.layer, self.cut = nn.Linear(side * side, 3), cut

    def forward(self, pixels):
        logits = self.layer(pixels.mean(1).flatten(1))
        return logits.detach() if self.cut else logits


@pytest.mark.parametrize(("cut", "instead"), [(False, "integrated gradients"), (True, "occlusion")])
def test_methods_without_a_layer_step_in_and_say_why(cut, instead):
    subject = load_subject("bundled:fragile")
    other = replace(subject, network=Flat(subject.preprocessing.size, cut=cut))
    method, why = method_for(other, "grad-cam")
    assert method == instead
    assert why.startswith(f"{instead} is used in place of grad-cam, which cannot be had: ")
    assert method_for(subject, "grad-cam") == ("grad-cam", "")
