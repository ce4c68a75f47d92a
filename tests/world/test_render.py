from dataclasses import replace

import cv2
import numpy as np
import pytest

from raypipe.world.actions import ACTIONS, SPEEDS
from raypipe.world.render import Renderer
from raypipe.world.scene import Occluder
from tests.helpers.casts import RATE, actor_at, bare_scene

SCENE = bare_scene()


def iou(first, second):
    x1, y1 = np.maximum(first[:2], second[:2])
    x2, y2 = np.minimum(first[2:], second[2:])
    area = max(x2 - x1, 0) * max(y2 - y1, 0)
    return area / (
        (first[2] - first[0]) * (first[3] - first[1]) + (second[2] - second[0]) * (second[3] - second[1]) - area
    )


@pytest.mark.parametrize("heading", [0.1, 1.7])
@pytest.mark.parametrize("action", [action for action in ACTIONS if action != "fighting"])
def test_boxes_are_tight_around_what_has_changed(action, heading):
    renderer = Renderer(SCENE, 0)
    empty, _ = renderer.render([], 0)
    image, (drawn,) = renderer.render([actor_at(action, (0, 9), heading)], 0)
    # The noise of a frame is the same, so that all that differs is the actor.
    changed = (np.abs(image.astype(int) - empty).max(axis=2) > 12).astype(np.uint8)
    x, y, width, height = cv2.boundingRect(changed)
    assert iou(np.array(drawn.box), np.array([x, y, x + width, y + height])) >= 0.9
    assert drawn.box == drawn.whole_box
    assert drawn.visible == 1


def test_a_post_hides_what_stands_behind_it_and_not_what_stands_before():
    height, width = SCENE.background.shape[:2]
    # The left half of the picture is an occluder at 8 m.
    half = Occluder(8.0, 0, 0, np.full((height, width // 2), 255, np.uint8))
    scene = replace(SCENE, occluders=(half,))
    behind, before = actor_at("driving", (0, 12)), actor_at("driving", (0, 7))
    _, (seen,) = Renderer(scene, 0).render([behind], 0)
    assert seen.visible == pytest.approx(0.5, abs=0.06)
    assert seen.box[0] == 160
    assert seen.whole_box[0] < 130
    _, (seen,) = Renderer(scene, 0).render([before], 0)
    assert seen.visible == 1


def test_the_nearer_hides_the_farther():
    near, far = actor_at("standing", (0, 8), track_id=1), actor_at("standing", (0, 10), track_id=2, seed=1)
    _, drawn = Renderer(SCENE, 0).render([near, far], 0)
    assert {one.track_id: one.visible == 1 for one in drawn} == {1: True, 2: False}


def test_half_outside_the_picture_is_half_visible():
    edge = SCENE.camera.half_width(9.0)
    _, (seen,) = Renderer(SCENE, 0).render([actor_at("driving", (edge, 9))], 0)
    assert seen.visible == pytest.approx(0.5, abs=0.08)
    assert seen.box[2] == 320 < seen.whole_box[2]


def test_the_farther_the_smaller_and_slower():
    def measure(y):
        renderer = Renderer(SCENE, 0)
        actor = actor_at("running", (-1, y))
        (first,), (last,) = (renderer.render([actor], frame)[1] for frame in (0, 10))
        return first.box[3] - first.box[1], ((last.box[0] + last.box[2]) - (first.box[0] + first.box[2])) / 2

    (near_height, near_shift), (far_height, far_shift) = measure(8), measure(20)
    assert far_height < near_height / 2
    assert 0 < far_shift < near_shift / 1.8


@pytest.mark.parametrize("action", ["walking", "running", "cycling", "skating", "driving"])
def test_actors_move_at_their_speed_in_metres_a_second(action):
    actor = actor_at(action, (-3, 9), heading=0.3, num_frames=26)
    travelled = np.linalg.norm(actor.xy[25] - actor.xy[0])
    assert travelled == pytest.approx(SPEEDS[action][0] * 25 / RATE)
    # The feet of the picture say the same, taken back to the ground.
    renderer = Renderer(SCENE, 0)
    (first,), (last,) = (renderer.render([actor], frame)[1] for frame in (0, 20))
    feet = np.array([[(one.whole_box[0] + one.whole_box[2]) / 2, one.whole_box[3]] for one in (first, last)])
    shift = np.linalg.norm(np.diff(SCENE.camera.ground(feet), axis=0))
    assert shift == pytest.approx(SPEEDS[action][0] * 20 / RATE, rel=0.25, abs=0.25)


def test_who_is_out_of_sight_is_not_drawn():
    renderer = Renderer(SCENE, 0)
    empty, _ = renderer.render([], 3)
    image, drawn = renderer.render([actor_at("standing", (60, 9)), actor_at("standing", (0, 40))], 3)
    assert drawn == []
    np.testing.assert_array_equal(image, empty)
