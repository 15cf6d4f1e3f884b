"""Is JSON that people provide unambiguous? A key written twice is refused, where Python's reader keeps the last."""

from __future__ import annotations

import json
from collections import Counter
from typing import Any


def parse_json(text: str) -> Any:  # noqa: ANN401 - whatever the file holds
    """Return the document in a text.

    Raises:
        ValueError: it is not JSON, or an object in it has a key twice.
    """
    return json.loads(text, object_pairs_hook=_unique)


def _unique(pairs: list[tuple[str, Any]]) -> dict[str, Any]:
    if repeated := [key for key, count in Counter(key for key, _ in pairs).items() if count > 1]:
        raise ValueError(f"the key {repeated[0]!r} occurs more than once in one object; keep one of them")
    return dict(pairs)
