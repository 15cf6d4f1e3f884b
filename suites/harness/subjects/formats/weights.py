"""How are weights read without running what a file says? Hashes, safetensors, torch files, JSON."""

from __future__ import annotations

import hashlib
import json
import pickle
import re
import warnings
from collections.abc import Callable, Mapping
from pathlib import Path
from typing import Any

import torch
from safetensors.torch import load_file

from suites.harness.errors import SubjectProblem, one_line
from suites.harness.foreign_file import read_text
from suites.harness.strict_json import check, parse_json
from suites.harness.subjects.formats.file_kind import refuse_other_archives, refuse_other_kinds
from suites.harness.subjects.formats.file_limits import (
    bounded_memory,
    refuse_long_header,
    refuse_zip_bomb,
    size_of_weights,
)
from suites.harness.subjects.formats.schemas import Schema
from suites.harness.subjects.formats.tensors import State, as_state, is_state, unwrapped
from suites.harness.subjects.formats.wording import first_few, in_one_line

TABLES = (
    "state_dict_ema",
    "model_ema",
    "state_dict",
    "model_state_dict",
    "model",
    "net",
    "network",
    "weights",
    "checkpoint",
)
"""Keys under which training scripts save weights. As in timm, averaged ones come first."""
_DEEPEST = 4


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


def read_json(path: Path, schema: Schema | None = None) -> dict[str, Any]:
    """Read a JSON object, and hold it against a schema.

    Raises:
        SubjectProblem: the file is missing, is no file of settings, is not JSON, holds something other than an object,
            or does not follow the schema; the message names the place.
    """
    try:
        content = parse_json(read_text(path))
    except FileNotFoundError as error:
        raise SubjectProblem(f"{path}: no such file") from error
    except OSError as error:
        raise SubjectProblem(f"{path}: cannot be read ({error.strerror})") from error
    except json.JSONDecodeError as error:
        raise SubjectProblem(f"{path}: is not valid JSON ({error})") from error
    except ValueError as error:
        raise SubjectProblem(f"{path}: {error}") from error
    if not isinstance(content, dict):
        raise SubjectProblem(f"{path}: should hold a JSON object, but holds a {type(content).__name__}")
    if schema is not None:
        checked(content, schema, path)
    return content


def checked(document: object, schema: Schema, source: object) -> None:
    """Hold settings against a schema.

    Raises:
        SubjectProblem: they do not follow it; says where, and what is expected there.
    """
    try:
        check(document, schema)
    except ValueError as problem:
        raise SubjectProblem(f"{source}: {problem}") from problem


def read_safetensors(path: Path) -> State:
    """Read a safetensors file.

    Raises:
        SubjectProblem: the file is missing, truncated, in another format, or holds what are no plain weights.
    """
    size = size_of_weights(path)
    refuse_other_kinds(path, expected="safetensors")
    try:
        refuse_long_header(path)
        with bounded_memory(size):
            content = load_file(path)
    except SubjectProblem:
        raise
    except Exception as error:  # a foreign reader of anybody's bytes
        raise SubjectProblem(
            f"{path}: truncated, or not a safetensors file ({in_one_line(error)}); fetch it again"
        ) from error
    return as_state(content, path)


def plain(path: Path) -> Any:  # noqa: ANN401 - a checkpoint holds whatever its trainer put there
    """Read a torch file of tensors, numbers, text and containers; whatever torch raises comes out."""
    return torch.load(path, map_location="cpu", weights_only=True)


def read_torch(path: Path, load: Callable[[Path], Any] = plain) -> Any:  # noqa: ANN401 - as above
    """Read a torch file with `weights_only=True`: tensors, numbers, text and containers, never code.

    Args:
        path: the file.
        load: reads it in place of that, and runs nothing of it either (see `shells`).

    Raises:
        SubjectProblem: the file is missing, truncated, in another format, or names code to be run.
    """
    size = size_of_weights(path)
    refuse_other_kinds(path, expected="torch")
    try:
        refuse_zip_bomb(path, size)
        refuse_other_archives(path)
        with warnings.catch_warnings(), bounded_memory(size):
            warnings.simplefilter("ignore")  # of old pickles and rare layouts: it loads, or it is refused below
            return load(path)
    except SubjectProblem:
        raise
    except MemoryError as error:
        raise SubjectProblem(
            f"{path}: refused, because reading it takes far more memory than the file is long; nothing was run. Save "
            "the weights again with torch.save, or as a safetensors file"
        ) from error
    except Exception as error:  # a broken pickle can raise anything
        refused = re.search(r"GLOBAL (\S+) was not an allowed|unsupported GLOBAL (\S+)", str(error))
        if refused:
            raise SubjectProblem(_holds_objects(path, refused[1] or refused[2])) from error
        # An UnpicklingError begins with torch's advice to switch the protection off, which nobody should read here.
        found = re.search(r"WeightsUnpickler error: (.+)", str(error))
        reason = "a pickle of objects" if isinstance(error, pickle.UnpicklingError) else in_one_line(error, 80)
        raise SubjectProblem(
            f"{path}: truncated, or not a torch file of plain tensors, numbers and text; nothing in it was run "
            f"({found[1] if found else reason})"
        ) from error


def _holds_objects(path: Path, kind: str) -> str:
    """Return what to do with a file that holds objects of code, not numbers alone."""
    if kind.lower().startswith("omegaconf"):
        advice = "save its settings as plain values, through OmegaConf.to_container"
    else:
        advice = "save the weights alone, torch.save(model.state_dict(), PATH), or a safetensors file"
    what = f"it holds Python objects ({one_line(kind, 80)}), not weights alone"
    return f"{path}: refused, because {what}; nothing was run; {advice}"


def read_tensors(path: Path) -> tuple[State, str]:
    """Read a flat table of tensors from a safetensors or torch file.

    Returns:
        The tensors, and under which key of the file they were found (`model.state_dict` where one holds another; empty
        when the file holds nothing else). Of the usual keys (`TABLES`) the first is taken; of others, the only one that
        holds a table of tensors.

    Raises:
        SubjectProblem: the file cannot be read or holds no table of tensors.
    """
    return tensors_in(read_content(path), path)


def read_content(path: Path) -> Any:  # noqa: ANN401 - a checkpoint holds whatever its trainer put there
    """Read all that a safetensors or torch file holds."""
    return read_safetensors(path) if path.suffix == ".safetensors" else read_torch(path)


def tensors_in(content: Any, path: Path) -> tuple[State, str]:  # noqa: ANN401 - as above
    """Return the tensors in what was read from a file, as `read_tensors` does."""
    found = list[str]()
    while isinstance(content, Mapping) and not is_state(content) and len(found) < _DEEPEST:
        key = _table(content, path)
        if key is None:
            break
        content = content[key]
        found.append(key)
    return unwrapped(as_state(content, path)), ".".join(found)


def _table(content: Mapping[object, object], path: Path) -> str | None:
    """Return the key that holds the weights, if one does.

    Raises:
        SubjectProblem: several keys do, and none has a usual name.
    """
    for key in TABLES:
        inner = content.get(key)
        if isinstance(inner, Mapping) and inner:
            return key
    tables = [key for key, inner in content.items() if isinstance(key, str) and is_state(inner)]
    if len(tables) > 1:
        raise SubjectProblem(
            f"{path}: holds several tables of weights, {first_few(tables)}; save the one that is meant as `state_dict`"
        )
    return tables[0] if tables else None
