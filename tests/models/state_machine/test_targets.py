import pytest
import torch
from torch.nn import functional

from raypipe.models.state_machine.machine import StateMachine, StateMachineShape
from raypipe.models.state_machine.targets import GridObjective, caption_targets, describe, grid_targets, label_targets

SHAPE = StateMachineShape(hidden=12, num_query=3, max_text=4, order=6)
IMAGES = [
    describe(1, ["The man is running.", "A man runs in the park"]),
    describe("2", ["a man in a red shirt riding a bicycle"]),
]


def test_an_image_is_described_by_all_its_captions():
    assert IMAGES[0].image_id == "1"
    assert IMAGES[0].captions == {"the man is running.", "a man runs in the park"}
    assert IMAGES[0].words == {"man", "run", "park"}


@pytest.mark.parametrize(
    ("caption", "holds", "known"),
    [
        # Its own, whatever the case; of the other's words (man, run) one half is said of image 2.
        ("the man is RUNNING.", [True, False], [True, True]),
        # The paper's example: half of (man, fight) is said of either image, so it is no.
        ("The man is fighting.", [False, False], [True, True]),
        # Two thirds of (man, rid, bik) are said of image 2: it may well hold of it.
        ("a man rides a bike", [False, False], [True, False]),
        # All its words are said of image 1, but it is none of its captions.
        ("a running man", [False, False], [False, True]),
        # Says nothing that could be false.
        ("there is one", [False, False], [True, True]),
        ("it is there", [False, False], [False, False]),
    ],
)
def test_targets_of_captions_by_hand(caption, holds, known):
    found_holds, found_known = caption_targets(IMAGES, [caption], 0.6)
    assert found_holds[:, 0].tolist() == holds
    assert found_known[:, 0].tolist() == known


def test_what_is_different_is_a_setting():
    _, known = caption_targets(IMAGES, ["The man is fighting."], 0.5)
    assert not known.any()
    _, known = caption_targets(IMAGES, ["a running man"], 1.0)
    assert known[:, 0].tolist() == [False, True]


def test_targets_of_labels_by_hand():
    labels = {("1", "a man runs"): True, ("1", "a dog runs"): False, ("2", "a dog runs"): True}
    holds, known = label_targets(IMAGES, ["a man runs", "a dog runs"], labels)
    assert holds.tolist() == [[True, False], [False, True]]
    assert known.tolist() == [[True, True], [False, True]]


def test_labels_go_before_captions():
    labels = {("1", "a man runs in the park"): False, ("2", "a man runs in the park"): True}
    captions = ["a man runs in the park", "The man is running."]
    holds, known = grid_targets(IMAGES, captions, 0.6, labels)
    assert holds.tolist() == [[False, True], [True, False]]
    assert known.tolist() == [[True, True], [True, True]]
    by_captions = caption_targets(IMAGES, captions, 0.6)
    assert [cells.tolist() for cells in grid_targets(IMAGES, captions, 0.6, None)] == [c.tolist() for c in by_captions]


@pytest.fixture
def objective():
    torch.manual_seed(0)
    return GridObjective(StateMachine(SHAPE), torch.randn(12), torch.randn(12))


def tokens(count):
    generator = torch.Generator().manual_seed(1)
    return torch.randn(count, 4, 12, generator=generator), torch.randn(count, 3, 12, generator=generator)


def test_yes_and_no_weigh_half_each_whatever_their_number(objective):
    question, image = tokens(3)
    holds = torch.eye(3, dtype=torch.bool)
    known = torch.ones(3, 3, dtype=torch.bool)
    known[0, 1] = False
    with torch.no_grad():
        loss = objective(question, image, holds, known)
        cells = []
        for row in range(3):
            for column in range(3):
                predicted = objective.machine(question[column : column + 1], image[row : row + 1])
                p = objective.machine.probability_yes(predicted, objective.yes, objective.no)[0]
                cells.append(-torch.log(p if row == column else 1 - p))
    cells = torch.stack(cells).reshape(3, 3)
    no = (cells.sum() - cells.diagonal().sum() - cells[0, 1]) / 5
    assert float(loss) == pytest.approx(float((cells.diagonal().mean() + no) / 2), abs=1e-5)


@pytest.mark.parametrize(("holds", "sign"), [(True, -1), (False, 1)])
def test_a_batch_of_one_side_only_is_that_side(objective, holds, sign):
    question, image = tokens(2)
    cells = torch.full((2, 2), holds)
    loss = objective(question, image, cells, torch.ones(2, 2, dtype=torch.bool)).detach()
    machine = objective.machine
    logits = machine.logits(
        machine.answer_grid(machine.encode_question(question), machine.encode_image(image)), objective.yes, objective.no
    )
    assert float(loss) == pytest.approx(float(functional.softplus(sign * logits).mean().detach()), abs=1e-5)


def test_nothing_known_teaches_nothing(objective):
    nothing = torch.zeros(2, 2, dtype=torch.bool)
    loss = objective(*tokens(2), nothing, nothing)
    loss.backward()
    assert float(loss.detach()) == 0
    assert all(not weights.grad.any() for weights in objective.parameters() if weights.grad is not None)
