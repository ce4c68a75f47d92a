"""Actors and what they do: a script of actions per actor, and from it place, heading and pose in every frame."""

from dataclasses import dataclass
from typing import Literal, get_args

import numpy as np
from numpy.typing import NDArray

from raypipe.world import skeleton as at
from raypipe.world import vehicles
from raypipe.world.camera import F64
from raypipe.world.people import COLOURS, Look, draw_look, dress
from raypipe.world.shapes import Body, Colour

Action = Literal[
    "walking", "standing", "pushing", "running", "falling", "lying",
    "fighting", "cycling", "skating", "driving", "carting",
]  # fmt: skip
NORMAL: frozenset[Action] = frozenset({"walking", "standing", "pushing"})
ACTIONS: tuple[Action, ...] = get_args(Action)

# Metres per second, and their spread among actors.
SPEEDS: dict[Action, tuple[float, float]] = {
    "walking": (1.4, 0.12),
    "standing": (0.0, 0.0),
    "pushing": (1.2, 0.1),
    "running": (4.0, 0.3),
    "falling": (0.9, 0.1),
    "lying": (0.0, 0.0),
    "fighting": (0.0, 0.0),
    "cycling": (5.0, 0.4),
    "skating": (3.5, 0.3),
    "driving": (7.0, 0.6),
    "carting": (4.0, 0.3),
}
FALL_SECONDS = 0.9
# A bicycle's wheel turns this many radians a metre; the cranks half as fast.
CRANK_PER_METRE = 0.5 / vehicles.WHEEL_RADIUS
FIGHT_METRES = 0.82


@dataclass(frozen=True)
class Phase:
    """A part of a script: an action for some seconds, at a speed in metres per second."""

    action: Action
    seconds: float
    speed: float


@dataclass(frozen=True)
class Actor:
    """Somebody or something that moves, over the T frames of a clip.

    `xy` (T, 2) in metres, `heading` in radians from x to y, `distance` (T,) travelled in metres, `since` (T,) seconds
    since the action began. `rate` is pictures per second. Of two who fight, `gap` (T,) is how far the other is.
    """

    track_id: int
    look: Look
    paint: Colour
    paint_name: str
    rate: float
    actions: tuple[Action, ...]
    xy: F64
    heading: float
    distance: F64
    since: F64
    manner: int
    gap: F64 | None = None
    opponent: Look | None = None

    @property
    def is_vehicle(self) -> bool:
        """Whether what is seen is a vehicle, not a person."""
        return self.actions[0] in ("driving", "carting")

    def is_there(self, frame: int) -> bool:
        """Whether the actor is before the camera and not out of sight."""
        return bool(2.0 < self.xy[frame, 1] < 33.0)


def make_actor(
    rng: np.random.Generator,
    track_id: int,
    phases: list[Phase],
    *,
    num_frames: int,
    rate: float,
    anchor: tuple[float, float],
    anchor_frame: int,
    heading: float,
    colours: tuple[str, ...],
) -> Actor:
    """Return an actor who follows a script from the first frame on, and is at `anchor` in the anchor frame.

    The last phase goes on to the end of the clip.
    """
    look = draw_look(rng, colours)
    paint_name = str(rng.choice(list(colours)))
    actions: list[Action] = []
    speeds, since = np.zeros(num_frames), np.zeros(num_frames)
    ends = np.cumsum([phase.seconds for phase in phases])
    for frame in range(num_frames):
        number = min(int(np.searchsorted(ends, frame / rate, side="right")), len(phases) - 1)
        actions.append(phases[number].action)
        speeds[frame] = phases[number].speed
        since[frame] = frame / rate - (ends[number - 1] if number else 0.0)
    distance = np.concatenate([[0.0], np.cumsum(speeds[:-1])]) / rate
    along = distance - distance[anchor_frame]
    direction = np.array([np.cos(heading), np.sin(heading)])
    return Actor(
        track_id=track_id,
        look=look,
        paint=COLOURS[paint_name],
        paint_name=paint_name,
        rate=rate,
        actions=tuple(actions),
        xy=np.asarray(anchor) + along[:, None] * direction,
        heading=heading,
        distance=distance + float(rng.uniform(0, 3)),
        since=since,
        manner=int(rng.integers(0, 1000)),
    )


def draw_speed(rng: np.random.Generator, action: Action) -> float:
    """Draw the speed of an actor, in metres per second."""
    mean, spread = SPEEDS[action]
    return float(np.clip(rng.normal(mean, spread), mean - 2 * spread, mean + 2 * spread))


def body_of(actor: Actor, frame: int, sun: F64) -> Body:
    """Return the parts of an actor in a frame; `sun` shades the faces of vehicles."""
    body = Body()
    spot = vehicles.Spot((float(actor.xy[frame, 0]), float(actor.xy[frame, 1])), actor.heading)
    action = actor.actions[frame]
    if action == "driving":
        vehicles.add_car(body, spot, actor.paint, sun)
        return body
    if action == "cycling":
        vehicles.add_bicycle(body, spot, actor.paint, _crank(actor, frame))
    elif action == "skating":
        vehicles.add_skateboard(body, spot, actor.paint)
    elif action == "pushing":
        vehicles.add_stroller(body, spot, actor.paint)
    elif action == "carting":
        vehicles.add_cart(body, spot, actor.paint, sun)
    dress(body, actor.look, spot.points(_pose(actor, frame)))
    return body


def _crank(actor: Actor, frame: int) -> float:
    return float(actor.distance[frame]) * CRANK_PER_METRE


def _pose(actor: Actor, frame: int) -> NDArray[np.float64]:
    height, seconds = actor.look.height, frame / actor.rate
    action, distance, since = actor.actions[frame], float(actor.distance[frame]), float(actor.since[frame])
    if action == "walking":
        return at.walk(height, 2 * np.pi * distance / (at.WALK_STRIDE * height))
    if action == "pushing":
        return at.push(height, 2 * np.pi * distance / (at.WALK_STRIDE * height), vehicles.STROLLER_HANDLE)
    if action == "running":
        return at.run(height, 2 * np.pi * distance / (at.RUN_STRIDE * height))
    if action == "cycling":
        return at.ride(height, _crank(actor, frame), vehicles.SADDLE, vehicles.GRIPS, vehicles.PEDAL_AXLE)
    if action == "skating":
        return at.skate(height, seconds + actor.manner, vehicles.DECK_METRES)
    if action == "carting":
        return at.sit(height, *vehicles.bench_of_cart(height))
    if action in ("falling", "lying"):
        direction = (0.0, 0.5, np.pi, -0.6)[actor.manner % 4]
        progress = 1.0 if action == "lying" else since / FALL_SECONDS
        return at.fall(height, progress, direction, seconds)
    if action == "fighting" and actor.gap is not None and actor.opponent is not None:
        return at.fight(height, since, float(actor.gap[frame]), actor.opponent.height, actor.manner % 7)
    return at.stand(height, seconds + actor.manner, actor.manner % 4)
