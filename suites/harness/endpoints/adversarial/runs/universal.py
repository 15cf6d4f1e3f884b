"""What does one pattern do to all films? Fitted on some patients, judged on others, beside a random one."""

from __future__ import annotations

from dataclasses import dataclass
from pathlib import Path

import numpy as np
import numpy.typing as npt
import pandas as pd
import torch
from torch import Tensor

from robustness.attacks import AttackedNetwork, AttackError
from robustness.attacks.universal import VERSION, universal_films
from robustness.draws import Draws
from suites.harness.cache import Shards
from suites.harness.endpoints.adversarial.runs.access import INPUT
from suites.harness.endpoints.adversarial.runs.job import Job
from suites.harness.endpoints.adversarial.runs.protocols import PATTERN_FILMS, chosen_films, plan_of
from suites.harness.errors import NotEvaluable
from suites.harness.predictions.answers import Answers

LEVELS = tuple(level / 255 for level in (2.0, 4.0, 8.0))
FOLDS = 2
EPOCHS = {"quick": 4, "standard": 8, "full": 10}
COLUMNS = {
    "image_id": "text", "label": "whole", "budget": "number", "fold": "whole", "clean_prediction": "whole",
    "prediction": "whole", "random": "whole", "pattern": "bytes",
}  # fmt: skip
Floats = npt.NDArray[np.float64]


@dataclass(frozen=True)
class Patterns:
    """What the patterns did.

    Attributes:
        index: (M,) position of each film in the cohort.
        rows: one row per film and budget: image_id, label, budget, fold, clean_prediction, prediction (under the
            pattern fitted without the film's patient), random (prediction under random signs of the same size).
        patterns: (budget, fold) -> (S, S) change of the grey pixel, judged on the films of the fold.
    """

    index: npt.NDArray[np.int64]
    rows: pd.DataFrame
    patterns: dict[tuple[float, int], npt.NDArray[np.float32]]

    def robust(self, budget: float, column: str = "prediction") -> Floats:
        """Return (M,) 1 where the film is called right clean and under the pattern (`random`: under the random one)."""
        rows = self.at(budget)
        return np.asarray((rows["clean_prediction"] == rows["label"]) & (rows[column] == rows["label"]), np.float64)

    def at(self, budget: float) -> pd.DataFrame:
        """Return (M,) the rows of one budget, in the order of `index`."""
        return self.rows[np.isclose(self.rows["budget"], budget)].reset_index(drop=True)


def patterns(answers: Answers, profile: str, cache: Path) -> Patterns:
    """Fit and judge patterns of every budget, keeping each budget as it is finished.

    Raises:
        NotEvaluable: the subject has no gradients, or there are fewer patients than folds.
    """
    subject = answers.subject
    if subject.network is None:
        raise NotEvaluable(f"{subject.name} gives no gradients, and a pattern for all films is fitted along them")
    job = Job(answers, chosen_films(answers, PATTERN_FILMS[profile]), plan_of("ensemble", profile), INPUT, LEVELS)
    about = {"plan": f"universal/v{VERSION}", "folds": FOLDS, "epochs": EPOCHS[profile]}
    shards = Shards(cache, "universal", {**job.key, **about, "patients": answers.patients[job.index].tolist()}, COLUMNS)
    known = shards.read()
    done = set(known["budget"]) if len(known) else set()
    passes = 2.0 * EPOCHS[profile] + 2.0
    with answers.progress.doing("attacking", f"{subject.name}, one pattern for all films", each=passes):
        for budget in LEVELS:
            if budget not in done:
                shards.add(_fitted(job, budget, EPOCHS[profile]))
                answers.progress.done(len(job.ids))
            else:
                answers.progress.found(len(job.ids))
    table = shards.read().drop_duplicates(["budget", "fold", "image_id"])
    pictures = table[table["image_id"] == ""]
    side = subject.preprocessing.size
    found = {
        (float(row["budget"]), int(row["fold"])): np.frombuffer(row["pattern"], np.float32).reshape(side, side).copy()
        for row in pictures.to_dict("records")
    }
    rows = table[table["image_id"] != ""].drop(columns="pattern")
    order = {image: at for at, image in enumerate(job.ids)}
    rows = rows.sort_values("image_id", key=lambda ids: ids.map(order), kind="stable").reset_index(drop=True)
    return Patterns(job.index, rows, found)


def _fitted(job: Job, budget: float, epochs: int) -> pd.DataFrame:
    """Return the rows of one budget; those without an image carry the patterns."""
    answers, network = job.answers, job.answers.subject.network
    assert network is not None  # noqa: S101 - `patterns` refused the others
    pixels = torch.stack(list(job.pixels))
    try:
        fitted = universal_films(
            network, pixels, job.labels, job.ids, answers.patients[job.index].tolist(), threat=job.model,
            budgets=[budget], folds=FOLDS, epochs=epochs,
        )  # fmt: skip
    except AttackError as problem:
        raise NotEvaluable(f"no pattern can be judged on other patients than it was fitted on: {problem}") from problem
    attacked = AttackedNetwork(network, job.model)
    rows = fitted.rows[["image_id", "label", "budget", "fold", "clean_prediction", "prediction"]].copy()
    at = {image: number for number, image in enumerate(job.ids)}
    rows["random"] = -1
    for fold, part in rows.groupby("fold"):
        films = pixels[[at[image] for image in part["image_id"]]]
        rows.loc[part.index, "random"] = _called(attacked, films, budget * _signs(films, int(str(fold)), answers.seed))
    pictures = [
        {"image_id": "", "budget": budget, "fold": fold, "pattern": np.ascontiguousarray(pattern[0]).tobytes()}
        for (_, fold), pattern in fitted.patterns.items()
    ]
    filled = pd.DataFrame(pictures).assign(label=-1, clean_prediction=-1, prediction=-1, random=-1)
    return pd.concat([rows.assign(pattern=b""), filled], ignore_index=True)


def _signs(films: Tensor, fold: int, seed: int) -> Tensor:
    """(1, c, S, S) one random sign per pixel, the same for all films of a fold."""
    numbers = Draws(f"fold {fold}", "universal", seed).uniforms("signs", *films.shape[1:])
    return torch.where(numbers < 0.5, -1.0, 1.0).to(films.device)[None]


def _called(attacked: AttackedNetwork, films: Tensor, change: Tensor) -> list[int]:
    calls = []
    for first in range(0, len(films), 16):
        start = attacked.threat.start(films[first : first + 16]).to(attacked.device)
        calls += attacked.logits((start + change.to(attacked.device)).clamp(0.0, 1.0)).argmax(1).tolist()
    return calls
