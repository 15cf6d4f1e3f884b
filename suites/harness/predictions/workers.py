"""Who answers the blocks of a cohort? This process, or several local ones, with the same bytes."""

from __future__ import annotations

from collections.abc import Iterator, Mapping, Sequence
from typing import Protocol

from suites.harness.predictions.answering import answer_block
from suites.harness.predictions.blocks import Block, Job, Receipt, Told
from suites.harness.predictions.engine import Engine


class Workers(Protocol):
    """Whoever answers blocks."""

    def receipts(
        self, job: Job, engines: Mapping[str, Engine], blocks: Sequence[Block], told: Told
    ) -> Iterator[Receipt]:
        """Yield the receipt of every block, in any order, when its answers are in the cache.

        Args:
            job: what is asked.
            engines: of this process.
            blocks: the films.
            told: how far they are.
        """


class ThisProcess:
    """Answers one block after the other."""

    def receipts(
        self, job: Job, engines: Mapping[str, Engine], blocks: Sequence[Block], told: Told
    ) -> Iterator[Receipt]:
        """Yield the receipts in the order of the blocks."""
        return (answer_block(job, engines, block, told) for block in blocks)


THIS_PROCESS = ThisProcess()
