"""Which commands are there? One file per command, one decorated function.

To add one, write a function in a new file of this folder; nothing else has to be edited::

    from collections.abc import Sequence
    from suites.commands.registry import parser, register

    @register("greet")
    def greet(arguments: Sequence[str]) -> int:
        '''Say hello.

Examples:
          chest-xray-reliability greet Ada
        '''
        given = parser("greet").parse_args(arguments)
        return 0

Its docstring is what `--help` prints. What is heavy is imported in the function: every command waits for this folder.
"""

from __future__ import annotations

import argparse
import inspect
from collections.abc import Callable, Sequence
from dataclasses import dataclass
from typing import NoReturn

from suites.harness.errors import UsageProblem

Run = Callable[[Sequence[str]], int]
PROGRAM = "chest-xray-reliability"


@dataclass(frozen=True)
class Command:
    """A command: its name, the function that takes the words behind it and returns the exit code, what it does."""

    name: str
    run: Run
    text: str

    @property
    def summary(self) -> str:
        """Its first sentence."""
        return self.text.partition("\n")[0]


_REGISTRY: dict[str, Command] = {}


def register(name: str) -> Callable[[Run], Run]:
    """Register a function as the command of that name.

    Raises:
        UsageProblem: there is a command of that name.
    """

    def enter(run: Run) -> Run:
        if name in _REGISTRY:
            raise UsageProblem(f"the command {name!r} is registered twice, by {_REGISTRY[name].run.__module__} already")
        _REGISTRY[name] = Command(name, run, inspect.getdoc(run) or "")
        return run

    return enter


def get(name: str) -> Command:
    """Return the command of that name.

    Raises:
        UsageProblem: there is none; the message lists those there are.
    """
    if name not in _REGISTRY:
        raise UsageProblem(
            f"no command {name[:60]!r}; there are {', '.join(names())}: `{PROGRAM} --help` tells of each"
        )
    return _REGISTRY[name]


def names() -> list[str]:
    """Every command, for help texts."""
    return sorted(_REGISTRY)


class _Parser(argparse.ArgumentParser):
    def error(self, message: str) -> NoReturn:
        raise UsageProblem(f"{self.prog}: {message}; `{self.prog} --help` shows examples")


DONE = "Exit codes: 0 done; 2 interrupted (Ctrl-C); 3 an internal error; 4 something in what was given."


def parser(name: str, codes: str = DONE) -> argparse.ArgumentParser:
    """Return a parser of a command's words whose `--help` prints the command's docstring, and last its exit codes.

    What it cannot read is a `UsageProblem`: one line, exit code 4.
    """
    return _Parser(
        prog=f"{PROGRAM} {name}",
        description=get(name).text,
        epilog=codes,
        formatter_class=argparse.RawDescriptionHelpFormatter,
        allow_abbrev=False,
    )
