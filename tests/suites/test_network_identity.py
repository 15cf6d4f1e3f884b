"""Whatever decides a logit changes the identity of a network; nothing else does, in any process."""

from __future__ import annotations

import functools
import os
import subprocess
import sys
import warnings
from collections.abc import Sequence
from importlib import metadata
from pathlib import Path

import pytest
import timm
import torch
from torch import nn

from suites.harness import Normalised, load_subject
from suites.harness.network_identity import libraries_of, network_identity

ROOT = Path(__file__).parents[2]


def small(**changes) -> nn.Module:
    torch.manual_seed(0)
    settings = {"eps": 1e-5, "padding_mode": "zeros", "stride": 2, "act": nn.ReLU, "p": 0.1} | changes
    return nn.Sequential(
        nn.Conv2d(3, 4, 3, stride=settings["stride"], padding=1, padding_mode=settings["padding_mode"]),
        nn.BatchNorm2d(4, eps=settings["eps"]), settings["act"](), nn.Dropout(settings["p"]),
        nn.AdaptiveAvgPool2d(1), nn.Flatten(), nn.Linear(4, 3),
    ).eval()  # fmt: skip


@pytest.mark.parametrize(
    "changes", [{"eps": 1e-3}, {"padding_mode": "reflect"}, {"stride": 1}, {"act": nn.GELU}, {"p": 0.5}]
)
def test_every_setting_of_a_layer_counts(changes):
    assert network_identity(small()) == network_identity(small())
    assert network_identity(small(**changes)) != network_identity(small())


def test_normalisation_counts_although_it_is_not_saved():
    net = small()
    first = network_identity(Normalised(net, (0.5,) * 3, (0.25,) * 3))
    assert network_identity(Normalised(net, (0.5,) * 3, (0.25,) * 3)) == first
    assert network_identity(Normalised(net, (0.5,) * 3, (0.26,) * 3)) != first
    assert network_identity(Normalised(net, (0.5, 0.5, 0.4), (0.25,) * 3)) != first


@pytest.mark.parametrize("name", ["1.weight", "1.running_mean", "6.bias"])
def test_every_number_counts(name):
    net, other = small(), small()
    with torch.no_grad():
        other.state_dict()[name][0] += 1e-6
    assert network_identity(net) != network_identity(other)


def test_the_mode_hooks_and_gradients_do_not_count():
    net, other = small(), small().train()
    other[0].register_forward_hook(lambda *_: None)
    for parameter in other.parameters():
        parameter.requires_grad_(requires_grad=False)
    assert network_identity(net) == network_identity(other)


def test_a_quantised_network_has_an_identity_of_its_numbers():
    def quantised(shift: float) -> nn.Module:
        net = small()
        with torch.no_grad():
            net[6].weight[0, 0] += shift
        with warnings.catch_warnings():
            warnings.simplefilter("ignore")  # torch announces another place for it
            return torch.ao.quantization.quantize_dynamic(net, {nn.Linear}, dtype=torch.qint8)

    assert network_identity(quantised(0.0)) == network_identity(quantised(0.0))
    assert network_identity(quantised(0.0)) != network_identity(quantised(1.0))


OWN = """
import torch
from torch import nn
LIMIT = {limit}

def squashed(x):
    return {squash}

class Own(nn.Module):
    def __init__(self):
        super().__init__()
        torch.manual_seed(0)
        self.line = nn.Linear(1, 2)
        self.last = {last}
        self.table = {table}

    def forward(self, pixels):
        {forward}

def make():
    from suites.harness import Normalised, Preprocessing, Provenance, Subject
    return Subject(name="own", classes=("a", "b"), network=Normalised(Own(), ({mean},) * 3, (1.0,) * 3),
                   preprocessing=Preprocessing(name="own", short_side=None, size=32),
                   provenance=Provenance(spec="own", format="user", source="own", sha256="a" * 64))
"""
USUAL = {
    "limit": "0.5", "squash": "torch.tanh(x)", "last": "lambda z: 2 * z",
    "table": "{'a': torch.ones(2), 'b': {3, 1, 2}}",
    "forward": "return self.last(squashed(self.line(pixels.mean((1, 2, 3))[:, None].clamp(max=LIMIT))))", "mean": "0.0",
}  # fmt: skip
PRINT = """
import importlib, sys
from suites.harness import load_subject
for folder in sys.argv[1:]:
    sys.modules.pop("own_net", None)
    importlib.invalidate_caches()
    sys.path.insert(0, folder)
    print(load_subject("own_net:make").fingerprint)
    sys.path.remove(folder)
"""


def fingerprints(folders: Sequence[Path], place: Path, seed: str) -> list[str]:
    """Return what a process of its own finds; `place` is empty, so that the folders alone hold the module."""
    environment = os.environ | {"PYTHONPATH": str(ROOT), "PYTHONHASHSEED": seed}
    command = [sys.executable, "-c", PRINT, *map(str, folders)]
    done = subprocess.run(command, cwd=place, env=environment, capture_output=True, text=True, check=False)
    assert done.returncode == 0, done.stderr
    return done.stdout.split()


def test_what_a_user_edits_counts_and_two_processes_agree(tmp_path):
    """A given SHA-256 of a file of weights does not hide an edit of the code around them."""
    edits = {
        "usual": {}, "limit": {"limit": "0.4"}, "squash": {"squash": "torch.sin(x)"}, "mean": {"mean": "0.1"},
        "last": {"last": "lambda z: 3 * z"}, "table": {"table": "{'a': torch.zeros(2), 'b': {3, 1, 2}}"},
        "forward": {"forward": USUAL["forward"].replace("mean", "amax")}, "again": {},
    }  # fmt: skip
    for name, changed in edits.items():
        (tmp_path / name).mkdir()
        (tmp_path / name / "own_net.py").write_text(OWN.format(**(USUAL | changed)))
    (tmp_path / "empty").mkdir()
    folders = [tmp_path / name for name in edits]
    usual, *others, again = fingerprints(folders, tmp_path / "empty", "1")
    assert again == usual, "the place does not count"
    assert len({usual, *others}) == 1 + len(others), dict(zip(edits, [usual, *others], strict=False))
    assert fingerprints(folders[:1], tmp_path / "empty", "2") == [usual], "nor does the order of hashes"


def test_functions_count_by_what_they_do():
    class Holder(nn.Module):
        def __init__(self, function) -> None:
            super().__init__()
            self.function = function

    def scaled(by: float):
        return lambda z: by * z

    functions = [scaled(2.0), scaled(3.0), torch.relu, nn.functional.gelu,
                 functools.partial(torch.clamp, min=0.0), functools.partial(torch.clamp, min=1.0)]  # fmt: skip
    assert len({network_identity(Holder(function)) for function in functions}) == len(functions)
    assert network_identity(Holder(scaled(2.0))) == network_identity(Holder(scaled(2.0)))


def test_a_network_that_holds_itself_ends():
    net = small()
    net.__dict__["me"] = [net]
    net.__dict__["loop"] = loop = []
    loop.append(loop)
    assert len(network_identity(net)) == 64


def test_the_libraries_are_told():
    assert libraries_of(timm.create_model("test_resnet")) == {
        "timm": timm.__version__, "torch": metadata.version("torch"),
    }  # fmt: skip
    assert len(load_subject("bundled:fragile").fingerprint) == 64
