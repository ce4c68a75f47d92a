import numpy as np
import pytest

from raypipe.world.captions import action_of, captions
from raypipe.world.clips import NOVELTIES, WorldConfig, make_clip


@pytest.mark.parametrize(
    ("caption", "action"),
    [
        ("a man is walking", "walking"),
        ("a woman in red strolling on a path", "walking"),
        ("a person is standing still", "standing"),
        ("a man is pushing a stroller", "pushing"),
        ("a woman is walking with a stroller in a park", "pushing"),
        ("a woman pushing a baby carriage", "pushing"),
        ("a man is running fast", "running"),
        ("a man sprinting", "running"),
        ("a man is falling to the ground", "falling"),
        ("a man is lying on the ground", "lying"),
        ("two men are fighting", "fighting"),
        ("a man is punching somebody", "fighting"),
        ("two women are hitting each other", "fighting"),
        ("a man is riding a bike", "cycling"),
        ("a person wearing white clothes cycling on a square", "cycling"),
        ("a man is standing on a skateboard", "skating"),
        ("a woman skateboarding", "skating"),
        ("a car is driving", "driving"),
        ("a yellow car is moving", "driving"),
        ("a man is driving a golf cart", "carting"),
        ("a woman riding in a cart", "carting"),
        ("A man is walking.", "walking"),
        # No action, or more than one.
        ("", None),
        ("a man in a white shirt", None),
        ("a man is riding", None),
        ("a man is walking running", None),
        ("a man is running on a skateboard", None),
        ("a man is riding a bicycle with a stroller", None),
        ("a car is falling", None),
        # A word is not a part of another.
        ("a scarf in a carton", None),
    ],
)
def test_the_action_of_a_caption(caption, action):
    assert action_of(caption) == action


def test_whatever_is_said_of_an_actor_names_its_action():
    config = WorldConfig(width=96, height=72, num_frames=60)
    rng = np.random.default_rng(0)
    said = set()
    for number in range(len(NOVELTIES)):
        clip = make_clip(config, "test", number)
        for actor in clip.actors:
            for frame in (0, 20, 40, 59):
                for caption in captions(actor, frame, clip.scene.place, rng):
                    assert action_of(caption) == actor.actions[frame], caption
                    said.add(actor.actions[frame])
    assert len(said) >= 9
