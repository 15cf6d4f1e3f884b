"""How is a network run while it is explained? Watched, given back unchanged, or only asked."""

from __future__ import annotations

import hashlib
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from typing import Any

import numpy as np
import numpy.typing as npt
import torch
from torch import Tensor, nn

Network = Callable[[Tensor], Any]
F32 = npt.NDArray[np.float32]
F64 = npt.NDArray[np.float64]


class NotAttributableError(ValueError):
    """A method cannot say anything about this network; `reason` says why and what to do instead."""

    def __init__(self, method: str, reason: str) -> None:
        super().__init__(f"{method} is not valid here: {reason}")
        self.method = method
        self.reason = reason


class Watched(nn.Module):
    """A network under observation: it counts the films that pass through and checks the logits that come out."""

    def __init__(self, network: Network, method: str, targets: Tensor) -> None:
        super().__init__()
        self.network: Any = network
        self.method = method
        self.highest_target = int(targets.max())
        self.forward_films = 0
        self.backward_films = 0

    def forward(self, pixels: Tensor) -> Tensor:
        """Return the logits (B, K) of pixels (B, C, S, S), counted."""
        logits = self.network(pixels)
        logits = torch.as_tensor(logits, device=pixels.device) if not isinstance(logits, Tensor) else logits
        if logits.ndim != 2 or logits.shape[0] != pixels.shape[0]:
            raise ValueError(
                f"the network must return logits (B, K); {tuple(pixels.shape)} pixels gave {tuple(logits.shape)}"
            )
        if self.highest_target >= logits.shape[1]:
            raise ValueError(
                f"target class {self.highest_target} does not exist: the network has {logits.shape[1]} classes"
            )
        self.forward_films += len(pixels)
        if torch.is_grad_enabled() and pixels.requires_grad:
            if not logits.requires_grad:
                raise NotAttributableError(
                    self.method, "the logits do not depend differentiably on the pixels; use occlusion"
                )
            logits.register_hook(self._book_backward)  # type: ignore[no-untyped-call]
        return logits

    def _book_backward(self, gradient: Tensor) -> None:
        self.backward_films += len(gradient)


@contextmanager
def borrowed(network: Network) -> Iterator[None]:
    """Put a module in evaluation mode with frozen, not-in-place layers, and give everything back as it was.

    Frozen weights keep no activations for their own gradient; in-place rectifiers would overwrite what Captum's hooks
    look at.
    """
    if not isinstance(network, nn.Module):
        yield
        return
    training = [(module, module.training) for module in network.modules()]
    needing = [parameter for parameter in network.parameters() if parameter.requires_grad]
    in_place: list[Any] = [module for module in network.modules() if getattr(module, "inplace", False) is True]
    try:
        network.eval()
        for parameter in needing:
            parameter.requires_grad = False
        for module in in_place:
            module.inplace = False
        yield
    finally:
        for module, mode in training:
            module.training = mode
        for parameter in needing:
            parameter.requires_grad = True
        for module in in_place:
            module.inplace = True


def generator_for(image_id: str, method: str, seed: int) -> torch.Generator:
    """Return a CPU generator that depends on nothing but (image id, method, seed)."""
    digest = hashlib.sha256(f"{image_id}\0{method}\0{seed}".encode()).digest()
    return torch.Generator().manual_seed(int.from_bytes(digest[:8], "little") >> 1)


def logits_of(predict: Network, pixels: Tensor, batch: int = 64) -> F64:
    """Return float64 logits (B, K), `batch` films at a time without gradients, of a module or any callable."""
    with torch.no_grad(), borrowed(predict):
        parts = [torch.as_tensor(predict(part)).detach().cpu().double() for part in torch.split(pixels, batch)]
    return torch.cat(parts).numpy()


def probabilities_of(predict: Network, pixels: Tensor, batch: int = 64) -> F64:
    """Return float64 softmax probabilities (B, K) of pixels (B, C, S, S)."""
    logits = logits_of(predict, pixels, batch)
    shifted = np.exp(logits - logits.max(axis=1, keepdims=True))
    return np.asarray(shifted / shifted.sum(axis=1, keepdims=True), dtype=np.float64)
