"""Which options do the suites have? A new one is an entry of `OPTIONS`.

Every pytest of an environment loads this module, so it imports nothing of the harness; a test compares the names
written here with the harness's own.
"""

from __future__ import annotations

from collections.abc import Iterable, Mapping
from functools import partial
from pathlib import Path
from typing import Any

import pytest

from suites.import_names import PREFIX

PROBES = {
    "lateral": "lateral films",
    "adult": "frontal films of adults",
    "unseen": "findings the subject has no class for",
}
FORMS = (
    "published",
    "hf:OWNER/NAME[@REVISION]",
    "FOLDER with config.json and model.safetensors",
    "bundled:NAME (fragile, hardened, probe, findings)",
    "FILE.ckpt (Lightning)",
    "http://HOST:PORT[?classes=a,b,c&timeout=30&workers=8] (a service)",
    (
        "timm:NAME?checkpoint=PATH&classes=a,b,c"
        "[&size=224&channels=1&mean=0.5&std=0.25&short_side=256&interpolation=bilinear&heads=sigmoid]"
    ),
    "xrv:NAME (torchxrayvision) or xrv:PATH?weights=NAME",
    "MODULE:FACTORY",
)
RUN = "chest-xray-reliability run" if PREFIX else "pytest suites/"
"""How the suites are started, where this project is installed and in its repository."""
STARTED = RUN if PREFIX else f"uv run {RUN}"
"""The same with all set-up, as a person types it."""
DEFAULT_WEIGHTS = "bundled:fragile"
DEFAULT_DATA = "phantom"
DEFAULT_DATA_OF_FINDINGS = "phantom:findings=several"
"""What subjects are judged on that answer several findings at once, all of them, where no films are given."""


def _whole(option: str, text: str) -> int:
    """Return the whole number that somebody wrote; one that no generator takes is none.

    Raises:
        pytest.UsageError: one line, where argparse would print every option before it.
    """
    try:
        number = int(text)
    except ValueError:  # also of more than 4300 digits
        number = -1
    if not 0 <= number < 2**63:
        raise pytest.UsageError(f"{option}: expected a whole number from 0 to 2**63 - 1, not {text[:20]!r}")
    return number


def _workers(text: str) -> int | str:
    """Return a number of processes, or the text where it names a cluster."""
    return text if text.startswith("ray") else _whole("--workers", text)


def _difference(text: str) -> float:
    """Return how far apart numbers may lie; whether it is a sensible one is for the harness to say."""
    try:
        return float(text)
    except ValueError:
        raise pytest.UsageError(f"--tolerance: expected a number such as 1e-4, not {text[:20]!r}") from None


def _folder_or_address(text: str) -> Path | str:
    """Return a folder, or the text where it is an address such as `s3://bucket/folder`."""
    return text if "://" in text else _path(text)


def _path(text: str) -> Path:
    """Return a path, `~` and `~user` as the home they stand for where a shell has not seen them (`--report=~/out`)."""
    try:
        return Path(text).expanduser()
    except RuntimeError:
        raise pytest.UsageError(f"no user of this machine has the home of {text[:60]!r}; write the path") from None


OPTIONS: Mapping[str, Mapping[str, Any]] = {
    "--weights": {
        "action": "append",
        "metavar": "SPEC",
        "help": f"subject, repeatable: {' | '.join(FORMS)} (default {DEFAULT_WEIGHTS})",
    },
    "--data": {
        "metavar": "SPEC",
        "help": "cohort: a folder of films, a public collection, a manifest, kaggle, phantom "
        f"(default {DEFAULT_DATA}, of findings {DEFAULT_DATA_OF_FINDINGS})",
    },
    **{f"--probe-{role}": {"metavar": "SPEC", "help": f"cohort of {what}"} for role, what in PROBES.items()},
    "--external": {
        "action": "append",
        "metavar": "SPEC",
        "default": [],
        "help": "labelled films of another hospital, repeatable: what the subject loses there",
    },
    "--report": {
        "nargs": "?",
        "const": Path("report"),
        "type": _path,
        "metavar": "DIR",
        "help": "write the report there (default report/)",
    },
    "--claims": {
        "metavar": "FILE",
        "type": _path,
        "help": "claims table in TOML, `extends = true` overrides the project's own by id (default the project's own)",
    },
    "--temperature": {
        "action": "append",
        "metavar": "FILE",
        "type": _path,
        "default": [],
        "help": "temperature-*.json of an earlier report, repeatable: its subject answers with logits / T everywhere",
    },
    "--baseline": {
        "metavar": "DIR",
        "type": _path,
        "help": "report or results.json of an earlier run: fail on a significant worsening",
    },
    "--model-card": {
        "metavar": "FILE",
        "type": _path,
        "help": "write a Hugging Face model card with the measured limitations (several subjects: FILE-<subject>)",
    },
    "--summary": {
        "metavar": "FILE",
        "type": _path,
        "help": "write verdict counts, the three worst and the gate as Markdown (in GitHub Actions also to "
        "$GITHUB_STEP_SUMMARY, unasked)",
    },
    "--cache": {
        "metavar": "DIR",
        "type": _folder_or_address,
        "help": "where finished predictions are kept, a folder or an address such as s3://bucket/folder (default "
        "~/.cache/chest-xray-reliability)",
    },
    "--profile": {
        "choices": ("quick", "standard", "full"),
        "default": "quick",
        "help": "how much is run (default quick)",
    },
    "--name": {
        "action": "append",
        "metavar": "NAME",
        "default": [],
        "help": "how the report calls a subject, repeatable: one for each --weights, in their order (default "
        "named after its weights)",
    },
    "--preset": {
        "metavar": "NAME",
        "help": "run a whole grid of perturbations beside what the claims need: standard, quick or medmnist-c",
    },
    "--resolution": {
        "choices": ("working", "native"),
        "default": "working",
        "help": "perturb films at the resolution their subjects can see, or as they are stored (default working)",
    },
    "--preprocessing": {"metavar": "NAME", "help": "recipe by name, repository or hub (default the subject's own)"},
    "--plan": {
        "action": "store_true",
        "default": False,
        "help": "say what the run would do, what to expect of its films and what it would cost, and end (exit code 0; "
        "4 where the run would be refused)",
    },
    "--strict-verdicts": {
        "action": "store_true",
        "default": False,
        "help": "fail (exit code 1) on exploratory violations, too: those that rest on few films",
    },
    "--map": {
        "action": "append",
        "metavar": "A=B",
        "default": [],
        "help": "the subject's finding A is the films' finding B (A= for none), repeatable; names that mean the same "
        "are known",
    },
    "--uncertain": {
        "choices": ("leave-out", "positive", "negative"),
        "default": "leave-out",
        "help": "what films count as whose finding the labels call uncertain (default leave-out)",
    },
    "--limit": {
        "type": partial(_whole, "--limit"),
        "metavar": "N",
        "help": "about N films, stratified by class, whole patients (default all)",
    },
    "--device": {"default": "cpu", "help": "where networks run: cpu, cuda, cuda:1, mps (default cpu)"},
    "--precision": {
        "choices": ("float32", "tf32", "bf16"),
        "default": "float32",
        "help": "what networks multiply in, tf32 on CUDA only; the report names it (default float32)",
    },
    "--seed": {"type": partial(_whole, "--seed"), "default": 0, "help": "decides every random number (default 0)"},
    "--workers": {
        "type": _workers,
        "metavar": "N|ray",
        "default": 1,
        "help": "processes that predict: one for each GPU, or sharing the cores, or those of a Ray cluster (ray, "
        "ray://HOST:PORT); the numbers are the same (default 1)",
    },
    "--tolerance": {
        "type": _difference,
        "metavar": "X",
        "help": "take workers of other hardware (GPU, driver, CPU) whose logits for test films lie at most X apart, "
        "and name them in the report (default: only such as give the same bits)",
    },
    "--force": {
        "action": "store_true",
        "default": False,
        "help": "let a run of part of the claims replace the report or card of more of them",
    },
}
"""Name of an option -> how it is declared. Those whose values are files, folders or specs come first."""
OUTPUTS = frozenset(
    {
        "--report",
        "--model-card",
        "--baseline",
        "--cache",
        "--force",
        "--summary",
        "--plan",
        "--strict-verdicts",
        "--workers",
    }
)
"""Options that decide no result: what is written and where, what is compared with, what fails."""
PATHS = tuple(OPTIONS)[: tuple(OPTIONS).index("--profile")]


def default_data(heads: Iterable[str]) -> str:
    """Return the films that subjects with such heads ("softmax", "sigmoid") are judged on where none are given."""
    return DEFAULT_DATA_OF_FINDINGS if set(heads) == {"sigmoid"} else DEFAULT_DATA


def value(config: pytest.Config, name: str) -> Any:  # noqa: ANN401 - whatever its type is
    """Return what an option was given, its default where pytest collected the suites without being told to."""
    return config.getoption(name, OPTIONS[name].get("default"))


def deciding(config: pytest.Config) -> list[tuple[str, str]]:
    """Return the options that decide a result, with their values, where these are not the defaults."""
    told = []
    for name, described in OPTIONS.items():
        given = value(config, name)
        if name not in OUTPUTS and given not in (None, described.get("default")):
            told += [(name, str(one)) for one in (given if isinstance(given, list) else [given])]
    return told
