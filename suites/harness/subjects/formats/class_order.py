"""Which classes does a checkpoint say its logits are, and do those that the user names agree?

Names in another order than the weights were trained in give every verdict the wrong class, and nothing fails.
"""

from __future__ import annotations

import re
from collections.abc import Mapping
from pathlib import Path

from suites.harness.errors import SubjectProblem, one_line
from suites.harness.subjects.formats.tensors import is_state

KEYS = ("classes", "class_names", "class_to_idx", "idx_to_class", "id2label", "label2id")
"""Where training scripts keep the names: lists in the order of the logits, or tables from or to their numbers."""


def stated(content: object) -> dict[str, tuple[str, ...]]:
    """Return what a checkpoint says of its classes.

    Args:
        content: of the file; its own keys are looked at, and those of the settings in it (`hyper_parameters`).

    Returns:
        Class names in the order of the logits, by the key that states them (`hyper_parameters.classes`).
    """
    if not isinstance(content, Mapping) or is_state(content):
        return {}
    inner = {key: table for key, table in content.items() if isinstance(key, str) and isinstance(table, Mapping)}
    tables = {"": content} | {f"{key}.": table for key, table in inner.items() if key not in KEYS}
    found: dict[str, tuple[str, ...]] = {}
    for place, table in tables.items():
        for key in KEYS:
            names = _in_order(table.get(key))
            if len(names) > 1:
                found[one_line(f"{place}{key}", 60)] = names
    return found


def compared(orders: Mapping[str, tuple[str, ...]], classes: tuple[str, ...], path: Path) -> list[str]:
    """Hold class names against what the file states, whatever the case and the spaces of their letters.

    Args:
        orders: from `stated`.
        classes: the names in use, in the order of the logits.
        path: the file, for messages.

    Returns:
        A note for each statement of other names.

    Raises:
        SubjectProblem: a name that both have belongs to another logit there.
    """
    notes: list[str] = []
    used = [_plain(name) for name in classes]
    for key, names in orders.items():
        theirs = [_plain(name) for name in names]
        if theirs == used:
            continue
        shown, wanted = (one_line(", ".join(some), 70) for some in (names, classes))
        moved = any(name in used and used.index(name) != index for index, name in enumerate(theirs))
        if moved and len(theirs) == len(used):
            raise SubjectProblem(
                f"{path}: its `{key}` orders the classes {shown}, but they are named as {wanted}; name them in the "
                f"order of the logits, or mend `{key}`"
            )
        notes.append(f"class names {wanted} are taken, where the file's `{key}` says {shown}")
    return notes


def _in_order(value: object) -> tuple[str, ...]:
    """Return the names in a list, or in a table from or to numbers that begin at 0; none in anything else."""
    if isinstance(value, (list, tuple)):
        return tuple(value) if all(isinstance(name, str) for name in value) else ()
    if not isinstance(value, Mapping):
        return ()
    pairs = [_numbered(key, item) for key, item in value.items()]
    order = dict(pair for pair in pairs if pair is not None)
    return tuple(order[index] for index in range(len(pairs))) if set(order) == set(range(len(pairs))) else ()


def _numbered(key: object, item: object) -> tuple[int, str] | None:
    for number, name in ((item, key), (key, item)):
        if isinstance(name, str) and (type(number) is int or (isinstance(number, str) and _NUMBER.match(number))):
            return int(number), name
    return None


_NUMBER = re.compile(r"^[0-9]{1,5}$")


def _plain(name: str) -> str:
    return re.sub(r"[\s_-]+", " ", name.strip().casefold())
