from dataclasses import replace

import pytest
import torch

from jobs.benchmarks.bench_blip2 import TINY
from raypipe.models.blip2.config import Blip2Sizes
from raypipe.models.blip2.initial_weights import STRUCTURES, _patch_places, adapt_weights, initial_weights
from raypipe.models.blip2.model import Blip2
from tests.helpers.blip2_checkpoints import TINY_VITL, random_pixels, random_weights

WIDTH, INNER, VISION, WORDS, POSITIONS = 768, 3072, 1408, 30523, 512


def qformer_parameters(layers, crossing):
    """Count by hand: q, k, v and output with biases and a norm; two feed-forward halves, each with a norm."""
    attention = 4 * (WIDTH * WIDTH + WIDTH) + 2 * WIDTH
    cross = 2 * (WIDTH * WIDTH + WIDTH) + 2 * (VISION * WIDTH + WIDTH) + 2 * WIDTH
    feed_forward = WIDTH * INNER + INNER + INNER * WIDTH + WIDTH + 2 * WIDTH
    return layers * (attention + 2 * feed_forward) + crossing * cross + 2 * WIDTH


@pytest.mark.parametrize("num_query", [32, 64, 128])
@pytest.mark.parametrize(
    ("name", "layers", "crossing"), [("blip2", 12, 6), ("str1", 6, 6), ("str2", 6, 6), ("str3", 3, 3)]
)
def test_the_structures_of_table_5(name, layers, crossing, num_query):
    model = Blip2.empty(replace(Blip2Sizes(), num_query=num_query, **vars(STRUCTURES[name])))
    assert model.query_tokens.shape == (1, num_query, WIDTH)
    assert len(model.qformer.encoder.layer) == layers
    assert sum(layer.has_cross_attention for layer in model.qformer.encoder.layer) == crossing
    counted = sum(parameter.numel() for parameter in model.qformer.parameters())
    assert counted == qformer_parameters(layers, crossing)
    assert sum(parameter.numel() for parameter in model.embeddings.parameters()) == (WORDS + POSITIONS) * WIDTH


@pytest.mark.parametrize("structure", ["str1", "str2", "str3"])
@torch.no_grad()
def test_a_small_model_of_each_structure_runs(structure):
    config = replace(TINY, **vars(STRUCTURES[structure]), num_query=64, hidden=96)
    model = Blip2.from_weights(config, initial_weights(config, 0), "new")
    encoding = model.encode_images(random_pixels(2))
    assert encoding.image_tokens.shape == (2, 64, 96)
    assert encoding.prefix.shape == (2, config.layers, 2, config.heads, 64, 96 // config.heads)


@pytest.mark.parametrize("config", [TINY, TINY_VITL], ids=["g", "L"])
def test_initial_weights(config):
    weights, again = initial_weights(config, 3), initial_weights(config, 3)
    assert all(torch.equal(weights[name], again[name]) for name in weights)
    assert not torch.equal(weights["query_tokens"], initial_weights(config, 4)["query_tokens"])
    layer = "qformer.encoder.layer.0.attention"
    assert set(weights[f"{layer}.output.LayerNorm.weight"].tolist()) == {1.0}
    assert set(weights[f"{layer}.output.dense.bias"].tolist()) == {0.0}
    # 0.02 at 768 inputs, so 0.08 at the 48 of the tiny model.
    assert float(weights[f"{layer}.attention.query.weight"].std()) == pytest.approx(0.08, rel=0.05)
    assert float(weights["embeddings.word_embeddings.weight"].std()) == pytest.approx(0.02, rel=0.05)
    (places,) = (value for name, value in weights.items() if name.startswith("vision_model") and "position" in name)
    assert float(places.std()) == pytest.approx(0.3, rel=0.1)


def alignment(one, other):
    """Return the correlation of all entries of two matrices."""
    return float(torch.corrcoef(torch.stack((one.flatten(), other.flatten())))[0, 1])


@pytest.mark.parametrize("config", [TINY, TINY_VITL], ids=["g", "L"])
def test_an_image_encoder_starts_by_attending_to_what_is_alike(config):
    weights = initial_weights(config, 3)
    for index in range(config.vit_depth):
        layer = f"vision_model.encoder.layers.{index}.self_attn"
        if config is TINY:
            queries, keys, values = weights[f"{layer}.qkv.weight"].chunk(3)
            outputs = weights[f"{layer}.projection.weight"]
        else:
            queries, keys, values, outputs = (weights[f"{layer}.{one}_proj.weight"] for one in ("q", "k", "v", "out"))
        assert alignment(queries, keys) == pytest.approx(0.5, abs=0.1)
        assert alignment(values, -outputs.T) == pytest.approx(0.5, abs=0.1)
        assert alignment(queries, values) == pytest.approx(0.0, abs=0.1)
        assert float((queries.T @ keys).trace()) / config.vit_width == pytest.approx(0.757, abs=0.15)
        # What a patch would pass on to itself is, in the mean, a share of itself taken away: -0.5 ** 2 * trace(1).
        assert float((outputs @ values).trace()) / config.vit_width == pytest.approx(-0.25, abs=0.08)


@pytest.mark.parametrize("config", [TINY, TINY_VITL], ids=["g", "L"])
def test_places_start_as_waves_of_column_and_row(config):
    weights = initial_weights(config, 3)
    (places,) = (value for name, value in weights.items() if name.startswith("vision_model") and "position" in name)
    side = config.image_size // config.patch_size
    patches = places.view(-1, config.vit_width)[1:].view(side, side, -1)
    torch.testing.assert_close(patches.mean(dim=(0, 1)), torch.zeros(config.vit_width), atol=1e-6, rtol=0)
    distance = (patches - patches[0, 0]).norm(dim=-1)
    assert (distance[0, 1] < distance[0, -1], distance[1, 0] < distance[-1, 0]) == (True, True)
    # A column's waves are the same in all rows, a row's in all columns.
    quarter = config.vit_width // 4
    assert torch.equal(patches[0, :, : 2 * quarter], patches[1, :, : 2 * quarter])
    assert torch.equal(patches[:, 0, 2 * quarter :], patches[:, 1, 2 * quarter :])


@pytest.mark.parametrize(("side", "width"), [(1, 8), (3, 6), (2, 5)])
def test_places_of_any_size_are_finite(side, width):
    places = _patch_places(side, width)
    assert places.shape == (side * side, width)
    assert torch.isfinite(places).all()
    # One patch has no place to tell; more are told apart.
    assert len(places.unique(dim=0)) == side * side
    assert (float(places.abs().max()) > 0) == (side > 1)


@pytest.mark.parametrize("embed_dim", [32, 48])
def test_projections_start_as_the_same_orthogonal_matrix(embed_dim):
    weights = initial_weights(replace(TINY, embed_dim=embed_dim), 3)
    vision, text = (weights[f"{modality}_projection.weight"] for modality in ("vision", "text"))
    assert torch.equal(vision, text)
    assert vision.data_ptr() != text.data_ptr()
    torch.testing.assert_close(vision @ vision.T, torch.eye(embed_dim), atol=1e-5, rtol=0)


def test_another_contrastive_space_renews_the_projections_alone():
    source = random_weights(TINY)
    config = replace(TINY, embed_dim=TINY.hidden)
    weights, new = adapt_weights(source, TINY, config, seed=0)
    assert sorted(new) == [f"{one}_projection.{kind}" for one in ("text", "vision") for kind in ("bias", "weight")]
    # As wide as what is projected: cosines are the same before and after.
    text, image = torch.randn(2, 5, TINY.hidden)
    projected = (part @ weights[f"{one}_projection.weight"].T for part, one in ((text, "text"), (image, "vision")))
    expected = torch.nn.functional.cosine_similarity(text, image)
    torch.testing.assert_close(torch.nn.functional.cosine_similarity(*projected), expected)


def test_the_same_structure_is_taken_over_whole():
    source = random_weights(TINY)
    weights, new = adapt_weights(source, TINY, TINY, seed=0)
    assert new == []
    assert all(torch.equal(weights[name], source[name]) for name in source)


@pytest.mark.parametrize(("num_query", "new"), [(5, []), (12, ["query_tokens from 8 on"])])
def test_queries_are_taken_over_as_far_as_both_have_them(num_query, new):
    source = random_weights(TINY)
    weights, named = adapt_weights(source, TINY, replace(TINY, num_query=num_query), seed=0)
    both = min(num_query, TINY.num_query)
    assert named == new
    assert weights["query_tokens"].shape == (1, num_query, TINY.hidden)
    assert torch.equal(weights["query_tokens"][:, :both], source["query_tokens"][:, :both])
    assert weights["query_tokens"][:, both:].abs().sum() > 0 or num_query <= TINY.num_query
    assert torch.equal(weights["itm_head.weight"], source["itm_head.weight"])


def test_another_structure_takes_over_the_vit_and_the_words():
    source = random_weights(TINY)
    config = replace(TINY, cross_attention_freq=1, layers=3)
    weights, new = adapt_weights(source, TINY, config, seed=0)
    taken = {name for name in weights if name not in new}
    assert {name.split(".")[0] for name in taken} == {"vision_model", "embeddings"}
    assert all(torch.equal(weights[name], source[name]) for name in taken)
    assert "qformer.encoder.layer.1.crossattention.attention.key.weight" in new
    Blip2.from_weights(config, weights, "adapted")


def test_a_head_that_the_source_lacks_is_new():
    without = replace(TINY, can_caption=False)
    _, new = adapt_weights(random_weights(without), without, TINY, seed=0)
    assert {name.split(".")[0] for name in new} == {"lm_head"}


def test_another_vit_cannot_be_taken_over():
    with pytest.raises(ValueError, match="image_size differ"):
        adapt_weights(random_weights(TINY), TINY, replace(TINY, image_size=70), seed=0)
