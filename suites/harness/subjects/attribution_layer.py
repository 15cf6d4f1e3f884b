"""Which layer does Grad-CAM look at in a subject, and what takes its place where there is none?

The layer is found, or checked if the user named one, once per network on a film of noise: it depends on the network
alone, not on the films of a cohort, and redrawn weights are looked at in the same place.
"""

from __future__ import annotations

from weakref import WeakKeyDictionary

import torch
from torch import Tensor, nn

import explain
from explain import Attribution, NotAttributableError
from explain.layers import find_layer
from explain.tracing import Layer
from suites.harness.subjects.subject import Subject

LAYERED = ("grad-cam", "guided grad-cam")
"""Methods that look at a layer."""
WITHOUT_LAYER = ("integrated gradients", "occlusion")
"""What is used instead where a subject has no such layer, in this order; the second needs no gradients either."""

_found: WeakKeyDictionary[nn.Module, dict[str | None, Layer | NotAttributableError]] = WeakKeyDictionary()


def _noise(subject: Subject) -> Tensor:
    recipe = subject.preprocessing
    grey = torch.rand(1, 1, recipe.size, recipe.size, generator=torch.Generator().manual_seed(0))
    return grey.expand(-1, recipe.channels, -1, -1).to(subject.device)


def layer_of(subject: Subject) -> Layer:
    """Return the layer named by the subject, or the last spatial feature map of its network.

    Raises:
        NotAttributableError: there is none; the reason says why.
    """
    if subject.network is None:
        raise NotAttributableError(LAYERED[0], "the subject answers whole films; it has no layers to look at")
    known = _found.setdefault(subject.network, {})
    name = subject.attribution_layer
    if name not in known:
        try:
            known[name] = find_layer(subject.network, _noise(subject), name)
        except NotAttributableError as refused:
            known[name] = refused
    found = known[name]
    if isinstance(found, NotAttributableError):
        raise NotAttributableError(found.method, found.reason)
    return found


def method_of(subject: Subject, name: str) -> Attribution:
    """Return an attribution method, set to the subject's layer if it looks at one.

    Raises:
        NotAttributableError: it looks at a layer, and there is none.
    """
    return explain.get(name, layer=layer_of(subject)) if name in LAYERED else explain.get(name)


def described(subject: Subject, name: str) -> str:
    """Return a method as printed, with the layer that it looks at: `grad-cam (layer features.12, 13 x 13)`."""
    try:
        return f"{name} (layer {layer_of(subject).text})" if name in LAYERED else name
    except NotAttributableError:
        return name


def method_for(subject: Subject, wanted: str) -> tuple[str, str]:
    """Return the wanted method, or the first that needs no layer where the subject has none, and why in one sentence.

    The sentence is empty where the wanted method is used. Where nothing else gives a map either, the wanted method is
    returned, so that its own reason is told.
    """
    if wanted not in LAYERED or subject.network is None:
        return wanted, ""
    try:
        layer_of(subject)
    except NotAttributableError as refused:
        for name in WITHOUT_LAYER:
            if _gives_a_map(subject, subject.network, name):
                return name, f"{name} is used in place of {wanted}, which cannot be had: {refused.reason}."
    return wanted, ""


def _gives_a_map(subject: Subject, network: nn.Module, name: str) -> bool:
    """Try a method on a film of noise: where gradients are cut or zero, a method that needs them has no map."""
    cheap = {"steps": 2} if name == "integrated gradients" else {}
    try:
        found = explain.get(name, **cheap)(network, _noise(subject), 0, ["noise"])
    except NotAttributableError:
        return False
    return found.status == ("ok",)
