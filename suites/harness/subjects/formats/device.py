"""Where do networks run, and does a GPU compute what a CPU does?"""

from __future__ import annotations

import torch

from suites.harness.errors import SubjectProblem
from suites.harness.subjects.formats.wording import in_one_line, in_short


def usable(device: str) -> str:
    """Return the device when networks can run on it here; a CUDA one computes in full float32 from then on.

    By default cuDNN rounds what convolutions multiply to 10 bits (TF32), which moves logits in the third decimal, and
    picks its algorithms by chance. Both are switched off for the whole process, so that a GPU gives the logits of a
    CPU to within 1e-4, and the same ones again. What gradients find (attacks) may differ in the last digits from run
    to run: the backward pass of an antialiased resize adds up in no fixed order there.

    Raises:
        SubjectProblem: there is no such device, or it does not work.
    """
    try:
        torch.empty(1, device=device).cpu()
    except Exception as error:  # each backend has its own way to be missing: a module, an assertion, a library's error
        # What torch says of a backend that it was built without is a page about its own internals.
        missing = isinstance(error, NotImplementedError) and "Could not run" in str(error)
        reason = "torch was installed without it" if missing else in_one_line(error)
        raise SubjectProblem(f"device {in_short(device, 40)} cannot be used here ({reason}); cpu always can") from error
    if torch.device(device).type == "cuda":
        torch.backends.cudnn.allow_tf32 = False
        torch.backends.cuda.matmul.allow_tf32 = False
        torch.backends.cudnn.deterministic = True
        torch.backends.cudnn.benchmark = False
    return device
