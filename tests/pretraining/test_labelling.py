"""The labelling job on a real (small, local) cluster, with a tiny model of random weights that says nothing useful."""

import json
import os
import re
import shutil
from pathlib import Path

import pyarrow.parquet as pq
import pytest
import yaml

from raypipe.cli.main import main
from raypipe.config.file import validate
from raypipe.errors import EXIT_DEAD_LETTERS, UserError
from raypipe.pretraining import labelling
from raypipe.pretraining.coco_captions import read_captions
from raypipe.pretraining.images import NotGiven
from raypipe.pretraining.labelling import LabelResult, LabelVqaConfig, label_vqa, load_label_config, plan_parts
from raypipe.pretraining.vqa_labels import read_labels
from raypipe.run_folder.folder import DeadLetter, RunFolder
from tests.helpers.captioned_shapes import write_shapes
from tests.helpers.vlm_folder import write_tiny_qwen2_vl

JOBS = Path(__file__).parents[2] / "jobs"


@pytest.fixture(scope="module")
def model(tmp_path_factory):
    return write_tiny_qwen2_vl(tmp_path_factory.mktemp("vlm"))


@pytest.fixture(scope="module")
def data(tmp_path_factory):
    return write_shapes(tmp_path_factory.mktemp("shapes"), 10)


@pytest.fixture(autouse=True)
def small_parts(monkeypatch):
    monkeypatch.setattr(labelling, "IMAGES_PER_PART", 4)


def config_of(data, model, output, /, **changes):
    document = data | {"output": str(output), "model": {"folder": str(model)}, "ray": {"actors": 1}}
    return validate(LabelVqaConfig, document | changes, "test")


def test_parts_are_decided_by_the_captions_and_the_config(data, tmp_path):
    config = config_of(data, "/model", tmp_path, own_captions=1, other_captions=2)
    captions = read_captions(data["annotations"], data["images"])
    parts = plan_parts(captions, config)
    assert parts == plan_parts(captions, config)
    assert [len(set(part["image_ids"])) for part in parts] == [4, 4, 2]
    assert {part["num_parts"] for part in parts} == {3}
    own = {str(image.image_id): image.captions[0] for image in captions.images}
    for part in parts:
        pairs = list(zip(part["image_ids"], part["captions"], strict=True))
        assert len(set(pairs)) == len(pairs)
        for image_id in set(part["image_ids"]):
            asked = [caption for image, caption in pairs if image == image_id]
            assert asked[0] == own[image_id]
            assert 1 <= len(asked) <= 3
            assert set(asked) <= set(own.values())
    other_seed = plan_parts(captions, config.model_copy(update={"seed": 1}))
    assert [part["captions"] for part in other_seed] != [part["captions"] for part in parts]


def test_only_own_captions_may_be_asked_about(data, tmp_path):
    captions = read_captions(data["annotations"], data["images"])
    parts = plan_parts(captions, config_of(data, "/model", tmp_path, other_captions=0))
    assert sum(len(part["captions"]) for part in parts) == 10


@pytest.mark.parametrize(
    ("changes", "complaint"),
    [
        ({"own_captions": 0, "other_captions": 0}, "nothing is asked"),
        ({"model": {}}, "model.folder is missing"),
        ({"modle": 1}, "unknown key 'modle'; did you mean 'model'"),
    ],
)
def test_configs_that_make_no_sense_are_refused(data, model, tmp_path, changes, complaint):
    with pytest.raises(UserError) as refused:
        config_of(data, model, tmp_path, **changes)
    assert complaint in str(refused.value)


def test_a_model_that_is_not_there_is_refused_before_any_work(data, tmp_path):
    with pytest.raises(UserError, match=r"model.folder: /nowhere holds no config.json"):
        label_vqa(config_of(data, "/nowhere", tmp_path / "out"))


def test_the_recipe_is_valid():
    assert load_label_config(JOBS / "label_vqa.yaml").own_captions == 1


def contents(output):
    return {path.name: path.read_bytes() for path in sorted((output / "labels").iterdir())}


def test_labels_are_made_part_by_part_and_only_once(cluster, data, model, tmp_path):
    config = config_of(data, model, tmp_path / "out")
    result = label_vqa(config)
    assert (result.num_parts, result.num_done_before, result.dead) == (3, 0, [])
    assert sorted(contents(tmp_path / "out")) == ["00000.parquet", "00001.parquet", "00002.parquet"]
    asked = sum(len(part["captions"]) for part in plan_parts(read_captions(config.annotations, config.images), config))
    # Its answers are prose, so they are kept and count as unread.
    assert (result.num_labels, result.num_unread) == (asked, asked)
    before = contents(tmp_path / "out")
    (tmp_path / "out" / "labels" / "00001.parquet").unlink()
    again = label_vqa(config)
    assert (again.num_done_before, again.num_labels) == (
        2,
        pq.read_table(tmp_path / "out" / "labels/00001.parquet").num_rows,
    )
    assert contents(tmp_path / "out") == before
    assert not (tmp_path / "out" / "attempts").exists() or not list((tmp_path / "out" / "attempts").iterdir())
    with pytest.raises(UserError, match=r"holds labels of another config: seed \(was 0, now 1\)"):
        label_vqa(config.model_copy(update={"seed": 1}))
    with pytest.raises(UserError, match=r"model.device: cuda, but the cluster has no GPU"):
        label_vqa(config_of(data, model, tmp_path / "gpu", model={"folder": str(model), "device": "cuda"}))


def work(config, folder):
    """Do `raypipe pretrain labels`."""
    (folder / "labels.yaml").write_text(yaml.safe_dump(config.model_dump(mode="json")))
    return main(["pretrain", "labels", "--config", str(folder / "labels.yaml")])


def test_the_job_tells_what_it_found_and_its_labels_can_be_read(cluster, data, tmp_path, capsys):
    model = write_tiny_qwen2_vl(tmp_path / "vlm", answers=True)
    config = config_of(data, model, tmp_path / "out")
    assert work(config, tmp_path) == 0
    said = capsys.readouterr().out
    asked, num_yes = map(int, re.search(r"asked (\d+) questions: (\d+) yes, 0 answers say neither", said).groups())
    assert f"{asked} labels" in said
    assert "for targets.labels of `raypipe pretrain smm`" in said
    labels = read_labels(config.output)
    assert (len(labels.answers), labels.answers.sum()) == (asked, num_yes)
    assert work(config, tmp_path) == 0
    assert "3 of 3 parts were there already" in capsys.readouterr().out


def test_the_job_tells_of_dead_parts_and_unreadable_images(monkeypatch, data, tmp_path, capsys):
    letter = DeadLetter("labels", 0, "label", "crashed", "its process died 3 times", 3)
    unreadable = {f"{number}.png": "why" for number in range(7)}
    monkeypatch.setattr(
        labelling, "label_vqa", lambda config, captions: LabelResult(1, 0, 0, 0, 0, unreadable, [letter])
    )
    assert work(config_of(data, "/model", tmp_path), tmp_path) == EXIT_DEAD_LETTERS
    lines = capsys.readouterr().out.splitlines()
    assert "unreadable: 4.png: why" in lines
    assert "unreadable: 2 more images" in lines
    assert "dead: part 0: its process died 3 times" in lines


@pytest.fixture
def damaged(model, tmp_path):
    """A model whose config is whole and whose weights are cut short."""
    folder = tmp_path / "damaged"
    shutil.copytree(model, folder)
    weights = folder / "model.safetensors"
    weights.write_bytes(weights.read_bytes()[:1000])
    return folder


def test_a_model_that_an_actor_cannot_load_is_refused_in_words(cluster, data, damaged, tmp_path):
    config = config_of(data, damaged, tmp_path / "out")
    with pytest.raises(UserError, match=r"^model.folder: .*damaged: transformers cannot load it") as refused:
        label_vqa(config)
    assert "\n" not in str(refused.value)
    # Nothing was tried, so nothing is dead.
    assert RunFolder(config.output).dead() == {}


def test_what_is_the_users_to_mend_is_returned_and_is_no_attempt(data, damaged, model, tmp_path, monkeypatch):
    folder = RunFolder(str(tmp_path / "out"))
    part = {"part": 0, "num_parts": 1, "image_ids": ["1"], "paths": ["s3://b/1.png"], "captions": ["a man"]}
    told = labelling.LabelParts(config_of(data, damaged, tmp_path / "out"), folder, "hash", "session")(part)
    assert told["refused"].startswith("model.folder: ")
    assert (told["num_pairs"], told["num_labels"], told["is_dead"]) == (1, 0, False)
    assert not (tmp_path / "out").exists()
    monkeypatch.setattr("raypipe.pretraining.labelling.try_picture", lambda path: NotGiven("503 Slow Down"))
    told = labelling.LabelParts(config_of(data, model, tmp_path / "out"), folder, "hash", "session")(part)
    assert "the store did not give an image" in told["refused"]


class DieOnPart1(labelling.LabelParts):
    def __call__(self, row):
        self.dies = row["part"] == 1
        return super().__call__(row)

    def __init__(self, *arguments):
        super().__init__(*arguments)
        answer = self.answer
        self.answer = lambda row: os._exit(1) if self.dies else answer(row)


@pytest.mark.slow
def test_a_part_that_kills_its_process_is_given_up_and_tried_again_at_the_next_start(
    cluster, data, model, tmp_path, monkeypatch
):
    config = config_of(data, model, tmp_path / "out")
    with monkeypatch.context() as patch:
        patch.setattr(labelling, "LabelParts", DieOnPart1)
        result = label_vqa(config)
    assert [letter.segment_index for letter in result.dead] == [1]
    assert "died 3 times" in result.dead[0].message
    assert sorted(contents(tmp_path / "out")) == ["00000.parquet", "00002.parquet"]
    assert RunFolder(config.output).dead() == {"labels": {1}}
    again = label_vqa(config)
    assert (again.dead, again.num_done_before) == ([], 2)
    assert len(contents(tmp_path / "out")) == 3


def test_unreadable_images_are_named(cluster, data, model, tmp_path):
    shutil.copytree(data["images"], tmp_path / "images")
    (tmp_path / "images" / "2.png").write_text("no image")
    config = config_of(data | {"images": str(tmp_path / "images")}, model, tmp_path / "out", other_captions=0)
    result = label_vqa(config)
    assert [Path(path).name for path in result.unreadable] == ["2.png"]
    assert result.num_labels == 9
    assert json.loads((tmp_path / "out" / "labelling.json").read_text())["other_captions"] == 0
