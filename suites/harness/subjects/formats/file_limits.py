"""May a file of weights be read? A regular one, no larger than its kind is, and no bomb that unfolds in memory."""

from __future__ import annotations

import zipfile
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path

from suites.harness.errors import SubjectProblem
from suites.harness.foreign_file import MIB, MOST_SETTINGS, size_text
from suites.harness.subjects.formats.network_size import allowed
from suites.harness.subjects.formats.paths import exists, is_file

_COPIES = 8
"""How often a checkpoint may hold its network: in training with Adam and averages about four times."""
_SLACK = 1024 * MIB
_PAGES = Path("/proc/self/statm")
"""Pages of address space that this process has; Linux tells it, other systems bound none."""


def size_of_weights(path: Path) -> int:
    """Return the bytes of a file of weights, before any of them is read.

    Raises:
        SubjectProblem: it is missing, is no regular file (a device has no end), or is larger than a checkpoint of the
            largest network allowed.
    """
    if not is_file(path):
        reason = "is no regular file; name a file of weights" if exists(path) else "no such file"
        raise SubjectProblem(f"{path}: {reason}")
    size, most = path.stat().st_size, _COPIES * allowed()
    if size > most:
        raise SubjectProblem(
            f"{path}: holds {size_text(size)}, more than the {size_text(most)} that are read of a checkpoint; save the "
            "weights alone, or add memory=GiB to the spec"
        )
    return size


def refuse_zip_bomb(path: Path, size: int) -> None:
    """Refuse a torch file (a zip archive) whose parts unfold to much more than the file: torch compresses none.

    Raises:
        SubjectProblem: it would unfold.
        zipfile.BadZipFile: its table of contents is damaged.
    """
    if not zipfile.is_zipfile(path):  # the format of torch before 1.6
        return
    with zipfile.ZipFile(path) as archive:
        unfolded = sum(part.file_size for part in archive.infolist())
    if unfolded > 2 * size + 16 * MIB:
        raise SubjectProblem(
            f"{path}: its {size_text(size)} unfold to {size_text(unfolded)}; torch compresses nothing, so save it "
            "again with torch.save"
        )


def refuse_long_header(path: Path) -> None:
    """Refuse a safetensors file that begins with more names and shapes than any network has.

    Raises:
        SubjectProblem: its header is longer than a file of settings may be.
    """
    with path.open("rb") as file:
        header = int.from_bytes(file.read(8), "little")
    if header > MOST_SETTINGS:
        raise SubjectProblem(
            f"{path}: truncated, or not a safetensors file: its header would be {size_text(header)} long, a real one "
            "has some kilobytes; fetch it again"
        )


@contextmanager
def bounded_memory(size: int) -> Iterator[None]:
    """Let what is read of a file of `size` bytes take twice its size and 1 GiB beyond, where the system can bound it.

    A pickle may ask for any number of bytes before one of them is there (`bytearray(10**11)`); beyond the bound that
    is a MemoryError, and not the end of the process.
    """
    if not _PAGES.exists():
        yield
        return
    import resource  # noqa: PLC0415 - there is none on Windows

    before, most = resource.getrlimit(resource.RLIMIT_AS)
    now = int(_PAGES.read_text(encoding="ascii").split()[0]) * resource.getpagesize()
    bound = now + 2 * size + _SLACK
    if before != resource.RLIM_INFINITY:
        bound = min(bound, before)
    resource.setrlimit(resource.RLIMIT_AS, (bound, most))
    try:
        yield
    finally:
        resource.setrlimit(resource.RLIMIT_AS, (before, most))
