"""What does the subject lose at another hospital, and is it the sight or the threshold that is lost?"""

from __future__ import annotations

from functools import partial

import numpy as np
import pandas as pd

from suites.harness.claims import Claim, GalleryItem, Measure, Result
from suites.harness.counts import counted
from suites.harness.endpoints import headroom
from suites.harness.endpoints.external import pictures
from suites.harness.endpoints.external.two_hospitals import Hospital, TwoHospitals
from suites.harness.endpoints.parameters import Hospital as HospitalRole
from suites.harness.endpoints.registry import beyond, endpoint, measured, within
from suites.harness.endpoints.spoken import ill_and_healthy, said_of
from suites.harness.errors import NotEvaluable
from suites.harness.formatting import film_figures
from suites.harness.formatting.cells import percent, points, whole_percent
from suites.harness.formatting.wording import number, plain_name, spanned
from suites.harness.predictions.answers import Answers
from suites.harness.predictions.conditions import CLEAN
from suites.harness.predictions.evidence import Evidence
from suites.harness.statistics import Sampled

SAME = 0.05
"""A fall of AUROC of surely less than this is none: the five points that claims count as a loss."""


@endpoint("external_drop", parameters={"hospital": HospitalRole()})
def external_drop(evidence: Evidence, claim: Claim) -> Result:
    """Fall of balanced accuracy from the home cohort to films of another hospital; AUROC tells sight from threshold."""
    answers = evidence.hospital(claim.parameters["hospital"])
    both = TwoHospitals.of(evidence.main, answers)
    dropped = both.drop(Hospital.balanced)
    effect = both.fallen("balanced_accuracy_drop", dropped)
    measures = [
        *both.printed("balanced_accuracy", Hospital.balanced),
        *both.printed("accuracy", lambda side: side.rate(side.right)),
    ]
    for code, name in enumerate(both.classes.names):
        measures += [
            measured(f"recall_{name}", where, side.recalls()[code], side.sizes[code], unit="share")
            for where, side in ((CLEAN, both.home), (both.away.name, both.away))
        ]
    before, after = measures[:2]
    seen, why = _sight(both, dropped, ill_and_healthy(evidence.main))
    return Result(
        effect=effect,
        p_beyond=beyond(dropped, claim),
        p_within=within(dropped, claim),
        headroom=[headroom.skill(evidence.main, claim.margin)],
        films="films of both hospitals",
        measures=[*measures, *seen],
        summary=(
            f"On the {counted(both.away.films, 'film')} of {counted(both.away.owners, 'patient')} of "
            f"{both.away.name} balanced accuracy "
            f"is {spanned(after.estimate, after.low, after.high, 'share')}, at home "
            f"{percent(before.estimate)}: {_lost(effect)}. {why} {both.classes.sentence}"
        ),
        finding=(
            f"On the films of {both.away.name} balanced accuracy is {percent(after.estimate)}, at home "
            f"{percent(before.estimate)} ({counted(both.home.films, 'film')})."
        ),
        tables={
            "What is called what": _confusion(both, evidence.main),
        },
        figures=pictures.of(both, ill_and_healthy(evidence.main)),
        galleries=_surely_wrong(answers, both.away),
    )


@endpoint("external_auroc", parameters={"hospital": HospitalRole()})
def external_auroc(evidence: Evidence, claim: Claim) -> Result:
    """Fall of the AUROC of ill against healthy from the home cohort to another hospital: what no threshold mends."""
    both = TwoHospitals.of(evidence.main, evidence.hospital(claim.parameters["hospital"]))
    dropped = both.drop(Hospital.auroc)
    ill, healthy = ill_and_healthy(evidence.main)
    effect = both.fallen("auroc_drop", dropped, "plain")
    measures = both.printed("auroc", Hospital.auroc, "plain")
    before, after = measures
    return Result(
        effect=effect,
        p_beyond=beyond(dropped, claim),
        p_within=within(dropped, claim),
        headroom=[headroom.skill(evidence.main)],
        films="films of both hospitals",
        measures=measures,
        summary=(
            f"On the films of {both.away.name} {ill} are told from {healthy} with an AUROC of "
            f"{spanned(after.estimate, after.low, after.high)}, at home with {number(before.estimate)}: a fall of "
            f"{spanned(effect.estimate, effect.low, effect.high)}"
            + (", which no threshold mends." if effect.low > 0 else ".")
            + (f" Below 0.5 it ranks {healthy} above {ill}." if after.high < 0.5 else "")
        ),
    )


def _lost(effect: Measure) -> str:
    """Return a drop in words."""
    ends = f"{points(effect.low)} to {points(effect.high)}"
    if effect.estimate < 0:
        return f"a gain of {points(-effect.estimate, signed=False)} points (loss {ends})"
    return f"a loss of {points(effect.estimate, signed=False)} points ({ends})"


def _sight(both: TwoHospitals, dropped: Sampled, kinds: tuple[str, str]) -> tuple[list[Measure], str]:
    """Return AUROC at home and there, and in a sentence whether sight or threshold was lost."""
    ill, healthy = kinds
    try:
        fallen = both.drop(Hospital.auroc)
    except NotEvaluable as reason:
        return [], f"Whether sight or threshold was lost cannot be told: {reason}."
    measures = [*both.printed("auroc", Hospital.auroc, "plain"), both.fallen("auroc_drop", fallen, "plain")]
    before, after, effect = measures
    told = f"AUROC of {ill} against {healthy} is {number(after.estimate)} there, {number(before.estimate)} at home"
    lost = dropped.interval().low > 0
    if after.high < 0.5:
        but = f": it ranks {healthy} above {ill}, which no threshold mends"
    elif effect.low > 0:
        but = f": it tells {ill} from {healthy} less well, which no threshold mends"
    elif effect.high < SAME:
        but = ", as good: what moved is the threshold, not the sight" if lost else ", as good"
    else:
        ends = f"{number(effect.low)} to {number(effect.high)}"
        but = f" (fall {ends}): whether it sees less there is not settled by these films"
    return measures, f"{told}{but}."


def _confusion(both: TwoHospitals, answers: Answers) -> pd.DataFrame:
    """Return counts of truth by call, of both hospitals."""
    rows = []
    for side in (both.home, both.away):
        for code, truth in enumerate(both.classes.names):
            calls = side.called[side.truth == code]
            said = {said_of(answers, name): int((calls == at).sum()) for at, name in enumerate(both.classes.names)}
            others = {"called something else": int((calls < 0).sum())} if -1 in both.classes.of_class else {}
            rows.append({"films of": side.name, "truth": plain_name(truth), **said, **others})
    return pd.DataFrame(rows)


def _surely_wrong(answers: Answers, side: Hospital, how_many: int = 6) -> dict[str, list[GalleryItem]]:
    """Return those films of the other hospital that are called wrong most confidently."""
    wrong = np.flatnonzero(side.keep)[side.right == 0]
    sure = answers.probabilities()[wrong].max(axis=1)
    items = []
    for index in wrong[np.argsort(-sure, kind="stable")[:how_many]]:
        image = answers.images[index]
        call, how_sure = film_figures.called(answers, image)
        finding = str(answers.cohort.table["finding"].iloc[index]) or str(answers.cohort.table["truth"].iloc[index])
        draw = partial(film_figures.film_by_film, answers, image, [CLEAN])
        facts = {"calls": f"{call} {whole_percent(how_sure)}"}
        items.append(GalleryItem(caption=f"{image}: {finding}", draw=draw, facts=facts))
    return {f"Called wrong most confidently, films of {side.name}": items} if items else {}
