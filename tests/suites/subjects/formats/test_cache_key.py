"""Whatever decides a logit decides the cache's key: every field a loader reads, and everything a network is made of."""

from __future__ import annotations

import copy
import json
import os
import subprocess
import sys
from collections.abc import Iterator
from dataclasses import replace
from functools import partial
from pathlib import Path

import pytest
import timm
import torch
from torch import nn

from suites.harness.errors import SubjectProblem
from suites.harness.subjects.formats import hub, load_subject, networks
from suites.harness.subjects.network_digest import digest_of, digest_of_network
from suites.harness.subjects.preprocessing import Preprocessing
from suites.harness.subjects.subject import Normalised, Provenance, Subject

FILMS = torch.rand(2, 300, 340, generator=torch.Generator().manual_seed(3))


def key_of(subject: Subject) -> str:
    return json.dumps(subject.cache_key, sort_keys=True)


def logits_of(subject: Subject) -> torch.Tensor:
    recipes = sorted({subject.preprocessing.name, *subject.preprocessings})
    return torch.cat([subject.answer(subject.with_preprocessing(name).pixels(FILMS))[0] for name in recipes])


def assert_told_apart(first: Subject, second: Subject, what: str) -> bool:
    """Demand another key, or equal logits; return whether the logits differ."""
    one, other = logits_of(first), logits_of(second)
    differ = one.shape != other.shape or not torch.equal(one, other)
    assert not differ or key_of(first) != key_of(second), f"{what} changes logits, and the key is the same"
    return differ


class Recording(dict):
    """A JSON object that remembers which of its fields were looked up."""

    def __init__(self, *args) -> None:
        super().__init__(*args)
        self.read: set[str] = set()

    def get(self, key, default=None):
        self.read.add(key)
        return super().get(key, default)

    def __getitem__(self, key):
        self.read.add(key)
        return super().__getitem__(key)

    def __contains__(self, key) -> bool:
        self.read.add(key)
        return super().__contains__(key)

    def items(self):
        self.read.update(self)  # laid over defaults, all of it counts
        return super().items()


OTHERS = {
    "id2label": [{"0": "x", "1": "y", "2": "z"}],
    "hidden_act": ["relu", "silu", "gelu_new"],
    "layer_norm_eps": [0.5],
    "image_mean": [[0.1, 0.2, 0.3]],
    "image_std": [[0.5, 0.6, 0.7]],
    "image_processor_type": ["ViTImageProcessor", "BitImageProcessor"],
    "feature_extractor_type": ["ViTFeatureExtractor"],
    "do_normalize": [False],
    "resample": [0, 2],
    "crop_pct": [0.7],
    "size": [{"shortest_edge": 192}],
    "image_size": [256],
    "crop_size": [192],
}
"""Other valid values of the fields; one that is not here is tried with `GENERIC`."""
GENERIC = [False, 2, 0.25, "other"]
"""Most are refused by a loader; those that are not must be told apart."""
DECISIVE = {
    "hidden_act", "layer_norm_eps", "image_mean", "image_std", "do_normalize", "resample", "crop_pct", "size",
}  # fmt: skip


def test_every_field_that_the_hub_loader_reads_is_in_the_key(hub_folder, monkeypatch):
    """Fields are found by watching the loader, so one that it begins to read tomorrow is tried tomorrow."""
    watched: dict[str, Recording] = {}
    read_json = hub.read_json

    def recording(path: Path, *schema):
        return watched.setdefault(path.name, Recording(read_json(path, *schema)))

    with monkeypatch.context() as patch:
        patch.setattr(hub, "read_json", recording)
        first = load_subject(str(hub_folder))
    weights = first.provenance.sha256
    fields = {(file, name) for file, found in watched.items() for name in found.read}
    assert {("config.json", "hidden_act"), ("preprocessor_config.json", "image_mean")} <= fields
    changed: set[str] = set()
    for file, name in sorted(fields):
        original = json.loads((hub_folder / file).read_text())
        for value in OTHERS.get(name, GENERIC):
            (hub_folder / file).write_text(json.dumps(original | {name: value}))
            try:
                second = load_subject(str(hub_folder))
            except (SubjectProblem, TypeError, ValueError, AttributeError):
                continue
            assert second.provenance.sha256 == weights
            if assert_told_apart(first, second, f"{file}: {name} = {value!r}"):
                changed.add(name)
        (hub_folder / file).write_text(json.dumps(original))
    assert changed >= DECISIVE, "the changes tried here must be able to change logits"
    assert key_of(load_subject(str(hub_folder))) == key_of(first)


def test_what_no_loader_reads_changes_nothing(hub_folder):
    first = load_subject(str(hub_folder))
    path = hub_folder / "config.json"
    path.write_text(json.dumps(json.loads(path.read_text()) | {"drop_path_rate": 0.3, "a_remark": "new"}))
    second = load_subject(str(hub_folder))
    assert key_of(second) == key_of(first)
    assert not assert_told_apart(first, second, "a remark")


@pytest.mark.parametrize(
    "option", ["mean=0.3", "std=0.4", "short_side=200", "short_side=squeeze", "interpolation=nearest", "size=96"]
)
def test_every_option_of_a_timm_model_is_in_the_key(option, tmp_path, randomise):
    name = "test_resnet"
    torch.save(randomise(timm.create_model(name, num_classes=2)).state_dict(), tmp_path / "model.pt")
    spec = f"timm:{name}?checkpoint={tmp_path / 'model.pt'}&classes=a,b"
    assert assert_told_apart(load_subject(spec), load_subject(f"{spec}&{option}"), option)


def test_a_lightning_checkpoint_is_known_by_its_network(checkpoint, randomise):
    """Two architectures, or one with other settings, never share a key, whatever the file's hash."""
    one = load_subject(str(checkpoint(randomise(networks.resnet50(3)), "resnet50")))
    network = copy.deepcopy(one.network)
    assert isinstance(network, Normalised)
    network.backbone.get_submodule("bn1").eps = 0.3  # what another loader, or another timm, may build
    other = replace(one, network=network)
    assert other.provenance.sha256 == one.provenance.sha256
    assert assert_told_apart(one, other, "an epsilon")


MODULE = """
import torch
from torch import nn
from torch.nn import functional
from suites.harness.subjects.preprocessing import Preprocessing
from suites.harness.subjects.subject import Normalised, Provenance, Subject
{imports}
GAIN = 2.0

def scaled(x):
    return x * GAIN

class Net(nn.Module):
    def __init__(self):
        super().__init__()
        self.convolution = nn.Conv2d(1, 4, 3, padding=1, padding_mode="zeros")
        self.norm = nn.BatchNorm2d(4, eps=1e-5)
        self.activation = nn.ReLU()
        self.head = nn.Linear(4, 2)
        self.shift = 0.25
        self.call = functional.relu
        self.register_buffer("table", torch.ones(2), persistent=False)
        self.drop = nn.Dropout(0.0)

    def forward(self, x):
        \"\"\"Return logits.\"\"\"
        x = self.call(self.activation(self.norm(self.convolution(x))) - self.shift)
        return scaled(self.head(self.drop(x).mean((2, 3)))) * self.table

def make():
    torch.manual_seed(0)
    return Subject(
        name="mine", classes=("well", "sick"), network=Normalised(Net(), (0.5,), (0.25,)),
        preprocessing=Preprocessing(name="mine", short_side=28, size=28, channels=1),
        provenance=Provenance(spec="", format="user", source="here", sha256="a" * 64),
    )
"""
EDITS = {
    "mean": ("(0.5,), (0.25,)", "(0.4,), (0.25,)"),
    "std": ("(0.5,), (0.25,)", "(0.5,), (0.5,)"),
    "a constant of the module": ("GAIN = 2.0", "GAIN = 3.0"),
    "a function that forward calls": ("return x * GAIN", "return x + GAIN"),
    "forward": (".mean((2, 3))", ".amax((2, 3))"),
    "a number in forward": (" * self.table", " * self.table * 3"),
    "an activation": ("nn.ReLU()", "nn.Tanh()"),
    "epsilon": ("eps=1e-5", "eps=1e-1"),
    "padding mode": ('"zeros"', '"reflect"'),
    "an attribute": ("self.shift = 0.25", "self.shift = -0.5"),
    "a function kept as an attribute": ("self.call = functional.relu", "self.call = functional.softplus"),
    "a buffer that is not saved": ("torch.ones(2)", "torch.tensor([1.0, 2.0])"),
    "the recipe": ("short_side=28, size=28", "short_side=40, size=28"),
    "weights": ("torch.manual_seed(0)", "torch.manual_seed(1)"),
}


@pytest.fixture
def folder(tmp_path, monkeypatch) -> Iterator[Path]:
    monkeypatch.chdir(tmp_path)
    monkeypatch.syspath_prepend(tmp_path)
    before = set(sys.modules)
    yield tmp_path
    for name in set(sys.modules) - before:
        if name.startswith("mine_"):
            del sys.modules[name]


def built(folder: Path, code: str, **files: str) -> Subject:
    for name, text in files.items():
        (folder / f"{name}.py").write_text(text)
    for name in [name for name in sys.modules if name.startswith("mine_")]:
        del sys.modules[name]
    (folder / "mine_network.py").write_text(code)
    for cached in folder.glob("__pycache__/*.pyc"):  # two edits within a second look alike to Python
        cached.unlink()
    return load_subject("mine_network:make")


@pytest.mark.parametrize("what", EDITS)
def test_every_edit_of_a_factory_of_ones_own_is_in_the_key(what, folder):
    """The subject claims one SHA-256 throughout, as a user who hashes his file of weights does."""
    code = MODULE.format(imports="")
    old, new = EDITS[what]
    assert old in code
    first, second = built(folder, code), built(folder, code.replace(old, new, 1))
    assert assert_told_apart(first, second, what)


def test_a_file_that_the_module_imports_is_in_the_key(folder):
    code = MODULE.format(imports="import mine_further").replace("x * GAIN", "mine_further.scaled(x)")
    inside = "def scaled(x):\n    return x * {}\n"
    first = built(folder, code, mine_further=inside.format(2))
    assert assert_told_apart(first, built(folder, code, mine_further=inside.format(5)), "an imported file")
    late = code.replace("import mine_further\n", "").replace(
        "    return mine", "    import mine_further\n    return mine"
    )
    keys, answers = [], []
    for factor in (2, 5):  # each answers before the next is built, for the name belongs to the last one imported
        subject = built(folder, late, mine_further=inside.format(factor))
        answers.append(logits_of(subject))
        keys.append(key_of(subject))
    assert not torch.equal(*answers)
    assert keys[0] != keys[1]


def test_comments_and_docstrings_are_not_in_the_key(folder):
    code = MODULE.format(imports="")
    first = built(folder, code)
    edited = code.replace("Return logits.", "Return the logits.").replace("GAIN = 2.0", "\n\n# a remark\nGAIN = 2.0")
    assert key_of(built(folder, edited)) == key_of(first)


def test_a_recipe_of_ones_own_is_known_by_its_code():
    class Darker(Preprocessing):
        def __call__(self, films: torch.Tensor) -> torch.Tensor:
            return super().__call__(films) * 0.5

    usual = subject_of(nn.Sequential(nn.Flatten(), nn.Linear(28 * 28, 2)))
    darker = Darker(name="mine", short_side=28, size=28, channels=1)
    assert assert_told_apart(usual, replace(usual, preprocessing=darker), "a recipe's code")


def subject_of(network: nn.Module) -> Subject:
    return Subject(
        name="mine", classes=("a", "b"), network=network,
        preprocessing=Preprocessing(name="mine", short_side=28, size=28, channels=1),
        provenance=Provenance(spec="", format="user", source="here", sha256="a" * 64),
    )  # fmt: skip


class Held(nn.Module):
    """Keeps anything as a plain attribute."""

    def __init__(self, held: object) -> None:
        super().__init__()
        self.held = held


class Options:
    def __init__(self, value: object) -> None:
        self.value = value


def _closed(value):
    return lambda x: x * value


PAIRS = {
    "numbers": (1.0, 2.0),
    "kinds of numbers": (1, 1.0),
    "signs of zero": (0.0, -0.0),
    "text": ("a", "b"),
    "lists": ([1, [2]], [1, [3]]),
    "sets": ({"a", "b"}, {"a", "c"}),
    "dicts": ({"a": 1}, {"a": 2}),
    "dtypes": (torch.float32, torch.bfloat16),
    "tensors in a list": ([torch.zeros(2)], [torch.ones(2)]),
    "kinds of tensors": (torch.zeros(2), torch.zeros(2, dtype=torch.float16)),
    "closures": (_closed(1), _closed(2)),
    "partials": (partial(torch.add, alpha=1), partial(torch.add, alpha=2)),
    "builtins": (torch.relu, torch.tanh),
    "classes": (nn.ReLU, nn.GELU),
    "objects": (Options(1), Options(2)),
    "modules out of sight": ([nn.Linear(2, 2)], [nn.Linear(2, 2)]),
}


@pytest.mark.parametrize("what", PAIRS)
def test_what_a_module_holds_is_in_its_digest(what):
    one, other = (digest_of_network(Held(value)) for value in PAIRS[what])
    assert one != other
    assert digest_of_network(copy.deepcopy(Held(PAIRS[what][0]))) == one


@pytest.mark.filterwarnings("ignore:.*torch.jit:FutureWarning", "ignore:.*torch.jit:DeprecationWarning")
def test_hooks_modes_order_and_scripts_are_in_the_digest():
    torch.manual_seed(0)
    plain = nn.Sequential(nn.Linear(3, 3), nn.Dropout(0.5)).eval()
    variants = [plain, nn.Sequential(plain[1], plain[0])]
    variants.append(copy.deepcopy(plain))
    variants[-1][1].train()
    for change in (lambda *_: None, lambda _module, _inputs, output: output * 2):
        variants.append(copy.deepcopy(plain))
        variants[-1].register_forward_hook(change)
    variants += [torch.jit.script(nn.Sequential(nn.Linear(3, 3), nn.Dropout(rate))) for rate in (0.1, 0.2)]
    digests = [digest_of_network(variant) for variant in variants]
    assert len(set(digests)) == len(variants)
    handle = plain.register_forward_hook(lambda *_: None)
    handle.remove()
    assert digest_of_network(plain) == digests[0]


def test_something_that_holds_itself_ends():
    endless: list[object] = [1]
    endless.append(endless)
    one = Held(endless)
    one.held.append(one)
    assert digest_of(one) == digest_of(one)


def test_answering_changes_no_key():
    first = load_subject("bundled:fragile")
    before = key_of(first)
    logits_of(first)
    assert key_of(replace(first)) == before


PRINT = """
import sys
from suites.harness.subjects.formats import load_subject
for spec in sys.argv[1:]:
    print(load_subject(spec).fingerprint)
"""


SETS = "self.shift, self.kinds = 0.25, {'a', 'b', 'c'}"


def test_every_process_finds_the_same_key(folder, hub_folder, tmp_path, randomise):
    torch.save(randomise(timm.create_model("test_vit", num_classes=2)).state_dict(), tmp_path / "model.pt")
    built(folder, MODULE.format(imports="").replace("self.shift = 0.25", SETS))
    specs = [
        "bundled:fragile", str(hub_folder), f"timm:test_vit?checkpoint={tmp_path / 'model.pt'}&classes=a,b",
        "mine_network:make",
    ]  # fmt: skip
    here = [load_subject(spec).fingerprint for spec in specs]
    environment = os.environ | {"PYTHONHASHSEED": "1", "PYTHONPATH": str(Path(__file__).parents[4])}
    environment |= {"PYTHONDONTWRITEBYTECODE": "1"}
    command = [sys.executable, "-c", PRINT, *specs]
    found = subprocess.run(command, env=environment, cwd=folder, capture_output=True, text=True, check=True)
    assert found.stdout.split() == here
