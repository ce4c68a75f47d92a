"""Question and image tokens that carry a known action: what a state machine can learn from, and memory tests run on."""

import zlib
from collections.abc import Sequence
from dataclasses import dataclass

import numpy as np
import torch
from numpy.typing import NDArray
from torch import Tensor
from torch.nn import functional

from raypipe.models.state_machine.machine import StateMachine, StateMachineShape

# What people do: one word each, so that a sentence about it, or its question, can be told by its words.
VERBS = """
walking running riding skating fighting jumping pushing pulling throwing catching sitting standing lying falling
climbing dancing waving kicking lifting carrying reading eating drinking smoking driving cycling digging sweeping
painting fishing bowing crawling hiding knocking marching pointing rowing shouting sleeping swimming
"""
ACTIONS = VERBS.split()
VAGUE = "a person"


@dataclass(frozen=True)
class World:
    """Directions of K actions in text and in image space, (K, H_d), unrelated; embeddings of "yes" and "no", (H_d,)."""

    texts: Tensor
    images: Tensor
    yes: Tensor
    no: Tensor
    shape: StateMachineShape


def make_world(shape: StateMachineShape, num_actions: int = len(ACTIONS), seed: int = 0) -> World:
    generator = torch.Generator().manual_seed(seed)

    def directions(count: int) -> Tensor:
        return functional.normalize(torch.randn(count, shape.hidden, generator=generator), dim=1) * shape.hidden**0.5

    yes, no = directions(2)
    return World(directions(num_actions), directions(num_actions), yes, no, shape)


def question_tokens(world: World, actions_N: Tensor, generator: torch.Generator, noise: float = 0.5) -> Tensor:
    """Return questions about actions, (N, S_l, H_d): CLS and one word carry it, other words do not, the rest is 0."""
    sizes = world.shape
    tokens = torch.randn(len(actions_N), sizes.max_text, sizes.hidden, generator=generator)
    about = world.texts[actions_N]
    tokens[:, 0] = about + noise * tokens[:, 0]
    tokens[:, 1] = about + noise * tokens[:, 1]
    lengths = torch.randint(2, sizes.max_text + 1, (len(actions_N),), generator=generator)
    return tokens * (torch.arange(sizes.max_text) < lengths[:, None])[:, :, None]


def image_tokens(
    world: World, actions_N: Tensor, generator: torch.Generator, noise: float | Tensor = 0.5, num_carriers: int = 4
) -> Tensor:
    """Return images of actions, (N, N_q, H_d): the first tokens carry the action, the others are distractors.

    Distractors show other actions, half as strong, in noise; `noise` may be one per image.
    """
    sizes = world.shape
    count = len(actions_N)
    tokens = torch.randn(count, sizes.num_query, sizes.hidden, generator=generator)
    noise = torch.as_tensor(noise, dtype=torch.float32).expand(count)[:, None, None]
    tokens[:, :num_carriers] = world.images[actions_N][:, None] + noise * tokens[:, :num_carriers]
    others = torch.randint(len(world.images), (count, sizes.num_query - num_carriers), generator=generator)
    tokens[:, num_carriers:] += 0.5 * world.images[others]
    return tokens


def train(
    world: World,
    num_steps: int,
    batch_size: int = 48,
    learning_rate: float = 1e-2,
    noise: tuple[float, float] = (0.5, 0.5),
    seed: int = 0,
) -> StateMachine:
    """Return a machine trained on grids of images and questions, the few pairs that match weighing half the loss.

    `noise` is the range of the images' noise.
    """
    generator = torch.Generator().manual_seed(seed)
    with torch.random.fork_rng():
        torch.manual_seed(seed)
        machine = StateMachine(world.shape)
    optimizer = torch.optim.Adam(machine.parameters(), lr=learning_rate)
    schedule = torch.optim.lr_scheduler.OneCycleLR(optimizer, learning_rate, total_steps=num_steps)
    for _ in range(num_steps):
        actions = torch.randint(len(world.texts), (batch_size,), generator=generator)
        image_noise = noise[0] + (noise[1] - noise[0]) * torch.rand(batch_size, generator=generator)
        question = machine.encode_question(question_tokens(world, actions, generator))
        image = machine.encode_image(image_tokens(world, actions, generator, image_noise))
        logits = machine.logits(machine.answer_grid(question, image), world.yes, world.no)
        holds = actions[:, None] == actions[None]
        share = holds.float().mean()
        weights = torch.where(holds, 0.5 / share, 0.5 / (1 - share))
        loss = functional.binary_cross_entropy_with_logits(logits, holds.float(), weights)
        optimizer.zero_grad()
        loss.backward()
        optimizer.step()
        schedule.step()
    return machine.eval().requires_grad_(False)


def balanced_accuracy(machine: StateMachine, world: World, num_pairs: int = 4000, noise: float = 0.5) -> float:
    """Return the mean of the shares of matching and of mismatched new pairs that are answered rightly."""
    generator = torch.Generator().manual_seed(10**6)
    actions = torch.randint(len(world.texts), (num_pairs,), generator=generator)
    others = (actions + torch.randint(1, len(world.texts), (num_pairs,), generator=generator)) % len(world.texts)
    holds = torch.arange(num_pairs) % 2 == 0
    questions = question_tokens(world, torch.where(holds, actions, others), generator, noise)
    images = image_tokens(world, actions, generator, noise)
    says_yes = machine.probability_yes(machine(questions, images), world.yes, world.no) > 0.5
    return float(says_yes[holds].float().mean() + (~says_yes[~holds]).float().mean()) / 2


def sentence_about(action: int) -> str:
    return f"a man is {ACTIONS[action]}"


class TextSide:
    """Stands in for BLIP-2's text branch: the tokens of sentences and questions about actions, always the same ones.

    Text that names no action (`VAGUE`, or none at all) has tokens that carry none.
    """

    def __init__(self, world: World) -> None:
        self.world = world

    def encode_questions(self, sentences: Sequence[str]) -> Tensor:
        return torch.stack([self._tokens(sentence) for sentence in sentences])

    def embed_sentences(self, sentences: Sequence[str]) -> Tensor:
        words = {"yes": self.world.yes, "no": self.world.no}
        return torch.stack([words[text] if text in words else self._tokens(text)[0] for text in sentences])

    def _tokens(self, sentence: str) -> Tensor:
        generator = torch.Generator().manual_seed(zlib.crc32(sentence.encode()))
        named = [word for word in sentence.lower().strip(".? ").split() if word in ACTIONS]
        action = torch.tensor([ACTIONS.index(named[0]) if named else 0])
        tokens = question_tokens(self.world, action, generator)[0]
        return tokens if named else tokens - self.world.texts[0] * (torch.arange(len(tokens)) < 2)[:, None]


@dataclass(frozen=True)
class Track:
    """An object that walks away from the camera: its boxes shrink, its tokens drown in noise, its captions get vague.

    `tokens` (T, N_q, H_d), `boxes` (T, 4), `actions` (T,) what it really does, `captions` T texts. `change` is
    the first frame of another action, T where it goes on with the same.
    """

    tokens: Tensor
    boxes: NDArray[np.float32]
    actions: NDArray[np.int64]
    captions: list[str]
    change: int


# Noise of the image tokens of an object at its largest and at its smallest, in units of the action's own elements.
TRACK_NOISE = (0.5, 1.5)


def make_track(world: World, seed: int, num_frames: int = 24, changes: bool = False) -> Track:
    """Return a track whose box shrinks to a quarter of its sides; from half its size on, captions name no action.

    With `changes` the action is another one from a frame in the second half on, when captions tell nothing of it.
    """
    generator = torch.Generator().manual_seed(seed)
    first, other = torch.randperm(len(world.texts), generator=generator)[:2].tolist()
    half = num_frames // 2
    change = half + int(torch.randint(num_frames // 4, (1,), generator=generator)) if changes else num_frames
    actions = torch.where(torch.arange(num_frames) < change, first, other)
    scale = torch.linspace(1.0, 0.25, num_frames)
    low, high = TRACK_NOISE
    tokens = image_tokens(world, actions, generator, low + (high - low) * (1 - scale) / 0.75)
    centres = torch.tensor([160.0, 120.0]) + torch.arange(num_frames)[:, None] * torch.tensor([1.0, -0.5])
    sides = scale[:, None] * torch.tensor([40.0, 80.0])
    captions = [
        sentence_about(action) if size > 0.5 else VAGUE
        for action, size in zip(actions.tolist(), scale.tolist(), strict=True)
    ]
    boxes = torch.cat((centres - sides / 2, centres + sides / 2), dim=1).numpy()
    return Track(tokens, boxes, actions.numpy(), captions, change)


def make_tracks(world: World, num_tracks: int, seed: int = 0) -> list[Track]:
    """Return tracks of which every other one changes its action."""
    return [make_track(world, seed * 10**6 + number, changes=number % 2 == 1) for number in range(num_tracks)]


def train_for_tracks(world: World, num_steps: int = 200) -> StateMachine:
    """Return a machine that knows images of any size of `make_track`'s."""
    return train(world, num_steps, noise=TRACK_NOISE)
