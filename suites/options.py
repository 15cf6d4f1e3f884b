"""Which options do the suites have? A new one is an entry of `OPTIONS`.

Every pytest of an environment loads this module, so it imports nothing of the harness; a test compares the names
written here with the harness's own.
"""

from __future__ import annotations

import shlex
from collections.abc import Mapping, Sequence
from functools import partial
from pathlib import Path
from typing import Any

import pytest

from suites.import_names import INSTALLED, PREFIX

PROBES = {
    "lateral": "lateral films",
    "adult": "frontal films of adults",
    "unseen": "findings the subject has no class for",
}
FORMS = (
    "published",
    "hf:OWNER/NAME[@REVISION]",
    "FOLDER with config.json and model.safetensors",
    "bundled:NAME (fragile, hardened, probe)",
    "FILE.ckpt (Lightning)",
    "http://HOST:PORT[?classes=a,b,c&timeout=30&workers=8] (a service)",
    (
        "timm:NAME?checkpoint=PATH&classes=a,b,c"
        "[&size=224&channels=1&mean=0.5&std=0.25&short_side=256&interpolation=bilinear]"
    ),
    "MODULE:FACTORY",
)
RUN = "chest-xray-reliability run" if PREFIX else "pytest suites/"
"""How the suites are started, where this project is installed and in its repository."""
DEFAULT_WEIGHTS = "bundled:fragile"
DEFAULT_DATA = "phantom"


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
        "default": DEFAULT_DATA,
        "help": "cohort: a folder of films, a manifest, kaggle, phantom (default)",
    },
    **{f"--probe-{role}": {"metavar": "SPEC", "help": f"cohort of {what}"} for role, what in PROBES.items()},
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
        "help": "claims table in TOML (`extends = true` overrides the project's own by id)",
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
    "--cache": {"metavar": "DIR", "type": _path, "help": "where finished predictions are kept"},
    "--profile": {
        "choices": ("quick", "standard", "full"),
        "default": "quick",
        "help": "how much is run (default quick)",
    },
    "--preset": {
        "metavar": "NAME",
        "help": "run a whole grid of perturbations beside what the claims need: standard, quick or medmnist-c",
    },
    "--resolution": {
        "choices": ("working", "native"),
        "default": "working",
        "help": "perturb films at the resolution their subjects can see (default), or as they are stored",
    },
    "--preprocessing": {"metavar": "NAME", "help": "recipe by name: repository (default) or hub"},
    "--limit": {
        "type": partial(_whole, "--limit"),
        "metavar": "N",
        "help": "about N films, stratified by class, whole patients",
    },
    "--device": {"default": "cpu", "help": "cpu, cuda, cuda:1, mps"},
    "--seed": {"type": partial(_whole, "--seed"), "default": 0, "help": "decides every random number (default 0)"},
}
"""Name of an option -> how it is declared. Those whose values are files, folders or specs come first."""
PATHS = tuple(OPTIONS)[: tuple(OPTIONS).index("--profile")]


def started_by(arguments: Sequence[object]) -> str:
    """Return the command line that a person types for a run with these words behind pytest's name."""
    words = [str(word) for word in arguments]
    if PREFIX or words[:2] == ["--pyargs", "suites"]:  # as `chest-xray-reliability run` starts it
        named = {"--pyargs", "suites", f"{INSTALLED}.suites"}
        start, words = ["chest-xray-reliability", "run"], [word for word in words if word not in named]
    else:
        start = ["uv", "run", "pytest"]
    return shlex.join([*start, *words])


def value(config: pytest.Config, name: str) -> Any:  # noqa: ANN401 - whatever its type is
    """Return what an option was given, its default where pytest collected the suites without being told to."""
    return config.getoption(name, OPTIONS[name].get("default"))
