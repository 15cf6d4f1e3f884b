"""What if the user's own code exits, raises, or answers something else? The line names the file and line."""

from __future__ import annotations

import random
from pathlib import Path
from typing import Any

from suites.harness import evaluate, load_subject
from tests.controls.films import cohort_of
from tests.hostile import material
from tests.hostile.case import Case, either, generator, refused
from tests.hostile.command import Finished, suites

HEAD = """
import sys, torch
from torch import nn
from suites.harness import Normalised, Preprocessing, Provenance, Subject

class Network(nn.Module):
    calls = 0
    def __init__(self):
        super().__init__()
        self.scale = nn.Parameter(torch.tensor(3.0))
    def forward(self, pixels):
        Network.calls += 1
        grey = pixels.mean(dim=(1, 2, 3)) * self.scale
        logits = torch.stack([grey, 1 - grey, grey * 0.3], dim=1)
        {forward}
        return logits

def subject(**changes):
    given = dict(name="mine", classes=("bacterial_pneumonia", "normal", "viral_pneumonia"), network=Network(),
                 provenance=Provenance(spec="mine", format="user", source="here", sha256="none"),
                 preprocessing=Preprocessing(name="small", short_side=32, size=32))
    return Subject(**(given | changes))

def factory():
    {factory}
    return subject()
"""
RAISES = [
    "sys.exit(3)", "sys.exit('a\\nb')", "raise KeyboardInterrupt", "raise SystemExit",
    "raise Exception('a\\nb\\x1b[31m')",
    "raise ValueError('x' * 100000)", "raise BaseException('mine')", "1 / 0", "{}['nothing']",
    "open('/nowhere/at/all')", "raise GeneratorExit", "raise RecursionError('deep')", "assert False",
    "(lambda f: f(f))(lambda f: f(f))",
    "raise StopIteration",
    "raise UnicodeDecodeError('utf-8', b'\\xff', 0, 1, 'x')", "raise ExceptionGroup('many', [ValueError('one')])",
    "class Odd(Exception):\n        def __str__(self): raise ValueError('no text')\n    raise Odd",
]  # fmt: skip
RETURNS = [
    "return None",
    "return 3",
    "return Network()",
    "return [subject()]",
    "return 'bundled:fragile'",
    "return Subject",
]
SUBJECTS = [
    "classes=()", "classes=('a',)", "classes=('normal', 'normal', 'b')", "classes=(1, 2, 3)", "classes='abc'",
    "classes=None",
    "classes=('a\\nb', 'normal', 'c')", "classes=('x' * 100000, 'normal', 'c')", "name=''", "name=3", "name='a\\nb'",
    "name='x' * 5000",
    "network=None", "network=3", "network=lambda pixels: pixels", "preprocessing=None", "preprocessing='hub'",
    "provenance=None",
    "preprocessing=Preprocessing(name='x', size=0)", "device='moon'", "respond=3",
    "network=None, respond=lambda films: 3",
    "attribution_layer='no such layer'", "temperature=2.0", "nothing=1", "network=nn.Linear(2, 2)",
]  # fmt: skip
FORWARDS = [
    "return logits[:, :2]", "return logits[0]", "return logits.T", "return (logits, logits)",
    "return {'logits': logits}", "return None",
    "return logits.tolist()", "return 3", "return logits[:1]", "return logits[..., None]", "return logits * torch.nan",
    "return logits.to_sparse()", "return logits.to('meta')", "return logits.to(torch.complex64)",
    "return logits.argmax(1)", "return torch.quantize_per_tensor(logits, 0.1, 0, torch.qint8)", "return logits.numpy()",
    "return torch.stack([logits, logits])", "return logits[:, :0]",
]  # fmt: skip


def _module(rng: random.Random, place: Path, forward: str = "pass", factory: str = "pass") -> str:
    name = f"hostile_{rng.getrandbits(40):x}"
    text = HEAD.replace("{forward}", forward.replace("\n    ", "\n        ")).replace("{factory}", factory)
    (place / f"{name}.py").write_text(text)
    return name


@generator("user_code", share=60)
def factories(rng: random.Random, place: Path) -> Case:
    body = rng.choice(RAISES + RETURNS)
    name = _module(rng, place, factory=body)
    return refused(
        lambda: load_subject(f"{name}:factory"),
        what=f"factory: {body}",
        where=f"{name}.py" if body in RAISES else name,
    )


@generator("user_code", share=50)
def subjects(rng: random.Random, place: Path) -> Case:
    body = f"return subject({rng.choice(SUBJECTS)})"
    name = _module(rng, place, factory=body)

    def right(found: Any) -> object:
        printable = all(isinstance(text, str) and text.isprintable() and text for text in (found.name, *found.classes))
        return (printable and len(found.classes) == 3) or f"{found.name!r}, {found.classes!r}"

    return either(lambda: load_subject(f"{name}:factory"), right, what=body)


@generator("user_code", share=60)
def forward_passes(rng: random.Random, place: Path) -> Case:
    body = rng.choice(RAISES + FORWARDS)
    name = _module(rng, place, forward=body)
    return refused(
        lambda: load_subject(f"{name}:factory"),
        what=f"forward: {body}",
        where=f"{name}.py" if body in RAISES else "mine|" + name,
    )


@generator("user_code", share=30)
def modules(rng: random.Random, place: Path) -> Case:
    """Modules that cannot be imported, or do not hold what was named."""
    body = rng.choice([
        "import nothing_like_this", "def (", "raise SystemExit('a')", "import sys; sys.exit(2)",
        "raise KeyboardInterrupt", "1 / 0",
        "factory = 3", "", "class factory:\n    pass", "\0", "import " + "x" * 5000, "raise ValueError('a\\nb')",
        "factory = None",
        "from suites.harness import nothing_like_this", "# coding: nothing", "factory = lambda: 1 / 0",
    ])  # fmt: skip
    name = f"hostile_{rng.getrandbits(40):x}"
    (place / f"{name}.py").write_text(body)
    return refused(lambda: load_subject(f"{name}:factory"), what=f"module: {body[:60]!r}", where=name)


@generator("user_code", share=24)
def forward_passes_in_a_run(rng: random.Random, place: Path) -> Case:
    """They pass the rehearsal and fail among the films."""
    body = rng.choice(RAISES[:8] + FORWARDS[:4] + FORWARDS[10:12])
    name = _module(rng, place, forward=f"if Network.calls > {rng.choice([3, 9, 20])}:\n            {body}")

    def act() -> Any:
        return evaluate(f"{name}:factory", cohort_of(12), claims=material.claims_file(), cache=place / "cache")

    return either(act, lambda run: len(run.judgements) == 2, what=f"forward, later: {body}", where=f"{name}.py|mine")


@generator("user_code", share=6)
def options_and_conftests(rng: random.Random, place: Path) -> Case:
    """The same, on the command line."""
    body = rng.choice(RAISES[:6])
    name = _module(rng, place, factory=body) if rng.random() < 0.5 else _module(rng, place, forward=body)
    words = [
        f"--weights={name}:factory",
        f"--data={material.films_folder()}",
        "--cache=cache",
        f"--claims={material.claims_file()}",
    ]
    return refused(lambda: suites(place, *words), what=f"command line: {body}", where=f"{name}.py")


@generator("user_code", share=4)
def a_checkout_of_its_own(rng: random.Random, place: Path) -> Case:
    """A folder with a conftest.py that knows the same options is where a person works; its files are not run."""
    name = _module(rng, place)
    (place / "conftest.py").write_text(
        "import pytest\ndef pytest_addoption(parser):\n    parser.addoption('--data')\n    parser.addoption('--seed')\n"
    )
    (place / "pytest.ini").write_text("[pytest]\naddopts = --nothing\n")
    words = [
        f"--weights={name}:factory",
        f"--data={material.films_folder()}",
        "--cache=cache",
        f"--claims={material.claims_file()}",
    ]

    def right(found: Finished) -> object:
        return found.code in (0, 1) or found.text[-300:]

    return either(lambda: suites(place, *words), right, what="conftest.py with the same options")
