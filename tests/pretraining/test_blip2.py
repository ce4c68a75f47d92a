"""Training of BLIP-2: what is refused, what it starts from, and that it learns, resumes and is found again."""

import shutil
from pathlib import Path

import pytest
import torch
from ray.train.v2.api.exceptions import TrainingFailedError

from raypipe.config.file import validate
from raypipe.errors import UserError
from raypipe.models.blip2.initial_weights import STRUCTURES
from raypipe.models.blip2.losses import Blip2Objective
from raypipe.models.blip2.model import Blip2
from raypipe.pretraining import blip2_worker as blip2_worker
from raypipe.pretraining.blip2 import plan_blip2, train_blip2
from raypipe.pretraining.blip2_config import Blip2TrainConfig, Blip2TrainingConfig, load_blip2_config
from raypipe.pretraining.blip2_start import start_from
from raypipe.pretraining.blip2_worker import learning_rate, make_optimizers, set_rate
from raypipe.pretraining.images import NotGiven
from raypipe.run_folder.folder import RunFolder
from tests.helpers.captioned_shapes import write_shapes
from tests.helpers.training_configs import TINY_BLIP2, blip2_document

JOBS = Path(__file__).parents[2] / "jobs"


@pytest.fixture(scope="module")
def data(tmp_path_factory):
    return write_shapes(tmp_path_factory.mktemp("shapes"), 80)


def config_of(data, output, /, **changes):
    return validate(Blip2TrainingConfig, blip2_document(data, output, **changes), "test")


@pytest.mark.parametrize(
    ("changes", "complaint"),
    [
        ({"model": {"vit": None}}, "without start, a model needs vit and vocab"),
        ({"model": {"vocab": None}}, "without start, a model needs vit and vocab"),
        ({"model": {"start": "weights"}}, "start brings its own image encoder and vocabulary"),
        ({"model": {"structure": "str4"}}, "must be 'blip2', 'str1', 'str2' or 'str3'"),
        ({"model": {"num_query": 0}}, "model.num_query: 0 must be greater than or equal to 1"),
        ({"train": {"optimizer": "sgd"}}, "must be 'adamw' or 'muon'"),
        ({"train": {"batch_size": 1}}, "train.batch_size: 1 must be greater than or equal to 2"),
        ({"augment": {"crop_area": 0.0}}, "augment.crop_area: 0.0 must be greater than 0"),
        ({"trian": {}}, "unknown key 'trian'; did you mean 'train'"),
    ],
)
def test_configs_that_make_no_sense_are_refused(data, tmp_path, changes, complaint):
    with pytest.raises(UserError) as refused:
        config_of(data, tmp_path, **changes)
    assert complaint in str(refused.value)


@pytest.mark.parametrize(
    ("changes", "complaint"),
    [
        ({"hidden": 50}, "model: .*heads"),
        ({"vit": TINY_BLIP2["vit"] | {"width": 50}}, "model: .*heads"),
        ({"vocab": "/nowhere/vocab.txt"}, "/nowhere/vocab.txt: cannot be read"),
    ],
)
def test_sizes_that_do_not_fit_each_other_are_refused_before_any_work(data, tmp_path, changes, complaint):
    with pytest.raises(UserError, match=complaint):
        plan_blip2(config_of(data, tmp_path, model=changes))


def test_a_vocabulary_needs_its_special_tokens(data, tmp_path):
    (tmp_path / "vocab.txt").write_text("[PAD]\n[CLS]\na\nred\n")
    with pytest.raises(UserError, match=r"lacks \[UNK\], \[SEP\], \[MASK\]"):
        plan_blip2(config_of(data, tmp_path, model={"vocab": str(tmp_path / "vocab.txt")}))


def test_the_plan_knows_the_sizes_and_words(data, tmp_path):
    plan = plan_blip2(config_of(data, tmp_path))
    assert (plan.sizes.num_query, plan.sizes.hidden, plan.sizes.image_size, plan.sizes.vit_depth) == (6, 48, 48, 2)
    assert plan.sizes.can_caption
    assert {"red", "square", "circle", "[CLS]"} <= set(plan.vocab)
    assert plan.sizes.vocab_size == len(plan.vocab) + 1
    assert len(plan.fit.images) + len(plan.held_out.images) == 80


def test_everything_that_decides_the_result_names_the_training(data, tmp_path):
    def name(output="a", **changes):
        return plan_blip2(config_of(data, tmp_path / output, **changes)).training_hash

    placed = {"max_failures": 9, "keep_image_bytes": 0, "threads": 2, "use_gpu": True}
    assert name() == name("b") == name(train=placed)
    changed = ({"seed": 1}, {"train": {"learning_rate": 2e-3}}, {"model": {"num_query": 7}}, {"augment": {"flip": 0.5}})
    changed += ({"train": {"optimizer": "muon"}}, {"model": {"train_projections": False}})
    changed += ({"train": {"temperature": 0.07}},)
    assert len({name(), *(name(**changes) for changes in changed)}) == 8


@pytest.fixture(scope="module")
def lender(data, tmp_path_factory):
    """A folder as a training writes it, of random weights: 2 layers, cross-attention in each."""
    from raypipe.models.blip2.weights import Translation
    from raypipe.weights.convert_blip2 import write_folder

    folder = tmp_path_factory.mktemp("lender") / "blip2"
    plan = plan_blip2(config_of(data, folder))
    start = start_from(plan.config.model, plan.sizes, plan.vocab, 0)
    write_folder(folder, Translation(start.sizes, start.weights), start.vocab, [], [])
    return folder


def starting(data, output, lender, **model):
    document = blip2_document(data, output)
    return validate(Blip2TrainingConfig, document | {"model": {"start": str(lender)} | model}, "test")


@pytest.mark.parametrize(("structure", "num_query"), [(None, None), (None, 9), ("str3", None), ("str3", 9)])
def test_a_start_lends_what_means_the_same(data, tmp_path, lender, structure, num_query):
    config = starting(data, tmp_path, lender, structure=structure, num_query=num_query)
    plan = plan_blip2(config)
    assert plan.sizes.num_query == (num_query or 6)
    assert plan.sizes.layers == (STRUCTURES[structure].layers if structure else 2)
    start = start_from(config.model, plan.sizes, plan.vocab, 0)
    model = Blip2.from_weights(plan.sizes, start.weights, "start")
    lent = Blip2.load(lender)
    vision = "vision_model.encoder.layers.0.mlp.fc1.weight"
    assert torch.equal(model.state_dict()[vision], lent.state_dict()[vision])
    # Another structure is another Q-Former; other queries are new rows of one tensor.
    assert any(name.startswith("qformer.encoder") for name in start.new) == bool(structure)
    assert [name for name in start.new if name.startswith("query_tokens")] == (
        ["query_tokens from 6 on"] if num_query and not structure else ["query_tokens"] if structure else []
    )


def test_an_image_encoder_is_trained_where_it_is_new_or_asked_for(data, tmp_path, lender):
    assert config_of(data, tmp_path).model.trains_vit
    assert not starting(data, tmp_path, lender).model.trains_vit
    assert starting(data, tmp_path, lender, train_vit=True).model.trains_vit


@pytest.mark.parametrize(
    ("step", "expected"),
    # 100 steps, of which 10 are warm-up; then a half cosine.
    [(0, 0.1), (4, 0.5), (9, 1.0), (10, 1.0), (55, 0.5), (99, 0.5 * (1 - 0.99939))],
)
def test_the_learning_rate_by_hand(step, expected):
    config = Blip2TrainConfig(learning_rate=1.0, warmup_fraction=0.1)
    assert learning_rate(step, 100, config) == pytest.approx(expected, abs=1e-4)


@pytest.mark.parametrize("train_vision", [True, False])
def test_muon_takes_the_matrices_of_hidden_layers_alone(data, tmp_path, train_vision):
    config = config_of(data, tmp_path, train={"optimizer": "muon"})
    plan = plan_blip2(config)
    model = Blip2.from_weights(plan.sizes, start_from(config.model, plan.sizes, plan.vocab, 0).weights, "start")
    objective = Blip2Objective(model, train_vision=train_vision)
    adamw, muon = make_optimizers(objective, config.train)
    names = {id(parameter): name for name, parameter in objective.named_parameters()}
    taken, left = (
        {names[id(parameter)] for group in optimizer.param_groups for parameter in group["params"]}
        for optimizer in (muon, adamw)
    )
    assert taken & left == set()
    assert taken | left == {name for name, parameter in objective.named_parameters() if parameter.requires_grad}
    layer = "model.qformer.encoder.layer.1"
    assert {f"{layer}.attention.attention.query.weight", f"{layer}.output.dense.weight"} <= taken
    assert ("model.vision_model.encoder.layers.1.self_attn.qkv.weight" in taken) == train_vision
    assert {"model.vision_projection.weight", "model.text_projection.weight", "model.lm_head.dense.weight"} <= taken
    not_hidden = ("itm_head.weight", "query_tokens", "embeddings.word_embeddings.weight", "lm_head.bias")
    assert {f"model.{name}" for name in not_hidden} | {"temperature"} <= left
    assert [type(one) for one in make_optimizers(objective, config_of(data, tmp_path).train)] == [torch.optim.AdamW]

    def all_of(setting):
        return [group[setting] for optimizer in (adamw, muon) for group in optimizer.param_groups]

    assert all_of("weight_decay") == [config.train.weight_decay, 0.0, config.train.weight_decay]
    set_rate((adamw, muon), 0.125)
    assert all_of("lr") == [0.125] * 3


def test_the_recipe_is_valid():
    config = load_blip2_config(JOBS / "train_blip2.yaml")
    assert config.model.start
    assert not config.model.trains_vit


def break_in_epoch_1(settings):
    """Stand in for the worker's loop: training breaks when its second epoch begins."""
    epoch_of = blip2_worker._train_epoch

    def break_down(*arguments):
        if arguments[5][0] == 1:
            raise RuntimeError("broken in epoch 1")
        return epoch_of(*arguments)

    blip2_worker._train_epoch = break_down
    blip2_worker.train_loop(settings)


@pytest.mark.slow
@pytest.mark.parametrize(
    ("optimizer", "train_projections", "temperature"), [("adamw", True, None), ("muon", False, 0.1)]
)
def test_training_resumes_where_it_broke_and_is_found_again(
    cluster, data, tmp_path, monkeypatch, optimizer, train_projections, temperature
):
    settings = {
        "train": {"max_failures": 0, "optimizer": optimizer, "temperature": temperature},
        "model": {"train_projections": train_projections},
    }
    plan = plan_blip2(config_of(data, tmp_path / "whole", **settings))
    whole, is_new = train_blip2(plan)
    assert is_new
    assert [sorted(row) for row in whole["history"]] == [sorted(whole["history"][0])] * 2
    assert whole["history"][1]["loss"] < whole["history"][0]["loss"]
    assert (whole["history"][1]["temperature"] == pytest.approx(0.1)) == (temperature is not None)
    assert train_blip2(plan) == (whole, False)
    model = Blip2.load(tmp_path / "whole" / "blip2")
    assert model.tokenizer is not None
    # They start alike.
    assert torch.equal(model.vision_projection.weight, model.text_projection.weight) != train_projections

    broken = plan_blip2(config_of(data, tmp_path / "broken", **settings))
    with monkeypatch.context() as patch:
        patch.setattr("raypipe.pretraining.blip2_worker.train_loop", break_in_epoch_1)
        with pytest.raises(TrainingFailedError, match="broken in epoch 1"):
            train_blip2(broken)
    assert RunFolder(str(tmp_path / "broken")).read_json("blip2/card.json") is None
    resumed, _ = train_blip2(broken)
    assert resumed["history"] == whole["history"]
    name = "model.safetensors"
    assert (tmp_path / "broken" / "blip2" / name).read_bytes() == (tmp_path / "whole" / "blip2" / name).read_bytes()


@pytest.mark.slow
def test_unreadable_images_are_left_out_and_named(cluster, data, tmp_path):
    shutil.copytree(Path(data["images"]).parent, tmp_path / "shapes")
    own = {"annotations": str(tmp_path / "shapes" / "captions.json"), "images": str(tmp_path / "shapes" / "images")}
    for number in (3, 5):
        (tmp_path / "shapes" / "images" / f"{number}.png").write_text("no image")
    (tmp_path / "shapes" / "images" / "7.png").unlink()
    changes = {"train": {"workers": 2, "epochs": 1}, "augment": {"crop_area": 0.8, "flip": 0.5, "jitter": 0.2}}
    plan = plan_blip2(config_of(own, tmp_path / "out", **changes))
    card, _ = train_blip2(plan)
    assert card["unreadable"]["count"] == 2
    assert [Path(path).name for path in card["unreadable"]["named"]] == ["3.png", "5.png"]
    assert "1 images are missing (7.png)" in card["data"]["read"]
    too_many = plan_blip2(config_of(own, tmp_path / "refused", train={"batch_size": 79, "max_failures": 0}))
    with pytest.raises(UserError, match=r"train.batch_size: .* fewer readable images than the 79 .*2 images could not"):
        train_blip2(too_many)


def test_images_that_a_store_does_not_give_end_the_training_in_words(data, tmp_path):
    train = config_of(data, tmp_path).train
    told = blip2_worker._refusal(3, train, None, {"1.png": "cut short", "2.png": NotGiven("503 Slow Down")})
    assert told.startswith("data: the store did not give an image")
    assert "503 Slow Down" in told
    assert blip2_worker._refusal(3, train, None, {"1.png": "cut short"}) is None
    assert "1 images could not be read" in blip2_worker._refusal(0, train, None, {"1.png": "cut short"})
