import subprocess
import sys
from dataclasses import replace

import pytest
import torch
from torch.nn import functional

from jobs.benchmarks import naive_blip2 as naive
from jobs.benchmarks.bench_blip2 import TINY, sentence_ids
from raypipe.errors import UserError
from raypipe.models.attention import cross_modality_attention, cross_modality_weights
from raypipe.models.blip2.config import CLIP_VIT_L, CaptionRules
from raypipe.models.blip2.model import Blip2
from raypipe.models.blip2.tokenizer import SentenceTokenizer
from tests.helpers.blip2_checkpoints import (
    CASES,
    TINY_VITL,
    VOCAB,
    figure,
    load_case,
    needs_oracles,
    random_model,
    random_pixels,
)

RULES = [CaptionRules(1, 30, 10), CaptionRules(3, 30, 10), CaptionRules(3, 12, 1)]
# What differs between checkpoints, one by one: nothing may be wired to the sizes of the fixtures.
OTHER_SIZES = [
    {},
    {"num_query": 1},
    {"num_query": 33},
    {"cross_attention_freq": 1},
    {"cross_attention_freq": 3, "layers": 5},
    {"cross_attention_freq": 9},
    {"image_size": 60, "patch_size": 16},
    {"image_size": 14, "num_query": 3},
    {"vit_heads": 1, "heads": 1},
    {"hidden": 96, "heads": 12, "intermediate": 100},
    {"vit_width": 88, "vit_heads": 8, "vit_mlp_ratio": 3.33},
    {"vocab_size": 30, "bos_id": 29},
    {"vocab_size": 300, "bos_id": 250},
    {"max_position": 30},
    {"layers": 1, "vit_depth": 1},
]


@pytest.fixture(autouse=True, scope="module")
def _one_thread():
    """Threads that wait for one another make tiny products slow on busy machines."""
    threads = torch.get_num_threads()
    torch.set_num_threads(1)
    yield
    torch.set_num_threads(threads)


def largest(ours, recorded):
    return float((ours - recorded).abs().max())


@needs_oracles
@pytest.mark.parametrize("case", CASES)
def test_outputs_equal_lavis(case):
    model, recorded = load_case(case)
    encoding = model.encode_images(recorded["images"])
    text = model.encode_text(recorded["text_ids"], recorded["text_mask"])
    pair = (text[:, 0], encoding.image_tokens)
    logits = model.lm_logits(recorded["lm_input_ids"], recorded["text_mask"], encoding.prefix)
    mask = recorded["text_mask"].bool()
    differences = {
        "vision_hidden": largest(encoding.vision_hidden, recorded["vision_hidden"]),
        "image_tokens": largest(encoding.image_tokens, recorded["image_tokens"]),
        "text_hidden": largest(text, recorded["text_hidden"]),
        "text_cls": largest(text[:, 0], recorded["text_cls"]),
        "cos": largest(cross_modality_weights(*pair), recorded["cos"]),
        "cmam": largest(cross_modality_attention(*pair), recorded["cmam"]),
        "lm_logits": largest(logits[mask], recorded["lm_logits"][mask]),
    }
    figure(str({"case": case} | {name: f"{value:.1e}" for name, value in differences.items()}))
    assert all(value <= (1e-4 if name == "lm_logits" else 1e-5) for name, value in differences.items())


@needs_oracles
@pytest.mark.parametrize("case", CASES)
@pytest.mark.parametrize("rules", RULES, ids=str)
def test_captions_equal_lavis(case, rules):
    model, recorded = load_case(case)
    prefix = model.encode_images(recorded["images"]).prefix
    expected = recorded[f"gen_b{rules.num_beams}_max{rules.max_length}_min{rules.min_length}"]
    ids = model.caption_ids(prefix, rules)
    figure(f"{case} {rules}: {int((ids == expected).all(dim=1).sum())} of {len(ids)} captions identical")
    assert torch.equal(ids, expected)


@pytest.mark.parametrize("config", [TINY, TINY_VITL], ids=lambda config: config.vit)
@pytest.mark.parametrize("rules", RULES[:2], ids=str)
def test_captions_do_not_depend_on_the_batch(config, rules):
    model, pixels = random_model(config), random_pixels(64, config)
    encoding = model.encode_images(pixels)
    together = model.caption_ids(encoding.prefix, rules)
    order = torch.randperm(64, generator=torch.Generator().manual_seed(0))
    for batch in (1, 7, 64):
        for rows in order.split(batch):
            part = model.encode_images(pixels[rows])
            assert torch.equal(model.caption_ids(part.prefix, rules), together[rows])
            # Not only the decisions: on a CPU in fp32 every bit is the same.
            assert torch.equal(part.image_tokens, encoding.image_tokens[rows])
            assert torch.equal(part.prefix, encoding.prefix[rows])
    figure(f"{config.vit} {rules}: 64 captions identical in batches of 1, 7 and 64, in any order")


@pytest.mark.parametrize("vit", [TINY.vit, CLIP_VIT_L])
@pytest.mark.parametrize("sizes", OTHER_SIZES, ids=str)
def test_other_sizes_equal_transformers_own_passes(vit, sizes):
    config = replace(TINY, vit=vit, **sizes)
    model, pixels = random_model(config), random_pixels(2, config)
    encoding = model.encode_images(pixels)
    for row in range(2):
        tokens = naive.image_tokens(model, naive.vision(model, pixels[row : row + 1]))[0]
        assert largest(encoding.image_tokens[row], tokens) < 2e-5
        for rules in (CaptionRules(1, 14, 4), CaptionRules(3, 14, 4), CaptionRules(4, 30, 1)):
            ids = model.caption_ids(encoding.prefix, rules)[row].tolist()
            expected = naive.caption_ids(model, pixels[row : row + 1], rules)
            assert ids == expected + [config.pad_id] * (rules.max_length - len(expected))


def test_logits_in_one_pass_equal_those_token_by_token():
    model = random_model()
    prefix = model.encode_images(random_pixels(3)).prefix
    ids = model.caption_ids(prefix, CaptionRules(1, 12, 12))
    logits = model.lm_logits(ids, torch.ones_like(ids), prefix)
    # The minimum length forbids [SEP] up to the last token.
    logits[..., model.config.sep_id] = -torch.inf
    assert torch.equal(logits[:, :10].argmax(dim=-1), ids[:, 1:11])


def test_sentence_vectors_equal_transformers_own_pass():
    model = random_model()
    ids, mask = sentence_ids(model.caption_ids(model.encode_images(random_pixels(4)).prefix, RULES[2]), model.config)
    ours = model.encode_text(ids, mask)[:, 0]
    expected = torch.stack([naive.sentence_vector(model, ids[n : n + 1], mask[n : n + 1]) for n in range(4)])
    assert largest(ours, expected) < 1e-5


def test_padding_without_a_mask_would_change_the_sentence():
    model = random_model()
    ids = torch.tensor([[2, 7, 3] + [0] * 13])
    masked = model.encode_text(ids, (ids != 0).long())
    short = model.encode_text(ids[:, :3], torch.ones(1, 3, dtype=torch.int64))
    assert largest(masked[:, :3], short) < 1e-5
    assert largest(masked, model.encode_text(ids, torch.ones_like(ids))) > 0.1


def test_an_empty_caption_stays_empty_and_takes_no_neighbours_vector():
    model = random_model()
    model.tokenizer = SentenceTokenizer(VOCAB, TINY)
    vectors = model.embed_sentences(["a man", "", "two people"])
    alone = model.encode_text(torch.tensor([[2, 3]]), torch.ones(1, 2, dtype=torch.int64))[0, 0]
    assert largest(vectors[1], alone) < 1e-5
    assert min(largest(vectors[1], vectors[0]), largest(vectors[1], vectors[2])) > 0.01
    assert model.embed_sentences([]).shape == (0, TINY.hidden)


def test_no_crops():
    model = random_model()
    model.tokenizer = SentenceTokenizer(VOCAB, TINY)
    encoding = model.encode_images(random_pixels(0))
    assert encoding.image_tokens.shape == (0, TINY.num_query, TINY.hidden)
    assert model.caption(encoding.prefix, CaptionRules()) == []


@pytest.mark.parametrize("precision", ["bf16", "fp16"])
def test_lower_precision_keeps_the_direction_of_g(precision):
    model, pixels = random_model(std=0.1), random_pixels(32)
    exact = model.encode_images(pixels)
    ids, mask = sentence_ids(model.caption_ids(exact.prefix, RULES[0]), model.config)
    reference = cross_modality_attention(model.encode_text(ids, mask)[:, 0], exact.image_tokens)
    rough = model.set_precision(precision).encode_images(pixels)
    result = cross_modality_attention(model.encode_text(ids, mask)[:, 0], rough.image_tokens)
    cosine = float(functional.cosine_similarity(reference, result).min())
    figure(f"{precision}: smallest cosine of G with fp32 {cosine:.6f}")
    assert cosine > 0.999
    assert rough.vision_hidden.dtype == rough.prefix.dtype == model.vision_model.dtype
    assert rough.image_tokens.dtype == model.embeddings.word_embeddings.weight.dtype == torch.float32
    assert model.caption_ids(rough.prefix, RULES[1]).shape == (32, 30)


def test_a_prefix_may_travel_as_float16():
    model = random_model()
    prefix = model.encode_images(random_pixels(8)).prefix
    assert torch.equal(model.caption_ids(prefix.half(), RULES[2]), model.caption_ids(prefix.half().float(), RULES[2]))


@pytest.mark.slow
@pytest.mark.parametrize("config", [TINY, TINY_VITL], ids=lambda config: config.vit)
def test_the_compiled_pass_gives_the_same(config):
    model, pixels = random_model(config), random_pixels(16, config)
    eager = model.encode_images(pixels)
    compiled = model.compile_images().encode_images(pixels)
    assert largest(compiled.image_tokens, eager.image_tokens) < 1e-4
    assert largest(compiled.prefix, eager.prefix) < 1e-4


def test_what_weights_cannot_do_is_said():
    model = random_model(replace(TINY, can_caption=False))
    encoding = model.encode_images(random_pixels(1))
    with pytest.raises(UserError, match=r"cannot caption.*language-model head"):
        model.caption_ids(encoding.prefix, CaptionRules())
    with pytest.raises(UserError, match=r"have no vocab\.txt"):
        model.embed_sentences(["a man"])
    with pytest.raises(ValueError, match="max_length 65 exceeds the model's 64"):
        random_model().caption_ids(encoding.prefix, CaptionRules(1, 65, 1))


def test_the_module_runs_where_ray_and_pyav_are_absent():
    code = """
import sys
for name in ("ray", "av", "pyarrow", "pydantic", "torchvision", "ultralytics", "scipy", "sklearn", "mlflow"):
    sys.modules[name] = None
from jobs.benchmarks.bench_blip2 import TINY, random_weights
from raypipe.models.attention import cross_modality_attention
from raypipe.models.blip2.model import Blip2
from raypipe.models.blip2.config import CaptionRules
import raypipe.models.blip2.weights, torch
model = Blip2.from_weights(TINY, random_weights(TINY), "random")
encoding = model.encode_images(torch.zeros(1, 3, 56, 56))
print(model.caption_ids(encoding.prefix, CaptionRules()).shape)
"""
    done = subprocess.run([sys.executable, "-c", code], capture_output=True, text=True, timeout=120, check=False)
    assert done.returncode == 0, done.stderr
    assert "torch.Size([1, 30])" in done.stdout


def test_the_empty_model_takes_no_memory():
    assert all(parameter.is_meta for parameter in Blip2.empty(TINY).parameters())
