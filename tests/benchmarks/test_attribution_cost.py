"""What a map costs beside the bare network passes it needs."""

import statistics
import time

import pytest
import timm
import torch

import explain

STEPS, BATCH, ROUNDS = 32, 16, 5


@pytest.mark.slow
@pytest.mark.parametrize(("name", "side"), [("convnextv2_atto", 224), ("convnextv2_tiny", 112)])
def test_integrated_gradients_cost_little_more_than_their_passes(benchmark, name, side):
    """The target is 1.1 times 32 forward and backward passes, in processor time; beyond 1.3 the fault is ours.

    On a small network, and at half the side of a real film, the overhead weighs most.
    """
    torch.manual_seed(0)
    network = timm.create_model(name, pretrained=False, num_classes=3).eval()
    for parameter in network.parameters():
        parameter.requires_grad = False
    pixels = torch.rand(1, 3, side, side)
    method = explain.get("integrated gradients", steps=STEPS, batch=BATCH)

    def bare():
        start = time.process_time()
        for _ in range(STEPS // BATCH):
            part = pixels.repeat(BATCH, 1, 1, 1).requires_grad_()
            torch.autograd.grad(network(part)[:, 1].sum(), part)
        return time.process_time() - start

    def explained():
        start = time.process_time()
        return method(network, pixels, 1, ["a"]), time.process_time() - start

    bare()
    maps, first = benchmark.pedantic(explained, rounds=1, iterations=1)
    # In turn, and the median of the pairs: on a busy machine one pair alone is off by a tenth.
    pairs = [(bare(), explained()[1]) for _ in range(ROUNDS)]
    ratio, ours = statistics.median(b / a for a, b in pairs), min(first, *(b for _, b in pairs))
    benchmark.extra_info["ratio_to_bare_passes"] = round(ratio, 3)
    benchmark.extra_info["cost_in_forward_passes"] = maps.passes.as_forwards
    print(f"{name}, {side} px: {ours:.2f} s of processor time, {ratio:.3f} times {STEPS} bare forward+backward passes")
    assert maps.passes.backward == STEPS
    assert maps.passes.forward == STEPS + 2
    assert ratio < 1.3
