"""Several findings in one chest: composed in attenuation, each with its own mask, one alone as ever."""

from __future__ import annotations

import itertools

import numpy as np
import pytest
import torch

from robustness.phantom import Finding, cohort_table, draw_finding, render, sample_patient
from robustness.phantom.cohort import names_in, render_several_row
from robustness.phantom.film import optical_depth
from robustness.phantom.several import SEVERAL, changes, draw_several, drawn_names, render_several

CHILD = sample_patient("child", 7, "child")
KINDS = {name: "lobar" if name == "consolidation" else name for name in SEVERAL}


@pytest.mark.parametrize("name", SEVERAL)
def test_one_finding_alone_is_the_film_that_it_always_was(name):
    alone, among = render(CHILD, KINDS[name], "AP", 64), render_several(CHILD, [name], "AP", 64)
    assert all(
        torch.equal(getattr(alone, part), getattr(among.film, part)) for part in ("film", "lung", "heart", "lesion")
    )
    assert torch.equal(among.lesions[name], alone.lesion)


def test_without_a_finding_the_chest_is_healthy():
    healthy = render_several(CHILD, [], "PA", 64)
    assert torch.equal(healthy.film.film, render(CHILD, "normal", "PA", 64).film)
    assert healthy.lesions == {}
    assert not healthy.film.lesion.any()


@pytest.mark.parametrize("names", list(itertools.combinations(SEVERAL, 2)), ids="+".join)
def test_two_findings_are_both_there(names):
    for number in range(3):
        patient = sample_patient(f"p{number}", 3, "child")
        both = render_several(patient, names, "AP", 64)
        assert list(both.lesions) == list(names)
        assert all(int(mask.sum()) >= 20 for mask in both.lesions.values()), "each is to be seen"
        assert torch.equal(both.film.lesion, torch.stack(list(both.lesions.values())).any(0))
    assert not torch.equal(both.lesions[names[0]], both.lesions[names[1]])


def changed_by(*found: Finding) -> torch.Tensor:
    """Return what findings change together in optical depth, in a chest that stays as it is."""
    healthy = draw_finding(CHILD, "normal")

    def lesions(scene, fine):
        return sum(changes(scene, found, fine).values(), scene.blank())

    return optical_depth(CHILD, healthy, "AP", 64, lesions=lesions).lesion


def test_what_drowned_cannot_be_consolidated_as_well():
    fluid, solid = Finding("effusion", "right", 1.0), Finding("lobar", "right", 1.0, 1.0, "lower")
    both, one, other = changed_by(fluid, solid), changed_by(fluid), changed_by(solid)
    densest = float(torch.maximum(one, other).max())
    assert float(both.max()) <= 1.05 * densest
    assert float((one + other).max()) > 1.4 * densest, "added up they would be denser than any lung"


def test_pleural_findings_leave_lung_for_the_others():
    for number in range(20):
        patient = sample_patient(f"p{number}", 3, "adult")
        found = {one.name: one for one in draw_several(patient, ("effusion", "pneumothorax"))}
        assert found["effusion"].side != found["pneumothorax"].side
        assert found["pneumothorax"].extent <= 0.5
        mass, fluid = sorted(draw_several(patient, ("mass", "effusion")), key=lambda one: one.name, reverse=True)
        assert mass.side != fluid.side


@pytest.mark.parametrize("names", [("mass", "mass"), ("lobar",), ("effusion", "fracture")])
def test_unknown_and_repeated_findings_are_refused(names):
    with pytest.raises(ValueError, match="known: consolidation, interstitial"):
        render_several(CHILD, names)


def test_a_cohort_has_every_finding_alone_and_with_others():
    table = cohort_table(300, seed=1, findings="several")
    found = [names_in(text) for text in table["finding"]]
    assert {len(names) for names in found} == {0, 1, 2, 3}
    assert np.mean([len(names) > 1 for names in found]) > 0.4
    assert all(50 < sum(name in names for names in found) < 170 for name in SEVERAL)
    assert (table["label"] == "").all()
    assert len(table.groupby(["patient", "finding"])) == table["patient"].nunique()
    assert cohort_table(40, seed=1, findings="several").equals(table.head(40))
    assert drawn_names("a") == drawn_names("a")


def test_a_row_renders_as_its_findings_say():
    table = cohort_table(12, findings="several")
    row = next(row for row in table.to_dict("records") if "+" in row["finding"])
    made = render_several_row(row, size=48)
    assert "+".join(made.lesions) == row["finding"] == made.film.parameters["finding"]
