"""Training of the state machine: what is refused, what it is asked, and that it learns, resumes and is found again."""

import json
from collections import Counter
from pathlib import Path

import numpy as np
import pyarrow as pa
import pytest
import torch
from ray.train.v2.api.exceptions import TrainingFailedError

from raypipe.config.file import validate
from raypipe.errors import UserError
from raypipe.models.blip2.model import Blip2
from raypipe.models.state_machine.machine import StateMachine, StateMachineShape
from raypipe.models.state_machine.questioner import Questioner
from raypipe.models.state_machine.targets import GridObjective, describe
from raypipe.models.vlm import VisionLanguageModel
from raypipe.pretraining import epochs
from raypipe.pretraining import state_machine_worker as train_smm_worker
from raypipe.pretraining.caption_pairs import read_pairs
from raypipe.pretraining.coco_captions import read_captions
from raypipe.pretraining.images import NotGiven, try_image
from raypipe.pretraining.labelling import LabelParts, LabelVqaConfig, load_label_config, plan_parts
from raypipe.pretraining.state_machine import plan_smm, train_smm
from raypipe.pretraining.state_machine_config import SmmConfig, load_smm_config
from raypipe.pretraining.state_machine_data import (
    HELD_OUT_OTHERS,
    EncodedImages,
    HeldOutPairs,
    answers_of,
    encode_share,
    epoch_pairs,
    grid_batches,
    held_out_pairs,
)
from raypipe.pretraining.state_machine_worker import Exam
from raypipe.pretraining.vqa_labels import LABEL, serialise_labels
from raypipe.run_folder.folder import RunFolder
from tests.helpers.captioned_shapes import write_shapes
from tests.helpers.spatial_weights import write_weights
from tests.helpers.training_configs import smm_document

JOBS = Path(__file__).parents[2] / "jobs"


@pytest.fixture(scope="module")
def data(tmp_path_factory):
    return write_shapes(tmp_path_factory.mktemp("shapes"), 80)


@pytest.fixture(scope="module")
def blip2(tmp_path_factory):
    """A tiny BLIP-2 of random weights."""
    return Path(write_weights(tmp_path_factory.mktemp("weights") / "tiny")["blip2"])


def config_of(data, blip2, output, /, **changes):
    return validate(SmmConfig, smm_document(data, blip2, output, **changes), "test")


def write_labels(path, rows):
    """Write labels as `raypipe pretrain labels` does: rows of image id, caption, answer."""
    path.mkdir(parents=True)
    columns = ("image_id", "caption", "answer")
    table = [dict(zip(columns, row, strict=True)) | {"question": "?", "raw_answer": ""} for row in rows]
    (path / "00000.parquet").write_bytes(serialise_labels(pa.Table.from_pylist(table, schema=LABEL), "hash", 0, 1))
    return str(path)


def captions_of(data):
    return {row["image_id"]: row["caption"] for row in json.loads(Path(data["annotations"]).read_text())["annotations"]}


@pytest.fixture(scope="module")
def labels(data, tmp_path_factory):
    """One yes and one no for every image: of the right and of the wrong colour of its first shape."""
    rows = []
    for image_id, caption in captions_of(data).items():
        first, rest = caption.split(" ", 2)[1], caption.split(" ", 2)[2]
        rows.append((str(image_id), caption, True))
        rows.append((str(image_id), f"a {'red' if first != 'red' else 'blue'} {rest}", False))
    return write_labels(tmp_path_factory.mktemp("labels") / "labels", rows)


@pytest.mark.parametrize(
    ("changes", "complaint"),
    [
        ({"model": {"variant": "linear"}}, "model.variant: \"linear\" must be 'gated' or 'printed'"),
        ({"train": {"decay": 1.5}}, "train.decay: 1.5 must be less than or equal to 1"),
        ({"targets": {"different_below": 0.0}}, "targets.different_below: 0.0 must be greater than 0"),
        ({"modle": {}}, "unknown key 'modle'; did you mean 'model'"),
    ],
)
def test_configs_that_make_no_sense_are_refused(data, blip2, tmp_path, changes, complaint):
    with pytest.raises(UserError) as refused:
        config_of(data, blip2, tmp_path, **changes)
    assert complaint in str(refused.value)


def test_a_blip2_that_is_not_there_is_refused(data, tmp_path):
    with pytest.raises(UserError, match=r"model.blip2: /nowhere holds no config.json; .* raypipe weights convert"):
        plan_smm(config_of(data, "/nowhere", tmp_path))


def test_a_blip2_without_words_for_yes_and_no_is_refused(data, blip2, tmp_path):
    for path in blip2.iterdir():
        text = path.read_text() if path.name == "vocab.txt" else None
        (tmp_path / path.name).write_bytes(path.read_bytes())
        if text:
            assert {"yes", "no"} <= set(text.split())
            (tmp_path / path.name).write_text(text.replace("\nyes\n", "\nja\n").replace("\nno\n", "\nnein\n"))
    with pytest.raises(UserError, match="holds neither yes nor no"):
        plan_smm(config_of(data, tmp_path, tmp_path / "out"))


@pytest.mark.parametrize(
    ("rows", "complaint"),
    [
        ([("900", "a red square", True), ("901", "a red square", False)], "labels of 0 of the .* to train on"),
        ([(str(n), "a red square", True) for n in range(80)], "every label that .* to train on says yes"),
        ([(str(n), "a red square", False) for n in range(80)], "every label that .* to train on says no"),
    ],
)
def test_labels_that_teach_nothing_are_refused(data, blip2, tmp_path, rows, complaint):
    place = write_labels(tmp_path / "labels", rows)
    with pytest.raises(UserError, match=complaint):
        plan_smm(config_of(data, blip2, tmp_path / "out", targets={"labels": place}))


def test_what_decides_the_result_names_the_training(data, blip2, labels, tmp_path):
    def name(output="a", **changes):
        return plan_smm(config_of(data, blip2, tmp_path / output, **changes)).training_hash

    assert name() == name("b") == name(train={"keep_token_bytes": 0, "max_failures": 9})
    changed = (
        {"seed": 1},
        {"model": {"num_machines": 5}},
        {"model": {"initialisation": "paper"}},
        {"targets": {"labels": labels}},
        {"train": {"precision": "bf16"}},
    )
    assert len({name(), *(name(**changes) for changes in changed)}) == 6


@pytest.mark.parametrize("keep_token_bytes", [0, 10**9])
def test_a_share_is_encoded_in_order_wherever_it_is_kept(data, blip2, tmp_path, keep_token_bytes):
    config = config_of(data, blip2, tmp_path, train={"keep_token_bytes": keep_token_bytes, "encode_batch_size": 7})
    model = Blip2.load(blip2)
    fit, _ = read_pairs(config.data)
    share, unreadable = encode_share(fit, 1, 3, model, config, None, tmp_path / "tokens")
    chosen = fit.images[1::3]
    assert unreadable == {}
    assert isinstance(share.tokens, np.memmap) == (keep_token_bytes == 0)
    assert share.tokens.shape == (len(chosen), model.config.num_query, model.config.hidden)
    assert [image.image_id for image in share.described] == [str(image.image_id) for image in chosen]
    alone = config.model_copy(update={"train": config.train.model_copy(update={"encode_batch_size": 1})})
    one_by_one, _ = encode_share(fit, 1, 3, model, alone, None, tmp_path / "again")
    assert np.allclose(share.tokens, one_by_one.tokens, atol=2e-3)
    assert len({row.tobytes() for row in share.tokens}) == len(chosen)


def test_grids_pair_images_with_captions_and_know_what_holds(data, blip2, tmp_path):
    config = config_of(data, blip2, tmp_path)
    fit, _ = read_pairs(config.data)
    share, _ = encode_share(fit, 0, 1, Blip2.load(blip2), config, None, tmp_path / "tokens")
    batches, again, others = (
        list(grid_batches(share, epoch_pairs(share, None, seed), config, None, str.upper, 4)) for seed in (3, 3, 4)
    )
    assert [batch.questions for batch in batches] == [batch.questions for batch in again]
    assert [batch.questions for batch in batches] != [batch.questions for batch in others]
    seen = Counter()
    own = {image.captions[0].upper(): image.image_id for image in fit.images}
    for tokens, questions, holds, known in batches:
        assert tokens.shape[0] == len(questions) == 16
        assert holds.diagonal().all()
        assert known.diagonal().all()
        assert (~holds & known).sum() > 16
        assert torch.equal(holds & known, holds)
        seen.update(own[question] for question in questions)
    assert len(batches) == 4
    assert sum(seen.values()) == 64


def test_an_epoch_has_no_more_images_of_a_caption_than_asked_for():
    captions = ["falling"] * 30 + ["lying"] * 10 + ["running"] * 3
    share = EncodedImages(
        np.zeros((43, 1, 1), np.float16),
        [describe(number, [caption]) for number, caption in enumerate(captions)],
        [(caption,) for caption in captions],
    )
    every = epoch_pairs(share, None, 0)
    assert sorted(position for position, _ in every) == list(range(43))
    epochs = [epoch_pairs(share, 10, seed) for seed in range(20)]
    for pairs in epochs:
        assert Counter(caption for _, caption in pairs) == {"falling": 10, "lying": 10, "running": 3}
        assert all(captions[position] == caption for position, caption in pairs)
        assert len({position for position, _ in pairs}) == 23
    # Others in every epoch, and the captions as mixed at its end as at its start.
    assert {position for pairs in epochs for position, _ in pairs} == set(range(43))
    late = Counter(caption for pairs in epochs for _, caption in pairs[-7:])
    assert late["falling"] == pytest.approx(late["lying"], rel=0.3)


def test_labels_say_what_is_asked_and_go_before_captions(data, blip2, labels, tmp_path):
    config = config_of(data, blip2, tmp_path, targets={"labels": labels})
    answers = answers_of(config)
    fit, held_out = read_pairs(config.data)
    share, _ = encode_share(fit, 0, 1, Blip2.load(blip2), config, answers, tmp_path / "tokens")
    assert {len(captions) for captions in share.asked} == {2}
    batch = next(grid_batches(share, epoch_pairs(share, None, 0), config, answers, str, 1))
    # Half of what is drawn is wrong, as the labels say; what they do not is filled from the captions.
    assert batch.known.diagonal().all()
    assert 0 < batch.holds.diagonal().sum() < 16
    assert batch.known.sum() > 4 * 16
    pool, _ = encode_share(held_out, 0, 1, Blip2.load(blip2), config, answers, tmp_path / "pool")
    rows, captions, holds = held_out_pairs(pool, config, answers)
    assert len(rows) == len(captions) == 2 * len(held_out.images)
    assert holds.sum() == len(held_out.images)


def test_held_out_pairs_are_own_and_other_captions(data, blip2, tmp_path):
    config = config_of(data, blip2, tmp_path, data={"held_out_fraction": 0.3})
    _, held_out = read_pairs(config.data)
    pool, _ = encode_share(held_out, 0, 1, Blip2.load(blip2), config, None, tmp_path / "tokens")
    rows, captions, holds = held_out_pairs(pool, config, None)
    own = [held_out.images[row].captions[0] for row in rows]
    assert [caption == mine for caption, mine in zip(captions, own, strict=True)] == holds.tolist()
    assert holds.sum() == len(held_out.images)
    # Of so few captions some images have fewer that differ enough.
    per_image = np.bincount(np.array(rows)[~holds], minlength=len(held_out.images))
    assert per_image.max() == HELD_OUT_OTHERS
    assert per_image.min() >= 1


def test_labels_are_not_of_held_out_images_of_other_annotations(data, blip2, labels, tmp_path):
    """Both sets count their images from 0: the label of a training image says nothing of the held-out one."""
    other = write_shapes(tmp_path / "other", 30, seed=9)
    own = data | {"held_out_annotations": other["annotations"], "held_out_images": other["images"]}
    document = smm_document(own, blip2, tmp_path / "out", targets={"labels": labels})
    config = validate(SmmConfig, document, "test")
    plan = plan_smm(config)
    assert not config.labels_held_out
    assert config_of(data, blip2, tmp_path, targets={"labels": labels}).labels_held_out
    pool, _ = encode_share(plan.held_out, 0, 1, Blip2.load(blip2), config, None, tmp_path / "pool")
    asked = held_out_pairs(pool, config, None).captions
    assert set(asked) <= set(captions_of(other).values())


def test_the_recipes_fit_together():
    """What jobs/label_vqa.yaml labels is what jobs/train_smm.yaml trains on, and its held-out images need no labels."""
    smm, vqa = load_smm_config(JOBS / "train_smm.yaml"), load_label_config(JOBS / "label_vqa.yaml")
    assert (smm.data.annotations, smm.data.images) == (vqa.annotations, vqa.images)
    assert smm.data.held_out_annotations is not None
    assert not smm.labels_held_out


@pytest.mark.parametrize(("holds", "figures"), [([True, True], {"held_out_yes"}), ([False, False], {"held_out_no"})])
def test_one_side_alone_has_no_accuracy(blip2, holds, figures):
    model = Blip2.load(blip2)
    rng = np.random.default_rng(0)
    tokens = rng.normal(size=(2, model.config.num_query, model.config.hidden)).astype(np.float16)
    pairs = HeldOutPairs([0, 1], ["a man", "a bike"], np.array(holds))
    exam = Exam(model, Questioner(), tokens, pairs)
    shape = StateMachineShape(model.config.hidden, model.config.num_query, model.config.max_txt_len)
    objective = GridObjective(StateMachine(shape), *model.embed_sentences(["yes", "no"]))
    assert set(exam.accuracy(objective)) == figures
    both = Exam(model, Questioner(), tokens, HeldOutPairs([0, 1], ["a man", "a bike"], np.array([True, False])))
    assert set(both.accuracy(objective)) == {"held_out_yes", "held_out_no", "held_out_accuracy"}


def test_weights_in_an_object_store_are_refused_with_what_to_do(data, tmp_path):
    with pytest.raises(UserError, match=r"model.blip2: s3://b/w is a URI, .* copy it there first"):
        config_of(data, "s3://b/w", tmp_path)


def test_the_recipe_has_the_papers_numbers():
    config = load_smm_config(JOBS / "train_smm.yaml")
    assert (config.train.epochs, config.train.learning_rate, config.train.decay) == (20, 5e-5, 0.99)
    assert (config.model.num_machines, config.model.order, config.model.variant) == (3, 64, "gated")


def break_in_epoch_1(settings):
    """Stand in for the worker's loop: training breaks in its second epoch."""
    saving = epochs.report_epoch

    def break_down(metrics, state, save):
        if metrics["epoch"] == 1:
            raise RuntimeError("broken in epoch 1")
        saving(metrics, state, save)

    epochs.report_epoch = break_down
    train_smm_worker.train_loop(settings)


@pytest.mark.slow
def test_training_resumes_where_it_broke_and_is_found_again(cluster, data, blip2, tmp_path, monkeypatch):
    settings = {"max_failures": 0, "epochs": 3}
    plan = plan_smm(config_of(data, blip2, tmp_path / "whole", train=settings))
    whole, is_new = train_smm(plan)
    assert is_new
    assert len(whole["history"]) == 3
    assert whole["steps"] == 3 * (len(plan.fit.images) // 16)
    assert train_smm(plan) == (whole, False)
    broken = plan_smm(config_of(data, blip2, tmp_path / "broken", train=settings))
    with monkeypatch.context() as patch:
        patch.setattr("raypipe.pretraining.state_machine_worker.train_loop", break_in_epoch_1)
        with pytest.raises(TrainingFailedError, match="broken in epoch 1"):
            train_smm(broken)
    assert RunFolder(str(tmp_path / "broken")).read_json("smm/card.json") is None
    resumed, _ = train_smm(broken)
    assert (resumed["history"], resumed["steps"]) == (whole["history"], whole["steps"])
    name = "model.safetensors"
    assert (tmp_path / "broken" / "smm" / name).read_bytes() == (tmp_path / "whole" / "smm" / name).read_bytes()


@pytest.mark.slow
def test_a_bound_on_images_of_a_caption_makes_epochs_shorter(cluster, data, blip2, tmp_path):
    document = json.loads(Path(data["annotations"]).read_text())
    for number, one in enumerate(document["annotations"]):
        one["caption"] = ("a man is falling", "a cat sleeps")[number % 2]
    path = tmp_path / "captions.json"
    path.write_text(json.dumps(document))
    own = data | {"annotations": str(path)}
    bounded = {"most_per_caption": 8, "epochs": 2}
    card, _ = train_smm(plan_smm(config_of(own, blip2, tmp_path / "out", train=bounded)))
    assert card["steps"] == 2
    with pytest.raises(UserError, match=r"fewer images than the 16 .* or raise train.most_per_caption"):
        train_smm(plan_smm(config_of(own, blip2, tmp_path / "refused", train=bounded | {"most_per_caption": 7})))


@pytest.mark.slow
def test_two_workers_train_together_on_labels_leaving_out_what_cannot_be_read(cluster, data, blip2, labels, tmp_path):
    images = tmp_path / "images"
    images.mkdir()
    for path in Path(data["images"]).iterdir():
        (images / path.name).write_bytes(b"" if path.name == "4.png" else path.read_bytes())
    own = data | {"images": str(images)}
    changes = {"targets": {"labels": labels}, "train": {"workers": 2, "keep_token_bytes": 0}}
    card, _ = train_smm(plan_smm(config_of(own, blip2, tmp_path / "out", **changes)))
    assert card["unreadable"]["count"] == 1
    assert [Path(path).name for path in card["unreadable"]["named"]] == ["4.png"]
    assert "160 labels, 50.0% yes" in card["data"]["labels"]
    assert StateMachine.load(tmp_path / "out" / "smm").shape.num_machines == 3
    too_many = config_of(own, blip2, tmp_path / "refused", train={"batch_size": 79})
    with pytest.raises(UserError, match=r"train.batch_size: .* fewer images than the 79 of a step; 1 images could not"):
        train_smm(plan_smm(too_many))
    with pytest.raises(UserError, match=r"training diverged in epoch \d: lower train.learning_rate"):
        train_smm(plan_smm(config_of(own, blip2, tmp_path / "diverged", train={"learning_rate": 1e30})))


def test_images_that_a_store_does_not_give_end_the_training_in_words(data, blip2, tmp_path, monkeypatch):
    config = config_of(data, blip2, tmp_path, train={"encode_batch_size": 4})
    fit, _ = read_pairs(config.data)
    failing, asked = fit.images[5].path, []

    def given(path, size):
        asked.append(path)
        return NotGiven(f"{path}: 503 Slow Down") if path == failing else try_image(path, size)

    monkeypatch.setattr("raypipe.pretraining.images.try_image", given)
    _, unreadable = encode_share(fit, 0, 1, Blip2.load(blip2), config, None, tmp_path / "tokens")
    assert list(unreadable) == [failing]
    # Batches of four: the second fails, and the two after it were on their way.
    assert len(asked) <= 16 < len(fit.images)
    told = train_smm_worker._refusal(3, config, None, unreadable)
    assert told.startswith("data: the store did not give an image")
    assert f"{failing}: 503 Slow Down" in told
    assert train_smm_worker._refusal(3, config, None, {failing: "cut short"}) is None


class SaysWhatItReads:
    """Stands in for a vision-language model: yes to all that has something red in it, whatever the picture shows."""

    def ask(self, images, questions, max_new_tokens):
        return ["Yes." if "red" in question else "No." for question in questions]

    def why_unseeable(self, image):
        return None


@pytest.mark.slow
def test_what_the_labelling_job_writes_is_what_is_trained_on(cluster, data, blip2, tmp_path, monkeypatch):
    monkeypatch.setattr(VisionLanguageModel, "load", classmethod(lambda *arguments: SaysWhatItReads()))
    document = {"output": str(tmp_path / "labels"), "model": {"folder": "/model"}, "other_captions": 2}
    labelling = validate(LabelVqaConfig, data | document, "test")
    label = LabelParts(labelling, RunFolder(labelling.output), "hash", "session")
    told = [label(part) for part in plan_parts(read_captions(data["annotations"], data["images"]), labelling)]
    num_labels, num_yes = (sum(row[name] for row in told) for name in ("num_labels", "num_yes"))
    assert 0 < num_yes < num_labels
    config = config_of(data, blip2, tmp_path / "out", targets={"labels": labelling.output}, train={"epochs": 1})
    card, _ = train_smm(plan_smm(config))
    assert f"{num_labels} labels, {num_yes / num_labels:.1%} yes" in card["data"]["labels"]
    assert {"held_out_yes", "held_out_no"} <= set(card["history"][0])
    assert StateMachine.load(tmp_path / "out" / "smm").shape.num_machines == 3
