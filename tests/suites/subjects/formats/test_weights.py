"""Files of weights are read without running them, and what does not fit is named."""

from __future__ import annotations

import os
import pickle
from pathlib import Path

import pytest
import torch
from safetensors.torch import save_file
from torch import nn

from suites.harness.errors import SubjectProblem
from suites.harness.subjects.formats import load_subject
from suites.harness.subjects.formats.tensors import filled
from suites.harness.subjects.formats.weights import (
    read_json,
    read_safetensors,
    read_tensors,
    read_torch,
    sha256_of_file,
)


class Trap:
    """A pickle that creates a file when it is read."""

    def __init__(self, mark: Path) -> None:
        self.mark = mark

    def __reduce__(self):
        return os.system, (f"touch {self.mark}",)


def test_the_trap_works_when_nothing_guards_against_it(tmp_path):
    pickle.loads(pickle.dumps(Trap(tmp_path / "mark")))
    assert (tmp_path / "mark").exists()


@pytest.mark.parametrize("protocol", [2, 4])
@pytest.mark.parametrize("how", ["in hyper-parameters", "as weights", "as a bare pickle"])
def test_a_pickle_that_would_run_code_is_refused_and_not_run(tmp_path, how, protocol):
    path, mark = tmp_path / "best.ckpt", tmp_path / "mark"
    if how == "as a bare pickle":
        path.write_bytes(pickle.dumps(Trap(mark), protocol=protocol))
    else:
        hyper = {"model_name": "resnet50", "num_classes": 3}
        content = {"state_dict": {}, "hyper_parameters": hyper | {"optimizer": Trap(mark)}}
        content = content if how == "in hyper-parameters" else {"state_dict": {"model.fc.weight": Trap(mark)}}
        torch.save(content, path, pickle_protocol=protocol)
    for spec in (str(path), f"timm:resnet50?checkpoint={path}&classes=a,b,c"):
        with pytest.raises(SubjectProblem, match=r"nothing .*was run") as caught:
            load_subject(spec)
        assert "\n" not in str(caught.value)
        assert "weights_only" not in str(caught.value), "nobody should be told how to switch the protection off"
    assert not mark.exists()


def test_a_refused_pickle_names_what_it_would_have_called(tmp_path):
    torch.save({"config": Path("somewhere")}, tmp_path / "best.ckpt")
    with pytest.raises(SubjectProblem, match=r"holds Python objects \(pathlib\."):
        read_torch(tmp_path / "best.ckpt")


@pytest.mark.parametrize("keep", [0, 5, 0.5, 0.99])
@pytest.mark.parametrize("read", [read_torch, read_safetensors])
def test_truncated_files_are_named(tmp_path, read, keep):
    path = tmp_path / "weights"
    tensors = {"weight": torch.rand(1000)}
    torch.save(tensors, path) if read is read_torch else save_file(tensors, path)
    content = path.read_bytes()
    assert torch.equal(read(path)["weight"], tensors["weight"])
    path.write_bytes(content[: int(keep if keep >= 1 else keep * len(content))])
    with pytest.raises(SubjectProblem, match="truncated") as caught:
        read(path)
    assert str(path) in str(caught.value)
    assert "\n" not in str(caught.value)


@pytest.mark.parametrize("read", [read_torch, read_safetensors, read_tensors, read_json, sha256_of_file])
def test_missing_files_are_named(tmp_path, read):
    with pytest.raises(SubjectProblem, match=r"nowhere.*no such file"):
        read(tmp_path / "nowhere")


@pytest.mark.parametrize("content", ["", "{", "[1, 2]", "nonsense", '{"a": 1}}', b"\xff\xfe\x00"])
def test_bad_json_is_named(tmp_path, content):
    path = tmp_path / "config.json"
    path.write_bytes(content if isinstance(content, bytes) else content.encode())
    with pytest.raises(SubjectProblem, match=r"config\.json: .*(JSON|UTF-8)"):
        read_json(path)


def test_the_file_hash_is_that_of_its_bytes(tmp_path):
    (tmp_path / "abc").write_bytes(b"abc")
    assert sha256_of_file(tmp_path / "abc") == "ba7816bf8f01cfea414140de5dae2223b00361a396177a9cb410ff61f20015ad"


@pytest.mark.parametrize(
    ("change", "message"),
    [
        (lambda state: state.pop("weight"), "1 missing: weight"),
        (lambda state: state.update({f"extra{i}": torch.ones(1) for i in range(5)}), "5 unexpected: extra0, extra1,"),
        (lambda state: state.update(weight=torch.ones(2, 3)), r"weight is \(2, 3\) and should be \(3, 2\)"),
        (lambda state: state.update(weight=torch.ones(3, 2, dtype=torch.int64)), "not floating-point: weight"),
        (lambda state: state["bias"].fill_(float("nan")), "NaN or infinite values: bias"),
    ],
)
def test_weights_that_do_not_fit_are_named_and_none_is_copied(change, message):
    network = nn.Linear(2, 3)
    before = {key: tensor.clone() for key, tensor in network.state_dict().items()}
    state = {key: torch.ones_like(tensor) for key, tensor in before.items()}
    loaded = filled(lambda: nn.Linear(2, 3), network, state, Path("good"))
    assert all(bool((tensor == 1).all()) for tensor in loaded.state_dict().values())
    change(state)
    with pytest.raises(SubjectProblem, match=message):
        filled(lambda: network, network, state, Path("file"))
    assert all(torch.equal(tensor, before[key]) for key, tensor in network.state_dict().items())


def test_tables_of_tensors_are_found_in_the_usual_places(tmp_path):
    path, tensor = tmp_path / "weights.pt", torch.ones(2)
    for content, where in (
        ({"w": tensor}, ""),
        ({"state_dict": {"w": tensor}, "epoch": 3}, "state_dict"),
        ({"state_dict": {"w": 0 * tensor}, "state_dict_ema": {"w": tensor}}, "state_dict_ema"),
    ):
        torch.save(content, path)
        state, found = read_tensors(path)
        assert found == where
        assert torch.equal(state["w"], tensor)
    torch.save({"epoch": 3, "w": tensor}, path)
    with pytest.raises(SubjectProblem, match="no tensors: epoch"):
        read_tensors(path)
    torch.save([tensor], path)
    with pytest.raises(SubjectProblem, match="holds no weights, but a list"):
        read_tensors(path)
