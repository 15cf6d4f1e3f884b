"""Specs of every kind find their format; models of one's own; what no format knows is told in one line."""

from __future__ import annotations

import itertools
from collections.abc import Callable
from contextlib import suppress
from dataclasses import replace
from pathlib import Path

import pytest
import torch
from torch import nn
from transformers.modeling_outputs import ImageClassifierOutput

from suites.harness.errors import SubjectProblem
from suites.harness.subjects.formats import load_subject, names, register, registry
from suites.harness.subjects.preprocessing import Preprocessing
from suites.harness.subjects.subject import Normalised, Provenance, Subject

NUMBER = itertools.count()


def grey(outputs: int = 2, classes: tuple[str, ...] = ("well", "sick"), sha256: str = "", **settings) -> Subject:
    """Return a subject for 28 x 28 grey pixels."""
    torch.manual_seed(0)
    backbone = nn.Sequential(nn.Flatten(), nn.Linear(28 * 28, outputs))
    recipe = Preprocessing(name="mine", short_side=28, size=28, channels=1)
    return Subject(
        **{
            "name": "grey",
            "classes": classes,
            "network": Normalised(backbone, (0.5,), (0.25,)),
            "preprocessing": recipe,
            "provenance": Provenance(spec="", format="user", source="here", sha256=sha256),
        }
        | settings
    )


@pytest.fixture
def module(tmp_path, monkeypatch):
    """Return a function that writes a module into the current folder and gives its name."""
    monkeypatch.chdir(tmp_path)

    def write(code: str) -> str:
        name = f"written_for_a_test_{next(NUMBER)}"
        (tmp_path / f"{name}.py").write_text(code)
        return name

    return write


FACTORY = """
import torch
from torch import nn
from suites.harness.subjects.preprocessing import Preprocessing
from suites.harness.subjects.subject import Normalised, Provenance, Subject

def make():
    torch.manual_seed(0)
    return Subject(
        name="mine",
        classes=("well", "sick"),
        network=Normalised(nn.Sequential(nn.Flatten(), nn.Linear(28 * 28, 1)), (0.5,), (0.25,)),
        preprocessing=Preprocessing(name="mine", short_side=28, size=28, channels=1),
        provenance=Provenance(spec="", format="user", source="a notebook", sha256=""),
    )
"""


def test_a_factory_of_ones_own(module):
    spec = f"{module(FACTORY)}:make"
    subject = load_subject(spec)
    assert subject.provenance.spec == spec
    assert len(subject.provenance.sha256) == 64
    logits, features = subject.answer(subject.pixels(torch.rand(3, 100, 80)))
    assert logits.shape == (3, 2)
    assert torch.all(logits[:, 0] == 0)
    assert features.shape == (3, 28 * 28)
    assert load_subject(spec, name="other").name == "other"


@pytest.mark.parametrize(
    ("code", "message"),
    [
        ("def other(): pass", "has no function make"),
        ("make = 5", "has no function make"),
        ("def make(): return 5", r"make\(\) returned a int, not a Subject"),
        ("def make(): raise OSError('no disk\\nat all')", r"make\(\) failed \(OSError: no disk at all\)"),
        ("import a_module_that_is_not_there", "importing .* failed .ModuleNotFoundError"),
        ("1 / 0", "importing .* failed .ZeroDivisionError"),
        ("syntax error", "importing .* failed .SyntaxError"),
        (FACTORY.replace('("well", "sick")', '("well",)'), "at least two class names"),
        (FACTORY.replace("make():", "make(path):"), r"make\(\) failed \(TypeError"),
    ],
)
def test_a_factory_that_fails_is_told_in_one_line(module, code, message):
    with pytest.raises(SubjectProblem, match=message) as caught:
        load_subject(f"{module(code)}:make")
    assert "\n" not in str(caught.value)


@pytest.mark.parametrize("code", [f"import os\nos.chdir('elsewhere')\n{FACTORY}", FACTORY.replace(
    "    torch.manual_seed(0)", "    import os; os.chdir('elsewhere')\n    torch.manual_seed(0)"
), "import os\ndef make():\n    os.chdir('elsewhere')\n    raise OSError"])  # fmt: skip
def test_the_working_folder_stays_where_it_is(module, code):
    name, here = module(code), Path.cwd()
    (here / "elsewhere").mkdir()
    with suppress(SubjectProblem):
        load_subject(f"{name}:make")
    assert Path.cwd() == here


class Answers(nn.Module):
    """A network that returns its logits inside something else."""

    def __init__(self, wrap: Callable[[torch.Tensor], object]) -> None:
        super().__init__()
        self.wrap = wrap

    def forward(self, pixels: torch.Tensor) -> object:
        return self.wrap(pixels.flatten(1)[:, :2])


@pytest.mark.parametrize(
    ("wrap", "kind"),
    [
        (lambda logits: {"logits": logits}, "dict"),
        (lambda logits: (logits, logits), "tuple"),
        (lambda logits: ImageClassifierOutput(logits=logits), "ImageClassifierOutput"),
        (lambda _: None, "NoneType"),
    ],
)
@pytest.mark.parametrize("normalised", [True, False])
def test_logits_inside_something_else_are_asked_for(wrap, kind, normalised):
    network = Answers(wrap)
    subject = grey(network=Normalised(network, (0.5,), (0.25,)) if normalised else network, sha256="1" * 64)
    with pytest.raises(
        SubjectProblem, match=rf"returned (a )?{kind}(, not a tensor)?; return the logits.* torch tensor of film"
    ) as caught:
        load_subject(subject)
    assert len(str(caught.value)) < 300


@pytest.mark.parametrize("answer", [torch.tensor(1.0), torch.ones(2, 1, 1)])
def test_numbers_of_another_shape_are_told_by_their_shape(answer):
    with pytest.raises(SubjectProblem, match=r"give logits of shape \("):
        load_subject(grey(network=Normalised(Answers(lambda _: answer), (0.5,), (0.25,)), sha256="1" * 64))


def test_a_backend_that_torch_was_built_without_is_told_in_a_few_words():
    if torch.backends.mps.is_available():
        pytest.skip("it is there")
    with pytest.raises(SubjectProblem, match=r"^device 'mps' cannot be used here \(.{1,60}\); cpu always can$"):
        load_subject("bundled:fragile", device="mps")


def test_a_module_that_is_not_there():
    with pytest.raises(SubjectProblem, match=r"importing no_such_module from .* failed"):
        load_subject("no_such_module:make")


def test_a_subject_from_python_is_taken_as_it_is():
    subject = load_subject(grey())
    assert subject.preprocessing.name == "mine"
    assert load_subject(grey(), name="renamed").name == "renamed"


def test_the_hash_of_a_subject_from_python_follows_its_weights():
    first = load_subject(grey())
    assert first.fingerprint == load_subject(grey()).fingerprint
    changed = grey()
    changed.network.backbone[1].bias.data += 1e-3
    assert load_subject(changed).fingerprint != first.fingerprint
    assert load_subject(grey(sha256="unknown")).fingerprint == first.fingerprint
    assert load_subject(grey(sha256="a" * 64)).provenance.sha256 == "a" * 64


def test_a_subject_without_network_must_say_what_identifies_it():
    service = {"network": None, "respond": lambda films: torch.zeros(len(films), 2)}
    assert load_subject(grey(sha256="b" * 64, **service)).provenance.sha256 == "b" * 64
    with pytest.raises(SubjectProblem, match="64 hexadecimal digits"):
        load_subject(grey(**service))


@pytest.mark.parametrize(
    ("subject", "message"),
    [
        (lambda: grey(classes=("well", "sick\n")), r"the class name 'sick\\n' in .* should be one line"),
        (lambda: grey(classes=("well", 5)), "the class name 5 in .* should be one line"),
        (lambda: grey(outputs=5), r"wrong number of classes: two films give logits of shape \(2, 5\)"),
        (lambda: grey(classes=("a", "b", "c")), r"the classes a, b, c need \(2, 3\)"),
        (lambda: grey(preprocessing=Preprocessing(name="large")), r"fails on \(2, 3, 224, 224\) pixels .* 'large'"),
        (lambda: grey(network=nn.LSTM(28, 2)), "wrong number of classes|fails on"),
    ],
)
def test_the_rehearsal_refuses_what_does_not_fit(subject, message):
    with pytest.raises(SubjectProblem, match=message) as caught:
        load_subject(subject())
    assert "\n" not in str(caught.value)


@pytest.mark.parametrize("device", ["tpu9000", "cuda:99", "meta-physical", ""])
def test_a_device_that_is_not_there(device):
    with pytest.raises(SubjectProblem, match=r"cannot be used here .*cpu always can"):
        load_subject(grey(), device=device)


@pytest.mark.skipif(not torch.cuda.is_available(), reason="no GPU on this machine")
def test_a_gpu_answers_as_the_cpu_does_and_twice_the_same():
    films = torch.rand(16, 224, 224, generator=torch.Generator().manual_seed(0))
    there, here = (load_subject("bundled:fragile", device=device) for device in ("cuda", "cpu"))
    pixels = here.pixels(films)  # as the engine does: prepared on the CPU
    answers = [subject.answer(pixels.to(subject.device))[0].cpu() for subject in (there, there, here)]
    assert torch.equal(answers[0], answers[1])
    torch.testing.assert_close(answers[0], answers[2], rtol=0, atol=1e-4)  # 3e-3 with TF32, torch's default


@pytest.mark.parametrize(
    ("spec", "reason"),
    [
        ("resnet", "is no subject"),
        ("", "is no subject"),
        ("no/such/folder", "no such file or folder"),
        ("model.safetensors", "no such file or folder"),
        ("a:b:c", "is no subject"),
        ("HF:owner/name", "no such file or folder"),
    ],
)
def test_an_unknown_spec_lists_the_known_ones(spec, reason):
    with pytest.raises(SubjectProblem) as caught:
        load_subject(spec)
    message = str(caught.value)
    assert reason in message
    for form in ("published", "hf:OWNER/NAME[@REVISION]", "FOLDER with", "FILE.ckpt", "timm:NAME?", "MODULE:FACTORY"):
        assert form in message
    assert "\n" not in message


def test_a_file_in_an_unknown_format(tmp_path):
    (tmp_path / "weights.h5").write_bytes(b"hdf")
    with pytest.raises(SubjectProblem, match="is a file in no format that is known here"):
        load_subject(str(tmp_path / "weights.h5"))


def test_a_folder_that_holds_something_else(tmp_path):
    with pytest.raises(SubjectProblem, match=r"config\.json is missing; .* holds nothing"):
        load_subject(str(tmp_path))
    (tmp_path / "best.ckpt").touch()
    with pytest.raises(SubjectProblem, match=r"holds best\.ckpt"):
        load_subject(str(tmp_path))


def test_a_stranger_adds_a_format(monkeypatch):
    monkeypatch.setattr(registry, "_REGISTRY", dict(registry._REGISTRY))

    @register("toy:NUMBER", matches=lambda spec: spec.startswith("toy:"))
    def load_toy(spec: str) -> Subject:
        subject = grey(sha256="c" * 64)
        return replace(subject, name=f"toy {spec.removeprefix('toy:')}")

    assert load_subject("toy:seven").name == "toy seven"
    assert "toy:NUMBER" in names()
    assert names()[-1] == "MODULE:FACTORY", "the most general form is asked last"
