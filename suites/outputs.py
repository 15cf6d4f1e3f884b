"""What does a run leave behind, and where? Its report, cards and gate, checked before the work and written after it."""

from __future__ import annotations

import os
import shlex
from collections.abc import Callable
from contextlib import suppress
from dataclasses import dataclass, field
from functools import partial
from pathlib import Path

import pytest

from suites.harness.errors import CohortProblem, UsageProblem, one_line
from suites.harness.evaluation import Evaluation
from suites.harness.local_paths import without_folders
from suites.harness.record import Part
from suites.harness.report.card import card_files, write_model_cards
from suites.harness.report.findings import whose
from suites.harness.report.folder import belongs, refuse_unwritable_file, refuse_unwritable_folder
from suites.harness.report.gate import GateOutcome, compare_with_baseline, refuse_unfit_baseline
from suites.harness.report.job_summary import job_summary, write_job_summary
from suites.harness.report.part import card_place, refuse_to_replace, report_place
from suites.limits import memory_line
from suites.options import value


@dataclass
class Outputs:
    """What a run has written: the report, its cards, the outcome of the gate, and what could not be written.

    Attributes:
        beside: what was to go to one place and went to another, as (wanted, written).
        interrupted: whether somebody ended the run while it was written.
    """

    report: Path | None = None
    cards: list[Path] = field(default_factory=list)
    gate: GateOutcome | None = None
    problems: list[str] = field(default_factory=list)
    beside: list[tuple[Path, Path]] = field(default_factory=list)
    interrupted: bool = False


def refuse_unwritable(config: pytest.Config, evaluation: Evaluation) -> None:
    """Find out now what a run of an hour would end in: nowhere to write to, or nothing to compare with.

    Raises:
        UsageProblem: it would.
    """
    if folder := value(config, "--report"):
        refuse_unwritable_folder(Path(folder))
    files = [(Path(summary), "the summary")] if (summary := value(config, "--summary")) else []
    if card := value(config, "--model-card"):
        files += [(file, "the model card") for file in card_files(evaluation.subjects, card)]
    for file, what in files:
        made = folder and not file.parent.exists() and file.parent.resolve() == Path(folder).resolve()
        if not made:  # by the report itself, which is written first
            refuse_unwritable_file(file, what)
    if github := os.environ.get("GITHUB_STEP_SUMMARY"):
        refuse_unwritable_file(Path(github), "the job's summary ($GITHUB_STEP_SUMMARY)")
    if baseline := value(config, "--baseline"):
        subjects, cohort = evaluation.subjects, evaluation.cohort
        films = [cohort]
        with suppress(CohortProblem):  # the run is refused for it, once its films have been counted
            films.append(evaluation.aligned(subjects[0], cohort, probe=False))
        refuse_unfit_baseline(baseline, {subject.name: subject.classes for subject in subjects}, films)


def refuse_part(config: pytest.Config, evaluation: Evaluation, asked: int) -> None:
    """Refuse a run that is asked for some of the judgements of a whole one, and would replace one of more of them.

    Raises:
        UsageProblem: it would.
    """
    whole = len(evaluation.pairs)
    if value(config, "--force") or not 0 < asked < whole:
        return
    card = value(config, "--model-card")
    cards = card_files(evaluation.subjects, card) if card else []
    refuse_to_replace(Part(judged=asked, of=whole, why=evaluation.chosen_by), value(config, "--report"), cards)


def chosen_by(config: pytest.Config) -> str:
    """Return what a command line has that chooses among the claims: files, `-k`, `-m`, `--deselect`."""
    files, expressions, deselected = _choosing(config)
    told = [*files, *(f"{word} {given!r}" for word, given in expressions), *(f"--deselect {one}" for one in deselected)]
    return one_line(without_folders(" ".join(told)), 120)


def started_with(config: pytest.Config, started: str) -> str:
    """Return how a run was started, with what chooses among the claims: for whoever runs the same again.

    Args:
        config: of pytest.
        started: the command without any options, ending in the folder of the suites.
    """
    files, chosen, deselected = _choosing(config)
    chosen += [("--deselect", f"suites/{one}") for one in deselected]
    words = [without_folders(text) for pair in chosen for text in pair]
    if files and started.endswith("suites/"):
        started = " ".join([started.removesuffix("suites/").rstrip(), *(shlex.quote(f"suites/{one}") for one in files)])
    return " ".join([started, *map(shlex.quote, words)])


def _choosing(config: pytest.Config) -> tuple[list[str], list[tuple[str, str]], list[str]]:
    """Return what chooses among the claims: files, (option, expression) of `-k` and `-m`, and what is deselected."""
    option = config.option
    expressions = [(word, given) for word, given in (("-k", option.keyword), ("-m", option.markexpr)) if given]
    return [end for end in map(_end, config.args) if ".py" in end], expressions, [*map(_end, option.deselect or ())]


def _end(word: str) -> str:
    file, between, node = str(word).partition("::")
    return f"{Path(file).name}{between}{node}"


def write(config: pytest.Config, evaluation: Evaluation) -> Outputs:
    """Write whatever was asked for of what was judged; what cannot be written keeps nothing else from being so."""
    outputs = Outputs()
    for step in (_compared, _reported, _carded, _summarised):
        if not outputs.interrupted:
            _one(step, config, evaluation, outputs)
    return outputs


Step = Callable[[pytest.Config, Evaluation, Outputs], None]


def _one(step: Step, config: pytest.Config, evaluation: Evaluation, outputs: Outputs) -> None:
    try:
        step(config, evaluation, outputs)
    except UsageProblem as problem:
        outputs.problems.append(str(problem))
    except MemoryError as problem:
        outputs.problems.append(memory_line(problem))
    except KeyboardInterrupt:
        outputs.interrupted = True
        outputs.problems.append("interrupted while it was written down; what was judged is kept, so run it again")


def _compared(config: pytest.Config, evaluation: Evaluation, outputs: Outputs) -> None:
    if baseline := value(config, "--baseline"):
        outputs.gate = compare_with_baseline(evaluation.record(), baseline)
        evaluation.remarks += [f"Release gate: {told}." for told in outputs.gate.renamed]


def _reported(config: pytest.Config, evaluation: Evaluation, outputs: Outputs) -> None:
    if folder := value(config, "--report"):
        place = _place(config, evaluation, outputs, Path(folder), report_place)
        outputs.report = evaluation.report(place)


def _carded(config: pytest.Config, evaluation: Evaluation, outputs: Outputs) -> None:
    if card := value(config, "--model-card"):
        place = partial(_place, config, evaluation, outputs, elsewhere=card_place)
        outputs.cards = write_model_cards(evaluation.record(), card, place)
        belongs(outputs.cards)


def _summarised(config: pytest.Config, evaluation: Evaluation, outputs: Outputs) -> None:
    """Write the job summary where the user or GitHub wants one, also of a run whose report could not be written."""
    asked, github = value(config, "--summary"), os.environ.get("GITHUB_STEP_SUMMARY")
    places = [(Path(asked), False)] if asked else []
    places += [(Path(github), True)] if github else []
    if not places:
        return
    notes = [*filter(None, [str(evaluation.part or "")]), *evaluation.notes]
    text = job_summary(
        evaluation.judgements, subjects=[one.name for one in evaluation.subjects], notes=notes, gate=outputs.gate,
        problem="; ".join(outputs.problems), who=whose(evaluation.cohort),
    )  # fmt: skip
    for file, append in places:
        write_job_summary(text, file, append=append)
    belongs([Path(asked)] if asked else [])


def _place(
    config: pytest.Config, evaluation: Evaluation, outputs: Outputs, wanted: Path,
    elsewhere: Callable[[Part, Path], Path],
) -> Path:  # fmt: skip
    """Return where something is written: where it was wanted, but for a part that may not replace what is there."""
    if evaluation.part is None or value(config, "--force"):
        return wanted
    place = elsewhere(evaluation.part, wanted)
    if place != wanted:
        outputs.beside.append((wanted, place))
    return place
