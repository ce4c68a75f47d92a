from collections import Counter

import numpy as np
import pytest
from pydantic import ValidationError

from raypipe.models.state_machine.questioner import Questioner
from raypipe.world.actions import NORMAL
from raypipe.world.captions import captions, sentence
from raypipe.world.clips import (
    ALL_COLOURS,
    NOVELTIES,
    PRETRAIN_COLOURS,
    TEST_COLOURS,
    TEST_PLACES,
    WorldConfig,
    make_clip,
)
from raypipe.world.scene import PLACES
from tests.helpers.casts import actor_at

SMALL = WorldConfig(width=96, height=72, num_frames=60, num_walkers=2)


def test_the_same_seed_gives_the_same_frames_and_another_does_not():
    def draw(seed):
        clip = make_clip(SMALL.model_copy(update={"seed": seed, "num_frames": 4}), "test", 1)
        return [(frame.image.tobytes(), frame.seen) for frame in clip.frames()]

    assert draw(0) == draw(0)
    assert draw(0) != draw(1)


@pytest.mark.parametrize("number", range(len(NOVELTIES)))
def test_test_clips_show_their_novelty_and_label_it(number):
    clip = make_clip(SMALL, "test", number)
    frames = list(clip.frames())
    shown = {one.action for frame in frames for one in frame.seen if one.is_novel}
    assert shown
    assert shown <= {NOVELTIES[number], *(["lying"] if NOVELTIES[number] == "falling" else [])}
    for frame in frames:
        assert frame.is_novel == any(one.action not in NORMAL and one.is_clear for one in frame.seen)
    assert any(frame.is_novel for frame in frames)


def test_train_clips_are_normal_throughout():
    for number in range(3):
        assert all(set(actor.actions) <= NORMAL for actor in make_clip(SMALL, "train", number).actors)


def test_every_clip_of_pretraining_shows_three_novelties_in_turn():
    clips = [make_clip(SMALL, "pretrain", number) for number in range(len(NOVELTIES))]
    shown = [{action for actor in clip.actors for action in actor.actions} - NORMAL - {"lying"} for clip in clips]
    assert all(len(actions) == 3 for actions in shown)
    assert Counter(action for actions in shown for action in actions) == dict.fromkeys(NOVELTIES, 3)


def test_novel_actions_of_training_and_test_share_no_colours():
    assert not set(PRETRAIN_COLOURS) & set(TEST_COLOURS)
    assert set(ALL_COLOURS) > {*PRETRAIN_COLOURS, *TEST_COLOURS}
    for split, colours in (("pretrain", PRETRAIN_COLOURS), ("test", TEST_COLOURS)):
        for number in range(8):
            clip = make_clip(SMALL, split, number)
            novel = [actor for actor in clip.actors if not set(actor.actions) <= NORMAL]
            assert all(actor.look.top_name in colours and actor.paint_name in colours for actor in novel)


def test_novel_actions_of_training_are_seen_in_every_place_and_those_of_test_in_two():
    clips = {split: [make_clip(SMALL, split, number) for number in range(40)] for split in ("pretrain", "test")}
    places = {
        split: {clip.scene.place for clip in those if any(not set(actor.actions) <= NORMAL for actor in clip.actors)}
        for split, those in clips.items()
    }
    assert places == {"pretrain": set(PLACES), "test": set(TEST_PLACES)}


def test_training_sees_everybody_from_all_sides():
    def quarters(split):
        steps = [
            actor.xy[-1] - actor.xy[0]
            for number in range(20)
            for actor in make_clip(SMALL, split, number).actors
            if set(actor.actions) in ({"walking"}, {"cycling"}, {"running"})
        ]
        ways = np.arctan2(*np.array(steps).T[::-1])
        return np.bincount((np.round(ways / (np.pi / 2)).astype(int)) % 4, minlength=4) / len(ways)

    # Right, away, left, towards the camera: away and towards are a half of all, of what goes any way, and some more.
    assert quarters("pretrain").min() > 0.1
    assert quarters("pretrain")[[1, 3]].sum() > 0.5
    assert quarters("test")[[1, 3]].sum() < 0.25


def test_training_sees_people_as_far_away_as_the_shrinking_ones_go():
    config = WorldConfig(num_frames=40, far_fraction=1.0)

    def farthest(split):
        return max(actor.xy[:, 1].max() for number in range(6) for actor in make_clip(config, split, number).actors)

    assert farthest("pretrain") > 28
    assert farthest("test") < 28


def test_train_and_test_clips_share_their_cameras_and_pretraining_has_its_own():
    pictures = {
        split: {make_clip(SMALL, split, number).scene.background.tobytes() for number in range(8)}
        for split in ("train", "test", "pretrain")
    }
    assert pictures["train"] == pictures["test"]
    assert len(pictures["train"]) == SMALL.num_scenes
    assert not pictures["train"] & pictures["pretrain"]
    assert len(pictures["pretrain"]) == 8


@pytest.mark.parametrize("number", range(8))
def test_shrinking_clips_go_from_large_to_small(number):
    config = WorldConfig(num_frames=400)
    clip = make_clip(config, "shrinking", number)
    from raypipe.world.render import Renderer

    renderer = Renderer(clip.scene, 0)
    heights, actions = [], []
    for frame in [0, *range(5, 400, 20)]:
        _, drawn = renderer.render(clip.actors, frame)
        if drawn:
            heights.append(drawn[0].whole_box[3] - drawn[0].whole_box[1])
            actions.append(clip.actors[0].actions[frame])
    assert max(heights[:2]) > 90
    assert min(heights) < 25
    if "_then_" in clip.name:
        changed = next(index for index, action in enumerate(actions) if action != actions[0])
        assert heights[changed] < 32


@pytest.mark.parametrize(
    ("action", "said", "question"),
    [
        ("walking", "is walking", "is a {} walking?"),
        ("standing", "is standing", "is a {} standing?"),
        ("pushing", "is pushing a stroller", "is a {} pushing a stroller?"),
        ("running", "is running", "is a {} running?"),
        ("falling", "is falling", "is a {} falling?"),
        ("lying", "is lying on the ground", "is a {} lying on the ground?"),
        ("cycling", "is riding a bicycle", "is a {} riding a bicycle?"),
        ("skating", "is riding a skateboard", "is a {} riding a skateboard?"),
        ("driving", "is driving", "is a car driving?"),
        ("carting", "is driving a cart", "is a {} driving a cart?"),
    ],
)
def test_sentences_say_the_action_and_become_questions(action, said, question):
    actor = actor_at(action, (0, 9))
    noun = "woman" if actor.look.is_woman else "man"
    text = sentence(actor, 0)
    assert text == f"a {'car' if action == 'driving' else noun} {said}"
    assert Questioner()(text) == question.format(noun)


def test_two_who_fight_are_said_to():
    clip = make_clip(SMALL, "test", NOVELTIES.index("fighting"))
    pair = [actor for actor in clip.actors if actor.opponent is not None]
    assert len(pair) == 2
    women = sum(actor.look.is_woman for actor in pair)
    expected = ("two men are fighting", "a man and a woman are fighting", "two women are fighting")[women]
    assert {sentence(actor, SMALL.num_frames - 1) for actor in pair} == {expected}
    # They face each other, near enough to hit.
    assert np.cos(pair[0].heading - pair[1].heading) == pytest.approx(-1)
    assert np.linalg.norm(pair[0].xy[-1] - pair[1].xy[-1]) == pytest.approx(0.82, abs=0.1)


def test_captions_are_several_and_start_with_the_plain_one():
    actor = actor_at("cycling", (0, 9))
    found = captions(actor, 0, "park", np.random.default_rng(0))
    assert found[0] == sentence(actor, 0)
    assert len(set(found)) == len(found) == 5
    assert all("cycl" in caption or "riding a bi" in caption for caption in found)
    assert not any("a orange" in caption for caption in found)


def test_a_config_refuses_what_cannot_be_drawn():
    for wrong in ({"width": 97}, {"fps": 0}, {"novelties": ("flying",)}, {"far_fraction": 1.5}, {"colour": "red"}):
        with pytest.raises(ValidationError):
            WorldConfig.model_validate(wrong)
