"""Where a subject looks, and whether that answer can be believed: attributions, their sanity checks, galleries."""

from explain import attention, baselines, gradcam, gradients, occlusion
from explain.attribution import (
    Attribution,
    AttributionMap,
    Passes,
    create_method,
    list_methods,
    refusals,
    register_method,
)
from explain.network import NotAttributableError

__all__ = [
    "Attribution",
    "AttributionMap",
    "NotAttributableError",
    "Passes",
    "attention",
    "baselines",
    "create_method",
    "gradcam",
    "gradients",
    "list_methods",
    "occlusion",
    "refusals",
    "register_method",
]
