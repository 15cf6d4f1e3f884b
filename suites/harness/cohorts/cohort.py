"""What is a cohort? Films with labels and patients as a table, and a loader that decodes one at a time."""

from __future__ import annotations

import hashlib
from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass, field, replace
from functools import cache, cached_property

import numpy as np
import pandas as pd
import pyarrow.compute as pc
from numpy.typing import NDArray

from suites.harness.cohorts.findings import LEAVE_OUT, POLICIES, counts, findings_of, refuse_other_values, truth
from suites.harness.cohorts.rows import Row, Rows, made_of
from suites.harness.cohorts.texts import texts_of
from suites.harness.errors import CohortProblem, FilmUnreadable, one_line
from suites.harness.foreign_code import defined_in, foreign

IDENTITY = "identity of the film's files"
"""Under what a row says what its files held when they were read; no column of a table, and no reader looks at it."""
COLUMNS = ("id", "file", "label", "patient", "view", "age_group", "finding", "split")


@dataclass(frozen=True, kw_only=True)
class Film:
    """One decoded radiograph.

    Attributes:
        pixels: (H, W) float32 in [0, 1], white is dense.
        content: sha256 of what the pixels were decoded from; the key of cached predictions.
        masks: named (H, W) bool arrays (`lung`, `heart`, `lesion`) where they are known.
        note: what a reader must know of how the pixels were read; empty where nothing was guessed.
    """

    pixels: NDArray[np.float32]
    content: str
    masks: Mapping[str, NDArray[np.bool_]] = field(default_factory=dict)
    note: str = ""


@dataclass(frozen=True, kw_only=True)
class Cohort:
    """Films in a fixed order.

    Attributes:
        name: as printed in the report.
        table: one row per film, columns `id` (unique), `file`, `label` (empty where unknown), `patient` (the cluster
            of the bootstrap), `view`, `age_group`, `finding`, `split`, and whatever else the source tells (of patients
            `sex`, `age`, `site`, `scanner`, `projection`, see `patient_facts`; `bytes`, `width`, `height`, ... feed the
            shortcut baselines). Where the source labels findings, `label` may be empty and a column `finding:NAME` per
            finding holds one of `findings.VALUES`.
        decode: from a row of the table to a `Film`; raises `FilmUnreadable` for a broken file.
        identify: from a row to the film's `content` without decoding it, where that is cheaper; else `None`.
        remembered: from a row to content and note of its film where an earlier reading of its files is remembered (see
            `identities`), else `None`.
        simulated: the films are phantoms, and the report must say so.
        notes: what a reader must know (a label mapping, an exclusion, a licence).
        no_label: why no film has a label and what to do about it, where that is so.
        uncertain: what films count as whose finding is uncertain, one of `findings.POLICIES`.
        laterals: the lateral films of the same source, which are no part of the cohort.
    """

    name: str
    spec: str
    table: pd.DataFrame
    decode: Callable[[Row], Film]
    identify: Callable[[Row], str] | None = None
    remembered: Callable[[Row], tuple[str, str] | None] | None = None
    simulated: bool = False
    notes: tuple[str, ...] = ()
    no_label: str = ""
    uncertain: str = LEAVE_OUT
    laterals: Cohort | None = None

    def __post_init__(self) -> None:
        missing = [column for column in COLUMNS if column not in self.table]
        if missing:
            raise CohortProblem(f"cohort {self.name:.80}: column(s) {', '.join(missing)} missing")
        if self.table.empty:
            raise CohortProblem(f"cohort {self.name:.80}: no film in {self.spec[:120]!r}")
        ids = texts_of(self.table["id"])  # Arrow tells in a moment that no two are the same
        repeated = pc.count_distinct(ids).as_py() < len(ids) and self.table["id"].duplicated().to_numpy()
        if np.any(repeated):
            raise CohortProblem(
                f"cohort {self.name:.80}: image id {str(self.table['id'][repeated].iloc[0])[:120]!r} occurs more than "
                "once"
            )
        refuse_other_values(self.table, f"cohort {self.name:.80}")
        if self.uncertain not in POLICIES:
            raise CohortProblem(f"uncertain is {one_line(repr(self.uncertain), 40)}; expected {', '.join(POLICIES)}")

    def __len__(self) -> int:
        return len(self.table)

    @property
    def patients(self) -> int:
        """Number of different patients."""
        return int(self.table["patient"].nunique())

    @property
    def findings(self) -> tuple[str, ...]:
        """The findings that films are labelled with, in the order of their columns; none where there are none."""
        return findings_of(self.table)

    def finding(self, name: str) -> NDArray[np.int64]:
        """Return (N,) 1 where a film shows a finding, 0 where it does not, -1 where it is left out.

        A film that does not mention the finding is left out, an uncertain one counts as `uncertain` says.

        Raises:
            CohortProblem: the films are not labelled with it.
        """
        return truth(self.table, name, self.uncertain)

    def finding_counts(self) -> pd.DataFrame:
        """Return one row per finding: `finding`, `positive`, `negative`, `uncertain`, `not mentioned` (films)."""
        return counts(self.table)

    def rows(self, at: NDArray[np.int64] | Sequence[int] | None = None) -> Sequence[Row]:
        """Return the table's rows at some positions, or all of them, as `decode` and `identify` take them.

        All of them are made as somebody looks at them, those at some positions at once.
        """
        return Rows(self.table) if at is None else made_of(self.table.iloc[list(at)])

    def known(self, row: Row) -> tuple[str, str] | None:
        """Return content and note of a row's film where they are known without decoding it, else `None`.

        Raises:
            FilmUnreadable: as `content`.
        """
        if self.identify is not None:
            return self._identified(row, self.identify), ""
        return None if self.remembered is None else self.remembered(row)

    def mostly_known(self, rows: Sequence[Row]) -> bool:
        """Return whether hardly any of these films has to be decoded to be known; broken ones always have."""
        return self.identify is not None or 20 * sum(IDENTITY not in row for row in rows) <= len(rows)

    def content(self, row: Row) -> str:
        """Return what identifies the pixels of a row's film, decoding it only where there is no other way.

        Raises:
            FilmUnreadable: the file is broken.
        """
        return self.opened(row)[0]

    def opened(self, row: Row) -> tuple[str, Callable[[], Film]]:
        """Return `content(row)` and a function that gives the film itself; both together decode it once at most.

        Raises:
            FilmUnreadable: as `content`; the function raises it, too.
        """
        film = cache(lambda: self._decoded(row))
        return (film().content if self.identify is None else self._identified(row, self.identify)), film

    def _identified(self, row: Row, identify: Callable[[Row], str]) -> str:
        with foreign(FilmUnreadable, "it cannot be identified", at=identify, only_theirs=True):
            return identify(row)

    def _decoded(self, row: Row) -> Film:
        # An interrupt from within ends the run: it is no property of a film.
        passing = (KeyboardInterrupt,)
        with foreign(FilmUnreadable, "its decoder failed", at=self.decode, only_theirs=True, passing=passing):
            film: object = self.decode(row)
        if not isinstance(film, Film):
            raise FilmUnreadable(f"its decoder returned {type(film).__name__}, not a Film ({defined_in(self.decode)})")
        if film.pixels.dtype != np.float32 or film.pixels.ndim != 2 or not film.pixels.size:
            raise FilmUnreadable(
                f"its decoder gave pixels of {film.pixels.dtype} in shape {film.pixels.shape}, not float32 of (height, "
                f"width) ({defined_in(self.decode)})"
            )
        return film

    @cached_property
    def fingerprint(self) -> str:
        """Identity of the films by id, labels and patient (not of their pixels, which the cache keys by content)."""
        columns = [self.table[name].astype(str) for name in ("id", "label", "patient")]
        columns += [pd.Series(self.finding(name)).astype(str) for name in self.findings]
        rows = ("\x1f".join(row) for row in zip(*columns, strict=True))
        return hashlib.sha256("\x1e".join(sorted(rows)).encode()).hexdigest()

    def select(self, keep: pd.Series, note: str = "") -> Cohort:
        """Return the cohort of the rows where `keep` holds, in the same order."""
        notes = (*self.notes, note) if note else self.notes
        kept = keep.to_numpy(dtype=bool)
        table = self.table if kept.all() else self.table[kept]  # all of them are not copied
        return replace(self, table=table.reset_index(drop=True), notes=notes)

    def limited(self, films: int, seed: int) -> Cohort:
        """Return about `films` films, stratified by class or finding, whole patients only, the same for the same seed.

        Patients are taken in an order drawn from the seed, class by class, until each class has its share; the last
        patient of a class may exceed it, so that no patient is cut in two. Films with several findings each have no
        classes: the first patients are taken, and further ones with a finding that is short of its share, or without.
        Fewer films are always among the more.

        Raises:
            CohortProblem: `films` is no number of films.
        """
        if isinstance(films, bool) or not isinstance(films, int) or films < 1:
            raise CohortProblem(f"limit is {one_line(repr(films), 40)}; expected a number of films, 1 or more")
        if films >= len(self):
            return self
        chosen = self._first_of_findings(films, seed) if self.findings else self._first_of_classes(films, seed)
        kept = self.table["patient"].astype(str).isin(chosen)
        strata = "finding" if self.findings else "class"
        some = self.select(
            kept, note=f"limited to {int(kept.sum())} of {len(self)} films (whole patients, by {strata})"
        )
        return replace(some, laterals=self.laterals and self.laterals.limited(films, seed))

    def _first_of_classes(self, films: int, seed: int) -> set[str]:
        """Return patients who hold each class's share of so many films."""
        chosen: set[str] = set()
        for label, rows in self.table.groupby("label", sort=True):
            share = max(1, round(films * len(rows) / len(self)))
            chosen.update(_first(rows["patient"], share, f"{seed}\x1f{label}"))
        return chosen

    def _first_of_findings(self, films: int, seed: int) -> set[str]:
        """Return patients who hold so many films, and of each finding's positive and negative ones nearly their share.

        One order of the patients serves all, so that hardly any are needed beside the first.
        """
        patients = self.table["patient"]
        chosen = set(_first(patients, films, str(seed)))
        for name in self.findings:
            known = self.finding(name)
            for value in (1, 0):
                there = patients[known == value]
                if len(there):
                    chosen.update(_first(there, max(1, round(NEARLY * films * len(there) / len(self))), str(seed)))
        return chosen


NEARLY = 0.75
"""Of a finding's share of a limited cohort, what is surely kept: to insist on all of each would keep far more films."""


def _first(patients: pd.Series, films: int, drawn_by: str) -> list[str]:
    """Return the first patients, in an order drawn from a text, whose films are at least so many."""
    sizes = patients.astype(str).value_counts().sort_index()
    digest = [hashlib.sha256(f"{drawn_by}\x1f{patient}".encode()).digest() for patient in sizes.index]
    order = sorted(range(len(sizes)), key=lambda index: digest[index])
    filled = np.cumsum(sizes.to_numpy()[order])
    return [str(sizes.index[index]) for index in order[: int(np.searchsorted(filled, films)) + 1]]
