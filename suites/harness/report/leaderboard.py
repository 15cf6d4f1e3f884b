"""Which of many subjects is harmed least? A page over finished reports, read from their results.json alone.

The idea is RobustBench's (Croce et al. 2021, arXiv:2010.09670). Subjects are put side by side only where they were
judged on the same films, with the same probes and under the same settings; and ranks order estimates, they prove no
difference: that takes one run of both subjects, which pairs their answers film by film.
"""

from __future__ import annotations

import json
import math
from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import jinja2
import pandas as pd

from suites.harness.claims import Verdict
from suites.harness.errors import UsageProblem, one_line
from suites.harness.formatting import wording
from suites.harness.report import page
from suites.harness.report.folder import report_folder
from suites.harness.report.results import load_results, part_of
from suites.harness.report.table import Table, as_table

FILES = (
    ("leaderboard.csv", "one row per subject: rank, accuracy, verdicts"),
    ("leaderboard-claims.csv", "one row per claim and subject: effect with interval, verdict"),
    ("leaderboard.json", "both, for programs"),
)
OPEN = Verdict.INCONCLUSIVE.value
SETTINGS = ("profile", "seed")
"""Of a run, what must be the same for its numbers to stand beside another's. The resolution need not: it is chosen so
that a subject cannot tell."""
LEAST = 5
"""Shared claims, each settled for one of the subjects at least, from which subjects are ranked."""
ACCURACIES = ("accuracy", "balanced_accuracy")


@dataclass(frozen=True, kw_only=True)
class Entry:
    """One subject of one report.

    Attributes:
        name: of the subject, with the report's folder where another subject has the same one.
        report: name of the folder it was read from.
        document: its results.json; `subject` the part of it on this subject.
        claims: claim id -> the claim as results.json has it.
    """

    name: str
    report: str
    document: Mapping[str, Any]
    subject: Mapping[str, Any]
    claims: Mapping[str, Mapping[str, Any]]

    @property
    def films(self) -> tuple[str, ...]:
        """What it was judged on and how: entries are comparable where this is equal."""
        cohort, run = self.document["cohort"], self.document.get("run", {})
        probes = sorted((role, probe.get("fingerprint", "")) for role, probe in self.document.get("probes", {}).items())
        return (
            str(cohort.get("fingerprint") or cohort.get("name")),
            *(f"{role} {fingerprint}" for role, fingerprint in probes),
            *(f"{name} {run.get(name, '')}" for name in SETTINGS),
            *(f"precision {version}" for version in [run.get("versions", {}).get("precision", "float32")]),
        )

    def measure(self, name: str) -> Mapping[str, Any] | None:
        """Return a measure of the clean films, wherever a claim states it with an interval."""
        return next(
            (
                measure
                for claim in self.claims.values()
                for measure in claim.get("measures", ())
                if measure["name"] == name and measure.get("condition") in ("", "clean") and measure["low"] is not None
            ),
            None,
        )


@dataclass(frozen=True, kw_only=True)
class Board:
    """Subjects judged on the same films, the least harmed first.

    Attributes:
        title: the films.
        told: what else was the same, and what a reader must know.
        entries: in the order of their mean rank.
        ranks: mean rank of each entry over the shared claims; NaN where there is none.
        unranked: why there is none, in words; empty where there is.
        shared: ids of the claims that every entry has an effect for, judged by the same measure.
    """

    title: str
    told: str
    entries: tuple[Entry, ...]
    ranks: tuple[float, ...]
    shared: tuple[str, ...]
    unranked: str = ""

    def summary(self) -> pd.DataFrame:
        """Return one row per subject."""
        rows = []
        for entry, rank in zip(self.entries, self.ranks, strict=True):
            found = [claim["verdict"] for claim in entry.claims.values()]
            rows.append(
                {"films": self.title, "subject": entry.name, "report": entry.report, "mean_rank": rank,
                 "claims_ranked": 0 if self.unranked else len(self.shared)}
                | {f"{name}{end}": (entry.measure(name) or {}).get(part, math.nan)
                   for name in ACCURACIES
                   for end, part in (("", "estimate"), ("_low", "low"), ("_high", "high"))}
                | {verdict.value: found.count(verdict.value) for verdict in wording.VERDICTS}
                | {"architecture": entry.subject.get("architecture", ""), "sha256": entry.subject["sha256"]}
            )  # fmt: skip
        return pd.DataFrame(rows)

    def claims(self) -> pd.DataFrame:
        """Return one row per claim and subject."""
        rows = [
            {"films": self.title, "claim": name, "section": claim.get("section", ""), "subject": entry.name,
             "ranked": name in self.shared and not self.unranked, "verdict": claim["verdict"],
             "measure": effect.get("name", ""),
             "estimate": effect.get("estimate"), "low": effect.get("low"), "high": effect.get("high"),
             "margin": claim.get("margin")}
            for entry in self.entries
            for name, claim in entry.claims.items()
            for effect in [claim.get("effect") or {}]
        ]  # fmt: skip
        return pd.DataFrame(rows)


def leaderboard(reports: Sequence[Path]) -> list[Board]:
    """Return a board for each set of films that reports were made on, the one with the most subjects first.

    Raises:
        UsageProblem: a report cannot be read, or the same one is named twice; says which.
    """
    entries: list[Entry] = []
    for path in reports:
        document = load_results(path)
        name = path.resolve().parent.name if path.name == "results.json" else path.resolve().name
        if (part := part_of(document)) is not None:
            name = f"{name}, {part.judged} of {part.of} {part.what}"
        known = [entry for entry in entries if entry.document == document]
        if known:
            raise UsageProblem(f"{one_line(str(path), 80)} is the same report as {known[0].report}; name each once")
        entries += [_entry(subject, name, document) for subject in document["subjects"]]
    groups: dict[tuple[str, ...], list[Entry]] = {}
    for entry in _apart(entries):
        groups.setdefault(entry.films, []).append(entry)
    boards = [_board(group) for group in groups.values()]
    return sorted(boards, key=lambda board: -len(board.entries))


def write_leaderboard(boards: Sequence[Board], folder: Path) -> Path:
    """Write the page and its tables into a folder and return its `index.html`.

    Raises:
        UsageProblem: the folder holds files of others, or cannot be written.
    """
    summaries = pd.concat([board.summary() for board in boards], ignore_index=True)
    claims = pd.concat([board.claims() for board in boards], ignore_index=True)
    shown = [(board, as_table(_as_text(board)), _matrix(board)) for board in boards]
    with report_folder(folder) as partial:
        summaries.to_csv(partial / FILES[0][0], index=False)
        claims.to_csv(partial / FILES[1][0], index=False)
        both = {"subjects": _records(summaries), "claims": _records(claims)}
        (partial / FILES[2][0]).write_text(json.dumps(both, indent=1, ensure_ascii=False) + "\n", encoding="utf-8")
        html = _template().render(boards=shown, files=FILES, words=wording.VERDICTS.values(), **page.assets())
        (partial / "index.html").write_text(html, encoding="utf-8")
    return folder / "index.html"


def _entry(subject: Mapping[str, Any], report: str, document: Mapping[str, Any]) -> Entry:
    name = str(subject["name"])
    claims = {str(claim["id"]): claim for claim in document["claims"] if claim["subject"] == name}
    return Entry(name=name, report=report, document=document, subject=subject, claims=claims)


def _apart(entries: Sequence[Entry]) -> list[Entry]:
    """Return the entries, those of one name or of a part with their report's, and with a number where it takes one."""
    names: list[str] = []
    for entry in entries:
        alone = sum(other.name == entry.name for other in entries) == 1 and part_of(entry.document) is None
        name = entry.name if alone else f"{entry.name} ({entry.report})"
        again = names.count(name)
        names.append(name)
        if again:
            names[-1] = f"{name} #{again + 1}"
    return [
        Entry(name=name, report=e.report, document=e.document, subject=e.subject, claims=e.claims)
        for name, e in zip(names, entries, strict=True)
    ]


def _board(entries: Sequence[Entry]) -> Board:
    shared = tuple(name for name in entries[0].claims if len(entries) > 1 and _comparable(name, entries))
    harms = pd.DataFrame(
        {at: [_harm(entry.claims[name]) for name in shared] for at, entry in enumerate(entries)}, dtype=float
    )
    unranked = _unranked(shared, entries)
    means = harms.rank(axis=1).mean() if not unranked else pd.Series([math.nan] * len(entries))
    order = sorted(range(len(entries)), key=lambda at: (means[at] if math.isfinite(means[at]) else math.inf, at))
    cohort, run = entries[0].document["cohort"], entries[0].document.get("run", {})
    partial = list(dict.fromkeys(entry.report for entry in entries if part_of(entry.document) is not None))
    told = [f"{name} {run[name]}" for name in SETTINGS if name in run]
    told += dict.fromkeys(
        str(entry.document["run"]["resolution"]) for entry in entries if "resolution" in entry.document.get("run", {})
    )
    title = f"{cohort['name']}: {cohort.get('n', '?')} films of {cohort.get('patients', '?')} patients"
    if partial:
        told.insert(0, f"incomplete: {'; '.join(partial)}, so counts of verdicts do not compare")
    if cohort.get("simulated"):
        told.append("simulated films: a self-test, which says nothing about any clinical use")
    return Board(
        title=title,
        told="; ".join(told),
        entries=tuple(entries[at] for at in order),
        ranks=tuple(float(means[at]) for at in order),
        shared=shared,
        unranked=unranked,
    )


def _unranked(shared: Sequence[str], entries: Sequence[Entry]) -> str:
    """Return why entries cannot be ranked; empty where they can."""
    if len(entries) < 2:
        return "nobody else was judged on these films and with these settings"
    settled = sum(any(entry.claims[name]["verdict"] != OPEN for entry in entries) for name in shared)
    if settled >= LEAST:
        return ""
    return f"a rank takes {LEAST} shared claims that are settled for one of the subjects, and there are {settled}"


def _comparable(name: str, entries: Sequence[Entry]) -> bool:
    """Return whether every entry has an effect for a claim, of the same endpoint, parameters and measure."""
    claims = [entry.claims.get(name) for entry in entries]
    if any(claim is None or not _finite(claim) for claim in claims):
        return False
    how = [
        (claim.get("endpoint"), claim.get("parameters"), claim["effect"]["name"], claim.get("kind"))
        for claim in claims
        if claim is not None
    ]
    return all(one == how[0] for one in how)


def _finite(claim: Mapping[str, Any]) -> bool:
    effect = claim.get("effect")
    return effect is not None and effect.get("estimate") is not None and claim["verdict"] != "not_evaluable"


def _harm(claim: Mapping[str, Any]) -> float:
    """Return the effect with the sign by which more is worse for whoever relies on the subject (see `wording.harm`)."""
    return wording.worse(claim["kind"], claim.get("direction", "above")) * float(claim["effect"]["estimate"])


def _as_text(board: Board) -> pd.DataFrame:
    rows = []
    for entry, rank in zip(board.entries, board.ranks, strict=True):
        found = [claim["verdict"] for claim in entry.claims.values()]
        rows.append(
            {"subject": entry.name, "report": entry.report, "mean rank": f"{rank:.2f}" if math.isfinite(rank) else ""}
            | {wording.plain_name(name): _with_interval(entry.measure(name)) for name in ACCURACIES}
            | {words.word: found.count(verdict.value) for verdict, words in wording.VERDICTS.items()}
            | {"network": str(entry.subject.get("architecture", ""))}
        )  # fmt: skip
    return pd.DataFrame(rows)


def _matrix(board: Board) -> Table:
    """Return the claims by subject as text: the effect, and the verdict in words."""
    ids = list(dict.fromkeys(name for entry in board.entries for name in entry.claims))
    frame = pd.DataFrame(
        [
            {"claim": name + ("" if name in board.shared else " (not ranked)")}
            | {entry.name: _cell(entry.claims.get(name)) for entry in board.entries}
            for name in ids
        ]
    )
    return as_table(frame)


def _cell(claim: Mapping[str, Any] | None) -> str:
    if claim is None:
        return "not judged"
    word = {verdict.value: words.word for verdict, words in wording.VERDICTS.items()}[claim["verdict"]]
    return f"{_with_interval(claim['effect'])}, {word.lower()}" if _finite(claim) else word.lower()


def _with_interval(measure: Mapping[str, Any] | None) -> str:
    if measure is None:
        return ""
    unit = measure.get("unit", "plain")
    text = wording.number(float(measure["estimate"]), unit)
    if measure.get("low") is None or measure.get("high") is None:
        return text
    return wording.spanned(float(measure["estimate"]), float(measure["low"]), float(measure["high"]), unit)


def _records(frame: pd.DataFrame) -> list[dict[str, Any]]:
    """Return the rows in plain JSON types; a number that is none becomes null."""
    return [dict(row) for row in json.loads(frame.to_json(orient="records", double_precision=15))]


def _template() -> jinja2.Template:
    return page.environment().get_template("leaderboard.html.j2")
