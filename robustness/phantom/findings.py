"""All findings. Importing a module here registers what it defines; the order is the order of `FINDINGS`."""

from . import pneumonia, unseen, whiteout
from .finding import Effect, Finding, change_of, draw_finding, effect_of, known

FINDINGS: tuple[str, ...] = known()

__all__ = ["FINDINGS", "Effect", "Finding", "change_of", "draw_finding", "effect_of", "pneumonia", "unseen", "whiteout"]
