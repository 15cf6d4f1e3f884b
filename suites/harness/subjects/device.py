"""Where do networks run, how precisely, and does a GPU compute what a CPU does?"""

from __future__ import annotations

from dataclasses import replace

import torch
from torch import Tensor, nn

from suites.harness.errors import SubjectProblem, one_line
from suites.harness.subjects.subject import Subject

PRECISIONS = ("float32", "tf32", "bf16")


def usable(device: str, precision: str = "float32") -> str:
    """Return the device when networks can run on it here; a CUDA one computes in full float32 from then on.

    By default cuDNN rounds what convolutions multiply to 10 bits (TF32), which moves logits in the third decimal, and
    picks its algorithms by chance. Both are switched off for the whole process, so that a GPU gives the logits of a
    CPU to within 1e-4, and the same ones again; `tf32` leaves the rounding on. What gradients find (attacks) may differ
    in the last digits from run to run: the backward pass of an antialiased resize adds up in no fixed order there.

    Raises:
        SubjectProblem: there is no such device, it does not work, or not at this precision.
    """
    if precision not in PRECISIONS:
        raise SubjectProblem(f"precision is {one_line(str(precision), 40)}; known are {', '.join(PRECISIONS)}")
    try:
        torch.empty(1, device=device).cpu()
    except Exception as error:  # each backend has its own way to be missing: a module, an assertion, a library's error
        # What torch says of a backend that it was built without is a page about its own internals.
        missing = isinstance(error, NotImplementedError) and "Could not run" in str(error)
        reason = "torch was installed without it" if missing else one_line(f"{type(error).__name__}: {error}", 200)
        raise SubjectProblem(
            f"device {one_line(repr(device), 40)} cannot be used here ({reason}); cpu always can"
        ) from error
    cuda = torch.device(device).type == "cuda"
    if precision == "tf32" and not cuda:
        raise SubjectProblem(f"precision tf32 is a way CUDA GPUs multiply, and device is {device}; use float32 or bf16")
    if cuda:
        rounded = precision == "tf32"
        torch.backends.cudnn.allow_tf32 = rounded
        torch.set_float32_matmul_precision("high" if rounded else "highest")
        torch.backends.cudnn.deterministic = True
        torch.backends.cudnn.benchmark = False
    return device


class InBfloat16(nn.Module):
    """A network whose products of matrices and convolutions are computed in bfloat16; its logits are float32."""

    def __init__(self, network: nn.Module) -> None:
        super().__init__()
        self.network = network

    def forward(self, pixels: Tensor) -> object:
        """Return what the network answers, a tensor in float32."""
        with torch.autocast(pixels.device.type, torch.bfloat16):
            answer: object = self.network(pixels)
        return answer.float() if isinstance(answer, Tensor) and answer.is_floating_point() else answer


def at_precision(subject: Subject, precision: str) -> Subject:
    """Return a subject whose network computes at a precision, which its provenance names.

    In TF32 networks compute by what `usable` set for the process; a subject without a network (a service) computes
    wherever it does.
    """
    if precision == "float32" or subject.network is None:
        return subject
    note = f"its network computes in {precision}, not in float32: compare its numbers with none computed otherwise"
    network = InBfloat16(subject.network) if precision == "bf16" else subject.network
    told = replace(subject.provenance, notes=(*subject.provenance.notes, note))
    return replace(subject, network=network, provenance=told, precision=precision)
