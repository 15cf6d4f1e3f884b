"""Was a subject's temperature fitted on the very films it is judged on? Then its calibration on them is refused."""

from __future__ import annotations

from collections.abc import Callable

from suites.harness.claims import Claim, Result
from suites.harness.errors import NotEvaluable
from suites.harness.predictions.answers import Answers
from suites.harness.predictions.evidence import Evidence


def films_of_the_fit(answers: Answers) -> int:
    """Return how many films of a cohort the subject's temperature was fitted on, 0 without a temperature."""
    fitted = answers.subject.temperature
    return fitted.known(answers.cohort.table) if fitted else 0


def caveat(answers: Answers) -> str:
    """Return what every reader must be told about a temperature that has seen the films it is judged on, else ''."""
    seen = films_of_the_fit(answers)
    if not seen:
        return ""
    return (
        f"{answers.subject.name}: its temperature was fitted on {seen} of these {len(answers.cohort)} films. Its "
        "calibration on them is therefore not evaluable, and every number that rests on the size of its confidence "
        "is a little flattered; judge it on other films."
    )


def held_out(function: Callable[[Evidence, Claim], Result]) -> Callable[[Evidence, Claim], Result]:
    """Refuse to judge a calibration on the very films that the subject's temperature was fitted on."""

    def judged(evidence: Evidence, claim: Claim) -> Result:
        if seen := films_of_the_fit(evidence.main):
            raise NotEvaluable(
                f"the temperature of {evidence.subject.name} was fitted on {seen} of these {len(evidence.main.cohort)} "
                "films, so its calibration on them is no held-out number; judge it on other films"
            )
        return function(evidence, claim)

    judged.__qualname__, judged.__doc__ = function.__qualname__, function.__doc__
    return judged
