"""Galleries: files, sidecars, same bytes, and honest words where there is nothing to see."""

import json
from dataclasses import replace

import numpy as np
import pytest

from explain.attribution import AttributionMap
from explain.gallery import Conditioned, build_panels, sidecar
from explain.panel import LESION_COLOUR, Panel, View, draw_panel, footing, heat, tiles
from explain.selection import Pick

CLASSES = ("bacterial_pneumonia", "normal", "viral_pneumonia")


def maps(values, targets, method="grad-cam"):
    values = np.asarray(values, dtype=np.float32)
    names = tuple(f"IM-{i}/x" for i in range(len(values)))
    return AttributionMap(method, values, names, tuple(targets), ("ok",) * len(values))


@pytest.fixture
def panels():
    draw = np.random.default_rng(0)
    films, probabilities = draw.random((2, 32, 32)), np.array([[0.1, 0.899, 0.001], [0.6, 0.3, 0.1]])
    before = Conditioned(films, probabilities, maps(draw.normal(size=(2, 32, 32)), [1, 0]))
    after = Conditioned(films * 0.5, probabilities[::-1], maps(draw.normal(size=(2, 32, 32)), [1, 1]))
    lesion = np.zeros((32, 32), dtype=bool)
    lesion[8:14, 20:26] = True
    picks = [Pick("IM-1/x", 1, "largest flip", 0.4), Pick("IM-0/x", 0, "random correct", 0.9)]
    return build_panels(
        picks, CLASSES, before, after, topic="low contrast", condition="gamma 3", truth={"IM-0/x": "normal"},
        sanity={"grad-cam": "failed"}, lesions={"IM-0/x": lesion},
    )  # fmt: skip


def texts(panel):
    return " | ".join(words for tile in tiles(panel) for words in (tile.title, tile.note)) + footing(panel)


def test_panels_match_picks_to_films(panels):
    assert [panel.image_id for panel in panels] == ["IM-1/x", "IM-0/x"]
    assert panels[0].before.predicted == "bacterial_pneumonia"
    assert panels[1].before.confidence == pytest.approx(0.899)
    assert not panels[0].comparable
    assert panels[1].comparable
    nothing = Conditioned(np.zeros((0, 4, 4)), np.zeros((0, 3)), maps(np.zeros((0, 4, 4)), []))
    with pytest.raises(ValueError, match="IM-9"):
        build_panels([Pick("IM-9", 0, "r", 0)], CLASSES, nothing, topic="t")


def test_sidecars_say_what_the_panels_show(panels):
    entries = [sidecar(panel) for panel in panels]
    assert json.loads(json.dumps(entries, allow_nan=False)) == entries
    assert entries[0]["sanity"] == "failed"
    assert entries[1]["after"]["predicted"] == "bacterial_pneumonia"


def test_the_same_panel_gives_the_same_bytes(panels):
    first, second = (draw_panel(panels[1]).tobytes() for _ in range(2))
    assert first == second


def test_a_failed_sanity_check_is_said(panels):
    assert "FAILED its sanity check" in texts(panels[0])
    assert "sanity check undecided" in texts(Panel(**{**vars(panels[0]), "sanity": "undecided"}))
    assert "sanity not checked" in texts(Panel(**{**vars(panels[0]), "sanity": "not checked"}))


def test_where_nothing_is_compared_no_tile_stands_for_it(panels):
    assert [len(tiles(panel)) for panel in panels] == [4, 5], "maps of different classes have no difference"
    assert tiles(panels[1])[-1].title == "after \N{MINUS SIGN} before"


@pytest.mark.parametrize(
    ("saliency", "words", "status"),
    [
        (np.full((32, 32), np.nan), "not finite", "not finite"),
        (np.zeros((32, 32)), "flat map", "flat"),
        (None, "no map", "none"),
    ],
)
def test_maps_that_say_nothing_are_said_to(saliency, words, status, panels):
    empty = View(np.zeros((32, 32)), {"normal": 1.0}, saliency, "normal")
    panel = Panel("a", None, "t", "clean", "r", "m", signed=False, sanity="passed", before=empty)
    assert words in texts(panel)
    assert sidecar(panel)["before"]["map"] == status


def test_the_outline_is_drawn_where_the_lesion_is(panels):
    picture = np.asarray(draw_panel(panels[1]))
    drawn = (picture == LESION_COLOUR).all(axis=2)
    rows, columns = np.nonzero(drawn[:, :256])
    assert columns.min() == 20 * 8
    assert columns.max() == 26 * 8 - 1
    assert rows.max() - rows.min() == 6 * 8 - 1
    assert not (np.asarray(draw_panel(panels[0])) == LESION_COLOUR).all(axis=2).any()


def test_a_method_blind_to_the_class_does_not_pretend_to_explain_it(panels):
    assert "why normal?" in texts(panels[1])
    assert "why" not in texts(Panel(**{**vars(panels[1]), "class_specific": False}))


def test_heat_shows_the_film_where_the_map_is_weak():
    film, saliency = np.full((4, 4), 0.5), np.zeros((4, 4))
    saliency[0, 0] = 1
    picture = heat(film, saliency, 1, signed=False)
    np.testing.assert_allclose(picture[3, 3], 0.4)
    assert picture[0, 0, 0] > 0.8
    against = heat(film, -saliency, 1, signed=True)
    assert against[0, 0, 2] > against[0, 0, 0]


def test_words_stand_beneath_the_tiles_and_not_in_the_picture(panels):
    outline = np.ones((32, 32), dtype=bool)
    panel = replace(panels[1], method="integrated-gradients", signed=True, lung=outline, lesion=outline)
    shown = tiles(panel)
    assert draw_panel(panel).size == (5 * 256, 256), "equal tiles, nothing between or beneath them"
    assert draw_panel(replace(panel, after=None)).size == (2 * 256, 256)
    film, *_, last = shown
    assert film.note == "normal 90 %, cyan line: lesion, yellow line: lung"
    assert (film.tone, shown[1].tone) == ("right", "wrong")
    assert "red: for it, blue: against it" in shown[2].note
    assert last.note == "red: gained, blue: lost"
    empty = replace(panel.before, saliency=None)
    assert np.asarray(draw_panel(replace(panel, before=empty)))[:, 512:768].std() == 0, "a grey square, no letter in it"
