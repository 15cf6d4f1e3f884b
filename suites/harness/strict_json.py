"""Is what people write as JSON or TOML unambiguous, and may its values be used? Typed by a schema, named where not.

A key written twice is refused, where Python's reader keeps the last. So is what breaks code far from here: integers
that no float holds, text that no file can (half of a surrogate pair), documents nested without end. What is left is
held against a JSON Schema; the message names the first place that is not as it should be.
"""

from __future__ import annotations

import json
import math
import re
import tomllib
from collections import Counter
from collections.abc import Mapping
from typing import Any

import jsonschema

_DEEPEST = 64
_MOST_DIGITS = 1000
_LARGEST = 2**63 - 1
_SHOWN = 60

# JSON Schema takes 2.0 for an integer, which range() and a layer's width do not; and NaN is within any bounds.
_TYPES = jsonschema.Draft202012Validator.TYPE_CHECKER.redefine_many({
    "integer": lambda _, value: isinstance(value, int) and not isinstance(value, bool),
    "number": lambda _, value: isinstance(value, int | float) and not isinstance(value, bool) and value == value,  # noqa: PLR0124
})  # fmt: skip
_Validator = jsonschema.validators.extend(  # type: ignore[no-untyped-call]
    jsonschema.Draft202012Validator, type_checker=_TYPES
)


def parse_json(text: str) -> Any:  # noqa: ANN401 - whatever the file holds
    """Return the document in a text.

    Raises:
        ValueError: it is not JSON, an object in it has a key twice, or a value in it can be used nowhere.
    """
    try:
        document = json.loads(text, object_pairs_hook=_unique, parse_int=_integer)
    except RecursionError as problem:
        raise ValueError(f"it holds lists or objects nested more than {_DEEPEST} deep") from problem
    check_values(document)
    return document


def parse_toml(text: str) -> dict[str, Any]:
    """Return the document in a text.

    Raises:
        ValueError: it is not TOML (`tomllib.TOMLDecodeError`), or a value in it can be used nowhere.
    """
    try:
        document = tomllib.loads(text)
    except tomllib.TOMLDecodeError:
        raise
    except ValueError as problem:  # of int(), which gives up beyond 4300 digits
        raise ValueError("it holds an integer of thousands of digits; the largest is 2**63 - 1") from problem
    except RecursionError as problem:
        raise ValueError(f"it holds lists or objects nested more than {_DEEPEST} deep") from problem
    check_values(document)
    return document


def check_values(document: object, path: str = "", depth: int = 0) -> None:
    """Refuse values that no reader can use.

    Raises:
        ValueError: an integer beyond 64 bits, a number written too large for a float, text with half of a surrogate
            pair, or nesting beyond 64; names the place.
    """
    if depth > _DEEPEST:
        key = re.split(r"[.\[]", path, maxsplit=1)[0]
        raise ValueError(f"{_short(key) or 'it'} holds lists or objects nested more than {_DEEPEST} deep")
    if isinstance(document, dict):
        for key, value in document.items():
            check_values(str(key), path or "a key", depth + 1)
            check_values(value, f"{path}.{key}" if path else str(key), depth + 1)
    elif isinstance(document, list):
        for index, value in enumerate(document):
            check_values(value, f"{path}[{index}]", depth + 1)
    elif isinstance(document, int) and abs(document) > _LARGEST:
        raise ValueError(f"{_short(path)} is an integer of {_digits(document)} digits; the largest is 2**63 - 1")
    elif isinstance(document, float) and math.isinf(document):
        raise ValueError(f"{_short(path)} is infinite, or too large for a number")
    elif isinstance(document, str) and not is_writable(document):
        raise ValueError(f"{_short(path)} holds half of a surrogate pair, which is no text")


def check(document: object, schema: Mapping[str, Any]) -> None:
    """Hold a document against a JSON Schema, in which an `integer` is one of Python's, not 2.0, and a `number` no NaN.

    Raises:
        ValueError: it does not follow it; says where and what is expected there, on one line.
    """
    errors = list(_Validator(dict(schema)).iter_errors(document))
    if not errors:
        return
    # What stands there and is wrong comes before what is missing: it often is the same thing by another name.
    error = jsonschema.exceptions.best_match([one for one in errors if one.validator != "required"] or errors)
    place = "".join(f"[{part}]" if isinstance(part, int) else f".{part}" for part in error.absolute_path).lstrip(".")
    if error.validator == "required":
        missing = next(key for key in error.validator_value if key not in error.instance)
        raise ValueError(f"{_short(place) + ' has' if place else 'it has'} no `{missing}`")
    where = f"`{_short(place)}`" if place else "the document"
    expected = error.schema.get("description") or _in_words(error.validator, error.validator_value)
    raise ValueError(f"{where} is {_shown(error.instance)}, expected {expected}")


_TYPES = {
    "object": "an object", "array": "a list", "string": "a text", "number": "a number", "integer": "a whole number",
    "boolean": "true or false", "null": "null",
}  # fmt: skip
_BOUNDS = {
    "minimum": "at least", "exclusiveMinimum": "more than", "maximum": "at most", "exclusiveMaximum": "less than",
    "minItems": "a list of at least", "minLength": "a text of a length of at least", "const": "only",
}  # fmt: skip


def _in_words(rule: str, value: Any) -> str:  # noqa: ANN401 - whatever a schema holds
    """Return what a rule of JSON Schema expects, as a person says it."""
    if rule == "type":
        return " or ".join(_TYPES.get(one, one) for one in ([value] if isinstance(value, str) else value))
    if rule == "enum":
        return f"one of {_shown(value).strip('[]')}"
    if rule == "additionalProperties":
        return "no further keys"
    return f"{_BOUNDS.get(rule, rule)} {_shown(value)}"


def _shown(value: object) -> str:
    """Return a value as the reader wrote it, on one line, cut."""
    try:
        text = json.dumps(value, default=str)
    except (ValueError, RecursionError):
        text = type(value).__name__
    return text if len(text) <= _SHOWN else f"{text[:_SHOWN]}…"


def _short(path: str) -> str:
    text = path.encode("ascii", "backslashreplace").decode()
    return text if len(text) <= _SHOWN else f"…{text[-_SHOWN:]}"


def is_writable(text: str) -> bool:
    """Return whether a text can be written down as UTF-8: names of files may hold bytes that are none."""
    try:
        text.encode()
    except UnicodeEncodeError:
        return False
    return True


def _integer(text: str) -> int:
    # int() gives up beyond 4300 digits; what is far too large is refused where its place is known.
    return int(text[:_MOST_DIGITS])


def _digits(number: int) -> str:
    digits = len(str(abs(number)))
    return f"{digits}" if digits < _MOST_DIGITS - 1 else "a great many"


def _unique(pairs: list[tuple[str, Any]]) -> dict[str, Any]:
    if repeated := [key for key, count in Counter(key for key, _ in pairs).items() if count > 1]:
        raise ValueError(f"the key {repeated[0]!r} occurs more than once in one object; keep one of them")
    return dict(pairs)
