"""Nothing that lies beside films, weights or any other file behind an option is ever run, however it is written."""

from __future__ import annotations

import json
import os
import subprocess
import sys
from pathlib import Path

import numpy as np
import pytest
import torch
from PIL import Image
from transformers import ConvNextV2Config, ConvNextV2ForImageClassification

from robustness import presets
from suites import plugin
from suites.command_line import WITH_VALUE, joined
from suites.harness.cohorts.probes import ROLES
from suites.harness.evaluation import SEVERITIES
from suites.harness.subjects import formats
from suites.harness.subjects.formats import load_subject
from suites.harness.subjects.temperature_file import FittedTemperature

ROOT = Path(__file__).parents[2]
PYTEST = str(Path(sys.executable).with_name("pytest"))
CLASSES = ("bacterial_pneumonia", "normal", "viral_pneumonia")
SETTINGS = {
    "pytest.ini": "[pytest]\naddopts = -p evil\npythonpath = .\n",
    "tox.ini": "[pytest]\naddopts = -p evil\npythonpath = .\n",
    "setup.cfg": "[tool:pytest]\naddopts = -p evil\npythonpath = .\n",
    "pyproject.toml": '[tool.pytest.ini_options]\naddopts = "-p evil"\npythonpath = ["."]\n',
}
CLAIM = '[[claim]]\nid = "classes.good"\nsection = "S"\nstatement = "s."\nkind = "requirement"\nendpoint = "score"\n'
CLAIM += 'measure = "accuracy"\nmargin = 0.1\n'


def run(*arguments, cwd=ROOT, pythonpath="", command=(PYTEST,), **environment):
    outside = {key: value for key, value in os.environ.items() if not key.startswith("PYTEST_")}
    inside = outside | {"PYTHONPATH": str(pythonpath), "OMP_NUM_THREADS": "1"} | environment
    done = subprocess.run(
        [*command, *map(str, arguments)], cwd=cwd, env=inside, capture_output=True, text=True, timeout=300, check=False
    )
    return done.returncode, done.stdout + done.stderr


def plant(folder, canary, settings="pytest.ini"):
    """Write everything that pytest could run into a folder; whatever runs writes a line into the canary."""
    for name in ("conftest", "evil", "__init__", "test_evil"):
        (folder / f"{name}.py").write_text(f"open({str(canary)!r}, 'a').write('{folder.name}/{name}\\n')\n")
    (folder / settings).write_text(SETTINGS[settings])


@pytest.fixture(scope="module")
def place(tmp_path_factory):
    """Every option with a file or folder of its own, and the outcome of a run before anything is planted."""
    root = tmp_path_factory.mktemp("foreign")
    generator = np.random.default_rng(0)
    for role in ("data", *ROLES):
        for label in CLASSES:
            (root / role / label).mkdir(parents=True)
            for number in range(3):
                grey = generator.integers(0, 256, (64, 80), dtype=np.uint8)
                Image.fromarray(grey).save(root / role / label / f"{label}{number}.png")
    config = ConvNextV2Config(
        depths=[1, 1, 1, 1], hidden_sizes=[8, 8, 8, 8], id2label=dict(enumerate(CLASSES)),
        label2id={name: index for index, name in enumerate(CLASSES)},
    )  # fmt: skip
    torch.manual_seed(0)
    ConvNextV2ForImageClassification(config).save_pretrained(root / "weights")
    for name in ("claims", "temperature", "reports", "cache", "cards", "xml"):
        (root / name).mkdir()
    (root / "claims" / "mine.toml").write_text(CLAIM)
    subject = load_subject(str(root / "weights"))
    (root / "temperature" / "temperature-one.json").write_text(
        FittedTemperature(
            temperature=1.5, low=1.0, high=2.0, subject=subject.name, sha256=subject.provenance.sha256,
            classes=CLASSES, preprocessing=subject.preprocessing.name, cohort="c", fingerprint="f", films=9,
            patients=9, nll_before=1.0, nll_after=0.9, seen=(),
        ).text()
    )  # fmt: skip
    values = {
        "--weights": root / "weights", "--data": root / "data",
        **{f"--probe-{role}": root / role for role in ROLES},
        "--claims": root / "claims" / "mine.toml", "--temperature": root / "temperature" / "temperature-one.json",
        "--model-card": root / "cards" / "card.md", "--cache": root / "cache", "--junitxml": root / "xml" / "out.xml",
        "--report": root / "reports" / "first",
    }  # fmt: skip
    code, text = run("suites/", "-rA", *(f"{option}={value}" for option, value in values.items()))
    assert "classes.good" in text, text
    values |= {"--baseline": root / "reports" / "first"}
    assert set(plugin.PATHS) <= set(values)
    canary = root / "canary"
    for number, value in enumerate(values.values()):
        folder = value if value.is_dir() else value.parent
        plant(folder, canary, list(SETTINGS)[number % len(SETTINGS)])
    return values, code, outcomes(text), canary


def outcomes(text):
    kinds = ("PASSED", "FAILED", "SKIPPED", "XFAIL", "XPASS")
    return sorted(line for line in text.splitlines() if line.startswith(kinds))


@pytest.mark.parametrize("form", ["=", "space"])
@pytest.mark.parametrize("order", ["before", "after"])
def test_nothing_beside_a_value_is_run_and_the_outcome_is_the_same(place, order, form):
    values, code, expected, canary = place
    values = values | {"--report": values["--report"].with_name(f"{order}-{form}")}
    options = [
        part
        for option, value in values.items()
        for part in ([f"{option}={value}"] if form == "=" else [option, str(value)])
    ]
    found, text = run(*(["suites/", *options] if order == "after" else [*options, "suites/"]), "-rA")
    assert not canary.exists(), canary.read_text()
    assert outcomes(text) == expected, text
    assert found == code, text
    assert json.loads((values["--report"] / "results.json").read_text())["claims"][0]["id"] == "classes.good"


@pytest.mark.parametrize("option", sorted(WITH_VALUE))
def test_each_value_is_joined_to_its_option(option):
    assert joined(["-q", option, "x", "suites/"]) == ["-q", f"{option}=x", "suites/"]
    assert joined([option, "--collect-only", "suites/"]) == [option, "--collect-only", "suites/"]
    assert joined([f"{option}=x", "suites/", "-k", "y"]) == [f"{option}=x", "suites/", "-k", "y"]


def test_the_canary_sings_without_the_joining(place):
    values, _, _, canary = place
    program = f"import pytest; pytest.main(['--data', {str(values['--data'])!r}, 'suites/', '--collect-only'])"
    _, text = run(command=(sys.executable, "-c", program))
    ran = canary.read_text() if canary.exists() else ""
    canary.unlink(missing_ok=True)
    assert "took its settings from" in text, text
    assert "conftest" not in ran, "refused before any conftest.py"
    assert "evil" in ran, "pytest loads the plugins of that file before any of ours: nobody can refuse earlier"


@pytest.mark.parametrize(
    ("words", "message"),
    [
        (["suites/", "--wieghts", "DATA"], "unrecognized arguments: --wieghts"),
        (["suites/", "--data", "DATA", "DATA"], "was given to pytest as tests, too"),
        (["--report", "suites/"], "--report belongs to the suites, and no suite is named"),
        (["tests/suites/test_claims.py", "--limit", "3"], "--limit belongs to the suites"),
    ],
)
def test_a_command_line_that_would_run_them_is_refused_in_one_line(tmp_path, words, message):
    canary, folder = tmp_path / "canary", tmp_path / "data"
    folder.mkdir()
    plant(folder, canary)
    (folder / "pytest.ini").unlink()
    code, text = run(*(str(folder) if word == "DATA" else word for word in words), "--collect-only")
    assert code == 4, text
    assert message in text
    assert len([line for line in text.splitlines() if line.startswith("ERROR")]) == 1, text
    assert not canary.exists(), canary.read_text()


def test_the_options_are_those_of_the_harness(pytestconfig):
    declared = pytest.Parser(_ispytest=True)
    plugin.pytest_addoption(declared)
    (group,) = [group for group in declared._groups if group.name == "chest X-ray reliability"]
    options = {option.names()[0]: option.attrs() for option in group.options}
    assert set(options) == set(WITH_VALUE) == {*plugin.PATHS, *plugin.OTHERS}
    assert tuple(options["--profile"]["choices"]) == tuple(SEVERITIES)
    assert all(name in options["--preset"]["help"] for name in presets.names())
    assert plugin.PROBES == ROLES
    assert tuple(formats.names()) == plugin.FORMS
    assert pytestconfig.pluginmanager.has_plugin("suites.plugin")


def test_every_pytest_of_the_environment_stays_light():
    program = "import sys, suites.plugin; print(sorted({'torch', 'numpy', 'suites.harness'} & set(sys.modules)))"
    done = subprocess.run([sys.executable, "-c", program], cwd=ROOT, capture_output=True, text=True, check=True)
    assert done.stdout.strip() == "[]"
