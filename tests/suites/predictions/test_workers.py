"""Several local processes: the bytes of one, whoever dies; what goes wrong in a worker is one line here."""

from __future__ import annotations

import json
import multiprocessing
import os
import re
import signal
import subprocess
import sys
import time
from dataclasses import asdict, replace
from pathlib import Path

import numpy as np
import pytest
import torch

from suites.harness.claims import Claim
from suites.harness.endpoints.adversarial.runs import attack
from suites.harness.endpoints.adversarial.runs.transfer import transferred
from suites.harness.endpoints.adversarial.runs.universal import patterns
from suites.harness.endpoints.explanations.attribution import attribute, sanity
from suites.harness.endpoints.explanations.border_occlusion import _probed
from suites.harness.errors import PredictionProblem, UsageProblem
from suites.harness.evaluation import Evaluation
from suites.harness.predictions import blocks, dispatching, local_processes
from suites.harness.predictions.answers import Answers
from suites.harness.predictions.dispatching import THIS_PROCESS
from suites.harness.predictions.feature_and_dropout_passes import dropout_passes, features_under
from suites.harness.predictions.local_processes import LocalProcesses
from suites.harness.predictions.table import predict
from suites.harness.predictions.tolerance import keep_others, kept_others, within
from suites.harness.predictions.worker_process import HARDWARE, LOGITS, standing
from suites.harness.predictions.workers import workers_of
from suites.harness.progress import Progress
from tests.suites.predictions.mortal import BROKEN, CONDITIONS, DOOM, arm, cohort_of, renamed, subject_of

FILMS = 6
"""Of a block, here."""
MANY = 6 * FILMS + 2
CLAIM = Claim(
    id="contrast.a", section="S", statement="s", kind="limitation", endpoint="stress", margin=0.3,
    parameters={"condition": "gamma_low@3", "conditions": ["gamma_low@1-5"]},
)  # fmt: skip
ROOT = Path(__file__).parents[3]


@pytest.fixture(autouse=True)
def small_blocks(monkeypatch):
    monkeypatch.setattr(blocks, "FILMS", FILMS)


@pytest.fixture(scope="module")
def fatal(tmp_path_factory):
    """The file by which the subject is told to die or fail; workers inherit its name."""
    os.environ[DOOM] = str(tmp_path_factory.mktemp("fatal") / "pass")
    yield Path(os.environ[DOOM])
    del os.environ[DOOM]


@pytest.fixture(scope="module")
def pool(fatal):
    """Two processes, started once; they load their subject once."""
    started = LocalProcesses(2, [subject_of()])
    yield started
    started.close()


@pytest.fixture(scope="module")
def undisturbed(tmp_path_factory):
    folder = tmp_path_factory.mktemp("undisturbed")
    with pytest.MonkeyPatch.context() as patch:
        patch.setattr(blocks, "FILMS", FILMS)
        return folder, *answered(folder)


def answered(cache: Path, by=THIS_PROCESS, films: int = MANY):
    progress = Progress()
    subject = subject_of()
    found = predict(
        {subject.name: (subject, CONDITIONS)}, cohort_of(films), seed=0, cache=cache, quiet=True, progress=progress,
        workers=by,
    )[subject.name]  # fmt: skip
    return found, progress.work["predicting"]


def files(cache: Path) -> dict[str, bytes]:
    return {str(path.relative_to(cache)): path.read_bytes() for path in sorted(cache.rglob("*.parquet"))}


def alike(cache: Path, found, progress, undisturbed) -> bool:
    """Whether these are the bytes of an undisturbed run, in table and shards, and nothing was told twice."""
    folder, wanted, told = undisturbed
    found.table.to_parquet(cache / "table.parquet")
    wanted.table.to_parquet(cache / "wanted.parquet")
    tables = (cache / "table.parquet").read_bytes() == (cache / "wanted.parquet").read_bytes()
    for name in ("table", "wanted"):
        (cache / f"{name}.parquet").unlink()
    rest = found.features.tobytes() == wanted.features.tobytes() and found.excluded.equals(wanted.excluded)
    counted = (progress.done, progress.decoded) == (told.done, told.decoded)
    return tables and rest and found.notes == wanted.notes and counted and files(cache) == files(folder)


@pytest.mark.parametrize("at_pass", [0, 9], ids=["undisturbed", "one dies in the middle"])
def test_two_workers_give_the_bytes_of_one_process_whoever_dies(tmp_path, pool, fatal, undisturbed, at_pass):
    if at_pass:
        arm(fatal, at_pass)
    found, progress = answered(tmp_path, pool)
    assert not fatal.exists(), "whoever was to die is dead"
    assert alike(tmp_path, found, progress, undisturbed)
    assert found.computed == (MANY - 1) * len(CONDITIONS) if not at_pass else found.computed > 0


def test_the_results_of_a_run_are_the_same_bytes_with_workers(tmp_path, pool, monkeypatch):
    """Through the whole run, down to its files; the pool stands for the workers the run would start."""
    monkeypatch.setattr(
        "suites.harness.predicted_run.workers_of", lambda count, subjects: pool if count > 1 else THIS_PROCESS
    )
    subject = subject_of()
    for count in (1, 2):
        run = Evaluation(
            subjects=[subject], cohort=cohort_of(60), claims=[CLAIM], cache=tmp_path / f"cache{count}", quiet=True,
            workers=count,
        )  # fmt: skip
        run.run().report(tmp_path / f"report{count}")
    for name in ("predictions.parquet", "results.csv", "films.csv", "results.json"):
        one, two = ((tmp_path / f"report{count}" / name).read_bytes() for count in (1, 2))
        if name == "results.json":  # but for when it was, and how long it took
            one, two = (re.sub(rb'"(started|seconds)": [^,]+,', b"", data) for data in (one, two))
        assert one == two, name


def test_passes_beyond_the_table_are_the_same_bytes_with_workers(tmp_path, pool, fatal, undisturbed):
    """Features of changed films and dropout; one worker dies in the middle of the second."""
    found = []
    for name, by in (("one", THIS_PROCESS), ("two", pool)):
        _, predicted, _ = undisturbed
        answers = Answers.of(subject_of(), cohort_of(MANY), predicted, seed=0, workers=by)
        features = features_under(answers, "gamma_low@3", tmp_path / name)
        if by is pool:
            arm(fatal, 5)
        passes = dropout_passes(answers, "clean", tmp_path / name)
        found.append((features.tobytes(), passes.tobytes(), files(tmp_path / name)))
        assert features.shape == (MANY - 1, 4)
        assert passes.shape == (16, MANY - 1, 3)
        assert passes.std(axis=0).max() > 0.01
        assert not fatal.exists()
    assert found[0] == found[1]


def beyond_the_table(cache: Path, by, undisturbed, kill=None) -> tuple[list[object], dict[str, bytes]]:
    """What attacks, one pattern for all films, transfer and saliency find; and the files they leave."""
    _, predicted, _ = undisturbed
    answers = Answers.of(subject_of(), cohort_of(MANY), predicted, seed=0, workers=by)
    (kill or str)()
    noise = attack(answers, "quick", cache, protocol="noise").found.results
    maps = attribute(answers, np.arange(12), "integrated gradients", cache).maps
    checked = sanity(answers, np.arange(12), "integrated gradients", cache)
    pattern = patterns(answers, "quick", cache)
    shown = transferred([answers, replace(answers, subject=renamed(answers.subject, "mortal"))], "quick", cache)
    covered = _probed(answers, np.arange(12), cache)
    found = [
        str([asdict(replace(one, film=None, stored=None)) for one in noise]), maps.maps.tobytes(), str(maps.passes),
        checked.told, checked.own.tobytes(), pattern.rows.to_csv(), str(sorted(pattern.patterns)), shown.to_csv(),
        covered.to_csv(),
    ]  # fmt: skip
    return found, files(cache)


def test_attacks_and_saliency_are_the_same_bytes_with_workers(tmp_path, pool, fatal, undisturbed):
    """One worker dies in the middle of an attack."""
    one = beyond_the_table(tmp_path / "one", THIS_PROCESS, undisturbed)
    two = beyond_the_table(tmp_path / "two", pool, undisturbed, lambda: arm(fatal, 9))
    assert not fatal.exists(), "whoever was to die is dead"
    assert one == two
    assert {Path(name).parts[0] for name in one[1]} == {
        "attacks", "map-checks", "maps", "shortcut-probe", "transfer", "universal",
    }  # fmt: skip


def test_what_is_finished_starts_no_workers(tmp_path, undisturbed, monkeypatch):
    monkeypatch.setattr(local_processes.multiprocessing, "get_context", None)
    known, subject = cohort_of(MANY - BROKEN - 1, known=True, first=BROKEN + 1), subject_of()
    asked = {subject.name: (subject, CONDITIONS)}
    first = predict(asked, known, seed=0, cache=tmp_path, quiet=True)[subject.name]
    again = predict(asked, known, seed=0, cache=tmp_path, quiet=True, workers=LocalProcesses(2, [subject]))
    assert again[subject.name].table.equals(first.table)


KILLED = """
import os, sys
from pathlib import Path
from suites.harness.cache import block_shards
from suites.harness.predictions import blocks
from suites.harness.predictions.table import predict
from tests.suites.predictions import mortal
blocks.FILMS, block_shards.FLUSH_SECONDS = {films}, 0.02
folder = Path(sys.argv[1])
for moment in map(int, sys.argv[2:]):
    if not (child := os.fork()):
        os.environ[mortal.DOOM] = str(folder / f"{{moment}}.pass")
        mortal.arm(folder / f"{{moment}}.pass", moment)
        asked = {{"mortal": (mortal.subject_of(), mortal.CONDITIONS)}}
        predict(asked, mortal.cohort_of({many}), seed=0, cache=folder / str(moment), quiet=True)
    print(os.waitstatus_to_exitcode(os.waitpid(child, 0)[1]))
"""


def test_a_run_killed_at_any_moment_goes_on_to_the_same_bytes(tmp_path, undisturbed):
    """SIGKILL at chosen passes of the network, the first and the last among them: no chance to clean up."""
    moments = (1, 3, 8, 18)
    environment = os.environ | {"PYTHONPATH": str(ROOT)}
    command = [sys.executable, "-c", KILLED.format(films=FILMS, many=MANY), str(tmp_path), *map(str, moments)]
    told = subprocess.run(command, env=environment, cwd=ROOT, capture_output=True, text=True, check=True)
    assert told.stdout.split() == [str(-signal.SIGKILL)] * len(moments), told.stderr
    for moment in moments:
        cache = tmp_path / str(moment)
        left = len(list(cache.rglob("part-*")))
        found, progress = answered(cache)
        assert alike(cache, found, progress, undisturbed)
        assert found.computed <= (MANY - 1) * len(CONDITIONS) - left


def test_an_error_of_the_users_code_in_a_worker_is_the_line_it_is_in_one_process(tmp_path, fatal):
    told = []
    for name, by in (("one", THIS_PROCESS), ("two", LocalProcesses(2, [subject_of()]))):
        arm(fatal, 1, "fail")
        with pytest.raises(PredictionProblem, match=r"mortal.py, line \d+\)?; images film0 \(clean\)") as problem:
            answered(tmp_path / name, by, films=2)
        told.append(str(problem.value))
        assert by is THIS_PROCESS or not by._workers, "they are gone"
    assert told[0] == told[1]
    found, _ = answered(tmp_path / "two", films=2)
    assert found.computed == 2 * (len(CONDITIONS) - 1), "that white-out has no meaning for these films was kept"


def test_a_worker_that_is_killed_while_it_starts_is_replaced_a_few_times(tmp_path, monkeypatch):
    started = []

    class Nobody:
        exitcode = -9

        def join(self, timeout=None):
            pass

        def terminate(self):
            pass

        def is_alive(self):
            return False

    def start(self, number):
        here, there = multiprocessing.Pipe()
        there.close()
        worker = local_processes._LocalWorker(number=number, process=Nobody(), connection=here)
        started.append(worker)
        self._workers.append(worker)
        return worker

    monkeypatch.setattr(LocalProcesses, "_start", start)
    with pytest.raises(UsageProblem, match=r"before it could begin \(killed by signal 9\); where memory is short"):
        answered(tmp_path, LocalProcesses(1, [subject_of()]), films=2)
    assert len(started) == dispatching.MOST_DEATHS
    Nobody.exitcode = 1
    started.clear()
    with pytest.raises(UsageProblem, match=r"before it could begin \(exit code 1\).*__main__"):
        answered(tmp_path, LocalProcesses(1, [subject_of()]), films=2)
    assert len(started) == 1


def test_workers_that_keep_dying_end_the_run_with_one_line(tmp_path, fatal, monkeypatch):
    monkeypatch.setattr(dispatching, "MOST_DEATHS", 1)
    arm(fatal, 1)
    with pytest.raises(
        UsageProblem, match=r"died while they answered the films film0 to film1 \(killed by signal 9\)"
    ) as told:
        answered(tmp_path, LocalProcesses(2, [subject_of()]), films=2)
    assert len(str(told.value)) < 300


ORPHANED = """
import sys
from pathlib import Path
from suites.harness.predictions.answers import Answers
from suites.harness.predictions.feature_and_dropout_passes import dropout_passes, features_under
from suites.harness.predictions.local_processes import LocalProcesses
from suites.harness.predictions.table import predict
from tests.suites.predictions import mortal
subject = mortal.subject_of()
asked, by = {{"mortal": (subject, mortal.CONDITIONS)}}, LocalProcesses(2, [subject])
predict(asked, mortal.cohort_of({films}), seed=0, cache=Path(sys.argv[1]), quiet=True, workers=by)
"""


@pytest.mark.slow
@pytest.mark.parametrize("how", [signal.SIGKILL, signal.SIGTERM])
def test_workers_end_with_the_run_that_started_them_and_keep_what_they_had(tmp_path, fatal, how):
    """The one worker waits in the middle of a block when the run is killed; nobody is left, and nothing is lost."""
    arm(fatal, 3, "wait")
    script = ORPHANED.format(films=FILMS - 1)
    environment = os.environ | {"PYTHONPATH": str(ROOT)}
    run = subprocess.Popen([sys.executable, "-c", script, str(tmp_path)], env=environment, cwd=ROOT)
    waiting = fatal.with_suffix(".waiting")
    while not (waiting.exists() and waiting.read_text()) and run.poll() is None:
        time.sleep(0.05)
    worker = int(waiting.read_text())
    waiting.unlink()
    run.send_signal(how)
    assert run.wait() == -how
    while Path(f"/proc/{worker}").exists():
        time.sleep(0.05)
    (part,) = tmp_path.rglob("part-*.parquet")
    found, _ = answered(tmp_path, films=FILMS - 1)
    assert found.computed < (FILMS - 1) * len(CONDITIONS)
    whole, _ = answered(tmp_path / "undisturbed", films=FILMS - 1)
    assert found.table.equals(whole.table)
    assert not part.exists()


def test_a_worker_of_another_kind_is_refused_by_name():
    subject = subject_of()
    mine = standing([subject])
    one = LocalProcesses(2, [subject])
    one._admit(mine)
    assert {"torch", "chest-xray-reliability", "device", "threads of torch", "the subject mortal"} <= set(mine)
    for name in mine:
        with pytest.raises(UsageProblem, match="would give other digits than this one: ") as told:
            one._admit(mine | {name: "other"})
        assert f"{name} is other there" in str(told.value)
        assert len(str(told.value)) < 300
    with pytest.raises(UsageProblem, match="cudnn is 9 there, not there here"):
        one._admit(mine | {"cudnn": "9"})


def tolerant(tolerance: float = 1e-3) -> LocalProcesses:
    return LocalProcesses(2, within([subject_of()], tolerance))


def test_within_a_tolerance_other_hardware_is_taken_and_named_and_nothing_else_is():
    one = tolerant()
    mine = one._here
    logits = json.loads(mine["logits of test films by mortal"])
    assert len(logits) == 8 * 3
    far = mine | {"logits of test films by mortal": json.dumps([logits[0] + 2e-3, *logits[1:]])}
    near = mine | {"logits of test films by mortal": json.dumps([logits[0] + 5e-4, *logits[1:]])}
    gpu = {"device": "cuda NVIDIA X, CUDA 13, cuDNN 9", "driver of the GPU": "600.1"}
    one._admit(near | gpu)
    one._admit(mine | {"instructions of the CPU": "SIMPLE"})
    assert list(one.others) == [
        "device cuda NVIDIA X, CUDA 13, cuDNN 9, driver of the GPU 600.1", "instructions of the CPU SIMPLE",
    ]  # fmt: skip
    assert [round(apart, 6) for apart in one.others.values()] == [5e-4, 0.0]
    with pytest.raises(UsageProblem, match=r"mortal answers test films with logits up to 0.002 apart on a worker"):
        one._admit(far | gpu)
    with pytest.raises(UsageProblem, match="up to nan apart"):
        one._admit(mine | {"logits of test films by mortal": json.dumps([float("nan")] * len(logits))})
    for name in mine:
        if name not in HARDWARE and not name.startswith(LOGITS):
            with pytest.raises(UsageProblem, match="would give other digits than this one: "):
                one._admit(mine | gpu | {name: "other"})


def test_answers_within_a_tolerance_are_kept_apart_and_what_gave_them_is_found_again(tmp_path):
    exact, near, far = subject_of(), *within([subject_of()], 1e-4), *within([subject_of()], 1e-3)
    assert "tolerance" not in exact.cache_key
    assert len({json.dumps(one.cache_key, sort_keys=True) for one in (exact, near, far)}) == 3
    assert near.cache_key["device"] == "cpu"
    keep_others(tmp_path, [near], {"device cuda X": 1e-5})
    keep_others(tmp_path, [near], {"device cuda X": 3e-5, "device cuda Y": 0.0})
    assert kept_others(tmp_path, [near]) == {"device cuda X": 3e-5, "device cuda Y": 0.0}
    assert kept_others(tmp_path, [far]) == {}
    told = []
    for tolerance in (None, 1e-4, 1e-3):
        run = Evaluation(
            subjects=[exact], cohort=cohort_of(3), claims=[CLAIM], cache=tmp_path, quiet=True, tolerance=tolerance
        )
        told.append(run.hardware())
    assert told[0] == []
    assert "may lie 0.0001 apart. Others than the first process: device cuda X (up to 3e-05 apart)" in told[1][0]
    assert "other hardware were allowed (tolerance 0.001 of a logit); there was none" in told[2][0]
    (kept, *_) = tmp_path.glob("hardware-*.json")
    kept.write_text("[]")
    with pytest.raises(UsageProblem, match="does not say which hardware answered; remove it"):
        kept_others(tmp_path, [near])


@pytest.mark.parametrize("given", [0, -1e-4, 2, float("nan"), float("inf"), True, "1e-4"])
def test_what_is_no_tolerance_is_refused(given):
    with pytest.raises(UsageProblem, match="expected how far logits may lie apart, above 0 and at most 1"):
        within([subject_of()], given)


def test_what_no_other_process_can_have_is_one_line(tmp_path):
    subject = replace(subject_of(), network=None, respond=lambda films: torch.zeros(len(films), 3))
    with pytest.raises(UsageProblem, match=r"mortal cannot be handed to worker processes; define its code in a module"):
        predict(
            {"mortal": (subject, CONDITIONS[:1])}, cohort_of(2), seed=0, cache=tmp_path, quiet=True,
            workers=LocalProcesses(2, [subject]),
        )  # fmt: skip


@pytest.mark.parametrize("count", [0, -1, 257, 10**9, True, 1.5, "2", None])
def test_what_is_no_number_of_processes_is_refused(count):
    with pytest.raises(UsageProblem, match="expected a number of processes, 1 to 256"):
        workers_of(count, [])
    with pytest.raises(UsageProblem, match="expected a number of processes"):
        Evaluation(subjects=[subject_of()], cohort=cohort_of(3), claims=[CLAIM], workers=count)


def test_ctrl_c_ends_the_workers_and_what_they_had_is_kept(tmp_path, pool, undisturbed):
    """Pressed while the workers are at it; they are told to end, and keep what they have answered."""

    class Impatient(Progress):
        def done(self, units: int = 1) -> None:
            super().done(units)
            if self.work["predicting"].done > 20:
                raise KeyboardInterrupt

    subject = subject_of()
    with pytest.raises(KeyboardInterrupt):
        predict(
            {subject.name: (subject, CONDITIONS)}, cohort_of(MANY), seed=0, cache=tmp_path, quiet=True,
            progress=Impatient(), workers=pool,
        )  # fmt: skip
    assert not pool._workers
    found, progress = answered(tmp_path)
    assert alike(tmp_path, found, progress, undisturbed)
    assert found.computed < (MANY - 1) * len(CONDITIONS)
