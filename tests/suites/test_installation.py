"""The wheel works from any folder, beside folders of a user's that have the names of our packages."""

from __future__ import annotations

import os
import shutil
import subprocess
import sys
import sysconfig
import tarfile
import zipfile
from pathlib import Path

import numpy as np
import pytest
from PIL import Image

from suites.harness.cache.code_digest import digest_of
from suites.import_names import PACKAGES
from suites.installation.build import renamed

ROOT = Path(__file__).parents[2]
CLASHING = (*PACKAGES, "tests")
FACTORY = """
import torch
import calibration, explain, robustness, suites  # somebody's own
from chest_xray_reliability import Subject, load_subject
from chest_xray_reliability.robustness import get
from chest_xray_reliability.suites.harness.cohort import Cohort  # by the name it once had

assert all(package.MINE for package in (calibration, explain, robustness, suites))

def load():
    subject = load_subject("bundled:fragile")
    assert isinstance(subject, Subject)
    return subject
"""
OLD_FACTORY = """
from suites.harness import Subject, load_subject
import chest_xray_reliability

assert Subject is chest_xray_reliability.Subject

def load():
    return load_subject("bundled:fragile")
"""
CLAIM = """
[[claim]]
id = "classes.good"
section = "S"
statement = "It is good."
kind = "limitation"
endpoint = "score"
measure = "accuracy"
margin = 0.1
"""
WORDS = ("-q", "--data", "films", "--claims", "mine.toml", "--cache", "kept", "--weights", "my_model:load")


def run(*words, cwd, **environment):
    outside = {key: value for key, value in os.environ.items() if not key.startswith(("PYTEST_", "PYTHON", "GITHUB_"))}
    done = subprocess.run(
        list(map(str, words)), cwd=cwd, env=outside | {"OMP_NUM_THREADS": "1"} | environment, capture_output=True,
        text=True, timeout=300, check=False,
    )  # fmt: skip
    return done.returncode, done.stdout + done.stderr


@pytest.fixture(scope="module")
def built(tmp_path_factory):
    """The wheel, built from the sdist as `uv build` does, and a second one from the folder itself."""
    root = tmp_path_factory.mktemp("built")
    source = root / "source"
    source.mkdir()
    for name in ("pyproject.toml", "README.md", "LICENSE", ".gitignore"):
        shutil.copy(ROOT / name, source)
    for package in PACKAGES:
        shutil.copytree(ROOT / package, source / package, ignore=shutil.ignore_patterns("__pycache__"))
    (source / "suites" / "notes of mine.txt").write_text("local")
    (source / "robustness" / "film.dcm").write_bytes(b"a patient's")
    (source / "tests").mkdir()
    (source / "tests" / "test_one.py").touch()
    for out, kinds in (("one", []), ("two", ["--wheel"])):
        code, text = run("uv", "build", "-q", "--offline", "--no-build-isolation", "--python", sys.executable, *kinds,
                         "--out-dir", root / out, source, cwd=root)  # fmt: skip
        assert code == 0, text
    return root


@pytest.fixture(scope="module")
def installed(built, tmp_path_factory):
    """The folder of programs of a fresh environment with the wheel, and the libraries of this one beside it."""
    environment = tmp_path_factory.mktemp("fresh") / "environment"
    assert run("uv", "venv", "-q", "--python", sys.executable, environment, cwd=built)[0] == 0
    there = environment / Path(sysconfig.get_path("purelib")).relative_to(sys.prefix)
    for library in Path(sysconfig.get_path("purelib")).iterdir():
        if not ("chest_xray_reliability" in library.name or (there / library.name).exists()):
            (there / library.name).symlink_to(library)
    (wheel,) = (built / "one").glob("*.whl")
    programs = environment / Path(sys.executable).parent.relative_to(sys.prefix)
    code, text = run(
        "uv", "pip", "install", "-q", "--no-deps", "--offline", "--python", programs / "python", wheel, cwd=built
    )
    assert code == 0, text
    return programs


@pytest.fixture
def folder(tmp_path):
    """A user's folder with packages and tests of the same names."""
    for name in CLASHING:
        (tmp_path / name).mkdir()
        (tmp_path / name / "__init__.py").write_text("MINE = True\n")
    (tmp_path / "suites" / "test_own.py").write_text("def test_own():\n    import suites\n    assert suites.MINE\n")
    (tmp_path / "my_model.py").write_text(FACTORY)
    (tmp_path / "mine.toml").write_text(CLAIM)
    generator = np.random.default_rng(0)
    for label in ("bacterial_pneumonia", "normal", "viral_pneumonia"):
        (tmp_path / "films" / label).mkdir(parents=True)
        for number in range(3):
            grey = generator.integers(0, 256, (64, 80), dtype=np.uint8)
            Image.fromarray(grey).save(tmp_path / "films" / label / f"{label}{number}.png")
    return tmp_path


def test_every_import_of_ours_gets_the_name_before_it_and_nothing_else_changes():
    source = (
        '"""From robustness to calibration. `python -m suites.harness.endpoints` lists them.\n\n'
        '    from suites.harness import evaluate\n"""\nimport explain\nfrom robustness import get\n'
        "from suites.harness.claims import (\n    Claim,\n)\nfrom .suites import x\nimport calibrations\n"
        "def late():\n    from calibration.error import ece\n"
    )
    top = "chest_xray_reliability"
    expected = source
    for plain in ("-m suites", "from suites.h", "from robustness import", "from calibration."):
        first, second = plain.split(" ", 1)
        expected = expected.replace(plain, f"{first} {top}.{second}")
    expected = expected.replace("import explain\n", f"from {top} import explain\n")
    assert renamed(source, "a.py") == expected
    assert renamed(expected, "a.py") == expected


@pytest.mark.parametrize("line", ["import suites.harness", "import os, explain", "if True: from suites import harness"])
def test_an_import_in_a_form_that_is_not_known_stops_the_build(line):
    with pytest.raises(ValueError, match=r"a\.py, line 2: write `from \w+(\.\w+)? import"):
        renamed(f"\n{line}\n", "a.py")


@pytest.mark.slow
def test_wheel_and_sdist_hold_what_is_ours_and_no_file_of_anybody_else(built):
    (sdist,), (wheel,) = (built / "one").glob("*.tar.gz"), (built / "one").glob("*.whl")
    with zipfile.ZipFile(wheel) as held:
        names = held.namelist()
        modules = {name: held.read(name).decode() for name in names if name.endswith(".py")}
    with tarfile.open(sdist) as held:
        sources = held.getnames()
    tops = {name.partition("/")[0] for name in names if ".dist-info/" not in name}
    assert tops == {"chest_xray_reliability", "chest_xray_reliability.pth"}
    for what in ("bundled/fragile/model.safetensors", "report/templates/page.html.j2", "claims.toml", "LICENSE"):
        assert any(name.endswith(what) for name in names), what
        assert any(name.endswith(what) for name in sources), what
    assert not [name for name in (*names, *sources) if "test_one" in name or "notes of mine" in name or ".dcm" in name]
    expected = {f"chest_xray_reliability/{path.relative_to(ROOT)}" for package in PACKAGES
                for path in (ROOT / package).rglob("*.py") if "installation" not in path.parts}  # fmt: skip
    assert expected <= set(modules)
    assert "from suites." not in "".join(line for text in modules.values() for line in text.splitlines()
                                         if line.lstrip().startswith(("from ", "import ")))  # fmt: skip
    assert (built / "two" / wheel.name).read_bytes() == wheel.read_bytes(), "the same sources, the same wheel"


@pytest.mark.slow
def test_an_installed_run_knows_no_folder_of_the_users_and_they_none_of_ours(installed, folder):
    program, python = installed / "chest-xray-reliability", installed / "python"
    told = folder / "step.md"
    code, text = run(program, "run", *WORDS, "--report", "one", "--model-card", "card.md",
                     cwd=folder, GITHUB_STEP_SUMMARY=str(told))  # fmt: skip
    assert code == 0, text
    assert "classes.good" in text, text
    assert "Not a medical device" in told.read_text()
    assert "Traceback" not in text
    code, text = run(python, "-m", "pytest", "--pyargs", "suites", *WORDS,
                     "--baseline", "one", "--summary", "sum.md", cwd=folder)  # fmt: skip
    assert code == 0, text
    assert "release gate passed" in text
    assert "Release gate: passed" in (folder / "sum.md").read_text()
    code, text = run(program, "card", "one", "--to", "again.md", cwd=folder)
    assert code == 0, text
    assert (folder / "again.md").read_bytes() == (folder / "card.md").read_bytes()
    code, text = run(python, "-m", "pytest", "-q", "--pyargs", "suites", cwd=folder)
    assert (code, "1 passed" in text) == (0, True), "without our options, their suites"
    code, text = run(python, "-m", "chest_xray_reliability", "run", "--weights", "nowhere:load", cwd=folder)
    assert (code, "Traceback" in text) == (4, False), text


@pytest.mark.slow
def test_code_written_in_the_repository_works_where_it_is_installed_and_its_films_are_the_same(installed, tmp_path):
    (tmp_path / "old_model.py").write_text(OLD_FACTORY)
    program = (
        "import sys; sys.path.insert(0, '')\n"
        "import chest_xray_reliability\n"
        "from chest_xray_reliability.suites.harness.cache.code_digest import digest_of\n"
        "print(digest_of('chest_xray_reliability.robustness.phantom'))\n"
        "print(chest_xray_reliability.load_subject('old_model:load').name)\n"
        "import calibration.error\nprint(calibration.error.__name__)\n"
    )
    code, text = run(installed / "python", "-c", program, cwd=tmp_path)
    assert code == 0, text
    assert text.splitlines()[-3:] == [
        digest_of("robustness.phantom"),
        "fragile",
        "chest_xray_reliability.calibration.error",
    ]
    code, text = run(installed / "python", "-c", "import chest_xray_reliability, calibration", cwd=tmp_path)
    assert "No module named 'calibration'" in text, "a name of ours stands in nobody's way before it is asked for"
