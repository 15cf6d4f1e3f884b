"""How do attacks look? Curves by budget, the smallest changes that flip a call, patterns for all films."""

from __future__ import annotations

from collections.abc import Mapping
from functools import partial

import numpy as np
import torch
from matplotlib.figure import Figure

from robustness.attacks import AttackResult
from suites.harness.claims import GalleryItem, Label, Tiles
from suites.harness.endpoints.adversarial.runs import Attack
from suites.harness.endpoints.adversarial.runs.job import easiest
from suites.harness.endpoints.adversarial.runs.universal import Patterns
from suites.harness.formatting import figures, film_figures
from suites.harness.formatting.wording import plain_name
from suites.harness.predictions.answers import Answers
from suites.harness.statistics import Sampled


def curves(series: Mapping[str, Mapping[float, Sampled]], title: str) -> Figure:
    """Draw robust accuracy by budget.

    Args:
        series: name -> budget as a fraction of the grey scale (0: the clean films) -> films called right.
        title: printed above the axes.
    """
    budgets = sorted({budget for values in series.values() for budget in values})
    nothing = (float("nan"),) * 3
    drawn = {}
    for name, values in series.items():
        ends = [values[budget].interval() if budget in values else None for budget in budgets]
        points = [nothing if end is None else (end.estimate, end.low, end.high) for end in ends]
        middle, low, high = (list(part) for part in zip(*points, strict=True))
        drawn[name] = (middle, low, high)
    return figures.severity_curve(
        [budget * 255 for budget in budgets],
        drawn,
        ylabel="films called right",
        xlabel="grey levels of 255",
        title=title,
        limits=(0, 1),
    )


def smallest_changes(answers: Answers, attack: Attack) -> list[GalleryItem]:
    """Return the films that flip most easily, with the stored 8-bit examples that can be replayed."""
    items = []
    for result in easiest(attack.found.results):
        assert result.stored is not None  # noqa: S101 - filtered above
        after = int(np.argmax(result.stored_logits))
        names = [plain_name(answers.subject.classes[call]) for call in (result.clean_prediction, after)]
        size = result.stored_distance * 255
        factor = max(1, round(110 / size))  # nearly the whole range of greys, else a change of one level is not seen
        labels = [
            Label("Film", names[0]),
            Label(f"Change × {factor}", f"at most {size:.0f} of 255"),
            Label("Attacked, 8 bit", names[1]),
        ]
        draw = partial(_change, answers, result, labels, factor)
        caption = f"{result.image_id}: {names[0]} becomes {names[1]} at {size:.0f} of 255 grey levels ({result.attack})"
        items.append(GalleryItem(caption=caption, draw=draw, facts={"image": result.image_id, "levels": size}))
    return items


def _change(answers: Answers, result: AttackResult, labels: list[Label], factor: int) -> Tiles:
    """Draw film, change and example; a whole film is decoded again."""
    assert result.stored is not None  # noqa: S101 - only films with an example are drawn
    before = answers.film(result.image_id).pixels if result.film is None else result.film[0]
    example = (result.stored[0] / 255.0).astype(np.float32)
    change = np.clip(0.5 + (example - before) * factor, 0, 1).astype(np.float32)
    return film_figures.films_in_a_row([before, change, example], labels)


def pattern_gallery(answers: Answers, found: Patterns, budget: float, how_many: int = 2) -> list[GalleryItem]:
    """Return each pattern of a budget, amplified to full contrast, on films it turns that it was not fitted on."""
    items = []
    rows = found.at(budget).assign(at=found.index)
    turned = rows[(rows["clean_prediction"] == rows["label"]) & (rows["prediction"] != rows["label"])]
    for fold in sorted({fold for size, fold in found.patterns if np.isclose(size, budget)}):
        pattern = next(
            values for (size, own), values in found.patterns.items() if own == fold and np.isclose(size, budget)
        )
        mine = turned[turned["fold"] == fold].sort_values("image_id", kind="stable")
        shown = mine if len(mine) else rows[rows["fold"] == fold]
        for row in shown.head(how_many).to_dict("records"):
            names = [plain_name(answers.subject.classes[int(row[key])]) for key in ("clean_prediction", "prediction")]
            draw = partial(_patterned, answers, str(row["image_id"]), pattern, budget, names)
            items.append(
                GalleryItem(
                    caption=f"{row['image_id']}: {names[0]}, under the pattern of the other patients {names[1]}",
                    draw=draw,
                    facts={"image": row["image_id"], "levels": budget * 255},
                )
            )
    return items


def _patterned(
    answers: Answers,
    image: str,
    pattern: np.ndarray[tuple[int, ...], np.dtype[np.float32]],
    budget: float,
    names: list[str],
) -> Tiles:
    film = answers.subject.pixels(torch.from_numpy(answers.film(image).pixels)[None])[0, 0].cpu().numpy()
    amplified = np.clip(0.5 + pattern / (2 * budget), 0, 1).astype(np.float32)
    labels = [
        Label("Input", names[0]),
        Label(f"Pattern × {0.5 / budget:.0f}", f"at most {budget * 255:g} of 255"),
        Label("Both", names[1]),
    ]
    return film_figures.films_in_a_row([film, amplified, np.clip(film + pattern, 0, 1).astype(np.float32)], labels)
