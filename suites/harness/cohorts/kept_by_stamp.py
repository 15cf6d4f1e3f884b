"""What did files tell when they were last looked at? Kept in the cache, and believed as long as they do not change.

Known by path, size and times of change (see `file_stamps`): of a million files none is opened again at the next start.
"""

from __future__ import annotations

from collections.abc import Callable, Mapping, Sequence
from contextlib import AbstractContextManager
from pathlib import Path

from suites.harness.cache.shards import Keeping, Shards
from suites.harness.cohorts.file_stamps import Stamp, stamp_of
from suites.harness.strict_json import is_writable

Told = tuple[str, ...]
"""What files told: a text for each column."""


class KeptByStamp(AbstractContextManager["KeptByStamp"]):
    """What files told, by their stamps; what is new is written every few seconds and when the block ends.

    Args:
        cache: its root.
        kind: what is kept: one subfolder each.
        key: everything else that decides it, JSON-serialisable.
        columns: names of the texts that are kept.

    Attributes:
        looked: how often files had to be opened (by `found`).
    """

    def __init__(self, cache: Path, kind: str, key: Mapping[str, object], columns: Sequence[str]) -> None:
        self.looked = 0
        self._columns = ("files", "stamps", *columns)
        shards = Shards(cache, kind, key, dict.fromkeys(self._columns, "text"))
        self._keeping = Keeping(shards)
        rows = shards.read()
        values = (rows[name].tolist() if len(rows) else [] for name in self._columns)
        self._known: dict[Stamp, Told] = {
            (files, stamps): tuple(told) for files, stamps, *told in zip(*values, strict=True)
        }

    def known(self, stamp: Stamp | None) -> Told | None:
        """Return what files of this stamp told, `None` where nobody knows."""
        return None if stamp is None else self._known.get(stamp)

    def keep(self, files: Sequence[Path], stamp: Stamp | None, told: Told, besides: str = "") -> None:
        """Keep what files told that had this stamp before they were opened; not where they have changed since.

        Args:
            files: that were opened.
            stamp: theirs; `None`: they had none that could be believed.
            told: by them.
            besides: what else decides it, see `stamp_of`.
        """
        if stamp is not None and is_writable(stamp[0]) and stamp_of(files, besides) == stamp:
            self._known[stamp] = told
            self._keeping.keep(dict(zip(self._columns, (*stamp, *told), strict=True)))

    def found(self, files: Sequence[Path], look: Callable[[], Told | None]) -> Told | None:
        """Return what files tell, opening them only where that is not known.

        Args:
            files: all that are looked at.
            look: opens them; what it returns is kept, `None` is not.
        """
        stamp = stamp_of(files)
        told = self.known(stamp)
        if told is None:
            told = look()
            self.looked += 1
            if told is not None:
                self.keep(files, stamp, told)
        return told

    def __exit__(self, *_: object) -> None:
        """Write what is not written, whatever ended the block."""
        self._keeping.flush()
