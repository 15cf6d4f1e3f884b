"""What does torchattacks find? Its attacks, judged by our books: what the literature's numbers are made with.

Its L-inf gradient attacks are right from two classes up on the cross-entropy. Its ensemble and its APGD on the
difference of logits fail at two and three classes, so that no setting here reaches them; on saturated heads the
cross-entropy has no gradient, which the books note as a fault. Random starts depend on the batch there, so every film
is attacked alone, with random numbers of its own. What the library calls a success is not asked: each point it looks at
is measured and judged here, and a film leaves at its first flip inside the budget. To wrap another of its attacks,
subclass `TorchAttack` and name the class.
"""

from __future__ import annotations

from typing import Any, ClassVar

import torch
import torchattacks
from torch import Tensor, nn

from robustness.attacks.attack import Attack, register
from robustness.attacks.errors import NotDifferentiable
from robustness.attacks.films import Turn
from robustness.draws import Draws


class Flipped(Exception):
    """All films of a turn are flipped inside their budgets: what the library would still try changes nothing."""


class Booked(nn.Module):
    """The subject of a turn as the plain network a library expects; every pass is judged and counted."""

    def __init__(self, turn: Turn) -> None:
        super().__init__()
        self.turn = turn
        self.anchor = nn.Parameter(torch.zeros(1, device=turn.start.device), requires_grad=False)

    def forward(self, moved: Tensor) -> Tensor:
        """(b, c, H, W) points of the whole turn -> (b, K) logits.

        Raises:
            Flipped: nothing is left to look for.
            NotDifferentiable: a gradient is asked for and the subject's output is cut from its input.
        """
        turn, films = self.turn, self.turn.films
        # Judged is what reaches the subject, which may take whole grey levels only; gradients pass straight through.
        shown = films.threat.shown(moved.detach())
        logits = films.network(moved + (shown - moved.detach()))
        films.count(turn.attack, turn.index, forward=1)
        finite = torch.isfinite(logits).all(1) & torch.isfinite(moved).flatten(1).all(1)
        films.judge(turn.attack, turn.index[finite], shown[finite], logits.detach()[finite])
        if not bool(turn.open.any()):
            raise Flipped
        if moved.requires_grad and torch.is_grad_enabled():
            if not logits.requires_grad:
                raise NotDifferentiable("the subject's output is cut from its input (detached, or computed elsewhere)")
            moved.register_hook(self._backward)  # type: ignore[no-untyped-call]
        return logits  # type: ignore[no-any-return]

    def _backward(self, gradient: Tensor | None) -> None:
        if gradient is None:  # torch's own sign that nothing came through, as from quantised layers
            raise NotDifferentiable("the subject's output does not depend on its input through torch operations")
        turn = self.turn
        turn.films.count(turn.attack, turn.index, backward=1)
        bad = ~torch.isfinite(gradient).flatten(1).all(1)
        if bool(bad.any()):
            turn.films.fault(turn.index[bad], "nan gradient")
        zero = (gradient == 0).flatten(1).all(1)
        turn.films.gradients[turn.index.cpu()] += torch.stack([torch.ones_like(zero), zero], 1).long().cpu()


class TorchAttack(Attack):
    """An attack of torchattacks with an L-inf budget, film by film.

    Attributes:
        library: the library's class.
        defaults: its arguments that may be set, besides `eps`.
        seeded: it sets the seed of its random numbers itself, from an argument `seed`.

    Args:
        settings: values for `defaults`; a step `alpha` is given as a fraction of the budget.
    """

    library: ClassVar[type[torchattacks.attack.Attack]]
    defaults: ClassVar[dict[str, Any]]
    seeded: ClassVar[bool] = False
    norms = ("linf",)
    version = 3

    def __init__(self, **settings: Any) -> None:  # noqa: ANN401 - the library's own arguments
        unknown = sorted(set(settings) - set(self.defaults))
        if unknown:
            raise TypeError(f"unknown settings {unknown}; it has {sorted(self.defaults)}")
        self.settings = {**self.defaults, **settings}

    def run(self, turn: Turn) -> None:
        turn.logits(torch.cat([self._moved(turn[torch.tensor([at])]) for at in range(len(turn))]))

    def _moved(self, film: Turn) -> Tensor:
        """Return (1, c, H, W) what the library makes of one film."""
        budget = float(film.budget[0])
        settings = dict(self.settings)
        if "alpha" in settings:
            settings["alpha"] *= budget
        draws = Draws(film.films.ids[int(film.index[0])], self.name, film.films.seed)
        seed = int(draws.generator("library").integers(2**31))
        if self.seeded:
            settings["seed"] = seed
        device = film.start.device
        with torch.random.fork_rng([device] if device.type == "cuda" else []):  # the caller's random numbers go on
            torch.manual_seed(seed)
            try:
                moved: Tensor = self.library(Booked(film), eps=budget, **settings)(film.start, film.labels)
            except Flipped:
                return film.films.adversarial[film.index]
            except RuntimeError as problem:
                if "used in the graph" not in str(problem):
                    raise
                told = "the subject's output does not depend on its input through torch operations"
                raise NotDifferentiable(told) from problem
        return moved.detach()


@register
class MIFGSM(TorchAttack):
    """Momentum iterative FGSM (Dong et al. 2018, arXiv:1710.06081), as torchattacks has it."""

    name = "mifgsm"
    compared = False
    library = torchattacks.MIFGSM
    defaults = {"steps": 10, "alpha": 0.25, "decay": 1.0}  # noqa: RUF012


@register
class LibraryFGSM(TorchAttack):
    """FGSM on the cross-entropy (Goodfellow et al. 2015, arXiv:1412.6572), as torchattacks has it."""

    name = "torchattacks-fgsm"
    library = torchattacks.FGSM
    defaults = {}  # noqa: RUF012


@register
class LibraryPGD(TorchAttack):
    """PGD on the cross-entropy from a random start (Madry et al. 2018, arXiv:1706.06083), as torchattacks has it."""

    name = "torchattacks-pgd"
    library = torchattacks.PGD
    defaults = {"steps": 10, "alpha": 0.25}  # noqa: RUF012


@register
class LibraryAPGD(TorchAttack):
    """APGD on the cross-entropy (Croce and Hein 2020, arXiv:2003.01690), as torchattacks has it."""

    name = "torchattacks-apgd-ce"
    library = torchattacks.APGD
    defaults = {"steps": 10, "n_restarts": 1}  # noqa: RUF012
    seeded = True
