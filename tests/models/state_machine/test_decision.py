from dataclasses import replace

import pytest
import torch
from torch.nn import functional

from raypipe.models.state_machine.decision import Decision, FoldedQuestion
from raypipe.models.state_machine.machine import StateMachineShape
from tests.helpers.blip2_checkpoints import figure
from tests.helpers.structured_pairs import TextSide, make_tracks, make_world, train_for_tracks
from tests.models.state_machine.test_machine import SMALL, WORLD, machine, tokens, yes_and_no


def decided(decision, question_NLD, image_NQD):
    """p(yes) of questions and images in pairs."""
    question = decision.encode_question(question_NLD)
    return decision(FoldedQuestion(*(part[:, None] for part in question)), image_NQD)[:, 0]


@pytest.mark.parametrize("variant", ["gated", "printed"])
@pytest.mark.parametrize("num_machines", [1, 3])
@pytest.mark.parametrize("hidden", [4, 12, 80])
def test_the_decision_is_the_probability_of_the_answer(variant, num_machines, hidden):
    model = machine(replace(SMALL, variant=variant, num_machines=num_machines, hidden=hidden))
    # Otherwise the bias is most of a random machine's P, and all probabilities are alike.
    model.decoder.bias.mul_(0.01)
    question, image = tokens(model.shape, count=20)
    predictions = model(question, image)
    # The words are two answers that differ most, so that probabilities do too: random words may be far from all.
    no = predictions[0]
    yes = predictions[functional.cosine_similarity(predictions, no[None]).argmin()]
    expected = model.probability_yes(predictions, yes, no)
    assert expected.std() > 0.005
    assert torch.allclose(decided(Decision(model, yes, no), question, image), expected, rtol=0, atol=2e-5)


@pytest.mark.parametrize("variant", ["gated", "printed"])
def test_decisions_at_the_papers_sizes(variant):
    model, (yes, no) = machine(StateMachineShape(variant=variant)), yes_and_no(StateMachineShape())
    question, image = tokens(model.shape, count=200)
    expected = model.probability_yes(model(question, image), yes, no)
    difference = float((decided(Decision(model, yes, no), question, image) - expected).abs().max())
    figure(f"{variant}: largest difference of p(yes) from the state machine's own {difference:.1e}")
    assert difference < 2e-5


def test_an_image_is_asked_several_questions_of_its_own():
    model, (yes, no) = machine(), yes_and_no()
    decision = Decision(model, yes, no)
    question, image = tokens(count=3)
    folded, chosen = decision.encode_question(question), torch.tensor([[2, 0], [1, 1], [0, 2]])
    found = decision(FoldedQuestion(folded.state[chosen], folded.probe[chosen]), image)
    assert found.shape == (3, 2)
    for row in range(3):
        for column in range(2):
            alone = model(question[chosen[row, column]][None], image[row][None])
            assert torch.allclose(found[row, column], model.probability_yes(alone, yes, no)[0], atol=2e-5)


def test_no_decisions():
    model, (yes, no) = machine(), yes_and_no()
    assert decided(Decision(model, yes, no), *tokens(count=0)).shape == (0,)


def test_a_decision_is_a_snapshot():
    model, (yes, no) = machine(), yes_and_no()
    pairs = tokens()
    decision = Decision(model, yes, no)
    before = decided(decision, *pairs)
    for weights in model.parameters():
        weights.mul_(2).add_(1)
    assert torch.equal(decided(decision, *pairs), before)
    assert not torch.allclose(decided(Decision(model, yes, no), *pairs), before, atol=0, rtol=0.1)


def test_a_sentence_is_kept_while_an_object_shrinks_and_dropped_when_its_action_changes():
    world = make_world(WORLD)
    model = train_for_tracks(world)
    decision, text = Decision(model, world.yes, world.no), TextSide(world)
    kept, dropped = [], []
    for track in make_tracks(world, 100):
        question = text.encode_questions([track.captions[0]]).expand(len(track.tokens), -1, -1)
        holds = decided(decision, question, track.tokens) > 0.5
        # Once dropped, a sentence does not come back.
        kept.append(holds[1 : track.change].cummin(0).values)
        dropped.append(~holds[track.change :].cummin(0).values)
    shares = [float(torch.cat(frames).float().mean()) for frames in (kept, dropped)]
    figure(f"first sentence of a track that shrinks: kept {shares[0]:.3f}, dropped after a change {shares[1]:.3f}")
    assert min(shares) >= 0.9
