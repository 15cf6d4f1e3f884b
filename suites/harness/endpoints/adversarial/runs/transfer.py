"""What can an adversary without the weights do with a stand-in? Films made against one subject, shown to the others.

The whole film is changed, so that subjects with different resizes can be shown the same one.
"""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from pathlib import Path

import pandas as pd
import torch
from torch import Tensor, nn

from robustness.attacks import ThreatModel
from robustness.attacks.ensemble import MOST
from robustness.attacks.network import Subject as Attacked
from robustness.attacks.transfer import transfer_films
from suites.harness.cache import Shards
from suites.harness.cache.code_digest import decoding
from suites.harness.endpoints.adversarial.runs.access import FILM, network_of
from suites.harness.endpoints.adversarial.runs.job import BATCH, Pixels, images_at_once
from suites.harness.endpoints.adversarial.runs.protocols import COMPARED_FILMS, REMOTE_FILMS, chosen_films
from suites.harness.predictions.answers import Answers
from suites.harness.subjects.subject import Subject

LEVELS = tuple(level / 255 for level in (2.0, 4.0))
STEPS = 10
COLUMNS = {
    "source": "text", "target": "text", "image_id": "text", "label": "whole", "budget": "number",
    "clean_prediction": "whole", "robust": "flag", "prediction": "whole",
}  # fmt: skip


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
    films = first.cohort.rows(index)
    ids, labels = [str(row["id"]) for row in films], [int(label) for label in first.labels[index]]
    pixels = Pixels(first, films, whole=True)
    shards = Shards(cache, "transfer", {
        "subjects": [(item.subject.name, item.subject.cache_key) for item in ordered], "decoding": decoding(),
        "films": list(zip(ids, pixels.contents, labels, strict=True)), "budgets": LEVELS, "steps": STEPS,
        "batch": BATCH[True], "version": 5,
    }, COLUMNS)  # fmt: skip
    known = shards.read()
    done = set(known["image_id"]) if len(known) else set()
    networks = _takers([answers.subject for answers in ordered])
    doing = first.progress.doing("attacking", "films made against one subject, shown to the others")
    with doing, images_at_once():
        for batch in _alike(pixels) if set(ids) - done else []:
            if all(ids[at] in done for at in batch):
                continue
            stack = torch.stack([pixels[at] for at in batch]).cpu()
            made = transfer_films(
                networks, stack, [labels[at] for at in batch], [ids[at] for at in batch], ThreatModel(channels=1),
                budgets=LEVELS, steps=STEPS, batch_size=BATCH[True],
            )  # fmt: skip
            shards.add(made.assign(threat=FILM))
            first.progress.done(len(batch))
        first.progress.found(len(set(ids) & done))
    return shards.read().drop_duplicates(["source", "target", "image_id", "budget"]).reset_index(drop=True)


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
