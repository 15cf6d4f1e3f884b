"""How is a run set up, and how does a verdict become a pytest outcome? Its options are in `suites.plugin`.

requirement met                          passed
requirement violated                     failed; on few films (exploratory) xfailed, unless --strict-verdicts
limitation confirmed                     xfailed  (here is its size)
limitation not found                     xpassed
a limitation beyond its documented size  failed
inconclusive, not evaluable              skipped, with the reason
"""

from __future__ import annotations

import os
import re
import shlex
from collections.abc import Callable, Generator, Sequence
from functools import partial
from itertools import starmap
from pathlib import Path

import pytest

from suites.harness.cache.places import caches
from suites.harness.claims import Claim, Judgement, Verdict
from suites.harness.claims_table import load_claims, table_ids
from suites.harness.cohorts.external import load_external
from suites.harness.cohorts.finding_names import read_map
from suites.harness.cohorts.layouts import load_cohort
from suites.harness.cohorts.probes import ROLES, load_probes
from suites.harness.errors import PredictionProblem, UsageProblem
from suites.harness.evaluation import Evaluation
from suites.harness.formatting import wording
from suites.harness.local_paths import spec_without_folders, without_folders
from suites.harness.record import PAGE
from suites.harness.subjects.formats import load_subject
from suites.harness.subjects.naming import with_names
from suites.harness.subjects.temperature_scaling import with_temperatures
from suites.harness.terminal_summary import print_summary
from suites.junit import CODE, locate_skip, properties, say_incomplete
from suites.limits import memory_line
from suites.options import DEFAULT_WEIGHTS, RUN, STARTED, deciding, default_data, value
from suites.outputs import Outputs, chosen_by, refuse_part, refuse_unwritable, started_with, write
from suites.progress_line import Run
from suites.termination import Termination

EVALUATION = pytest.StashKey[Evaluation]()
OUTPUTS = pytest.StashKey[Outputs]()
PROBLEM = pytest.StashKey[str]()
ASKED = pytest.StashKey[list[tuple[str, str]]]()
TERMINATION = pytest.StashKey[Termination]()
BROKEN = pytest.StashKey[bool]()
"""There where a problem of the user's ended the run: what was judged before is not written down. Whether it is one that
another run may not meet, as a service that fails."""
CRASHED = pytest.StashKey[bool]()
"""There where the code that judges a claim raised something."""
UNFINISHED = (pytest.ExitCode.INTERNAL_ERROR, pytest.ExitCode.USAGE_ERROR)


def pytest_configure(config: pytest.Config) -> None:
    """Load what the user named; whatever is wrong with it ends the run here with one line."""
    config.addinivalue_line("markers", "claims(prefix): this test judges the claims whose id begins with the prefix")
    if os.environ.get("PYTEST_XDIST_WORKER") or getattr(config.option, "numprocesses", None):
        raise pytest.UsageError("the suites share one prediction table and use every core already; run them without -n")
    if config.option.help or config.option.version:
        return
    if _judges(config):
        config.stash[TERMINATION] = Termination(config)
        config.pluginmanager.register(config.stash[TERMINATION], "termination")
    try:
        config.stash[EVALUATION] = _evaluation(config)
        run = Run(config.stash[EVALUATION], config)
        config.pluginmanager.register(run, "progress line")
        if _judges(config):
            refuse_unwritable(config, config.stash[EVALUATION])
            with run.showing():
                _ = config.stash[EVALUATION].checks  # found out before anything else; what stops it is one line, too
    except (UsageProblem, PredictionProblem) as problem:
        raise pytest.UsageError(_one_line(problem)) from problem
    except MemoryError as problem:
        raise pytest.UsageError(memory_line(problem)) from problem


def _judges(config: pytest.Config) -> bool:
    """Whether anything is judged, not only listed or planned."""
    return not config.option.collectonly and not value(config, "--plan")


def _evaluation(config: pytest.Config) -> Evaluation:
    option = partial(value, config)
    for name in ("--report", "--model-card", "--cache", "--summary"):
        _refuse_undecodable(name, option(name))
    report = option("--report")
    if report and Path(report).suffix == ".py":
        raise UsageProblem(f"--report was given {report}; write the folder to test first: {RUN} --report [DIR]")
    weights = option("--weights") or [DEFAULT_WEIGHTS]
    claims = load_claims(option("--claims"))
    _refuse_orphans(claims)
    device, recipe = str(option("--device")), option("--preprocessing")
    loaded = [
        load_subject(spec, preprocessing=recipe, device=device, precision=option("--precision")) for spec in weights
    ]
    tempered = with_temperatures(loaded, option("--temperature"))
    settings = caches(option("--cache"))
    root = settings["cache"]
    films = default_data(one.heads for one in loaded) if (given := option("--data")) is None else str(given)
    cohort = load_cohort(films, uncertain=option("--uncertain"), cache=root)
    subjects = with_names(tempered, option("--name"), taken=(PAGE, cohort.name))
    if (limit := option("--limit")) is not None:
        if limit < 1:
            raise UsageProblem(f"--limit is {limit}; expected a number of films")
        cohort = cohort.limited(limit, option("--seed"))
    probes = load_probes(cohort, {role: str(spec) for role in ROLES if (spec := option(f"--probe-{role}"))}, cache=root)
    probes |= load_external(cohort, option("--external"), taken=[probe.name for probe in probes.values()], cache=root)
    told = deciding(config)
    command = " ".join([started_with(config, STARTED), *starmap(_word, told)])
    return Evaluation(
        subjects=subjects, cohort=cohort, claims=claims, probes=probes, profile=option("--profile"),
        finding_names=read_map(option("--map")), preset=option("--preset"), resolution=option("--resolution"),
        seed=option("--seed"), workers=option("--workers"), tolerance=option("--tolerance"), quiet=True,
        command=command,
        shortened=any(spec_without_folders(given) != given for _, given in told), **settings,
    )  # fmt: skip


def _refuse_undecodable(name: str, given: object) -> None:
    """Refuse to write where the name is no text: libraries that write tables open no such file."""
    text = str(given or "")
    if text != text.encode(errors="ignore").decode():
        raise UsageProblem(f"{name}: the name {text} is no UTF-8; give the file or folder another")


def _refuse_orphans(claims: Sequence[Claim]) -> None:
    """Refuse a claim that no suite judges, whatever part of the suites is run: it would be left out without a word."""
    texts = (path.read_text(encoding="utf-8") for path in sorted(Path(__file__).parent.glob("test_*.py")))
    prefixes = tuple(prefix for text in texts for prefix in re.findall(r'mark\.claims\("([^"]+)"\)', text))
    for claim in claims:
        if not claim.id.startswith(prefixes):
            raise UsageProblem(
                f"no suite judges the claim {claim.id}; start its id like one of the suites' prefixes: "
                f"{', '.join(sorted(set(prefixes)))}"
            )


def pytest_report_header(config: pytest.Config) -> list[str]:
    """Print first what makes a subject unfit to be judged, and what was assumed of it."""
    evaluation = config.stash.get(EVALUATION, None)
    if evaluation is None or not _judges(config):
        return []
    return [*evaluation.warnings, *evaluation.assumptions, *evaluation.unfit]


def _word(option: str, given: str) -> str:
    return f"{option} {shlex.quote(spec_without_folders(given))}"


def _one_line(problem: BaseException) -> str:
    return " ".join(str(problem).split())


def pytest_generate_tests(metafunc: pytest.Metafunc) -> None:
    """Give a test one case per claim of its prefix and per subject."""
    marker = metafunc.definition.get_closest_marker("claims")
    if marker is None:
        return
    evaluation = metafunc.config.stash[EVALUATION]
    mine = [claim for claim in evaluation.claims if claim.id.startswith(marker.args)]
    cases = [(claim, subject) for claim in mine for subject in evaluation.about(claim)]
    names = [f"{claim.id}-{subject}" for claim, subject in cases]
    metafunc.parametrize(("claim", "subject"), cases, ids=names)


def pytest_itemcollected(item: pytest.Item) -> None:
    """Have `-k` find a claim by its id in the table, too, where findings are asked under another."""
    if (case := _case(item)) is not None and (own := table_ids().get(case[0])) is not None:
        item.extra_keyword_matches.add(own)


@pytest.hookimpl(trylast=True)  # after -k and -m have had their say
def pytest_collection_modifyitems(config: pytest.Config, items: list[pytest.Item]) -> None:
    """Remember which claims were asked for."""
    # A suite whose claims a table of the user's leaves out has nothing to judge; pytest would print it as skipped.
    idle = [item for item in items if item.get_closest_marker("claims") is not None and _case(item) is None]
    if idle:
        config.hook.pytest_deselected(items=idle)
        items[:] = [item for item in items if item not in idle]
    config.stash[ASKED] = [case for item in items if (case := _case(item)) is not None]
    evaluation = config.stash[EVALUATION]
    evaluation.select((claim for claim, _ in config.stash[ASKED]), chosen_by(config))
    if _judges(config):
        try:
            refuse_part(config, evaluation, len(config.stash[ASKED]))
        except UsageProblem as problem:
            raise pytest.UsageError(_one_line(problem)) from problem


def _case(item: pytest.Item) -> tuple[str, str] | None:
    """Return the claim a test judges, by id, and the subject it judges it on; None of a test that judges none."""
    parameters = item.callspec.params if isinstance(item, pytest.Function) and hasattr(item, "callspec") else {}
    claim = parameters.get("claim")
    return (claim.id, str(parameters["subject"])) if isinstance(claim, Claim) else None


@pytest.fixture(scope="session")
def evaluation(pytestconfig: pytest.Config) -> Evaluation:
    """Return the run these tests belong to."""
    return pytestconfig.stash[EVALUATION]


@pytest.fixture
def judge(evaluation: Evaluation, request: pytest.FixtureRequest) -> Callable[[Claim, str], Judgement]:
    """Return a function that judges a claim on a subject and ends the test with the matching outcome."""

    def conclude(claim: Claim, subject: str) -> Judgement:
        try:
            judgement = evaluation.judgement(claim, subject)
        except (UsageProblem, PredictionProblem, MemoryError) as problem:
            request.config.stash[BROKEN] = interrupted = isinstance(problem, PredictionProblem)
            line = memory_line(problem) if isinstance(problem, MemoryError) else _one_line(problem)
            pytest.exit(line, pytest.ExitCode.INTERRUPTED if interrupted else pytest.ExitCode.USAGE_ERROR)
        request.node.user_properties += properties(judgement)
        # JUnit carries the reason to wherever results are collected.
        told = f"{wording.settled_by(judgement).lower()}: {without_folders(judgement.reason)}"
        if judgement.beyond_documented or judgement.verdict is Verdict.VIOLATED:
            few = judgement.result is not None and judgement.result.effect.exploratory
            if few and not value(request.config, "--strict-verdicts"):
                pytest.xfail(f"{told} (few films: fails with --strict-verdicts only)")
            pytest.fail(told, pytrace=False)
        if judgement.verdict is Verdict.SUPPORTED:
            pytest.xfail(told)
        if judgement.verdict is Verdict.NOT_SUPPORTED:
            request.applymarker(pytest.mark.xfail(strict=False, reason=told))
        if judgement.verdict in {Verdict.INCONCLUSIVE, Verdict.NOT_EVALUABLE}:
            pytest.skip(told)
        return judgement

    return conclude


@pytest.hookimpl(wrapper=True)
def pytest_runtest_makereport(
    item: pytest.Item, call: pytest.CallInfo[None]
) -> Generator[None, pytest.TestReport, pytest.TestReport]:
    """Name the suite where a claim is skipped, and keep in mind where one broke: that is no verdict."""
    report = yield
    told = (pytest.fail.Exception, pytest.exit.Exception)
    broke = report.failed and call.excinfo is not None and not call.excinfo.errisinstance(told)
    if broke and _case(item) is not None:
        item.config.stash[CRASHED] = True
    locate_skip(report)
    return report


@pytest.hookimpl(tryfirst=True)
def pytest_report_teststatus(report: pytest.TestReport) -> tuple[str, str, str] | None:
    """Say a verdict in the words of the page, on the line of progress too; pytest counts it as it always does."""
    verdict = dict(getattr(report, "user_properties", ())).get(CODE)
    if verdict is None or report.when != "call" or report.failed:
        return None
    expected = "xfailed" if report.skipped else "xpassed"
    category = expected if hasattr(report, "wasxfail") else report.outcome
    words = wording.VERDICTS[Verdict(str(verdict))]
    return category, words.letter, words.word.upper()


@pytest.hookimpl(tryfirst=True)  # before pytest writes --junitxml, which may fail on its own
def pytest_sessionfinish(session: pytest.Session) -> None:
    """Write the report and the model card of whatever was judged, and hold the run against its baseline."""
    config = session.config
    if EVALUATION not in config.stash or ASKED not in config.stash or not _judges(config):
        return
    evaluation = config.stash[EVALUATION]
    if BROKEN in config.stash or session.exitstatus in UNFINISHED:
        if config.stash.get(BROKEN, bool(evaluation.judgements)):
            config.stash[PROBLEM] = "the run stopped before its end; what it computed is kept, so run it again"
        return
    judged = {(judgement.claim.id, judgement.subject) for judgement in evaluation.judgements}
    in_order = [case for item in session.items if (case := _case(item)) is not None]  # the cheap ones first
    missing = [claim for claim, subject in in_order if (claim, subject) not in judged]
    if missing:
        interrupted = session.exitstatus == pytest.ExitCode.INTERRUPTED
        how = config.stash[TERMINATION].how if interrupted else "stopped at a failure"
        evaluation.stopped = f"{how} before {missing[0]}"
    if not judged:
        if missing:
            config.stash[PROBLEM] = "the run stopped before anything was judged; what it computed is kept"
        _no_verdict_where_one_broke(session)
        return
    if evaluation.part is not None:
        say_incomplete(config, str(evaluation.part))
    outputs = config.stash[OUTPUTS] = write(config, evaluation)
    if outputs.problems:
        interrupted = outputs.interrupted
        session.exitstatus = pytest.ExitCode.INTERRUPTED if interrupted else pytest.ExitCode.USAGE_ERROR
    gate = outputs.gate
    if gate is not None and not gate.passed and session.exitstatus == pytest.ExitCode.OK:
        session.exitstatus = pytest.ExitCode.TESTS_FAILED
    _no_verdict_where_one_broke(session)


def _no_verdict_where_one_broke(session: pytest.Session) -> None:
    """End with the exit code of an internal error where the code of a claim broke: 1 would pass for a verdict."""
    if CRASHED in session.config.stash and session.exitstatus == pytest.ExitCode.TESTS_FAILED:
        session.exitstatus = pytest.ExitCode.INTERNAL_ERROR


def pytest_terminal_summary(terminalreporter: pytest.TerminalReporter, exitstatus: int, config: pytest.Config) -> None:
    """Print the verdicts so that a person understands them at a glance."""
    stash = config.stash
    if EVALUATION not in stash:
        return
    if exitstatus == pytest.ExitCode.NO_TESTS_COLLECTED:
        told = " and ".join(f"{word} {given}" for word in ("-k", "-m") if (given := config.getoption(word)))
        known = len(stash[EVALUATION].claims)
        terminalreporter.write_line(
            f"nothing was judged: {told or 'the command line'} selects none of the {known} claims; "
            f"{RUN} --collect-only lists them",
            red=True,
        )
    outputs = stash.get(OUTPUTS, Outputs())
    problems = [*filter(None, [stash.get(PROBLEM, None)]), *outputs.problems]
    print_summary(terminalreporter, stash[EVALUATION], outputs.report, problems)
    for card in outputs.cards:
        terminalreporter.write_line(f"model card: {card}")
    for wanted, written in outputs.beside:
        terminalreporter.write_line(
            f"{wanted} is of more claims and was left alone; this part is in {written}", red=True
        )
    for line in outputs.gate.lines() if outputs.gate else []:
        terminalreporter.write_line(line)
