"""What is a file that was given for weights and holds none? Its first bytes tell, and so what to do about it."""

from __future__ import annotations

import zipfile
from pathlib import Path
from typing import Literal

from suites.harness.errors import SubjectProblem
from suites.harness.foreign_file import MOST_SETTINGS

_AGAIN = "it is what a server sent in place of the weights; fetch them again, signed in where that is needed"
_UNPACK = "unpack it, and name the file of weights in it"

_BEGINNINGS: tuple[tuple[bytes, str, str], ...] = (
    (b"version https://git-lfs", "a pointer of Git LFS", "run `git lfs pull` in its repository"),
    (b"\x1f\x8b", "compressed by gzip", _UNPACK),
    (b"BZh", "compressed by bzip2", _UNPACK),
    (b"\xfd7zXZ\x00", "compressed by xz", _UNPACK),
    (b"7z\xbc\xaf\x27\x1c", "a 7z archive", _UNPACK),
    (b"\x28\xb5\x2f\xfd", "compressed by zstd", _UNPACK),
    (b"\x89HDF\r\n", "an HDF5 file, as Keras saves", "convert its weights to torch, and save their state_dict"),
    (b"\x93NUMPY", "an array of NumPy", "save the network's state_dict with torch.save"),
)
_PAGES = (b"<!doctype", b"<html", b"<head", b"<?xml")
_TORCH = (b"PK\x03\x04", b"\x80\x02")
"""How torch's files begin: zip archives, and before version 1.6 pickles."""


def refuse_other_kinds(path: Path, *, expected: Literal["torch", "safetensors"]) -> None:
    """Refuse a file that begins as no file of weights does, or as the other kind of them.

    Args:
        path: a regular file.
        expected: the kind that is about to be read.

    Raises:
        SubjectProblem: says what it is and what to do.
    """
    try:
        with path.open("rb") as file:
            head = file.read(512)
    except OSError as error:
        raise SubjectProblem(f"{path}: cannot be read ({error.strerror})") from error
    kind, advice = _kind(head, expected)
    if kind:
        raise SubjectProblem(f"{path}: is {kind}, not a {expected} file; {advice}")


def refuse_other_archives(path: Path) -> None:
    """Refuse a zip archive that `torch.save` did not write: a compiled network, or files of another kind.

    Raises:
        SubjectProblem: says what it is and what to do.
        zipfile.BadZipFile: its table of contents is damaged.
    """
    if not zipfile.is_zipfile(path):
        return
    with zipfile.ZipFile(path) as archive:
        ends = {name.rpartition("/")[2] for name in archive.namelist()}
    if "constants.pkl" in ends:
        kind, advice = "a TorchScript archive, a compiled network", "save network.state_dict() with torch.save"
    elif "data.pkl" not in ends:
        kind, advice = (
            "a zip archive without torch's weights",
            "save network.state_dict() with torch.save, or unpack it",
        )
    else:
        return
    raise SubjectProblem(f"{path}: is {kind}; {advice}")


def _kind(head: bytes, expected: str) -> tuple[str, str]:
    """Return what begins like that and what to do about it; nothing of what may be read."""
    for beginning, kind, advice in _BEGINNINGS:
        if head.startswith(beginning):
            return kind, advice
    if head.lstrip(b"\xef\xbb\xbf \t\r\n").lower().startswith(_PAGES):
        return "a web page", _AGAIN
    length = int.from_bytes(head[:8], "little")
    if head[8:9] == b"{" and 2 <= length <= MOST_SETTINGS:
        return ("", "") if expected == "safetensors" else ("a safetensors file", "rename it to end in .safetensors")
    if head.lstrip()[:1] == b"{" and head.isascii():
        return "JSON text", _AGAIN
    if len(head) > 3 and head[0] == 0x08 and 0 < head[1] < 32 and head[2] in {0x12, 0x1A, 0x22, 0x2A, 0x32, 0x3A, 0x42}:
        return "an ONNX graph", "save the state_dict of the network it was exported from, with torch.save"
    if expected == "safetensors" and head.startswith(_TORCH):
        return "a torch file", "save its weights with safetensors.torch.save_file, or rename it to .pt for timm:"
    return "", ""
