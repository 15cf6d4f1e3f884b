"""What if a tensor in a file of weights is none that a network can hold?"""

from __future__ import annotations

import json
import random
import struct
from collections.abc import Callable, Mapping
from pathlib import Path

import torch
from safetensors.torch import save_file
from torch import Tensor

from suites.harness import load_subject
from tests.hostile import material
from tests.hostile.case import Case, accepted, either, generator, refused

HEAD = "fc.weight"
STRANGE: Mapping[str, Callable[[Tensor], object]] = {
    "sparse": lambda tensor: tensor.to_sparse(),
    "csr": lambda tensor: tensor.flatten(1).to_sparse_csr(),
    "csc": lambda tensor: tensor.flatten(1).to_sparse_csc(),
    "quantised": lambda tensor: torch.quantize_per_tensor(tensor, 0.1, 0, torch.qint8),
    "quantised per channel": lambda tensor: torch.quantize_per_channel(
        tensor, torch.full((len(tensor),), 0.1), torch.zeros(len(tensor)), 0, torch.qint8
    ),
    "meta": lambda tensor: tensor.to("meta"),
    "complex": lambda tensor: tensor.to(torch.complex64),
    "64 dimensions": lambda tensor: tensor.flatten()[:1].reshape([1] * 64),
    "9 dimensions": lambda tensor: tensor.flatten()[:1].reshape([1] * 9),
    "scalar": lambda tensor: tensor.flatten()[0],
    "empty": lambda tensor: tensor[:0],
    "transposed": lambda tensor: tensor.transpose(0, 1).contiguous(),
    "infinite": lambda tensor: tensor * torch.inf,
    "NaN": lambda tensor: tensor.clone().index_fill_(0, torch.tensor([0]), torch.nan),
    "1e300": lambda tensor: torch.full(tensor.shape, 1e300, dtype=torch.float64),
    "half overflow": lambda tensor: (tensor * 1e6 + 1e6).half(),
    "bool": lambda tensor: tensor > 0,
    "nested": lambda tensor: torch.nested.nested_tensor([tensor[0], tensor[0]]),
    "a list": lambda tensor: tensor.flatten()[:9].tolist(),
    "text": lambda _: "weights",
    "a number": lambda _: 3,
    "nothing": lambda _: None,
    "a table": lambda tensor: {"weight": tensor},
    "bits": lambda tensor: torch.ones(tensor.shape, dtype=torch.uint8).view(torch.bits8),
    "a stack of zeros": lambda tensor: torch.zeros(1).expand(10**7, *tensor.shape),
}


@generator("tensors", share=150)
def in_a_checkpoint(rng: random.Random, place: Path) -> Case:
    state = dict(material.timm_state())
    floats = [key for key, tensor in state.items() if tensor.is_floating_point() and tensor.ndim > 1]
    kind, key = rng.choice(list(STRANGE)), rng.choice([HEAD, *floats])
    if kind == "transposed":  # a square one would fit
        key = HEAD
    state[key] = STRANGE[kind](state[key])
    file = place / "model.pth"
    wrapped = rng.choice([state, {"state_dict": state}, {"model": state, "epoch": 3}])
    torch.save(wrapped, file)
    return refused(lambda: load_subject(material.timm_spec(file)), what=f"{key}: {kind}", where="model.pth")


@generator("tensors", share=40)
def in_a_lightning_checkpoint(rng: random.Random, place: Path) -> Case:
    kind = rng.choice(list(STRANGE))
    state = {"model.fc.weight": STRANGE[kind](torch.rand(3, 2048)), "model.fc.bias": torch.zeros(3)}
    settings = {"model_name": rng.choice(["resnet50", "dinov2_linear_probe", "convnextv2_tiny"]), "num_classes": 3}
    torch.save({"state_dict": state, "hyper_parameters": settings}, place / "best.ckpt")
    # Whatever the tensor, nearly all weights are missing.
    return refused(lambda: load_subject(str(place / "best.ckpt")), what=f"head: {kind}", where="best.ckpt")


@generator("tensors", share=70)
def that_networks_hold(rng: random.Random, place: Path) -> Case:
    """What torch and safetensors legitimately store: other floats, other strides, views of a shared storage."""
    state, within, file = dict(material.timm_state()), 1e-5, place / "model.pth"
    form = rng.choice(["double", "half", "bfloat16", "channels last", "parameter", "gradients", "views", "safetensors"])
    if form in ("double", "half", "bfloat16"):
        kind = getattr(torch, form)
        state = {key: tensor.to(kind) if tensor.is_floating_point() else tensor for key, tensor in state.items()}
        within = {"double": 1e-5, "half": 0.05, "bfloat16": 0.5}[form]
    elif form == "channels last":
        state = {
            key: tensor.to(memory_format=torch.channels_last) if tensor.ndim == 4 else tensor
            for key, tensor in state.items()
        }
    elif form in ("parameter", "gradients"):
        grad = form == "gradients"
        state = {
            key: torch.nn.Parameter(tensor, requires_grad=grad) if tensor.is_floating_point() else tensor
            for key, tensor in state.items()
        }
    elif form == "views":
        key = rng.choice([key for key in state if state[key].ndim == 4])
        state[key] = torch.cat([state[key], state[key]])[: len(state[key])]
    if form == "safetensors":
        file = place / "model.safetensors"
        save_file(state, file)
    else:
        torch.save(rng.choice([state, {"state_dict": state}]), file)
    return accepted(
        lambda: load_subject(material.timm_spec(file)),
        lambda found: material.same_timm_subject(found, within),
        what=form,
    )


@generator("tensors", share=40)
def damaged_file(rng: random.Random, place: Path) -> Case:
    """A file that was cut, that grew, or in which a few bytes changed: refused, or read as if nothing were wrong."""
    file, damage = place / "model.pth", rng.choice(["cut", "grown", "flipped"])
    torch.save(dict(material.timm_state()), file)
    data = bytearray(file.read_bytes())
    if damage == "cut":
        data = data[: rng.randrange(len(data))]
    elif damage == "grown":
        data += rng.randbytes(rng.randrange(1, 5000))
    else:
        for _ in range(3):  # in the pickle and the directory, where structure lies
            data[rng.choice([rng.randrange(4000), len(data) - 1 - rng.randrange(4000)])] ^= 1 << rng.randrange(8)
    file.write_bytes(data)
    return either(
        lambda: load_subject(material.timm_spec(file)),
        lambda found: damage == "flipped" or material.same_timm_subject(found, 1e-5),
        what=damage, where="model.pth",
    )  # fmt: skip


@generator("tensors", share=60)
def safetensors_header(rng: random.Random, place: Path) -> Case:
    """A header whose lengths, offsets, shapes or kinds of number are lies."""
    data = material.safetensors()
    length = struct.unpack("<Q", data[:8])[0]
    header, body = json.loads(data[8 : 8 + length]), data[8 + length :]
    key = rng.choice([name for name in header if name != "__metadata__"])
    lie = rng.choice([
        {"dtype": rng.choice(["F128", "", None, 3, "C64", "I64", "F8_E4M3"])},
        {"shape": rng.choice([[2**62], [-1], [0], None, "8", [2**31, 2**31, 2**31], [1.5], [1] * 10000])},
        {"data_offsets": rng.choice([[0, 2**63], [5, 1], [-4, 0], [], None, "0", [2**64, 2**65], [0, 3]])},
    ])  # fmt: skip
    header[key] |= lie
    text = json.dumps(header).encode()
    text = rng.choice([text, text, text, b"[" * 50000, b'{"a":' * 50000, b"\xff" * 20, text[:-1], text * 2])
    size = rng.choice([len(text)] * 6 + [2**63, 2**40, 0, len(text) - 1])
    folder = Path(material.hub_folder(place))
    (folder / "model.safetensors").write_bytes(struct.pack("<Q", size) + text + body)
    return refused(
        lambda: load_subject(str(folder)), what=f"{key}: {str(lie)[:60]}, size {size}", where="model.safetensors"
    )
