"""What of a run is in the cache already? Predictions counted one by one, claims as the runs before have noted them."""

from __future__ import annotations

from collections.abc import Collection, Mapping
from dataclasses import asdict, dataclass
from hashlib import sha256
from json import dumps

import pandas as pd

from suites.harness.cache import Shards
from suites.harness.cache.code_digest import OUR_PACKAGES, digest_of
from suites.harness.claims import Claim
from suites.harness.endpoints import get
from suites.harness.evaluation import Evaluation
from suites.harness.predictions.batch_size import batch_size
from suites.harness.predictions.engine import Engine
from suites.harness.subjects.subject import Subject

COLUMNS = {"work": "text", "result": "text", "drawn": "flag"}


@dataclass(frozen=True, kw_only=True)
class Stored:
    """What need not be done again.

    Attributes:
        predictions: films x conditions that are answered, of all subjects; `left` by subject, those that are not.
        changes: films x conditions that are still to be made, each once for all subjects.
        films: role of a cohort -> those that are still to be decoded for that, or to be known again.
        worked: ids of claims whose attacks and maps are kept; `measured` those whose results are, and `drawn` those
            whose pictures are, too.
    """

    predictions: int
    left: Mapping[str, int]
    changes: int
    films: Mapping[str, int]
    worked: frozenset[str] = frozenset()
    measured: frozenset[str] = frozenset()
    drawn: frozenset[str] = frozenset()


def stored(evaluation: Evaluation) -> Stored:
    """Return what the cache has of a run, its claims selected; nothing is decoded for it, and no network asked.

    A film is known by its id: one whose file has changed since counts as answered, and will be asked about again.
    """
    cohorts = {"main": evaluation.cohort, **evaluation.probes}
    known = {subject.name: _answered(subject, evaluation) for subject in evaluation.wholes if evaluation.plan}
    left = dict.fromkeys((subject.name for subject in evaluation.wholes), 0)
    films = dict.fromkeys(evaluation.plan, 0)
    predictions = changes = 0
    for role, planned in evaluation.plan.items():
        asked = {
            subject.name: [condition.identity for condition in evaluation.available(subject, planned)]
            for subject in evaluation.wholes
        }
        for image in cohorts[role].table["id"].astype(str):
            has = {name: known[name].get(image, set()) for name in asked}
            missing = {name: [one for one in wanted if one not in has[name]] for name, wanted in asked.items()}
            to_make = set[str]().union(*missing.values())
            for name, lacking in missing.items():
                left[name] += len(lacking)
                predictions += len(asked[name]) - len(lacking)
            changes += len(to_make)
            films[role] += bool(to_make) or cohorts[role].identify is None
    noted = _noted(evaluation).read().to_dict("records")
    worked = {str(row["work"]) for row in noted}
    results = {str(row["result"]): bool(row["drawn"]) for row in sorted(noted, key=lambda row: bool(row["drawn"]))}
    named = {claim.id: _result(claim, evaluation) for claim in evaluation.running}
    return Stored(
        predictions=predictions,
        left=left,
        changes=changes,
        films=films,
        worked=frozenset(claim.id for claim in evaluation.running if _work(claim) in worked),
        measured=frozenset(name for name, result in named.items() if result in results),
        drawn=frozenset(name for name, result in named.items() if results.get(result)),
    )


def note_judged(evaluation: Evaluation, *, drawn: bool, besides: Collection[str] = ()) -> frozenset[str]:
    """Remember which claims a run has judged on all they are about, with their sections, and whether it drew them.

    Args:
        evaluation: the run.
        drawn: whether their pictures are kept, too.
        besides: ids of claims that are noted already.

    Returns:
        The ids of those that were noted now.
    """
    judged = {(judgement.claim.section, judgement.subject) for judgement in evaluation.judgements}
    claims = [
        claim
        for claim in evaluation.running
        if claim.id not in besides and all((claim.section, one) in judged for one in evaluation.about(claim))
    ]
    if claims:
        rows = [{"work": _work(one), "result": _result(one, evaluation), "drawn": drawn} for one in claims]
        _noted(evaluation).add(pd.DataFrame(rows))
    return frozenset(claim.id for claim in claims)


def _answered(subject: Subject, evaluation: Evaluation) -> dict[str, set[str]]:
    """Return film -> the conditions under which the cache has a subject's answer."""
    batch = batch_size(subject, evaluation.cache)
    return Engine(subject, batch, evaluation.seed, evaluation.block_root, evaluation.working).shards.answered()


def _work(claim: Claim) -> str:
    """Return what tells attacks and maps of a claim from others: whatever its margin is, they are the same."""
    return _digest([claim.endpoint, dict(get(claim.endpoint).asked(claim))])


def _result(claim: Claim, evaluation: Evaluation) -> str:
    """Return what tells a result from others: it is kept by its whole claim and all that was answered in its run."""
    answered = [[role, *sorted(one.identity for one in planned)] for role, planned in sorted(evaluation.plan.items())]
    return _digest([asdict(claim), answered])


def _digest(value: object) -> str:
    return sha256(dumps(value, sort_keys=True, default=str).encode()).hexdigest()


def _noted(evaluation: Evaluation) -> Shards:
    key = {
        "subjects": [subject.cache_key for subject in evaluation.subjects],
        "films": [cohort.fingerprint for cohort in (evaluation.cohort, *evaluation.probes.values())],
        "settings": [evaluation.profile, evaluation.preset, str(evaluation.working), evaluation.seed],
        "code": [digest_of(package, "**/*.py") for package in OUR_PACKAGES],
    }
    return Shards(evaluation.cache, "judged", key, COLUMNS)
