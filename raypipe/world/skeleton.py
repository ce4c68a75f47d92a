"""Poses: where the joints of a person are, from joint angles or from what hands and feet hold on to.

Local coordinates in metres: forward, left, up; the person stands at the origin on the ground. Lengths of the limbs
are shares of the height (Drillis and Contini, 1966, rounded).
"""

from math import cos, pi, sin, sqrt

import numpy as np

from raypipe.world.camera import F64

(PELVIS, WAIST, CHEST, NECK, HEAD, FACE, HIP, KNEE, ANKLE, TOE, SHOULDER, ELBOW, HAND) = (
    0, 1, 2, 3, 4, 5, 6, 8, 10, 12, 14, 16, 18,
)  # fmt: skip
Place = tuple[float, float, float]
NUM_JOINTS = 20  # those from HIP on are left and right
LEFT, RIGHT = 0, 1
SIDE_SIGN = (1.0, -1.0)

THIGH, SHIN, FOOT, UPPER_ARM, FOREARM = 0.245, 0.246, 0.1, 0.172, 0.165
HIP_HALF, SHOULDER_HALF, TRUNK, ANKLE_HEIGHT = 0.052, 0.108, 0.285, 0.042
WALK_STRIDE, RUN_STRIDE = 0.83, 1.45  # metres of a whole cycle per metre of height


def stand_up(
    height: float,
    *,
    lean: float = 0.0,
    hip: tuple[float, float] = (0.0, 0.0),
    knee: tuple[float, float] = (0.05, 0.05),
    arm: tuple[float, float] = (0.0, 0.0),
    elbow: tuple[float, float] = (0.15, 0.15),
    spread: tuple[float, float] = (0.12, 0.12),
    twist: float = 0.0,
    stance: float = 0.0,
) -> F64:
    """Return the joints, shape (20, 3), with the lower foot on the ground.

    Angles in radians: trunk, thighs and upper arms from upright, forward is positive; knees and elbows are bent by
    theirs. `spread` takes the arms sideways, `stance` the legs; `twist` turns the shoulders, left one forward.
    """
    joints = np.zeros((NUM_JOINTS, 3))
    for side, sign in enumerate(SIDE_SIGN):
        joints[HIP + side] = (0, sign * HIP_HALF * height, 0)
        out = sign * sin(stance)
        thigh, shin = hip[side], hip[side] - knee[side]
        joints[KNEE + side] = joints[HIP + side] + THIGH * height * np.array([sin(thigh), out, -cos(thigh)])
        joints[ANKLE + side] = joints[KNEE + side] + SHIN * height * np.array([sin(shin), out, -cos(shin)])
        # The foot is level on the ground, and hangs down behind.
        drop = max(0.0, -shin) * 0.75
        joints[TOE + side] = joints[ANKLE + side] + FOOT * height * np.array([cos(drop), 0.15 * sign, -sin(drop)])
        joints[TOE + side, 2] -= 0.015 * height
    _put_trunk(joints, height, lean, twist)
    for side, sign in enumerate(SIDE_SIGN):
        upper, lower = arm[side], arm[side] + elbow[side]
        out = sign * sin(spread[side])
        shoulder = joints[SHOULDER + side]
        joints[ELBOW + side] = shoulder + UPPER_ARM * height * _unit(sin(upper), out, -cos(upper))
        joints[HAND + side] = joints[ELBOW + side] + FOREARM * height * _unit(sin(lower), out * 0.5, -cos(lower))
    joints[:, 2] += ANKLE_HEIGHT * height - joints[ANKLE : ANKLE + 2, 2].min()
    return joints


def _put_trunk(joints: F64, height: float, lean: float, twist: float = 0.0) -> None:
    up = np.array([sin(lean), 0.0, cos(lean)])
    pelvis = joints[HIP : HIP + 2].mean(axis=0)
    joints[PELVIS] = pelvis + up * 0.02 * height
    joints[WAIST] = pelvis + up * 0.1 * height
    joints[CHEST] = pelvis + up * (TRUNK - 0.035) * height
    for side, sign in enumerate(SIDE_SIGN):
        across = np.array([sin(twist) * sign, cos(twist) * sign, 0.0])
        joints[SHOULDER + side] = pelvis + up * TRUNK * height + across * SHOULDER_HALF * height
    # Heads stay more upright than trunks.
    neck = np.array([sin(lean * 0.6), 0.0, cos(lean * 0.6)])
    joints[NECK] = pelvis + up * (TRUNK + 0.035) * height
    joints[HEAD] = joints[NECK] + neck * 0.078 * height
    joints[FACE] = joints[HEAD] + np.array([1.0, 0.0, -0.1]) * 0.05 * height


def _unit(*vector: float) -> F64:
    found = np.array(vector)
    return found / sqrt(float(found @ found))


def _reach(joints: F64, start: int, target: Place, lengths: tuple[float, float], pole: Place) -> None:
    """Put the two joints after `start` so that the last one is at the target, or as near as it gets; bend to `pole`.

    `start` is HIP or SHOULDER with its side; its knee or elbow is 2 behind it, and ankle or hand 4.
    """
    # Plain floats: arrays of three numbers cost ten times as much.
    upper, lower = lengths
    ox, oy, oz = joints[start].tolist()
    wx, wy, wz = target[0] - ox, target[1] - oy, target[2] - oz
    distance = sqrt(wx * wx + wy * wy + wz * wz) + 1e-9
    ax, ay, az = wx / distance, wy / distance, wz / distance
    distance = min(max(distance, abs(upper - lower) + 1e-3), upper + lower - 1e-3)
    share = (upper**2 - lower**2 + distance**2) / (2 * distance)
    dot = pole[0] * ax + pole[1] * ay + pole[2] * az
    sx, sy, sz = pole[0] - dot * ax, pole[1] - dot * ay, pole[2] - dot * az
    out = sqrt(max(upper**2 - share**2, 0.0)) / (sqrt(sx * sx + sy * sy + sz * sz) + 1e-9)
    joints[start + 2] = (ox + ax * share + sx * out, oy + ay * share + sy * out, oz + az * share + sz * out)
    joints[start + 4] = (ox + ax * distance, oy + ay * distance, oz + az * distance)


def reach_hand(joints: F64, height: float, side: int, target: Place) -> None:
    """Put a hand to a place, the elbow down and outside."""
    lengths = (UPPER_ARM * height, FOREARM * height)
    _reach(joints, SHOULDER + side, target, lengths, (-0.3, 0.5 * SIDE_SIGN[side], -1.0))


def reach_foot(joints: F64, height: float, side: int, target: Place) -> None:
    """Put an ankle to a place, the knee in front, the foot level."""
    lengths = (THIGH * height, SHIN * height)
    _reach(joints, HIP + side, target, lengths, (1.0, 0.2 * SIDE_SIGN[side], 0.2))
    joints[TOE + side] = joints[ANKLE + side] + np.array([FOOT * height, 0.0, -0.02 * height])


def walk(height: float, phase: float, arms: float = 0.42) -> F64:
    """Return a pose of the gait cycle; the phase in radians, 0 where the left leg swings through below the hip."""
    left, right = phase, phase + pi
    hips = (0.06 + 0.42 * sin(left), 0.06 + 0.42 * sin(right))
    # The knee bends most as the leg leaves the ground, and is straight when the heel comes down.
    knees = (0.1 + 0.95 * max(0.0, cos(left + 0.45)) ** 1.5, 0.1 + 0.95 * max(0.0, cos(right + 0.45)) ** 1.5)
    swing = (-arms * sin(left), -arms * sin(right))
    elbows = (0.25 + 0.3 * max(0.0, -sin(left)), 0.25 + 0.3 * max(0.0, -sin(right)))
    return stand_up(height, lean=0.05, hip=hips, knee=knees, arm=swing, elbow=elbows, twist=-0.12 * sin(left))


def run(height: float, phase: float) -> F64:
    """Return a pose of running: both feet leave the ground, elbows are bent, the trunk leans forward."""
    left, right = phase, phase + pi
    hips = (0.27 + 0.62 * sin(left), 0.27 + 0.62 * sin(right))
    knees = (_running_knee(left), _running_knee(right))
    swing = (-0.1 - 0.75 * sin(left), -0.1 - 0.75 * sin(right))
    twist = -0.25 * sin(left)
    pose = stand_up(
        height, lean=0.22, hip=hips, knee=knees, arm=swing, elbow=(1.6, 1.6), spread=(0.2, 0.2), twist=twist
    )
    pose[:, 2] += 0.05 * height * max(0.0, abs(sin(phase)) - 0.35)
    return pose


def _running_knee(phase: float) -> float:
    """Return how far a knee is bent: most while the leg swings through, some when the thigh is high in front."""
    swing: float = max(0.0, cos(phase + 0.5)) ** 1.2
    return 0.3 + 1.55 * swing + 0.35 * max(0.0, sin(phase))


def stand(height: float, seconds: float, manner: int) -> F64:
    """Return a pose of standing: arms down, a hand at the ear, hands at the hips, or arms folded; it sways a little."""
    sway = 0.03 * sin(seconds * 1.3)
    pose = stand_up(height, lean=sway, arm=(0.05 + sway, 0.02 - sway), elbow=(0.2, 0.2), stance=0.06)
    if manner == 1:
        head = pose[HEAD]
        reach_hand(pose, height, RIGHT, (head[0] + 0.02, head[1] - 0.1, head[2] - 0.02))
    elif manner == 2:
        for side, sign in enumerate(SIDE_SIGN):
            reach_hand(pose, height, side, (0.03, sign * 0.1 * height, 0.57 * height))
    elif manner == 3:
        for side, sign in enumerate(SIDE_SIGN):
            reach_hand(pose, height, side, (0.13 * height, -sign * 0.05 * height, 0.7 * height))
    return pose


def push(height: float, phase: float, handle: Place) -> F64:
    """Return a pose of walking with both hands on a handle in front, (forward, half width, up) in metres."""
    pose = walk(height, phase)
    for side, sign in enumerate(SIDE_SIGN):
        reach_hand(pose, height, side, (handle[0], sign * handle[1], handle[2]))
    return pose


def ride(height: float, crank: float, saddle: F64, grips: F64, pedal_axle: F64) -> F64:
    """Return a pose on a bicycle; the crank's angle in radians, and where saddle, left grip and pedal axle are."""
    pose = stand_up(height)
    for side, sign in enumerate(SIDE_SIGN):
        pose[HIP + side] = saddle + np.array([0.0, sign * HIP_HALF * height, 0.07 * height])
    _put_trunk(pose, height, 0.62)
    for side, sign in enumerate(SIDE_SIGN):
        angle = crank + (0 if side == LEFT else pi)
        pedal = pedal_axle + 0.17 * np.array([cos(angle), 0.0, -sin(angle)])
        reach_foot(pose, height, side, (pedal[0] - 0.06, sign * 0.11, pedal[2] + 0.05))
        reach_hand(pose, height, side, (grips[0], sign * grips[1], grips[2]))
    return pose


def sit(height: float, seat: F64, wheel: F64, feet: F64) -> F64:
    """Return a pose of driving: seated, hands on the wheel's left and right, feet ahead."""
    pose = stand_up(height)
    for side, sign in enumerate(SIDE_SIGN):
        pose[HIP + side] = seat + np.array([0.0, sign * HIP_HALF * height, 0.0])
    _put_trunk(pose, height, 0.05)
    for side, sign in enumerate(SIDE_SIGN):
        reach_foot(pose, height, side, (feet[0], sign * 0.1, feet[2]))
        reach_hand(pose, height, side, (wheel[0], sign * wheel[1], wheel[2]))
    return pose


def skate(height: float, seconds: float, deck_metres: float) -> F64:
    """Return a pose across a skateboard: knees bent, arms out to both sides, the left foot ahead."""
    pose = stand_up(height)
    low = 0.41 + 0.02 * sin(seconds * 2.1)
    for side, sign in enumerate(SIDE_SIGN):
        pose[HIP + side] = (-0.06 * height, sign * HIP_HALF * height, deck_metres + low * height)
    _put_trunk(pose, height, 0.3 + 0.06 * sin(seconds * 1.7))
    for side, sign in enumerate(SIDE_SIGN):
        reach_foot(pose, height, side, (-0.02 * height, sign * 0.17 * height, deck_metres + ANKLE_HEIGHT * height))
        wave = 0.05 * sin(seconds * 2.6 + side * 2)
        shoulder = pose[SHOULDER + side]
        reach = (shoulder[0] + 0.05 * height, sign * 0.38 * height, shoulder[2] + (wave - 0.05) * height)
        reach_hand(pose, height, side, reach)
    return turn(pose, -1.25)


def fight(height: float, seconds: float, opponent_metres: float, opponent_height: float, offset: float) -> F64:
    """Return a pose of boxing towards somebody ahead: fists up, a punch every now and then, sometimes a kick."""
    beat = seconds * 7.0 + offset
    punches = (max(0.0, sin(beat)) ** 2, max(0.0, -sin(beat)) ** 2)
    kick = max(0.0, sin(seconds * 1.9 + offset)) ** 8
    lean = 0.1 + 0.22 * max(punches) - 0.35 * kick - 0.12 * max(0.0, sin(seconds * 2.3 + offset + 2.0)) ** 4
    hips = (0.38 + 0.08 * sin(beat / 2), -0.25 + 1.6 * kick)
    pose = stand_up(height, lean=lean, hip=hips, knee=(0.45, 0.35 + 0.3 * kick), stance=0.08, twist=0.3 * sin(beat))
    for side, sign in enumerate(SIDE_SIGN):
        share = punches[side]
        guard = pose[SHOULDER + side] + np.array([0.17, -0.03 * sign, 0.06]) * height
        aim = np.array([opponent_metres - 0.1, 0.04 * sign, opponent_height * 0.87])
        target = guard + (aim - guard) * share
        reach_hand(pose, height, side, (float(target[0]), float(target[1]), float(target[2])))
    return pose


def fall(height: float, progress: float, direction: float, seconds: float) -> F64:
    """Return a pose of a fall: stumbling at progress 0, on the ground at 1; `direction` 0 is forward, pi backward."""
    progress = min(progress, 1.0)
    bent, settled = sin(pi * progress), max(0.0, progress - 0.6) / 0.4
    stir = 0.04 * sin(seconds * 2.0) * settled
    # Whoever lies on the back may draw up a knee; face down the thighs are straight and a shin may rise.
    is_backward = abs(direction) > pi / 2
    thigh, shin = (0.75, 1.3) if is_backward else (-0.02, 0.5)
    flung = 0.6 + 1.3 * bent + (1.9 if not is_backward else 0.35) * settled
    pose = stand_up(
        height,
        lean=(0.15 + 0.3 * bent) * (1 - settled),
        hip=(0.25 * (1 - settled) + 0.5 * bent + thigh * settled, 0.1 * (1 - settled) + 0.2 * bent),
        knee=(0.3 * (1 - settled) + 0.7 * bent + shin * settled, 0.15 + 0.4 * bent),
        arm=(flung, flung * 0.85 + stir),
        elbow=(0.5 - 0.3 * settled, 0.7 - 0.5 * settled),
        spread=(0.6, 0.75),
        stance=0.12 * settled,
    )
    angle = (pi / 2 - 0.03) * progress**1.7
    pose = turn(pose, -direction)
    cosine, sine = cos(angle), sin(angle)
    forward = pose[:, 0] * cosine + pose[:, 2] * sine
    pose[:, 2] = pose[:, 2] * cosine - pose[:, 0] * sine
    pose[:, 0] = forward
    pose = turn(pose, direction)
    # Nothing goes into the ground: who falls stays on the feet, who lies rests on the trunk, with the arms beside it.
    lowest = float(pose[:, 2].min()) - ANKLE_HEIGHT * height
    trunk = float(min(pose[PELVIS, 2], pose[CHEST, 2])) - 0.06 * height
    pose[:, 2] -= min(lowest, 0.0) * (1 - settled) + trunk * settled
    pose[:, 2] = np.maximum(pose[:, 2], 0.03 * height)
    return pose


def turn(pose: F64, angle: float) -> F64:
    """Return a pose turned to the left around the vertical, in radians."""
    cosine, sine = cos(angle), sin(angle)
    turned = pose.copy()
    turned[:, 0] = pose[:, 0] * cosine - pose[:, 1] * sine
    turned[:, 1] = pose[:, 0] * sine + pose[:, 1] * cosine
    return turned


def place(points_N3: F64, at: tuple[float, float], heading: float) -> F64:
    """Return local points in the world: turned to the heading (radians from x to y) and moved to a place."""
    moved = turn(points_N3, heading)
    moved[:, 0] += at[0]
    moved[:, 1] += at[1]
    return moved
