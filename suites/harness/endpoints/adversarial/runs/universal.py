"""What does one pattern do to all films? Fitted on some patients, judged on others, beside a random one."""

from __future__ import annotations

import json
from collections.abc import Iterable, Iterator, Mapping, Sequence
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
from suites.harness.cache.code_digest import decoding
from suites.harness.endpoints.adversarial.runs.access import INPUT, threat_of
from suites.harness.endpoints.adversarial.runs.job import Pixels
from suites.harness.endpoints.adversarial.runs.protocols import PATTERN_FILMS, chosen_films
from suites.harness.errors import NotEvaluable
from suites.harness.predictions.answers import Answers
from suites.harness.predictions.blocks import Told, cut
from suites.harness.predictions.conditions import Condition
from suites.harness.predictions.film_work import Asking, Values, class_of, rows_of, together
from suites.harness.predictions.opened import Opened
from suites.harness.subjects.subject import Subject

LEVELS = tuple(level / 255 for level in (2.0, 4.0, 8.0))
FOLDS = 2
EPOCHS = {"quick": 4, "standard": 8, "full": 10}
COLUMNS = ("image_id", "label", "budget", "fold", "clean_prediction", "prediction", "random")
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


@dataclass(frozen=True, kw_only=True)
class PatternWork:
    """Patterns of one budget, fitted and judged on all films together: one block for each budget that is asked.

    Attributes:
        epochs: passes over the films.
        seed: of the run.
    """

    epochs: int
    seed: int
    kind: str = "universal"

    @property
    def columns(self) -> Mapping[str, str]:
        """Columns of a row and their kinds: what became of the film; on the first one of a fold, its pattern."""
        return {"record": "text", "pattern": "bytes"}

    def conditions(self) -> Iterable[Condition]:
        """Yield no condition: films are taken as they came."""
        return ()

    def key(self, subjects: Sequence[Subject], asked: str) -> Mapping[str, object]:
        """Return everything that decides a pattern besides the films."""
        (subject,) = subjects
        return {
            **subject.cache_key,
            "threat": threat_of(subject, INPUT).name,
            "plan": f"universal/v{VERSION}",
            "budget": asked,
            "folds": FOLDS,
            "epochs": self.epochs,
            "seed": self.seed,
            "decoding": decoding(),
            "version": 6,
        }

    def identity(self, asked: str, films: Sequence[Opened]) -> str:  # noqa: ARG002 - part of the key
        """Return which films of which patients are fitted and judged together."""
        return together(films, "patient")

    def rows(
        self, subjects: Sequence[Subject], asked: str, films: Sequence[Opened], lacking: Sequence[int], told: Told
    ) -> Iterator[tuple[int, Values]]:
        """Yield the place of every film, and what became of it.

        Raises:
            NotEvaluable: there are fewer patients than folds.
        """
        del lacking, told
        (subject,) = subjects
        network, model, budget = subject.network, threat_of(subject, INPUT), float(asked)
        assert network is not None  # noqa: S101 - `patterns` refused the others
        pixels = torch.stack(list(Pixels(subject, films, whole=False)))
        ids, labels = [film.key[0] for film in films], [class_of(film) for film in films]
        try:
            fitted = universal_films(
                network, pixels, labels, ids, [str(film.row["patient"]) for film in films], threat=model,
                budgets=[budget], folds=FOLDS, epochs=self.epochs,
            )  # fmt: skip
        except AttackError as problem:
            raise NotEvaluable(
                f"no pattern can be judged on other patients than it was fitted on: {problem}"
            ) from problem
        attacked, at = AttackedNetwork(network, model), {image: number for number, image in enumerate(ids)}
        rows = fitted.rows[["image_id", "label", "budget", "fold", "clean_prediction", "prediction"]].copy()
        rows["random"] = -1
        for fold, part in rows.groupby("fold"):
            shown = pixels[[at[image] for image in part["image_id"]]]
            signs = budget * _signs(shown, int(str(fold)), self.seed)
            rows.loc[part.index, "random"] = _called(attacked, shown, signs)
        patterns = {int(fold): np.ascontiguousarray(one[0]).tobytes() for (_, fold), one in fitted.patterns.items()}
        for row in rows.to_dict("records"):
            record = {name: row[name] for name in COLUMNS}
            yield at[row["image_id"]], {"record": json.dumps(record), "pattern": patterns.pop(int(row["fold"]), b"")}


def patterns(answers: Answers, profile: str, cache: Path) -> Patterns:
    """Fit and judge patterns of every budget, keeping each budget as it is finished.

    Raises:
        NotEvaluable: the subject has no gradients, or there are fewer patients than folds.
    """
    subject = answers.subject
    if subject.network is None:
        raise NotEvaluable(f"{subject.name} gives no gradients, and a pattern for all films is fitted along them")
    index = chosen_films(answers, PATTERN_FILMS[profile])
    films = rows_of(answers, index, answers.labels[index].tolist())
    work = PatternWork(epochs=EPOCHS[profile], seed=answers.seed)
    side, records, found = subject.preprocessing.size, [], {}
    passes = 2.0 * EPOCHS[profile] + 2.0
    with answers.progress.doing("attacking", f"{subject.name}, one pattern for all films", each=passes):
        for row in Asking(answers, work, cache, found=True).rows(cut(films, len(films), [repr(one) for one in LEVELS])):
            record = json.loads(row["record"])
            records.append(record)
            if row["pattern"]:
                pattern = np.frombuffer(row["pattern"], np.float32).reshape(side, side).copy()
                found[float(record["budget"]), int(record["fold"])] = pattern
    return Patterns(index, pd.DataFrame(records), found)


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
