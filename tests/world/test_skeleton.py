import numpy as np
import pytest

from raypipe.world import skeleton as at
from raypipe.world import vehicles

HEIGHT = 1.75
PHASES = np.linspace(0, 2 * np.pi, 25)


def length(pose, first, second):
    return np.linalg.norm(pose[first] - pose[second])


@pytest.mark.parametrize("make", [at.walk, at.run], ids=["walk", "run"])
def test_bones_keep_their_length_through_the_gait(make):
    for phase in PHASES:
        pose = make(HEIGHT, phase)
        for side in (at.LEFT, at.RIGHT):
            assert length(pose, at.HIP + side, at.KNEE + side) == pytest.approx(at.THIGH * HEIGHT)
            assert length(pose, at.KNEE + side, at.ANKLE + side) == pytest.approx(at.SHIN * HEIGHT)
            assert length(pose, at.SHOULDER + side, at.ELBOW + side) == pytest.approx(at.UPPER_ARM * HEIGHT)


def test_a_walker_keeps_a_foot_down_and_a_runner_does_not():
    lowest = {
        make: [make(HEIGHT, phase)[at.ANKLE : at.ANKLE + 2, 2].min() for phase in PHASES] for make in (at.walk, at.run)
    }
    np.testing.assert_allclose(lowest[at.walk], at.ANKLE_HEIGHT * HEIGHT)
    assert max(lowest[at.run]) > at.ANKLE_HEIGHT * HEIGHT + 0.03


def test_legs_are_half_a_cycle_apart_and_arms_swing_against_them():
    pose, later = at.walk(HEIGHT, 0.7), at.walk(HEIGHT, 0.7 + np.pi)
    np.testing.assert_allclose(pose[at.KNEE, [0, 2]], later[at.KNEE + 1, [0, 2]], atol=1e-9)
    stride = at.walk(HEIGHT, np.pi / 2)  # the left leg is in front
    assert stride[at.ANKLE, 0] > 0.2 > -0.2 > stride[at.ANKLE + 1, 0]
    assert stride[at.HAND, 0] < stride[at.HAND + 1, 0]


def test_knees_bend_backwards_only():
    for phase in PHASES:
        pose = at.run(HEIGHT, phase)
        thigh, shin = pose[at.KNEE] - pose[at.HIP], pose[at.ANKLE] - pose[at.KNEE]
        assert np.cross(thigh, shin)[1] > 0


def test_standing_people_are_as_tall_as_they_are():
    pose = at.stand(HEIGHT, 0.0, 0)
    assert pose[at.HEAD, 2] + 0.065 * HEIGHT == pytest.approx(HEIGHT, abs=0.06)


def test_hands_and_feet_reach_the_bicycle():
    for crank in PHASES:
        pose = at.ride(HEIGHT, crank, vehicles.SADDLE, vehicles.GRIPS, vehicles.PEDAL_AXLE)
        assert np.linalg.norm(pose[at.HAND] - vehicles.GRIPS) < 0.1
        pedal = vehicles.PEDAL_AXLE + 0.17 * np.array([np.cos(crank), 0, -np.sin(crank)])
        assert np.linalg.norm(pose[at.ANKLE] - pedal) < 0.2


@pytest.mark.parametrize("direction", [0.0, 0.5, np.pi, -0.6])
def test_who_has_fallen_lies_flat_above_the_ground(direction):
    standing, lying = (at.fall(HEIGHT, progress, direction, 0.0) for progress in (0.0, 1.0))
    assert standing[at.HEAD, 2] > 1.4
    assert lying[at.HEAD, 2] < 0.45
    assert lying[[at.PELVIS, at.CHEST], 2].max() < 0.35
    assert lying[:, 2].min() > 0
    ahead = lying[at.HEAD, 0] - lying[at.PELVIS, 0]
    assert (ahead > 0.3) == (abs(direction) < 1)


def test_punches_come_near_the_head_of_the_other():
    nearest = min(
        np.linalg.norm(
            at.fight(HEIGHT, seconds, 0.82, HEIGHT, 0.0)[at.HAND : at.HAND + 2] - [0.82, 0, 0.9 * HEIGHT], axis=1
        ).min()
        for seconds in np.arange(0, 2, 0.04)
    )
    assert nearest < 0.25


def test_place_turns_and_moves():
    np.testing.assert_allclose(at.place(np.array([[1.0, 0, 2]]), (5, 6), np.pi / 2), [[5, 7, 2]], atol=1e-12)
