"""How is a count put into a sentence? `1 film is`, `2,100 films are`."""

from __future__ import annotations


def counted(count: int, one: str, many: str = "") -> str:
    """Return a count with its words, which may go on to the verb.

    Args:
        count: how many.
        one: the words behind 1, such as `patient` or `film is`.
        many: those behind every other number; `one` with an s where none are given.

    Returns:
        `1 patient`, `2,100 patients`; `1 film is`, `0 films are`.
    """
    return f"{count:,} {one if count == 1 else many or f'{one}s'}"
