import json
from dataclasses import asdict

import pytest

from jobs.benchmarks.bench_blip2 import TINY, flops_per_crop
from raypipe.errors import UserError
from raypipe.models.blip2.config import PRETRAIN, PRETRAIN_VITL, Blip2Sizes, CaptionRules, read_config
from tests.helpers.blip2_checkpoints import figure


def test_published_sizes():
    assert (PRETRAIN.num_vision_tokens, PRETRAIN.vit_width, PRETRAIN.vit_intermediate) == (257, 1408, 6144)
    assert (PRETRAIN_VITL.vit_depth, PRETRAIN_VITL.vit_intermediate) == (23, 4096)
    assert [layer for layer in range(12) if PRETRAIN.has_cross_attention(layer)] == [0, 2, 4, 6, 8, 10]


def test_arithmetic_of_a_crop():
    giga = {name: flops / 1e9 for name, flops in flops_per_crop(PRETRAIN).items()}
    figure(str({name: round(value, 1) for name, value in giga.items()}))
    assert giga["vision"] == pytest.approx(521, abs=0.5)
    assert giga["tokens"] == pytest.approx(12.8, abs=0.1)
    assert 8 < giga["caption_3_beams"] < 19.5
    assert 2 < giga["sentence"] < 5.6


@pytest.mark.parametrize("nested", [True, False])
def test_a_config_is_read_bare_or_nested_and_what_is_not_used_is_told(tmp_path, nested):
    values = asdict(TINY) | {"drop_path_rate": 0.4}
    path = tmp_path / "c.json"
    path.write_text(json.dumps({"config": values, "seed": 1} if nested else values))
    assert read_config(path) == (TINY, ["drop_path_rate"])


def test_the_written_config_reads_back(tmp_path):
    (tmp_path / "config.json").write_text(TINY.to_json())
    assert read_config(tmp_path / "config.json") == (TINY, [])


@pytest.mark.parametrize(
    ("change", "message"),
    [
        ({"vit": "resnet"}, "vit is 'resnet'"),
        ({"num_query": 0}, "num_query is 0"),
        ({"num_query": "8"}, "num_query is '8'"),
        ({"layers": True}, "layers is True"),
        ({"vit_mlp_ratio": "4"}, "vit_mlp_ratio is '4'"),
        ({"vit_heads": 5}, "vit_width 64 is no multiple of vit_heads 5"),
        ({"heads": 7}, "hidden 48 is no multiple of heads 7"),
        ({"vit_mlp_ratio": float("inf")}, "vit_mlp_ratio inf is out of range"),
        ({"patch_size": 57}, "image_size 56 holds no patch"),
        ({"max_txt_len": 65}, "max_txt_len 65 exceeds max_position 64"),
        ({"bos_id": 121}, "special token ids"),
        ({"sep_id": 2}, "special token ids"),
        ({"pad_id": -1}, "pad_id is -1"),
    ],
)
def test_impossible_sizes_are_refused(tmp_path, change, message):
    path = tmp_path / "c.json"
    path.write_text(json.dumps(asdict(TINY) | change))
    with pytest.raises(UserError, match=rf"c\.json: .*{message}"):
        read_config(path)


@pytest.mark.parametrize(
    ("text", "message"),
    [("{", "is no JSON"), ("[]", "holds no config"), ("{}", "has no vit, image_size"), (None, "cannot be read")],
)
def test_files_that_are_no_config(tmp_path, text, message):
    path = tmp_path / "c.json"
    if text is not None:
        path.write_text(text)
    with pytest.raises(UserError, match=rf"c\.json: .*{message}"):
        read_config(path)


def test_sizes_are_never_guessed(tmp_path):
    values = asdict(TINY)
    del values["cross_attention_freq"]
    with pytest.raises(UserError, match="has no cross_attention_freq"):
        Blip2Sizes.from_mapping(values, "c")


@pytest.mark.parametrize("rules", [{"num_beams": 0}, {"max_length": 1}, {"min_length": -1}])
def test_impossible_caption_rules(rules):
    with pytest.raises(ValueError, match="CaptionRules"):
        CaptionRules(**rules)
