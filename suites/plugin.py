"""Which options do the suites have, and what must pytest leave alone? Loaded before it looks at paths.

What stands behind an option is data of somebody's: no `conftest.py`, `test_*.py` or `pytest.ini` beside it is ever
run. pytest takes the value of an option that it does not know for a path of tests, so the options are known early: by
the entry point `pytest11`, and by `-p` in pyproject.toml. Every pytest of an environment loads this module, so it
imports nothing of the harness; a test compares the names written here with the harness's own.
"""

from __future__ import annotations

import argparse
import copy
import os
from collections.abc import Iterator
from pathlib import Path

import pytest

SUITES = Path(__file__).resolve().parent
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
DEFAULT_WEIGHTS = "bundled:fragile"
DEFAULT_DATA = "phantom"
PATHS = (
    "--weights", "--data", *(f"--probe-{role}" for role in PROBES), "--report", "--claims", "--temperature",
    "--baseline", "--model-card", "--cache",
)  # fmt: skip
OTHERS = ("--profile", "--preset", "--preprocessing", "--limit", "--device", "--seed")


def pytest_addoption(parser: pytest.Parser) -> None:
    """Declare the options of the suites."""
    group = parser.getgroup("chest X-ray reliability")
    group.addoption(
        "--weights",
        action="append",
        metavar="SPEC",
        help=f"subject, repeatable: {' | '.join(FORMS)} (default {DEFAULT_WEIGHTS})",
    )
    group.addoption(
        "--data",
        metavar="SPEC",
        default=DEFAULT_DATA,
        help="cohort: a folder of films, a manifest, kaggle, phantom (default)",
    )
    for role, what in PROBES.items():
        group.addoption(f"--probe-{role}", metavar="SPEC", help=f"cohort of {what}")
    group.addoption(
        "--report", nargs="?", const="report", metavar="DIR", help="write the report there (default report/)"
    )
    group.addoption(
        "--claims",
        metavar="FILE",
        type=Path,
        help="claims table in TOML (`extends = true` overrides the project's own by id)",
    )
    group.addoption(
        "--profile",
        choices=("quick", "standard", "full"),
        default="quick",
        help="how much is run (default quick)",
    )
    group.addoption(
        "--preset",
        metavar="NAME",
        help="run a whole grid of perturbations beside what the claims need: standard, quick or medmnist-c",
    )
    group.addoption("--preprocessing", metavar="NAME", help="recipe by name: repository (default) or hub")
    group.addoption(
        "--temperature",
        action="append",
        metavar="FILE",
        type=Path,
        default=[],
        help="temperature-*.json of an earlier report, repeatable: its subject answers with logits / T everywhere",
    )
    group.addoption("--limit", type=int, metavar="N", help="about N films, stratified by class, whole patients")
    group.addoption(
        "--baseline",
        metavar="DIR",
        type=Path,
        help="report or results.json of an earlier run: fail on a significant worsening",
    )
    group.addoption(
        "--model-card",
        metavar="FILE",
        type=Path,
        help="write a Hugging Face model card with the measured limitations (several subjects: FILE-<subject>)",
    )
    group.addoption("--device", default="cpu", help="cpu, cuda, cuda:1, mps")
    group.addoption("--seed", type=int, default=0, help="decides every random number (default 0)")
    group.addoption("--cache", metavar="DIR", type=Path, help="where finished predictions are kept")


@pytest.hookimpl(tryfirst=True)  # before any conftest.py is imported
def pytest_load_initial_conftests(early_config: pytest.Config, parser: pytest.Parser, args: list[str]) -> None:
    """Refuse, with one line, a command line by which pytest would run what lies beside the user's data.

    Raises:
        pytest.UsageError: there are options of the suites, but no suite to run, or a misspelt option, whose value
            pytest took for tests; or pytest found its configuration, a `conftest.py` or tests beside the data.
    """
    known, here = early_config.known_args_namespace, early_config.invocation_params.dir
    given = [option for option in (*PATHS, *OTHERS) if _value(known, option) != _value(early_config.option, option)]
    named = [(here / str(word).split("::", maxsplit=1)[0]).resolve() for word in known.file_or_dir]
    suites = [_is_suite(path) or (known.pyargs and path.name.split(".")[0] == "suites") for path in named]
    if not named:
        places = (early_config.getini("testpaths") if here == early_config.rootpath else []) or [here]
        suites = [_is_suite((here / place).resolve()) for place in places]
    if given and not any(suites):
        raise pytest.UsageError(
            f"{given[0]} belongs to the suites, and no suite is named; "
            f"write the folder to test first: pytest suites/ {given[0]} ..."
        )
    if any(suites):  # then a conftest.py that might know the option is one beside data, if the option is misspelt
        unknown = parser.parse_known_and_unknown_args(args, copy.copy(early_config.option))[1]
        if unknown:
            raise pytest.UsageError(f"unrecognized arguments: {' '.join(unknown)}")
    settings, anchors = early_config.inipath, named or [here]
    if given and settings and not known.inifilename and not any(_below(p, settings.parent) for p in (here, *anchors)):
        raise pytest.UsageError(
            f"pytest took its settings from {settings}, for it knew none of the suites' options yet; "
            f"write their values with =, as in {given[0]}=..."
        )
    for option, place in _places(known):
        folder = place if place.is_dir() else place.parent
        if folder.parent in anchors and folder.name.startswith("test") and not _is_suite(folder):
            raise pytest.UsageError(
                f"{option}: pytest runs the conftest.py of every test* folder in {folder.parent}; move {folder.name}"
            )
        if place.is_dir() and not _is_suite(place) and any(_below(path, place) for path in named):
            raise pytest.UsageError(f"{option}: {place} was given to pytest as tests, too; name it once, as data")


def pytest_ignore_collect(collection_path: Path, config: pytest.Config) -> bool | None:
    """Leave the folders behind the options alone, wherever they lie."""
    folders = [place for _, place in _places(config.option) if place.is_dir() and not _is_suite(place)]
    return True if folders and any(_below(collection_path.resolve(), folder) for folder in folders) else None


def _value(options: argparse.Namespace, option: str) -> object:
    return getattr(options, option.removeprefix("--").replace("-", "_"), None)


def _places(options: argparse.Namespace) -> Iterator[tuple[str, Path]]:
    """Return what exists behind the options, as (option, file or folder)."""
    for option in PATHS:
        value = _value(options, option)
        for one in value if isinstance(value, list) else [value]:
            text = os.path.expanduser(str(one).partition("?")[0])  # noqa: PTH111 - pathlib's raises without a home
            if one not in (None, DEFAULT_DATA) and os.path.exists(text):  # noqa: PTH110 - pathlib's raises on names that are too long
                yield option, Path(text).resolve()


def _is_suite(path: Path) -> bool:
    """Return whether a path leads to the suites: theirs, or a folder around them."""
    return _below(path, SUITES) or _below(SUITES, path)


def _below(path: Path, folder: Path) -> bool:
    return folder in (path, *path.parents)
