"""Patients: reproducible, different from one another, refused when impossible."""

import dataclasses

import pytest

from robustness.phantom import AGE_GROUPS, age_of, render, sample_patient
from robustness.phantom.projection import cone_beam


def test_the_same_key_is_the_same_patient_and_another_key_another():
    assert sample_patient("a", 3, "child") == sample_patient("a", 3, "child")
    keys = [("a", 3, "child"), ("b", 3, "child"), ("a", 4, "child"), ("a", 3, "adult")]
    widths = {sample_patient(*key).half_width for key in keys}
    assert len(widths) == len(keys)


def test_films_of_one_patient_share_the_anatomy_but_not_the_exposure():
    first, second = sample_patient("a", 0, "child"), sample_patient("a", 0, "child", film=1)
    changed = {f.name for f in dataclasses.fields(first) if getattr(first, f.name) != getattr(second, f.name)}
    assert changed == {"film", "exposure"}


@pytest.mark.parametrize("age", AGE_GROUPS)
def test_many_patients_are_possible(age):
    ages = [sample_patient(str(i), 0, age).age for i in range(300)]
    assert (min(ages) >= 1 and max(ages) < 6) if age == "child" else min(ages) >= 18


def test_children_have_wider_hearts_and_flatter_ribs_than_adults():
    def mean(name, age):
        return sum(getattr(sample_patient(str(i), 0, age), name) for i in range(60)) / 60

    for name, factor in (("cardiothoracic_ratio", 1.05), ("thymus", 1.05)):
        assert mean(name, "child") > factor * mean(name, "adult")
    for name in ("rib_slope", "mineral", "half_width", "lung_height"):
        assert mean(name, "adult") > mean(name, "child")


@pytest.mark.parametrize(
    ("name", "value"),
    [
        ("half_width", -3.0),
        ("lung_height", 0.0),
        ("half_depth", float("nan")),
        ("mineral", 1.5),
        ("wall", 5.0),
        ("age", -1.0),
    ],
)
def test_impossible_anatomy_names_the_parameter_and_its_range(name, value):
    with pytest.raises(ValueError, match=rf"{name}=.*(between|below)"):
        dataclasses.replace(sample_patient("a", 0, "child"), **{name: value})


@pytest.mark.parametrize(
    ("name", "value"), [("zoom", 0.0), ("energy_kev", 20.0), ("photons", -1.0), ("marker", "X"), ("blur", 0.0)]
)
def test_impossible_exposure_names_the_parameter(name, value):
    with pytest.raises(ValueError, match=name):
        dataclasses.replace(sample_patient("a", 0, "child").exposure, **{name: value})


def test_a_source_inside_the_body_is_refused():
    patient = sample_patient("a", 0, "child")
    with pytest.raises(ValueError, match=r"source inside the body.*above \d"):
        cone_beam(patient, "AP", 64, distance=12.0)
    assert cone_beam(patient, "AP", 64, distance=60.0).distance < 60.0


def test_unknown_names_list_the_known_ones():
    patient = sample_patient("a", 0, "child")
    with pytest.raises(ValueError, match="child, adult"):
        sample_patient("a", 0, "teenager")
    with pytest.raises(ValueError, match="PA, AP, LATERAL"):
        render(patient, view="OBLIQUE", size=64)
    with pytest.raises(ValueError, match="lobar, interstitial"):
        render(patient, "flu", size=64)
    for size in (8, 100_000, 64.0, True):
        with pytest.raises(ValueError, match="size"):
            render(patient, size=size)


@pytest.mark.parametrize("age_group", AGE_GROUPS)
def test_the_age_alone_is_that_of_the_whole_patient(age_group):
    for name in ("a", "b"):
        assert age_of(name, 3, age_group) == sample_patient(name, 3, age_group, film=1).age
