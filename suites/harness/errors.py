"""What can go wrong for a user? Errors that say what was wrong, where, and what to do, never a traceback.

Whatever a message quotes, a path of 4,000 letters or a name with line breaks in it, it stays one line that a person can
read: see `one_line`.
"""

from __future__ import annotations

import re

LONGEST = 299
"""Characters of a message: two or three lines of a terminal."""
_LONG_WORD = re.compile(r"\S{121,}")
_SHOWN_OF_IT = 60
_BREAK = re.compile(r" *[^\S ]\s*")


def one_line(text: str, most: int = LONGEST) -> str:
    """Return a text as one line without control characters, of at most `most` characters.

    Words longer than 120 characters lose their middle first, then the text does: what is wrong stands at its beginning,
    what to do at its end.
    """
    if len(text) > 40 * most:  # before anything is done letter by letter: a text may have megabytes
        text = f"{text[: 20 * most]}{text[-20 * most :]}"
    plain = printable(_BREAK.sub(" ", text).strip())
    words = _LONG_WORD.sub(lambda word: f"{word[0][:_SHOWN_OF_IT]}…{word[0][-_SHOWN_OF_IT // 2 :]}", plain)
    return words if len(words) <= most else f"{words[: most * 2 // 3]}…{words[-(most // 3 - 1) :]}"


def reason(problem: BaseException) -> str:
    """Return why the system or a reader refused something, without the path and the number that `str` has before it."""
    return (problem.strerror if isinstance(problem, OSError) else None) or str(problem) or type(problem).__name__


def printable(text: str) -> str:
    r"""Return untrusted text as one line that can be printed and stored: `\n`, `\udcff` stand for what cannot."""
    if text.isprintable():
        return text
    return "".join(letter if letter.isprintable() else _escaped(letter) for letter in text)


def _escaped(letter: str) -> str:
    return letter.encode("unicode_escape").decode("ascii")


class UsageProblem(Exception):
    """Something the user gave cannot be used; pytest ends with exit code 4 and prints this one line."""

    def __init__(self, message: str) -> None:
        super().__init__(one_line(message))


class SubjectProblem(UsageProblem):
    """The weights cannot be loaded as a subject (missing keys, wrong classes, refused pickle, unreachable hub)."""


class QuestionFailed(SubjectProblem):
    """One of several questions to a service was not answered.

    Attributes:
        at: its position among them.
    """

    def __init__(self, problem: SubjectProblem, at: int) -> None:
        super().__init__(str(problem))
        self.at = at


class CohortProblem(UsageProblem):
    """The films cannot be used as a cohort (missing folder, empty class, unknown label, too many broken files)."""


class FilmUnreadable(Exception):
    """A file that is not a film: truncated, not an image, a decompression bomb; counted, listed and left out.

    Attributes:
        reason: what is wrong and what to do, without the file's name (for a table that has a column for it).
    """

    def __init__(self, reason: str, *, file: str = "") -> None:
        self.reason = one_line(reason)
        super().__init__(one_line(f"{file}: {reason}" if file else reason))


class PredictionProblem(Exception):
    """The subject answered with something that is not a prediction (NaN, infinity, wrong shape); names the image."""

    def __init__(self, message: str) -> None:
        super().__init__(one_line(message))


class NotEvaluable(Exception):
    """This claim cannot be judged on this subject and cohort; the reason is reported, and nothing passes silently."""
