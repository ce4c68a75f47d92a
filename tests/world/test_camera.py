import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st

from raypipe.world.camera import Camera

LEVEL = Camera(320, 240, 300.0, 3.0, 0.0)
TILTED = Camera(320, 240, 300.0, 3.0, 0.2)


@pytest.mark.parametrize(
    ("point", "pixel", "depth"),
    [
        ((0, 10, 3), (160, 120), 10),  # straight ahead
        ((1, 10, 3), (190, 120), 10),  # 300 / 10 pixels a metre
        ((0, 10, 0), (160, 210), 10),  # 3 m below the axis
        ((-2, 30, 1.5), (140, 135), 30),
    ],
)
def test_a_level_camera_projects_by_similar_triangles(point, pixel, depth):
    pixels, depths = LEVEL.project(np.array([point], dtype=float))
    np.testing.assert_allclose(pixels, [pixel])
    np.testing.assert_allclose(depths, [depth])


@given(st.floats(-20, 20), st.floats(1, 60))
def test_ground_is_the_inverse_of_project(x, y):
    pixels, _ = TILTED.project(np.array([[x, y, 0.0]]))
    np.testing.assert_allclose(TILTED.ground(pixels), [[x, y]], rtol=1e-6, atol=1e-6)


def test_above_the_horizon_there_is_no_ground():
    assert TILTED.horizon == pytest.approx(120 - 300 * np.tan(0.2))
    assert not np.isfinite(TILTED.ground(np.array([[160.0, TILTED.horizon - 1]]))).any()
    assert np.isfinite(TILTED.ground(np.array([[160.0, TILTED.horizon + 1]]))).all()


def test_what_lies_at_the_half_width_is_at_the_edge():
    pixels, _ = TILTED.project(np.array([[TILTED.half_width(9.0), 9.0, 0.0]]))
    assert pixels[0, 0] == pytest.approx(320)
