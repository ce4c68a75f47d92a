import json
from dataclasses import replace

import numpy as np
import pytest
import torch
from torch.nn import functional

from raypipe.errors import UserError
from raypipe.models.state_machine.machine import QuestionColumns, StateMachine, StateMachineShape
from raypipe.ops.legendre_memory import run_memory, window_basis
from tests.helpers.blip2_checkpoints import figure
from tests.helpers.structured_pairs import balanced_accuracy, make_world, train

SMALL = StateMachineShape(hidden=12, num_query=5, max_text=4, order=6)


def machine(shape=SMALL, seed=0):
    torch.manual_seed(seed)
    return StateMachine(shape).eval().requires_grad_(False)


def tokens(shape=SMALL, count=3, seed=1):
    generator = torch.Generator().manual_seed(seed)
    question = torch.randn(count, shape.max_text, shape.hidden, generator=generator)
    return question, torch.randn(count, shape.num_query, shape.hidden, generator=generator)


def yes_and_no(shape=SMALL):
    return torch.randn(2, shape.hidden, generator=torch.Generator().manual_seed(2)).unbind()


def by_the_equations(model, question_LD, image_QD):
    """Return P of one pair by Eqs. (2)-(5), one position after the other, in float64."""
    shape = model.shape
    weights = model.state_dict()
    columns = torch.cat((question_LD, image_QD)) @ weights["encoder.weight"].T + weights["encoder.bias"]
    gate = torch.ones(shape.order)
    if shape.variant == "gated":
        gate = weights["gate.weight"] @ question_LD[0] + weights["gate.bias"]
    columns = columns * gate
    basis = torch.from_numpy(window_basis(shape.order, shape.length, 1 / shape.num_machines))
    for number in range(shape.num_machines):
        state = torch.from_numpy(run_memory(columns.sum(1).numpy(), shape.order)[-1])
        x = weights["mixers"][number] @ state
        if shape.variant == "gated":
            norm = (weights["norm_weights"][number], weights["norm_biases"][number])
            x = functional.gelu(functional.layer_norm(x, (shape.order,), *norm), approximate="tanh")
        columns = (x[:, None] * basis).T
    return weights["decoder.weight"] @ columns[-1] + weights["decoder.bias"]


@pytest.fixture
def float64():
    torch.set_default_dtype(torch.float64)
    yield
    torch.set_default_dtype(torch.float32)


@pytest.mark.parametrize("variant", ["gated", "printed"])
@pytest.mark.parametrize(("num_machines", "order"), [(1, 6), (2, 6), (3, 6), (5, 6), (3, 64)])
def test_the_closed_form_is_the_stack_of_recurrences(float64, variant, num_machines, order):
    model = machine(replace(SMALL, variant=variant, num_machines=num_machines, order=order))
    question, image = tokens()
    expected = torch.stack([by_the_equations(model, *pair) for pair in zip(question, image, strict=True)])
    difference = float((model(question, image) - expected).abs().max())
    figure(f"{variant}, N_SMM = {num_machines}, O = {order}: largest difference from the recurrence {difference:.1e}")
    assert difference < 1e-5


@pytest.mark.parametrize("variant", ["gated", "printed"])
@pytest.mark.parametrize("num_machines", [1, 3, 5])
def test_shapes_and_parameters_of_the_paper(variant, num_machines):
    model = machine(StateMachineShape(num_machines=num_machines, variant=variant))
    assert (model.shape.hidden, model.shape.num_query, model.shape.max_text, model.shape.order) == (768, 32, 32, 64)
    question, image = tokens(model.shape, count=2)
    columns = model.encode_question(question)
    assert (columns.state.shape, columns.gate.shape) == ((2, 64), (2, 64))
    assert model.encode_image(image).shape == (2, 32, 64)
    assert model(question, image).shape == (2, 768)
    assert (model.text_kernel.shape, model.image_kernel.shape) == ((32, 64), (32, 64))
    # Encoder 768 x 64 + 64, C 64 x 64 a machine, decoder 64 x 768 + 768: 99,136 with one machine.
    printed = 49216 + 4096 * num_machines + 49920
    # The gate is another encoder; a LayerNorm has 2 x 64.
    gated = printed + 49216 + 128 * num_machines
    assert sum(weights.numel() for weights in model.parameters()) == (gated if variant == "gated" else printed)
    assert {1: 103232, 3: 111424, 5: 119616}[num_machines] == printed


@pytest.mark.parametrize(
    "impossible", [{"hidden": 0}, {"num_machines": 0}, {"temperature": 0.0}, {"temperature": float("inf")}]
)
def test_impossible_shapes_are_refused(impossible):
    with pytest.raises(ValueError, match="at least 1"):
        replace(SMALL, **impossible)


@pytest.mark.parametrize("variant", ["gated", "printed"])
def test_a_pair_does_not_feel_its_batch(variant):
    model = machine(replace(SMALL, variant=variant))
    question, image = tokens(count=9)
    together = model(question, image)
    alone = torch.cat([model(question[i : i + 1], image[i : i + 1]) for i in range(9)])
    assert torch.allclose(together, alone, atol=1e-5)


def test_the_grid_is_every_pair():
    model = machine()
    question, image = tokens(count=3)
    columns = model.encode_question(question)
    grid = model.answer_grid(columns, model.encode_image(image[:2]))
    assert grid.shape == (2, 3, SMALL.hidden)
    for i in range(2):
        for j in range(3):
            assert torch.allclose(grid[i, j], model(question[j : j + 1], image[i : i + 1])[0], atol=1e-5)


def test_no_pairs():
    assert machine()(*tokens(count=0)).shape == (0, SMALL.hidden)


def test_probability_yes_by_hand():
    model = machine(replace(SMALL, hidden=2, temperature=0.5))
    yes, no = torch.tensor([3.0, 0.0]), torch.tensor([0.0, 0.1])
    predictions = torch.tensor([[2.0, 0.0], [0.0, 5.0], [1.0, 1.0], [0.0, 0.0]])
    # Cosines with (yes, no): (1, 0), (0, 1), equal, none; 1 / (1 + exp(-1 / 0.5)) = 0.8808.
    assert model.probability_yes(predictions, yes, no).tolist() == pytest.approx([0.8808, 0.1192, 0.5, 0.5], abs=1e-4)


def test_probability_yes_is_a_softmax_of_cosines():
    model, (yes, no) = machine(), yes_and_no()
    predictions = model(*tokens(count=20))
    cosines = torch.stack([functional.cosine_similarity(predictions, word[None]) for word in (yes, no)])
    expected = torch.softmax(cosines / SMALL.temperature, dim=0)[0]
    assert torch.allclose(model.probability_yes(predictions, yes, no), expected, atol=1e-5)


def test_questions_are_encoded_once_and_gathered():
    model = machine()
    question, image = tokens(count=3)
    columns, chosen = model.encode_question(question), torch.tensor([2, 0, 2])
    gathered = QuestionColumns(columns.state[chosen], columns.gate[chosen])
    assert torch.allclose(model.answer(gathered, model.encode_image(image)), model(question[chosen], image), atol=1e-5)


def test_the_printed_initialisation():
    model = machine(StateMachineShape(hidden=256))
    gate = model.gate.weight.clone()
    model.initialise_as_printed(torch.Generator().manual_seed(0))
    for weights in (model.encoder.weight, model.decoder.weight, model.mixers):
        assert float(weights.std()) == pytest.approx(0.02, rel=0.05)
    assert model.encoder.bias.abs().max() == model.decoder.bias.abs().max() == 0
    assert torch.equal(model.gate.weight, gate)


def test_save_and_load(tmp_path):
    model = machine()
    model.save(tmp_path / "smm", {"data": "some"})
    again = StateMachine.load(tmp_path / "smm")
    assert again.shape == SMALL
    assert torch.equal(again(*tokens()), model(*tokens()))
    assert not any(weights.requires_grad for weights in again.parameters())
    assert json.loads((tmp_path / "smm" / "card.json").read_text()) == {"data": "some"}
    assert sorted(path.name for path in (tmp_path / "smm").iterdir()) == [
        "card.json",
        "config.json",
        "model.safetensors",
    ]


def edited(**changes):
    return lambda text: json.dumps(json.loads(text) | changes)


def edited_shape(**changes):
    return lambda text: json.dumps({**json.loads(text), "shape": json.loads(text)["shape"] | changes})


@pytest.mark.parametrize(
    ("name", "edit", "complaint"),
    [
        ("config.json", None, "No such file"),
        ("config.json", lambda text: "{", "is no JSON"),
        ("config.json", lambda text: "[1]", "not of a state machine"),
        ("config.json", edited(format="raypipe-density-1"), "not of a state machine"),
        ("config.json", edited(shape=None), "shape"),
        ("config.json", edited_shape(order="six"), "shape.order"),
        ("config.json", edited_shape(order=0), "at least 1"),
        ("config.json", edited_shape(depth=3), "shape.depth"),
        ("config.json", edited_shape(variant="linear"), "shape.variant"),
        ("model.safetensors", None, "cannot be read"),
        ("model.safetensors", lambda text: "xx", "cannot be read"),
    ],
)
def test_other_and_damaged_folders_are_refused_by_name(tmp_path, name, edit, complaint):
    machine().save(tmp_path)
    path = tmp_path / name
    text = None if edit is None else edit(path.read_text(errors="replace"))
    path.unlink()
    if text is not None:
        path.write_text(text)
    with pytest.raises(UserError, match=complaint) as refused:
        StateMachine.load(tmp_path)
    assert str(path) in str(refused.value)
    assert "\n" not in str(refused.value)


@pytest.mark.parametrize(
    ("other", "named"), [({"hidden": 13}, "decoder.bias, decoder.weight"), ({"variant": "printed"}, "gate.bias")]
)
def test_weights_of_another_shape_are_refused(tmp_path, other, named):
    machine().save(tmp_path)
    path = tmp_path / "config.json"
    path.write_text(edited_shape(**other)(path.read_text()))
    with pytest.raises(UserError, match=f"model.safetensors: does not fit its config.*{named}"):
        StateMachine.load(tmp_path)


def test_weights_that_are_not_finite_are_refused(tmp_path):
    model = machine()
    model.mixers[0, 0, 0] = float("nan")
    model.save(tmp_path)
    with pytest.raises(UserError, match="not finite"):
        StateMachine.load(tmp_path)


def test_a_device_that_is_not_there_is_refused(tmp_path, monkeypatch):
    monkeypatch.setattr(torch.cuda, "is_available", lambda: False)
    machine().save(tmp_path)
    with pytest.raises(UserError, match="no GPU"):
        StateMachine.load(tmp_path, "cuda")


WORLD = StateMachineShape(hidden=64, num_query=8, max_text=8)


@pytest.mark.parametrize("num_machines", [1, 3])
def test_gated_learns_whether_a_sentence_holds(num_machines):
    world = make_world(replace(WORLD, num_machines=num_machines))
    accuracy = balanced_accuracy(train(world, num_steps=100), world)
    figure(f"gated, N_SMM = {num_machines}: balanced accuracy {accuracy:.3f} on held-out pairs after 100 steps")
    assert accuracy >= 0.90


def test_printed_stays_at_chance():
    world = make_world(replace(WORLD, variant="printed"))
    accuracy = balanced_accuracy(train(world, num_steps=150), world)
    figure(f"printed, N_SMM = 3: balanced accuracy {accuracy:.3f} on held-out pairs after 150 steps")
    assert accuracy == pytest.approx(0.5, abs=0.05)


@pytest.mark.slow
def test_printed_stays_at_chance_however_long_it_is_trained():
    worlds = [make_world(replace(WORLD, variant="printed"), seed=seed) for seed in range(3)]
    accuracies = [
        balanced_accuracy(train(world, num_steps=1500, seed=seed), world) for seed, world in enumerate(worlds)
    ]
    shown = ", ".join(f"{accuracy:.3f}" for accuracy in accuracies)
    figure(f"printed, N_SMM = 3: balanced accuracy {shown} on held-out pairs after 1,500 steps")
    # One world alone may be up to 0.75: a sum of two scores can hold all pairs that match just above 0, where half of
    # the others are too.
    assert np.mean(accuracies) == pytest.approx(0.5, abs=0.05)
