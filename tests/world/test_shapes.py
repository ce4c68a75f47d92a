import numpy as np
import pytest

from raypipe.world.camera import Camera
from raypipe.world.shapes import FRACTION_BITS, Body, support, to_fixed

CAMERA = Camera(320, 240, 300.0, 0.0, 0.0)


def test_the_outline_of_a_disc_touches_its_square():
    points = support(np.array([[[10.0, 20.0]]]), np.array([[4.0]]))[0]
    np.testing.assert_allclose(np.linalg.norm(points - [10, 20], axis=1), 4)
    assert points[:, 0].max() == pytest.approx(14)
    assert points[:, 0].min() == pytest.approx(6)


def test_the_outline_of_two_discs_holds_both_ends():
    points = support(np.array([[[0.0, 0.0], [10.0, 0.0]]]), np.array([[1.0, 2.0]]))[0]
    assert (points[:, 0].min(), points[:, 0].max()) == pytest.approx((-1, 12))
    assert np.abs(points[:, 1]).max() <= 2


def test_parts_come_farthest_first_and_near_things_are_larger():
    body = Body()
    body.hull((1, 1, 1), ((0, 5, 0), 0.5))
    body.hull((2, 2, 2), ((0, 10, 0), 0.5))
    body.face(np.array([(0, 7, 0), (1, 7, 0), (1, 7, 1)]), (3, 3, 3))
    outlines = [outline for outline in body.outlines(CAMERA, (0, -1)) if not outline.is_inner]
    assert [round(outline.depth) for outline in outlines] == [10, 7, 5]
    widths = [np.ptp(outline.points[:, 0]) / 2**FRACTION_BITS for outline in outlines]
    # 1 m across at 10 m and at 5 m, at 300 pixels.
    assert widths[0] == pytest.approx(30, abs=0.2)
    assert widths[2] == pytest.approx(60, abs=0.2)


def test_lit_parts_lie_inside_their_outline():
    body = Body()
    body.hull((9, 9, 9), ((0, 5, 0), 0.5), ((1, 5, 0), 0.2))
    whole, lit = sorted(body.outlines(CAMERA, (0.6, -0.8)), key=lambda outline: outline.is_inner)
    assert (lit.points.min(axis=0) >= whole.points.min(axis=0)).all()
    assert (lit.points.max(axis=0) <= whole.points.max(axis=0)).all()


def test_the_centre_of_the_first_pixel_is_nought():
    np.testing.assert_array_equal(to_fixed(np.array([[0.5, 1.5]])), [[0, 1 << FRACTION_BITS]])
    assert np.abs(to_fixed(np.array([[1e9, -1e9]]))).max() < 2**18


def test_shadows_fall_away_from_the_sun():
    body = Body()
    body.hull((9, 9, 9), ((0, 8, 1.0), 0.1))
    # The sun stands at 45 degrees on the left: the shadow of what is 1 m high lies 1 m to the right.
    (shadow,) = body.shadows(Camera(320, 240, 300.0, 3.0, 0.0), np.array([-1.0, 0.0, 1.0]))
    x = shadow[:, 0].mean() / 2**FRACTION_BITS + 0.5
    assert x == pytest.approx(160 + 300 / 8, abs=0.5)
