"""What can go wrong for a user? Errors that say what was wrong, where, and what to do, never a traceback."""

from __future__ import annotations

LONGEST_MESSAGE = 299
"""Characters of a message; whatever was fed in, it fits a few lines of a terminal."""


def one_line(text: str, longest: int = LONGEST_MESSAGE) -> str:
    """Return a text on one line that every terminal and file takes: the rest escaped, a long one cut in its middle.

    Messages say first where something is wrong and last what to do, so both ends are kept.
    """
    if len(text) > 2 * longest:  # before anything is done letter by letter: a text may have megabytes
        text = f"{text[:longest]}{text[-longest:]}"
        escaped = _escaped(text)
    elif len(escaped := _escaped(text)) <= longest:
        return escaped
    head = (longest - 5) * 3 // 5
    return f"{escaped[:head]} ... {escaped[-(longest - 5 - head) :]}"


def _escaped(text: str) -> str:
    return "".join(
        letter if letter.isprintable() else letter.encode("unicode_escape").decode("ascii") for letter in text
    )


class UsageProblem(Exception):
    """Something the user gave cannot be used; pytest ends with exit code 4 and prints this one line."""


class SubjectProblem(UsageProblem):
    """The weights cannot be loaded as a subject (missing keys, wrong classes, refused pickle, unreachable hub).

    Its message is one line, however long or odd the names are that it quotes.
    """

    def __init__(self, message: str) -> None:
        super().__init__(one_line(message))


class CohortProblem(UsageProblem):
    """The films cannot be used as a cohort (missing folder, empty class, unknown label, too many broken files)."""


class FilmUnreadable(Exception):
    """A file that is not a film: truncated, not an image, a decompression bomb; counted, listed and left out.

    Attributes:
        reason: what is wrong and what to do, without the file's name (for a table that has a column for it).
    """

    def __init__(self, reason: str, *, file: str = "") -> None:
        super().__init__(f"{file}: {reason}" if file else reason)
        self.reason = reason


class PredictionProblem(Exception):
    """The subject answered with something that is not a prediction (NaN, infinity, wrong shape); names the image."""


class NotEvaluable(Exception):
    """This claim cannot be judged on this subject and cohort; the reason is reported, and nothing passes silently."""
