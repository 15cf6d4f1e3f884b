"""Which layout reads what follows `--data`? The registry of layouts, and the filters of a spec.

A spec is a place and filters: `PATH`, `PATH?split=val`, `PATH?view=PA&view=AP&finding!=COVID-19`. Each key is a column
of the cohort's table; a repeated key means "or", `!=` means "not", values are URL-encoded where they hold `&`, `+` or
`%`.
`layout=NAME` overrides the recognition of the layout.

To add a layout, write a function in a new file of this folder::

    import pandas as pd
    from suites.harness.cohorts.cohort import COLUMNS, Cohort
    from suites.harness.cohorts.decoding import decode_image
    from suites.harness.cohorts.layouts.registry import Spec, register

    @register(
        "one-film",
        recognises=lambda spec: spec.path.suffix == ".png" and spec.path.is_file(),
        precedence=60,
        described="FILE.png, one film without a label",
    )
    def one_film(spec: Spec) -> Cohort:
        name = spec.path.name
        table = pd.DataFrame([dict.fromkeys(COLUMNS, "") | {"id": name, "file": name, "patient": name}])
        return Cohort(name=name, spec=spec.text, table=table, decode=lambda _: decode_image(spec.path))
"""

from __future__ import annotations

import math
import os
import re
from collections.abc import Callable, Sequence
from dataclasses import dataclass, replace
from pathlib import Path
from urllib.parse import parse_qsl

from robustness.registration import taken, unknown_name
from suites.harness.cohorts.cohort import Cohort
from suites.harness.cohorts.findings import notes_on
from suites.harness.cohorts.layouts.frontal import frontal_films
from suites.harness.cohorts.layouts.labels import align_labels, normalise_label
from suites.harness.cohorts.layouts.recorded import FRONTAL, LATERAL, view_of
from suites.harness.cohorts.layouts.spelling import as_seen
from suites.harness.cohorts.patient_facts import age_in_years, sex_of
from suites.harness.cohorts.quoting import listed, shown
from suites.harness.errors import CohortProblem
from suites.harness.foreign_code import defined_in, foreign

EVERY = "all"
_SIGN = re.compile(r"(?<![\w)])\+|\+(?![\w%(])")  # between words it is a blank, as in any query; `label=TB+` means it
_NAMED = 4
_LONGEST_NAME = 200


@dataclass(frozen=True)
class Spec:
    """What the user wrote.

    Attributes:
        text: as written.
        location: a path, or the name of a source (`kaggle`).
        query: the (key, value) pairs behind the question mark.
        classes: the subject's classes, where they are known: they help to tell class folders from others.
        cache: root of the cache, where what files told when they were read is found again; `None`: nowhere.
    """

    text: str
    location: str
    query: tuple[tuple[str, str], ...] = ()
    classes: tuple[str, ...] = ()
    cache: Path | None = None

    @classmethod
    def parse(cls, text: str, classes: Sequence[str] = ()) -> Spec:
        """Split a spec at its question mark, unless a file of exactly this name exists.

        Raises:
            CohortProblem: the spec is empty, names the home of a user there is not, or a filter is not `key=value`.
        """
        if not text.strip():
            raise CohortProblem("the cohort's spec is empty; give a folder, a manifest, or `kaggle`")
        if "\x00" in text:
            raise CohortProblem(f"the cohort's spec {shown(text)} holds a null character")
        try:
            os.fsencode(text)
        except UnicodeEncodeError as problem:
            raise CohortProblem(f"the cohort's spec {shown(text)} holds half of a surrogate pair") from problem
        try:
            whole = Path(text).expanduser()
        except RuntimeError as problem:
            raise CohortProblem(f"{shown(text)}: no user of this machine has that home; write the path") from problem
        location, mark, query = text.partition("?")
        if not mark or os.path.exists(whole):  # noqa: PTH110 - it answers no where pathlib raises: a name too long
            return cls(text, text, (), tuple(classes))
        try:
            pairs = parse_qsl(_SIGN.sub("%2B", query), keep_blank_values=True, strict_parsing=True)
        except ValueError as problem:
            raise CohortProblem(
                f"{shown(text)}: filters behind ? read key=value&key=value ({shown(problem, 60)})"
            ) from problem
        return cls(text, location, tuple(dict.fromkeys(pairs)), tuple(classes))

    @property
    def path(self) -> Path:
        """The location as an absolute path."""
        return Path(self.location).expanduser().absolute()

    def option(self, key: str, default: str = "") -> str:
        """Return the last value given for a key."""
        return dict(self.query).get(key, default)


@dataclass(frozen=True, kw_only=True)
class Layout:
    """One way films can lie.

    Attributes:
        name: for `layout=NAME`.
        load: from a spec to the whole cohort, every split; filters are applied afterwards.
        recognises: whether a spec looks like this layout; cheap, and raises nothing but OSError.
        precedence: layouts are asked in this order, the most specific first.
        options: query keys that the layout itself reads, so that they are no filters.
        described: how it is offered to a user whose spec fits nothing.
        frontal: only frontal films are the cohort, unless the spec filters by view (see `frontal_films`).
    """

    name: str
    load: Callable[[Spec], Cohort]
    recognises: Callable[[Spec], bool]
    precedence: int
    options: tuple[str, ...]
    described: str
    frontal: bool = False


_REGISTRY: dict[str, Layout] = {}


def register(
    name: str,
    *,
    recognises: Callable[[Spec], bool],
    precedence: int = 50,
    options: Sequence[str] = (),
    described: str = "",
    frontal: bool = False,
) -> Callable[[Callable[[Spec], Cohort]], Callable[[Spec], Cohort]]:
    """Register the decorated function as the loader of a layout; see `Layout` for the arguments.

    Raises:
        CohortProblem: the name is taken.
    """

    def enter(load: Callable[[Spec], Cohort]) -> Callable[[Spec], Cohort]:
        if name in _REGISTRY:
            raise CohortProblem(taken("layout", name, _REGISTRY[name].load, load))
        _REGISTRY[name] = Layout(
            name=name,
            load=load,
            recognises=recognises,
            precedence=precedence,
            options=tuple(options),
            described=described or name,
            frontal=frontal,
        )
        return load

    return enter


def get(name: str) -> Layout:
    """Return the layout of that name.

    Raises:
        CohortProblem: unknown name; the message lists the nearest ones.
    """
    if name not in _REGISTRY:
        raise CohortProblem(unknown_name("layout", name, names()))
    return _REGISTRY[name]


def names() -> list[str]:
    """Names of the registered layouts, in the order they are asked: by precedence, then by name."""
    return [known.name for known in sorted(_REGISTRY.values(), key=lambda known: (known.precedence, known.name))]


def load_cohort(
    spec: str | Cohort,
    *,
    split: str | None = "test",
    classes: Sequence[str] | None = None,
    uncertain: str | None = None,
    cache: Path | None = None,
) -> Cohort:
    """Return the cohort that a spec names.

    Args:
        spec: see the module's first lines; a `Cohort` made in Python is taken as it is, whatever its splits.
        split: which split to keep where the source has splits (`split=` in the spec goes before it); `None` or `all`
            keeps every film. A source without splits is kept whole.
        classes: the subject's classes; labels are then aligned to them (see `align_labels`).
        uncertain: what films count as whose finding is uncertain, one of `findings.POLICIES`; `None`: they are left
            out, and a `Cohort` keeps what it says itself.
        cache: root of the cache: files that have not changed are then not opened again to know their headers.

    Raises:
        CohortProblem: nothing there, no layout fits, no film is left by the filters, or the labels do not fit.
    """
    if isinstance(spec, Cohort):
        given = spec if uncertain is None else replace(spec, uncertain=uncertain)
        return align_labels(given, classes) if classes else given
    parsed = replace(Spec.parse(spec, classes or ()), cache=cache)
    layout = _layout_of(parsed)
    with foreign(CohortProblem, f"{shown(parsed.text, 60)}: the layout {layout.name!r} failed", only_theirs=True):
        found: object = layout.load(parsed)
    if not isinstance(found, Cohort):
        raise CohortProblem(
            f"{shown(parsed.text, 60)}: the loader of the layout {layout.name!r} returned {type(found).__name__}, "
            f"not a Cohort ({defined_in(layout.load)})"
        )
    cohort = replace(found, spec=parsed.text, uncertain=uncertain or found.uncertain)
    filters = [(key, value) for key, value in parsed.query if key not in ("layout", *layout.options)]
    by_split = bool((cohort.table["split"] != "").any())
    unasked = by_split and split not in (None, EVERY) and not any(key.rstrip("!") == "split" for key, _ in filters)
    every = [("split", EVERY), *[("view", EVERY)] * layout.frontal]
    cohort = _filtered(cohort, [pair for pair in filters if pair not in every])
    if unasked:
        if not (cohort.table["split"] == split).any():
            raise CohortProblem(_why_no_split(cohort, str(split)))
        cohort = _filtered(cohort, [("split", str(split))])
    if layout.frontal and not any(key.rstrip("!") == "view" for key, _ in filters):
        cohort = frontal_films(cohort)
    cohort = replace(cohort, notes=(*cohort.notes, *notes_on(cohort.table, cohort.uncertain)))
    return align_labels(cohort, classes) if classes else cohort


def _layout_of(spec: Spec) -> Layout:
    forced = spec.option("layout")
    if forced:
        try:
            return get(forced)
        except CohortProblem as unknown:
            raise CohortProblem(f"{shown(spec.text, 60)}: {shown(unknown)}") from unknown
    found = "no such file or folder"
    try:
        for layout in map(get, names()):
            with foreign(
                CohortProblem, f"{shown(spec.text, 60)}: asking the layout {layout.name!r} failed", only_theirs=True
            ):
                recognised = layout.recognises(spec)
            if recognised:
                return layout
        if spec.path.exists():
            found = "holds nothing that is known as films"
            if not spec.path.is_dir():
                found = "is a device or a pipe, where a folder or a regular file is expected"
    except OSError as problem:  # a name longer than the system's, a folder that may not be entered
        found = str(problem.strerror)
    raise CohortProblem(
        f"{shown(spec.text, 80)}: {found}. A cohort can be a folder of class folders, of DICOM or of other films, a "
        "CSV, TSV or Parquet manifest, `kaggle`, `phantom`; layout=NAME forces one"
    )


def _filtered(cohort: Cohort, filters: Sequence[tuple[str, str]]) -> Cohort:
    """Keep the rows that fit every key, and say so in the cohort's name."""
    spec = shown(cohort.spec, 80)
    wanted: dict[str, list[str]] = {}
    for key, value in filters:
        wanted.setdefault(key, []).append(value)
    for key, values in wanted.items():
        column = key.removesuffix("!")
        spelt = _SPELLING.get(column, as_seen)
        if column not in cohort.table:
            known = listed(cohort.table.columns)
            raise CohortProblem(f"{spec}: cannot filter by {shown(column, 40)!r}; the columns are {known}")
        found = cohort.table[column].astype(str).fillna("")
        found = found if column == "label" else found.map(spelt)
        keep = found.isin([spelt(value) for value in values]) ^ key.endswith("!")
        if not keep.any():
            present = sorted(found.unique())
            asked = f"{shown(key, 30)}={shown(' or '.join(values[:_NAMED]), 40)}"
            if present == [""]:
                raise CohortProblem(f"{spec}: its films carry no {shown(column, 30)}, so {asked} fits none")
            known = listed(map(repr, present))
            raise CohortProblem(f"{spec}: no film is left by {asked}; {shown(column, 30)} is one of {known}")
        chosen = [shown(value, 30) for value in values[:_NAMED]]
        chosen += [f"and {len(values) - _NAMED} more"] * (len(values) > _NAMED)
        name = f"{'or'.join(chosen)}" if key == "split" else f"{key}={','.join(chosen)}"
        cohort = replace(cohort.select(keep), name=shown(f"{cohort.name} {name}", _LONGEST_NAME))
    return cohort


def _as_sex(text: str) -> str:
    return sex_of(text) or as_seen(text)


def _as_age(text: str) -> str:
    """Return an age as it is written, `71` for `71.0` and `071Y`."""
    years = age_in_years(text)
    return as_seen(text) if math.isnan(years) else f"{years:g}"


def _as_view(text: str) -> str:
    """Return a view as a cohort writes it, `PA` for `pa`; others in small letters."""
    view = view_of(text)
    return view if view in (*FRONTAL, LATERAL) else as_seen(view).casefold()


_SPELLING: dict[str, Callable[[str], str]] = {
    "label": normalise_label,
    "sex": _as_sex,
    "age": _as_age,
    "view": _as_view,
}
"""Column -> how a value of a filter, and of the table, is spelt; others as they are seen."""


def _why_no_split(cohort: Cohort, split: str) -> str:
    """Return why a split that the user did not name holds no film, and how to name one."""
    present = sorted(set(cohort.table["split"].astype(str)) - {""}) or ["all"]
    other = "val" if "val" in present else present[0]
    mark = "&" if "?" in cohort.spec else "?"
    return (
        f"{shown(cohort.spec, 80)}: no film is of the split {split!r}, which is taken where the spec names none; "
        f"split is one of {listed(map(repr, present), 60)}: add {mark}split={shown(other, 30)}, or {mark}split=all"
    )
