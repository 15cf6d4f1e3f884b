"""Endpoints on what the subject cannot know: white-outs of any cause, other views, other patients, other findings.

The right answer to such films is to abstain. What is measured is what the subject says instead, and how surely.
"""

from __future__ import annotations

from functools import partial

import numpy as np

from calibration import ood, scores
from suites.harness import film_figures, statistics
from suites.harness.claims import Claim, GalleryItem, Measure, Result
from suites.harness.conditions import CLEAN, parse
from suites.harness.endpoints.registry import beyond, endpoint, measured, within
from suites.harness.endpoints.stress import films_of
from suites.harness.evidence import CONFIDENT, Answers, Evidence
from suites.harness.statistics import Sampled, difference


@endpoint("called_whatever_the_cause")
def called_whatever_the_cause(evidence: Evidence, claim: Claim) -> Result:
    """Mean over `causes` of the share of films (of `truth`) called `class`; with its spread, and the controls.

    Each cause is a condition that adds the same kind of density for another reason, so a subject that read causes would
    answer them differently. `sham` puts the density outside the lung, `matched` spreads the same dose evenly.
    """
    answers, name = evidence.main, str(claim.parameters["class"])
    among = films_of(answers, claim)
    causes = [parse(str(text)).text for text in claim.parameters["conditions"]]
    everywhere = among & np.logical_and.reduce([np.isfinite(answers.called(condition)) for condition in causes])
    shares = {condition: answers.score(f"called_{name}", condition, everywhere) for condition in causes}
    patients, n = answers.resamples.subset(everywhere).patients, int(everywhere.sum())
    mean = statistics.average(list(shares.values()), patients)
    estimates = {condition: share.estimate for condition, share in shares.items()}
    most, least = max(estimates, key=estimates.__getitem__), min(estimates, key=estimates.__getitem__)
    measures = [measured(f"called_{name}", condition, share, n) for condition, share in shares.items()]
    measures.append(measured("cause_spread", f"{most} - {least}", difference(shares[most], shares[least]), n))
    for condition in (CLEAN, *(str(claim.parameters[key]) for key in ("sham", "matched") if key in claim.parameters)):
        seen = everywhere & np.isfinite(answers.called(condition))
        measures.append(
            measured(f"called_{name}", condition, answers.score(f"called_{name}", condition, seen), int(seen.sum()))
        )
    sure = statistics.average(
        [answers.score("confident_share", condition, everywhere) for condition in causes], patients
    )
    measures.append(measured("confident_share", "all causes", sure, n))
    effect = measured(f"called_{name}", "mean over causes", mean, n)
    left_out = int(among.sum()) - n
    return Result(
        effect=effect,
        p_beyond=beyond(mean, claim),
        p_within=within(mean, claim),
        measures=measures,
        summary=(
            f"Films made white are called {name} in {effect.estimate:.0%} of cases, from {estimates[least]:.0%} "
            f"({least}) to {estimates[most]:.0%} ({most}), and {sure.estimate:.0%} of these calls are above "
            f"{CONFIDENT:.0%} confidence, where abstaining would be right."
            + (f" {left_out} films without a plausible lung field were left out." if left_out else "")
        ),
        galleries=_causes(answers, causes, everywhere),
    )


def _causes(
    answers: Answers, causes: list[str], films: np.ndarray[tuple[int], np.dtype[np.bool_]]
) -> dict[str, list[GalleryItem]]:
    """Return the first films of the cohort under every cause."""
    items = []
    for index in np.flatnonzero(films)[:3]:
        image = answers.images[index]
        caption = "; ".join(
            f"{name}: {call} {sure:.0%}"
            for name in causes
            for call, sure in [film_figures.called(answers, image, name)]
        )
        draw = partial(film_figures.film_by_film, answers, image, [CLEAN, *causes])
        items.append(
            GalleryItem(caption=f"{image}. {caption}", draw=draw, facts={"image": image, "conditions": causes})
        )
    return {"The same films, white for different reasons": items}


@endpoint("confident_on_probe")
def confident_on_probe(evidence: Evidence, claim: Claim) -> Result:
    """Share of the films of a probe (`role`) that are called with more than 90 % confidence."""
    probe, main = evidence.probe(str(claim.parameters["role"])), evidence.main
    everyone = np.ones(len(probe.cohort), dtype=bool)
    share = probe.score("confident_share", CLEAN, everyone)
    n, role = len(probe.cohort), str(claim.parameters["role"])
    effect = _on_probe("confident_share", role, share, n)
    usual = np.ones(len(main.cohort), dtype=bool)
    measures = [
        measured("confident_share", CLEAN, main.score("confident_share", CLEAN, usual), len(main.cohort)),
        _on_probe("mean_confidence", role, probe.score("mean_confidence", CLEAN, everyone), n),
    ]
    measures += [
        _on_probe(f"called_{name}", role, probe.score(f"called_{name}", CLEAN, everyone), n)
        for name in probe.subject.classes
    ]
    caught = _auroc(main, probe)
    measures.append(_on_probe("auroc", f"{role} against {main.cohort.name}, max-softmax", caught, n))
    return Result(
        effect=effect,
        p_beyond=beyond(share, claim),
        p_within=within(share, claim),
        measures=measures,
        summary=(
            f"{effect.estimate:.0%} of {n} films ({probe.cohort.name}) are called with more than {CONFIDENT:.0%} "
            f"confidence, though no answer can be right; its own confidence tells them from {main.cohort.name} with an "
            f"AUROC of {caught.estimate:.2f} (0.5 is chance)."
        ),
        galleries=_surest(probe),
    )


def _on_probe(name: str, condition: str, sampled: Sampled, n: int) -> Measure:
    return measured(name, condition, sampled, n, needed=50)


def _auroc(main: Answers, probe: Answers) -> Sampled:
    """Return how well 1 - max softmax tells a probe from the cohort, both resampled by patient."""
    doubt = scores.LOGIT_SCORES["max-softmax"]
    values = np.concatenate([doubt(answers.logits()) for answers in (main, probe)])
    outside = np.repeat([False, True], [len(main.cohort), len(probe.cohort)])
    weights = np.concatenate([main.resamples.weights, probe.resamples.weights], axis=1)
    estimate = float(np.asarray(ood.auroc(values, outside)))
    replicates = np.asarray(ood.auroc(values, outside, weights=weights), dtype=np.float64)
    return Sampled(estimate, replicates, probe.resamples.patients)


def _surest(probe: Answers, how_many: int = 6) -> dict[str, list[GalleryItem]]:
    """Return the films of a probe that were called most confidently."""
    confidence = probe.probabilities().max(axis=1)
    items = []
    for index in np.argsort(-confidence, kind="stable")[:how_many]:
        image = probe.images[index]
        finding = str(probe.cohort.table["finding"].iloc[index]) or "not labelled"
        caption = f"{image}: {finding}, called {film_figures.called(probe, image)[0]} ({confidence[index]:.0%})"
        draw = partial(film_figures.film_by_film, probe, image, [CLEAN])
        items.append(GalleryItem(caption=caption, draw=draw, facts={"image": image, "finding": finding}))
    return {f"Most confident calls on {probe.cohort.name}": items}
