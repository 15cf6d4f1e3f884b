"""`timm:` subjects of several shapes, and one clear line for each thing that can be wrong in the spec."""

from __future__ import annotations

import hashlib
from pathlib import Path

import pytest
import timm
import torch
from safetensors.torch import save_file

from suites.harness.errors import SubjectProblem
from suites.harness.subjects.formats import load_subject

SMALL = "test_convnext2"  # 0.35 million weights


@pytest.fixture
def weights(tmp_path, randomise):
    """Return a function that writes a random timm model and gives the file and the network."""

    def write(name: str = SMALL, file: str = "lungs.safetensors", **settings):
        network = randomise(timm.create_model(name, **settings))
        path = tmp_path / file
        state = network.state_dict()
        save_file(state, path) if path.suffix == ".safetensors" else torch.save(state, path)
        return path, network

    return write


def spec_of(path: Path, name: str = SMALL, classes: str = "a,b,c", **options) -> str:
    extra = "".join(f"&{key}={value}" for key, value in options.items())
    return f"timm:{name}?checkpoint={path}&classes={classes}{extra}"


def test_timms_own_preprocessing_is_the_default(weights, pixels, normalised):
    path, network = weights(num_classes=3)
    subject = load_subject(spec_of(path))
    resolved = timm.data.resolve_data_config({}, model=network)
    size = resolved["input_size"][-1]
    recipe = subject.preprocessing
    assert (recipe.name, recipe.size, recipe.interpolation) == ("timm", size, resolved["interpolation"])
    assert recipe.short_side == int(size / resolved["crop_pct"])
    assert subject.name == "lungs"
    assert subject.classes == ("a", "b", "c")
    assert subject.provenance.sha256 == hashlib.sha256(path.read_bytes()).hexdigest()
    assert subject.provenance.architecture == SMALL
    mean, std = (torch.tensor(resolved[key]).view(1, 3, 1, 1) for key in ("mean", "std"))
    with torch.inference_mode():
        torch.testing.assert_close(subject.network(pixels), network((pixels - mean) / std))


@pytest.mark.parametrize(("size", "name"), [(28, "test_resnet"), (96, SMALL), (512, SMALL)])
def test_sizes_from_28_to_512(weights, size, name):
    path, _ = weights(name, num_classes=3)
    subject = load_subject(spec_of(path, name, size=size))
    films = torch.rand(2, 300, 200)
    assert subject.pixels(films).shape == (2, 3, size, size)
    assert subject.answer(subject.pixels(films))[0].shape == (2, 3)


def test_a_vision_transformer_is_built_for_the_size_asked_for(weights):
    path, _ = weights("test_vit", num_classes=3, img_size=64)
    assert load_subject(spec_of(path, "test_vit", size=64)).preprocessing.size == 64
    with pytest.raises(SubjectProblem, match="pos_embed"):
        load_subject(spec_of(path, "test_vit", size=96))


@pytest.mark.parametrize("classes", ["sick,well", "a,b,c,d,e,f,g,h,i,j"])
def test_two_and_ten_classes(weights, classes):
    names = tuple(classes.split(","))
    path, _ = weights(num_classes=len(names))
    assert load_subject(spec_of(path, classes=classes)).classes == names


def test_one_sigmoid_logit_speaks_for_the_second_class(weights, pixels):
    path, network = weights(num_classes=1)
    subject = load_subject(spec_of(path, classes="well,sick"))
    logits = subject.answer(pixels)[0]
    mean, std = (subject.network.get_buffer(name) for name in ("mean", "std"))
    with torch.inference_mode():
        expected = network((pixels - mean) / std)[:, 0].sigmoid()
    torch.testing.assert_close(logits.softmax(dim=1)[:, 1], expected)
    assert any("one sigmoid logit, for sick" in note for note in subject.provenance.notes)


def test_one_grey_channel(weights, pixels):
    path, network = weights(num_classes=3, in_chans=1)
    subject = load_subject(spec_of(path, channels=1, mean=0.25, std=0.5))
    with torch.inference_mode():
        torch.testing.assert_close(subject.answer(pixels[:, :1])[0], network((pixels[:, :1] - 0.25) / 0.5))
    assert any("average of timm's three" in note for note in load_subject(spec_of(path, channels=1)).provenance.notes)


def test_settings_override_timms(weights):
    path, _ = weights(num_classes=3)
    recipe = load_subject(spec_of(path, size=64, short_side=70, interpolation="bilinear")).preprocessing
    assert (recipe.size, recipe.short_side, recipe.interpolation) == (64, 70, "bilinear")
    assert load_subject(spec_of(path, short_side="squeeze")).preprocessing.short_side is None


def test_torch_files_and_training_wrappers_are_read(weights, tmp_path, pixels):
    path, network = weights(num_classes=3, file="model.pth")
    plain = load_subject(spec_of(path))
    assert plain.name == SMALL, "a file called `model` says nothing, so the architecture names the subject"
    wrapped = tmp_path / "wrapped.pt"
    torch.save({"state_dict": {f"module.{key}": value for key, value in network.state_dict().items()}}, wrapped)
    other = load_subject(spec_of(wrapped))
    torch.testing.assert_close(other.answer(pixels)[0], plain.answer(pixels)[0], atol=0, rtol=0)
    assert any("`state_dict`" in note for note in other.provenance.notes)


def test_unusual_letters_in_a_path(weights):
    path, _ = weights(num_classes=3, file="a+b c&d%.safetensors")
    quoted = str(path).replace("%", "%25").replace("&", "%26")
    assert load_subject(spec_of(quoted)).provenance.source == str(path)


@pytest.mark.parametrize(
    ("change", "message"),
    [
        (("timm:" + SMALL, "timm:convnext9000"), "timm has no model 'convnext9000'; near to it: .*convnext_tiny"),
        (("timm:" + SMALL, "timm:"), "timm has no model ''"),
        (("&classes=a,b,c", ""), "classes is missing: give"),
        (("&classes=a,b,c", "&classes="), "classes is missing: give"),
        (("checkpoint=", "weights="), "no option 'weights'; options are checkpoint, classes"),
        (("?checkpoint=", "?"), "no option '.*'; options are"),
        (
            ("a,b,c", "a,b"),
            r"wrong number of classes: head\.fc\.weight has 3 outputs, but 2 classes are named \(a, b\)",
        ),
        (("a,b,c", "a,b,b"), "class names repeat"),
        (("a,b,c", "a,,c"), "a class name is empty in 'a,,c'"),
        (("lungs", "nowhere"), r"nowhere\.safetensors: no such file"),
        (("a,b,c", "a,b,c&size=big"), "size should be a whole number, not 'big'"),
        (("a,b,c", "a,b,c&size=4"), "size must lie in 8..4096"),
        (("a,b,c", "a,b,c&channels=2"), "should be 1 or 3|of another shape"),
        (("a,b,c", "a,b,c&mean=grey"), "mean should be numbers"),
        (("a,b,c", "a,b,c&mean=0.1,0.2"), "does not fit 3 channel"),
        (("a,b,c", "a,b,c&std=0"), "does not fit 3 channel"),
        (("a,b,c", "a,b,c&std=nan"), "std should be finite"),
        (("a,b,c", "a,b,c&interpolation=magic"), "interpolation 'magic' is none of"),
        (("timm:" + SMALL, "timm:test_vit"), "the weights are not those of this network"),
    ],
)
def test_a_spec_that_cannot_be_right(weights, change, message):
    path, _ = weights(num_classes=3)
    load_subject(spec_of(path))
    with pytest.raises(SubjectProblem, match=message) as caught:
        load_subject(spec_of(path).replace(*change))
    assert "\n" not in str(caught.value)
