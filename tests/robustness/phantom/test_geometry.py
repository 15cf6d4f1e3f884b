"""Chords and shadows of single bodies against school geometry."""

import math

import numpy as np
import pytest
import torch
from hypothesis import given, settings
from hypothesis import strategies as st

from robustness.phantom.beam import ConeBeam
from robustness.phantom.geometry import ellipsoid, join, tube, turn
from robustness.phantom.projection import magnification

PARALLEL = 1e5  # cm from the source: rays parallel to 1 in 10 000


def chords(beam, bodies):
    enter, leave = beam.intervals(bodies)
    return (leave - enter) * beam.oblique


@given(radius=st.floats(0.3, 6.0), depth=st.floats(-5.0, 5.0), degrees=st.floats(0.0, 90.0))
@settings(max_examples=25)
def test_a_ray_through_the_middle_of_a_sphere_runs_two_radii(radius, depth, degrees):
    beam = ConeBeam(33, 20.0, 100.0, turn("z", degrees))
    centre = turn("z", degrees).T @ np.array([0.0, depth, 0.0])
    longest = float(chords(beam, ellipsoid(centre, [radius] * 3))[0, 16, 16])
    assert longest == pytest.approx(2 * radius, rel=1e-4)


def test_chords_of_a_sphere_follow_pythagoras():
    beam = ConeBeam(128, 10.0, PARALLEL, np.eye(3))
    got = chords(beam, ellipsoid([0, 0, 0], [3, 3, 3]))[0]
    r2 = beam.u[None] ** 2 + beam.v[:, None] ** 2
    want = 2 * (9 - r2).clamp(min=0).sqrt()
    assert torch.allclose(got, want, atol=2e-3)
    assert float(got[r2 > 9.01].max()) < 1e-6


@given(
    axes=st.tuples(*[st.floats(0.8, 4.0)] * 3),
    degrees=st.floats(-90, 90),
    axis=st.sampled_from("xyz"),
    shear=st.floats(-0.4, 0.4),
)
@settings(max_examples=25)
def test_a_parallel_projection_sums_to_the_volume_of_the_ellipsoid(axes, degrees, axis, shear):
    beam = ConeBeam(192, 16.0, PARALLEL, np.eye(3))
    body = ellipsoid([0.3, -0.2, 0.4], axes, turn(axis, degrees), shear=shear)
    want = 4 / 3 * math.pi * math.prod(axes)  # shear keeps volume
    assert float(chords(beam, body).sum()) * beam.pixel**2 == pytest.approx(want, rel=0.01)
    assert float(beam.accumulate(body, np.ones(1)).sum()) * beam.pixel**2 == pytest.approx(want, rel=0.01)
    assert float(beam.union(body).sum()) * beam.pixel**2 == pytest.approx(want, rel=0.01)


def test_a_plane_through_the_middle_leaves_half_a_sphere():
    beam = ConeBeam(192, 8.0, PARALLEL, np.eye(3))
    ball = ellipsoid([0, 0, 0], [3, 3, 3])
    whole = chords(beam, ball).sum()
    for normal in ([1.0, 0, 0], [0, 1.0, 0], [0.3, -0.5, 0.8]):
        assert float(chords(beam, ball.cut(normal, 0.0)).sum() / whole) == pytest.approx(0.5, abs=0.01)


def test_a_bent_tube_counts_nothing_twice():
    beam = ConeBeam(512, 12.0, PARALLEL, np.eye(3))
    axis = [[-4, 0, -1], [-1, 0, 1], [2, 0.5, 0.3], [4, 0, 2]]
    length = sum(math.dist(a, b) for a, b in zip(axis[1:], axis[:-1], strict=True))
    volume = float(beam.accumulate(tube(axis, 0.4), np.ones(3)).sum()) * beam.pixel**2
    assert volume == pytest.approx(math.pi * 0.16 * length, rel=0.01)


def test_rays_agree_with_points_inside():
    beam = ConeBeam(24, 12.0, 60.0, turn("z", 12) @ turn("x", -7), (0.4, -0.6))
    body = join(
        ellipsoid([1, -1, 0.5], [2, 3, 1.5], turn("y", 30)).cut([0.2, 0.9, 0.1], 0.5),
        tube([[0, 0, -3], [0.5, 0, 3]], 0.9),
    )
    enter, leave = (x.double().numpy() for x in beam.intervals(body))
    u, v = beam.u.double().numpy(), beam.v.double().numpy()
    for depth in np.linspace(-4, 4, 17):
        grow = 1 + depth / beam.distance
        seen = np.stack(np.broadcast_arrays(u[None] * grow, depth, v[:, None] * grow), -1)
        seen[..., 0] += beam.shift[0]
        seen[..., 2] += beam.shift[1]
        points = (seen @ beam.frame).reshape(-1, 3)
        inside = body.hold(points).reshape(len(body), 24, 24)
        sure = (np.abs(depth - enter) > 0.01) & (np.abs(depth - leave) > 0.01)
        assert (inside == ((depth > enter) & (depth < leave)))[sure].all()


def test_shadow_is_larger_by_the_magnification():
    beam = ConeBeam(400, 10.0, 80.0, np.eye(3))  # middle plane 80 cm from the source
    for depth in (-10.0, 0.0, 12.0):
        shadow = chords(beam, ellipsoid([0, depth, 0], [1, 1, 1]))[0] > 1e-4
        width = float(shadow.any(0).sum()) * beam.pixel
        # The detector at SID = 100 cm sees the sphere magnified by SID / (SID - OID); the middle plane by 100 / 80.
        want = 2 * magnification(100.0, 20.0 - depth) / magnification(100.0, 20.0)
        assert width == pytest.approx(want, abs=2.5 * beam.pixel)


def test_the_mirror_swaps_left_and_right():
    beam = ConeBeam(64, 12.0, 90.0, np.eye(3))
    bodies = tube([[1, 0, -2], [2, 1, 0], [1.5, 0, 2]], 0.5)
    assert torch.allclose(
        beam.accumulate(bodies, np.ones(2)).flip(1), beam.accumulate(bodies.mirrored(), np.ones(2)), atol=1e-4
    )


def test_windows_hold_the_whole_shadow():
    beam = ConeBeam(96, 14.0, 70.0, turn("z", 20))
    rng = np.random.default_rng(0)
    bodies = ellipsoid(
        rng.uniform(-5, 5, (30, 3)), rng.uniform(0.2, 2, (30, 3)), np.stack([turn("y", a) for a in range(30)])
    )
    whole = (chords(beam, bodies)).sum(0)
    assert torch.allclose(beam.accumulate(bodies, np.ones(30)), whole, atol=2e-3)


@pytest.mark.parametrize("axes", [(0, 1, 1), (1, -2, 1), (1, 1, float("nan"))])
def test_impossible_sizes_are_refused(axes):
    with pytest.raises(ValueError, match="semi_axes"):
        ellipsoid([0, 0, 0], axes)


def test_impossible_beams_and_tubes_are_refused():
    with pytest.raises(ValueError, match="radii"):
        tube([[0, 0, 0], [1, 0, 0]], -1.0)
    with pytest.raises(ValueError, match="field"):
        ConeBeam(64, -1.0, 100.0, np.eye(3))
    with pytest.raises(ValueError, match="size"):
        ConeBeam(2, 10.0, 100.0, np.eye(3))
    with pytest.raises(ValueError, match="object_to_detector"):
        magnification(100.0, 100.0)
