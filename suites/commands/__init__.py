"""What can be done from a shell? `chest-xray-reliability run --report`; `--help` lists the commands.

The same by `python -m chest_xray_reliability`. A command is one function in one file of this folder; see `registry`.
"""

from __future__ import annotations

import os
import pkgutil
import sys
from collections.abc import Sequence
from importlib import import_module
from importlib.metadata import version

from suites.commands import registry
from suites.commands.run import CODES
from suites.harness.errors import UsageProblem

for _module in pkgutil.iter_modules(__path__):
    import_module(f"{__name__}.{_module.name}")

_EPILOG = """
Examples:
  chest-xray-reliability run --report                       a self-test: bundled weights on simulated films
  chest-xray-reliability run --report --weights my_model:load --data films.csv
  chest-xray-reliability COMMAND --help                     what a command takes, with examples
  chest-xray-reliability --version

{codes}

Not a medical device. For research and education."""


def main(arguments: Sequence[str] | None = None) -> int:
    """Run the command that the words of a command line name.

    Args:
        arguments: the words; those this process was started with, unless given.

    Returns:
        The exit code.
    """
    words = list(sys.argv[1:] if arguments is None else arguments)
    try:
        if not words or words[0] in ("-h", "--help"):
            print(_overview(), flush=True)
            return 0 if words else 4
        if words[0] in ("-V", "--version"):
            print(f"{registry.PROGRAM} {version(registry.PROGRAM)}", flush=True)
            return 0
        return registry.get(words[0]).run(words[1:])
    except UsageProblem as problem:
        print(f"ERROR: {problem}", file=sys.stderr)
        return 4
    except KeyboardInterrupt:
        return 2
    except BrokenPipeError:  # whoever reads along, `head` for one, has seen enough
        os.dup2(os.open(os.devnull, os.O_WRONLY), sys.stdout.fileno())
        return 0
    except SystemExit as ended:  # argparse, after --help
        return ended.code if isinstance(ended.code, int) else 0


def _overview() -> str:
    width = max(map(len, registry.names()))
    lines = [f"  {name:<{width}}   {registry.get(name).summary}" for name in registry.names()]
    head = "chest-xray-reliability COMMAND ...: how reliable is a chest X-ray classifier?"
    return "\n".join([head, "", "Commands:", *lines, _EPILOG.format(codes=CODES)])
