import os
import pickle
from dataclasses import replace

import pytest
import torch
from safetensors.torch import save_file

from jobs.benchmarks.bench_blip2 import TINY
from raypipe.errors import UserError
from raypipe.models.blip2.model import Blip2
from raypipe.models.blip2.weights import prefix_vit, read_tensors, translate_lavis
from tests.helpers.blip2_checkpoints import TINY_VITL, lavis_state, split_vit

BOTH = pytest.mark.parametrize("config", [TINY, TINY_VITL], ids=lambda config: config.vit)


class RunsCode:
    """A pickle of this leaves a marker file behind when its code runs."""

    def __init__(self, marker):
        self.marker = marker

    def __reduce__(self):
        return os.mkdir, (str(self.marker),)


@BOTH
def test_every_key_is_used_or_left_out_by_name(config):
    translation = translate_lavis(lavis_state(config), config, "file")
    assert translation.dropped == ["Qformer.bert.embeddings.position_ids", "temp"]
    assert translation.weights.keys() == Blip2.empty(config).state_dict().keys()


@BOTH
def test_two_files_give_the_same_as_one_with_the_vit_inside(config):
    state = lavis_state(config)
    qformer, vit = split_vit(state, config)
    once = translate_lavis(state, config, "file")
    twice = translate_lavis(qformer, config, "files", prefix_vit(vit))
    assert all(torch.equal(once.weights[name], twice.weights[name]) for name in once.weights)
    assert once.weights.keys() == twice.weights.keys()
    # The block behind the last used one, the final norm and the head.
    assert len(twice.dropped) > len(once.dropped) + 10


@BOTH
@pytest.mark.parametrize(
    ("damage", "message"),
    [
        (lambda s: s.pop("query_tokens"), "missing 1: query_tokens"),
        (lambda s: s.pop("ln_vision.bias"), "missing 1: ln_vision.bias"),
        (lambda s: s.pop("Qformer.cls.predictions.bias"), "missing 1: Qformer.cls.predictions.bias"),
        (lambda s: s.update({"opt_proj.weight": torch.zeros(2)}), "not of this model 1: opt_proj.weight"),
        (
            lambda s: s.update({"query_tokens": torch.zeros(1, 9, 48)}),
            r"of another shape 1: query_tokens \[1, 9, 48\], expected \[1, 8, 48\]",
        ),
        (
            lambda s: s.update({"itm_head.bias": torch.zeros(2, dtype=torch.int64)}),
            "not floating point 1: itm_head.bias",
        ),
        (
            lambda s: s.update({"Qformer.cls.predictions.decoder.weight": torch.zeros(121, 48)}),
            "Qformer.cls.predictions.decoder.weight should be a copy",
        ),
    ],
)
def test_keys_that_do_not_fit_are_named(config, damage, message):
    state = lavis_state(config)
    damage(state)
    with pytest.raises(UserError, match=rf"^some\.pth: .*{message}"):
        translate_lavis(state, config, "some.pth")


@pytest.mark.parametrize(
    ("config", "key"),
    [
        (TINY, "visual_encoder.blocks.1.attn.v_bias"),
        (TINY, "visual_encoder.blocks.2.mlp.fc1.weight"),
        (TINY_VITL, "visual_encoder.transformer.resblocks.1.attn.in_proj_weight"),
        (TINY_VITL, "visual_encoder.positional_embedding"),
    ],
)
def test_missing_and_misshapen_keys_of_the_vit_have_their_lavis_names(config, key):
    state = lavis_state(config)
    good = state.pop(key)
    with pytest.raises(UserError, match=f"missing 1: {key}$"):
        translate_lavis(state, config, "some.pth")
    state[key] = good[:-1]
    with pytest.raises(UserError, match=f"of another shape 1: {key} "):
        translate_lavis(state, config, "some.pth")


def test_a_block_too_many_is_surplus_in_a_vit_file_only():
    state = lavis_state(replace(TINY, vit_depth=4))
    with pytest.raises(UserError, match=r"not of this model 13: visual_encoder\.blocks\.3"):
        translate_lavis(state, TINY, "some.pth")


def test_keys_in_both_files_are_refused():
    state = lavis_state()
    vit = {key: value for key, value in state.items() if key.startswith("visual_")}
    with pytest.raises(UserError, match=r"both files hold visual_encoder\.blocks"):
        translate_lavis(state, TINY, "two files", vit)


def test_another_model_is_refused_and_its_keys_are_counted():
    state = {f"backbone.layer{i}.weight": torch.zeros(1) for i in range(50)}
    with pytest.raises(UserError, match=r"resnet\.pth: .*missing .* and \d+ more; not of this model 50: .*and 38 more"):
        translate_lavis(state, TINY, "resnet.pth")


@pytest.mark.parametrize("nested", [True, False])
@pytest.mark.parametrize("suffix", [".pth", ".safetensors"])
def test_checkpoints_of_both_kinds_are_read(tmp_path, suffix, nested):
    state, path = lavis_state(), tmp_path / f"file{suffix}"
    if suffix == ".safetensors":
        save_file(state, path)
    else:
        torch.save({"model": state} if nested else state, path)
    read = read_tensors(path)
    assert read.keys() == state.keys()
    assert all(torch.equal(read[key], state[key]) for key in state)


@pytest.mark.filterwarnings("ignore:Detected pickle protocol 4")
@pytest.mark.parametrize("protocol", [0, 2, 4])
def test_a_pickle_that_would_run_code_is_refused_and_not_run(tmp_path, protocol):
    marker = tmp_path / "executed"
    content = {"model": {"query_tokens": RunsCode(marker)}}
    (tmp_path / "plain.pth").write_bytes(pickle.dumps(content, protocol=protocol))
    torch.save(content, tmp_path / "zipped.pth")
    for name in ("plain.pth", "zipped.pth"):
        with pytest.raises(UserError, match=rf"{name}: refused, nothing of it was run") as caught:
            read_tensors(tmp_path / name)
        assert "mkdir" in str(caught.value) or protocol != 2
        assert "set to `False`" not in str(caught.value)
    assert not marker.exists()
    # The trap works: an ordinary load springs it.
    pickle.loads((tmp_path / "plain.pth").read_bytes())  # noqa: S301
    assert marker.exists()


@pytest.mark.parametrize("suffix", [".pth", ".safetensors"])
def test_truncated_and_foreign_files_are_refused(tmp_path, suffix):
    path = tmp_path / f"file{suffix}"
    if suffix == ".safetensors":
        save_file(lavis_state(), path)
    else:
        torch.save(lavis_state(), path)
    whole = path.read_bytes()
    generator = torch.Generator().manual_seed(0)
    noise = bytes(torch.randint(0, 256, (300,), generator=generator, dtype=torch.uint8).tolist())
    lengths = torch.randint(1, len(whole), (40,), generator=generator).tolist()
    for content in [whole[:length] for length in lengths] + [b"", b"\x80", b"hello\n", noise, whole[:7] + noise]:
        path.write_bytes(content)
        with pytest.raises(UserError, match=rf"file{suffix}: "):
            read_tensors(path)


@pytest.mark.parametrize(
    ("content", "message"),
    [
        ([1, 2], "holds a list"),
        ({"model": {"query_tokens": 3}}, "no tensors: query_tokens"),
        ({7: torch.zeros(1)}, "no tensors: 7"),
    ],
)
def test_pickles_of_other_things_are_refused(tmp_path, content, message):
    torch.save(content, tmp_path / "file.pth")
    with pytest.raises(UserError, match=message):
        read_tensors(tmp_path / "file.pth")


def test_a_missing_file(tmp_path):
    with pytest.raises(UserError, match=r"gone\.pth: no such file"):
        read_tensors(tmp_path / "gone.pth")
