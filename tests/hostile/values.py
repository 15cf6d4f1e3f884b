"""Which values does nobody expect in a file of settings? As they are written in JSON and in TOML."""

from __future__ import annotations

import json
import random
from typing import Any

UNREADABLE = object()
"""What a fragment means that has no value a program could use."""


def json_fragment(rng: random.Random) -> str:
    """Return a value as somebody might write it by mistake, or by malice."""
    return rng.choice(_ANYWHERE + _ONLY_JSON)(rng)


def toml_fragment(rng: random.Random) -> str:
    """Return a value in TOML."""
    return rng.choice(_ANYWHERE + _ONLY_TOML)(rng)


def meaning(fragment: str) -> Any:
    """Return the value of a JSON fragment, `UNREADABLE` where there is none that can be used."""
    try:
        value = json.loads(fragment)
        text = json.dumps(value)
        text.encode()
    except (ValueError, RecursionError):
        return UNREADABLE
    big = isinstance(value, int | float) and not abs(value) < 2**63  # NaN is not below anything
    return UNREADABLE if big or "\\ud" in text else value


def in_short(fragment: str) -> str:
    """Return a fragment as it is shown beside a finding."""
    return fragment if len(fragment) < 50 else f"{fragment[:30]}... ({len(fragment)} characters)"


def _text(rng: random.Random) -> str:
    return json.dumps(rng.choice(["", " ", "none", "3", "LABEL_0", "x" * 10**5, "a\tb", "é", "../..", "0.5", "%s{0}"]))


_ANYWHERE = [
    lambda rng: "9" * rng.choice([20, 400, 4299, 5000]),
    lambda rng: f"-{'9' * rng.choice([20, 5000])}",
    lambda _: str(2**53 + 1),
    lambda rng: str(rng.choice([0, 1, -1, 2, 7, 10**6, 2**31, 2**63])),
    lambda rng: rng.choice(["0.5", "-0.0", "1e300", "1e-320", "1.0"]),
    lambda rng: rng.choice(["true", "false"]),
    _text,
    _text,
    lambda rng: rng.choice(
        ["[]", "[1]", "[1, 2, 3]", "[0.1, 0.2, 0.3]", "[true, true, true, true]", '["a", "b", "c"]']
    ),
    lambda rng: "[" * (depth := rng.choice([3, 60, 900])) + "]" * depth,
    lambda rng: "[[1], [2], [3], [4]]",
    lambda rng: f"[{', '.join(['1'] * rng.choice([4, 1000, 20000]))}]",
]
_ONLY_JSON = [
    lambda rng: rng.choice(["NaN", "Infinity", "-Infinity", "1e400"]),
    lambda rng: rng.choice(["{}", '{"a": 1}', '{"0": {"0": 0}}', '{"height": true}', '{"shortest_edge": [1]}']),
    lambda rng: rng.choice(
        ['"\\ud800"', '"a\\udfffb"', '{"\\udc80": 1}', '"a\\nb\\u001b[31mc"', '"\\u0000"', '"\\u2028"']
    ),
    lambda rng: "[" * 100000 + "]" * 100000,
    lambda rng: '{"a":' * (depth := rng.choice([70, 2000])) + "1" + "}" * depth,
]
_ONLY_TOML = [
    lambda rng: rng.choice(["nan", "inf", "-inf", "1e400"]),
    lambda rng: rng.choice(["{}", "{ a = 1 }", "{ a = { b = [] } }"]),
    lambda rng: rng.choice(["1979-05-27", "07:32:00", "1979-05-27T07:32:00Z", "0xffffffffffffffffff"]),
    lambda rng: rng.choice(['"a\\nb\\u001b[31mc"', '"\\u0000"', '"""a\nb"""', '"\\u2028"']),
    lambda rng: "[" * 2000 + "]" * 2000,
]
