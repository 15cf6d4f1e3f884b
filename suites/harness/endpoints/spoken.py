"""How does a sentence speak of the films of a class, and of what is called? Of a finding: with it, and without it.

A subject that answers one finding of several is judged as one of two classes, `no X` and `X`. People speak of films
without X and with X, and of a film that is said to show it or not.
"""

from __future__ import annotations

from suites.harness.formatting.wording import plain_name
from suites.harness.predictions.answers import Answers


def finding(answers: Answers) -> str:
    """Return the finding that a subject is asked about, as people write it; empty for a subject of classes."""
    return "" if answers.subject.whole is None else plain_name(answers.subject.classes[-1])


def films_of_class(answers: Answers, name: str, count: int = 0) -> str:
    """Return what so many films of a class are called: `viral pneumonia films`, `film without effusion`."""
    films = "film" if count == 1 else "films"
    if not (asked := finding(answers)):
        return f"{plain_name(name)} {films}"
    shown = answers.class_index(name) == len(answers.subject.classes) - 1
    return f"{films} with {asked}" if shown else f"{films} without {asked}"


def said_of(answers: Answers, name: str) -> str:
    """Return that films are called so: `called viral pneumonia`; of a finding `said to show effusion`, or not to."""
    if not (asked := finding(answers)):
        return f"called {plain_name(name)}"
    shown = answers.class_index(name) == len(answers.subject.classes) - 1
    return f"said to show {asked}" if shown else f"said not to show {asked}"


def both(answers: Answers, first: str, second: str) -> str:
    """Return the films of two classes together: `normal and viral pneumonia films`."""
    if asked := finding(answers):
        return f"films with and without {asked}"
    return f"{plain_name(first)} and {plain_name(second)} films"


def ill_and_healthy(answers: Answers) -> tuple[str, str]:
    """Return what ill and healthy films are called: `ill films`; of a finding those with it, and those without."""
    if asked := finding(answers):
        return f"films with {asked}", f"films without {asked}"
    return "ill films", "healthy films"


def called_name(answers: Answers, name: str) -> str:
    """Return a class as a part of a measure's name: as it is, of a finding by the subject's own name for it."""
    return name if answers.subject.whole is None else answers.subject.classes[answers.class_index(name)]
