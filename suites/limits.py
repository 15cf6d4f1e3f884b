"""What if the machine gives out? One line about memory or disk, in place of a traceback.

Loaded with `suites.plugin` by every pytest of an environment, so it imports nothing of the harness, and speaks only
where the suites are run.
"""

from __future__ import annotations

import math
from collections.abc import Generator
from pathlib import Path

import pytest

try:
    import resource
except ImportError:  # not on Windows
    resource = None  # type: ignore[assignment]

CONFTEST = Path(__file__).resolve().parent / "conftest.py"
NEEDED_GB = 8
"""Address space of a run of small subjects, most of it the libraries of torch mapped into memory; of memory itself a
run takes one or two."""
_SAID = ("cannot allocate memory", "can't allocate memory", "failed to map segment", "out of memory", "bad_alloc")


def out_of_memory(error: BaseException) -> bool:
    """Whether memory ran out, as Python, the loader of libraries or torch say it."""
    return isinstance(error, MemoryError) or any(word in str(error).lower() for word in _SAID)


def memory_line(error: BaseException) -> str:
    """Return one line about memory that ran out: what is needed, what there is, what to do."""
    said = " ".join(str(error).split())[:80]
    limit = resource.getrlimit(resource.RLIMIT_AS)[0] if resource else -1
    unlimited = resource is None or limit == resource.RLIM_INFINITY
    allowed = "" if unlimited else f", and this process may map {math.floor(limit / 1e8) / 10:g} GB (ulimit -v)"
    return (
        f"memory ran out{f' ({said})' if said else ''}: a run needs about {NEEDED_GB} GB of address space{allowed}; "
        "allow more, or take a smaller subject or smaller films"
    )


class MachineLimits:
    """Turns what a machine refuses to a run of the suites into one line."""

    @pytest.hookimpl(wrapper=True, tryfirst=True)
    def pytest_load_initial_conftests(self) -> Generator[None, object, object]:
        """Say that there is too little memory to load the suites at all.

        Raises:
            pytest.UsageError: so it is.
        """
        try:
            return (yield)
        except Exception as error:
            cause = getattr(error, "cause", error)
            if getattr(error, "path", CONFTEST) == CONFTEST and out_of_memory(cause):
                raise pytest.UsageError(memory_line(cause)) from None
            raise

    @pytest.hookimpl(tryfirst=True)
    def pytest_configure(self, config: pytest.Config) -> None:
        """Refuse a `--junitxml` that cannot be written, before the run and not after it.

        Raises:
            pytest.UsageError: with the reason.
        """
        named = getattr(config.option, "xmlpath", None)
        if not named or not _runs_suites(config):
            return
        try:
            path = Path(named).expanduser().absolute()
            path.parent.mkdir(parents=True, exist_ok=True)
            new = not path.exists()
            with path.open("ab"):
                pass
            if new:
                path.unlink()
        except (OSError, ValueError, RuntimeError) as problem:
            raise pytest.UsageError(
                f"--junitxml {_shown(named)}: {_why(problem)}; name a file that can be written"
            ) from None

    @pytest.hookimpl(wrapper=True, trylast=True)
    def pytest_sessionfinish(self, session: pytest.Session) -> Generator[None, object, object]:
        """Say that `--junitxml` could not be written; the report was, before it."""
        try:
            return (yield)
        except OSError as problem:
            named = getattr(session.config.option, "xmlpath", None)
            if not named or not _runs_suites(session.config):
                raise
            session.exitstatus = pytest.ExitCode.USAGE_ERROR
            told = f"--junitxml {_shown(named)} was not written: {_why(problem)}"
            terminal = session.config.pluginmanager.get_plugin("terminalreporter")
            if terminal is not None:
                terminal.write_line(f"\n{told}", red=True)
            return None


def _runs_suites(config: pytest.Config) -> bool:
    return any(getattr(plugin, "__file__", None) == str(CONFTEST) for plugin in config.pluginmanager.get_plugins())


def _shown(path: object) -> str:
    text = ascii(str(path))[1:-1]
    return text if len(text) <= 80 else f"...{text[-80:]}"


def _why(problem: Exception) -> str:
    return str(getattr(problem, "strerror", None) or problem)[:100]
