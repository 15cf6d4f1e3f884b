"""How are weights read without running what a file says? Hashes, safetensors, torch files, JSON, strict loading."""

from __future__ import annotations

import hashlib
import pickle
import re
import warnings
from collections.abc import Mapping
from pathlib import Path
from typing import Any

import torch
from safetensors import SafetensorError
from safetensors.torch import load_file
from torch import Tensor, nn

from suites.harness.errors import SubjectProblem
from suites.harness.strict_json import parse_json
from suites.harness.subjects.formats.wording import first_few, in_one_line

State = dict[str, Tensor]


def sha256_of_file(path: Path) -> str:
    """Return the SHA-256 of a file's bytes.

    Raises:
        SubjectProblem: the file does not exist or cannot be read.
    """
    try:
        with path.open("rb") as file:
            return hashlib.file_digest(file, "sha256").hexdigest()
    except FileNotFoundError as error:
        raise SubjectProblem(f"{path}: no such file") from error
    except OSError as error:
        raise SubjectProblem(f"{path}: cannot be read ({error.strerror})") from error


def read_json(path: Path) -> dict[str, Any]:
    """Read a JSON object.

    Raises:
        SubjectProblem: the file is missing, is not JSON, or holds something other than an object.
    """
    try:
        content = parse_json(path.read_text(encoding="utf-8"))
    except FileNotFoundError as error:
        raise SubjectProblem(f"{path}: no such file") from error
    except OSError as error:
        raise SubjectProblem(f"{path}: cannot be read ({error.strerror})") from error
    except (ValueError, RecursionError) as error:
        raise SubjectProblem(f"{path}: is not valid JSON ({in_one_line(error)})") from error
    if not isinstance(content, dict):
        raise SubjectProblem(f"{path}: should hold a JSON object, but holds a {type(content).__name__}")
    return content


def read_safetensors(path: Path) -> State:
    """Read a safetensors file.

    Raises:
        SubjectProblem: the file is missing, truncated, or in another format.
    """
    if not path.is_file():
        raise SubjectProblem(f"{path}: no such file")
    try:
        return dict(load_file(path))
    except (SafetensorError, OSError, ValueError, RuntimeError) as error:
        raise SubjectProblem(
            f"{path}: truncated, or not a safetensors file ({in_one_line(error)}); fetch it again"
        ) from error


def read_torch(path: Path) -> Any:  # noqa: ANN401 - a checkpoint holds whatever its trainer put there
    """Read a torch file with `weights_only=True`: tensors, numbers, text and containers, never code.

    Raises:
        SubjectProblem: the file is missing, truncated, in another format, or names code to be run.
    """
    if not path.is_file():
        raise SubjectProblem(f"{path}: no such file")
    try:
        with warnings.catch_warnings():
            warnings.filterwarnings("ignore", message="Detected pickle protocol")  # it loads, or it is refused below
            return torch.load(path, map_location="cpu", weights_only=True)
    except Exception as error:  # a broken pickle can raise anything
        refused = re.search(r"GLOBAL (\S+) was not an allowed|unsupported GLOBAL (\S+)", str(error))
        if refused:
            raise SubjectProblem(
                f"{path}: refused, because reading it would call {refused[1] or refused[2]}; nothing was run. Save "
                "tensors, numbers and text only (Hydra's settings through OmegaConf.to_container) or a safetensors file"
            ) from error
        # An UnpicklingError begins with torch's advice to switch the protection off, which nobody should read here.
        found = re.search(r"WeightsUnpickler error: (.+)", str(error))
        reason = "a pickle of objects" if isinstance(error, pickle.UnpicklingError) else in_one_line(error, 80)
        raise SubjectProblem(
            f"{path}: truncated, or not a torch file of plain tensors, numbers and text; nothing in it was run "
            f"({found[1] if found else reason})"
        ) from error


def read_tensors(path: Path) -> tuple[State, str]:
    """Read a flat table of tensors from a safetensors or torch file.

    Returns:
        The tensors, and under which key of the file they were found (empty when it holds nothing else). As in timm,
        averaged weights come first (`state_dict_ema`, `model_ema`, `state_dict`, `model`).

    Raises:
        SubjectProblem: the file cannot be read or holds no table of tensors.
    """
    if path.suffix == ".safetensors":
        return read_safetensors(path), ""
    content, found = read_torch(path), ""
    for key in ("state_dict_ema", "model_ema", "state_dict", "model"):
        if isinstance(content, Mapping) and isinstance(content.get(key), Mapping):
            content, found = content[key], key
            break
    return as_state(content, path), found


def as_state(content: object, path: Path) -> State:
    """Check that what a file holds is a non-empty table of tensors, and return it.

    Raises:
        SubjectProblem: it is something else.
    """
    if not isinstance(content, Mapping) or not content:
        raise SubjectProblem(f"{path}: holds no weights, but a {type(content).__name__}")
    strange = [str(key) for key, value in content.items() if not isinstance(key, str) or not isinstance(value, Tensor)]
    if strange:
        raise SubjectProblem(f"{path}: holds entries that are no tensors: {first_few(strange)}")
    return dict(content)


def load_into(network: nn.Module, state: State, source: Path) -> None:
    """Copy weights into a network, in float32, and accept no difference in names, shapes or kinds of number.

    Raises:
        SubjectProblem: keys are missing or unexpected, shapes differ, or values are not finite; each is named.
    """
    expected = network.state_dict()
    missing = [key for key in expected if key not in state]
    unexpected = [key for key in state if key not in expected]
    shared = [key for key in expected if key in state]
    shapes = [
        f"{key} is {tuple(state[key].shape)} and should be {tuple(expected[key].shape)}"
        for key in shared
        if state[key].shape != expected[key].shape
    ]
    kinds = [key for key in shared if state[key].is_floating_point() != expected[key].is_floating_point()]
    infinite = [key for key in shared if not bool(torch.isfinite(state[key]).all())]
    faults = {
        "missing": missing,
        "unexpected": unexpected,
        "of another shape": shapes,
        "not floating-point": kinds,
        "with NaN or infinite values": infinite,
    }
    lines = [f"{len(keys)} {fault}: {first_few(keys)}" for fault, keys in faults.items() if keys]
    if lines:
        raise SubjectProblem(f"{source}: the weights do not fit the network. Keys {'; '.join(lines)}")
    network.load_state_dict({key: state[key].to(tensor.dtype) for key, tensor in expected.items()})
