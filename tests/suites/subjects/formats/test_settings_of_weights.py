"""Settings of weights hold what they should, or one line says where they do not: whatever a file holds."""

from __future__ import annotations

import json
import math
import shutil

import pytest
import timm
import torch
from hypothesis import HealthCheck, given, settings
from hypothesis import strategies as st

from suites.harness.errors import SubjectProblem
from suites.harness.subjects.formats import load_subject, networks
from suites.harness.subjects.formats.bundled import FOLDER
from suites.harness.subjects.formats.hub import class_names, from_folder
from suites.harness.subjects.formats.lightning import load_lightning
from suites.harness.subjects.formats.processor import hub_recipe, normalisation, settled

SCALARS = (
    st.none()
    | st.booleans()
    | st.integers()
    | st.floats()
    | st.text(max_size=6)
    | st.sampled_from([0, 1, -1, 2, 4, 8, 224, 8192, 16384, 10**9, 2**63, 10**400, 1e-300, 1e308, 2.0, "gelu", "0"])
)
ANYTHING = st.recursive(
    SCALARS,
    lambda inner: (
        st.lists(inner, max_size=4)
        | st.dictionaries(st.text(max_size=6) | st.sampled_from(["0", "1", "shortest_edge", "height", "width"]), inner,
                          max_size=4)
    ),
    max_leaves=6,
)  # fmt: skip
CONFIG = json.loads((FOLDER / "fragile" / "config.json").read_text())
PROCESSOR = json.loads((FOLDER / "fragile" / "preprocessor_config.json").read_text())
DECIDES_LOGITS = {"hidden_act", "layer_norm_eps"}


def changed(document: dict, changes: dict) -> dict:
    """Return a document with other values; `...` takes a key out."""
    return {key: value for key, value in (document | changes).items() if value is not ...}


def some_of(document: dict) -> st.SearchStrategy[dict]:
    return st.dictionaries(st.sampled_from(sorted(document)), ANYTHING | st.just(...), min_size=1, max_size=2)


def is_one_line(message: str) -> None:
    assert message.isprintable()
    assert len(message) < 300


@pytest.fixture(scope="module")
def folder(tmp_path_factory):
    """Return a copy of a bundled subject whose settings may be changed."""
    return shutil.copytree(FOLDER / "fragile", tmp_path_factory.mktemp("changed") / "fragile")


@pytest.fixture(scope="module")
def expected():
    return load_subject("bundled:fragile")


@settings(max_examples=60, suppress_health_check=[HealthCheck.function_scoped_fixture])
@given(changes=some_of(CONFIG | {"hidden_act": "gelu", "model_type": "convnextv2", "layer_norm_eps": 1e-12}))
def test_any_config_is_read_with_its_meaning_or_refused_in_one_line(folder, expected, changes):
    config = changed(CONFIG, changes)
    (folder / "config.json").write_text(json.dumps(config))
    try:
        subject = from_folder(folder, "spec", name="changed", source="here", revision=None)
    except SubjectProblem as problem:
        is_one_line(str(problem))
        return
    names = [config["id2label"][str(index)] for index in range(len(config["id2label"]))]
    assert list(subject.classes) == names
    if not DECIDES_LOGITS & set(changes):
        ours, theirs = subject.network.state_dict(), expected.network.state_dict()
        assert all(torch.equal(ours[key], theirs[key]) for key in theirs)


@settings(max_examples=200)
@given(changes=some_of(PROCESSOR | dict.fromkeys(["crop_size", "do_center_crop", "default_to_square"])))
def test_any_processor_is_read_with_its_meaning_or_refused_in_one_line(changes):
    config = changed(PROCESSOR, changes)
    try:
        found, _ = settled(config, "convnextv2", "file")
        recipe = hub_recipe(found, 3, "file")
        mean, std = normalisation(found, 3, "file")
    except SubjectProblem as problem:
        is_one_line(str(problem))
        return
    assert 8 <= recipe.size <= 4096
    values = torch.tensor([mean, std])
    assert values.shape == (2, 3)
    assert bool(torch.isfinite(values).all())
    assert bool((values[1] > 0).all())
    for name, read in (("image_mean", mean), ("image_std", std)):
        if isinstance(config.get(name), list) and config.get("do_normalize") is not False:
            assert list(read) == config[name]


class Head(torch.nn.Module):
    """The end of a network."""

    def __init__(self, outputs: int) -> None:
        super().__init__()
        self.fc = torch.nn.Linear(2, outputs)


HYPER = {"model_name": "resnet50", "num_classes": 2, "classes": ["well", "sick"]}
IN_A_PICKLE = ANYTHING.filter(lambda value: not isinstance(value, float) or not math.isnan(value)) | st.sampled_from(
    [torch.tensor(2), torch.ones(3), torch.ones(2).to_sparse(), torch.ones(2, device="meta"), b"resnet50", (1, 2),
     ["well", "sick\n"], ("well", "sick"), "\ud800"]
)  # fmt: skip


@settings(max_examples=60, suppress_health_check=[HealthCheck.function_scoped_fixture])
@given(
    changes=st.dictionaries(st.sampled_from(sorted(HYPER)) | st.text(max_size=5), IN_A_PICKLE, max_size=2),
    epoch=IN_A_PICKLE,
)
def test_any_hyper_parameters_are_read_with_their_meaning_or_refused_in_one_line(tmp_path, monkeypatch, changes, epoch):
    """A layer stands for the ResNet, whose building is not what is asked about."""
    monkeypatch.setattr(networks, "resnet50", Head)
    network = Head(2)
    state = {f"model.{key}": tensor for key, tensor in network.state_dict().items()}
    path = tmp_path / "best.ckpt"
    try:
        torch.save({"state_dict": state, "hyper_parameters": HYPER | changes, "epoch": epoch}, path)
    except (RuntimeError, NotImplementedError, OverflowError, ValueError):  # what torch itself cannot save
        return
    try:
        subject = load_lightning(str(path))
    except SubjectProblem as problem:
        is_one_line(str(problem))
        return
    named = changes.get("classes", HYPER["classes"])
    named = changes.get("class_names") if not isinstance(named, list | tuple) else named
    assert list(subject.classes) == list(named or [])
    json.dumps(subject.provenance.training, ensure_ascii=False).encode()


@pytest.mark.parametrize(
    ("label2id", "message"),
    [
        ({"a": "0", "b": "1"}, ""),
        ({"a": 0, "b": 1}, ""),
        (None, ""),
        ({}, ""),
        ({"a": "1", "b": "0"}, "contradict each other"),
        ({"a": 0}, "contradict each other"),
    ],
)
def test_the_way_back_may_be_numbers_or_their_digits(label2id, message):
    config = {"id2label": {"0": "a", "1": "b"}, "label2id": label2id}
    if not message:
        assert class_names(config, "file") == ("a", "b")
    else:
        with pytest.raises(SubjectProblem, match=message):
            class_names(config, "file")


@pytest.mark.parametrize("name", ["normal\n", "a\tb", "\x1b[31mred", "\ud800", "a\u2028b", " ", "x" * 101, 5, None])
def test_a_class_whose_name_no_report_can_hold_is_refused_when_it_is_loaded(hub_folder, name):
    config = hub_folder / "config.json"
    classes = {"0": name, "1": "b", "2": "c"}
    config.write_text(json.dumps(changed(json.loads(config.read_text()), {"id2label": classes, "label2id": ...})))
    with pytest.raises(SubjectProblem, match=r"class name|number its classes|surrogate") as caught:
        load_subject(str(hub_folder))
    is_one_line(str(caught.value))


@pytest.mark.parametrize("name", ["Lungenentzündung", "肺炎", "ذات‌الریه", "no finding", "a,b", "<b>", "=1+1"])
def test_a_class_of_any_language_is_taken(hub_folder, name):
    config = hub_folder / "config.json"
    classes = {"0": name, "1": "b", "2": "c"}
    config.write_text(json.dumps(changed(json.loads(config.read_text()), {"id2label": classes, "label2id": ...})))
    assert load_subject(str(hub_folder)).classes == (name, "b", "c")


def test_a_name_that_is_no_text_is_escaped_in_what_a_report_says(tmp_path):
    path = tmp_path / "lungs\udcff\n.pth"
    torch.save(timm.create_model("test_resnet", num_classes=2).state_dict(), path)
    subject = load_subject(f"timm:test_resnet?checkpoint={path}&classes=well,sick&size=64")
    assert subject.name == r"lungs\udcff\n"
    for text in (subject.name, subject.provenance.spec, subject.provenance.source):
        is_one_line(text)
