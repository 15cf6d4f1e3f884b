"""Networks that answer differently never share a digest: objects of libraries, odd containers, patched libraries."""

from __future__ import annotations

import array
import enum
import functools
import math
import subprocess
import sys
import threading
import weakref
from collections import defaultdict, deque
from concurrent.futures import ThreadPoolExecutor
from fractions import Fraction
from pathlib import Path
from types import SimpleNamespace

import numpy as np
import pytest
import timm
import torch
import torchvision.transforms as T
from sklearn.linear_model import LogisticRegression
from torch import nn
from torch.nn.modules.module import register_module_forward_hook
from torch.nn.utils import parametrize

from suites.harness import load_subject
from suites.harness.subjects import library_code, network_digest
from suites.harness.subjects.network_digest import digest_of, digest_of_network, not_told
from suites.harness.subjects.preprocessing import Preprocessing
from suites.harness.subjects.subject import Provenance, Subject


class Held(nn.Module):
    """Keeps anything as a plain attribute."""

    def __init__(self, held: object, name: str = "held") -> None:
        super().__init__()
        setattr(self, name, held)


class Slotted:
    __slots__ = ("gain",)

    def __init__(self, gain: float) -> None:
        self.gain = gain


class Gain(float):
    """A number with something beside it."""

    shift = 0.0


class Table(dict):
    """A mapping with something beside it."""


def _head(weight: float) -> LogisticRegression:
    head = LogisticRegression()
    head.coef_, head.intercept_ = np.array([[weight]]), np.zeros(1)
    return head


def _beside(value, gain):
    value.shift = gain
    return value


def _enumerated(gain: float) -> enum.Enum:
    return enum.Enum("Level", {"ONE": gain}).ONE


def _with_attribute(gain):
    def function(x):
        return x * function.k

    function.k = gain
    return function


def _dressed(gain):
    @functools.wraps(nn.functional.relu)
    def function(x):
        return x * gain

    return function


def _remembered(gain):
    @functools.lru_cache
    def function(x):
        return x * gain

    return function


def _called(gain):
    class Named:
        def __init__(self):
            functools.update_wrapper(self, torch.relu)

        def __call__(self, x):
            return x * gain

    return Named()


def _applied(gain):
    class Scaled(torch.autograd.Function):
        @staticmethod
        def forward(_, x):
            return x * gain

    return Scaled.apply


MADE = {
    "a transform": lambda gain: T.Compose([T.Normalize([gain], [0.25])]),
    "a distribution": lambda gain: torch.distributions.Normal(gain, 1.0),
    "a head of scikit-learn": _head,
    "a namespace": lambda gain: SimpleNamespace(weight=torch.full((2,), gain)),
    "slots": Slotted,
    "a deque": lambda gain: deque([gain]),
    "an array of Python's": lambda gain: array.array("d", [gain]),
    "bytes that change": lambda gain: bytearray([int(gain)]),
    "a fraction": Fraction,
    "an array of objects": lambda gain: np.array([Slotted(gain)], dtype=object),
    "a mapping with a default": lambda gain: defaultdict(lambda: gain),
    "a number of a class of ones own": lambda gain: _beside(Gain(1.0), gain),
    "a mapping of a class of ones own": lambda gain: _beside(Table(), gain),
    "the value of an enumeration": _enumerated,
    "an attribute of a function": _with_attribute,
    "a function dressed as a library's": _dressed,
    "a function with a memory": _remembered,
    "an object dressed as a function": _called,
    "a method bound to a list": lambda gain: [gain].__getitem__,
    "an operation with its own gradient": _applied,
    "a weak reference": lambda gain: weakref.ref(KEPT.setdefault(gain, nn.PReLU(init=gain))),
    "a function of a library that holds one": lambda gain: np.vectorize(lambda x: x * gain),
    "a polynomial": lambda gain: np.polynomial.Polynomial([gain]),
}
KEPT: dict[float, nn.Module] = {}


@pytest.mark.parametrize("what", MADE)
def test_what_an_object_holds_is_in_the_digest(what):
    make = MADE[what]
    torch.manual_seed(0)
    one, again, other = (Held(make(gain)) for gain in (1.0, 1.0, 2.0))
    assert digest_of_network(one) != digest_of_network(other)
    assert digest_of_network(one) == digest_of_network(again), "what is equal is found again"
    assert not not_told(one)


@pytest.mark.parametrize("name", ["hooks_scale", "my_hooks", "_hooks"])
def test_an_attribute_called_after_hooks_is_a_setting(name):
    assert digest_of_network(Held(1.0, name)) != digest_of_network(Held(2.0, name))


def test_functions_that_a_library_made_are_told_apart():
    pools = (nn.functional.max_pool2d, nn.functional.max_pool1d, nn.functional.adaptive_max_pool2d)
    assert len({digest_of(pool) for pool in pools}) == len(pools)


def _doubled(x: torch.Tensor) -> torch.Tensor:
    return x * 2


def _halved(x: torch.Tensor) -> torch.Tensor:
    return x * 0.5


@pytest.mark.filterwarnings("ignore:.*torch.jit:FutureWarning", "ignore:.*torch.jit:DeprecationWarning")
@pytest.mark.parametrize("wrap", [torch.jit.script, torch.compile, torch.no_grad()])
def test_functions_that_a_library_wrapped_are_told_apart(wrap):
    one, again, other = digest_of(wrap(_doubled)), digest_of(wrap(_doubled)), digest_of(wrap(_halved))
    assert one == again
    assert one != other


def test_what_stands_under_a_parametrisation_is_the_users_own():
    def network(gain):
        class Net(nn.Module):
            def __init__(self):
                super().__init__()
                self.weight = nn.Parameter(torch.ones(2))

            def forward(self, x):
                return x * self.weight * gain

        net = Net()
        parametrize.register_parametrization(net, "weight", nn.Identity())
        return net

    assert digest_of_network(network(1.0)) != digest_of_network(network(2.0))


def _small() -> nn.Module:
    torch.manual_seed(0)
    return nn.Sequential(nn.Flatten(), nn.Linear(4, 4), nn.ReLU(), nn.Softmax(1)).eval()


def _timm() -> nn.Module:
    torch.manual_seed(0)
    return timm.create_model("test_vit", num_classes=2).eval()


PATCHES = {
    "a layer's forward": (_small, nn.ReLU, "forward", lambda _, x: torch.sigmoid(x)),
    "a layer's forward, by another of the library": (_small, nn.ReLU, "forward", nn.Sigmoid.forward),
    "a layer's forward, by a function of C": (_small, nn.ReLU, "forward", torch.sigmoid),
    "the call of every layer": (_small, nn.Module, "__call__", lambda self, x: self.forward(x) * 2),
    "a function": (_small, nn.functional, "relu", lambda x, **_: torch.sigmoid(x)),
    "a function, by another of the library": (_small, nn.functional, "relu", nn.functional.leaky_relu),
    "a function of C": (_small, torch, "relu", lambda x: x.sigmoid()),
    "a function of C, by another": (_small, torch, "relu", torch.sigmoid),
    "a method of a timm class": (
        _timm, timm.models.vision_transformer.VisionTransformer, "forward_head", lambda _, x, **__: 2 * x[:, 0, :2],
    ),
}  # fmt: skip


@pytest.mark.parametrize("what", PATCHES)
def test_what_replaces_a_part_of_a_library_is_in_the_digest(what, monkeypatch):
    make, place, name, other = PATCHES[what]
    before = digest_of_network(make())
    with monkeypatch.context() as patch:
        patch.setattr(place, name, other)
        assert digest_of_network(make()) != before
    assert digest_of_network(make()) == before


def test_a_hook_of_all_modules_is_in_the_digest():
    before = digest_of_network(_small())
    handle = register_module_forward_hook(lambda _module, _inputs, output: output * 2)
    try:
        assert digest_of_network(_small()) != before
    finally:
        handle.remove()
    assert digest_of_network(_small()) == before


def test_what_code_of_ones_own_finds_replaced_in_a_library_is_in_the_digest(monkeypatch):
    class Net(nn.Module):
        def forward(self, x):
            return torch.nn.functional.silu(x) + math.pi

    before = digest_of(Net())
    monkeypatch.setattr(nn.functional, "silu", lambda x: x)
    assert digest_of(Net()) != before


def test_an_object_that_does_not_tell_is_known_here_and_now_only():
    def handle():
        return (value for value in (1, 2))

    one, other = Held(handle()), Held(handle())
    assert digest_of_network(one) == digest_of_network(one), "one run finds its own answers"
    assert digest_of_network(one) != digest_of_network(other)
    assert not_told(one) == ("generator",)
    assert not_told(Held({handle()})) == ("generator",), "in a set, too"
    code = "from suites.harness.subjects.network_digest import digest_of\n"
    code += "print(digest_of(iter([])), digest_of(x for x in ()))"
    found = subprocess.run(
        [sys.executable, "-c", code], cwd=Path(__file__).parents[3], capture_output=True, check=True, text=True
    ).stdout.split()
    here = [digest_of(iter([])), digest_of(x for x in ())]
    assert [one == other for one, other in zip(found, here, strict=True)] == [True, False]


def test_a_chain_too_long_to_follow_is_known_here_and_now_only():
    chain = None
    for _ in range(5000):
        chain = SimpleNamespace(following=chain)
    assert not_told(Held(chain)) == ("Held",)


def test_what_decides_nothing_costs_no_second_computation():
    assert not not_told(Held([threading.Lock(), threading.RLock(), threading.local()]))


def test_the_provenance_says_when_answers_cannot_be_found_again():
    network = Held(value for value in (1, 2))
    network.forward = lambda pixels: pixels.mean((1, 2, 3))[:, None] * torch.tensor([1.0, -1.0])
    subject = Subject(
        name="mine", classes=("a", "b"), network=network,
        preprocessing=Preprocessing(name="mine", short_side=28, size=28, channels=1),
        provenance=Provenance(spec="", format="user", source="here", sha256="a" * 64),
    )  # fmt: skip
    assert any("(generator)" in note and "never found again" in note for note in load_subject(subject).provenance.notes)
    network.held = None
    assert not any("found again" in note for note in load_subject(subject).provenance.notes)


def test_what_runs_is_not_followed_and_what_has_no_end_is_given_up(monkeypatch):
    """A thread pool leads to its threads, those to the pool and to everything else that runs in the process."""
    with ThreadPoolExecutor(3) as pool:
        list(pool.map(str, range(6)))
        assert not_told(Held({pool})) == ("ThreadPoolExecutor",)
        assert "Thread" in not_told(Held(set(pool._threads)))
        assert digest_of(Held({pool})) == digest_of(Held({pool})), "the same object, in the same process"
    ring = {}
    for number in range(30):  # every set holds two that hold the ones before: 2^30 ways through them
        ring[number] = {Held(ring.get(number - 1)), Held(ring.get(number - 1))}
    monkeypatch.setattr(network_digest, "MOST_OBJECTS", 2000)
    assert not_told(Held(ring[29]))


RECORD = """../../../bin/run,sha256=OfTheFolder{folder},338
lib/__init__.py,sha256=abc,12
{order}lib-1.0.dist-info/METADATA,sha256=ghi,30
lib-1.0.dist-info/direct_url.json,sha256=WhereItWas{folder},60
lib-1.0.dist-info/RECORD,,
lib/__pycache__/__init__.cpython-311.pyc,,
_lib.pth,sha256=Below{folder},12
"""
FAST = "lib/fast.so,sha256=def,40\n"


def test_a_library_is_the_same_in_whatever_folder_it_is_installed():
    """Workers on two machines, or two checkouts, know the same subject; another file of it is another library."""
    here, there = (library_code._files_of(RECORD.format(folder=folder, order=FAST)) for folder in ("/a", "/b/c"))
    assert here == there
    assert FAST.strip() in here
    assert here != library_code._files_of(RECORD.format(folder="/a", order=FAST.replace("def", "xyz")))
    assert here != library_code._files_of(RECORD.format(folder="/a", order=""))
