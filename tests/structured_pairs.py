"""Question and image tokens that carry a known action: what a state machine can learn from, and memory tests run on."""

from dataclasses import dataclass

import torch
from torch import Tensor
from torch.nn import functional

from raypipe.models.state_machine import StateMachine, StateMachineShape


@dataclass(frozen=True)
class World:
    """Directions of K actions in text and in image space, (K, H_d), unrelated; embeddings of "yes" and "no", (H_d,)."""

    texts: Tensor
    images: Tensor
    yes: Tensor
    no: Tensor
    shape: StateMachineShape


def make_world(shape: StateMachineShape, num_actions: int = 40, seed: int = 0) -> World:
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
    noise: float = 0.5,
    seed: int = 0,
) -> StateMachine:
    """Return a machine trained on grids of images and questions, the few pairs that match weighing half the loss."""
    generator = torch.Generator().manual_seed(seed)
    with torch.random.fork_rng():
        torch.manual_seed(seed)
        machine = StateMachine(world.shape)
    optimizer = torch.optim.Adam(machine.parameters(), lr=learning_rate)
    schedule = torch.optim.lr_scheduler.OneCycleLR(optimizer, learning_rate, total_steps=num_steps)
    for _ in range(num_steps):
        actions = torch.randint(len(world.texts), (batch_size,), generator=generator)
        question = machine.encode_question(question_tokens(world, actions, generator, noise))
        image = machine.encode_image(image_tokens(world, actions, generator, noise))
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
