"""What a machine refuses to a run of the suites is one line: memory, a full disk, a place that cannot be written."""

from __future__ import annotations

from types import SimpleNamespace

import pytest

from suites import limits
from suites.limits import CONFTEST, MachineLimits, memory_line


def loading(error: BaseException):
    """Send an error through the hook around the loading of conftest files, as pytest raises it."""
    hook = MachineLimits().pytest_load_initial_conftests()
    next(hook)
    return hook.throw(error)


def failed(cause: BaseException, path=CONFTEST) -> Exception:
    error = Exception("ImportError while loading conftest")
    error.cause, error.path = cause, path
    return error


@pytest.mark.parametrize(
    "cause",
    [
        MemoryError(),
        ImportError("libtorch_cuda.so: failed to map segment from shared object"),
        ImportError("libtorch.so: cannot allocate memory in static TLS block"),
        RuntimeError("[enforce fail at alloc_cpu.cpp] DefaultCPUAllocator: can't allocate memory"),
    ],
    ids=lambda cause: type(cause).__name__,
)
def test_too_little_memory_to_load_the_suites_is_one_line(monkeypatch, cause):
    monkeypatch.setattr(limits.resource, "getrlimit", lambda _: (3_600_000_000, -1))
    with pytest.raises(pytest.UsageError, match=r"a run needs about 8 GB .* may map 3.6 GB \(ulimit -v\)") as caught:
        loading(failed(cause))
    assert str(caught.value).isprintable()
    assert len(str(caught.value)) < 300


def test_other_faults_of_loading_and_other_peoples_stay_what_they_are():
    for error in (failed(ImportError("no module named x")), failed(MemoryError(), path="/somebody/conftest.py")):
        with pytest.raises(Exception, match="while loading conftest"):
            loading(error)


def test_a_line_about_memory_is_short_whatever_was_said():
    line = memory_line(MemoryError("x\n" * 10_000))
    assert line.isprintable()
    assert len(line) < 300


class Written:
    """A run of the suites with `--junitxml`."""

    def __init__(self, path: object, *, ours: bool = True) -> None:
        plugins = [SimpleNamespace(__file__=str(CONFTEST))] if ours else []
        self.lines, self.exitstatus = [], pytest.ExitCode.OK
        manager = SimpleNamespace(get_plugins=lambda: plugins, get_plugin=lambda _: self)
        self.config = SimpleNamespace(option=SimpleNamespace(xmlpath=path), pluginmanager=manager)

    def write_line(self, line: str, **_: bool) -> None:
        self.lines.append(line)


@pytest.mark.parametrize("path", ["/proc/nowhere/x.xml", "/proc/version/x.xml", "/tmp", "/tmp/" + "x" * 300, "\x00"])
def test_a_junitxml_that_cannot_be_written_is_refused_before_the_run(path):
    with pytest.raises(pytest.UsageError, match=r"--junitxml .*; name a file that can be written") as caught:
        MachineLimits().pytest_configure(Written(path).config)
    assert str(caught.value).isprintable()
    assert len(str(caught.value)) < 300
    MachineLimits().pytest_configure(Written(path, ours=False).config)


def test_a_junitxml_that_can_be_written_is_left_as_it_is(tmp_path):
    MachineLimits().pytest_configure(Written(tmp_path / "new" / "x.xml").config)
    assert list((tmp_path / "new").iterdir()) == []
    old = tmp_path / "old.xml"
    old.write_text("<old/>")
    MachineLimits().pytest_configure(Written(old).config)
    assert old.read_text() == "<old/>"


def test_a_disk_that_is_full_when_junitxml_is_written_is_one_line():
    run = Written("/dev/full")
    hook = MachineLimits().pytest_sessionfinish(run)
    next(hook)
    with pytest.raises(StopIteration):
        hook.throw(OSError(28, "No space left on device"))
    assert run.exitstatus == pytest.ExitCode.USAGE_ERROR
    assert run.lines == ["\n--junitxml /dev/full was not written: No space left on device"]
    hook = MachineLimits().pytest_sessionfinish(Written(None))
    next(hook)
    with pytest.raises(OSError, match="No space"):
        hook.throw(OSError(28, "No space left on device"))
