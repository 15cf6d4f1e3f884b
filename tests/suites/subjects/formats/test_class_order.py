"""A checkpoint that says which logit is which class is not overruled: every order, at every usual place."""

from __future__ import annotations

import pytest
import timm
import torch
from hypothesis import given, settings
from hypothesis import strategies as st

from suites.harness.errors import SubjectProblem
from suites.harness.subjects.formats import lightning, load_subject
from suites.harness.subjects.formats.class_order import KEYS, compared, stated

NAMES = st.lists(st.text("abcdefgh", min_size=1, max_size=6), min_size=2, max_size=5, unique=True)
SHAPES = {
    "classes": list,
    "class_names": tuple,
    "class_to_idx": lambda names: {name: index for index, name in enumerate(names)},
    "idx_to_class": lambda names: dict(enumerate(names)),
    "id2label": lambda names: {str(index): name for index, name in enumerate(names)},
    "label2id": lambda names: {name: str(index) for index, name in enumerate(names)},
}
PLACES = st.sampled_from(["", "hyper_parameters", "config", "meta"])


def content(key: str, place: str, names: list[str]) -> dict[str, object]:
    table = {key: SHAPES[key](names)}
    return {"state_dict": {"weight": torch.ones(1)}} | ({place: table} if place else table)


@settings(max_examples=150)
@given(names=NAMES, key=st.sampled_from(KEYS), place=PLACES, shuffler=st.randoms(use_true_random=False))
def test_every_order_at_every_place_is_read_and_another_is_refused(tmp_path_factory, names, key, place, shuffler):
    path = tmp_path_factory.getbasetemp() / "w.pt"
    orders = stated(content(key, place, names))
    assert list(orders.values()) == [tuple(names)]
    assert compared(orders, tuple(name.upper() for name in names), path) == []
    moved = shuffler.sample(names, len(names))
    if moved != names:
        with pytest.raises(SubjectProblem) as caught:
            compared(orders, tuple(moved), path)
        assert f"{key}` orders the classes {', '.join(names)}, but they are named as {', '.join(moved)}" in str(
            caught.value
        )
    others = tuple(f"{name} of another kind" for name in names)
    (note,) = compared(orders, others, path)
    assert names[0] in note


@pytest.mark.parametrize("value", [3, None, "normal", ["normal", 1], {"a": 0, "b": 2}, {"a": True}, {}, torch.ones(2)])
def test_what_names_no_order_says_nothing(value):
    assert stated({"state_dict": {}, "classes": value}) == {}


@pytest.fixture(scope="module")
def state():
    return timm.create_model("test_resnet", num_classes=2).state_dict()


@pytest.mark.parametrize("key", KEYS)
def test_a_spec_does_not_overrule_the_order_of_its_file(tmp_path, state, key):
    path = tmp_path / "w.pt"
    torch.save({"state_dict": state, key: SHAPES[key](["pneumonia", "normal"])}, path)
    spec = f"timm:test_resnet?checkpoint={path}&size=64&classes="
    with pytest.raises(SubjectProblem, match=r"pneumonia, normal.* normal, pneumonia"):
        load_subject(f"{spec}normal,pneumonia")
    assert load_subject(f"{spec}pneumonia,normal").classes == ("pneumonia", "normal")
    told = load_subject(f"{spec}ill,well").provenance.notes
    assert any(f"`{key}` says pneumonia, normal" in note for note in told)


def test_a_lightning_checkpoint_states_its_order_in_any_of_the_ways(tmp_path):
    names, state = ("viral_pneumonia", "bacterial_pneumonia", "normal"), {"fc.weight": torch.ones(3, 4)}
    orders = {"class_to_idx": names}
    classes, outputs, _ = lightning._classes({"num_classes": 3}, orders, state, "resnet50", tmp_path)
    assert (classes, outputs) == (names, 3)
    with pytest.raises(SubjectProblem, match="class_to_idx` orders the classes viral_pneumonia"):
        lightning._classes({"classes": list(names[::-1])}, orders, state, "resnet50", tmp_path)
