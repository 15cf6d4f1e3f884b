"""Sizes are asked for before they are believed: of files, of what unfolds from them, of networks, of names."""

from __future__ import annotations

import json
import os
import pickle
import resource
import struct
import zipfile
from functools import partial
from pathlib import Path

import pytest
import timm
import torch
from hypothesis import given, settings
from hypothesis import strategies as st
from torch import nn

from suites.harness.errors import SubjectProblem, one_line
from suites.harness.subjects.formats import load_subject
from suites.harness.subjects.formats.file_limits import bounded_memory
from suites.harness.subjects.formats.network_size import GIB, allowed, memory, planned, without_values, working_bytes
from suites.harness.subjects.formats.weights import read_safetensors, read_torch


def is_one_line(message: str) -> None:
    assert message.isprintable()
    assert len(message) < 300


def refusal(spec: str) -> str:
    with pytest.raises(SubjectProblem) as caught:
        load_subject(spec)
    is_one_line(str(caught.value))
    return str(caught.value)


@pytest.mark.parametrize("device", ["/dev/zero", "/dev/stdin", "a pipe"])
def test_only_regular_files_are_read(tmp_path, device):
    if device == "a pipe":
        os.mkfifo(tmp_path / "pipe")
        device = str(tmp_path / "pipe")
    for name in ("best.ckpt", "weights.safetensors"):
        (tmp_path / name).symlink_to(device)
    assert "is no regular file" in refusal(str(tmp_path / "best.ckpt"))
    for name in ("best.ckpt", "weights.safetensors"):
        assert "is no regular file" in refusal(f"timm:resnet18?checkpoint={tmp_path / name}&classes=a,b")


def test_a_folder_of_devices_is_no_subject(hub_folder):
    for name in ("preprocessor_config.json", "model.safetensors"):
        (hub_folder / name).unlink()
        (hub_folder / name).symlink_to("/dev/zero")
        refusal(str(hub_folder))


def test_a_file_larger_than_any_checkpoint_is_not_read(tmp_path):
    path = tmp_path / "weights.safetensors"
    with path.open("wb") as file:
        file.truncate(2**40)  # a hole, which takes no room
    for spec in (
        f"timm:resnet18?checkpoint={path}&classes=a,b",
        f"timm:resnet18?checkpoint={path}&classes=a,b&memory=1",
    ):
        assert "holds 1 TiB, more than the " in refusal(spec)
    with memory("1", "spec"), pytest.raises(SubjectProblem, match="more than the 8 GiB"):
        read_safetensors(path)


def test_a_torch_file_that_unfolds_is_not_unfolded(tmp_path):
    path, plain = tmp_path / "best.ckpt", tmp_path / "plain.ckpt"
    torch.save({"w": torch.zeros(2**24)}, plain)
    with zipfile.ZipFile(plain) as archive, zipfile.ZipFile(path, "w", zipfile.ZIP_DEFLATED) as folded:
        for name in archive.namelist():
            folded.writestr(name, archive.read(name))
    assert torch.equal(read_torch(plain)["w"], torch.zeros(2**24))
    assert "unfold to 64 MiB; torch compresses nothing" in refusal(str(path))


class Large:
    """A pickle that asks for 20 GB before it holds a byte."""

    def __reduce__(self):
        return bytearray, (20 * 10**9,)


@pytest.mark.skipif(not Path("/proc/self/statm").exists(), reason="memory is bounded on Linux only")
def test_a_pickle_that_asks_for_more_memory_than_its_file_is_long_is_refused(tmp_path):
    path = tmp_path / "best.ckpt"
    torch.save({"state_dict": Large()}, path)
    assert "takes far more memory than the file is long; nothing was run" in refusal(str(path))
    path.write_bytes(pickle.dumps({"state_dict": Large()}, protocol=2))
    refusal(str(path))


@pytest.mark.skipif(not Path("/proc/self/statm").exists(), reason="memory is bounded on Linux only")
def test_the_bound_is_lifted_again():
    before = resource.getrlimit(resource.RLIMIT_AS)
    with pytest.raises(MemoryError), bounded_memory(0):
        bytearray(20 * 10**9)
    assert resource.getrlimit(resource.RLIMIT_AS) == before


@pytest.mark.parametrize("header", [2**63, 200 * 2**20, 99 * 2**20, 30])
def test_a_header_that_is_longer_than_any_is_not_believed(tmp_path, header):
    path = tmp_path / "weights.safetensors"
    path.write_bytes(struct.pack("<Q", header) + b"{" * 20)
    with pytest.raises(SubjectProblem, match="truncated, or not a safetensors file"):
        read_safetensors(path)


@pytest.mark.parametrize(
    "changes",
    [
        {"hidden_sizes": [16384] * 4},
        {"depths": [64] * 4, "hidden_sizes": [2048] * 4},
        {"id2label": {str(index): f"c{index}" for index in range(60_000)}, "label2id": None,
         "hidden_sizes": [8, 16, 24, 16384]},
    ],
)  # fmt: skip
def test_a_config_that_builds_a_huge_network_is_refused_before_it_is_built(hub_folder, changes, monkeypatch):
    built = []
    monkeypatch.setattr(nn.Module, "load_state_dict", lambda *_, **__: built.append(1))
    config = hub_folder / "config.json"
    config.write_text(json.dumps(json.loads(config.read_text()) | changes))
    message = refusal(str(hub_folder))
    assert "its network would take" in message
    assert "more than the 2 GiB allowed; where that is meant, add memory=" in message
    assert not built
    if "depths" not in changes:
        assert "are not those of this network" in refusal(f"{hub_folder}?memory=4000")
        assert not built


def test_a_side_that_makes_a_small_network_work_for_gigabytes_is_refused(hub_folder):
    config = hub_folder / "preprocessor_config.json"
    config.write_text(json.dumps(json.loads(config.read_text()) | {"size": {"shortest_edge": 4096}}))
    assert "of memory for two films of 4096 pixels" in refusal(f"{hub_folder}?memory=0.5")


@pytest.mark.parametrize("name", ["test_resnet", "test_vit", "test_convnext"])
def test_a_network_without_values_has_the_weights_of_the_real_one(name):
    make = partial(timm.create_model, name, num_classes=3)
    plan, network = without_values(make), make()
    assert all(tensor.is_meta for tensor in plan.state_dict().values())
    shapes = {key: tensor.shape for key, tensor in network.state_dict().items()}
    assert {key: tensor.shape for key, tensor in plan.state_dict().items()} == shapes


def test_work_is_counted_by_the_largest_layer():
    network = without_values(lambda: nn.Sequential(nn.Conv2d(3, 8, 1), nn.Conv2d(8, 2, 1)))
    assert working_bytes(network, (2, 3, 10, 10)) == 2 * 4 * 2 * 100 * (3 + 8)
    assert working_bytes(network, (2, 5, 10, 10)) == 0, "what fails is told by the rehearsal"


def test_what_is_allowed_is_said_by_the_spec_and_for_it_alone():
    make = partial(nn.Linear, 2**15, 2**15)
    with pytest.raises(SubjectProblem, match=r"would take 4 GiB of memory .* add memory=5"):
        planned(make, side=8, channels=1, source="file")
    with memory("4.5", "spec"):
        assert planned(make, side=8, channels=1, source="file").weight.is_meta
    assert allowed() == 2 * GIB


@pytest.mark.parametrize("amount", ["", "none", "nan", "-1", "0", "inf", "9" * 5000])
def test_memory_that_is_no_amount(amount):
    assert "memory" in refusal(f"bundled:fragile?memory={amount}")


ENDS = st.text(max_size=40) | st.sampled_from(["~nobody-is-called-so/x", "~", "a\0b", "\udcff.ckpt", "x\n\x1b[31m"])
STARTS = [
    "",
    "timm:",
    "timm:resnet18?checkpoint=",
    "timm:resnet18?classes=a,b&checkpoint=",
    "bundled:",
    "~",
    "/",
    "hf:",
]


@settings(max_examples=100)
@given(
    start=st.sampled_from(STARTS),
    end=ENDS,
    times=st.sampled_from([1, 1, 1, 20_000]),
    tail=st.sampled_from(["", ".ckpt"]),
)
def test_any_spec_is_a_subject_or_one_line(start, end, times, tail):
    if start == "hf:" and "/" in end:  # would ask the Hub
        return
    try:
        load_subject(start + end * times + tail)
    except SubjectProblem as problem:
        is_one_line(str(problem))


@given(st.text(max_size=1000) | st.text(st.characters(categories=["Cc", "Cs", "Zl"])))
def test_any_text_fits_one_line_and_a_short_one_is_kept(text):
    shown = one_line(text)
    assert shown.isprintable()
    assert len(shown) < 300
    if text.isprintable() and len(text) < 300:
        assert shown == text
    assert one_line("where: " + "x" * 10**6 + "; what to do").startswith("where: xxx")
    assert one_line("where: " + "x" * 10**6 + "; what to do").endswith("xxx; what to do")
