import math
from dataclasses import replace

import pytest
import torch
from torch.nn import functional
from transformers import Blip2Config, Blip2ForImageTextRetrieval

from jobs.benchmarks.bench_blip2 import TINY
from raypipe.models.blip2 import losses
from raypipe.models.blip2.initial_weights import initial_weights
from raypipe.models.blip2.model import Blip2
from raypipe.models.blip2.qformer import embed_text, query_pass, text_pass, vision_keys_values
from raypipe.models.blip2.vision import LN_VISION_EPS, vision_hidden
from raypipe.weights.convert_blip2 import convert_lavis
from tests.helpers.blip2_checkpoints import ORACLES, TINY_VITL, figure, needs_oracles, random_model, random_pixels

TOLERANCE = 2e-5


def random_text(count, config=TINY, seed=2):
    """Return ids and mask of captions of 1 to L - 2 words, the first the shortest."""
    generator = torch.Generator().manual_seed(seed)
    ids = torch.randint(5, config.bos_id, (count, config.max_txt_len), generator=generator)
    mask = torch.zeros_like(ids)
    for row in range(count):
        length = 3 + row % (config.max_txt_len - 2)
        mask[row, :length] = 1
        ids[row, 0], ids[row, length - 1] = config.cls_id, config.sep_id
    return ids * mask, mask


def random_pairs(count, config=TINY):
    ids, mask = random_text(count, config)
    return losses.Pairs(random_pixels(count, config), ids, mask, torch.arange(count))


def transformers_model(model):
    """Return transformers' own retrieval model with the weights of ours."""
    sizes = model.config
    theirs = Blip2ForImageTextRetrieval(
        Blip2Config(
            vision_config={
                "hidden_size": sizes.vit_width,
                "intermediate_size": sizes.vit_intermediate,
                "num_hidden_layers": sizes.vit_depth,
                "num_attention_heads": sizes.vit_heads,
                "image_size": sizes.image_size,
                "patch_size": sizes.patch_size,
            },
            qformer_config={
                "vocab_size": sizes.vocab_size,
                "hidden_size": sizes.hidden,
                "num_hidden_layers": sizes.layers,
                "num_attention_heads": sizes.heads,
                "intermediate_size": sizes.intermediate,
                "max_position_embeddings": sizes.max_position,
                "cross_attention_frequency": sizes.cross_attention_freq,
                "encoder_hidden_size": sizes.vit_width,
                "use_qformer_text_input": True,
            },
            num_query_tokens=sizes.num_query,
            image_text_hidden_size=sizes.embed_dim,
            image_token_index=None,
        )
    )
    weights = {name: weight for name, weight in model.state_dict().items() if not name.startswith("lm_head.")}
    theirs.load_state_dict(weights, strict=True)
    theirs.vision_model.post_layernorm.eps = LN_VISION_EPS
    return theirs.eval()


@pytest.fixture(scope="module")
def recorded(tmp_path_factory):
    """The fixture recorded from LAVIS, converted as a user converts a checkpoint."""
    folder = tmp_path_factory.mktemp("weights")
    convert_lavis(ORACLES / "tiny_vitg.lavis.safetensors", folder, config=ORACLES / "tiny_vitg.json")
    return Blip2.load(folder)


@torch.no_grad()
def passes(model, pairs):
    vision = vision_hidden(model.vision_model, pairs.pixels)
    crossing = vision_keys_values(model.qformer, vision, model.config.heads)
    tokens, prefix = query_pass(model.qformer, model.query_tokens, vision, model.config.heads, crossing)
    text = embed_text(model.qformer, model.embeddings, pairs.ids)
    return crossing, tokens, prefix, text


@needs_oracles
@torch.no_grad()
def test_matching_logits_are_those_of_transformers(recorded):
    pairs = random_pairs(6, recorded.config)
    crossing, _, _, text = passes(recorded, pairs)
    ours = losses.itm_logits(recorded, crossing, text, pairs.mask)
    theirs = transformers_model(recorded)(
        pixel_values=pairs.pixels,
        input_ids=pairs.ids,
        attention_mask=pairs.mask,
        use_image_text_matching_head=True,
    ).logits_per_image
    difference = float((ours - theirs).abs().max())
    figure(f"matching logits differ by {difference:.1e}, they spread over {float(theirs.std()):.2f}")
    assert difference < TOLERANCE < 0.01 * float(theirs.std())


@needs_oracles
@torch.no_grad()
def test_similarities_are_those_of_transformers(recorded):
    pairs = random_pairs(6, recorded.config)
    _, tokens, _, text = passes(recorded, pairs)
    text_cls = text_pass(recorded.qformer, text, pairs.mask, recorded.config.heads)[:, 0]
    ours = losses.similarities(losses.image_features(recorded, tokens), losses.text_features(recorded, text_cls))
    theirs = transformers_model(recorded)(
        pixel_values=pairs.pixels, input_ids=pairs.ids, attention_mask=pairs.mask
    ).logits_per_image
    assert ours.shape == theirs.shape == (6, 6)
    assert float((ours - theirs).abs().max()) < TOLERANCE


@needs_oracles
def test_the_caption_loss_is_the_cross_entropy_of_the_models_logits(recorded):
    pairs = random_pairs(6, recorded.config)
    _, _, prefix, _ = passes(recorded, pairs)
    started = pairs.ids.clone()
    started[:, 0] = recorded.config.bos_id
    logits = recorded.lm_logits(started, pairs.mask, prefix)
    labels = pairs.ids[:, 1:].masked_fill(pairs.mask[:, 1:] == 0, -100)
    expected = functional.cross_entropy(logits[:, :-1].flatten(0, 1), labels.flatten(), label_smoothing=0.1)
    with torch.no_grad():
        ours = losses.caption_loss(recorded, prefix, pairs.ids, pairs.mask)
    assert float(ours) == pytest.approx(float(expected), abs=TOLERANCE)


def test_the_contrastive_loss_of_hand_computed_vectors():
    # Two images with two queries each, two texts; the best query gives similarities 1, 0 / 0.6, 0.8.
    image = torch.tensor([[[1.0, 0.0], [0.0, -1.0]], [[0.6, 0.8], [0.0, -1.0]]])
    text = torch.tensor([[1.0, 0.0], [0.0, 1.0]])
    assert torch.allclose(losses.similarities(image, text), torch.tensor([[1.0, 0.0], [0.6, 0.8]]))
    loss = losses.itc_loss(image, text, image, text, torch.tensor(0.5), torch.eye(2, dtype=torch.bool))

    def entropy(right, wrong):
        total = math.log(math.exp(right / 0.5) + math.exp(wrong / 0.5))
        return 0.95 * (total - right / 0.5) + 0.05 * (total - wrong / 0.5)

    image_to_text = (entropy(1.0, 0.0) + entropy(0.8, 0.6)) / 2
    text_to_image = (entropy(1.0, 0.6) + entropy(0.8, 0.0)) / 2
    assert float(loss) == pytest.approx((image_to_text + text_to_image) / 2, abs=1e-6)


def test_partners_share_the_target():
    same = losses.same_pairs(torch.tensor([0, 1, 2, 1]), torch.tensor([[5, 6], [7, 8], [5, 6], [9, 9]]))
    assert same.int().tolist() == [[1, 0, 1, 0], [0, 1, 0, 1], [1, 0, 1, 0], [0, 1, 0, 1]]


def test_a_repeated_caption_is_no_negative():
    # Two images of one caption, at a temperature at which everything but the best counts for nothing.
    vectors = torch.eye(2)[[0, 0]]
    image, text = vectors[:, None], vectors
    args = (image, text, image, text, torch.tensor(0.01))
    both = losses.itc_loss(*args, same_NM=torch.ones(2, 2, dtype=torch.bool))
    assert float(both) == pytest.approx(math.log(2), abs=1e-6)
    image = torch.eye(2)[:, None]
    pulled = image.clone().requires_grad_()
    losses.itc_loss(pulled, text, image, text, torch.tensor(1.0), torch.ones(2, 2, dtype=torch.bool)).backward()
    assert pulled.grad.abs().max() < 1e-6


def test_negatives_are_of_other_pairs_and_the_hardest_are_likeliest():
    torch.manual_seed(0)
    same = torch.eye(3, dtype=torch.bool)
    similarity = torch.tensor([[9.0, 5.0, 0.0], [0.0, 9.0, 5.0], [5.0, 0.0, 9.0]])
    drawn = [losses.draw_negatives(similarity, same) for _ in range(50)]
    texts = torch.stack([negatives.text_of_image for negatives in drawn])
    images = torch.stack([negatives.image_of_text for negatives in drawn])
    assert not (texts == torch.arange(3)).any()
    assert not (images == torch.arange(3)).any()
    assert (texts == torch.tensor([1, 2, 0])).float().mean() > 0.95
    assert (images == torch.tensor([2, 0, 1])).float().mean() > 0.95


def test_a_pair_without_negatives_is_left_out_of_them():
    same = torch.tensor([[1, 1, 0], [1, 1, 0], [0, 0, 1]]).bool()
    assert losses.draw_negatives(torch.zeros(3, 3), same).exists.all()
    nothing = losses.draw_negatives(torch.zeros(2, 2), torch.ones(2, 2, dtype=torch.bool))
    assert not nothing.exists.any()
    model, pairs = random_model(), random_pairs(2)
    crossing, _, _, text = passes(model, pairs)
    with torch.no_grad():
        loss = losses.itm_loss(model, crossing, text, pairs.mask, nothing)
        logits = losses.itm_logits(model, crossing, text, pairs.mask)
    assert float(loss) == pytest.approx(float(-logits.log_softmax(-1)[:, 1].mean()), abs=1e-6)


def test_the_matching_loss_is_over_each_pair_and_two_negatives():
    model, pairs = random_model(), random_pairs(3)
    crossing, _, _, text = passes(model, pairs)
    negatives = losses.Negatives(torch.tensor([1, 2, 0]), torch.tensor([2, 0, 1]), torch.tensor([True, True, False]))
    total, count = 0.0, 0
    with torch.no_grad():
        for image, sentence, label in (
            *((n, n, 1) for n in range(3)),
            *((n, int(negatives.text_of_image[n]), 0) for n in (0, 1)),
            *((int(negatives.image_of_text[n]), n, 0) for n in (0, 1)),
        ):
            row = {index: (keys[[image]], values[[image]]) for index, (keys, values) in crossing.items()}
            logits = losses.itm_logits(model, row, text[[sentence]], pairs.mask[[sentence]])
            total -= float(logits.log_softmax(-1)[0, label])
            count += 1
        assert float(losses.itm_loss(model, crossing, text, pairs.mask, negatives)) == pytest.approx(
            total / count, 1e-5
        )


@pytest.mark.parametrize("config", [TINY, TINY_VITL, replace(TINY, cross_attention_freq=1)], ids=["g", "L", "str"])
@pytest.mark.parametrize(
    ("train_vision", "train_projections", "temperature"),
    [(False, True, None), (True, True, None), (True, False, None), (True, True, 0.2)],
)
def test_what_is_trained_gets_gradients_and_what_is_frozen_none(config, train_vision, train_projections, temperature):
    model = Blip2.from_weights(config, initial_weights(config, 0), "new")
    objective = losses.Blip2Objective(
        model, train_vision=train_vision, train_projections=train_projections, temperature=temperature
    )
    assert float(objective.temperature.detach()) == pytest.approx(temperature or 0.07)
    sum(objective(random_pairs(5, config)).values()).backward()
    frozen = set()
    for name, parameter in objective.named_parameters():
        if parameter.requires_grad:
            assert parameter.grad is not None, name
            assert torch.isfinite(parameter.grad).all(), name
            # A key's bias shifts all logits of a query alike, so its gradient is zero but for rounding.
            if not name.endswith("key.bias"):
                assert float(parameter.grad.abs().max()) > 0, name
        else:
            assert parameter.grad is None, name
            frozen.add(name)
    vision = {name for name, _ in objective.named_parameters() if name.startswith("model.vision_model.")}
    expected = set() if train_vision else {name for name in vision if "post_layernorm" not in name}
    if not train_projections:
        expected |= {f"model.{one}_projection.{kind}" for one in ("vision", "text") for kind in ("weight", "bias")}
    if temperature is not None:
        expected.add("temperature")
    assert frozen == expected


def test_padding_changes_no_loss():
    model, pairs = random_model(), random_pairs(4)
    objective = losses.Blip2Objective(model, train_vision=False).eval()
    longer = replace(TINY, max_txt_len=30)
    padded = functional.pad(pairs.ids, (0, 14)), functional.pad(pairs.mask, (0, 14))
    assert padded[0].shape[1] == longer.max_txt_len
    with torch.no_grad():
        values = []
        for ids, mask in ((pairs.ids, pairs.mask), padded):
            torch.manual_seed(0)
            values.append(objective(replace(pairs, ids=ids, mask=mask)))
    for name, value in values[0].items():
        assert float(value) == pytest.approx(float(values[1][name]), abs=1e-5), name


def test_dropout_is_of_training_only():
    objective = losses.Blip2Objective(random_model(), train_vision=False, dropout=0.3)
    pairs = random_pairs(4)

    def value():
        torch.manual_seed(3)
        with torch.no_grad():
            return float(objective(pairs)["itg"])

    still, again = value(), value()
    objective.train()
    assert still == again != value()


def test_a_model_without_a_head_cannot_be_trained():
    with pytest.raises(ValueError, match="no language-model head"):
        losses.Blip2Objective(random_model(replace(TINY, can_caption=False)), train_vision=False)
