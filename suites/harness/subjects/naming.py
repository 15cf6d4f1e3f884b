"""How does a user call the subjects of a run? By names that tell them apart wherever a report prints one."""

from __future__ import annotations

import re
from collections.abc import Collection, Sequence
from dataclasses import replace

from suites.harness.errors import SubjectProblem, one_line
from suites.harness.subjects.subject import Subject

LONGEST_NAME = 60
"""Characters: a name heads columns of tables, and stands in the ids of tests."""
_NAME = re.compile(r"\w(?:[\w .,+=@()-]*[\w)+])?")


def with_names(subjects: Sequence[Subject], names: Sequence[str], taken: Collection[str] = ()) -> list[Subject]:
    """Return the subjects under names of one's own; what they answer and what is kept of it stays theirs.

    Args:
        subjects: in the order of the names.
        names: one for each, or none at all.
        taken: what else claims are judged on.

    Raises:
        SubjectProblem: there are more names than subjects or fewer, one occurs twice or is taken, or is no short name.
    """
    if not names:
        return list(subjects)
    if len(names) != len(subjects):
        raise SubjectProblem(
            f"--name: {_counted(len(names), 'name')} ({one_line(', '.join(names), 80)}) for "
            f"{_counted(len(subjects), 'subject')}; give one for "
            "each --weights, in their order"
        )
    for position, name in enumerate(names):
        if len(name) > LONGEST_NAME or not _NAME.fullmatch(name):
            raise SubjectProblem(
                f"--name: {one_line(repr(name), 80)} should be up to {LONGEST_NAME} letters, digits, blanks within "
                "and any of . , + = @ ( ) - _"
            )
        if name in taken or name in names[:position]:
            raise SubjectProblem(f"--name: two things of this run would be called {name}; give one another name")
    return [replace(subject, name=name) for subject, name in zip(subjects, names, strict=True)]


def _counted(count: int, what: str) -> str:
    return f"{count} {what}{'' if count == 1 else 's'}"
