"""Which subjects come with the project? `bundled:fragile`, `bundled:hardened`, `bundled:probe`, `bundled:findings`."""

from __future__ import annotations

from dataclasses import replace
from pathlib import Path

from suites.harness.errors import SubjectProblem
from suites.harness.subjects.formats.hub import from_folder
from suites.harness.subjects.formats.registry import register
from suites.harness.subjects.subject import Subject

FOLDER = Path(__file__).parents[1] / "bundled"
NAMES = ("fragile", "hardened", "probe", "findings")
"""What follows `bundled:` in a spec."""


@register(f"bundled:NAME ({', '.join(NAMES)})", matches=lambda spec: spec.startswith("bundled:"))
def load_bundled(spec: str) -> Subject:
    """Load a bundled subject, through the same code as the published weights.

    Raises:
        SubjectProblem: no subject of that name is bundled; the known names are listed.
    """
    name = spec.removeprefix("bundled:")
    if name not in NAMES:
        raise SubjectProblem(f"{spec!r}: no such bundled subject; known are {', '.join(f'bundled:{n}' for n in NAMES)}")
    subject = from_folder(FOLDER / name, spec, name=name, source=f"bundled:{name}", revision=None)
    read = (note for note in subject.provenance.notes if not note.startswith("preprocessing: hub"))
    notes = (*read, "trained on simulated films: a demonstration and self-test, nothing medical")
    return replace(
        subject,
        preprocessing=subject.preprocessings["repository"],  # all of them learned from films prepared so
        provenance=replace(subject.provenance, format="bundled", notes=notes),
    )
