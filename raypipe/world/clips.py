"""Clips: a scene, a cast and its scripts, drawn from seeds.

Who may be seen where is what `docs/world.md` says of the splits; `make_clip` decides it.
"""

from collections.abc import Iterable, Iterator
from dataclasses import dataclass, replace
from typing import Literal

import numpy as np
from numpy.typing import NDArray
from pydantic import Field

from raypipe.config.base import Config
from raypipe.world import captions
from raypipe.world.actions import FALL_SECONDS, FIGHT_METRES, NORMAL, Action, Actor, Phase, draw_speed, make_actor
from raypipe.world.people import COLOURS
from raypipe.world.render import Box, Drawn, Renderer
from raypipe.world.scene import PLACES, Place, Scene, make_scene

Split = Literal["pretrain", "train", "test", "shrinking"]
Novelty = Literal["running", "falling", "fighting", "cycling", "skating", "driving", "carting"]
NOVELTIES: tuple[Novelty, ...] = ("running", "falling", "fighting", "cycling", "skating", "driving", "carting")

# Colours of clothes and vehicles in which novel actions are seen, apart for training and for test. Dark ones and bright
# ones are in both: were all of one kind in one, brightness would tell what is novel.
PRETRAIN_COLOURS = ("red", "blue", "black", "white", "yellow")
TEST_COLOURS = ("orange", "purple", "pink")
ALL_COLOURS = tuple(COLOURS)
# So many novelties are in every clip of pretraining: drawing a scene costs more than an actor.
PRETRAIN_NOVELTIES = 3
TEST_PLACES: tuple[Place, ...] = ("square", "park")

# Below these an actor is in the truth of boxes and labels no more: too small or too hidden for anybody to tell.
MIN_SIDE_PIXELS, MIN_LENGTH_PIXELS, MIN_VISIBLE = 4.0, 10.0, 0.25
# Lanes in metres from the camera.
NEAR_LANES, FAR_LANES = (5.6, 12.0), (14.0, 23.0)
# In pretraining also as far as anybody goes in the shrinking clips and can still be told.
PRETRAIN_FAR_LANES = (14.0, 32.0)


class WorldConfig(Config):
    """How a world is drawn."""

    seed: int = Field(0, ge=0)
    width: int = Field(320, ge=64, multiple_of=2)
    height: int = Field(240, ge=48, multiple_of=2)
    fps: int = Field(25, ge=1)
    num_frames: int = Field(150, ge=2, description="frames of a clip")
    num_scenes: int = Field(4, ge=1, description="cameras that the train and test clips share")
    num_walkers: int = Field(4, ge=0)
    num_standing: int = Field(1, ge=0)
    num_strollers: int = Field(1, ge=0, le=1, description="1: every other clip has one")
    novelties: tuple[Novelty, ...] = Field(NOVELTIES, min_length=1, description="what the test clips show in turn")
    far_fraction: float = Field(0.25, ge=0, le=1, description="share of actors beyond 14 m, less than 40 pixels tall")


@dataclass(frozen=True)
class Seen:
    """What a frame shows of an actor, and what is true of it. Boxes are x1 y1 x2 y2 in pixels.

    `box` holds what is visible, `whole_box` the whole actor, `visible` is the share of it that can be seen.
    """

    track_id: int
    box: Box
    whole_box: Box
    visible: float
    class_name: Literal["person", "vehicle"]
    action: Action
    sentence: str
    is_novel: bool

    @property
    def is_clear(self) -> bool:
        """Whether enough of the actor is seen to be told from the background."""
        sides = (self.box[2] - self.box[0], self.box[3] - self.box[1])
        return self.visible >= MIN_VISIBLE and min(sides) >= MIN_SIDE_PIXELS and max(sides) >= MIN_LENGTH_PIXELS


@dataclass(frozen=True)
class Frame:
    """A picture, uint8 (H, W, 3), what it shows, and whether anything novel is clearly seen in it."""

    image: NDArray[np.uint8]
    seen: tuple[Seen, ...]

    @property
    def is_novel(self) -> bool:
        """Whether an action that is not normal is clearly seen."""
        return any(seen.is_novel and seen.is_clear for seen in self.seen)


@dataclass(frozen=True)
class Clip:
    """A clip before it is drawn: its scene, its actors and the number of its frames."""

    name: str
    scene: Scene
    actors: tuple[Actor, ...]
    num_frames: int
    noise_seed: int

    def frames(self, numbers: Iterable[int] | None = None) -> Iterator[Frame]:
        """Draw the frames with these numbers one after the other, by default all."""
        renderer = Renderer(self.scene, self.noise_seed)
        for number in range(self.num_frames) if numbers is None else numbers:
            image, drawn = renderer.render(self.actors, number)
            yield Frame(image, tuple(self._seen(one, number) for one in drawn))

    def actor(self, track_id: int) -> Actor:
        """Return an actor by its track."""
        return next(actor for actor in self.actors if actor.track_id == track_id)

    def _seen(self, drawn: Drawn, frame: int) -> Seen:
        actor = self.actor(drawn.track_id)
        action = actor.actions[frame]
        return Seen(
            drawn.track_id,
            drawn.box,
            drawn.whole_box,
            drawn.visible,
            "vehicle" if actor.is_vehicle else "person",
            action,
            captions.sentence(actor, frame),
            action not in NORMAL,
        )


class _Cast:
    """Draws the actors of one clip."""

    def __init__(self, rng: np.random.Generator, config: WorldConfig, scene: Scene, *, is_pretraining: bool) -> None:
        self._rng, self._config, self._scene, self._is_pretraining = rng, config, scene, is_pretraining
        self.actors: list[Actor] = []

    def _lane(self) -> float:
        far = PRETRAIN_FAR_LANES if self._is_pretraining else FAR_LANES
        low, high = far if self._rng.random() < self._config.far_fraction else NEAR_LANES
        return float(self._rng.uniform(low, high))

    def _heading(self, spread: float = 0.35) -> float:
        """Draw a heading: mostly across the view, now and then towards or away from the camera.

        In pretraining a quarter of them are any, and half are away or towards: who is seen from behind looks much the
        same whatever he does, so it takes more of them to learn it.
        """
        if self._is_pretraining:
            kind = self._rng.random()
            if kind < 0.25:
                return float(self._rng.uniform(-np.pi, np.pi))
            if kind < 0.75:
                return float(self._rng.choice([1, 1, -1]) * np.pi / 2 + self._rng.normal(0, 0.3))
        if spread > 0.3 and self._rng.random() < 0.15:
            return float(self._rng.choice([1, -1]) * np.pi / 2 + self._rng.normal(0, 0.3))
        return float(self._rng.choice([0.0, np.pi]) + self._rng.uniform(-spread, spread))

    def _add(
        self,
        phases: list[Phase],
        colours: tuple[str, ...],
        *,
        frame: int | None = None,
        at: tuple[float, float] | None = None,
        heading: float | None = None,
    ) -> Actor:
        rng, config = self._rng, self._config
        y = self._lane()
        x = float(rng.uniform(-0.75, 0.75)) * self._scene.camera.half_width(y)
        actor = make_actor(
            rng,
            len(self.actors) + 1,
            phases,
            num_frames=config.num_frames,
            rate=float(config.fps),
            anchor=at or (x, y),
            anchor_frame=int(rng.integers(config.num_frames)) if frame is None else frame,
            heading=self._heading() if heading is None else heading,
            colours=colours,
        )
        self.actors.append(actor)
        return actor

    def add_normal(self, *, with_stroller: bool) -> None:
        rng, config = self._rng, self._config
        total = config.num_frames / config.fps
        for _ in range(config.num_walkers):
            walk = Phase("walking", total, draw_speed(rng, "walking"))
            phases = [walk]
            if rng.random() < 0.2:
                before = float(rng.uniform(0.2, 0.6)) * total
                pause = Phase("standing", float(rng.uniform(1.2, 2.5)), 0.0)
                phases = [Phase("walking", before, walk.speed), pause, walk]
            self._add(phases, ALL_COLOURS)
        for _ in range(config.num_standing):
            self._add([Phase("standing", total, 0.0)], ALL_COLOURS, heading=float(rng.uniform(-np.pi, np.pi)))
        if with_stroller:
            self._add([Phase("pushing", total, draw_speed(rng, "pushing"))], ALL_COLOURS)

    def add_novel(self, kind: Novelty, colours: tuple[str, ...]) -> None:
        rng, config = self._rng, self._config
        total = config.num_frames / config.fps
        middle = int(config.num_frames * rng.uniform(0.35, 0.65))
        y = self._lane()
        x = float(rng.uniform(-0.45, 0.45)) * self._scene.camera.half_width(y)
        if kind == "fighting":
            self._add_fight((x, y), middle, colours)
        elif kind == "falling":
            phases = [
                Phase("walking", middle / config.fps, draw_speed(rng, "walking")),
                Phase("falling", FALL_SECONDS, draw_speed(rng, "falling")),
                Phase("lying", total, 0.0),
            ]
            self._add(phases, colours, frame=middle, at=(x, y))
        else:
            y = max(y, 8.0) if kind in ("driving", "carting") else y
            phase = Phase(kind, total, draw_speed(rng, kind))
            self._add([phase], colours, frame=middle, at=(x, y), heading=self._heading(0.25))

    def _add_fight(self, at: tuple[float, float], start: int, colours: tuple[str, ...]) -> None:
        """Two walk towards each other, and fight from a frame on."""
        rng, config = self._rng, self._config
        total = config.num_frames / config.fps
        heading = self._heading(0.3)
        pair = []
        for sign in (1, -1):
            spot = (
                at[0] - sign * FIGHT_METRES / 2 * float(np.cos(heading)),
                at[1] - sign * FIGHT_METRES / 2 * float(np.sin(heading)),
            )
            phases = [Phase("walking", start / config.fps, draw_speed(rng, "walking")), Phase("fighting", total, 0.0)]
            way = heading if sign > 0 else heading + np.pi
            pair.append(self._add(phases, colours, frame=start, at=spot, heading=way))
        gap = np.linalg.norm(pair[0].xy - pair[1].xy, axis=1)
        for first, second in (pair, pair[::-1]):
            self.actors[first.track_id - 1] = _facing(first, second, gap)

    def add_shrinking(
        self, first: Action, then: Action | None, colours: tuple[str, ...], start: tuple[float, float]
    ) -> None:
        """Somebody goes away from the camera, and when far may go on otherwise."""
        rng = self._rng
        speed = draw_speed(rng, first)
        far_seconds = (21.0 - start[1]) / max(speed, 0.1)
        phases = [Phase(first, far_seconds if then else 1e6, speed)]
        if then == "falling":
            phases += [Phase("falling", FALL_SECONDS, 0.9), Phase("lying", 1e6, 0.0)]
        elif then:
            phases.append(Phase(then, 1e6, draw_speed(rng, then)))
        heading = np.pi / 2 + np.arctan2(-start[0], 22.0) * 0.5
        self._add(phases, colours, frame=0, at=start, heading=float(heading))


def _facing(actor: Actor, opponent: Actor, gap: NDArray[np.float64]) -> Actor:
    return replace(actor, gap=gap, opponent=opponent.look)


def make_clip(config: WorldConfig, split: Split, number: int) -> Clip:
    """Return a clip of a split; the same config, split and number give the same clip.

    pretrain: every action, each clip in a scene of its own with several novelties; train: normal actions; test: one
    novelty per clip, in turn; shrinking: people who go away from the camera.
    """
    seeds = {"pretrain": 1, "train": 2, "test": 3, "shrinking": 4}
    rng = np.random.default_rng([config.seed, seeds[split], number])
    noise_seed = int(rng.integers(2**31))
    if split == "pretrain":
        # Even seeds are scenes of pretraining, odd ones of the cameras that train and test clips share.
        first = number * PRETRAIN_NOVELTIES
        novelties = [NOVELTIES[(first + i) % len(NOVELTIES)] for i in range(PRETRAIN_NOVELTIES)]
        scene_seed = 2 * (config.seed * 100_000 + number)
        scene = make_scene(scene_seed, config.width, config.height, PLACES)
    else:
        camera = number % config.num_scenes
        scene_seed = 2 * (config.seed * 100_000 + camera) + 1
        place = TEST_PLACES[camera % len(TEST_PLACES)]
        scene = make_scene(scene_seed, config.width, config.height, (place,))
        novelties = [config.novelties[number % len(config.novelties)]] if split == "test" else []
    cast = _Cast(rng, config, scene, is_pretraining=split == "pretrain")
    name = f"{number + 1:03d}"
    if split == "shrinking":
        name += "_" + _cast_shrinking(cast, number)
    else:
        cast.add_normal(with_stroller=bool(config.num_strollers and number % 2 == 0))
    for novelty in novelties:
        cast.add_novel(novelty, PRETRAIN_COLOURS if split == "pretrain" else TEST_COLOURS)
        name += f"_{novelty}"
    return Clip(name, scene, tuple(cast.actors), config.num_frames, noise_seed)


_SHRINKING: tuple[tuple[str, Action, Action | None], ...] = (
    ("walking", "walking", None),
    ("cycling", "cycling", None),
    ("running", "running", None),
    ("skating", "skating", None),
    ("walking_then_running", "walking", "running"),
    ("running_then_walking", "running", "walking"),
    ("walking_then_falling", "walking", "falling"),
    ("pushing", "pushing", None),
)


def _cast_shrinking(cast: _Cast, number: int) -> str:
    name, first, then = _SHRINKING[number % len(_SHRINKING)]
    cast.add_shrinking(first, then, TEST_COLOURS if first not in NORMAL or then else ALL_COLOURS, (-0.4, 5.2))
    return name
