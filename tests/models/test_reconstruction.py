import json

import numpy as np
import pytest
import safetensors.torch
import torch
from torch import nn

from raypipe.errors import UserError
from raypipe.models.reconstruction import (
    ReconstructionModule,
    ReconstructionShape,
    deserialise,
    feature_statistics,
    serialise,
)

WHERE = "models/rm/model.safetensors"
SMALL = ReconstructionShape(num_spatial=2, num_motion=1, num_layers=2, hidden_size=3)


def module_of(shape=SMALL, seed=0):
    torch.manual_seed(seed)
    module = ReconstructionModule(shape)
    module.set_statistics(torch.arange(shape.num_features) + 0.5, torch.arange(shape.num_features) + 1.0)
    return module


def scaling_module(shape, weight):
    """A module that multiplies standardised features by `weight`, as long as they are not negative."""
    module = ReconstructionModule(shape)
    for layer in module.layers:
        if isinstance(layer, nn.Linear):
            nn.init.eye_(layer.weight)
            nn.init.zeros_(layer.bias)
    module.layers[-1].weight.data *= weight
    return module


@pytest.mark.parametrize(
    ("num_spatial", "num_motion", "num_parameters"),
    [
        # F * 512 + 512, five times 512 * 512 + 512, 512 * F + F
        (0, 8, 8 * 512 + 512 + 5 * 262_656 + 512 * 8 + 8),
        (768, 8, 776 * 512 + 512 + 5 * 262_656 + 512 * 776 + 776),
    ],
)
def test_layers_are_the_papers(num_spatial, num_motion, num_parameters):
    shape = ReconstructionShape(num_spatial, num_motion)
    F = num_spatial + num_motion
    module = ReconstructionModule(shape)
    assert [type(layer) for layer in module.layers] == [nn.Linear, nn.ReLU] * 6 + [nn.Linear]
    sizes = [(layer.in_features, layer.out_features) for layer in module.layers if isinstance(layer, nn.Linear)]
    assert sizes == [(F, 512), *[(512, 512)] * 5, (512, F)]
    assert sum(parameter.numel() for parameter in module.parameters()) == num_parameters
    assert module(torch.zeros(3, F)).shape == (3, F)


def test_features_are_standardised_inside():
    module = scaling_module(ReconstructionShape(0, 2, num_layers=1), 1)
    module.set_statistics(torch.tensor([10.0, -1.0]), torch.tensor([2.0, 0.5]))
    assert module.standardise(torch.tensor([[14.0, -1.0], [8.0, 0.0]])).tolist() == [[2, 0], [-1, 2]]


@pytest.mark.parametrize(
    ("num_spatial", "std", "used"),
    [
        # Root mean square over the part: 5, 5 and 5 / sqrt(2).
        (0, [5.0, 5.0], [5, 5]),
        (0, [0.0, 5.0], [0.01 * 5 / 2**0.5, 5]),
        (2, [0.001, 5.0], [0.01 * (25.000001 / 2) ** 0.5, 5]),
        (0, [0.0, 0.0], [1, 1]),
        # Each part has its own scale: motion that never changes says nothing of space.
        (2, [3.0, 0.0, 0.0, 400.0], [3, 0.01 * 3 / 2**0.5, 0.01 * 400 / 2**0.5, 400]),
        (1, [0.0, 7.0, 7.0], [1, 7, 7]),
    ],
)
def test_a_feature_that_hardly_changes_has_a_least_deviation(num_spatial, std, used):
    module = scaling_module(ReconstructionShape(num_spatial, len(std) - num_spatial, num_layers=1), 1)
    module.set_statistics(torch.full((len(std),), 3.0), torch.tensor(std))
    assert module.std.tolist() == pytest.approx(used)
    assert module.standardise(torch.full((1, len(std)), 3.0)).tolist() == [[0.0] * len(std)]


def test_statistics_are_no_parameters_but_are_stored():
    module = ReconstructionModule(SMALL)
    assert {"mean", "std"} <= set(module.state_dict())
    assert not {"mean", "std"} & {name for name, _ in module.named_parameters()}


@pytest.mark.parametrize(
    ("weight", "spatial", "motion"),
    [
        # Standardised: 1 3 | 2 4 6 and 0 0 | 1 1 1. A reconstruction of 0 has the squares themselves as errors.
        (0, [(1 + 9) / 2, 0], [(4 + 16 + 36) / 3, 1]),
        (1, [0, 0], [0, 0]),
        (2, [5, 0], [56 / 3, 1]),
        (3, [4 * 5, 0], [4 * 56 / 3, 4]),
    ],
)
@pytest.mark.parametrize("num_layers", [1, 3])
def test_part_errors(weight, spatial, motion, num_layers):
    module = scaling_module(ReconstructionShape(2, 3, num_layers, hidden_size=5), weight)
    module.set_statistics(torch.full((5,), 1.0), torch.full((5,), 2.0))
    features = torch.tensor([[3.0, 7, 5, 9, 13], [1, 1, 3, 3, 3]])
    found = module.part_errors(features)
    np.testing.assert_allclose(found[0], spatial, rtol=1e-6)
    np.testing.assert_allclose(found[1], motion, rtol=1e-6)
    assert not any(part.requires_grad for part in found)


@pytest.mark.parametrize(
    ("num_spatial", "num_motion", "spatial", "motion"), [(0, 2, 0, 2.5), (2, 0, 2.5, 0), (1, 1, 1, 4)]
)
def test_a_part_that_is_not_there_has_no_error(num_spatial, num_motion, spatial, motion):
    module = scaling_module(ReconstructionShape(num_spatial, num_motion, num_layers=1), 0)
    found = module.part_errors(torch.tensor([[1.0, 2.0]]))
    assert [part.tolist() for part in found] == [[spatial], [motion]]
    assert [part.shape for part in module.part_errors(torch.zeros(0, 2))] == [(0,), (0,)]


def test_statistics_from_sums():
    # Features 1 5, 3 5: means 2 5, standard deviations 1 0.
    sums = [torch.tensor(value, dtype=torch.float64) for value in (2.0, [4.0, 10.0], [10.0, 50.0])]
    mean, std = feature_statistics(sums)
    assert (mean.tolist(), std.tolist()) == ([2, 5], [1, 0])
    assert (mean.dtype, std.dtype) == (torch.float64, torch.float64)


def test_statistics_of_a_constant_are_never_nan():
    # Rounding may leave the mean of squares below the square of the mean.
    value = 0.1
    total, squares = sum([value] * 1000), sum([value * value] * 1000)
    sums = [torch.tensor(number, dtype=torch.float64) for number in (1000.0, [total], [squares])]
    below = [sums[0], sums[1], sums[2] - 1e-9]
    for given in (sums, below):
        assert 0 <= feature_statistics(given)[1].item() < 1e-6


@pytest.mark.parametrize("shape", [SMALL, ReconstructionShape(0, 8)])
def test_a_module_comes_back_bit_equal(shape):
    module = module_of(shape)
    content = serialise(module)
    again = deserialise(content, WHERE)
    assert again.shape == shape
    assert not again.training
    state = again.state_dict()
    assert set(state) == set(module.state_dict())
    for name, tensor in module.state_dict().items():
        assert torch.equal(state[name], tensor), name
    assert serialise(again) == content
    features = torch.randn(5, shape.num_features)
    assert torch.equal(again.squared_errors(features), module.squared_errors(features))


def stored(tensors, shape):
    return safetensors.torch.save(tensors, metadata=shape if shape is None else {"shape": shape})


def bad_contents():
    state = module_of().state_dict()
    shape = json.dumps({"num_spatial": 2, "num_motion": 1, "num_layers": 2, "hidden_size": 3})
    whole = serialise(module_of())
    assert deserialise(stored(state, shape), WHERE).shape == SMALL
    return {
        "empty": b"",
        "text": b"this is a letter, not a model",
        "list": (2).to_bytes(8, "little") + b"[]",
        "header_cut": whole[:50],
        "last_byte_cut": whole[:-1],
        "more_bytes": whole + b"\0",
        "no_metadata": stored(state, None),
        "no_shape": safetensors.torch.save(state, metadata={"format": "pt"}),
        "shape_is_text": stored(state, "wide"),
        "shape_is_a_list": stored(state, "[2, 1]"),
        "unknown_size": stored(state, shape.replace("hidden_size", "width")),
        "size_is_text": stored(state, shape.replace("3", '"3"')),
        "other_hidden_size": stored(state, shape.replace("3", "4")),
        "other_features": stored(state, shape.replace('"num_spatial": 2', '"num_spatial": 1')),
        "more_layers": stored(state, shape.replace('"num_layers": 2', '"num_layers": 3')),
        "negative_size": stored(state, shape.replace("3", "-3")),
        "tensor_missing": stored({name: tensor for name, tensor in state.items() if name != "std"}, shape),
        "another_tensor": stored(state | {"more": torch.zeros(1)}, shape),
        "other_tensors": stored({"weight": torch.zeros(2, 2)}, shape),
    }


@pytest.mark.parametrize("name", sorted(bad_contents()))
def test_other_content_is_refused(name):
    with pytest.raises(UserError, match=f"^{WHERE} is not a reconstruction module: .") as caught:
        deserialise(bad_contents()[name], WHERE)
    assert "\n" not in str(caught.value)
