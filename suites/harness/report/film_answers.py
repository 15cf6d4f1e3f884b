"""What did every subject say of every film under every condition? Calls and confidences, film by film."""

from __future__ import annotations

import base64
import re
from collections.abc import Callable, Iterator, Mapping, Sequence
from dataclasses import dataclass, replace
from functools import cached_property
from typing import Any, NamedTuple

import numpy as np
import numpy.typing as npt
import pandas as pd
import pyarrow as pa
from pandas.api.extensions import ExtensionArray
from scipy.special import softmax

from robustness import perturbation
from suites.harness.cohorts.texts import places, texts_of
from suites.harness.formatting.severities import in_units, in_words
from suites.harness.formatting.wording import stress
from suites.harness.predictions.conditions import CLEAN
from suites.harness.record import Record

UNDEFINED = 254
"""Stands for the call on a film that a condition has no meaning for."""
NOT_ASKED = 255
_SINGLE = re.compile(r"(?P<name>[a-z][a-z0-9_]*)@(?P<severity>[1-5])")
_AT_ONCE = 2**14
"""Rows that are looked at together."""
_FILMS_AT_ONCE = 2**12
"""Films whose probabilities are computed together."""
STEPS = 200
"""A confidence is kept in so many steps, half a percent each."""


Sure = Callable[[npt.NDArray[np.int64]], npt.NDArray[np.float64]]
"""From the places of f films to (f, C) numbers."""


class _Counted(NamedTuple):
    """What is counted of (F,) films.

    Attributes:
        clean: confidence of the clean call.
        asked: conditions beside it that gave a call; `changes` those that change it; `lost` from right to wrong.
        surest: largest confidence of a wrong call, -1 where none is wrong; `surest_at` the condition it is under.
    """

    clean: npt.NDArray[np.float64]
    asked: npt.NDArray[np.int64]
    changes: npt.NDArray[np.int64]
    lost: npt.NDArray[np.int64]
    surest: npt.NDArray[np.float64]
    surest_at: npt.NDArray[np.int64]


@dataclass(frozen=True, kw_only=True)
class FilmAnswers:
    """The answers of one subject, F films by C conditions.

    Attributes:
        subject: its name; `classes`: its class names.
        films: one row per film: cohort, id, label, patient.
        conditions: texts of the conditions, clean first.
        truth: (F,) index of the label among the classes, -1 where there is none or none of these.
        calls: (F, C) index of the class called, UNDEFINED or NOT_ASKED.
        sure: gives (f, C) the largest softmax probability of films at f places; NaN where nothing was called.
    """

    subject: str
    classes: tuple[str, ...]
    films: pd.DataFrame
    conditions: tuple[str, ...]
    truth: npt.NDArray[np.int64]
    calls: npt.NDArray[np.uint8]
    sure: Sure

    def among(self, places: npt.NDArray[np.int64]) -> FilmAnswers:
        """Return the answers on some of the films."""
        return replace(
            self, films=self.films.iloc[places].reset_index(drop=True), truth=self.truth[places],
            calls=self.calls[places], sure=lambda at: self.sure(places[at]),
        )  # fmt: skip

    def _in_parts(self) -> Iterator[FilmAnswers]:
        """Yield the answers on some thousand films after the other."""
        for start in range(0, len(self.films), _FILMS_AT_ONCE):
            yield self.among(np.arange(start, min(start + _FILMS_AT_ONCE, len(self.films))))

    @cached_property
    def confidence(self) -> npt.NDArray[np.float64]:
        """(F, C) largest softmax probability; NaN where nothing was called. For some thousand films: it is kept."""
        return self.sure(np.arange(len(self.films)))

    @cached_property
    def _names(self) -> npt.NDArray[np.object_]:
        """(256,) class names by call, empty where nothing was called."""
        return np.array([*self.classes, *[""] * (256 - len(self.classes))], dtype=object)

    @cached_property
    def columns(self) -> Mapping[str, ExtensionArray]:
        """(F,) texts of the films, (C,) of the conditions and (256,) of the calls, by name of a column of `long`."""
        of_films = {"cohort": "cohort", "film": "id", "patient": "patient", "truth": "label"}
        texts = {name: self.films[own] for name, own in of_films.items()}
        texts |= {"condition": pd.Series(self.conditions), "call": pd.Series(self._names)}
        return {name: column.astype("str").array for name, column in texts.items()}

    @cached_property
    def called(self) -> npt.NDArray[np.bool_]:
        """(F, C) whether there is a call."""
        return np.asarray(self.calls < UNDEFINED)

    @cached_property
    def changed(self) -> npt.NDArray[np.bool_]:
        """(F, C) whether the call is another one than on the clean film."""
        clean = self.calls[:, :1]
        return np.asarray(self.called & (clean < UNDEFINED) & (self.calls != clean))

    @cached_property
    def wrong(self) -> npt.NDArray[np.bool_]:
        """(F, C) whether the call is not the label, of films that have one."""
        return np.asarray(self.called & (self.truth[:, None] >= 0) & (self.calls != self.truth[:, None]))

    @cached_property
    def _counted(self) -> _Counted:
        """What `summary` says of every film in numbers."""
        parts = [one.counted_at_once() for one in self._in_parts()]
        return _Counted(*map(np.concatenate, zip(*parts, strict=True)))

    def counted_at_once(self) -> _Counted:
        """Return what is counted of some thousand films."""
        surest = np.where(self.wrong, self.confidence, -1.0)
        return _Counted(
            clean=self.confidence[:, 0],
            asked=self.called.sum(axis=1) - self.called[:, 0],
            changes=self.changed.sum(axis=1),
            lost=(self.wrong & ~self.wrong[:, :1] & self.called[:, :1]).sum(axis=1),
            surest=surest.max(axis=1),
            surest_at=surest.argmax(axis=1),
        )

    def summary(self) -> pd.DataFrame:
        """Return one row per film: truth, clean call, how many conditions change it, its surest wrong call."""
        found, clean = self._counted, self.calls[:, 0]
        surest, worst, held = found.surest, found.surest_at, found.surest >= 0
        known = (self.truth >= 0) & (clean < UNDEFINED)
        return pd.DataFrame({
            "subject": self.subject, **{name: self.columns[name] for name in ("cohort", "film", "patient", "truth")},
            "call": self._names[clean], "confidence": found.clean, "right": _where_known(clean == self.truth, known),
            "conditions_asked": found.asked, "conditions_that_change_the_call": found.changes,
            "surest_wrong_condition": np.where(held, np.array(self.conditions, dtype=object)[worst], ""),
            "surest_wrong_call": np.where(held, self._names[self.calls[np.arange(len(worst)), worst]], ""),
            "surest_wrong_confidence": np.where(held, surest, np.nan),
        })  # fmt: skip

    def worst(self, count: int) -> list[int]:
        """Return the labelled films that most conditions turn from right to wrong, of equals the surest wrong one."""
        found = self._counted
        order = np.lexsort((-found.surest, -found.lost))
        mistaken = found.surest >= 0
        return [int(at) for at in order[mistaken[order]][:count]]

    def long(self, films: slice = slice(None)) -> pd.DataFrame:
        """Return one row per film and condition that was asked: call, confidence, right or wrong, changed or not."""
        part = self.among(np.arange(len(self.films))[films])
        film, condition = np.nonzero(part.calls < NOT_ASKED)
        known = (part.truth[film] >= 0) & part.called[film, condition]
        both = part.called[film, condition] & part.called[film, 0]
        at = dict.fromkeys(("cohort", "film", "patient", "truth"), film)
        at |= {"condition": condition, "call": part.calls[film, condition].astype(np.int64)}
        return pd.DataFrame({
            "subject": part.subject, **{name: part.columns[name].take(places) for name, places in at.items()},
            "confidence": part.confidence[film, condition],
            "right": _where_known(~part.wrong[film, condition], known),
            "changed": _where_known(part.changed[film, condition], both),
        })  # fmt: skip

    def packed(self) -> dict[str, Any]:
        """Return what the page embeds: calls and confidences as one byte each, row by row, in base64."""
        steps = b"".join(one.steps().tobytes() for one in self._in_parts())
        return {
            "name": self.subject,
            "classes": list(self.classes),
            "truth": [int(value) for value in self.truth],
            "calls": base64.b64encode(self.calls.tobytes()).decode("ascii"),
            "confidence": base64.b64encode(steps).decode("ascii"),
        }

    def steps(self) -> npt.NDArray[np.uint8]:
        """Return (F, C) confidences in steps, 0 where nothing was called."""
        return np.where(np.isfinite(self.confidence), np.round(self.confidence * STEPS), 0).astype(np.uint8)


def film_answers(record: Record) -> list[FilmAnswers]:
    """Return the answers of every subject, on the main cohort's films first, then those of probes asked about."""
    columns = ["id", "label", "patient"]
    tables = [cohort.table[columns].assign(cohort=cohort.name) for cohort in record.asked_about]
    films = pd.concat(tables, ignore_index=True)
    films = films.assign(**{name: films[name].fillna("").astype(str) for name in ("id", "label", "patient", "cohort")})
    texts = [str(text) for text in record.predictions["condition"].unique()]
    entries = {text: described(text) for text in texts}
    first: dict[str, int] = {}
    for place, text in enumerate(texts):
        first.setdefault(entries[text]["group"], place)

    def order(text: str) -> tuple[bool, int, int]:
        return text != CLEAN, first[entries[text]["group"]], entries[text]["severity"]

    conditions = tuple(sorted(texts, key=order))
    return [
        _answers(record.predictions, subject.name, subject.classes, _labelled(films, record, subject.name), conditions)
        for subject in record.subjects
        if (record.predictions["subject"] == subject.name).any()
    ]


def _labelled(films: pd.DataFrame, record: Record, subject: str) -> pd.DataFrame:
    """Return the films with the labels that a subject of one finding is judged by, none where nobody says it."""
    if subject not in record.labelled:
        return films
    own = record.labelled[subject].table
    label = dict(zip(own["id"].astype(str), own["label"].astype(str), strict=True))
    main = films["cohort"] == record.cohort.name
    return films.assign(label=films["id"].map(label).where(main, "").fillna(""))


def _answers(
    predictions: pd.DataFrame, subject: str, classes: tuple[str, ...], films: pd.DataFrame, conditions: tuple[str, ...]
) -> FilmAnswers:
    mine = (predictions["subject"] == subject).to_numpy()
    own = predictions if mine.all() else predictions[mine]
    place_of, column_of = _films_of(own, films), _conditions_of(own, conditions)
    logits = [own[f"logit_{index}"].to_numpy() for index in range(len(classes))]
    calls = np.full((len(films), len(conditions)), NOT_ASKED, dtype=np.uint8)
    row_of = np.full(calls.shape, -1, dtype=np.min_scalar_type(-len(own) - 1))
    for start in range(0, len(own), _AT_ONCE):
        here = slice(start, start + _AT_ONCE)
        at, column = place_of(here), column_of(here)
        known = np.nonzero(at >= 0)[0]
        film, condition, rows = at[known], column[known], start + known
        values = np.stack([one[rows] for one in logits], axis=1)
        calls[film, condition] = np.where(np.isfinite(values).all(axis=1), values.argmax(axis=1), UNDEFINED)
        row_of[film, condition] = rows
    index: Mapping[str, int] = {name: place for place, name in enumerate(classes)}
    labels = texts_of(films["label"]).dictionary_encode()
    truth = np.array([index.get(label, -1) for label in labels.dictionary.to_pylist()], dtype=np.int64)
    return FilmAnswers(
        subject=subject, classes=classes, films=films, conditions=conditions,
        truth=truth[labels.indices.to_numpy()], calls=calls, sure=_Confidence.of(logits, row_of),
    )  # fmt: skip


@dataclass(frozen=True)
class _Confidence:
    """Gives the confidence of films as it is asked for: kept, that of 100,000 films is 15 MB, or 8 as places of rows.

    Attributes:
        logits: of each class, by row of the predictions.
        first: (F, C) the row of each film under each condition, -1 where there is none; or (F, 1) that of the first,
            where the rows of films that have any lie alike.
        further: (1, C) how many rows after it that of each condition lies.
    """

    logits: Sequence[npt.NDArray[np.floating[Any]]]
    first: npt.NDArray[np.signedinteger[Any]]
    further: npt.NDArray[np.signedinteger[Any]]

    @classmethod
    def of(
        cls, logits: Sequence[npt.NDArray[np.floating[Any]]], rows: npt.NDArray[np.signedinteger[Any]]
    ) -> _Confidence:
        """Return what needs least memory to know the (F, C) rows."""
        some = int((rows[:, 0] >= 0).argmax())
        alike, further = cls(logits, rows[:, :1].copy(), rows[[some]] - rows[some, 0]), np.zeros((1, 1), dtype=np.int8)
        starts = range(0, len(rows), _FILMS_AT_ONCE)
        parts = (slice(start, start + _FILMS_AT_ONCE) for start in starts)
        return (
            alike
            if all(np.array_equal(alike._rows(part), rows[part]) for part in parts)
            else cls(logits, rows, further)
        )

    def _rows(self, films: slice | npt.NDArray[np.int64]) -> npt.NDArray[np.signedinteger[Any]]:
        first = self.first[films]
        return np.where(first >= 0, first + self.further, -1)

    def __call__(self, films: npt.NDArray[np.int64]) -> npt.NDArray[np.float64]:
        """Return (f, C) the largest softmax probability of films at f places, NaN where nothing was called."""
        rows = self._rows(films)
        found = np.full(rows.shape, np.nan)
        known = rows >= 0
        values = np.stack([one[rows[known]] for one in self.logits], axis=1).astype(np.float64)
        answered = np.isfinite(values).all(axis=1)
        known[known] = answered
        found[known] = softmax(values[answered], axis=1).max(axis=1)
        return found


Places = Callable[[slice], npt.NDArray[np.int64]]
"""Gives the place of what each of some rows is about, -1 where it has none."""


def _films_of(predictions: pd.DataFrame, films: pd.DataFrame) -> Places:
    """Return what gives the place of each row's film, -1 where it is none of these; each film is looked up once."""
    cohorts, images = (pd.Categorical(predictions[name]) for name in ("cohort", "image"))
    each = len(images.categories)

    def pair(rows: slice) -> npt.NDArray[np.int64]:
        return np.asarray(cohorts.codes[rows].astype(np.int64) * each + images.codes[rows])

    asked = np.zeros(len(cohorts.categories) * each, dtype=bool)
    for start in range(0, len(predictions), _AT_ONCE):
        asked[pair(slice(start, start + _AT_ONCE))] = True
    of_pair = np.full(len(asked), -1, dtype=np.int64)
    known, ids = texts_of(pd.Series(images.categories)), texts_of(films["id"])
    for place, cohort in enumerate(cohorts.categories):
        own = np.flatnonzero(films["cohort"] == str(cohort))
        here = slice(place * each, (place + 1) * each)
        found = places(known, ids.take(pa.array(own)))
        there = asked[here] & (found >= 0)
        of_pair[here][there] = own[found[there]]
    return lambda rows: of_pair[pair(rows)]


def _conditions_of(predictions: pd.DataFrame, conditions: Sequence[str]) -> Places:
    """Return what gives the place of each row's condition."""
    told = pd.Categorical(predictions["condition"])
    known: Mapping[str, int] = {text: place for place, text in enumerate(conditions)}
    at = np.array([known.get(str(text), -1) for text in told.categories], dtype=np.int64)
    return lambda rows: at[told.codes[rows]]


def _where_known(told: npt.NDArray[np.bool_], known: npt.NDArray[np.bool_]) -> pd.Series:
    """Return a column of yes and no, neither where it is not known."""
    return pd.Series(told).astype("boolean").where(pd.Series(known))


def described(condition: str) -> dict[str, Any]:
    """Return a condition as the page lists it: what is done, how severely, and that in its units."""
    single = _SINGLE.fullmatch(condition)
    known = single is not None and single["name"] in perturbation.names()
    return {
        "text": condition,
        "words": in_words(condition, inside=True) if known or not single else condition,
        "group": single["name"] if single else condition,
        "name": stress(single["name"]) if single else condition,
        "severity": int(single["severity"]) if single else 0,
        "units": in_units(condition) if known else "",
    }
