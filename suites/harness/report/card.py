"""What goes on the model card? Metadata the Hub reads, and the limitations page with measured sizes."""

from __future__ import annotations

import re
from collections import Counter
from collections.abc import Callable, Iterator, Sequence
from pathlib import Path

from huggingface_hub import EvalResult, ModelCard, ModelCardData

from suites.harness.claims import Judgement, Verdict
from suites.harness.cohorts.cohort import Cohort
from suites.harness.counts import counted
from suites.harness.errors import UsageProblem
from suites.harness.formatting import wording
from suites.harness.formatting.wording import slug
from suites.harness.local_paths import without_folders
from suites.harness.performance import clean_films
from suites.harness.record import PAGE, Record
from suites.harness.report.part import TAG
from suites.harness.subjects.formats.hub import PUBLISHED
from suites.harness.subjects.subject import Subject

TAGS = ("chest-x-ray", "measured-limitations", "not-a-medical-device")
FOUND = (Verdict.VIOLATED, Verdict.SUPPORTED)
"""Verdicts that are findings against a subject."""
SPECIAL = re.compile(r"([\\`*_{}\[\]<>()#+!|~$&])")


def model_card(record: Record, subject: str | None = None) -> str:
    """Return a model card of one subject of the run: YAML front matter with `model-index`, then Markdown.

    Args:
        record: the finished run.
        subject: its name; needed only where the run has several.

    Raises:
        UsageProblem: no such subject, or several and none named, or nothing was measured on it.
    """
    chosen = _chosen(record, subject)
    text = f"---\n{_metadata(record, chosen)}\n---\n\n" + "\n".join(_lines(record, chosen)) + "\n"
    # Parsed once by the Hub's own reader, so that a card it would refuse never leaves here.
    ModelCard(text)
    return text


def write_model_cards(record: Record, file: Path, place: Callable[[Path], Path] | None = None) -> list[Path]:
    """Write the card of every subject and return the files.

    A card belongs to one repository on the Hub, so several subjects get one file each, with the subject's name behind
    the file's: `card.md` becomes `card-fragile.md` and `card-hardened.md`. All are made before the first is written.

    Args:
        record: the finished run.
        file: of the card, or what the names of several begin with.
        place: where each is written instead; by default there.

    Raises:
        UsageProblem: nothing was measured on a subject, or a file cannot be written.
    """
    texts = {
        (place(path) if place else path): model_card(record, subject.name)
        for path, subject in zip(card_files(record.subjects, file), record.subjects, strict=True)
    }
    for path, text in texts.items():
        try:
            path.write_text(text, encoding="utf-8")
        except OSError as problem:
            raise UsageProblem(f"cannot write the model card {path}: {problem.strerror}") from problem
    return list(texts)


def card_files(subjects: Sequence[Subject], file: Path) -> list[Path]:
    """Return the file of every subject's card."""
    if len(subjects) == 1:
        return [file]
    return [file.with_name(f"{file.stem}-{slug(subject.name)}{file.suffix}") for subject in subjects]


def _chosen(record: Record, name: str | None) -> Subject:
    names = [subject.name for subject in record.subjects]
    if name is None and len(names) != 1:
        raise UsageProblem(f"a model card is about one subject, this run has {', '.join(names) or 'none'}; name one")
    for subject in record.subjects:
        if name in (None, subject.name):
            return subject
    raise UsageProblem(
        f"no subject {name!r} in this run; there {'is' if len(names) == 1 else 'are'} {', '.join(names)}"
    )


def _metadata(record: Record, subject: Subject) -> str:
    cohort, answers = record.films_of(subject.name), clean_films.clean_answers(record, subject)
    measures = clean_films.overall(answers) if answers else []
    measures += [item for items in clean_films.per_class(answers).values() for item in items[:1]] if answers else []
    results = [
        EvalResult(
            task_type="image-classification",
            task_name="Chest X-ray classification",
            dataset_type=f"simulated-{slug(cohort.name)}" if cohort.simulated else slug(cohort.name),
            dataset_name=f"{cohort.name} (simulated films)" if cohort.simulated else cohort.name,
            dataset_args={"films": len(cohort), "patients": cohort.patients}
            | ({"simulated": True} if cohort.simulated else {}),
            metric_type=measure.name,
            metric_name=wording.plain_name(measure.name),
            metric_value=round(measure.estimate, 6),
            metric_args={"low": round(measure.low, 6), "high": round(measure.high, 6), "interval": measure.estimator},
        )
        for measure in measures
    ]
    if not results:
        raise UsageProblem(f"{subject.name} has no answers to clean, labelled films in this run; a card needs them")
    data = ModelCardData(
        model_name=subject.name,
        eval_results=results,
        pipeline_tag="image-classification",
        tags=[*TAGS, *(["simulated-films"] if cohort.simulated else []), *([TAG] if record.part else [])],
        **subject.provenance.metadata,  # type: ignore[arg-type]  # names of the Hub's own
    )
    return data.to_yaml()


def _lines(record: Record, subject: Subject) -> Iterator[str]:
    cohort = record.cohort
    yield f"# {_text(subject.name)}"
    yield ""
    if record.part:
        yield "> [!CAUTION]"
        yield f"> **{_text(wording.opened(str(record.part)))}.** What is missing here was neither passed nor failed."
        yield ""
    yield "> **Not a medical device.** Neither cleared nor clinically validated; for research and education only."
    for note in record.notes:
        yield f"> {_text(note)}"
    yield from ("", "## Intended use", "")
    yield (
        "Research and education: to learn where a classifier of chest radiographs fails, and to compare versions of "
        f"it. It answers with one of {_text(', '.join(map(wording.plain_name, subject.classes)))}, whatever it is "
        "shown: every other finding gets one of these names, too. It is not meant for the diagnosis, triage or care "
        "of patients; any use beyond research needs independent clinical validation."
    )
    # What the published page prints is no limitation of anybody else's weights.
    mine = {subject.name, cohort.name} | ({PAGE} if PUBLISHED in subject.provenance.source else set())
    judgements = [judgement for judgement in record.judgements if judgement.subject in mine]
    yield from ("", "## Limitations", "")
    yield from _sentences([judgement for judgement in judgements if judgement.subject == subject.name], cohort)
    yield from ("", "## Limitations, measured", "")
    known_by = "weights" if subject.differentiable else "answers to fixed films"
    yield (
        f"Judged on {counted(len(cohort), 'film')} of {counted(cohort.patients, 'patient')} "
        f"({_text(cohort.name)}), {known_by} "
        f"`{subject.provenance.sha256[:16]}`, preprocessing {_text(subject.preprocessing.name)}, seed {record.seed}, "
        f"profile {_text(record.profile)}. Brackets hold 95 % intervals over patients."
    )
    sections: dict[str, list[Judgement]] = {}
    for judgement in judgements:
        sections.setdefault(judgement.claim.section, []).append(judgement)
    for title, judgements in sections.items():
        yield from ("", f"### {_text(title)}", "")
        yield "| Claim | Verdict | Measured | Margin |"
        yield "| --- | --- | --- | --- |"
        for judgement in judgements:
            yield _row(judgement)
    yield from ("", "## Limits of this evidence", "")
    yield (
        "Passing is necessary, never sufficient: stresses are simulated on finished films, labels come with the films, "
        "and margins are engineering choices fixed before looking. An inconclusive claim is not a passed one."
    )
    yield from ("", "Reproduce with:", "", "```", record.command.replace("`", "'"), "```")


def _sentences(judgements: Sequence[Judgement], cohort: Cohort) -> Iterator[str]:
    """Say what was found against a subject, each with its size and interval, and how much was left open."""
    simulated = "simulated " if cohort.simulated else ""
    for judgement in judgements:
        if judgement.result is None or judgement.verdict not in FOUND:
            continue
        effect, told = judgement.result.effect, _text(judgement.claim.statement)
        lead = f"Required and not met: {told}" if judgement.verdict is Verdict.VIOLATED else told
        span = wording.interval(effect)
        size = f"{_text(wording.plain_name(effect.name))} {wording.estimate(effect)}"
        size += "" if span == "exact" else f" (95 % interval {span})"
        size += f" on {effect.n:,} {simulated}films"
        size += f" of {effect.patients:,} {simulated}patients" if effect.patients else ""
        size += ", larger than documented" if judgement.beyond_documented else ""
        size += "; exploratory, for few films" if effect.exploratory else ""
        yield f"- {lead.rstrip('.')}. Measured: {size}."
    found = Counter(judgement.verdict for judgement in judgements)
    counts = [words.counted(found[verdict]) for verdict, words in wording.VERDICTS.items() if found[verdict]]
    if not any(found[verdict] for verdict in FOUND):
        yield f"No claim judged was found against it on these {simulated}films, which is not the same as safe."
    yield ""
    yield (
        f"Of {len(judgements)} claims asked of it: {', '.join(counts)}. Those that are inconclusive or not evaluable "
        "are neither passed nor failed."
    )


def _row(judgement: Judgement) -> str:
    verdict, effect = wording.settled_by(judgement), judgement.result.effect if judgement.result else None
    if effect is None:
        measured = _text(wording.spoken(judgement.reason))
    else:
        measured = _text(wording.with_name(effect)).replace("\\(", "(").replace("\\)", ")")
        measured += ", exploratory" if effect.exploratory else ""
    # Of what was not measured nobody knows the unit of its margin.
    margin = f"{judgement.claim.direction} {wording.margin(judgement.claim, effect)}" if effect else "—"
    return f"| {_text(judgement.claim.statement)} | {verdict} | {measured} | {margin} |"


def _text(text: str) -> str:
    """Return text that Markdown prints as it is: one line, every special character escaped."""
    return SPECIAL.sub(r"\\\1", without_folders(" ".join(text.split())))
