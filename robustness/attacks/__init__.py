"""How little must change to turn a call? Attacks valid from two classes up, counted in network passes.

from robustness.attacks import ThreatModel, attack_films
attacked = attack_films(network, pixels, labels, image_ids, ThreatModel(), profile="quick")
attacked.curve      # robust accuracy by budget
attacked.films      # smallest flipping distance per film, and what found it

Every file of this folder is imported, so that each attack is registered.
"""

from importlib import import_module
from pkgutil import iter_modules

from robustness.attacks.attack import Attack, get, names, register
from robustness.attacks.ensemble import Known, attack_each, attack_films
from robustness.attacks.errors import AttackError, BudgetError, NotDifferentiable
from robustness.attacks.films import AttackedFilms, Turn
from robustness.attacks.network import AttackedNetwork
from robustness.attacks.protocols import PROTOCOLS, Protocol, alone
from robustness.attacks.result import AtBudget, Attacked, AttackResult, gather
from robustness.attacks.threat import BUDGETS, ThreatModel

for _module in iter_modules(__path__):
    import_module(f"{__name__}.{_module.name}")

__all__ = [
    "BUDGETS",
    "PROTOCOLS",
    "AtBudget",
    "Attack",
    "AttackError",
    "AttackResult",
    "Attacked",
    "AttackedFilms",
    "AttackedNetwork",
    "BudgetError",
    "Known",
    "NotDifferentiable",
    "Protocol",
    "ThreatModel",
    "Turn",
    "alone",
    "attack_each",
    "attack_films",
    "gather",
    "get",
    "names",
    "register",
]
