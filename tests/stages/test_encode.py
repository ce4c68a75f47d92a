import logging

import numpy as np
import pytest
import torch
from pydantic import ValidationError
from safetensors.torch import save_file

from jobs.benchmarks.bench_blip2 import TINY
from raypipe.errors import GpuMemoryError, SchemaError, UserError
from raypipe.models.blip2 import model as blip2
from raypipe.models.blip2.config import PRETRAIN, CaptionRules
from raypipe.models.blip2.model import Blip2
from raypipe.models.blip2.preprocess import crop_rectangles, crop_resize_normalise
from raypipe.stages.encode import EncodeConfig, EncodeObjects, bytes_per_crop
from raypipe.weights.convert_blip2 import convert_lavis
from tests.helpers.blip2_checkpoints import VOCAB, figure, lavis_state

RULES = CaptionRules(2, 8, 3)


@pytest.fixture(scope="module")
def weights(tmp_path_factory):
    """A converted folder of the tiny model with random weights."""
    folder = tmp_path_factory.mktemp("weights")
    save_file(lavis_state(), folder / "tiny.lavis.safetensors")
    (folder / "tiny.json").write_text(TINY.to_json())
    (folder / "vocab.txt").write_text("".join(f"{word}\n" for word in VOCAB))
    convert_lavis(folder / "tiny.lavis.safetensors", folder / "converted")
    return folder / "converted"


def segment(count, seed=0):
    """A row of five frames at half the source's size with `count` boxes."""
    rng = np.random.default_rng(seed)
    start = rng.uniform((0, 0), (270, 180), (count, 2))
    boxes = np.concatenate((start, start + rng.uniform(4, 45, (count, 2))), axis=1)
    return {
        "video_id": "test/01",
        "width": 320,
        "height": 240,
        "frames": rng.integers(0, 256, (5, 120, 160, 3), dtype=np.uint8),
        "frame_offset": rng.integers(0, 5, count).astype(np.int32),
        "boxes": boxes.astype(np.float32),
        "confidence": np.ones(count, np.float32),
        "class_name": np.full(count, "person", object),
        "track_id": np.arange(count),
    }


def encoder(weights, captions=None, backbone=False, **values):
    return EncodeObjects(EncodeConfig(device="cpu", **values), str(weights), captions, backbone)


def test_tokens_are_those_of_the_expanded_boxes(weights):
    row = segment(20)
    stage = encoder(weights)
    tokens = stage(row)["tokens"]
    rectangles = crop_rectangles(row["boxes"], (320, 240), (160, 120), 0.5)
    pixels = crop_resize_normalise(
        torch.from_numpy(row["frames"]), torch.from_numpy(row["frame_offset"]), torch.from_numpy(rectangles), 56
    )
    assert tokens.dtype == np.float16
    assert np.array_equal(tokens, stage.model.encode_images(pixels).image_tokens.half().numpy())


def test_the_backbone_mean_is_added_on_request(weights):
    row = segment(20)
    stage = encoder(weights, backbone=True, microbatch_bytes=1)
    result = stage(row)
    rectangles = torch.from_numpy(crop_rectangles(row["boxes"], (320, 240), (160, 120), 0.5))
    frames, offsets = torch.from_numpy(row["frames"]), torch.from_numpy(row["frame_offset"])
    hidden = stage.model.encode_vision(crop_resize_normalise(frames, offsets, rectangles, 56))
    assert np.allclose(result["backbone"], hidden.mean(dim=1).numpy(), atol=2e-3)
    assert stage(segment(0))["backbone"].shape == (0, 64)


def test_the_rest_of_the_row_is_untouched(weights):
    row = segment(3)
    result = encoder(weights)(row)
    assert all(result[name] is row[name] for name in row if name != "frames")
    assert result.keys() ^ row.keys() == {"tokens", "frames"}


@pytest.mark.parametrize("captions", [None, RULES])
def test_outputs_do_not_depend_on_the_batches(weights, captions):
    row, results = segment(40), []
    for budget in (1, 200_000, 1 << 32):
        stage = encoder(weights, captions, microbatch_bytes=budget)
        results.append(stage(row))
    assert stage.batches.size > 40
    added = results[0].keys() - row.keys()
    assert added == ({"tokens", "caption"} if captions else {"tokens"})
    for name in added:
        assert all(np.array_equal(result[name], results[0][name]) for result in results)
    figure(f"{sorted(added)}: identical in batches of 1, a few, and all of 40")


@pytest.mark.parametrize("captions", [None, RULES])
def test_an_empty_segment_passes_through(weights, captions):
    result = encoder(weights, captions)(segment(0))
    assert result["tokens"].shape == (0, 8, 48)
    assert len(result.get("caption", ())) == 0


def test_read_only_frames_are_taken(weights):
    row = segment(2)
    row["frames"].flags.writeable = False
    assert len(encoder(weights)(row)["tokens"]) == 2


class FitsOnly:
    """Stands for a GPU that holds `most` crops at once."""

    def __init__(self, stage, most):
        self.encode, self.most, self.sizes = stage._encode, most, []

    def __call__(self, frames, offsets, rectangles):
        self.sizes.append(len(offsets))
        if len(offsets) > self.most:
            raise torch.OutOfMemoryError("CUDA out of memory")
        return self.encode(frames, offsets, rectangles)


def test_lack_of_memory_halves_the_batch_and_goes_on(weights, monkeypatch, caplog):
    row, stage = segment(30), encoder(weights)
    expected = stage(row)["tokens"]
    gpu = FitsOnly(stage, 7)
    monkeypatch.setattr(stage, "_encode", gpu)
    with caplog.at_level(logging.WARNING):
        first, second = stage(row)["tokens"], stage(row)["tokens"]
    assert gpu.sizes == [30, 15, 7, 7, 7, 7, 2, 7, 7, 7, 7, 2]
    assert np.array_equal(first, expected)
    assert np.array_equal(second, expected)
    assert len(caplog.records) == 1
    assert "30 crops at once do not fit" in caplog.text


def test_a_single_crop_that_does_not_fit_fails(weights, monkeypatch):
    stage = encoder(weights)
    monkeypatch.setattr(stage, "_encode", FitsOnly(stage, 0))
    with pytest.raises(GpuMemoryError, match=r"encode: .* batch of one of crops \(CUDA out of memory\)"):
        stage(segment(5))


def test_compiled_batches_have_few_shapes(weights, monkeypatch):
    monkeypatch.setattr(Blip2, "compile_images", lambda model: model)
    per_crop = bytes_per_crop(TINY, EncodeConfig(), None)
    stage = encoder(weights, compile=True, microbatch_bytes=32 * per_crop)
    blip2._IN_USE.clear()
    plain = encoder(weights, microbatch_bytes=32 * per_crop)
    shapes, encode = set(), stage.model.encode_images
    monkeypatch.setattr(stage.model, "encode_images", lambda pixels: shapes.add(len(pixels)) or encode(pixels))
    for count in (1, 3, 5, 9, 17, 31, 32, 33, 70):
        row = segment(count)
        assert np.array_equal(stage(row)["tokens"], plain(row)["tokens"])
    assert shapes == {4, 8, 16, 32}


@pytest.mark.slow
def test_a_compiled_stage_gives_the_same_tokens(weights):
    per_crop = bytes_per_crop(TINY, EncodeConfig(), None)
    row = segment(16)
    compiled = encoder(weights, compile=True, microbatch_bytes=16 * per_crop)(row)
    blip2._IN_USE.clear()
    plain = encoder(weights, microbatch_bytes=16 * per_crop)(row)
    assert np.abs(compiled["tokens"].astype(float) - plain["tokens"]).max() < 2e-2


def test_the_budget_bounds_the_batch():
    config = EncodeConfig(precision="bf16")
    crops = (4 << 30) // bytes_per_crop(PRETRAIN, config, None)
    figure(f"ViT-g in bf16: {bytes_per_crop(PRETRAIN, config, None) / 2**20:.1f} MiB a crop, {crops} crops in 4 GiB")
    assert 128 < crops < 1024
    assert bytes_per_crop(PRETRAIN, config, CaptionRules()) > bytes_per_crop(PRETRAIN, config, None)


@pytest.mark.parametrize(
    ("index", "box", "fault"),
    [
        (2, (10, 10, 10, 20), r"frame 4 of the segment, box 2 \(10, 10, 10, 20\) has no area"),
        (0, (30, 10, 20, 20), "has no area"),
        (1, (float("nan"), 0, 5, 5), "has no area"),
        (1, (400, 10, 420, 20), r"frame 4 of the segment, box 1 .* outside the frame of 320 x 240"),
        (2, (-5, 10, 20, 20), "outside the frame"),
        (2, (10, 200, 20, 241), "outside the frame"),
        (2, (10, 200, float("inf"), 220), "outside the frame"),
    ],
)
def test_bad_boxes_are_refused_with_frame_and_box(weights, index, box, fault):
    row = segment(3)
    row["frame_offset"][:] = 4
    row["boxes"][index] = box
    with pytest.raises(SchemaError, match=rf"encode: test/01, .*{fault}"):
        encoder(weights)(row)


def test_the_frame_of_the_video_is_named_where_the_row_knows_it(weights):
    row = segment(2) | {"frame_indices": np.arange(100, 110, 2)}
    row["frame_offset"][1], row["boxes"][1] = 3, (5, 5, 5, 9)
    with pytest.raises(SchemaError, match=r"frame 3 of the segment \(106 of the video\), box 1"):
        encoder(weights)(row)


def test_boxes_may_touch_the_edges(weights):
    row = segment(1)
    row["boxes"][0] = (0, 0, 320, 240)
    assert len(encoder(weights)(row)["tokens"]) == 1


@pytest.mark.parametrize("offset", [-1, 5])
def test_a_box_of_no_frame_is_refused(weights, offset):
    row = segment(2)
    row["frame_offset"][1] = offset
    with pytest.raises(SchemaError, match=r"box 1 .* is of no frame of the 5 decoded"):
        encoder(weights)(row)


def test_rows_that_do_not_conform_are_refused(weights):
    stage = encoder(weights)
    with pytest.raises(SchemaError, match="no field 'boxes'"):
        stage({name: value for name, value in segment(1).items() if name != "boxes"})
    with pytest.raises(SchemaError, match="'boxes' has dtype float64"):
        stage(segment(1) | {"boxes": np.zeros((1, 4))})
    with pytest.raises(SchemaError, match="'boxes' has shape"):
        stage(segment(1) | {"boxes": np.ones((2, 4), dtype=np.float32)})


def test_tokens_that_overflow_fail_loudly(weights, monkeypatch):
    stage = encoder(weights)
    stage.model.query_tokens.data.fill_(float("nan"))
    with pytest.raises(FloatingPointError, match="not finite at precision fp32"):
        stage(segment(2))


def test_weights_that_cannot_caption_are_refused_at_the_start(weights, monkeypatch):
    model = Blip2.load(weights)
    model.lm_head = None
    monkeypatch.setattr(Blip2, "load", lambda *_, **__: model)
    with pytest.raises(UserError, match="cannot caption"):
        encoder(weights, RULES)
    assert len(encoder(weights)(segment(1))["tokens"]) == 1


@pytest.mark.parametrize(
    "values",
    [
        {"precision": "fp8"},
        {"batch_size": 8},
        {"microbatch_bytes": 0},
        {"box_expansion": -0.1},
        {"box_expansion": float("nan")},
    ],
)
def test_the_config_refuses_what_it_does_not_know(values):
    with pytest.raises(ValidationError):
        EncodeConfig(**values)


def test_stages_of_one_actor_share_the_model(weights):
    first, second = encoder(weights), encoder(weights, RULES)
    assert first.model is second.model
    assert blip2.shared_blip2(str(weights), "cpu", "fp32", text_only=True) is first.model
    assert blip2.shared_blip2(str(weights), "cpu", "bf16") is not first.model


def test_the_text_side_alone_gives_the_same_sentences(weights):
    text_only = Blip2.load(weights, text_only=True)
    assert not hasattr(text_only, "vision_model")
    sentences = ["a man", "", "two people riding"]
    assert torch.equal(text_only.embed_sentences(sentences), Blip2.load(weights).embed_sentences(sentences))


def test_a_vocabulary_is_needed_for_captions(weights, tmp_path):
    for name in ("model.safetensors", "config.json"):
        (tmp_path / name).write_bytes((weights / name).read_bytes())
    with pytest.raises(UserError, match="have no vocab"):
        encoder(tmp_path, RULES)
