"""The example workflow is YAML that GitHub reads, and every word of its command is known."""

from __future__ import annotations

import shlex
from pathlib import Path

import yaml

from suites.commands import registry
from suites.options import OPTIONS

FILE = Path(__file__).parents[2] / ".github" / "gate.yml"
OF_PYTEST = {"--junitxml"}


def test_the_gate_runs_our_command_with_options_there_are():
    workflow = yaml.safe_load(FILE.read_text(encoding="utf-8"))
    assert workflow[True] == "pull_request"  # YAML 1.1 reads `on` as true; GitHub does not
    (job,) = workflow["jobs"].values()
    commands = [shlex.split(step["run"]) for step in job["steps"] if "run" in step]
    (run,) = [words[1:] for words in commands if words[0] == registry.PROGRAM]
    assert run[0] in registry.names()
    options = [word for word in run if word.startswith("--")]
    assert {"--baseline", "--report"} <= set(options) <= set(OPTIONS) | OF_PYTEST
    assert all({"uses", "run"} & set(step) for step in job["steps"])
