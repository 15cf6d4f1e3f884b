"""Which attacks run, in which order, and how hard? The protocols of an evaluation, by name."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass, field

from robustness.attacks import apgd, blackbox, control, gradient, library, minimal
from robustness.attacks.attack import Attack, get
from robustness.attacks.errors import AttackError

FAMILIES = (apgd, blackbox, control, gradient, library, minimal)
"""The files whose attacks the protocols below name; whatever else lies in this folder registers by being there."""


@dataclass(frozen=True)
class Protocol:
    """A protocol.

    Attributes:
        name: for the report and the cache.
        attacks: in the order they run: first those that look for the smallest change, then the cheap ones.
        independent: attack every budget on its own. False: a film that withstands everything at a budget is taken to
            withstand all smaller budgets, which is what the same attacks would find up to chance. Single-step attacks
            need True, since they may miss at a large budget what they hit at a small one.
    """

    name: str
    attacks: tuple[Attack, ...] = field(repr=False)
    independent: bool = False

    @property
    def identity(self) -> str:
        """Everything a cache of results must depend on."""
        return f"{self.name}[{'; '.join(attack.identity for attack in self.attacks)}]independent={self.independent}"


def alone(name: str, **settings: object) -> Protocol:
    """A protocol of one attack, each budget on its own: FGSM, PGD, noise, and the like as points of reference."""
    return Protocol(name, (get(name, **settings),), independent=True)


PROTOCOLS: Mapping[str, Protocol] = {
    profile.name: profile
    for profile in (
        # The first rounds of `quick`, without its long search of what stands: for lines that no verdict rests on.
        Protocol(
            "brief",
            (
                get("fab", steps=10, targets=2, patience=3),
                get("apgd-ce", steps=10),
                get("apgd-margin", steps=20, give_up=0.6),
            ),
        ),
        Protocol(
            "quick",
            (
                get("fab", steps=10, targets=2, patience=3),
                get("apgd-ce", steps=10),
                get("apgd-margin", steps=20, give_up=0.6),
                get("apgd-targeted", steps=15, probe=5, targets=3, give_up=0.6),
                # What the short runs gave up may only be slow to climb: before a film is called standing, a long one.
                get("apgd-margin", steps=40, restarts=3, within=1.1),
                get("square", queries=100, known=20),
            ),
        ),
        Protocol(
            "standard",
            (
                get("fab", steps=20, targets=9),
                get("apgd-ce", steps=50),
                get("apgd-margin", steps=100),
                get("apgd-targeted", steps=50, probe=12, targets=9),
                get("square", queries=1000),
            ),
        ),
        # The budgets of AutoAttack's "standard" version: 100 steps, every class (up to 9), 5000 queries.
        Protocol(
            "thorough",
            (
                get("fab", steps=100, targets=9, restarts=2),
                get("apgd-ce", steps=100),
                get("apgd-margin", steps=100),
                get("apgd-targeted", steps=100, targets=9),
                get("square", queries=5000),
            ),
        ),
        Protocol("black-box", (get("square", queries=1000),)),
        Protocol("noise", (get("random-sign", draws=10),), independent=True),
        Protocol("blank", (get("blank"),)),
    )
}


def protocol_of(profile: str | Protocol) -> Protocol:
    """A protocol by name, or itself.

    Raises:
        AttackError: no protocol of that name.
    """
    if isinstance(profile, Protocol):
        return profile
    if profile not in PROTOCOLS:
        raise AttackError(f"no attack profile named {profile!r}; known: {', '.join(PROTOCOLS)}")
    return PROTOCOLS[profile]
