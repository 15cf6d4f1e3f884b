"""How sure is the subject of a white film, and what does it say to it? All classes, on normal and on ill films."""

from __future__ import annotations

from functools import partial

import numpy as np

from suites.harness import statistics
from suites.harness.claims import Claim, Headroom, Result
from suites.harness.endpoints import headroom
from suites.harness.endpoints.failure_modes import white_films
from suites.harness.endpoints.failure_modes.refused_films import Refused
from suites.harness.endpoints.failure_modes.white_films import Said
from suites.harness.endpoints.parameters import REQUIRED, Conditions, FurtherConditions
from suites.harness.endpoints.registry import beyond, endpoint, measured, within
from suites.harness.formatting import figures
from suites.harness.formatting.cells import percent, whole_percent
from suites.harness.formatting.wording import opened, plain_name, slug
from suites.harness.predictions.answers import CONFIDENT, Answers
from suites.harness.predictions.conditions import CLEAN, expand, parse
from suites.harness.predictions.evidence import Evidence

TITLE = "What it says to a white film"
LEFT = (
    f"left to a person: less sure than clean films that may be answered with {whole_percent(white_films.RISK)} errors"
)


@endpoint(
    "confident_whatever_the_cause",
    parameters={"conditions": Conditions(REQUIRED), "extents": FurtherConditions((), beside_verdict=True)},
)
def confident_whatever_the_cause(evidence: Evidence, claim: Claim) -> Result:
    """Mean over `conditions` of the share of films called with more than 90 % confidence; with all that is called.

    By cause, extent (those of `extents` in the profiles standard and full), side and what the film was before.
    """
    answers = evidence.main
    causes = [parse(text).text for text in claim.parameters["conditions"]]
    everyone = np.ones(len(answers.cohort), dtype=bool)
    refused = Refused.of(answers, causes, everyone)
    films = refused.films
    sure = {condition: answers.score("confident_share", condition, films) for condition in causes}
    mean, n = statistics.average(list(sure.values()), answers.resamples.subset(films).patients), int(films.sum())
    usual = measured("confident_share", CLEAN, answers.score("confident_share", CLEAN, films), n, unit="share")
    effect = measured("confident_share", "mean over causes", mean, n, unit="share")
    rows = [row for condition in _shown(evidence, claim, causes) for row in white_films.said(answers, condition, films)]
    judged = [row for row in rows if row.condition in causes]
    whole = [row for row in rows if row.side not in {"left", "right"}]
    file = f"white-films-{slug(answers.subject.name)}.csv"
    return Result(
        effect=effect,
        p_beyond=beyond(mean, claim),
        p_within=within(mean, claim),
        headroom=[headroom.skill(answers), Headroom(measure=usual, bar=claim.margin)],
        measures=[
            usual,
            *(measured("confident_share", name, share, n, unit="share") for name, share in sure.items()),
            *(measure for row in judged if row in whole for measure in row.measures),
        ],
        summary=(
            f"{percent(effect.estimate)} of answers to films made white are above {whole_percent(CONFIDENT)} "
            f"confidence, as are {percent(usual.estimate)} of those to the same films untouched. "
            f"{_told(answers, judged)} {refused.sentence}"
        ).strip(),
        figures={
            "white_films": partial(
                figures.stacked_shares, white_films.shares(whole), answers.subject.classes, title=TITLE
            )
        },
        tables={
            f"{TITLE} (95 % intervals; {LEFT}; by the side of the picture that is white in {file})": white_films.table(
                answers, whole
            ),
            **refused.tables,
        },
        files={
            file: (
                white_films.numbers(rows, answers.subject.name).to_csv(index=False),
                f"what {answers.subject.name} says to white films, by cause, extent, side and film before",
            )
        },
    )


def _shown(evidence: Evidence, claim: Claim, causes: list[str]) -> list[str]:
    """Return the conditions of the table, those of one cause together by severity."""
    further = claim.parameters["extents"] if evidence.profile != "quick" else ()
    wanted = [*map(parse, causes), *expand(further, evidence.severities)]
    order = list(dict.fromkeys(item.perturbation for item in wanted))
    wanted.sort(key=lambda item: (order.index(item.perturbation), item.severity))
    # A further extent that could not be had takes nothing from the causes.
    failed = evidence.main.predictions.failed
    return [text for text in dict.fromkeys(item.text for item in wanted) if text in causes or text not in failed]


def _told(answers: Answers, rows: list[Said]) -> str:
    """Return in sentences what is called, mean over causes, and how much is left to a person."""
    sentences = []
    for before in dict.fromkeys(row.before for row in rows):
        mine = [row for row in rows if row.before == before and row.side not in {"left", "right"}]
        calls = [
            f"{plain_name(name)} {percent(float(np.mean([row.called[name].estimate for row in mine])))}"
            for name in answers.subject.classes
        ]
        sentences.append(f"{opened(before)} films made white are called {', '.join(calls)}")
        left = [row.left.estimate for row in mine if row.left is not None]
        if left:
            sentences[-1] += (
                f", and {percent(float(np.mean(left)))} are left to a person where "
                f"{whole_percent(white_films.RISK)} errors on clean films are allowed"
            )
    return " ".join(f"{sentence}." for sentence in sentences)
