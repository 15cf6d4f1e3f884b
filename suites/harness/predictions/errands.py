"""What does a worker process do besides answering blocks? Errands: each brings along what it takes, and says a result.

Nothing here knows what they are. A subject is never sent with one: the worker has those of the run by name, and makes
those of one finding from them.
"""

from __future__ import annotations

import io
import pickle
from abc import ABC, abstractmethod
from collections.abc import Hashable, Mapping
from dataclasses import dataclass, field
from typing import Any, Protocol

from suites.harness.subjects.finding import for_finding
from suites.harness.subjects.subject import Subject

Name = tuple[str, str, str]
"""Of a subject whose network is asked; of a finding of it also what it and what the films call that."""


@dataclass(frozen=True)
class Desk:
    """What a worker has at hand for its errands.

    Attributes:
        subjects: of the run, by name.
        left: what earlier errands have left for later ones.
    """

    subjects: Mapping[str, Subject]
    left: dict[Hashable, Any] = field(default_factory=dict)

    def subject(self, name: Name) -> Subject:
        """Return a subject, that of a finding made once."""
        whole, own, called = name
        if not own:
            return self.subjects[whole]
        if name not in self.left:
            self.left[name] = for_finding(self.subjects[whole], own, called)
        found: Subject = self.left[name]
        return found


class Errand(ABC):
    """Something that is to be done in a worker."""

    @abstractmethod
    def run(self, desk: Desk) -> object:
        """Do it, and return what is sent back."""


@dataclass(frozen=True)
class Done:
    """Said by a worker that is back from an errand.

    Attributes:
        value: what the errand returned.
    """

    value: object


class Agenda(Protocol):
    """Whoever knows what errands there are, and which worker shall do them; a worker is known by what it is."""

    @property
    def left(self) -> int:
        """How many workers there is something to do for that none of them is at."""

    def next(self, worker: object) -> bytes | None:
        """Return the next errand of a worker that is free, as `packed`; `None` where there is none for it."""

    def back(self, worker: object, value: object) -> None:
        """Take what a worker's errand returned."""

    def lost(self, worker: object) -> None:
        """Hear of a worker that is no more, with whatever it was doing."""


class _Packing(pickle.Pickler):
    def persistent_id(self, what: Any) -> Name | None:  # noqa: ANN401 - whatever is pickled
        if not isinstance(what, Subject):
            return None
        return (what.name, "", "") if what.whole is None else (what.whole.name, what.answers, what.classes[-1])


class _Unpacking(pickle.Unpickler):
    def __init__(self, data: bytes, desk: Desk) -> None:
        super().__init__(io.BytesIO(data))
        self._desk = desk

    def persistent_load(self, name: Any) -> Subject:  # noqa: ANN401 - as pickle declares it
        return self._desk.subject(name)


def packed(errand: Errand) -> bytes:
    """Return an errand as it is sent, subjects by name; raises whatever pickle does of what it cannot take."""
    buffer = io.BytesIO()
    _Packing(buffer, protocol=pickle.HIGHEST_PROTOCOL).dump(errand)
    return buffer.getvalue()


def unpacked(data: bytes, desk: Desk) -> object:
    """Return what was sent, with this process's own subjects."""
    return _Unpacking(data, desk).load()
