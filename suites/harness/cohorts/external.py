"""Which films of other hospitals is a subject held against, and are they others? Loaded, named, checked for overlap."""

from __future__ import annotations

import hashlib
import re
from collections import Counter
from collections.abc import Iterable, Mapping, Sequence
from dataclasses import replace
from pathlib import Path

from suites.harness.cohorts.cohort import Cohort
from suites.harness.cohorts.common_labels import with_truth
from suites.harness.cohorts.kept_by_stamp import KeptByStamp
from suites.harness.cohorts.layouts import load_cohort
from suites.harness.cohorts.quoting import shown
from suites.harness.errors import CohortProblem

ROLE = "external"
"""Role of the first external cohort; further ones are `external-2`, `external-3`."""
_COUNTER = re.compile(r"\d{1,4}")
"""A patient that is only counted: two hospitals both have a patient 17, and they are two people."""


def is_external(role: str) -> bool:
    """Whether a role is that of another hospital."""
    return role == ROLE or role.startswith(f"{ROLE}-")


def load_external(
    home: Cohort, given: Sequence[str | Cohort], *, taken: Iterable[str] = (), cache: Path | None = None
) -> dict[str, Cohort]:
    """Return the external cohorts of a run by role, each of another name than the home cohort and the others.

    Args:
        home: the cohort under test.
        given: specs or cohorts, in the order in which the user named them.
        taken: names of the run's other cohorts.
        cache: its root (see `load_cohort`).

    Raises:
        CohortProblem: a spec names no cohort, or one shares films or patients with the home cohort, or is another
            one once more.
    """
    if cache is None or not given:
        return _loaded(home, given, taken, cache, None)
    with KeptByStamp(cache, "digests", {"of": "sha256"}, ("digest",)) as digests:
        return _loaded(home, given, taken, cache, digests)


def _loaded(
    home: Cohort, given: Sequence[str | Cohort], taken: Iterable[str], cache: Path | None, digests: KeptByStamp | None
) -> dict[str, Cohort]:
    names, found = {home.name, *taken}, dict[str, Cohort]()
    for number, spec in enumerate(given, 1):
        cohort = with_truth(load_cohort(spec, uncertain=home.uncertain, cache=cache))
        role = ROLE if number == 1 else f"{ROLE}-{number}"
        if cohort.name in names:
            cohort = replace(cohort, name=f"{cohort.name} ({role})")
        names.add(cohort.name)
        cohort = _told_of_unlabelled(cohort)
        refuse_shared_patients(home, cohort)
        ours, theirs = contents_of(home, cohort, digests), contents_of(cohort, home, digests)
        refuse_shared_films(ours, theirs, cohort.name, films=len(cohort))
        for other in found.values():
            refuse_again(other, cohort, digests)
        found[role] = cohort
    return found


def _told_of_unlabelled(cohort: Cohort) -> Cohort:
    """Return the cohort with a note on films that nobody labelled; a cohort without any label says so by itself."""
    table = cohort.table
    bare = (table["label"].astype(str) == "") & (table["finding"].astype(str) == "")
    if not bare.any() or bare.all():
        return cohort
    note = f"{int(bare.sum()):,} of {len(table):,} films have no label and are left out"
    return replace(cohort, notes=(*cohort.notes, note))


def refuse_again(other: Cohort, cohort: Cohort, digests: KeptByStamp | None = None) -> None:
    """Refuse an external cohort whose films are all those of another: one hospital would count as two.

    Args:
        other: loaded before.
        cohort: loaded now.
        digests: see `contents_of`.

    Raises:
        CohortProblem: they are.
    """
    one, two = contents_of(other, cohort, digests), contents_of(cohort, other, digests)
    if len(other) == len(cohort) == len(two) and sorted(one.values()) == sorted(two.values()):
        raise CohortProblem(
            f"external cohort {shown(cohort.name, 40)}: its films are all those of {shown(other.name, 40)}; "
            "name each hospital once"
        )


def refuse_shared_patients(home: Cohort, away: Cohort) -> None:
    """Refuse an external cohort that names a patient of the home cohort.

    A film whose patient nobody tells counts as its own, so its name says nothing; nor does a short bare number, which
    two hospitals count with.

    Raises:
        CohortProblem: it does; the first such patient is named.
    """
    both = sorted(_patients(home) & _patients(away))
    if both:
        raise CohortProblem(
            f"external cohort {shown(away.name, 40)}: {len(both):,} of its patients are patients of "
            f"{shown(home.name, 40)}, first {shown(both[0], 40)}; leave them out, or call them otherwise in its column "
            "`patient` if they are other people"
        )


def refuse_shared_films(home: Mapping[str, str], away: Mapping[str, str], name: str, *, films: int) -> None:
    """Refuse an external cohort with films of the home cohort.

    Args:
        home: id of a film -> what identifies its pixels.
        away: the same of the external cohort.
        name: of the external cohort.
        films: that it has.

    Raises:
        CohortProblem: a film is in both; the first is named.
    """
    ids: dict[str, str] = {}
    for film, content in home.items():
        ids.setdefault(content, film)
    both = [(film, ids[content]) for film, content in away.items() if content in ids]
    if both:
        film, same = both[0]
        raise CohortProblem(
            f"external cohort {shown(name, 40)}: {len(both):,} of its {films:,} films are home films, too, "
            f"first {shown(film, 50)} ({shown(same, 50)} at home); leave them out, or its drop is no other hospital's"
        )


def contents_of(cohort: Cohort, beside: Cohort, digests: KeptByStamp | None = None) -> dict[str, str]:
    """Return what identifies those films of a cohort that could be a film of another, without decoding any.

    Files can be the same only where their sizes are; only those are read. A film that is no file and says of itself
    what it is (a simulated one) is asked; others are compared once they have been decoded.

    Args:
        cohort: the films.
        beside: the others.
        digests: of files that were read before and have not changed; `None`: all are read.
    """
    if cohort.identify is not None:
        if beside.identify is None:
            return {}
        return {str(row["id"]): cohort.identify(row) for row in cohort.rows()}
    mine, theirs = _sizes(cohort), Counter(size for _, size in _sizes(beside).values())
    return {film: _digest(path, digests) for film, (path, size) in mine.items() if theirs[size]}


def _sizes(cohort: Cohort) -> dict[str, tuple[Path, int]]:
    """Return id -> file and its bytes, of the films that are files."""
    found = {}
    for film, file in zip(cohort.table["id"].astype(str), cohort.table["file"].astype(str), strict=True):
        path = Path(file)
        try:
            if file and path.is_file():
                found[film] = path, path.stat().st_size
        except OSError:  # a name that is too long; decoding says what is wrong with it
            continue
    return found


def _digest(path: Path, digests: KeptByStamp | None) -> str:
    found = _sha256(path) if digests is None else digests.found([path], lambda: _sha256(path))
    return found[0] if found else f"unread {path}"  # it is listed and left out when it is decoded


def _sha256(path: Path) -> tuple[str] | None:
    """Return the digest of a file, `None` where it cannot be read."""
    try:
        with path.open("rb") as file:
            return (hashlib.file_digest(file, "sha256").hexdigest(),)
    except OSError:
        return None


def _patients(cohort: Cohort) -> set[str]:
    own = cohort.table["id"].astype(str)
    named = cohort.table["patient"].astype(str)
    return {name for name in named[named != own] if not _COUNTER.fullmatch(name)}
