"""Which films of a collection are the cohort? The frontal ones; the lateral ones are a probe."""

from __future__ import annotations

from dataclasses import replace

from suites.harness.cohorts.cohort import Cohort
from suites.harness.cohorts.layouts.recorded import FRONTAL, LATERAL
from suites.harness.cohorts.quoting import listed
from suites.harness.counts import counted


def frontal_films(cohort: Cohort) -> Cohort:
    """Return the frontal films of a cohort, with its lateral ones as `laterals`; what is neither is left out.

    A film whose view is not recorded is left out as well, unless that is so of all: it may be a lateral.
    """
    views = cohort.table["view"].astype(str)
    frontal, lateral = views.isin(FRONTAL), views == LATERAL
    if not (views != "").any():
        note = f"no view is recorded of any of the {len(cohort)} films; all are taken for frontal ones"
        return replace(cohort, notes=(*cohort.notes, note))
    if not frontal.any():
        return cohort
    others = views[~frontal & ~lateral]
    named = listed(sorted({view or "no recorded view" for view in others}), 60)
    told = counted(
        len(others), "film of neither frontal nor lateral view is", "films of neither frontal nor lateral view are"
    )
    notes = [f"{told} left out ({named})"] * bool(len(others))
    laterals = None
    if lateral.any():
        laterals = replace(cohort.select(lateral), name=f"{cohort.name} laterals", notes=())
        notes.append(f"{len(laterals)} lateral films are no part of the cohort; they are its lateral probe")
    kept = cohort.select(frontal)
    return replace(kept, notes=(*kept.notes, *notes), laterals=laterals)
