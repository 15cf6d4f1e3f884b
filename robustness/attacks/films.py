"""Which points has an attack asked about, and at what cost? The films under attack and their books.

No attack reports its own success. `Turn.logits` and `Turn.gradient` clip the point to [0, 1], run the subject, measure
the size of the change, and keep the smallest change that flipped each film. Nothing found on the way is lost, and
nothing outside a budget can count as inside it.
"""

from __future__ import annotations

from collections.abc import Callable, Sequence

import torch
import torch.nn.functional as F
from torch import Tensor

from robustness.attacks.errors import AttackError
from robustness.attacks.loss import Loss, any_side_left
from robustness.attacks.network import AttackedNetwork
from robustness.attacks.threat import ROUNDING, column, largest
from robustness.draws import Draws

LINE_SEARCH = "line-search"
"""The name under which scaling a flip down is booked."""


class AttackedFilms:
    """A batch of films with, for each, the smallest change found that flips it.

    Args:
        network: the subject behind its threat model.
        pixels: (B, 1 or C, H, W) films or network inputs in [0, 1].
        labels: (B,) true classes, integers 0..K-1.
        image_ids: B identities, from which all random numbers come.
        seed: seed of the run.
        sides: (B, F) of `attack_each`, where the network answers findings.

    Attributes:
        start: (B, c, H, W) what the adversary moves, unchanged.
        clean_logits: (B, K).
        distance: (B,) float64, size of the smallest flipping change; 0 where clean is wrong, inf where none was found.
        adversarial: (B, c, H, W) the changed film at that size (the clean film where none was found).
        logits: (B, K) at that point.
        found_by: which attack found it; "clean" where the clean film is wrong, "" where none was found.
        passes: per attack, (B, 2) counts of forward and backward passes.
        watch: told, whenever passes are booked, how many, film by film.
        faults: per film, what went wrong numerically ("nan gradient", "nan logits", "zero gradient"), or "".
    """

    def __init__(
        self,
        network: AttackedNetwork,
        pixels: Tensor,
        labels: Tensor,
        image_ids: Sequence[str],
        seed: int = 0,
        *,
        sides: Tensor | None = None,
    ) -> None:
        if not len(pixels) == len(labels) == len(image_ids):
            raise AttackError(f"{len(pixels)} films, {len(labels)} labels, {len(image_ids)} image ids: numbers differ")
        self.network = network
        self.threat = network.threat
        self.ids = [str(image_id) for image_id in image_ids]
        self.seed = seed
        self.watch: Callable[[int], None] | None = None
        self.start = self.threat.start(pixels).to(network.device)
        self.labels = torch.as_tensor(labels, dtype=torch.long).to(network.device)
        number = len(self.ids)
        self.passes: dict[str, Tensor] = {}
        self.faults = [""] * number
        self.found_by = [""] * number
        self.gradients = torch.zeros(number, 2, dtype=torch.long)  # asked, of these exactly zero
        self.distance = torch.full((number,), torch.inf, dtype=torch.float64, device=network.device)
        self.adversarial = self.start if number == 1 else self.start.clone()
        self.sides = None if sides is None else sides.to(network.device)
        self.clean_logits = self.as_classes(network.logits(self.start), torch.arange(number, device=network.device))
        self.logits = self.clean_logits.clone()
        if not bool(torch.isfinite(self.clean_logits).all()):
            bad = self.ids[int((~torch.isfinite(self.clean_logits)).any(1).nonzero()[0])]
            raise AttackError(f"the subject's logits for clean image {bad!r} are not finite")
        classes = self.clean_logits.shape[1]
        if number and not 0 <= int(self.labels.min()) <= int(self.labels.max()) < classes:
            raise AttackError(f"labels range from {int(self.labels.min())} to {int(self.labels.max())}; "
                              f"the subject has classes 0..{classes - 1}")  # fmt: skip
        self.count("clean", torch.arange(number), forward=1)
        for index in (self.clean_logits.argmax(1) != self.labels).nonzero().flatten().tolist():
            self.distance[index], self.found_by[index] = 0.0, "clean"

    def as_classes(self, logits: Tensor, index: Tensor) -> Tensor:
        """Return the (b, K) logits that attacks climb: those of findings as `any_side_left` has them."""
        return logits if self.sides is None else any_side_left(logits, self.sides[index])

    def count(self, attack: str, index: Tensor, *, forward: int = 0, backward: int = 0) -> None:
        """Book passes of these films under an attack's name."""
        book = self.passes.setdefault(attack, torch.zeros(len(self.ids), 2, dtype=torch.long))
        book[index.cpu()] += torch.tensor([forward, backward])
        if self.watch is not None:
            self.watch(len(index) * (forward + backward))

    def judge(self, attack: str, index: Tensor, moved: Tensor, logits: Tensor) -> None:
        """Keep each point that flips its film with a smaller change than any before."""
        wrong = (logits.argmax(1) != self.labels[index]).nonzero().flatten()
        if len(wrong) == 0:
            return
        # Of one whole film no copy is made to measure it, nor to keep it.
        alone = len(self.ids) == 1
        films, points = (self.start, moved) if alone else (self.start[index[wrong]], moved[wrong])
        size = self.threat.apart(points, films)
        better = size < self.distance[index[wrong]]
        keep = wrong[better]
        self.distance[index[keep]] = size[better]
        if alone and len(keep):
            self.adversarial = moved.detach()
        else:
            self.adversarial[index[keep]] = moved[keep].detach()
        self.logits[index[keep]] = logits[keep].detach()
        for film in index[keep].tolist():
            # Scaling down a flip does not make it somebody else's.
            self.found_by[film] = self.found_by[film] if attack == LINE_SEARCH else attack

    def fault(self, index: Tensor, name: str) -> None:
        """Note a numerical fault; the first one of a film stays."""
        for film in index.tolist():
            self.faults[film] = self.faults[film] or name


class Turn:
    """One attack's turn on some of the films, each with its own budget.

    `turn[mask]` is the same turn on fewer films; drop films as soon as `turn.open` says they are flipped.

    Attributes:
        index: (b,) positions in the batch.
        budget: (b,) float64.
        start: (b, c, H, W) the films.
        labels: (b,).
        clean_logits: (b, K).
    """

    def __init__(self, films: AttackedFilms, attack: str, index: Tensor, budget: Tensor) -> None:
        self.films = films
        self.attack = attack
        self.index = index
        self.budget = budget
        # One film is its own batch: whole, it is as large as a small network.
        self.start = films.start if len(films.ids) == len(index) == 1 else films.start[index]
        self.labels = films.labels[index]
        self.clean_logits = films.clean_logits[index]

    def __len__(self) -> int:
        return len(self.index)

    def __getitem__(self, keep: Tensor) -> Turn:
        if keep.dtype == torch.bool and bool(keep.all()):
            return self  # every copy of a whole film is as large as a small network
        return Turn(self.films, self.attack, self.index[keep], self.budget[keep])

    @property
    def open(self) -> Tensor:
        """(b,) bool: no flip inside the budget has been found yet."""
        return self.films.distance[self.index] > self.budget + ROUNDING

    @property
    def radius(self) -> Tensor:
        """(b, 1, 1, 1) float32 budgets, to scale images."""
        return column(self.budget).to(torch.float32)

    def project(self, moved: Tensor) -> Tensor:
        """Points brought back inside the budget and [0, 1]."""
        return self.films.threat.project(moved, self.start, self.budget)

    def moved(self, direction: Tensor, start: Tensor | None = None, rate: Tensor | float = 1.0) -> Tensor:
        """Points so many radii along a direction from the films, or from where a search has come; inside the budget."""
        step = rate * self.radius
        return self.films.threat.each_pixel(
            lambda here, towards, film: self.films.threat.project(here + step * towards, film, self.budget),
            self.start if start is None else start, direction, self.start,
        )  # fmt: skip

    def uniforms(self, label: str, *shape: int) -> Tensor:
        """(b, *shape) numbers in [0, 1), for each film fixed by (image id, attack, seed, label)."""
        films = self.films
        draws = [
            Draws(films.ids[film], self.attack, films.seed).uniforms(label, *shape) for film in self.index.tolist()
        ]
        return (draws[0].unsqueeze(0) if len(draws) == 1 else torch.stack(draws)).to(self.start.device)

    def logits(self, moved: Tensor) -> Tensor:
        """(b, K) logits at the points; judged, and booked as one forward pass per film."""
        moved = self._checked(moved)
        logits = self._finite(self.films.as_classes(self.films.network.logits(moved), self.index))
        self.films.count(self.attack, self.index, forward=1)
        self.films.judge(self.attack, self.index, moved, logits)
        return logits

    def gradient(self, moved: Tensor, loss: Loss) -> tuple[Tensor, Tensor, Tensor]:
        """(b,) loss, its (b, c, H, W) gradient and the (b, K) logits; judged, one forward and one backward pass.

        A gradient that is not finite is noted as the film's fault and replaced by zero.
        """
        moved = self._checked(moved)
        values, gradient, logits = self.films.network.gradient(
            moved, self.labels, lambda logits, labels: loss(self.films.as_classes(logits, self.index), labels)
        )
        logits = self._finite(self.films.as_classes(logits, self.index))
        bad = ~torch.isfinite(largest(gradient.flatten(1)))
        if bool(bad.any()):
            self.films.fault(self.index[bad], "nan gradient")
            gradient = torch.where(column(bad), torch.zeros_like(gradient), gradient)
        zero = (gradient == 0).flatten(1).all(1)
        self.films.gradients[self.index.cpu()] += torch.stack([torch.ones_like(zero), zero], 1).long().cpu()
        self.films.count(self.attack, self.index, forward=1, backward=1)
        self.films.judge(self.attack, self.index, moved, logits)
        return values, gradient, logits

    def _checked(self, moved: Tensor) -> Tensor:
        """Points as the subject will see them; one that is not finite is noted and replaced by the film."""
        if moved.shape != self.start.shape:
            raise AttackError(
                f"{self.attack} asked about {tuple(moved.shape)}; its films are {tuple(self.start.shape)}"
            )
        bad = ~torch.isfinite(largest(moved.detach().flatten(1)))
        if bool(bad.any()):
            self.films.fault(self.index[bad], "nan gradient")
            moved = torch.where(column(bad), self.start, moved)
        return self.films.threat.shown(moved.detach())

    def _finite(self, logits: Tensor) -> Tensor:
        """Rows that are not finite are noted and never count as a flip."""
        bad = ~torch.isfinite(logits).all(1)
        if bool(bad.any()):
            self.films.fault(self.index[bad], "nan logits")
            logits = torch.where(bad[:, None], F.one_hot(self.labels, logits.shape[1]).to(logits.dtype), logits)
        return logits
