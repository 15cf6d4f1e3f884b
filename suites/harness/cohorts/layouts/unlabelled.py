"""What if films have no labels? A folder or a single file, a probe of what the subject predicts."""

from __future__ import annotations

from suites.harness.cohorts.cohort import Cohort
from suites.harness.cohorts.decoding import printable
from suites.harness.cohorts.layouts.films import FilmReader, by_own_patients, film_table, films_below
from suites.harness.cohorts.layouts.registry import Spec, register


@register(
    "unlabelled",
    recognises=lambda spec: spec.path.is_file() or (spec.path.is_dir() and bool(films_below(spec.path))),
    precedence=90,
    described="a folder of films without labels",
)
def unlabelled(spec: Spec) -> Cohort:
    """Load every file below a folder as a film without a label."""
    root = spec.path.parent if spec.path.is_file() else spec.path
    paths = [spec.path] if spec.path.is_file() else films_below(root)
    table, unprintable = film_table([{"path": path} for path in paths], root)
    return Cohort(
        name=printable(spec.path.name),
        spec=spec.text,
        table=table,
        decode=FilmReader(unprintable=unprintable),
        notes=("the films carry no labels, so nothing can be said about errors", *by_own_patients(table)),
    )
