"""What must pytest leave alone in a run of the suites, and which options does it know? Loaded before it looks at paths.

What stands behind an option is data of somebody's: no `conftest.py`, `test_*.py` or `pytest.ini` beside it is ever
run, and neither are those of the folder pytest is started in. `suites.command_line` has pytest load this module first,
so it knows the options from the first word on; a run of the suites then takes its settings from this project alone, and
nothing but the `test_*.py` of this folder is collected in it. Every pytest of an environment loads this module, so it
imports nothing of the harness.
"""

from __future__ import annotations

import argparse
import copy
import os
import shlex
import traceback
from collections.abc import Iterator, Sequence
from importlib.machinery import PathFinder
from pathlib import Path

import _pytest.config
import pytest

from suites.import_names import INSTALLED, PLUGIN, PREFIX
from suites.limits import MachineLimits
from suites.options import DEFAULT_DATA, OPTIONS, PATHS, RUN

SUITES = Path(__file__).resolve().parent
_SETTINGS = SUITES.parent / "pyproject.toml"
ONLY_SUITES = pytest.StashKey[bool]()
_NOT_THESE = f"or, where that is an option of your own tests, leave the suites out: -p no:{PLUGIN}"


def pytest_addoption(parser: pytest.Parser, pluginmanager: pytest.PytestPluginManager) -> None:
    """Declare the options of the suites, once it is known that the suites are run; a plugin loaded late declares now.

    The tests of another project in the same environment may have options of the same names.
    """
    pluginmanager.register(_OwnSettings(parser))
    pluginmanager.register(MachineLimits())
    if PLUGIN not in _pytest.config.default_plugins:
        declare(parser)


def declare(parser: pytest.Parser) -> None:
    """Add the options to pytest's."""
    group = parser.getgroup("chest X-ray reliability")
    for name, described in OPTIONS.items():
        group.addoption(name, **described)


class _OwnSettings:
    """Has a run of the suites take its settings from this project, not from the folder of data it is started in."""

    def __init__(self, parser: pytest.Parser) -> None:
        self.parser = parser

    @pytest.hookimpl(tryfirst=True)  # pytest's own implementation looks for settings
    def pytest_cmdline_parse(self, args: list[str]) -> None:
        try:
            words = [*shlex.split(os.environ.get("PYTEST_ADDOPTS", "")), *args]
            if not _about_suites(words):
                return
            declare(self.parser)
            # Named where an option is mistyped; pytest calls itself by the function that started it.
            if (shown := getattr(self.parser, "optparser", None)) is not None:
                shown.prog = RUN
            known = self.parser.parse_known_args(words)
            given = _given(self.parser, words)
        except (pytest.UsageError, ValueError):
            return  # pytest says what is wrong, and looks for nothing before
        suite_named = any(map(_is_suite, _named(known, Path.cwd(), given)))
        if not known.inifilename and (given or suite_named):
            args[:0] = _own_settings()

    @pytest.hookimpl(wrapper=True)
    def pytest_load_initial_conftests(self) -> Iterator[None]:
        """Name the file and the line where a `conftest.py` declares an option that the suites have already.

        Raises:
            pytest.UsageError: it does.
        """
        try:
            yield
        except ValueError as problem:
            frames = traceback.extract_tb(problem.__traceback__)
            own = [frame for frame in frames if Path(frame.filename).name == "conftest.py"]
            if not own or "option" not in str(problem):
                raise
            raise pytest.UsageError(
                f"{own[-1].filename}:{own[-1].lineno} declares an option that pytest or the suites have already: "
                f"{problem}. Rename it there, or run the suites from another folder"
            ) from problem


@pytest.hookimpl(tryfirst=True)  # before any conftest.py is imported
def pytest_load_initial_conftests(early_config: pytest.Config, parser: pytest.Parser, args: list[str]) -> None:
    """Refuse, with one line, a command line by which pytest would run what lies beside the user's data.

    Raises:
        pytest.UsageError: there are options of the suites, but no suite to run, or something to run that is none, or a
            misspelt option, whose value pytest took for tests; or pytest found its configuration, a `conftest.py` or
            tests beside the data.
    """
    known, here, given = early_config.known_args_namespace, early_config.invocation_params.dir, _given(parser, args)
    named = _named(known, here, given)
    testpaths = early_config.getini("testpaths") if here == early_config.rootpath else []
    suite_named = any(map(_is_suite, named or [(here / place).resolve() for place in testpaths or [here]]))
    if given and not suite_named:
        raise pytest.UsageError(
            f"{given[0]} belongs to the suites, and no suite is named; "
            f"write the folder to test first: {RUN} {given[0]} ... ({_NOT_THESE})"
        )
    if not suite_named:
        return
    # A conftest.py that might know an option of another name is one beside data, whose option is misspelt.
    if unknown := parser.parse_known_and_unknown_args(args, copy.copy(early_config.option))[1]:
        raise pytest.UsageError(f"unrecognized arguments: {' '.join(unknown)}")
    if given:
        if not known.inifilename and early_config.inipath not in (None, _SETTINGS):
            raise pytest.UsageError(
                f"pytest took its settings from {early_config.inipath}, for it was loaded before the suites' options; "
                "install this project anew (uv sync), and start a new process"
            )
        _refuse_data_as_tests(
            known, [*named, *(there for word in known.file_or_dir if (there := here / word).exists())]
        )
        for word, path in zip(known.file_or_dir, named, strict=True):
            if path.exists() and not _is_suite(path):
                raise pytest.UsageError(
                    f"{word} is none of the suites, and would be run with {given[0]}; "
                    "if it belongs to an option, write the option once more before it"
                )
        early_config.stash[ONLY_SUITES] = True
    # What pytest imports before it collects: of a folder also each conftest.py in a folder test* in it, of `--pyargs`
    # that of the folder it is started in.
    own = str(SUITES / "conftest.py")
    known.file_or_dir[:] = [
        own if given or (_is_suite(path) and path != SUITES.parent) else str(path) for path in named or [here]
    ]


@pytest.hookimpl(tryfirst=True)
def pytest_configure(config: pytest.Config) -> None:
    """Have `--pyargs suites` mean ours in a run with our options, whatever else has that name in this environment."""
    if config.stash.get(ONLY_SUITES, False) and config.option.pyargs:
        config.args = [
            f"{_module(word)}{separator}{test}" if _names_ours(word, given=True) else f"{word}{separator}{test}"
            for word, separator, test in (str(given).partition("::") for given in config.args)
        ]


def _refuse_data_as_tests(known: argparse.Namespace, named: Sequence[Path]) -> None:
    around = {up.resolve() for path in named for up in (path, *path.parents)}
    for option, place in _places(known):
        if place in around and not _below(SUITES, place):
            raise pytest.UsageError(f"{option}: {place} was given to pytest as tests, too; name it once, as data")


def pytest_ignore_collect(collection_path: Path, config: pytest.Config) -> bool | None:
    """Leave alone whatever is no suite in a run with options of the suites, and in any run the folders among them."""
    path = collection_path.resolve()
    if _is_suite(path) or _below(SUITES, path):
        return None
    return True if _below(path, SUITES) or config.stash.get(ONLY_SUITES, False) else None


def _about_suites(words: Sequence[str]) -> bool:
    """Return whether a command line has an option of the suites, names one of them, or is one without paths here."""
    mine = argparse.ArgumentParser(add_help=False, allow_abbrev=False, exit_on_error=False, fromfile_prefix_chars="@")
    for name in OPTIONS:
        mine.add_argument(name, nargs="?", const=name, action="append")
    try:
        known, rest = mine.parse_known_args(list(words))
    except (argparse.ArgumentError, SystemExit):
        return True
    if any(_value(known, name) for name in OPTIONS) or "--help" in rest or "-h" in rest:
        return True
    named = [word.split("::", maxsplit=1)[0] for word in rest if not word.startswith("-")]
    places = [Path.cwd(), *((Path.cwd() / os.path.expanduser(word)) for word in named)]  # noqa: PTH111 - as below
    return any(_names_ours(word, given=False) for word in named) or any(
        _is_suite(Path(os.path.realpath(place))) for place in places
    )


def _given(parser: pytest.Parser, words: Sequence[str]) -> list[str]:
    """Return the options of the suites that stand in a command line, be it with their default values."""
    without = argparse.Namespace(**{_name(option): None for option in OPTIONS})
    known = parser.parse_known_args(words, without)
    return [option for option in OPTIONS if _value(known, option) is not None]


def _named(known: argparse.Namespace, here: Path, given: Sequence[str]) -> list[Path]:
    """Return the files and folders that a command line has pytest run, with these options of the suites."""
    words = [str(word).split("::", maxsplit=1)[0] for word in known.file_or_dir]
    return [
        _module(word) if known.pyargs and _names_ours(word, given=bool(given)) else (here / word).resolve()
        for word in words
    ]


def _names_ours(word: str, *, given: bool) -> bool:
    """Return whether a word of `--pyargs` names our suites: where none of their options is given, nobody else's."""
    if f"{word}.".startswith(f"{INSTALLED}.suites."):
        return True
    return f"{word}.".startswith("suites.") and (given or not PREFIX or PathFinder.find_spec("suites") is None)


def _module(word: str) -> Path:
    """Return the file or folder of ours that a word of `--pyargs` names."""
    module = SUITES.joinpath(*word.removeprefix(f"{INSTALLED}.").split(".")[1:])
    return module if module.is_dir() else module.with_suffix(".py")


def _own_settings() -> list[str]:
    """Return the words that have pytest use the settings of this project; installed without them, it needs none."""
    if _SETTINGS.is_file():
        return ["-c", str(_SETTINGS)]
    folder = str(SUITES)
    words = ["-c", os.devnull, "--rootdir", folder, "--confcutdir", folder, "-p", "no:cacheprovider"]
    return [*words, "--strict-markers", "--import-mode=importlib"]  # which leaves the places of imports alone


def _value(options: argparse.Namespace, option: str) -> object:
    return getattr(options, _name(option), None)


def _name(option: str) -> str:
    return option.removeprefix("--").replace("-", "_")


def _places(options: argparse.Namespace) -> Iterator[tuple[str, Path]]:
    """Return what exists behind the options, as (option, file or folder)."""
    for option in PATHS:
        value = _value(options, option)
        for one in value if isinstance(value, list) else [value]:
            text = os.path.expanduser(str(one).partition("?")[0])  # noqa: PTH111 - pathlib's raises without a home
            if one not in (None, DEFAULT_DATA) and os.path.exists(text):  # noqa: PTH110 - pathlib's raises on names that are too long
                yield option, Path(text).resolve()


def _is_suite(path: Path) -> bool:
    """Return whether a path leads to the suites: a file directly in their folder, it, or this project."""
    return path in (SUITES, SUITES.parent) or (path.parent == SUITES and not path.is_dir())


def _below(path: Path, folder: Path) -> bool:
    return folder in (path, *path.parents)
