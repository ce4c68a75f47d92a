"""Actors at known places in a plain scene, for tests of the world."""

from dataclasses import replace

import numpy as np

from raypipe.world.actions import SPEEDS, Phase, make_actor
from raypipe.world.clips import ALL_COLOURS
from raypipe.world.scene import make_scene

WIDTH, HEIGHT, RATE = 320, 240, 25.0


def bare_scene(seed=0, width=WIDTH, height=HEIGHT):
    """Return a scene without occluders or shadows, so that all that changes is the actor itself."""
    scene = make_scene(seed, width, height)
    return replace(scene, occluders=(), shadowed=scene.background)


def actor_at(action, xy, heading=0.0, track_id=1, num_frames=50, seed=0, speed=None):
    """Return somebody who does one thing throughout, and is at `xy` in frame 0."""
    phase = Phase(action, 1e6, SPEEDS[action][0] if speed is None else speed)
    return make_actor(
        np.random.default_rng(seed),
        track_id,
        [phase],
        num_frames=num_frames,
        rate=RATE,
        anchor=xy,
        anchor_frame=0,
        heading=heading,
        colours=ALL_COLOURS,
    )
