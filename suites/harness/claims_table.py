"""Which claims are judged? Those of one TOML table: `suites/claims.toml`, or `--claims FILE`."""

from __future__ import annotations

from collections.abc import Mapping
from functools import cache
from pathlib import Path
from typing import Any

from suites.harness.claims import Claim
from suites.harness.errors import UsageProblem, reason
from suites.harness.foreign_file import read_text
from suites.harness.strict_json import check, parse_toml

DEFAULT_TABLE = Path(__file__).parent.parent / "claims.toml"


def load_claims(path: Path | None = None) -> list[Claim]:
    """Read the claims table.

    Args:
        path: a TOML file of `[[claim]]` entries; the project's own table by default. A file that starts with
            `extends = true` overrides entries of the project's table by id and adds others.

    Raises:
        UsageProblem: the file cannot be read, an entry is incomplete, or an id repeats.
    """
    source = path or DEFAULT_TABLE
    try:
        text = read_text(source)
    except (OSError, ValueError) as problem:
        raise UsageProblem(f"cannot read the claims table {source}: {reason(problem)}") from problem
    try:
        document = parse_toml(text)
    except ValueError as problem:
        raise UsageProblem(f"the claims table {source} is not valid TOML: {problem}") from problem
    entries = document.get("claim", [])
    if not isinstance(entries, list) or not entries:
        raise UsageProblem(f"the claims table {source} holds no [[claim]]")
    claims = [_claim(entry, source) for entry in entries]
    ids = [name for claim in claims for name in (claim.id, *filter(None, [claim.finding.get("id")]))]
    repeated = {name for name in ids if ids.count(name) > 1}
    if repeated:
        raise UsageProblem(f"the claims table {source} holds {', '.join(sorted(repeated))} more than once")
    if path is not None and document.get("extends"):
        own = {claim.id: claim for claim in claims}
        base = load_claims()
        if renamed := [name for name in own if name in table_ids()]:
            raise UsageProblem(
                f"{path}: claim {renamed[0]} is what {table_ids()[renamed[0]]} is called where findings are asked; "
                "override it under that id, with a table `finding`"
            )
        kept = [own.pop(claim.id, claim) for claim in base]
        claims = kept + list(own.values())
    return claims


@cache
def table_ids() -> Mapping[str, str]:
    """Return what a claim of the project's table is called where findings are asked -> its id in the table.

    Whoever reads an id takes either: earlier reports of findings, and runs beside subjects of classes, have the second.
    """
    return {str(claim.finding["id"]): claim.id for claim in load_claims() if "id" in claim.finding}


_LINE = {"type": "string", "maxLength": 1000, "pattern": r"^[^\x00-\x1f\x7f-\x9f\u2028\u2029]*$"}
_NUMBER = {"type": "number", "description": "a number"}
_ID = _LINE | {"maxLength": 120, "pattern": r"^[^\s.]+\.\S+$", "description": "text, dotted: `<suite>.<name>`"}
SCHEMA: Mapping[str, Any] = {
    "type": "object",
    "description": "a table",
    "required": ["id", "section", "statement", "kind", "endpoint", "margin"],
    "properties": {
        "id": _ID,
        "section": _LINE | {"minLength": 1, "description": "text on one line"},
        "statement": _LINE | {"minLength": 1, "description": "text on one line"},
        "kind": {"type": "string", "description": "text"},
        "endpoint": {"type": "string", "description": "text"},
        "margin": _NUMBER,
        "direction": {"type": "string", "description": "text"},
        "documented": _NUMBER,
        "remedy": _LINE | {"description": "text on one line"},
        "two_classes": {
            "type": "object",
            "description": "a table",
            "required": ["statement"],
            "properties": {"statement": _LINE | {"minLength": 1, "description": "text on one line"}},
        },
        "finding": {
            "type": "object",
            "description": "a table",
            "minProperties": 1,
            "properties": dict.fromkeys(
                ("statement", "not_evaluable", "short", "section", "remedy"),
                _LINE | {"minLength": 1, "description": "text on one line"},
            )
            | {"id": _ID},
        },
        "per": {"type": "string", "description": "text"},
    },
}
"""What an entry of the table holds; whatever else it names is a parameter of its endpoint, which types it."""


def _claim(entry: Any, source: Path) -> Claim:  # noqa: ANN401 - whatever the file holds
    """Return the claim of one TOML table; what is not a field of `Claim` is a parameter of its endpoint."""
    name = entry.get("id", "without id") if isinstance(entry, dict) else "without id"
    try:
        check(entry, SCHEMA)
    except ValueError as problem:
        raise UsageProblem(f"{source}: claim {name}: {problem}") from problem
    given = {key: value for key, value in entry.items() if key in SCHEMA["properties"]}
    try:
        return Claim(**given, parameters={key: value for key, value in entry.items() if key not in given})
    except UsageProblem as problem:
        raise UsageProblem(f"{source}: {problem}") from problem
