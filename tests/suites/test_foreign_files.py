"""Nothing that lies beside films, weights or any other file behind an option is ever run, however it is written."""

from __future__ import annotations

import json
import os
import subprocess
import sys
from pathlib import Path
from types import SimpleNamespace

import numpy as np
import pytest
import torch
from PIL import Image
from transformers import ConvNextV2Config, ConvNextV2ForImageClassification

from robustness import presets
from suites import options, plugin
from suites.harness.cohorts.probes import ROLES
from suites.harness.predicted_run import SEVERITIES
from suites.harness.subjects import formats
from suites.harness.subjects.formats import load_subject
from suites.harness.subjects.temperature_file import FittedTemperature
from suites.import_names import PLUGIN
from tests.forked import pytest_run

ROOT = Path(__file__).parents[2]
PYTEST = str(Path(sys.executable).with_name("pytest"))
CLASSES = ("bacterial_pneumonia", "normal", "viral_pneumonia")
SETTINGS = {
    "pytest.ini": "[pytest]\naddopts = -p evil\npythonpath = .\n",
    "tox.ini": "[pytest]\naddopts = -p evil\npythonpath = .\n",
    "setup.cfg": "[tool:pytest]\naddopts = -p evil\npythonpath = .\n",
    "pytest.toml": '[pytest]\naddopts = ["-p", "evil"]\npythonpath = ["."]\n',
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
    for role in ("data", "external", *ROLES):
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
    for name in ("claims", "temperature", "reports", "cache", "cards", "xml", "sums"):
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
        **{f"--probe-{role}": root / role for role in ROLES}, "--external": root / "external",
        "--claims": root / "claims" / "mine.toml", "--temperature": root / "temperature" / "temperature-one.json",
        "--model-card": root / "cards" / "card.md", "--cache": root / "cache", "--junitxml": root / "xml" / "out.xml",
        "--report": root / "reports" / "first", "--summary": root / "sums" / "sum.md",
    }  # fmt: skip
    code, text = run("suites/", "-rA", *(f"{option}={value}" for option, value in values.items()))
    assert "classes.good" in text, text
    values |= {"--baseline": root / "reports" / "first"}
    assert set(options.PATHS) <= set(values)
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
    words = [*(["suites/", *options] if order == "after" else [*options, "suites/"]), "-rA"]
    if (order, form) == ("before", "space"):  # in which DIR of `--weights DIR` is the first word that could be a path
        found, text = run(*words)
    else:  # every process starts alike
        outside = {key: value for key, value in os.environ.items() if not key.startswith("PYTEST_")}
        done = pytest_run(words, cwd=ROOT, environment=outside | {"PYTHONPATH": "", "OMP_NUM_THREADS": "1"})
        found, text = done.returncode, done.stdout + done.stderr
    assert not canary.exists(), canary.read_text()
    assert outcomes(text) == expected, text
    assert found == code, text
    assert json.loads((values["--report"] / "results.json").read_text())["claims"][0]["id"] == "classes.good"


FOR_EACH = """
import json, sys
from pathlib import Path
from _pytest.config import _prepareconfig
settings, values, canary, suites = json.load(sys.stdin)
folders = {Path(place) if Path(place).is_dir() else Path(place).parent for place in values.values()}
kept = {path: path.read_text() for folder in folders for name in settings if (path := folder / name).exists()}
for path in kept:
    path.unlink()
joined = [f"{option}={place}" for option, place in values.items()]
apart = [word for pair in values.items() for word in pair]
for name, text in settings.items():
    for folder in folders:
        (folder / name).write_text(text)
    for words in ([*joined, suites], [*apart, suites], [suites, *joined], [suites, *apart]):
        config = _prepareconfig([*words, "--noconftest"])  # which would take torch and a while
        assert config.inipath == Path(suites).parent / "pyproject.toml", (words, name, config.inipath)
        assert not Path(canary).exists(), (words, name, Path(canary).read_text())
        config._ensure_unconfigure()
    for folder in folders:
        (folder / name).unlink()
for path, text in kept.items():
    path.write_text(text)
"""


def test_no_kind_of_settings_beside_any_value_is_read(place):
    values, _, _, canary = place
    given = {option: str(value) for option, value in values.items() if option in options.PATHS}
    told = json.dumps([SETTINGS, given, str(canary), str(ROOT / "suites")])
    command = [sys.executable, "-c", FOR_EACH]
    done = subprocess.run(command, cwd=ROOT, input=told, capture_output=True, text=True, timeout=300, check=False)
    assert done.returncode == 0, done.stderr


@pytest.fixture
def hostile(tmp_path):
    """A folder of somebody's with everything that pytest could run, and the canary."""
    folder = tmp_path / "data"
    folder.mkdir()
    plant(folder, tmp_path / "canary")
    (folder / "words.txt").write_text(f"--weights\n{folder}\n{ROOT / 'suites'}\n")
    (folder / "options.txt").write_text("--weights\n.\n")
    return folder, tmp_path / "canary"


MAIN = "import sys, pytest; sys.exit(pytest.main(sys.argv[1:]))"
SUITES = str(ROOT / "suites")
EACH_FORM = """
import json, os, sys
from pathlib import Path
from _pytest.config import UsageError, _prepareconfig
forms, canary, own = json.load(sys.stdin)
for started, added, words, message in forms:
    told = ""
    os.chdir(started)
    os.environ["PYTEST_ADDOPTS"] = added
    try:
        config = _prepareconfig(list(words))
        assert config.inipath == Path(own), (words, config.inipath)
        config._ensure_unconfigure()
    except UsageError as problem:
        told = str(problem)
    assert not Path(canary).exists(), (words, Path(canary).read_text())
    assert message in told and bool(message) == bool(told), (words, told)
"""


def test_nothing_of_a_hostile_folder_is_run(hostile):
    folder, canary = hostile
    data = str(folder)
    forms = [
        ([f"@{data}/words.txt"], ""),
        ([f"@{data}/words.txt", "--profile", "quick"], ""),
        (["--weights", data, SUITES], ""),
        (["--pyargs", "suites", "--weights", data], ""),
        ([f"--data={data}"], "--data belongs to the suites, and no suite is named"),
        (["--data", "phantom", data], "--data belongs to the suites, and no suite is named"),
        (["--wieghts", data, SUITES], "unrecognized arguments: --wieghts"),
        (["--profile", "quik", SUITES], "usage: pytest suites/ ["),
        (["--weights", "bundled:fragile", data, SUITES], "is none of the suites"),
    ]
    placed = [[where, "", *form] for where in (data, str(ROOT)) for form in forms]
    placed += [[data, "", [f"@{data}/options.txt", SUITES], ""], [str(ROOT), f"--weights {data}", [SUITES], ""]]
    told = json.dumps([placed, str(canary), str(ROOT / "pyproject.toml")])
    command = [sys.executable, "-c", EACH_FORM]
    done = subprocess.run(command, cwd=ROOT, input=told, capture_output=True, text=True, timeout=300, check=False)
    assert done.returncode == 0, done.stderr


def test_the_folder_it_is_started_in_is_not_run_with_the_suites(hostile):
    folder, canary = hostile
    code, text = run("--pyargs", "suites", "--seed=0", "--collect-only", "-q", cwd=folder)
    assert code == 0, text
    assert not canary.exists(), canary.read_text()
    (folder / "suites").symlink_to(SUITES)
    code, text = run("suites", "--data=.", "--collect-only", cwd=folder)
    assert (code, "was given to pytest as tests, too" in text) == (4, True), text
    assert not canary.exists(), canary.read_text()


def test_a_folder_among_the_suites_is_none_of_them(tmp_path, monkeypatch):
    """Whatever an option names there, and whatever an earlier run left there."""
    for name in ("mycache", "testcache"):
        (tmp_path / name).mkdir()
    (tmp_path / "test_one.py").touch()
    monkeypatch.setattr(plugin, "SUITES", tmp_path)
    for only in (True, False):
        config = SimpleNamespace(stash={plugin.ONLY_SUITES: only})
        ignored = {
            path.name: plugin.pytest_ignore_collect(path, config)
            for path in (tmp_path, tmp_path.parent, *tmp_path.iterdir(), tmp_path / "mycache" / "test_x.py")
        }
        left_out = {name for name, out in ignored.items() if out}
        assert left_out == {"mycache", "testcache", "test_x.py"}
    assert plugin.pytest_ignore_collect(
        tmp_path.parent / "test_y.py", SimpleNamespace(stash={plugin.ONLY_SUITES: True})
    )


def test_the_canary_sings_where_the_options_come_too_late(hostile):
    folder, canary = hostile
    late = "import sys; sys.meta_path[:] = [f for f in sys.meta_path if type(f).__module__ != 'suites.command_line']; "
    words = ["--weights", str(folder), "suites/", "--collect-only"]
    code, text = run("-c", late + MAIN, *words, command=[sys.executable])
    assert code == 4
    assert "took its settings from" in text, text
    ran = canary.read_text()
    assert "evil" in ran, "pytest loads the plugins of that file before any of ours: nobody can refuse earlier"
    assert "conftest" not in ran, "refused before any conftest.py"


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
    plugin.declare(declared)
    (group,) = [group for group in declared._groups if group.name == "chest X-ray reliability"]
    found = {option.names()[0]: option.attrs() for option in group.options}
    assert set(found) == set(options.OPTIONS)
    assert tuple(found["--profile"]["choices"]) == tuple(SEVERITIES)
    assert all(name in found["--preset"]["help"] for name in presets.names())
    assert options.PROBES == ROLES
    assert tuple(formats.names()) == options.FORMS
    assert pytestconfig.pluginmanager.has_plugin(PLUGIN)


def test_every_pytest_of_the_environment_stays_light():
    program = "import sys, suites.plugin; print(sorted({'torch', 'numpy', 'suites.harness'} & set(sys.modules)))"
    done = subprocess.run([sys.executable, "-c", program], cwd=ROOT, capture_output=True, text=True, check=True)
    assert done.stdout.strip() == "[]"


OWN_OPTION = "def pytest_addoption(parser):\n    parser.addoption('--data', default='mine')\n"


def test_tests_of_another_project_may_have_an_option_of_the_same_name(tmp_path):
    (tmp_path / "conftest.py").write_text(OWN_OPTION)
    (tmp_path / "test_own.py").write_text(
        "def test_own(request):\n    assert request.config.getoption('--data') == 'mine'\n"
    )
    code, text = run("test_own.py", cwd=tmp_path)
    assert (code, "1 passed" in text) == (0, True), text
    code, text = run("test_own.py", "--data", "mine", "-p", f"no:{PLUGIN}", cwd=tmp_path)
    assert (code, "1 passed" in text) == (0, True), text
    code, text = run("test_own.py", "--data", "mine", cwd=tmp_path)
    assert f"leave the suites out: -p no:{PLUGIN}" in text


def test_a_checkout_whose_conftest_declares_an_option_of_the_suites_is_told_the_file_and_the_line(tmp_path):
    (tmp_path / "suites").mkdir()
    for file in (ROOT / "suites").glob("*.py"):
        (tmp_path / "suites" / file.name).write_bytes(file.read_bytes())
    (tmp_path / "pyproject.toml").write_bytes((ROOT / "pyproject.toml").read_bytes())
    (tmp_path / "conftest.py").write_text(OWN_OPTION)
    code, text = run("suites", "--limit", "3", cwd=tmp_path, pythonpath=tmp_path)
    assert code == 4, text
    assert f"{tmp_path / 'conftest.py'}:2 declares an option that pytest or the suites have already" in text
    assert "Traceback" not in text
