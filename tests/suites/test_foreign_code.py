"""Whatever a user's code raises or returns is one line with their file and line, and costs no claim but its own."""

from __future__ import annotations

import importlib.util
import itertools
import signal
from dataclasses import replace
from pathlib import Path

import numpy as np
import pytest
import torch
from hypothesis import HealthCheck, given, settings
from hypothesis import strategies as st

from calibration import recalibrator
from explain import attribution
from robustness import perturbation
from robustness.attacks import attack
from suites.harness.claims import Claim
from suites.harness.cohorts.layouts import load_cohort
from suites.harness.cohorts.layouts import registry as layouts
from suites.harness.endpoints import registry as endpoints
from suites.harness.endpoints.measuring import measured_alone
from suites.harness.endpoints.uncertainty import recalibration
from suites.harness.endpoints.uncertainty import scores as all_scores
from suites.harness.endpoints.uncertainty.labelled_films import LabelledFilms
from suites.harness.errors import CohortProblem, FilmUnreadable, PredictionProblem, SubjectProblem
from suites.harness.evaluation import Evaluation
from suites.harness.foreign_code import foreign
from suites.harness.predictions.conditions import expand
from suites.harness.predictions.table import predict
from suites.harness.subjects.formats import load_subject
from suites.harness.subjects.formats import registry as formats
from suites.harness.subjects.formats.user import load_user
from tests.controls.simulated import simulated_answers
from tests.controls.subjects import Reader, cohort_of, subject_of

REGISTRIES = (attack, attribution, endpoints, formats, layouts, perturbation, recalibrator, all_scores)
NUMBERS = itertools.count()


@pytest.fixture(autouse=True)
def cleaned_up(monkeypatch):
    """Whatever a test registers is forgotten."""
    for module in REGISTRIES:
        monkeypatch.setattr(module, "_REGISTRY", dict(module._REGISTRY))


@pytest.fixture(scope="module")
def theirs(tmp_path_factory):
    """Return a function that writes a module of somebody's and imports it."""
    folder = tmp_path_factory.mktemp("user")

    def write(code: str):
        path = folder / f"theirs{next(NUMBERS)}.py"
        path.write_text(code, encoding="utf-8", errors="surrogatepass")
        spec = importlib.util.spec_from_file_location(path.stem, path)
        module = importlib.util.module_from_spec(spec)
        spec.loader.exec_module(module)
        return module

    return write


def is_told(problem: BaseException, module, line: int | None = None) -> None:
    """Hold a message to what a person can use: one short printable line with the place."""
    text = str(problem)
    assert text.isprintable(), text
    assert len(text) < 300, text
    file = Path(module.__file__).name
    assert f"{file}, line {line}" in text if line else f"{file}, line " in text, text


RAISES = """
def go():
    raise {what}
"""
EXCEPTIONS = st.sampled_from(["ValueError", "KeyError", "RuntimeError", "OSError", "AssertionError", "StopIteration",
                              "SystemExit", "KeyboardInterrupt", "BaseException", "RecursionError", "UnicodeError",
                              ])  # fmt: skip


@settings(max_examples=60, suppress_health_check=[HealthCheck.function_scoped_fixture])
@given(EXCEPTIONS, st.text(st.characters(codec="utf-8"), max_size=400))
def test_whatever_is_raised_is_one_line_with_the_place(theirs, kind, text):
    module = theirs(RAISES.format(what=f"{kind}({text!r})"))
    with pytest.raises(SubjectProblem) as caught, foreign(SubjectProblem, "it failed"):
        module.go()
    is_told(caught.value, module, 3)


def test_an_exception_that_cannot_even_be_printed(theirs):
    module = theirs("class Odd(BaseException):\n    def __str__(self): raise self\ndef go(): raise Odd")
    with pytest.raises(SubjectProblem, match="Odd") as caught, foreign(SubjectProblem, "it failed"):
        module.go()
    is_told(caught.value, module)


def test_ctrl_c_stays_ctrl_c_and_memory_that_runs_out_is_nobodys_fault(theirs):
    pressed = theirs("import signal\ndef go():\n    signal.raise_signal(signal.SIGINT)\n    return sum(range(9))")
    before = signal.signal(signal.SIGINT, signal.default_int_handler)
    try:
        with pytest.raises(KeyboardInterrupt), foreign(SubjectProblem, "it failed"):
            pressed.go()
    finally:
        signal.signal(signal.SIGINT, before)
    for text in ("MemoryError()", "RuntimeError('[enforce fail] DefaultCPUAllocator: can\\'t allocate memory')"):
        short = theirs(RAISES.format(what=text))
        with pytest.raises(MemoryError), foreign(SubjectProblem, "it failed"):
            short.go()


def test_a_fault_of_ours_keeps_its_traceback():
    ours = Claim(id="a", section="a", statement="s", kind="limitation", endpoint="score", margin=0.05)
    with pytest.raises(TypeError):
        measured_alone(endpoints.Endpoint("broken", divmod), None, ours)


SUBJECT = """
import torch
from torch import nn
from suites.harness import Preprocessing, Provenance, Subject

class Net(nn.Module):
    def __init__(self):
        super().__init__()
        self.head = nn.Linear(16, 3)
    def forward(self, x):
        return self.head(nn.functional.adaptive_avg_pool2d(x[:, :1], 4).flatten(1))

FIELDS = dict(name="mine", classes=("a", "b", "c"), network=Net(), provenance=Provenance(spec="", format="own",
    source="", sha256=""), preprocessing=Preprocessing(name="small", short_side=32, size=32))

def make():
    return {what}
"""
NOT_A_SUBJECT = st.sampled_from(["None", "5", "Net", "(Net(), 'abc')", "(Net(), (1, 2, 3))", "[]", "Subject", "b'x'"])


def test_a_factory_that_fails_is_told_with_the_one_place_where_it_failed(theirs, monkeypatch):
    module = theirs("# a comment\ndef make():\n    raise ValueError('no weights')\n")
    monkeypatch.setitem(importlib.sys.modules, module.__name__, module)
    with pytest.raises(SubjectProblem) as caught:
        load_user(f"{module.__name__}:make")
    is_told(caught.value, module, line=3)
    assert str(caught.value).count(", line ") == 1, caught.value


FIELD = st.sampled_from(["name", "classes", "network", "provenance", "preprocessing", "preprocessings", "device",
                         "temperature", "attribution_layer"])  # fmt: skip
VALUE = st.sampled_from(["None", "5", "2.5", "b'x'", "object()", "[1, 2]", "(1, 2, 3)", "{1: 2}", "'x y'", "len"])
FINE = {("temperature", "None"), ("attribution_layer", "None"), ("name", "'x y'"), ("device", "'x y'"),
        ("attribution_layer", "'x y'"), ("preprocessings", "{1: 2}")}  # fmt: skip


@settings(max_examples=60, suppress_health_check=[HealthCheck.function_scoped_fixture])
@given(st.one_of(NOT_A_SUBJECT, st.tuples(FIELD, VALUE)))
def test_whatever_a_factory_returns_is_a_subject_or_one_line(theirs, monkeypatch, what):
    made = what if isinstance(what, str) else f"Subject(**{{**FIELDS, {what[0]!r}: {what[1]}}})"
    module = theirs(SUBJECT.replace("{what}", made))
    monkeypatch.setitem(importlib.sys.modules, module.__name__, module)
    try:
        load_user(f"{module.__name__}:make")
    except SubjectProblem as problem:
        is_told(problem, module)
    else:
        assert what in FINE, "anything else is refused"


class Failing(Reader):
    """A reader that comes to a line of somebody's after so many calls."""

    def __init__(self, code, after: int) -> None:
        super().__init__()
        self.code, self.spared = code, after

    def forward(self, pixels):
        self.spared -= 1
        return self.code.go(pixels) if self.spared < 0 else super().forward(pixels)


ANSWERS = {
    "raises": "raise RuntimeError('boom')",
    "exits": "raise SystemExit(3)",
    "interrupts": "raise KeyboardInterrupt",
    "nothing": "return None",
    "numbers": "return [[1.0, 2.0, 3.0]] * len(pixels)",
    "another shape": "import torch; return torch.zeros(len(pixels), 7)",
    "complex": "import torch; return torch.zeros(len(pixels), 3, dtype=torch.cfloat)",
}


@pytest.mark.parametrize("how", ANSWERS)
def test_a_network_that_fails_at_the_first_or_a_later_film_is_named_with_it(theirs, tmp_path, how):
    code = theirs(f"def go(pixels):\n    {ANSWERS[how]}")
    raising = ANSWERS[how].startswith("raise")
    late = subject_of(Failing(code, after=1), "late")
    with pytest.raises(PredictionProblem, match=r"; images drawn8 \(clean\) to drawn11 \(gam") as caught:
        predict({"late": (late, expand(["clean", "gamma_low@3"]))}, cohort_of(12), seed=0, cache=tmp_path, quiet=True)
    place = f"{Path(code.__file__).name}, line 2" if raising else f"{Path(__file__).name}, line "
    assert place in str(caught.value), "of what returned something, where it is written"
    assert len(str(caught.value)) < 300
    early = subject_of(Failing(code, after=0), "early")
    run = Evaluation(subjects=[early], cohort=cohort_of(12), claims=[claim("classes.a", "score")], cache=tmp_path)
    with pytest.raises(SubjectProblem, match=r"shown films of drawn|showing it films of drawn"):
        _ = run.checks


def claim(name: str, endpoint: str, **parameters) -> Claim:
    asked = {"measure": "balanced_accuracy", **parameters} if endpoint == "score" else parameters
    return Claim(
        id=name, section=name, statement="s", kind="limitation", endpoint=endpoint, margin=0.05, parameters=asked
    )


FOG = """
import numpy as np
import torch
from robustness.perturbation import Perturbation, register

@register
class Fog(Perturbation):
    '''Fog. fog: grey.'''
    name, family, source = "{name}", "exposure", "here"
    levels = tuple({"fog": value} for value in (0.1, 0.2, 0.3, 0.4, 0.5))
    def perturb(self, film, level, draws):
        {body}
"""
BODIES = {
    "fine": "return film + level['fog'] * 3",
    "nothing": "return None",
    "numpy": "return np.asarray(film)",
    "another shape": "return film[:9]",
    "three channels": "return film[None].expand(3, -1, -1)",
    "not a number": "return film * float('nan')",
    "text": "return 'film'",
    "whole numbers": "return torch.ones(film.shape, dtype=torch.int64)",
    "no such key": "return film + level['frog']",
    "exits": "raise SystemExit(0)",
    "interrupts": "raise KeyboardInterrupt",
    "only once in a while": "return film if 'drawn7' != draws.image_id else 1 / 0",
}


def test_perturbations_that_fail_cost_their_own_claims_and_no_other(theirs, tmp_path):
    names = {f"fog_{how.replace(' ', '_')}": body for how, body in BODIES.items()}
    modules = {name: theirs(FOG.replace("{name}", name).replace("{body}", body)) for name, body in names.items()}
    claims = [claim(f"contrast.{name}", "stress", condition=f"{name}@3") for name in names]
    claims.append(claim("contrast.gamma", "stress", condition="gamma_low@3"))
    run = Evaluation(
        subjects=[subject_of(Reader(), "reader")], cohort=cohort_of(12), claims=claims, cache=tmp_path, quiet=True
    ).run()
    *fogs, gamma = run.judgements
    assert gamma.result is not None, gamma.reason
    assert fogs[0].result is not None, "values beyond 1 are clipped, as the contract says"
    for (name, module), fog in zip(list(modules.items())[1:], fogs[1:], strict=True):
        assert fog.result is None
        assert f"{name}@3 failed on image drawn" in fog.reason
        is_told(Exception(fog.reason), module)


ENDPOINT = """
from suites.harness.endpoints.registry import endpoint
from suites.harness.claims import Result
from dataclasses import dataclass

@endpoint("own")
def own(evidence, claim):
    '''Own.'''
    {body}
"""


@pytest.mark.parametrize(
    "body", ["return None", "return 5", "1 / 0", "raise SystemExit", "evidence.main.nothing", "return Result(effect=1)"]
)
def test_an_endpoint_that_fails_costs_its_claim_and_no_other(theirs, tmp_path, body):
    module = theirs(ENDPOINT.replace("{body}", body))
    claims = [claim("contrast.own", "own"), claim("contrast.score", "score")]
    run = Evaluation(
        subjects=[subject_of(Reader(), "reader")], cohort=cohort_of(9), claims=claims, cache=tmp_path, quiet=True
    ).run()
    own, score = run.judgements
    assert own.result is None
    is_told(Exception(own.reason), module)
    assert score.result is not None


def test_a_score_a_recalibration_and_a_map_that_fail_are_named_and_left_out(theirs, monkeypatch):
    scores = theirs("def fit(main, features, among):\n    return lambda rows, logits: {}['x']\ndef bad(*_):\n    1 / 0")
    all_scores.register("late")(scores.fit)
    all_scores.register("bad")(scores.bad)
    model = all_scores.FeatureScores.fit(simulated_answers({"clean": 1.0}, features=(2.0, 12)))
    is_told(Exception(model.problems["bad"]), scores, 4)
    with pytest.raises(all_scores.NotEvaluable, match="uncertainty score 'late' failed") as caught:
        model.other_films(np.zeros((4, 12)), np.zeros((4, 3)))
    is_told(caught.value, scores, 2)
    offset = theirs(
        "from calibration.recalibrator import Recalibrator, register\n@register('own')\nclass Own(Recalibrator):\n"
        "    @classmethod\n    def _fit(cls, *_): return {}\n    def _apply(self, logits): return logits[:3]"
    )
    monkeypatch.setattr(recalibrator, "names", lambda: ["own"])
    films = LabelledFilms.of(simulated_answers({"clean": 2.0}), "clean")
    (row,) = [row for row in recalibration.compared(films, np.arange(len(films.labels)) % 2) if row.method == "own"]
    is_told(Exception(row.problem), offset)
    method = theirs(
        "from explain.attribution import Attribution, register\n@register\nclass Own(Attribution):\n"
        "    name, source = 'own', 'here'\n    def run(self, *_): return None"
    )
    with pytest.raises(attribution.NotAttributableError, match="must return a Raw") as refused:
        attribution.get("own")(Reader(), torch.rand(1, 3, 32, 32), 0, ["film"])
    is_told(refused.value, method)


REGISTERED = {
    "perturbation": FOG.replace("{name}", "fog").replace("{body}", "return film"),
    "endpoint": ENDPOINT.replace("{body}", "return 1"),
    "attack": "from robustness.attacks.attack import Attack, register\n@register\nclass A(Attack):\n    name = 'mine'\n"
    "    def run(self, turn): pass",
    "attribution method": "from explain.attribution import Attribution, register\n@register\nclass A(Attribution):\n"
    "    name, source = 'mine', 'here'\n    def run(self, *_): pass",
    "recalibration": "from calibration.recalibrator import Recalibrator, register\n@register('mine')\n"
    "class R(Recalibrator):\n    def _apply(self, logits): pass",
    "uncertainty score": "from suites.harness.endpoints.uncertainty.scores import register\n@register('mine')\n"
    "def fit(*_): pass",
    "subject format": "from suites.harness.subjects.formats.registry import register\n"
    "@register('mine:', matches=lambda spec: spec == 'mine:')\ndef load(spec): {body}",
    "layout": "from suites.harness.cohorts.layouts.registry import register\n"
    "@register('mine', recognises=lambda spec: spec.location == 'mine')\ndef load(spec): {body}",
}


@pytest.mark.parametrize("kind", REGISTERED)
def test_two_of_one_name_are_told_with_both_places(theirs, kind):
    first = theirs(REGISTERED[kind].replace("{body}", "pass"))
    with pytest.raises(Exception, match=f"two {kind}s are called") as caught:
        theirs(REGISTERED[kind].replace("{body}", "pass"))
    text = str(caught.value)
    assert text.count(".py, line ") == 2, text
    assert Path(first.__file__).name in text
    assert len(text) < 300


@pytest.mark.parametrize("body", ["return None", "return 5", "1 / 0", "raise SystemExit"])
def test_a_format_and_a_layout_that_give_nothing_are_named(theirs, body):
    module = theirs(REGISTERED["subject format"].replace("{body}", body))
    with pytest.raises(SubjectProblem, match=r"the (loader of the )?format 'mine:'") as caught:
        load_subject("mine:")
    is_told(caught.value, module)
    module = theirs(REGISTERED["layout"].replace("{body}", body))
    with pytest.raises(CohortProblem, match=r"the (loader of the )?layout 'mine'") as refused:
        load_cohort("mine")
    is_told(refused.value, module)


@pytest.mark.parametrize("body", ["None", "1 / 0", "exit(1)", "draw(row).pixels"])
def test_a_decoder_that_fails_leaves_out_its_film_and_says_why(theirs, body):
    module = theirs(f"from tests.controls.films import draw\ndef decode(row): return {body}")
    cohort = replace(cohort_of(3), decode=module.decode)
    with pytest.raises(FilmUnreadable) as caught:
        cohort.opened(cohort.rows()[0])
    is_told(caught.value, module, 2)
