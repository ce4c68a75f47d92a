from pathlib import Path

import numpy as np
import pyarrow.parquet as pq
import pytest
from PIL import Image

from raypipe.errors import UserError
from raypipe.models.vlm import VisionLanguageModel
from raypipe.pretraining.images import NotGiven
from raypipe.pretraining.labelling import MAX_NEW_TOKENS, PICTURES_AT_ONCE, AnswerQuestions, VqaModelConfig, part_path
from raypipe.pretraining.vqa_labels import read_labels
from raypipe.run_folder.folder import RunFolder


class Sees:
    """Stands in for a vision-language model that knows whether a picture is bright, and sometimes says too much."""

    def __init__(self):
        self.asked = []

    def ask(self, images, questions, max_new_tokens):
        assert max_new_tokens == MAX_NEW_TOKENS
        self.asked += questions
        return [self.answer(image, question) for image, question in zip(images, questions, strict=True)]

    def why_unseeable(self, image):
        return "too long" if image.shape[1] > 100 else None

    def answer(self, image, question):
        if "dog" in question:
            return "A dog is a four-legged animal."
        return "Yes, it is." if (image.mean() > 128) == ("bright" in question) else "No."


@pytest.fixture
def stage(tmp_path, monkeypatch):
    model = Sees()
    monkeypatch.setattr(VisionLanguageModel, "load", classmethod(lambda *arguments: model))
    return AnswerQuestions(VqaModelConfig(folder="/model"), "repaired", RunFolder(str(tmp_path / "out")), "hash")


def picture(folder, name, value):
    Image.fromarray(np.full((6, 8, 3), value, np.uint8)).save(folder / name)
    return str(folder / name)


def row(pairs, part=0, num_parts=1):
    image_ids, paths, captions = (list(column) for column in zip(*pairs, strict=True))
    return {"part": part, "num_parts": num_parts, "image_ids": image_ids, "paths": paths, "captions": captions}


def test_every_pair_gets_the_models_answer(stage, tmp_path):
    light, dark = picture(tmp_path, "light.png", 250), picture(tmp_path, "dark.png", 5)
    pairs = [
        ("1", light, "a bright street"),
        ("1", light, "the street is dark"),
        ("2", dark, "the street is bright"),
        ("2", dark, "a dog runs"),
    ]
    told = stage(row(pairs, part=3, num_parts=5))
    assert told == {"num_labels": 4, "num_yes": 1, "num_unread": 1, "unreadable_paths": [], "unreadable_reasons": []}
    assert stage.model.asked[1] == "is the street dark? Answer yes or no."
    path = part_path(stage.folder, 3)
    table = pq.read_table(path)
    assert table["answer"].to_pylist() == [True, False, False, None]
    assert table["question"].to_pylist()[2] == "is the street bright?"
    assert table["raw_answer"].to_pylist()[3] == "A dog is a four-legged animal."
    read = read_labels(path)
    assert (read.image_ids, read.num_unread, read.num_missing_parts) == (("1", "1", "2"), 1, 4)


def test_an_image_that_cannot_be_read_has_no_labels_and_a_reason(stage, tmp_path):
    broken = tmp_path / "broken.png"
    broken.write_text("no image")
    pairs = [("1", str(broken), "a bright street"), ("2", picture(tmp_path, "b.png", 200), "a bright street")]
    told = stage(row(pairs))
    assert (told["num_labels"], told["num_yes"], told["unreadable_paths"]) == (1, 1, [str(broken)])
    assert "UnidentifiedImageError" in told["unreadable_reasons"][0]


def test_a_picture_that_the_model_cannot_be_shown_has_no_labels_and_a_reason(stage, tmp_path):
    Image.new("RGB", (500, 2)).save(tmp_path / "long.png")
    pairs = [
        ("1", str(tmp_path / "long.png"), "a bright street"),
        ("2", picture(tmp_path, "b.png", 9), "a dark street"),
    ]
    told = stage(row(pairs))
    assert (told["num_labels"], told["unreadable_reasons"]) == (1, ["too long"])


def test_pictures_are_read_a_few_at_a_time(stage, tmp_path):
    paths = [picture(tmp_path, f"{number}.png", 200) for number in range(PICTURES_AT_ONCE + 3)]
    pairs = [(str(number), path, caption) for number, path in enumerate(paths) for caption in ("a bright day", "a dog")]
    assert stage(row(pairs))["num_labels"] == len(pairs)
    table = pq.read_table(part_path(stage.folder, 0))
    assert table["image_id"].to_pylist() == [image_id for image_id, _, _ in pairs]


def test_the_same_part_again_is_the_same_file(stage, tmp_path):
    pairs = [("1", picture(tmp_path, "a.png", 200), "a bright street")]
    stage(row(pairs))
    first = Path(part_path(stage.folder, 0)).read_bytes()
    stage(row(pairs))
    assert Path(part_path(stage.folder, 0)).read_bytes() == first


def test_a_picture_that_its_store_does_not_give_is_not_left_out(stage, tmp_path, monkeypatch):
    monkeypatch.setattr(
        "raypipe.pretraining.labelling.try_picture", lambda path: NotGiven("s3://b/1.png: 503 Slow Down")
    )
    with pytest.raises(UserError, match=r"the store did not give an image.*s3://b/1.png: 503 Slow Down"):
        stage(row([("1", "s3://b/1.png", "a bright street")]))
    assert not (tmp_path / "out").exists()
