"""How do nested records of a file (how weights were trained, a recipe) become lines a reader can read?"""

from __future__ import annotations

from collections.abc import Iterable, Mapping

from suites.harness.formatting.wording import plain_name

LONG = 40
"""Characters from which a text that stands twice is a repetition; two equal numbers are two facts."""


def lines(record: Mapping[str, object], told: Iterable[str] = ()) -> dict[str, str]:
    """Return a record as name -> text, without what is empty, and without what the page has said already.

    Args:
        record: JSON values.
        told: texts that stand elsewhere.
    """
    seen = set(told)
    found = {}
    for key, value in record.items():
        kept = {k: v for k, v in value.items() if str(v) not in seen} if isinstance(value, Mapping) else value
        text = as_text(kept)
        if text and text not in seen:
            found[plain_name(key)] = text
            seen |= {text} if len(text) >= LONG else set()
    return found


def as_text(value: object) -> str:
    """Return a JSON value in words; nothing for what is empty."""
    if value is None:
        return ""
    if isinstance(value, bool):
        return "yes" if value else "no"
    if isinstance(value, Mapping):
        parts = {plain_name(str(key)): (as_text(item), isinstance(item, Mapping)) for key, item in value.items()}
        return ", ".join(
            f"{key} ({text})" if nested else f"{key} {text}" for key, (text, nested) in parts.items() if text
        )
    if isinstance(value, list | tuple):
        between = "; " if any(isinstance(item, list | tuple | Mapping) for item in value) else ", "
        return between.join(filter(None, map(as_text, value)))
    return str(value)
