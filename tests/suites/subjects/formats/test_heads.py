"""Sigmoid heads: what a subject of findings may say of itself, in Python and in every format."""

from __future__ import annotations

import json
import math
from dataclasses import replace

import pytest
import timm
import torch
from safetensors.torch import load_file, save_file
from torch import nn

from suites.harness.errors import SubjectProblem
from suites.harness.subjects.finding import for_finding
from suites.harness.subjects.formats import load_subject
from tests.controls.findings import subject_of_findings

NAN = math.nan


@pytest.mark.parametrize(
    ("settings", "told"),
    [
        ({"classes": ("Mass", "Mass")}, "two: class names repeat: ['Mass', 'Mass']"),
        ({"classes": ("Lung Mass", "lung_mass")}, "two: Lung Mass, lung_mass are one finding, written twice"),
        ({"thresholds": (0.5,)}, "two: 1 thresholds for 2 findings; give one for each"),
        ({"thresholds": (0.5, 1.5)}, "two: the threshold of Mass is 1.5; it is a probability, above 0 and below 1"),
        ({"thresholds": (0.5, 0.0)}, "two: the threshold of Mass is 0; it is a probability, above 0 and below 1"),
        ({"thresholds": [0.5, 0.5]}, "two: thresholds is [0.5, 0.5]; expected a tuple of numbers"),
        ({"heads": "both"}, "two: heads is 'both'; known are softmax, sigmoid"),
        ({"heads": "softmax"}, 'two: thresholds belong to findings; leave them out, or say heads="sigmoid"'),
        ({"classes": (), "thresholds": None}, "two: sigmoid heads need the findings they answer"),
    ],
)
def test_what_does_not_fit_is_refused_in_one_line(settings, told):
    with pytest.raises(SubjectProblem) as caught:
        replace(subject_of_findings(), **settings)
    assert str(caught.value).startswith(told)
    assert "\n" not in str(caught.value)


def test_operating_points_are_part_of_a_subjects_identity():
    plain, other = subject_of_findings(), subject_of_findings(thresholds=(0.4, NAN))
    assert plain.fingerprint != other.fingerprint
    findings = [for_finding(plain, name) for name in plain.classes]
    assert len({one.fingerprint for one in (plain, *findings)}) == 3
    assert [one.name for one in findings] == ["two: Effusion", "two: Mass"]
    assert findings[1].provenance.notes[0] == "Mass: called above a probability of 0.5 (none is published)"


def test_a_folder_of_the_hub_says_that_its_classes_are_findings(hub_folder):
    config = json.loads((hub_folder / "config.json").read_text())
    (hub_folder / "config.json").write_text(json.dumps(config | {"problem_type": "multi_label_classification"}))
    subject = load_subject(str(hub_folder))
    assert subject.heads == "sigmoid"
    assert subject.thresholds is None
    one = dict(config, problem_type="multi_label_classification", id2label={"0": "Effusion"}, label2id={"Effusion": 0})
    (hub_folder / "config.json").write_text(json.dumps(one))
    weights = load_file(hub_folder / "model.safetensors")
    for name in ("classifier.weight", "classifier.bias"):
        weights[name] = weights[name][:1].contiguous()
    save_file(weights, hub_folder / "model.safetensors")
    single = load_subject(str(hub_folder))
    assert single.classes == ("Effusion",)
    pixels = single.pixels(torch.rand(2, 256, 256))
    torch.testing.assert_close(single.network(pixels)[:, 0], subject.network(pixels)[:, 0], rtol=0, atol=1e-5)


def test_a_timm_model_takes_heads_and_operating_points(tmp_path):
    torch.manual_seed(0)
    network = timm.create_model("test_resnet", num_classes=2)
    torch.save(network.state_dict(), tmp_path / "w.pt")
    spec = f"timm:test_resnet?checkpoint={tmp_path / 'w.pt'}&classes=Effusion,Mass"
    subject = load_subject(f"{spec}&heads=sigmoid&thresholds=0.3,")
    assert subject.heads == "sigmoid"
    assert subject.thresholds[0] == 0.3
    assert math.isnan(subject.thresholds[1])
    for options, told in {
        "heads=tanh": "heads should be softmax",
        "heads=sigmoid&thresholds=a,b": "thresholds should be probabilities such as 0.3,0.5, not 'a,b'",
        "thresholds=0.3,0.5": "thresholds belong to findings",
    }.items():
        with pytest.raises(SubjectProblem, match=told):
            load_subject(f"{spec}&{options}")


class Ending(nn.Module):
    """Two numbers of a film's grey, through whatever comes last."""

    def __init__(self, last) -> None:
        super().__init__()
        self.last, self.layer = last, nn.Linear(1, 2)

    def forward(self, pixels):
        return self.last(4 * self.layer(pixels.mean(dim=(1, 2, 3), keepdim=False)[:, None]))


def test_sigmoids_of_findings_are_undone_and_nothing_else_is_taken_for_them():
    torch.manual_seed(1)
    plain = replace(subject_of_findings(), network=Ending(nn.Identity()))
    undone = load_subject(replace(plain, network=_like(plain.network, torch.sigmoid)))
    pixels = torch.rand(3, 3, 64, 64)
    torch.testing.assert_close(undone.network(pixels), plain.network(pixels), rtol=0, atol=1e-5)
    assert any("log-odds" in note for note in undone.provenance.notes)
    for last in (lambda z: z.softmax(1), lambda z: torch.sigmoid(z) * 0.9):
        with pytest.raises(SubjectProblem, match="its heads are said to be sigmoids, but its outputs come of S"):
            load_subject(replace(plain, network=_like(plain.network, last)))


def _like(network, last):
    made = Ending(last)
    made.load_state_dict(network.state_dict())
    return made
