"""Every registry speaks one dialect: `register`, `get`, `names`, one error, and the example of its docstring works.

What is registered appears: a score, a perturbation, an attribution that nobody has heard of comes out in the outputs.
"""

from __future__ import annotations

import inspect
import textwrap
from hashlib import sha256

import numpy as np
import pytest
from PIL import Image

import calibration.registration
import explain.registration
import robustness.registration
from calibration import recalibrator, scores
from explain import attribution
from robustness import perturbation, presets
from robustness.attacks import attack
from suites.harness.cohorts.layouts import load_cohort
from suites.harness.cohorts.layouts import registry as layouts
from suites.harness.endpoints.explanations import method_comparison
from suites.harness.endpoints.uncertainty import failure_detection, recalibration
from suites.harness.endpoints.uncertainty import scores as all_scores
from suites.harness.endpoints.uncertainty.labelled_films import LabelledFilms
from suites.harness.errors import NotEvaluable, one_line
from suites.harness.subjects.formats import load_subject
from suites.harness.subjects.formats import registry as formats
from tests.controls.simulated import simulated_answers, simulated_evidence

REGISTRIES = {
    "perturbation": (perturbation, "fogging"),
    "preset": (presets, "extremes"),
    "attack": (attack, "fgsm"),
    "attribution method": (attribution, "input times gradient"),
    "recalibration": (recalibrator, "offset"),
    "uncertainty score": (scores, "least-softmax"),
    "fitted score": (all_scores, "distance to the mean"),
    "subject format": (formats, "coin:CLASS+CLASS"),
    "layout": (layouts, "one-film"),
}
"""Kind -> its registry, and what the example of its docstring registers."""
GRIDS = "590549b9f4bdefa7d9bca250539494506c2e3fdbe1389660a7a7b81f15b794bc"
"""Of all conditions of all presets, from when the presets were lists of names."""


@pytest.fixture(autouse=True)
def cleaned_up(monkeypatch):
    """Whatever a test registers is forgotten."""
    for module, _ in REGISTRIES.values():
        monkeypatch.setattr(module, "_REGISTRY", dict(module._REGISTRY))


def typed_in(kind: str) -> str:
    """Run the example of a registry's docstring as if it were a file; return the name it registered."""
    module, name = REGISTRIES[kind]
    module._REGISTRY.pop(name, None)  # an example may be a member already
    _, _, rest = inspect.getdoc(module).partition("::\n")
    lines = rest.splitlines()
    end = next((at for at, line in enumerate(lines) if line and not line.startswith("    ")), len(lines))
    code = compile(textwrap.dedent("\n".join(lines[:end])), f"<{module.__name__}>", "exec", dont_inherit=True)
    exec(code, {"__name__": f"{module.__name__}_example"})  # as in a new file: what it needs it imports itself
    return name


@pytest.mark.parametrize("kind", REGISTRIES)
def test_the_example_of_the_docstring_works_as_it_stands(kind):
    module, name = REGISTRIES[kind]
    assert typed_in(kind) in module.names()
    assert module.get(name) is not None


@pytest.mark.parametrize("kind", REGISTRIES)
def test_an_unknown_name_is_one_line_with_the_nearest_names(kind):
    module, name = REGISTRIES[kind]
    typed_in(kind)
    with pytest.raises(Exception, match="did you mean") as caught:
        module.get(name[:-1])
    assert name in str(caught.value)
    with pytest.raises(type(caught.value), match="known are") as far:
        module.get("0")
    expected = f"no {'uncertainty score' if kind == 'fitted score' else kind} is called '0'; known are "
    whole = expected + ", ".join(module.names())
    assert str(far.value) in {whole, one_line(whole)}


@pytest.mark.parametrize("kind", [kind for kind in REGISTRIES if kind != "perturbation"])
def test_a_name_is_given_once(kind):
    module, name = REGISTRIES[kind]
    typed_in(kind)
    known = module.names()
    with pytest.raises(Exception, match=f"two .* are called '{name.replace('+', '.')}'"):
        exec_again(kind)
    assert module.names() == known


def exec_again(kind: str) -> None:
    module, name = REGISTRIES[kind]
    again = {
        "preset": lambda: module.register(module.get(name)),
        "attack": lambda: module.register(type(module.get(name))),
        "attribution method": lambda: module.register(type(module.get(name))),
        "subject format": lambda: module.register(name, matches=lambda _: False)(print),
        "layout": lambda: module.register(name, recognises=lambda _: False)(print),
    }
    again.get(kind, lambda: module.register(name)(print))()


def test_the_three_packages_speak_of_an_unknown_name_alike():
    """They do not import one another, so each has the same few lines."""
    packages = (robustness.registration, calibration.registration, explain.registration)
    assert len({inspect.getsource(package.unknown_name) for package in packages}) == 1


def test_a_perturbation_belongs_to_the_presets_it_names():
    before = {name: presets.get(name).grid for name in presets.names()}
    kind = type(perturbation.get("scatter"))
    perturbation.register(type("Fake", (kind,), {"__doc__": "x.", "name": "fake", "presets": ("quick", "medmnist-c")}))
    after = {name: presets.get(name).grid for name in presets.names()}
    assert after["standard"] == before["standard"]
    assert after["quick"] == {**before["quick"], "fake": (1, 3, 5)}
    families = [perturbation.get(name).family for name in after["quick"]]
    assert families == sorted(families, key=perturbation.FAMILIES.index), "beside its family"
    assert after["medmnist-c"]["fake"] == presets.ALL
    perturbation.register(type("Astray", (kind,), {"__doc__": "x.", "name": "astray", "presets": ("standart",)}))
    with pytest.raises(ValueError, match="perturbation astray: no preset is called 'standart'; did you mean standard"):
        presets.get("quick")


def test_grids_are_what_they_were():
    """The order of rows and of predictions: it was a list of names once."""
    standard = list(presets.get("standard").grid)
    assert standard[:3] == ["underexposure", "underexposure_stress", "underexposure_fixed_window"]
    assert standard[standard.index("grid_lines") :][:4] == ["grid_lines", "grid_cutoff", "grid_off_centre", "grid_tilt"]
    assert standard[-7:] == [
        "sham_opacity", "diffuse_dose_matched", "stripes_as_white_noise", "stripes_as_band_noise", "brightness_shift",
        "inversion", "resave",
    ]  # fmt: skip
    assert presets.get("standard").grid["inversion"] == presets.get("standard").grid["resave"] == (5,)
    conditions = [f"{name}@{level}" for preset in presets.names() for name, level in presets.get(preset)]
    assert sha256("\n".join(conditions).encode()).hexdigest() == GRIDS


def test_every_score_that_is_registered_is_in_table_and_csv(tmp_path):
    @scores.register("fake of logits")
    def _of_logits(logits):
        return -logits[:, 0]

    @scores.register("fake of passes", of="passes")
    def _of_passes(stack):
        return stack[0, :, 0]

    @all_scores.register("fake of features")
    def _of_features(_main, _features, _among):
        return lambda rows, _: rows[:, 0]

    main = simulated_answers({"clean": 1.0}, features=(2.0, 12))
    lateral = simulated_answers({"clean": 1.0}, name="lateral", films=200, features=(-2.0, 12))
    found = failure_detection.detection(simulated_evidence(main, tmp_path, probes={"lateral": lateral}), "", "")
    table, numbers = found.table(), found.numbers()
    for name in ("fake of logits", "fake of features"):
        assert np.isfinite(numbers[(numbers["score"] == name) & (numbers["failure"] == "lateral")]["estimate"]).all()
        assert name in set(table["score"])
    for name in ("ensemble, fake of passes", "MC dropout, fake of passes"):
        (why,) = set(table[table["score"] == name]["why empty"])
        assert why, "what could not be computed is there with the reason"
    assert list(dict.fromkeys(table["score"]))[1:] == all_scores.all_names()


def test_every_recalibration_that_is_registered_is_compared():
    typed_in("recalibration")
    films = LabelledFilms.of(simulated_answers({"clean": 2.0}), "clean")
    rows = recalibration.compared(films, np.arange(len(films.labels)) % 2)
    assert [row.method for row in rows] == ["none", "temperature", "vector", "dirichlet", "beta", "isotonic", "offset"]


def test_every_attribution_that_is_registered_is_shown_and_measured():
    before = method_comparison.methods("quick")
    typed_in("attribution method")
    assert method_comparison.methods("quick") == [*before, "input times gradient"]
    assert (
        set(method_comparison.methods("quick"))
        < set(method_comparison.methods("standard"))
        < set(method_comparison.methods("full"))
    )
    known = {name for name in attribution.names() if not attribution.get(name).baseline}
    assert set(method_comparison.methods("full")) == known


def test_a_format_and_a_layout_of_the_examples_are_found_by_a_spec(tmp_path):
    typed_in("subject format")
    typed_in("layout")
    assert load_subject("coin:sick+well").classes == ("sick", "well")
    assert formats.names()[-1] == "MODULE:FACTORY", "the most general form is asked last"
    Image.fromarray(np.arange(64 * 64, dtype=np.uint8).reshape(64, 64)).save(tmp_path / "alone.png")
    assert load_cohort(str(tmp_path / "alone.png")).table["id"].tolist() == ["alone.png"]


@pytest.mark.parametrize("given", [0.5, np.zeros((2, 3)), np.full(200, np.nan)])
def test_a_score_that_is_not_one_number_per_film_is_named(given):
    scores.register("crooked")(lambda logits: given if np.ndim(given) != 1 else given[: len(logits)])
    films = all_scores.FilmSet.of(simulated_answers({"clean": 1.0}, films=60), "main")
    with pytest.raises(NotEvaluable, match="uncertainty score 'crooked' gave an array of shape"):
        all_scores.add_logit_scores([films])
