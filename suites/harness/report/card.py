"""What goes on the model card? Metadata the Hub reads, and the limitations page with measured sizes."""

from __future__ import annotations

import re
from collections.abc import Iterator, Sequence
from pathlib import Path

from huggingface_hub import EvalResult, ModelCard, ModelCardData

from suites.harness.claims import Judgement
from suites.harness.errors import UsageProblem
from suites.harness.formatting import wording
from suites.harness.formatting.wording import slug
from suites.harness.performance import clean_films
from suites.harness.record import PAGE, Record
from suites.harness.subjects.formats.hub import PUBLISHED
from suites.harness.subjects.subject import Subject

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


def write_model_cards(record: Record, file: Path) -> list[Path]:
    """Write the card of every subject and return the files.

    A card belongs to one repository on the Hub, so several subjects get one file each, with the subject's name behind
    the file's: `card.md` becomes `card-fragile.md` and `card-hardened.md`. All are made before the first is written.

    Raises:
        UsageProblem: nothing was measured on a subject, or a file cannot be written.
    """
    texts = {
        path: model_card(record, subject.name)
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
    raise UsageProblem(f"no subject {name!r} in this run; there are {', '.join(names)}")


def _metadata(record: Record, subject: Subject) -> str:
    answers = clean_films.clean_answers(record, subject)
    measures = clean_films.overall(answers) if answers else []
    measures += [item for items in clean_films.per_class(answers).values() for item in items[:1]] if answers else []
    results = [
        EvalResult(
            task_type="image-classification",
            task_name="Chest X-ray classification",
            dataset_type=slug(record.cohort.name),
            dataset_name=record.cohort.name,
            dataset_args={"films": len(record.cohort), "patients": record.cohort.patients},
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
        tags=["chest-x-ray", "measured-limitations", "not-a-medical-device"],
    )
    return data.to_yaml()


def _lines(record: Record, subject: Subject) -> Iterator[str]:
    cohort = record.cohort
    yield f"# {_text(subject.name)}"
    yield ""
    yield "> **Not a medical device.** Neither cleared nor clinically validated; for research and education only."
    for note in record.notes:
        yield f"> {_text(note)}"
    yield ""
    yield "## Limitations, measured"
    yield ""
    known_by = "weights" if subject.differentiable else "answers to fixed films"
    yield (
        f"Judged on {len(cohort):,} films of {cohort.patients:,} patients ({_text(cohort.name)}), {known_by} "
        f"`{subject.provenance.sha256[:16]}`, preprocessing {_text(subject.preprocessing.name)}, seed {record.seed}, "
        f"profile {_text(record.profile)}. Brackets hold 95 % intervals over patients."
    )
    sections: dict[str, list[Judgement]] = {}
    # What the published page prints is no limitation of anybody else's weights.
    mine = {subject.name, cohort.name} | ({PAGE} if PUBLISHED in subject.provenance.source else set())
    for judgement in record.judgements:
        if judgement.subject in mine:
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


def _row(judgement: Judgement) -> str:
    verdict, effect = wording.settled_by(judgement), judgement.result.effect if judgement.result else None
    if effect is None:
        measured = _text(judgement.reason)
    else:
        measured = f"{_text(wording.plain_name(effect.name))} {wording.estimate(effect)} ({wording.interval(effect)})"
        measured += ", exploratory" if effect.exploratory else ""
    margin = wording.margin(judgement.claim, effect)
    return f"| {_text(judgement.claim.statement)} | {verdict} | {measured} | {judgement.claim.direction} {margin} |"


def _text(text: str) -> str:
    """Return text that Markdown prints as it is: one line, every special character escaped."""
    return SPECIAL.sub(r"\\\1", " ".join(text.split()))
