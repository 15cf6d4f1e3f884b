"""What is remembered of a film is that of this film, and nothing that is remembered is ever changed."""

from __future__ import annotations

import threading
from contextlib import suppress

import pytest
import torch

from robustness import coarse, content_cache, get, perturbation
from robustness.content_cache import remembered, unchanging
from robustness.perturbation import PerturbationUndefined


def counted(calls):
    made = []

    @remembered(calls)
    def total(image, factor):
        made.append(factor)
        if factor < 0:
            raise ValueError("negative")
        return float(image.sum()) * factor

    return total, made


def test_an_answer_is_found_again_by_pixels_and_values():
    total, made = counted(2)
    image = torch.ones(4, 5)
    assert [total(image, 1), total(image.clone(), 1), total(image, 2), total(image, 1)] == [20.0, 20.0, 40.0, 20.0]
    assert made == [1, 2]
    total(image, 3)  # the third pushes out the second, which was asked for longest ago
    total(image, 1)
    total(image, 2)
    assert made == [1, 2, 3, 2]


def test_an_image_that_was_changed_in_place_is_another_image():
    total, made = counted(2)
    image = torch.ones(4, 5)
    total(image, 1)
    image[0, 0] = 3.0
    assert total(image, 1) == 22.0
    assert total(torch.ones(4, 5), 1) == 20.0
    assert made == [1, 1]


def test_an_image_that_nobody_changes_is_compared_once(monkeypatch):
    total, made = counted(2)
    image, other = torch.ones(4, 5), torch.ones(4, 5)
    compared = []
    pixels = content_cache._bytes
    monkeypatch.setattr(content_cache, "_bytes", lambda one: compared.append(one) or pixels(one))
    with unchanging(image):
        assert [total(image, 1), total(image, 1), total(image[None][0], 1)] == [20.0] * 3
        assert not compared, "what is remembered was copied from it"
        assert total(other, 1) == 20.0
        assert compared, "another one of the same pixels is looked at"
    image[0, 0] = 3.0
    assert total(image, 1) == 22.0, "afterwards it may be changed again"
    assert made == [1, 1]


def test_functions_that_remember_among_each_other_hold_so_many_together():
    once = remembered(1, "test")(lambda image, factor: image * factor)
    again = remembered(1, "test")(lambda image, factor: image + factor)
    image, before = torch.ones(4, 5), content_cache.held()
    assert float(once(image, 2)[0, 0]) == 2.0
    assert float(again(image, 2)[0, 0]) == 3.0, "not what another function found of the same"
    assert content_cache.held() - before == 2 * image.nbytes
    content_cache.forget()


def test_what_is_remembered_is_not_the_callers_buffer():
    itself = remembered(1)(lambda image: image)
    image = torch.ones(4, 5)
    found = itself(image)
    image.zero_()
    assert torch.equal(found, torch.ones(4, 5))


@pytest.mark.parametrize("other", [torch.ones(5, 4), torch.ones(4, 5, dtype=torch.float64), torch.ones(4, 5) * -0.0])
def test_images_differ_by_shape_kind_and_the_sign_of_zero(other):
    total, made = counted(4)
    total(torch.ones(4, 5) * 0.0 if other.sum() == 0 else torch.ones(4, 5), 1)
    total(other, 1)
    assert len(made) == 2


def test_a_refusal_is_remembered_too_and_names_are_refused():
    total, made = counted(1)
    for _ in range(2):
        with pytest.raises(ValueError, match="negative"):
            total(torch.ones(4, 5), -1)
    assert made == [-1]
    with pytest.raises(TypeError, match="factor"):
        total(torch.ones(4, 5), factor=1)


def test_what_was_found_is_known_without_being_looked_at(monkeypatch):
    looked_at = []
    monkeypatch.setattr(content_cache, "_bytes", lambda image: looked_at.append(image) or image.numpy().reshape(-1))

    @remembered(1)
    def doubled(image):
        return image * 2.0

    @remembered(2)
    def raised(image, by):
        return image + by

    content_cache.forget()
    image = torch.ones(4, 5)
    with unchanging(image):
        found = doubled(image)
        first = raised(found, 1.0)
        assert raised(doubled(image), 1.0) is first
        assert not looked_at
        # Its own images are the copy, what was found of it, and what was found of that: none of them twice.
        assert content_cache.held() == 3 * 4 * 5 * 4
        assert raised(found.clone(), 1.0) is first
        assert looked_at


def test_every_thread_remembers_for_itself():
    total, made = counted(1)
    threads = [threading.Thread(target=lambda: [total(torch.ones(4, 5), 1) for _ in range(3)]) for _ in range(4)]
    for thread in threads:
        thread.start()
    for thread in threads:
        thread.join()
    assert len(made) == 4


@pytest.mark.parametrize("masked", [True, False])
def test_no_perturbation_changes_what_the_next_one_is_told(chest, masked, monkeypatch):
    """One after the other, in two orders, every perturbation gives what it gives when nothing is remembered."""

    film, lungs = chest(1)

    def everything(names):
        made = {}
        for name in names:
            try:
                made[name] = get(name)(film[None], 4, ["one"], masks=lungs[None] if masked else None)
            except PerturbationUndefined as reason:
                made[name] = str(reason)
        return made

    names = perturbation.names()
    with torch.inference_mode():  # as in a run; what is remembered of it must serve outside as well
        ways = [everything(names)]
    ways += [everything(names), everything(names[::-1])]
    monkeypatch.setattr(content_cache, "_same", lambda known, given: False)
    alone = everything(names)
    for name in names:
        for way in ways:
            if isinstance(alone[name], str):
                assert way[name] == alone[name]
            else:
                assert torch.equal(way[name], alone[name]), name


def test_of_large_images_fewer_calls_are_remembered(monkeypatch):
    monkeypatch.setattr(content_cache, "MOST", 1000)
    total, made = counted(4)
    for image in (torch.ones(10), torch.ones(1000)):
        made.clear()
        for factor in (1, 2, 3, 3, 1):
            total(image, factor)
        # Small ones are all found again; of large ones the last.
        assert made == ([1, 2, 3] if len(image) == 10 else [1, 2, 3, 1])


def test_what_is_held_is_counted_in_bytes_images_shared_once_and_forgotten_by_its_thread_alone():
    twice = remembered(2)(lambda image, name: (image, image[:2]))
    image, before = torch.ones(4, 8), content_cache.held()
    twice(image, "a")
    assert content_cache.held() - before == image.nbytes
    twice(image, "b")
    assert content_cache.held() - before == 2 * image.nbytes

    def elsewhere():
        twice(image, "c")
        found.append(content_cache.held())
        content_cache.forget()
        found.append(content_cache.held())

    found = []
    thread = threading.Thread(target=elsewhere)
    thread.start()
    thread.join()
    assert found == [image.nbytes, 0]
    assert content_cache.held() - before == 2 * image.nbytes
    content_cache.forget()
    assert content_cache.held() == 0


def test_of_a_large_film_no_more_is_held_than_a_dozen_images_of_its_size(chest, monkeypatch):
    """Perturbed in every way, one after the other, as in a run."""
    monkeypatch.setattr(content_cache, "MOST", 0)
    monkeypatch.setattr(coarse, "PIXELS", 192 * 256)
    film, lungs = (one.repeat_interleave(4, 0).repeat_interleave(4, 1) for one in chest(1, 192, 256))
    content_cache.forget()
    for name in perturbation.names():
        with suppress(PerturbationUndefined):
            get(name)(film[None], 4, ["one"], masks=lungs[None])
        assert content_cache.held() <= 12 * film.nbytes, name
