"""What do weights say of themselves that a model card repeats? Their licence, what they were made from, who reads them.

Only what stands in the card or in config.json beside the weights: a licence that somebody guessed is worse than none.
"""

from __future__ import annotations

import re
from collections.abc import Mapping
from pathlib import Path
from typing import Any

from suites.harness.foreign_file import MIB, read_text

CARD = "README.md"
"""The name of a model card on the Hub."""
_METADATA = re.compile(r"\A\s*---[ \t]*\n(.*?)^---[ \t]*$", re.DOTALL | re.MULTILINE)
_KEYS = ("license", "license_name", "license_link", "library_name", "base_model")
_VALUE = r"[\"']?([\w.:/@+ -]{1,200}?)[\"']?"
_COMMENT = r"[ \t]*(?:#.*)?$"
_REPOSITORY = re.compile(r"[\w.-]{1,96}/[\w.-]{1,96}")
_OF_A_RUN = re.compile(r"checkpoint|output|result|logs?\b|runs?\b|tmp|\.\.?/", re.IGNORECASE)


def recorded(folder: Path, config: Mapping[str, Any], repository: str = "") -> dict[str, str | list[str]]:
    """Return metadata of the Hub (`license`, `library_name`, `base_model`, ...) that stands beside weights.

    Args:
        folder: where the weights lie.
        config: their config.json. `_name_or_path` in it is the repository they were trained from, where it looks like
            one: not their own, and no folder of a training run.
        repository: the weights' own, if they come from the Hub.
    """
    found = _of_card(folder / CARD)
    if "transformers_version" in config:
        found.setdefault("library_name", "transformers")
    base = config.get("_name_or_path")
    if isinstance(base, str) and _REPOSITORY.fullmatch(base) and base != repository and not _OF_A_RUN.search(base):
        found.setdefault("base_model", base)
    return found


def _of_card(file: Path) -> dict[str, str | list[str]]:
    """Return the plain values at the top level of a card's YAML; a card that cannot be read tells nothing."""
    try:
        metadata = _METADATA.match(read_text(file, MIB))
    except (OSError, ValueError):
        metadata = None
    text = metadata[1] if metadata else ""
    found: dict[str, str | list[str]] = {}
    for key in _KEYS:
        if scalar := re.search(rf"^{key}:[ \t]*{_VALUE}{_COMMENT}", text, re.MULTILINE):
            found[key] = scalar[1]
        elif listed := re.search(rf"^{key}:{_COMMENT}\n((?:[ \t]*- .*\n)+)", text, re.MULTILINE):
            items = re.findall(rf"^[ \t]*- {_VALUE}{_COMMENT}", listed[1], re.MULTILINE)
            found |= {key: items} if items else {}
    return found
