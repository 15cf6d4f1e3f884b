"""What does a perturbation stand for? Its physics card, read from its docstring and its levels.

A docstring tells what happens in the room or the scanner and what the parameters mean, and in paragraphs of their own::

    Formula: t' = t - ln(dose), t the attenuation along the ray.
    Kept: anatomy, noise.
    Not modelled: that a larger exposure scatters more.
    Looks like: a light film of the nineties.
    Differs from: real ones, which have dust.

Numbers come from `levels`, which the code uses, with the words of `units`; what follows from them (a deviation index,
an alias period) from `reading`. What ours look like beside real films stands in a file of its own, with what was
measured (see `likeness`). A part that nobody wrote reads `NOT_TOLD`. Shared parts may stand in a base class that is no
perturbation itself.
"""

from __future__ import annotations

import inspect
import re
from collections.abc import Iterator, Mapping
from dataclasses import dataclass, field, fields
from typing import Any, ClassVar, Protocol

from robustness.likeness import likeness

NOT_TOLD = "not told"
SECTIONS = {
    "formula": "Formula",
    "kept": "Kept",
    "not_modelled": "Not modelled",
    "looks_like": "Looks like",
    "differs_from": "Differs from",
}
_PARAGRAPHS = re.compile(rf"\n\s*\n|\n(?=(?:{'|'.join(SECTIONS.values())}): )")


class Described(Protocol):
    """What a card is read from: the class of a perturbation."""

    name: ClassVar[str]
    version: ClassVar[int]
    levels: ClassVar[tuple[Mapping[str, Any], ...]]
    units: ClassVar[Mapping[str, str]]
    source: ClassVar[str]

    @classmethod
    def reading(cls, level: Mapping[str, Any]) -> str:
        """Return what follows from the parameters of a level, in the field's units."""


@dataclass(frozen=True, kw_only=True)
class Card:
    """One perturbation in words and units.

    Attributes:
        name: of the perturbation.
        happens: what happens in the room, the scanner or the pipeline.
        formula: of the model.
        parameters: what they mean, with units.
        severities: severity 1 to 5 -> its parameters with units, and what follows from them.
        source: where the model and its numbers come from.
        kept: what stays fixed.
        not_modelled: what the real thing does besides.
        looks_like: which real films it looks like, with what was measured of both.
        differs_from: by what it can be told from them, and where it lies beyond them.
    """

    name: str
    happens: str = NOT_TOLD
    formula: str = NOT_TOLD
    parameters: str = NOT_TOLD
    severities: Mapping[int, str] = field(default_factory=dict)
    source: str = NOT_TOLD
    kept: str = NOT_TOLD
    not_modelled: str = NOT_TOLD
    looks_like: str = NOT_TOLD
    differs_from: str = NOT_TOLD

    @property
    def missing(self) -> list[str]:
        """Parts nobody wrote, by attribute."""
        return [part.name for part in fields(self) if getattr(self, part.name) == NOT_TOLD]


def card_of(kind: type[Described]) -> Card:
    """Read the card of a perturbation's class; whatever its docstring looks like."""
    told: dict[str, str] = {}
    for text in _docstrings(kind):
        for part, words in _parts(text, kind.levels[0]).items():
            told.setdefault(part, words)
    for part, words in likeness(kind.name, kind.version).items():
        told.setdefault(part, words)
    return Card(
        name=kind.name,
        source=kind.source,
        severities={severity: _severity(kind, level) for severity, level in enumerate(kind.levels, 1)},
        **told,
    )


def _docstrings(kind: type[Described]) -> Iterator[str]:
    """Its docstring, then those of its bases up to the first that is a perturbation of its own or the contract."""
    for base in kind.__mro__:
        if base is not kind and ("name" in vars(base) or (inspect.isabstract(base) and base.__name__[0] != "_")):
            return
        yield inspect.cleandoc(vars(base).get("__doc__") or "")


def _parts(text: str, level: Mapping[str, Any]) -> dict[str, str]:
    """Parts of a card by attribute, from the paragraphs of one docstring."""
    found: dict[str, list[str]] = {}
    key = "|".join(re.escape(str(name)) for name in level)
    meaning = re.compile(rf"(?:^|(?<=\. ))(?=(?:{key})(?:(?:, | and )(?:{key}))*:)")
    for paragraph in _PARAGRAPHS.split(text):
        words = " ".join(paragraph.split())
        section = next((part for part, title in SECTIONS.items() if words.startswith(f"{title}: ")), None)
        if section:
            found.setdefault(section, []).append(words.partition(": ")[2])
            continue
        before, *after = meaning.split(words, maxsplit=1)
        found.setdefault("happens", []).append(before)
        found.setdefault("parameters", []).extend(after)
    joined = {part: " ".join(filter(None, map(str.strip, words))) for part, words in found.items()}
    return {part: words for part, words in joined.items() if words}


def _severity(kind: type[Described], level: Mapping[str, Any]) -> str:
    """Parameters of a level with their units, and what follows from them."""
    told = [_with_unit(str(key), value, kind.units.get(key)) for key, value in level.items()]
    parameters, reading = ", ".join(filter(None, told)), kind.reading(level)
    return f"{parameters} ({reading})" if reading else parameters


def _with_unit(key: str, value: object, unit: str | None) -> str:
    """`{}` in a unit stands for the number; an empty unit hides it, a bare one follows name and number."""
    if unit is None or (unit and "{}" not in unit):
        return f"{key.replace('_', ' ')} {_number(value)} {unit or ''}".strip()
    return unit.replace("{}", _number(value))


def _number(value: object) -> str:
    if isinstance(value, bool):
        return "yes" if value else "no"
    if isinstance(value, tuple | list):
        return " to ".join(map(_number, value))
    return f"{value:g}" if isinstance(value, float) else str(value)
