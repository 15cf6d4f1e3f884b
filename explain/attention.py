"""Where does a vision transformer's read-out token take its attention from? Attention rollout.

It knows nothing of the class. timm fuses attention into one kernel, where no hook sees the attention matrix; fusion is
switched off for the time of the call.
"""

from __future__ import annotations

from collections.abc import Iterator, Sequence
from contextlib import contextmanager
from typing import Any, ClassVar

import torch
import torch.nn.functional as F
from torch import Tensor, nn

from explain.attribution import Attribution, Profile, Raw, register
from explain.gradcam import as_grid
from explain.network import Network, NotAttributableError, Watched


def attention_modules(network: Network) -> list[Any]:
    """Return timm's self-attention modules in order of depth (they hold `qkv`, `attn_drop` and `fused_attn`)."""
    if not isinstance(network, nn.Module):
        return []
    return [
        m
        for m in network.modules()
        if all(hasattr(m, part) for part in ("qkv", "attn_drop", "fused_attn", "num_heads"))
    ]


@contextmanager
def _visible(modules: Sequence[Any]) -> Iterator[list[Tensor]]:
    """Collect each layer's attention, averaged over heads, (B, N, N), while fusion is off."""
    seen: list[Tensor] = []
    fused = [module.fused_attn for module in modules]
    handles = [
        module.attn_drop.register_forward_pre_hook(lambda _, args: seen.append(args[0].mean(dim=1)))
        for module in modules
    ]
    try:
        for module in modules:
            module.fused_attn = False
        yield seen
    finally:
        for module, before in zip(modules, fused, strict=True):
            module.fused_attn = before
        for handle in handles:
            handle.remove()


def rollout(layers: Sequence[Tensor]) -> Tensor:
    """Multiply the layers' attention (B, N, N), each mixed half and half with the identity (the residual path)."""
    total = torch.eye(layers[0].shape[-1], dtype=torch.float64, device=layers[0].device).expand(len(layers[0]), -1, -1)
    for attention in layers:
        mixed = 0.5 * attention.double() + 0.5 * torch.eye(
            attention.shape[-1], dtype=torch.float64, device=attention.device
        )
        total = mixed @ total
    return total


@register
class AttentionRollout(Attribution):
    """Attention rollout from the class token, or from the mean of all patches where the network has none."""

    name: ClassVar[str] = "attention rollout"
    profile: ClassVar[Profile] = "standard"
    needs_gradients: ClassVar[bool] = False
    signed: ClassVar[bool] = False
    class_specific: ClassVar[bool] = False
    source: ClassVar[str] = "Abnar & Zuidema 2020, arXiv:2005.00928"

    def refusal(self, network: Network) -> str | None:
        """Refuse networks without attention that can be read."""
        return None if attention_modules(network) else "the network has no timm attention layers to read"

    def run(self, network: Watched, pixels: Tensor, targets: Tensor, generators: Sequence[torch.Generator]) -> Raw:
        """See `Attribution.run`."""
        del targets, generators
        modules = attention_modules(network.network)
        with torch.no_grad(), _visible(modules) as seen:
            network(pixels)
        sizes = {tuple(layer.shape[1:]) for layer in seen}
        if len(seen) != len(modules) or len(sizes) != 1:
            reason = (
                f"{len(seen)} of {len(modules)} layers were seen, sizes {sorted(sizes)}; all are needed, of one size"
            )
            raise NotAttributableError(self.name, reason)
        flow = rollout(seen)
        patches = as_grid(flow.transpose(1, 2))  # rows become channels: (B, from, h, w) of each reading token
        if patches is None:
            raise NotAttributableError(self.name, f"{flow.shape[-1]} tokens do not form a square of patches")
        leading = flow.shape[-1] - patches.shape[-1] ** 2
        reading = patches[:, 0] if leading else patches.mean(dim=1)
        grid = reading[:, None].float()
        return Raw(F.interpolate(grid, size=pixels.shape[2:], mode="bilinear", align_corners=False)[:, 0])
