"""What does the subject predict where it cannot know? White-outs of any cause, other views, patients, findings.

The right answer to such films is to abstain. What is measured is what the subject says instead, and how surely.
"""

from __future__ import annotations

from functools import partial

import numpy as np
import numpy.typing as npt

from calibration import scores
from suites.harness import statistics
from suites.harness.claims import Claim, GalleryItem, Headroom, Measure, Result
from suites.harness.cohorts.finding_names import shows_any
from suites.harness.cohorts.probes import films_of as films_of_role
from suites.harness.endpoints import headroom
from suites.harness.endpoints.external.two_hospitals import Hospital, TwoHospitals
from suites.harness.endpoints.failure_modes import white_films
from suites.harness.endpoints.failure_modes.refused_films import Refused
from suites.harness.endpoints.failure_modes.stress import counted, films_of
from suites.harness.endpoints.parameters import REQUIRED, ClassName, ConditionName, Conditions, Role
from suites.harness.endpoints.registry import beyond, endpoint, measured, within
from suites.harness.endpoints.spoken import films_of_class, finding, said_of
from suites.harness.endpoints.toll import toll
from suites.harness.endpoints.two_cohorts import TwoCohorts, against_chance, smallest_kind
from suites.harness.errors import NotEvaluable
from suites.harness.formatting import film_figures
from suites.harness.formatting.cells import percent, points, whole_percent
from suites.harness.formatting.severities import in_words, with_units
from suites.harness.formatting.wording import opened, plain_name
from suites.harness.predictions.answers import CONFIDENT, Answers
from suites.harness.predictions.conditions import CLEAN, parse
from suites.harness.predictions.evidence import Evidence
from suites.harness.statistics import Sampled, difference

Films = npt.NDArray[np.bool_]


@endpoint(
    "called_whatever_the_cause",
    parameters={
        "class": ClassName(),
        "truth": ClassName(""),
        "other_than": ClassName(""),
        "sham": ConditionName("", beside_verdict=True),
        "matched": ConditionName("", beside_verdict=True),
        "conditions": Conditions(REQUIRED),
    },
)
def called_whatever_the_cause(evidence: Evidence, claim: Claim) -> Result:
    """Mean over `conditions` of the share of films (of `truth`, or `other_than` a class) called `class`.

    With its spread, the controls, and a table of whatever else is called. Each cause is a condition that adds the same
    kind of density for another reason, so a subject that read causes would answer them differently. `sham` puts the
    density outside the lung, `matched` spreads the same dose evenly. Of a finding, the causes that may truly show it
    stand beside the mean: to claim it of them is no failure.
    """
    answers, name = evidence.main, claim.parameters["class"]
    among, whose = films_of(answers, claim), "films"
    if claim.parameters["truth"]:
        whose = films_of_class(answers, claim.parameters["truth"])
    if other := claim.parameters["other_than"]:
        whose = f"films of other classes than {plain_name(other)}"
        if finding(answers):
            whose = films_of_class(answers, answers.subject.classes[1 - answers.class_index(other)])
        among &= (answers.labels >= 0) & (answers.labels != answers.class_index(other))
    named = [parse(text).text for text in claim.parameters["conditions"]]
    right = [text for text in named if _is_right(answers, text, name)]
    if not (causes := [text for text in named if text not in right]):
        raise NotEvaluable(f"every cause may truly show {plain_name(name)}, so claiming it is no failure")
    refused = Refused.of(answers, causes, among)
    everywhere = refused.films
    shares = {condition: answers.score(f"called_{name}", condition, everywhere) for condition in causes}
    patients, n = answers.resamples.subset(everywhere).patients, int(everywhere.sum())
    mean = statistics.average(list(shares.values()), patients)
    estimates = {condition: share.estimate for condition, share in shares.items()}
    most, least = max(estimates, key=estimates.__getitem__), min(estimates, key=estimates.__getitem__)
    measures = [measured(f"called_{name}", condition, share, n, unit="share") for condition, share in shares.items()]
    measures.append(
        measured("cause_spread", f"{most} - {least}", difference(shares[most], shares[least]), n, unit="points")
    )
    unseen: list[str] = []
    for condition in (CLEAN, *right, *filter(None, (claim.parameters["sham"], claim.parameters["matched"]))):
        try:
            seen = everywhere & np.isfinite(answers.called(condition))
        except NotEvaluable as reason:  # a control takes nothing from the verdict
            unseen.append(f"The control, {in_words(condition, inside=True)}, is not evaluable: {reason}.")
            continue
        if not seen.any():
            unseen.append(f"The control, {in_words(condition, inside=True)}, is evaluable on none of them.")
            continue
        share = answers.score(f"called_{name}", condition, seen)
        measures.append(measured(f"called_{name}", condition, share, int(seen.sum()), unit="share"))
        if condition in right:
            said = f"{'said so' if finding(answers) else 'called so'} in {percent(share.estimate)} of cases"
            unseen.append(f"{in_words(condition)} may truly show {plain_name(name)} and is not counted ({said}).")
    sure = statistics.average(
        [answers.score("confident_share", condition, everywhere) for condition in causes], patients
    )
    measures.append(measured("confident_share", "all causes", sure, n, unit="share"))
    measures += toll(answers, causes, everywhere, "mean over causes - clean")
    effect = measured(f"called_{name}", "mean over causes", mean, n, unit="share")
    rows = [row for condition in named for row in white_films.said(answers, condition, everywhere, by_side=False)]
    return Result(
        effect=effect,
        p_beyond=beyond(mean, claim),
        p_within=within(mean, claim),
        headroom=[headroom.share_called(answers, name, claim.margin), headroom.class_skill(answers, name)],
        films=whose,
        measures=measures,
        summary=(
            f"{opened(whose)} made white are {said_of(answers, name)} in {percent(effect.estimate)} of cases, "
            f"{_between(estimates, least, most)}. "
            f"{_all_calls(answers, causes, everywhere)}Whatever is {'said' if finding(answers) else 'called'}, "
            f"{percent(sure.estimate)} of all answers are above {whole_percent(CONFIDENT)} confidence, where "
            f"abstaining would be right. {' '.join(filter(None, [refused.sentence, *unseen]))}".strip()
        ),
        finding=f"{percent(effect.estimate)} of {whose} made white are {said_of(answers, name)}.",
        tables={"What it says to them": white_films.table(answers, rows), **refused.tables},
        galleries=_causes(answers, causes, everywhere),
    )


def _is_right(answers: Answers, condition: str, name: str) -> bool:
    """Whether a subject of findings that claims one of a film made white so may be right."""
    asked = answers.subject.whole is not None and name == answers.subject.classes[-1]
    return asked and white_films.truly_shows(condition, name)


def _between(estimates: dict[str, float], least: str, most: str) -> str:
    """Return the causes under which a class is called least and most, in the units of their severity."""
    if estimates[least] == estimates[most]:
        return "whatever the cause"
    ends = (f"{percent(estimates[name])} ({with_units(name)})" for name in (least, most))
    return f"from {' to '.join(ends)}"


def _all_calls(answers: Answers, causes: list[str], films: np.ndarray[tuple[int], np.dtype[np.bool_]]) -> str:
    """Return in a sentence how often each class is called, mean over causes; of a finding nothing is left to say."""
    if finding(answers):
        return ""
    patients = answers.resamples.subset(films).patients
    shares = {
        name: statistics.average([answers.score(f"called_{name}", condition, films) for condition in causes], patients)
        for name in answers.subject.classes
    }
    told = [f"{plain_name(name)} {percent(share.estimate)}" for name, share in shares.items()]
    return f"All calls: {', '.join(told)}. "


def _causes(
    answers: Answers, causes: list[str], films: np.ndarray[tuple[int], np.dtype[np.bool_]]
) -> dict[str, list[GalleryItem]]:
    """Return the first films of the cohort under every cause."""
    items = []
    for index in np.flatnonzero(films)[:3]:
        image = answers.images[index]
        calls = "; ".join(
            f"{in_words(name)}: {call} {whole_percent(sure)}"
            for name in causes
            for call, sure in [film_figures.called(answers, image, name)]
        )
        draw = partial(film_figures.film_by_film, answers, image, [CLEAN, *causes])
        items.append(
            GalleryItem(
                caption=f"{image}; truth {film_figures.truth_of(answers, image)}", draw=draw, facts={"calls": calls}
            )
        )
    return {"The same films, white for different reasons": items}


@endpoint("confident_on_probe", parameters={"role": Role(), "of": ClassName("")})
def confident_on_probe(evidence: Evidence, claim: Claim) -> Result:
    """Share of the films of a probe (`role`) that are called, or called `of`, with more than 90 % confidence."""
    probe, main = evidence.probe(claim.parameters["role"]), evidence.main
    of, role = claim.parameters["of"], claim.parameters["role"]
    asked = _asked_about(probe, of, role)
    share, n = _surely(probe, of, asked), int(asked.sum())
    both, smallest = TwoCohorts.of(main, probe), smallest_kind(probe, asked)

    def on_probe(name: str, sampled: Sampled) -> Measure:
        return measured(name, role, sampled, n, unit="share", smallest=smallest, needed=50)

    usual = main.labels == main.class_index(of) if of else np.ones(len(main.cohort), dtype=bool)
    surely = measured("confident_share", CLEAN, _surely(main, of, usual), int(usual.sum()), unit="share")
    measures = [
        surely,
        on_probe("mean_confidence", probe.stated.score("mean_confidence", CLEAN, asked)),
    ]
    measures += [
        on_probe(f"called_{name}", probe.score(f"called_{name}", CLEAN, asked)) for name in probe.subject.classes
    ]
    uncertainty = scores.get("max-softmax")
    caught = both.auroc(np.concatenate([uncertainty(answers.logits()) for answers in (main, probe)]))
    against = f"{role} against {main.cohort.name}, max-softmax"
    measures.append(measured("auroc", against, caught, both.films, unit="plain", smallest=both.smallest, needed=50))
    labelled = probe.shared(CLEAN)
    right = probe.score("accuracy", CLEAN, labelled) if labelled.any() else None
    known, rarest = counted(probe, "accuracy", labelled)
    measured_right = [] if right is None else [measured("accuracy", role, right, known, unit="share", smallest=rarest)]
    films = films_of_role(role, of_findings=bool(finding(probe)))
    lost, sentence = _lost(main, probe, films)
    if of:
        told = f"{films} that are not known to show {plain_name(of)} are said to show it"
        judged = f"their mean probability of it is {percent(_mean_probability(probe, of, asked).estimate)}"
    else:
        told, judged = f"{films} are called", _rightly(share, right, known, n, role)
    return Result(
        effect=on_probe("confident_share", share),
        p_beyond=beyond(share, claim),
        p_within=within(share, claim),
        headroom=[headroom.skill(main), Headroom(measure=surely, bar=claim.margin)],
        films=films,
        measures=[*measures, *measured_right, *lost],
        summary=(
            f"{percent(share.estimate)} of {n} {told} with more than {whole_percent(CONFIDENT)} "
            f"confidence, {judged}; its own confidence tells them from the usual films "
            f"with an AUROC of {against_chance(caught)}.{sentence}"
        ),
        galleries=_surest(probe, films, of, asked),
    )


def _asked_about(probe: Answers, of: str, role: str) -> Films:
    """Return (N,) the films of a probe that are counted: of a finding, those that are not known to show it.

    A film is one of the `unseen` only where it shows no finding that the subject answers.

    Raises:
        NotEvaluable: there are none.
    """
    if not of:
        return np.ones(len(probe.cohort), dtype=bool)
    whole = probe.subject.whole
    answered = whole.classes if whole is not None and role == "unseen" else ()
    asked = (probe.labels != probe.class_index(of)) & ~shows_any(probe.cohort, [*answered, of])
    if not asked.any():
        known = "one of the findings that the subject answers" if answered else plain_name(of)
        raise NotEvaluable(f"every film of {probe.cohort.name} shows {known}, so none is asked about")
    return np.asarray(asked, dtype=bool)


def _surely(answers: Answers, of: str, among: Films) -> Sampled:
    """Return the share of films that are called with confidence; of a finding, that are said to show it with it.

    Its confidence is the probability that the subject states, wherever its operating point lies.
    """
    if not of:
        return answers.score("confident_share", CLEAN, among)
    index = answers.class_index(of)
    sure = answers.stated.probabilities()[:, index] > CONFIDENT
    return answers.rate(sure & (answers.called() == index), among)


def _mean_probability(answers: Answers, of: str, among: Films) -> Sampled:
    return answers.rate(answers.stated.probabilities()[:, answers.class_index(of)], among)


def _lost(main: Answers, probe: Answers, films: str) -> tuple[list[Measure], str]:
    """Return what labelled films of a probe cost in balanced accuracy beside the usual films, and say it.

    Nothing where its labels and the subject's classes have no two classes in common.
    """
    try:
        both = TwoHospitals.of(main, probe)
    except NotEvaluable:
        return [], ""
    drop = both.fallen("balanced_accuracy_drop", both.drop(Hospital.balanced))
    before, after = both.printed("balanced_accuracy", Hospital.balanced)
    return [before, after, drop], (
        f" On the {both.away.films:,} {films} with a label balanced accuracy is {percent(after.estimate)}, on the "
        f"usual films {percent(before.estimate)}: {points(drop.estimate)} points lost ({points(drop.low)} to "
        f"{points(drop.high)}). {both.classes.sentence}"
    )


def _rightly(sure: Sampled, right: Sampled | None, labelled: int, films: int, role: str) -> str:
    """Return how many of a probe's films are called right, as far as they have a class, and it is known."""
    if right is None:
        return "though no answer can be right" if role == "unseen" else "and which answer is right is not known"
    whose = "of them" if labelled == films else f"of the {labelled} that have a class"
    but = "but only" if right.estimate < sure.estimate else "and"
    return f"{but} {percent(right.estimate)} {whose} are called right"


def _surest(probe: Answers, films: str, of: str, among: Films, how_many: int = 6) -> dict[str, list[GalleryItem]]:
    """Return those `films` of a probe that were called most confidently, or said so to show a finding."""
    stated = probe.stated.probabilities()
    confidence = np.where(among, stated[:, probe.class_index(of)] if of else stated.max(axis=1), -1.0)
    items = []
    for index in np.argsort(-confidence, kind="stable")[: min(how_many, int(among.sum()))]:
        image = probe.images[index]
        finding = str(probe.cohort.table["finding"].iloc[index]) or "not labelled"
        called = plain_name(of) if of else film_figures.called(probe, image)[0]
        call = f"{called} {whole_percent(confidence[index])}"
        draw = partial(film_figures.film_by_film, probe, image, [CLEAN])
        items.append(GalleryItem(caption=f"{image}: {finding}", draw=draw, facts={"calls": call}))
    what = f"Surest claims of {plain_name(of)} on {films}" if of else f"Most confident calls on {films}"
    return {what: items}
