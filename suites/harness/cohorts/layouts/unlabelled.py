"""What if films have no labels? A folder or a single file, a probe of what the subject predicts."""

from __future__ import annotations

from suites.harness.cohorts.cohort import Cohort
from suites.harness.cohorts.layouts.assembly import folder_cohort
from suites.harness.cohorts.layouts.missing_labels import why_no_label
from suites.harness.cohorts.layouts.registry import Spec, register
from suites.harness.cohorts.layouts.walk import Listing, films_below, list_films, mask_note


@register(
    "unlabelled",
    recognises=lambda spec: spec.path.is_file() or (spec.path.is_dir() and bool(films_below(spec.path))),
    precedence=90,
    described="a folder of films without labels",
)
def unlabelled(spec: Spec) -> Cohort:
    """Load every file below a folder as a film without a label."""
    root = spec.path.parent if spec.path.is_file() else spec.path
    found = Listing((spec.path,), ()) if spec.path.is_file() else list_films(root)
    return folder_cohort(
        spec,
        root,
        [{"path": path} for path in found.films],
        name=spec.path.name,
        notes=("the films carry no labels, so nothing can be said about errors", *mask_note(found.masks, root)),
        no_label=why_no_label(spec.path),
    )
