"""Imports run one way: no circle among modules, three packages that know nothing of one another, a report at the end.

Read from the sources, imports within functions included: one that is put off is still an arrow.
"""

from __future__ import annotations

import ast
from collections.abc import Iterator, Mapping
from pathlib import Path

ROOT = Path(__file__).parents[2]
PACKAGES = ("robustness", "calibration", "explain", "suites")
REPORT = "suites.harness.report"
ABOVE_THE_REPORT = {
    "suites.commands.card",
    "suites.commands.compare",
    "suites.commands.films",
    "suites.outputs",
    "suites.harness.api",
    "suites.harness.evaluation",
    "suites.harness.validity.drops",
    "suites.harness.validity.in_report",
    "suites.harness.validity.write",
}
"""What runs the suites and writes their report."""
HARNESS = "suites.harness"
ROOMS = (
    "errors", "counts", "local_paths", "foreign_file", "foreign_code", "strict_json", "process", "progress",
    "former_names", "latest", "statistics", "claims", "claims_table", "cache", "subjects", "cohorts", "predictions",
    "record",
    "formatting", "performance", "stress_grid", "verdicts", "endpoints", "measuring_ahead", "predicted_run",
    "measured_run", "report", "validity",
    "evaluation", "plan", "api", "terminal_summary",
)  # fmt: skip
"""The rooms of the harness, from the ground up: each imports from those before it only. A new one is put here."""


def modules_of(root: Path) -> dict[str, Path]:
    """Return dotted name -> file of every module below the packages that are in a folder."""
    files = [path for package in PACKAGES for path in sorted((root / package).rglob("*.py"))]
    return {".".join(path.relative_to(root).with_suffix("").parts).removesuffix(".__init__"): path for path in files}


def arrows(modules: Mapping[str, Path]) -> dict[str, set[str]]:
    """Return module -> the modules it imports anywhere in its file, except where only a type checker looks."""
    found = {}
    for name, path in modules.items():
        imported = set(_imported(ast.parse(path.read_text(encoding="utf-8"))))
        # `from package import module` names the module where there is one of that name, else the package.
        found[name] = {full if full in modules else full.rpartition(".")[0] for full in imported} & set(modules)
        found[name].discard(name)
    return found


def _imported(node: ast.AST) -> Iterator[str]:
    for child in ast.iter_child_nodes(node):
        if isinstance(child, ast.If) and "TYPE_CHECKING" in ast.dump(child.test):
            continue
        if isinstance(child, ast.Import):
            yield from (f"{alias.name}" for alias in child.names)
        elif isinstance(child, ast.ImportFrom) and child.module:
            yield from (f"{child.module}.{alias.name}" for alias in child.names)
        yield from _imported(child)


def circles(graph: Mapping[str, set[str]]) -> list[tuple[str, ...]]:
    """Return the modules that can be reached from themselves, those that reach one another together."""
    reached = {name: _reached(graph, name) for name in graph}
    inside = [name for name in graph if name in reached[name]]
    return sorted({tuple(sorted(other for other in inside if other in reached[name] and name in reached[other]))
                   for name in inside})  # fmt: skip


def _reached(graph: Mapping[str, set[str]], start: str) -> set[str]:
    seen: set[str] = set()
    waiting = list(graph[start])
    while waiting:
        if (name := waiting.pop()) not in seen:
            seen.add(name)
            waiting.extend(graph[name])
    return seen


def test_no_module_imports_itself_in_a_circle():
    assert circles(arrows(modules_of(ROOT))) == []


def test_the_three_packages_do_not_know_one_another_nor_the_suites():
    across = {
        (name, other)
        for name, others in arrows(modules_of(ROOT)).items()
        for other in others
        if name.partition(".")[0] not in ("suites", other.partition(".")[0])
    }
    assert across == set()


def test_nothing_below_the_report_imports_it():
    back = {
        (name, other)
        for name, others in arrows(modules_of(ROOT)).items()
        for other in others
        if other.startswith(REPORT) and not name.startswith(REPORT) and name not in ABOVE_THE_REPORT
    }
    assert back == set()


def upwards(graph: Mapping[str, set[str]]) -> set[tuple[str, str]]:
    """Return the arrows from a room of the harness to one above it, or from or to one that `ROOMS` does not know."""
    height = {room: floor for floor, room in enumerate(ROOMS)}
    inside = {name: name.split(".")[2] for name in graph if name.startswith(f"{HARNESS}.")}
    return {
        (name, other)
        for name, room in inside.items()
        for other in graph[name]
        if other in inside and inside[other] != room
        if height.get(inside[other], len(ROOMS)) > height.get(room, -1)
    }


def test_no_import_runs_back_up_between_the_rooms_of_the_harness():
    graph = arrows(modules_of(ROOT))
    assert {name.split(".")[2] for name in graph if name.startswith(f"{HARNESS}.")} == set(ROOMS)
    assert upwards(graph) == set()


def test_an_import_that_runs_back_up_is_found():
    low, high, new = (f"{HARNESS}.{name}" for name in ("statistics.resamples", "report.page", "attic.box"))
    assert upwards({high: {low}, low: set()}) == set()
    assert upwards({low: {high}, high: set()}) == {(low, high)}
    assert upwards({new: {low}, low: set()}) == {(new, low)}


def test_a_circle_is_found_through_a_function_and_a_package_and_not_where_there_is_none(tmp_path):
    sources = {
        "calibration/__init__.py": "",
        "calibration/a.py": "from calibration import b",
        "calibration/b.py": "def late():\n    import calibration.c",
        "calibration/c.py": "from calibration.a import something",
        "calibration/d.py": "from typing import TYPE_CHECKING\nif TYPE_CHECKING:\n    from calibration import e",
        "calibration/e.py": "from calibration import a, d",
    }
    for name, text in sources.items():
        (tmp_path / name).parent.mkdir(exist_ok=True)
        (tmp_path / name).write_text(text)
    found = circles(arrows(modules_of(tmp_path)))
    assert found == [("calibration.a", "calibration.b", "calibration.c")]


def test_every_file_says_in_its_first_line_what_question_it_answers():
    """But for the phantom's, whose bytes are the identity of every film they drew."""
    silent = [
        name
        for name, path in modules_of(ROOT).items()
        if not name.startswith("robustness.phantom.") and name != "robustness.phantom"
        if "?" not in path.read_text(encoding="utf-8").split("\n", 1)[0]
    ]
    assert silent == []
