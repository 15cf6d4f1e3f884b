"""Weights as people save them are found; tensors that are no plain weights are named, whatever they are."""

from __future__ import annotations

import re
from pathlib import Path

import pytest
import timm
import torch
from hypothesis import given, settings
from hypothesis import strategies as st
from safetensors.torch import load_file, save_file
from torch import nn

from suites.harness.errors import SubjectProblem
from suites.harness.subjects.formats import load_subject
from suites.harness.subjects.formats.tensors import as_state, filled, of_network, outputs_of
from suites.harness.subjects.formats.weights import read_tensors

SMALL = "test_resnet"
PLAIN = torch.arange(6.0).view(3, 2)


def is_one_line(message: str) -> None:
    assert message.isprintable()
    assert len(message) < 300


def quantised() -> torch.Tensor:
    return torch.quantize_per_tensor(PLAIN, 0.1, 0, torch.qint8)


ODD = {
    "quantised": (quantised, "quantised"),
    "sparse": (PLAIN.to_sparse, "sparse_coo, not dense"),
    "compressed": (PLAIN.to_sparse_csr, "sparse_csr, not dense"),
    "of oneDNN": (PLAIN.to_mkldnn, "_mkldnn, not dense"),
    "without values": (lambda: PLAIN.to("meta"), "without values, on the device meta"),
    "complex": (lambda: torch.complex(PLAIN, PLAIN), "complex64"),
    "of 8-bit floats": (lambda: PLAIN.to(torch.float8_e4m3fn), "float8_e4m3fn"),
    "of 65 dimensions": (lambda: torch.ones([1] * 65), "65 dimensions"),
    "expanded": (lambda: torch.ones(1).expand(10**9, 2), "2000000000 values, fewer of which are stored"),
    "nested": (lambda: torch.nested.nested_tensor([PLAIN, PLAIN[:1]]), "nested, not dense"),
}
VALUES = {
    "beyond float32": PLAIN.double() * 1e300,
    "beyond half precision": (PLAIN * 1e6).half(),
    "not a number": PLAIN * float("nan"),
}
HARMLESS = {
    "double": PLAIN.double(),
    "half": PLAIN.half(),
    "brain float": PLAIN.bfloat16(),
    "a view": torch.stack([PLAIN, PLAIN], 2)[..., 0],
    "a parameter": nn.Parameter(PLAIN.clone()),
}


@pytest.mark.filterwarnings("ignore::UserWarning")  # torch's, that rare layouts may change
@pytest.mark.parametrize(("make", "fault"), ODD.values(), ids=ODD)
def test_what_is_no_plain_tensor_is_named(make, fault):
    with pytest.raises(SubjectProblem, match=rf"^file: 1 weights are no plain numbers: weight \({re.escape(fault)}"):
        as_state({"weight": make(), "bias": torch.ones(3)}, Path("file"))


@pytest.mark.parametrize("tensor", VALUES.values(), ids=VALUES)
def test_what_is_not_finite_as_it_is_used_is_named(tensor):
    state = as_state({"weight": tensor, "bias": torch.ones(3)}, Path("file"))
    with pytest.raises(SubjectProblem, match=r"1 of . tensors hold NaN or infinite values: weight; take"):
        filled(lambda: nn.Linear(2, 3), nn.Linear(2, 3), state, Path("file"))


@pytest.mark.parametrize("tensor", HARMLESS.values(), ids=HARMLESS)
def test_plain_tensors_of_any_precision_are_taken(tensor):
    state = as_state({"weight": tensor, "bias": torch.ones(3)}, Path("file"))
    network = filled(lambda: nn.Linear(2, 3), nn.Linear(2, 3), state, Path("file"))
    assert torch.equal(network.weight, PLAIN)


ANY_TENSOR = st.sampled_from(
    [*(make for make, _ in ODD.values()), *(lambda made=made: made for made in (VALUES | HARMLESS).values())]
) | st.lists(st.integers(0, 3), max_size=4).map(lambda shape: lambda: torch.ones(shape))
NAMES = st.sampled_from(["weight", "bias", "model.weight", "module.bias"]) | st.text(max_size=8)


@pytest.mark.filterwarnings("ignore::UserWarning")
@settings(max_examples=150)
@given(table=st.dictionaries(NAMES, ANY_TENSOR, max_size=4), whole=st.booleans())
def test_any_table_of_tensors_is_loaded_as_it_is_or_refused_in_one_line(table, whole):
    state = {name: make() for name, make in table.items()}
    if whole:
        state = {"weight": PLAIN, "bias": torch.ones(3)} | state
    try:
        plain, prefix = of_network(as_state(state, Path("file")), ("weight", "bias"))
        network = filled(lambda: nn.Linear(2, 3), nn.Linear(2, 3), plain, Path("file"))
    except SubjectProblem as problem:
        is_one_line(str(problem))
    else:
        for name, tensor in network.state_dict().items():
            assert torch.isfinite(tensor).all()
            assert torch.equal(tensor, state[f"{prefix}{name}"].to(torch.float32))


@pytest.fixture
def small(randomise) -> nn.Module:
    return randomise(timm.create_model(SMALL, num_classes=2))


def saved(state: dict[str, torch.Tensor]) -> dict[str, object]:
    """Return a state dictionary as training scripts save it, by how they do."""
    under = lambda prefix: {f"{prefix}{key}": tensor for key, tensor in state.items()}  # noqa: E731
    optimiser = {"state": {0: {"step": torch.tensor(1.0), "exp_avg": torch.ones(2)}}, "param_groups": [{"lr": 0.1}]}
    return {
        "PyTorch's tutorial": {
            "epoch": 3, "model_state_dict": state, "optimizer_state_dict": optimiser, "loss": torch.tensor(0.1)
        },
        "net": {"net": state, "acc": 91.5, "epoch": 3},
        "model": {"model": state, "optimizer": optimiser, "epoch": 3},
        "a key of one's own": {"classifier": state, "optimizer": optimiser, "epoch": 3},
        "nested": {"checkpoint": {"model": {"state_dict": state}}, "epoch": 3},
        "data parallel": {"state_dict": under("module.")},
        "compiled": {"model": under("_orig_mod.")},
        "compiled, data parallel": under("module._orig_mod."),
        "Lightning": {
            "state_dict": under("model.") | {"criterion.weight": torch.ones(2), "val_acc.tp": torch.ones(2)},
            "hyper_parameters": {"lr": 0.1},
        },
        "Lightning, compiled": {"state_dict": under("net._orig_mod.")},
        "averaged": under("module.") | {"n_averaged": torch.tensor(3)},
        "a wrapper in a wrapper": {"state_dict": under("model.backbone.")},
    }  # fmt: skip


def test_weights_as_people_save_them(small, tmp_path):
    path = tmp_path / "weights.pth"
    for how, content in saved(small.state_dict()).items():
        torch.save(content, path)
        subject = load_subject(f"timm:{SMALL}?checkpoint={path}&classes=well,sick&size=64")
        loaded = subject.network.backbone.state_dict()
        assert all(torch.equal(loaded[key], tensor) for key, tensor in small.state_dict().items()), how


def test_two_networks_in_one_file_are_not_chosen_between(small, tmp_path):
    path, state = tmp_path / "weights.pth", small.state_dict()
    torch.save({"generator": state, "critic": state, "epoch": 3}, path)
    with pytest.raises(SubjectProblem, match="several tables of weights, generator, critic; save the one"):
        read_tensors(path)
    torch.save({f"{who}.{key}": tensor for who in ("student", "teacher") for key, tensor in state.items()}, path)
    with pytest.raises(SubjectProblem, match=r"missing: .*unexpected: student"):
        load_subject(f"timm:{SMALL}?checkpoint={path}&classes=well,sick&size=64")


def test_a_checkpoint_that_holds_itself_has_an_end(tmp_path):
    content = {"epoch": 1}
    content["model"] = content
    torch.save(content, tmp_path / "weights.pth")
    with pytest.raises(SubjectProblem, match="no tensors: epoch, model"):
        read_tensors(tmp_path / "weights.pth")


@pytest.mark.parametrize(
    ("classes", "head", "message"),
    [
        ("sick", torch.ones(1, 64), "one logit decides between two classes, but only 'sick' is named; name both"),
        ("well,sick", torch.tensor(1.0), "the head is a single number"),
        ("well,sick", torch.ones(0), "wrong number of classes"),
    ],
)
def test_heads_that_cannot_be_right(small, tmp_path, classes, head, message):
    path = tmp_path / "weights.safetensors"
    save_file(small.state_dict() | {"fc.weight": head}, path)
    with pytest.raises(SubjectProblem, match=message):
        load_subject(f"timm:{SMALL}?checkpoint={path}&classes={classes}&size=64")


def test_one_logit_of_a_folder_speaks_for_the_second_of_two_classes(hub_folder, pixels):
    before = load_subject(str(hub_folder))
    weights, config = hub_folder / "model.safetensors", hub_folder / "config.json"
    state = load_file(weights)
    state |= {f"classifier.{kind}": state[f"classifier.{kind}"][:1].clone() for kind in ("weight", "bias")}
    save_file(state, weights)
    config.write_text(
        re.sub(r'"id2label": \{.*?\}', '"id2label": {"0": "well", "1": "sick"}', config.read_text(), flags=re.DOTALL)
        .replace('"label2id"', '"once_label2id"')
    )  # fmt: skip
    subject = load_subject(str(hub_folder))
    assert subject.classes == ("well", "sick")
    assert "one sigmoid logit, for sick" in subject.provenance.notes
    logits, expected = subject.answer(pixels)[0], before.answer(pixels)[0]
    torch.testing.assert_close(logits[:, 1], expected[:, 0])
    assert not logits[:, 0].any()


def test_outputs_follow_the_head_and_the_names_where_there_is_none():
    assert outputs_of(None, ("a", "b"), "file") == 2
    assert outputs_of(torch.ones(5, 2), ("a", "b"), "file") == 5
