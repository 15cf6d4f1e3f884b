"""What can an adversary without the weights do with a stand-in? Films made against one subject, shown to the others.

The whole film is changed, so that subjects with different resizes can be shown the same one.
"""

from __future__ import annotations

import json
from collections.abc import Iterable, Iterator, Mapping, Sequence
from dataclasses import dataclass
from pathlib import Path

import pandas as pd
import torch
from torch import Tensor, nn

from robustness.attacks import ThreatModel
from robustness.attacks.ensemble import MOST
from robustness.attacks.network import Subject as Attacked
from robustness.attacks.transfer import transfer_films
from suites.harness.cache.code_digest import decoding
from suites.harness.endpoints.adversarial.runs.access import FILM, network_of
from suites.harness.endpoints.adversarial.runs.job import BATCH, Pixels, images_at_once
from suites.harness.endpoints.adversarial.runs.protocols import COMPARED_FILMS, REMOTE_FILMS, chosen_films
from suites.harness.predictions.answers import Answers
from suites.harness.predictions.blocks import Told, cut
from suites.harness.predictions.conditions import Condition
from suites.harness.predictions.film_work import Asking, Values, class_of, rows_of, together
from suites.harness.predictions.opened import Opened
from suites.harness.subjects.subject import Subject

LEVELS = tuple(level / 255 for level in (2.0, 4.0))
STEPS = 10


class ThroughItsResize(nn.Module):
    """A subject that takes (B, 1, H, W) whole films: the recipe's own pixels forward, gradients back."""

    def __init__(self, subject: Subject) -> None:
        super().__init__()
        assert subject.network is not None  # noqa: S101 - `_takers` sends services elsewhere
        self.network, self.recipe = subject.network, subject.preprocessing

    def forward(self, films: Tensor) -> Tensor:
        """Return (B, K) logits."""
        logits: Tensor = self.network(self.recipe.straight_through(films[:, 0]))
        return logits


@dataclass(frozen=True, kw_only=True)
class TransferWork:
    """Films made against each of some subjects, shown to all of them; a block is a batch."""

    kind: str = "transfer"

    @property
    def columns(self) -> Mapping[str, str]:
        """Columns of a row and their kinds."""
        return {"records": "text"}

    def conditions(self) -> Iterable[Condition]:
        """Yield no condition: films are attacked as they came."""
        return ()

    def key(self, subjects: Sequence[Subject], asked: str) -> Mapping[str, object]:  # noqa: ARG002 - one question
        """Return everything that decides a record besides the films of its block."""
        return {
            "subjects": [(subject.name, subject.cache_key) for subject in subjects],
            "decoding": decoding(),
            "budgets": LEVELS,
            "steps": STEPS,
            "batch": BATCH[True],
            "version": 5,
        }

    def identity(self, asked: str, films: Sequence[Opened]) -> str:  # noqa: ARG002 - one question
        """Return which films share their passes."""
        return together(films)

    def rows(
        self, subjects: Sequence[Subject], asked: str, films: Sequence[Opened], lacking: Sequence[int], told: Told
    ) -> Iterator[tuple[int, Values]]:
        """Yield the place of a film, and its line for every source, target and budget."""
        del asked, told
        networks, missing = _takers(subjects), set(lacking)
        pixels = Pixels(subjects[0], films, whole=True)
        for batch in _alike(pixels):
            if not missing & set(batch):
                continue
            ids = [films[at].key[0] for at in batch]
            labels = [class_of(films[at]) for at in batch]
            with images_at_once():
                made = transfer_films(
                    networks, torch.stack([pixels[at] for at in batch]).cpu(), labels, ids,
                    ThreatModel(channels=1), budgets=LEVELS, steps=STEPS, batch_size=BATCH[True],
                )  # fmt: skip
            for image, own in made.groupby("image_id", sort=False):
                yield batch[ids.index(str(image))], {"records": json.dumps(own.to_dict("records"))}


def transferred(everyone: Sequence[Answers], profile: str, cache: Path) -> pd.DataFrame:
    """Attack every subject on whole films with changes made against every other, keeping batches as they finish.

    Args:
        everyone: answers of two subjects or more, of the same classes on the same films, in any order.
        profile: of the run.
        cache: root of the cache.

    Returns:
        The rows of `robustness.attacks.transfer.transfer_films` at the budgets `LEVELS`, one per source with gradients,
        target, film and budget.
    """
    ordered = sorted(everyone, key=lambda answers: answers.subject.name)
    first = ordered[0]
    remote = any(not answers.subject.differentiable for answers in ordered)
    index = chosen_films(first, (REMOTE_FILMS if remote else COMPARED_FILMS)[profile])
    blocks = cut(rows_of(first, index, first.labels[index].tolist()), BATCH[True])
    with first.progress.doing("attacking", "films made against one subject, shown to the others"):
        asking = Asking(first, TransferWork(), cache, everyone=ordered, found=True)
        records = [record for row in asking.rows(blocks) for record in json.loads(row["records"])]
    return pd.DataFrame(records).assign(threat=FILM)


def matrix(rows: pd.DataFrame, budget: float) -> pd.DataFrame:
    """Return the matrix as text: of the films that the target gets right when clean, how many it gets wrong.

    Args:
        rows: from `transferred`.
        budget: one of `LEVELS`.
    """
    chosen = rows[(rows["budget"] - budget).abs() < 1e-12]
    right = chosen[chosen["clean_prediction"] == chosen["label"]]
    lines = []
    for source, own in right.groupby("source", sort=True):
        line: dict[str, object] = {"made against": source}
        for target, shown in own.groupby("target", sort=True):
            wrong = int((~shown["robust"].astype(bool)).sum())
            line[f"shown to {target}: wrong"] = f"{wrong} of {len(shown)} ({100 * wrong / len(shown):.0f} %)"
        lines.append(line)
    return pd.DataFrame(lines)


def _takers(subjects: Sequence[Subject]) -> Mapping[str, Attacked]:
    return {
        subject.name: ThroughItsResize(subject).eval() if subject.differentiable else network_of(subject)
        for subject in subjects
    }


def _alike(pixels: Pixels) -> list[list[int]]:
    """Return neighbouring films of one shape in batches, each film alone that is large."""
    batches: list[list[int]] = []
    shape: torch.Size | None = None
    for at in range(len(pixels)):
        last = batches[-1] if batches else []
        film = pixels[at]
        fits = len(last) < BATCH[True] and (len(last) + 1) * film.nbytes <= MOST
        if last and fits and film.shape == shape:
            last.append(at)
        else:
            batches.append([at])
        shape = film.shape
    return batches
