"""How does every known failure mode look? Films picked by rule, before and after, with where the map lies.

Picks need the prediction table only. Films are decoded, attributed and drawn when a report is written, and a map that
a claim has asked for already is not computed again.
"""

from __future__ import annotations

from collections.abc import Callable, Iterator, Mapping, Sequence
from dataclasses import dataclass
from functools import cache, partial
from hashlib import sha256
from pathlib import Path

import numpy as np
import numpy.typing as npt
import torch
from scipy.special import softmax
from torch import Tensor

from explain import AttributionMap
from explain.gallery import Conditioned, build_panels, sidecar
from explain.panel import LEGEND, SANITY_WORDS, Panel, Sanity, draw_panel, tiles
from explain.regions import Mask
from explain.selection import (
    Pick,
    largest_flips,
    most_confident_calls,
    most_confident_errors,
    random_correct,
)
from robustness import perturbation
from robustness.attacks import AttackResult
from suites.harness.claims import GalleryItem, Label, Tiles
from suites.harness.cohorts.probes import ROLES
from suites.harness.endpoints.adversarial import runs
from suites.harness.endpoints.explanations import attribution
from suites.harness.endpoints.explanations.attribution import Asked, Checked
from suites.harness.errors import NotEvaluable
from suites.harness.formatting.cells import whole_percent
from suites.harness.formatting.severities import in_words
from suites.harness.formatting.wording import opened, plain_name
from suites.harness.predictions.answers import Answers
from suites.harness.predictions.conditions import CLEAN, parse
from suites.harness.predictions.evidence import Evidence
from suites.harness.subjects.attribution_layer import described

FILMS = {"quick": 2, "standard": 4, "full": 8}
"""Films shown per failure mode; a mode of several conditions shows at least one of each."""
TITLES = {
    "exposure": "Low contrast and underexposure",
    "contrast": "Low contrast and underexposure",
    "grid": "Grid artefacts",
    "opacity": "White-out",
}
ADVERSARIAL, CALLS = "Adversarial examples", "Clean films: the surest wrong calls, and a right one"
NO_ATTACK = "adversarial examples (no finished attack)"


@dataclass(frozen=True)
class Side:
    """What the network saw and said of a scene's films, and how to have it explained.

    Attributes:
        probabilities: (M, K).
        pixels: gives (M, C, S, S).
        maps: method, (M,) class asked about of each film -> the maps of these films.
    """

    probabilities: npt.NDArray[np.float64]
    pixels: Callable[[], Tensor]
    maps: Callable[[str, Sequence[int]], AttributionMap]


@dataclass(frozen=True)
class Scene:
    """The films of one failure mode under one condition.

    Attributes:
        title: of the gallery.
        condition: what was done to the films, or which films they are.
        answers: of the subject on their cohort.
        index: (M,) positions of the picked films.
        picks: in the same order, with the rule that picked each.
        before: the films as they came; `after` under the condition, if one was applied.
    """

    title: str
    condition: str
    answers: Answers
    index: npt.NDArray[np.int64]
    picks: Sequence[Pick]
    before: Side
    after: Side | None = None

    @property
    def targets(self) -> list[int]:
        """(M,) the class that both maps of a film explain, what it is called in the end: only so do they compare."""
        return attribution.explained(self.answers, (self.after or self.before).probabilities.argmax(axis=1))

    def truth(self, row: int) -> str | None:
        """What the film at a row shows: its class, else a finding that has none, else nothing is known."""
        at = self.index[row]
        label = self.answers.labels[at]
        if label >= 0:
            return str(self.answers.subject.classes[label])
        return str(self.answers.cohort.table["finding"].iloc[at]) or None


def failure_galleries(
    evidence: Evidence, conditions: Sequence[str], checked: Mapping[str, Checked]
) -> tuple[dict[str, list[GalleryItem]], list[str]]:
    """Return the galleries by title, and what cannot be shown, with the reason.

    Args:
        evidence: of the run.
        conditions: what is done to films of the cohort, predicted already.
        checked: method -> its sanity check, printed on every picture; these methods are shown.
    """
    galleries: dict[str, list[GalleryItem]] = {}
    missing = [f"{role} films (none were given)" for role in ROLES if role not in evidence.probes]
    try:
        for scene in scenes(evidence, conditions):
            for method, check in checked.items():
                galleries.setdefault(scene.title, []).extend(items(scene, method, check))
    except NotEvaluable as reason:
        missing.append(str(reason))
    if ADVERSARIAL not in galleries:
        missing.append(NO_ATTACK)
    return galleries, missing


def scenes(evidence: Evidence, conditions: Sequence[str]) -> Iterator[Scene]:
    """Yield every failure mode that has films: wrong calls, conditions, probes, adversarial examples."""
    answers, films, folder = evidence.main, FILMS[evidence.profile], evidence.cache
    yield from _scene(CALLS, CLEAN, answers, _errors(answers, films), folder)
    shown = [text for text in conditions if parse(text).text not in evidence.main.predictions.failed]
    titles = {text: TITLES.get(_family(text), _family(text)) for text in shown}
    for text, title in titles.items():
        share = max(1, films // list(titles.values()).count(title))
        picks = _changed(answers, parse(text).text, share)
        yield from _scene(title, parse(text).text, answers, picks, folder, applied=True)
    for role, probe in evidence.probes.items():
        yield from _scene(ROLES.get(role, role).capitalize(), role, probe, _errors(probe, films), folder)
    yield from _attacked(evidence, films)


def _family(text: str) -> str:
    return perturbation.get(parse(text).perturbation).family


def _scene(
    title: str, condition: str, answers: Answers, picks: list[Pick], folder: Path, *, applied: bool = False
) -> Iterator[Scene]:
    """Yield the scene of these picks if there are any; unless a condition is `applied`, the films as they came."""
    if picks:
        index = np.array([pick.row for pick in picks], dtype=np.int64)
        after = side_of(answers, folder, index, condition) if applied else None
        yield Scene(title, condition, answers, index, picks, side_of(answers, folder, index, CLEAN), after)


def side_of(answers: Answers, folder: Path, index: npt.NDArray[np.int64], condition: str = CLEAN) -> Side:
    """Return what the network saw and said of some films under a condition; `folder` is the root of the cache."""
    return Side(
        answers.probabilities(condition)[index],
        partial(attribution.inputs, answers, index.tolist(), condition),
        lambda method, targets: attribution.attribute(answers, index, method, folder, condition, targets=targets).maps,
    )


def _errors(answers: Answers, count: int) -> list[Pick]:
    """Pick the most confident errors and one film called right; of unlabelled films the most confident calls."""
    labelled = np.flatnonzero(answers.shared(CLEAN))
    if not len(labelled):
        answered = np.flatnonzero(np.isfinite(answers.called()))
        ids, logits = [answers.images[at] for at in answered], answers.logits()[answered]
        return _placed(most_confident_calls(ids, logits, count), answered)
    ids, truth, logits = _rows(answers, labelled, CLEAN)
    wrong = most_confident_errors(ids, truth, logits, count)
    return _placed(_mixed(wrong, random_correct(ids, truth, logits, count, answers.seed), count), labelled)


def _changed(answers: Answers, condition: str, count: int) -> list[Pick]:
    """Pick the largest flips under a condition and one film that is still called right."""
    index = np.flatnonzero(answers.shared(CLEAN, condition))
    if not len(index):
        return []
    ids, truth, after = _rows(answers, index, condition)
    flips = largest_flips(ids, answers.logits()[index], after, count)
    return _placed(_mixed(flips, random_correct(ids, truth, after, count, answers.seed), count), index)


def _rows(
    answers: Answers, index: npt.NDArray[np.int64], condition: str
) -> tuple[list[str], npt.NDArray[np.int64], npt.NDArray[np.float64]]:
    return [answers.images[at] for at in index], answers.labels[index], answers.logits(condition)[index]


def _mixed(worst: list[Pick], right: list[Pick], count: int) -> list[Pick]:
    """Return `count` picks, the last a right one where there is room for both kinds."""
    if count > 1 and right:
        worst = worst[: count - 1]
    return [*worst, *right][: max(count, len(worst))]


def _placed(picks: list[Pick], index: npt.NDArray[np.int64]) -> list[Pick]:
    """Return the picks with their row as position in the cohort."""
    return [Pick(pick.image_id, int(index[pick.row]), pick.rule, pick.score) for pick in picks]


def _attacked(evidence: Evidence, films: int) -> Iterator[Scene]:
    """Yield the adversarial examples of a finished attack; galleries alone are no reason to run one."""
    answers = evidence.main
    attack = runs.finished(answers, evidence.profile, evidence.cache)
    if attack is None:
        return
    flipped = [
        (int(at), result)
        for at, result in zip(attack.index, attack.found.results, strict=True)
        if result.stored is not None and result.distance > 0
    ]
    ids = [answers.images[at] for at, _ in flipped]
    logits = np.array([result.stored_logits for _, result in flipped], dtype=np.float64)
    if not flipped:
        return
    index = np.array([at for at, _ in flipped], dtype=np.int64)
    picks = largest_flips(ids, answers.logits()[index], logits, films)
    if not picks:
        return
    rows = [pick.row for pick in picks]
    after = _example_side(answers, evidence.cache, [flipped[row][1] for row in rows])
    before = side_of(answers, evidence.cache, index[rows])
    yield Scene(ADVERSARIAL, f"attack, {attack.threat}", answers, index[rows], _placed(picks, index), before, after)


def _example_side(answers: Answers, folder: Path, results: Sequence[AttackResult]) -> Side:
    """Return what the network saw and said of stored adversarial examples (8 bit, the same grey in all channels)."""
    stored = [result.stored for result in results if result.stored is not None]
    logits = np.array([result.stored_logits for result in results], dtype=np.float64)
    grey = torch.stack([torch.from_numpy(one.astype(np.float32) / 255) for one in stored])
    pixels = grey.expand(-1, answers.subject.preprocessing.channels, -1, -1).contiguous().to(answers.subject.device)
    contents = [f"adversarial {sha256(one.tobytes()).hexdigest()}" for one in stored]

    def maps(method: str, targets: Sequence[int]) -> AttributionMap:
        asked = zip(results, contents, targets, strict=True)
        films = [Asked(result.image_id, content, target) for result, content, target in asked]
        return attribution.attribute_each(answers, films, method, folder, lambda row: pixels[row : row + 1])

    return Side(np.asarray(softmax(logits, axis=1), dtype=np.float64), lambda: pixels, maps)


def items(scene: Scene, method: str, checked: Checked) -> list[GalleryItem]:
    """Return one item per film of a scene; all of a method are made when the first one is looked at."""
    panels = cache(lambda: _panels(scene, method, checked.outcome))
    names, said = scene.answers.subject.classes, scene.after or scene.before
    # Of a method that passed, its table says so once; of one that did not, every picture must.
    doubt = (
        "" if checked.outcome == "passed" else f". Maps of {method}: {SANITY_WORDS[checked.outcome]} {checked.counted}."
    )
    made = []
    for row, pick in enumerate(scene.picks):
        sure, truth = said.probabilities[row], scene.truth(row) or "unknown"
        call = f"{plain_name(names[int(sure.argmax())])} {whole_percent(float(sure.max()))}"
        known = "" if truth == names[int(sure.argmax())] else f"; truth {plain_name(truth)}"
        made.append(
            GalleryItem(
                caption=f"{pick.image_id}, {pick.rule}{known}{doubt}",
                draw=partial(_picture, panels, row),
                facts={
                    "called": call,
                    "class": truth,
                    "method": method,
                    "condition": scene.condition,
                    "sanity check": checked.outcome,
                    "legend": "; ".join(LEGEND),
                },
                details=partial(_details, panels, row, scene),
            )
        )
    return made


def _picture(panels: Callable[[], list[Panel]], row: int) -> Tiles:
    panel = panels()[row]
    labels = [Label(opened(tile.title), _without_legend(tile.note), tile.tone) for tile in tiles(panel)]
    return Tiles(draw_panel(panel), labels)


def _without_legend(note: str) -> str:
    """Return the note of a tile without what its lines and colours mean, which is said once above a gallery."""
    for told in LEGEND:
        note = note.replace(told, "")
    return note.rstrip(", ")


def _details(panels: Callable[[], list[Panel]], row: int, scene: Scene) -> dict[str, object]:
    subject = scene.answers.subject
    panel = panels()[row]
    explained = {"explained by": described(subject, panel.method)}
    return {**sidecar(panel), **explained, "subject": subject.name, "cohort": scene.answers.cohort.name}


def _panels(scene: Scene, method: str, outcome: Sanity) -> list[Panel]:
    answers = scene.answers
    names = answers.subject.classes
    known = {pick.image_id: scene.truth(row) for row, pick in enumerate(scene.picks)}
    truth = {image: shows for image, shows in known.items() if shows is not None}
    sides = [
        Conditioned(side.pixels()[:, 0].cpu().numpy(), side.probabilities, side.maps(method, scene.targets))
        for side in (scene.before, scene.after)
        if side is not None
    ]
    return build_panels(
        scene.picks, names, *sides, topic=scene.title, condition=_spoken(scene.condition), truth=truth,
        sanity={method: outcome}, lesions=_outlines(scene, "lesion"), lungs=_outlines(scene, "lung"),
    )  # fmt: skip


def _spoken(condition: str) -> str:
    """Return what was done to a film in words; the name of an attack or a probe as it is."""
    return in_words(condition, inside=True) if "@" in condition else plain_name(condition)


def _outlines(scene: Scene, name: str) -> dict[str, Mask]:
    try:
        found, _ = attribution.masks(scene.answers, scene.index.tolist(), name)
    except NotEvaluable:
        return {}
    return {image: mask for image, mask in found.items() if mask.any()}
