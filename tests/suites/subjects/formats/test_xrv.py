"""Weights of torchxrayvision: read without running them, as torchxrayvision itself would answer."""

from __future__ import annotations

import sys
import types

import numpy as np
import pytest
import torch
from torch import nn
from torchvision.models import densenet

from suites.harness.errors import SubjectProblem
from suites.harness.subjects.formats import load_subject, xrv
from suites.harness.subjects.formats.xrv import PATHOLOGIES, PUBLISHED

NIH = PUBLISHED["densenet121-res224-nih"]


@pytest.fixture(scope="module")
def network():
    torch.manual_seed(0)
    return xrv._densenet121(18).eval()


@pytest.fixture(scope="module")
def weights(network, tmp_path_factory):
    path = tmp_path_factory.mktemp("xrv") / "mine.pt"
    torch.save(network.state_dict(), path)
    return path


def refused(spec: str) -> str:
    with pytest.raises(SubjectProblem) as caught:
        load_subject(spec)
    assert "\n" not in str(caught.value)
    assert len(str(caught.value)) < 300
    return str(caught.value)


def test_untrained_outputs_are_no_findings(weights, network, tmp_path, monkeypatch):
    """By its name in torchxrayvision's own cache, weights are those that it publishes."""
    monkeypatch.setattr(xrv, "CACHE", tmp_path)
    assert "downloads it" in refused("xrv:densenet121-res224-nih")
    (tmp_path / NIH.file).write_bytes(weights.read_bytes())
    subject = xrv.load_xrv("xrv:densenet121-res224-nih")
    assert subject.name == "densenet121-res224-nih"
    assert subject.classes == PATHOLOGIES[:14]
    assert subject.thresholds == NIH.thresholds[:14]
    assert subject.heads == "sigmoid"
    films = torch.rand(2, 300, 260, generator=torch.Generator().manual_seed(1))
    pixels = subject.pixels(films)
    assert pixels.shape == (2, 1, 224, 224)
    torch.testing.assert_close(subject.answer(pixels)[0], network(2048 * pixels - 1024)[:, :14], rtol=1e-4, atol=1e-4)
    assert any("4 of its 18 outputs have no finding" in note for note in subject.provenance.notes)


def test_weights_of_ones_own_say_which_outputs_were_trained(weights):
    assert "nothing says which of its outputs were trained" in refused(f"xrv:{weights}")
    names = ",".join(["Effusion", "", *(f"f{index}" for index in range(16))])
    subject = xrv.load_xrv(f"xrv:{weights}?classes={names}")
    assert subject.classes[:2] == ("Effusion", "f0")
    assert subject.thresholds is None
    assert "2 thresholds for 18 outputs" in refused(f"xrv:{weights}?classes={names}&thresholds=0.1,0.2")
    assert "weights is none of densenet121-res224-all" in refused(f"xrv:{weights}?weights=none")
    assert "no option 'heads'" in refused(f"xrv:{weights}?heads=sigmoid")
    assert "of another shape" in refused(f"xrv:{weights}?classes=a,b")


class Evil:
    def __reduce__(self):
        return (print, ("code of a pickle ran",))


@pytest.mark.filterwarnings("ignore:Couldn't retrieve source code")
def test_a_pickled_network_is_read_without_running_it(network, tmp_path, monkeypatch, capsys):
    """torchxrayvision publishes whole networks: classes of its own become empty shells, and code of others refuses."""
    module = types.ModuleType("torchxrayvision.models")
    for name in ("DenseNet", "_DenseBlock", "_DenseLayer", "_Transition"):
        made = type(name, (getattr(densenet, name),), {"__module__": module.__name__})
        setattr(module, name, made)
    monkeypatch.setitem(sys.modules, "torchxrayvision", types.ModuleType("torchxrayvision"))
    monkeypatch.setitem(sys.modules, module.__name__, module)
    torch.manual_seed(0)
    whole = xrv._densenet121(18).eval()
    for one in whole.modules():
        if type(one).__module__ == densenet.__name__:
            one.__class__ = getattr(module, type(one).__name__)
    path = tmp_path / NIH.file
    expected = network.state_dict()
    for zipped in (True, False):  # torch's own form of file since 1.6, and that of the published files
        torch.save(whole, path, _use_new_zipfile_serialization=zipped)
        found = xrv._state(path)
        assert found.keys() == expected.keys()
        assert all(torch.equal(found[key], expected[key]) for key in found)
    whole.extra = Evil()
    torch.save(whole, path)
    assert "print), not weights alone; nothing was run" in refused(f"xrv:{path}")
    assert "code of a pickle ran" not in capsys.readouterr().out


def test_the_network_answers_as_torchxrayvision_does():
    theirs = pytest.importorskip("torchxrayvision")
    torch.manual_seed(3)
    for name, make in (("densenet121", theirs.models.DenseNet),):
        reference = make(num_classes=18).eval()
        ours: nn.Module = xrv._NETWORKS[name](18).eval()
        ours.load_state_dict({key: one for key, one in reference.state_dict().items() if key != "op_threshs"})
        films = np.random.default_rng(0).integers(0, 256, (3, 256, 224, 1)).astype(np.float32)
        pixels = torch.stack([torch.from_numpy(theirs.datasets.normalize(film, 255)) for film in films])
        pixels = pixels.permute(0, 3, 1, 2)
        torch.testing.assert_close(ours(pixels), reference(pixels), rtol=1e-5, atol=1e-5)
    published = {name: one for name, one in theirs.models.model_urls.items() if name in PUBLISHED}
    assert published.keys() == PUBLISHED.keys()
    for name, one in published.items():
        assert one["weights_url"].endswith(f"/{PUBLISHED[name].file}")
        assert [float(value) for value in one["op_threshs"]] == pytest.approx(PUBLISHED[name].thresholds, nan_ok=True)
        named = tuple("" if label in PUBLISHED[name].untrained else label for label in PATHOLOGIES)
        if PUBLISHED[name].architecture == "densenet121":
            assert tuple(one["labels"]) == named
