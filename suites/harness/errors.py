"""What can go wrong for a user? Errors that say what was wrong, where, and what to do, never a traceback."""

from __future__ import annotations


class UsageProblem(Exception):
    """Something the user gave cannot be used; pytest ends with exit code 4 and prints this one line."""


class SubjectProblem(UsageProblem):
    """The weights cannot be loaded as a subject (missing keys, wrong classes, refused pickle, unreachable hub)."""


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
