"""Which films was the subject never meant for? Probe cohorts, by role."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import replace
from pathlib import Path

from suites.harness.cohorts.cohort import Cohort
from suites.harness.cohorts.common_labels import with_truth
from suites.harness.cohorts.layouts import load_cohort
from suites.harness.cohorts.quoting import shown
from suites.harness.errors import CohortProblem

ROLES = {
    "lateral": "lateral films",
    "adult": "frontal films of adults",
    "unseen": "findings the subject has no class for",
}
FILMS = {
    "lateral": "lateral films",
    "adult": "frontal films of adults",
    "unseen": "films with a finding that has no class",
}
"""What a sentence calls the films of a role, beside "the usual films" of the cohort."""
UNANSWERED = {"unseen": "findings that the subject does not answer"}
"""What a role is called where the subject answers findings and has no classes."""
UNANSWERED_FILMS = {"unseen": "films with a finding that it does not answer"}
"""What a sentence calls the films of a role then."""
SIMULATED = {
    "lateral": "phantom:n=120,view=LATERAL",
    "adult": "phantom:n=120,age=adult",
    "unseen": "phantom:n=120,findings=unseen",
}
"""What stands in for the probes when the cohort itself is simulated; real films are never mixed with these."""
SIMULATED_FINDINGS = {
    "lateral": "phantom:n=120,view=LATERAL,findings=several",
    "adult": "phantom:n=120,age=adult,findings=several",
}
"""The same where its films tell of several findings; a phantom has no further ones that could be the unseen."""


def load_probes(cohort: Cohort, given: Mapping[str, str | Cohort], *, cache: Path | None = None) -> dict[str, Cohort]:
    """Return the probe cohorts of a run, each of another name than the cohort and the other probes.

    Unasked, a cohort of frontal films has the lateral ones of its source as a probe, a simulated one simulated probes.

    They may hold the same films: answers are told apart by the names of their cohorts.

    Args:
        cohort: the cohort under test.
        given: role -> spec or cohort, as the user named them.
        cache: its root (see `load_cohort`).

    Raises:
        CohortProblem: a spec names no cohort, or there is no such role.
    """
    if unknown := [role for role in given if role not in ROLES]:
        raise CohortProblem(f"no probe is called {shown(unknown[0], 40)!r}; known are {', '.join(ROLES)}")
    own = {} if cohort.laterals is None else {"lateral": cohort.laterals}
    simulated = (SIMULATED_FINDINGS if cohort.findings else SIMULATED) if cohort.simulated else {}
    specs: dict[str, str | Cohort] = {**simulated, **own, **given}
    taken, probes = {cohort.name}, {}
    for role in (role for role in ROLES if role in specs):
        probe = with_truth(load_cohort(specs[role], uncertain=cohort.uncertain, cache=cache))
        if probe.name in taken:
            probe = replace(probe, name=f"{probe.name} ({role} probe)")
        taken.add(probe.name)
        probes[role] = probe
    return probes


def asked_for(role: str, *, of_findings: bool) -> str:
    """Return what the films of a role are, for whoever is asked to give them."""
    return {**ROLES, **(UNANSWERED if of_findings else {})}.get(role, f"{role} films")


def films_of(role: str, *, of_findings: bool) -> str:
    """Return what a sentence calls the films of a role, beside "the usual films" of the cohort."""
    return {**FILMS, **(UNANSWERED_FILMS if of_findings else {})}.get(role, f"{role} films")


def shared_films(
    main: Mapping[str, str], probes: Mapping[str, Mapping[str, str]], seen_as: Mapping[str, str] = FILMS
) -> list[str]:
    """Return what a reader must know of films that lie in a probe and in the cohort, a sentence for each probe.

    Args:
        main: id of a film of the cohort -> what identifies its pixels.
        probes: role -> the same of that probe's films.
        seen_as: what a sentence calls the films of a role.
    """
    ids: dict[str, str] = {}
    for film, content in main.items() if probes else ():
        ids.setdefault(content, film)
    sentences = []
    for role, films in probes.items():
        shared = [(film, ids[content]) for film, content in films.items() if content in ids]
        if shared:
            film, same = shared[0]
            sentences.append(
                f"{len(shared)} of the {len(films)} {seen_as[role]} are films of the cohort itself, first {shown(film)}"
                + (f" ({shown(same)} there)" if same != film else "")
                + ": on these the two cannot differ."
            )
    return sentences
