"""Whose films are held against whose? Groups of patients by what is recorded of them, each against all others."""

from __future__ import annotations

import hashlib
import weakref
from collections import Counter
from collections.abc import Callable, Iterable, Mapping, Sequence
from dataclasses import dataclass
from functools import cached_property
from itertools import combinations

import numpy as np
import numpy.typing as npt
import pandas as pd

from suites.harness.cohorts.patient_facts import age_band, projection_of, text_of, told_in, with_patient_facts
from suites.harness.counts import counted
from suites.harness.errors import NotEvaluable
from suites.harness.latest import Latest
from suites.harness.predictions.answers import Answers
from suites.harness.statistics import EVENTS

Films = npt.NDArray[np.bool_]
Values = npt.NDArray[np.str_]
Read = tuple[Mapping[str, Values], npt.NDArray[np.float64]]
"""What is recorded of films, and their ages."""

FEWEST = EVENTS
"""Patients below which a group is not shown: no interval on it holds, and its films could tell who it is."""
ATTRIBUTES = ("view", "age", "sex", "scanner", "site")
"""What groups are made of, where it is recorded."""


KEPT, TABLES = 4, 32
"""Cohorts of which groups, and what is recorded, are kept, and tables that are known to record it: findings of one
subject are asked about the same films."""


@dataclass(frozen=True)
class Group:
    """Patients who share what is recorded of them.

    Attributes:
        name: `sex female`, of a pair `sex female, view AP`.
        attributes: those it is made of, one or two.
        inside: (N,) its films.
        outside: (N,) the films of all others of whom the same is recorded.
    """

    name: str
    attributes: tuple[str, ...]
    inside: Films
    outside: Films


@dataclass(frozen=True)
class Groups:
    """The groups of some films.

    Attributes:
        values: what is recorded of the films, see `recorded`.
        shown: those that can be held against others, single attributes first.
        hidden: groups of a single attribute with too few patients, or with too few others; `hidden_films` in all.
        hidden_pairs: pairs with too few.
        alike: attributes in which all films are of one group.
        unrecorded: attributes that are recorded of no film.
    """

    values: Mapping[str, Values]
    shown: Sequence[Group]
    hidden: int
    hidden_films: int
    hidden_pairs: int
    alike: Sequence[str]
    unrecorded: Sequence[str]

    @cached_property
    def codes(self) -> Mapping[str, npt.NDArray[np.int64]]:
        """Attribute -> (N,) which of its values is recorded, as a number."""
        return {name: pd.factorize(values)[0].astype(np.int64) for name, values in self.values.items()}

    @property
    def sentence(self) -> str:
        """What is not shown, for a summary; empty where all is."""
        few = f"fewer than {FEWEST} patients"
        told = []
        if self.hidden:
            told.append(f"{counted(self.hidden, 'group')} of {few} ({counted(self.hidden_films, 'film')})")
        if self.hidden_pairs:
            told.append(f"{counted(self.hidden_pairs, 'pair')} of {few}")
        count = self.hidden + self.hidden_pairs
        return f"Not shown: {' and '.join(told)}, or with so few to compare with." if count else ""


def recorded(table: pd.DataFrame) -> Mapping[str, Values]:
    """Return what is recorded of the films of a cohort, attribute -> (N,) values, "" where it is not.

    Spellings that differ in case only are one group. An age is its band; where no age is recorded, the age group.
    """
    return _read(table)[0]


def ages(table: pd.DataFrame) -> npt.NDArray[np.float64]:
    """Return (N,) ages in years, NaN where none is recorded."""
    return _read(table)[1]


def _read(table: pd.DataFrame) -> Read:
    """Return what is recorded and (N,) ages, read once for the cohorts of all findings: they differ in labels alone."""

    def known() -> tuple[weakref.ref[pd.DataFrame], Read]:
        return _TABLES.once(id(table), lambda: (weakref.ref(table), _read_anew(table)))

    if known()[0]() is not table:  # another that lay there before
        _TABLES.clear()
    return known()[1]


def _read_anew(table: pd.DataFrame) -> Read:
    told = {*told_in(table), "view", "age_group"}
    known = table[[name for name in table if name in told]]
    if any(kind.kind == "O" and kind != "str" for kind in known.dtypes):  # what is told of one film may be of any type
        return _facts(known)
    of = repr([(str(name), str(kind)) for name, kind in known.dtypes.items()]).encode()
    rows = pd.util.hash_pandas_object(known, index=False).to_numpy().tobytes()
    return _READ.once(hashlib.sha256(of + rows).digest(), lambda: _facts(known))


def _facts(table: pd.DataFrame) -> Read:
    known = with_patient_facts(table.drop(columns=["projection"], errors="ignore"))
    bands = np.array([age_band(years) for years in known["age"]], dtype=str)
    if not (bands != "").any() and "age_group" in known:
        bands = known["age_group"].map(text_of).to_numpy(str)
    values = {
        "view": _one_spelling(known["view"].map(text_of), view_key),
        "age": bands,
        "sex": known["sex"].to_numpy(str),
        "scanner": _one_spelling(known["scanner"]),
        "site": _one_spelling(known["site"]),
    }
    return values, known["age"].to_numpy(np.float64)


def view_key(view: str) -> str:
    """Return what a view is told apart by: case does not count, and every name of a lateral film is one."""
    return "lateral" if projection_of(view) == "lateral" else view.casefold()


def groups_of(answers: Answers, keep: Films) -> Groups:
    """Return the groups among some films of a cohort.

    Args:
        answers: of a subject.
        keep: (N,) the films that count.

    Raises:
        NotEvaluable: nothing is recorded that tells patients apart, or no group has enough patients.
    """
    return groups_among(recorded(answers.cohort.table), answers.resamples.cluster, keep)


def groups_among(values: Mapping[str, Values], owner: npt.NDArray[np.int64], keep: Films) -> Groups:
    """Return the groups among some films.

    Args:
        values: attribute -> (N,) what is recorded of the films.
        owner: (N,) whose film each is, as a number.
        keep: (N,) the films that count.

    Raises:
        NotEvaluable: as `groups_of`.
    """
    key = hashlib.sha256(repr([str(of.dtype) for of in values.values()]).encode())
    for part in (keep, owner, *values.values()):
        key.update(np.ascontiguousarray(part).tobytes())
    return _GROUPS.once(key.digest(), lambda: _groups_among(values, owner, keep))


def _groups_among(values: Mapping[str, Values], owner: npt.NDArray[np.int64], keep: Films) -> Groups:
    unrecorded = [name for name in ATTRIBUTES if not (values[name][keep] != "").any()]
    alike = [name for name in ATTRIBUTES if len(set(values[name][keep]) - {""}) == 1]
    several = [name for name in ATTRIBUTES if name not in {*unrecorded, *alike}]
    if not several:
        told = [f"no {_or(unrecorded)} is recorded"] if unrecorded else []
        one = [f"of one {'age group' if name == 'age' else name}" for name in alike]
        told += [f"all films are {' and '.join(one)}"] if alike else []
        raise NotEvaluable(f"nothing tells groups of these films apart: {', and '.join(told)}")
    shown, hidden, hidden_films, hidden_pairs = [], 0, 0, 0
    seen: set[bytes] = set()
    for attributes in (*((name,) for name in several), *combinations(several, 2)):
        for group in _each(values, attributes, keep):
            if min(_owners(owner, group.inside), _owners(owner, group.outside)) >= FEWEST:
                # Where all women were filmed lying, the pair is the women once more.
                if (key := group.inside.tobytes()) not in seen:
                    shown.append(group)
                seen.add(key)
            elif len(attributes) == 1:
                hidden, hidden_films = hidden + 1, hidden_films + int(group.inside.sum())
            else:
                hidden_pairs += 1
    found = Groups(values, shown, hidden, hidden_films, hidden_pairs, alike, unrecorded)
    if not shown:
        raise NotEvaluable(f"no group by {_or(several)} has {FEWEST} patients and as many to compare with")
    return found


def patients(answers: Answers, films: Films) -> int:
    """Return how many patients some films are of."""
    return _owners(answers.resamples.cluster, films)


def _owners(owner: npt.NDArray[np.int64], films: Films) -> int:
    return int(np.count_nonzero(np.bincount(owner[films], minlength=1)))


def kinds_of_film(answers: Answers, groups: Groups, group: Group) -> npt.NDArray[np.int64]:
    """Return (N,) which films are of one kind: of one class, view and age, less what a group itself is made of."""
    kinds = answers.labels + 1  # -1 where there is none
    for name in ("view", "age"):
        if name not in group.attributes:
            kinds = kinds * (int(groups.codes[name].max(initial=0)) + 1) + groups.codes[name]
    return np.asarray(kinds, dtype=np.int64)


def one_mix(kinds: npt.NDArray[np.int64], inside: Films, outside: Films) -> tuple[npt.NDArray[np.float64], float]:
    """Return how often each film counts so that both sides have one mix of kinds, and what share of the films that has.

    The mix is that of both together. A kind that only one side has cannot be compared and counts nothing (direct
    standardisation over what both have).

    Args:
        kinds: (N,) kind of each film.
        inside: (N,) films of the one side.
        outside: (N,) films of the other.

    Returns:
        (N,) weights, 0 for films that do not count; the share of the films that do.
    """
    weights, most = np.zeros(len(kinds)), int(kinds.max(initial=0)) + 1
    counts = [np.bincount(kinds[side], minlength=most).astype(np.float64) for side in (inside, outside)]
    common = (counts[0] > 0) & (counts[1] > 0)
    both = np.where(common, counts[0] + counts[1], 0.0)
    for side, count in zip((inside, outside), counts, strict=True):
        weights[side] = np.divide(both, count, out=np.zeros_like(both), where=common)[kinds[side]]
    everyone = float((counts[0] + counts[1]).sum())
    return weights, float(both.sum()) / everyone if everyone else 0.0


def _each(values: Mapping[str, Values], attributes: tuple[str, ...], keep: Films) -> Iterable[Group]:
    """Yield a group for each value, or pair of values, that some of the films have."""
    known = keep & np.logical_and.reduce([values[name] != "" for name in attributes])
    told = list(zip(*(values[name] for name in attributes), strict=True))
    for value in sorted({told[film] for film in np.flatnonzero(known)}):
        inside = known & np.logical_and.reduce(
            [values[name] == one for name, one in zip(attributes, value, strict=True)]
        )
        name = ", ".join(f"{attribute} {one}" for attribute, one in zip(attributes, value, strict=True))
        yield Group(name, attributes, inside, known & ~inside)


def _one_spelling(texts: pd.Series, key: Callable[[str], str] = str.casefold) -> Values:
    """Return (N,) texts, those of one key as most films have it."""
    counts: dict[str, Counter[str]] = {}
    keys: dict[str, str] = {}
    for text, times in Counter(texts).items():
        keys[text] = key(text)
        counts.setdefault(keys[text], Counter())[text] = times
    spelling = {one: min(spelt, key=lambda text: (-spelt[text], text)) for one, spelt in counts.items()}
    return np.array([spelling[keys[text]] for text in texts], dtype=str)


_TABLES: Latest[tuple[weakref.ref[pd.DataFrame], Read]] = Latest(TABLES)
"""What was read by the `id` of tables: every claim about a subject asks for that of its own."""
_READ: Latest[Read] = Latest(KEPT)
_GROUPS: Latest[Groups] = Latest(KEPT)


def _or(names: Sequence[str]) -> str:
    return names[0] if len(names) == 1 else f"{', '.join(names[:-1])} or {names[-1]}" if names else "column"
