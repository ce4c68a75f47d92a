import json

import numpy as np
import pytest
import torch

from raypipe.errors import GpuMemoryError, UserError
from raypipe.models.vlm import VisionLanguageModel, require_vlm
from tests.helpers.vlm_folder import write_tiny_qwen2_vl


@pytest.fixture(scope="module")
def folder(tmp_path_factory):
    return write_tiny_qwen2_vl(tmp_path_factory.mktemp("vlm"))


@pytest.fixture(scope="module")
def pictures():
    return list(np.random.default_rng(0).integers(0, 256, (3, 60, 90, 3), dtype=np.uint8))


@pytest.fixture
def model(folder):
    return VisionLanguageModel.load(folder)


QUESTIONS = ["How many people are there?", "The bounding box of the 1-th object", "Is it?"]


def test_answers_are_text_and_the_same_again(model, pictures):
    answers = model.ask(pictures, QUESTIONS, 8)
    assert len(answers) == 3
    assert all(isinstance(answer, str) for answer in answers)
    assert len(set(answers)) > 1
    assert model.ask(pictures, QUESTIONS, 8) == answers
    assert model.ask(pictures[1:2], QUESTIONS[1:2], 8) == answers[1:2]


def test_nothing_asked_is_nothing_answered(model):
    assert model.ask([], [], 8) == []


def test_a_batch_answers_as_one_by_one(model, pictures):
    # Questions of several lengths are filled up in front: the answers must not start in the filling.
    one_by_one = model.ask(pictures, QUESTIONS, 6)
    model.batches.size = 3
    assert model.ask(pictures, QUESTIONS, 6) == one_by_one


def test_the_answer_depends_on_the_picture_and_the_number_of_tokens_is_bounded(model, pictures):
    first, second = (model.ask([picture], QUESTIONS[:1], 12)[0] for picture in pictures[:2])
    assert first != second
    assert len(first) <= 12


def test_a_picture_that_the_processor_refuses_has_a_reason(model, pictures):
    assert model.why_unseeable(pictures[0]) is None
    assert "aspect ratio" in model.why_unseeable(np.zeros((2, 500, 3), np.uint8))


def test_only_models_that_answer_about_pictures_will_do(folder, tmp_path):
    require_vlm(folder, "model.folder")
    (tmp_path / "config.json").write_text('{"model_type": "bert"}')
    with pytest.raises(UserError, match=r"model.folder: .* type 'bert', which does not answer about pictures"):
        require_vlm(tmp_path, "model.folder")
    (tmp_path / "config.json").write_text("[")
    with pytest.raises(UserError, match=r"model.folder: .*config.json cannot be read"):
        require_vlm(tmp_path, "model.folder")


def test_pixels_refer_to_the_scaled_picture(model):
    # Sides become multiples of 28 within 28 * 28 * 16 pixels.
    assert model.input_size(np.zeros((60, 90, 3), np.uint8)) == (84, 56)
    width, height = model.input_size(np.zeros((480, 640, 3), np.uint8))
    assert width * height <= 28 * 28 * 16
    assert width % 28 == height % 28 == 0


def test_lack_of_memory_halves_the_batch_for_good(model, pictures, monkeypatch, caplog):
    expected = model.ask(pictures, QUESTIONS, 4)
    sizes, answer = [], model._answer

    def answer_two_at_most(images, questions, max_new_tokens):
        sizes.append(len(questions))
        if len(questions) > 2:
            raise torch.OutOfMemoryError
        return answer(images, questions, max_new_tokens)

    monkeypatch.setattr(model, "_answer", answer_two_at_most)
    model.batches.size = 3
    assert model.ask(pictures, QUESTIONS, 4) == expected
    assert sizes == [3, 1, 1, 1]
    assert caplog.text.count("do not fit into memory") == 1


def test_a_question_that_does_not_fit_is_told(model, pictures, monkeypatch):
    monkeypatch.setattr(model, "_answer", lambda *_: (_ for _ in ()).throw(torch.OutOfMemoryError))
    monkeypatch.setattr(model.batches, "size", 3)
    with pytest.raises(GpuMemoryError, match=r"vlm: .* batch of one of questions"):
        model.ask(pictures, QUESTIONS, 4)


@pytest.mark.parametrize(
    ("files", "message"),
    [
        (None, "no model here"),
        ({}, "no model here"),
        ({"config.json": {"model_type": "bert"}}, "transformers cannot load it"),
        (
            {"config.json": {"model_type": "my_own", "auto_map": {"AutoConfig": "mine.Mine"}}},
            "transformers cannot load",
        ),
    ],
)
def test_folders_of_something_else_are_refused(tmp_path, files, message):
    folder = tmp_path / "model"
    if files is not None:
        folder.mkdir()
        for name, document in files.items():
            (folder / name).write_text(json.dumps(document))
    with pytest.raises(UserError, match=message):
        VisionLanguageModel.load(folder)


def test_pickled_weights_are_refused(folder, tmp_path):
    for path in folder.iterdir():
        if path.suffix != ".safetensors":
            (tmp_path / path.name).write_bytes(path.read_bytes())
    torch.save({}, tmp_path / "pytorch_model.bin")
    with pytest.raises(UserError, match="transformers cannot load it"):
        VisionLanguageModel.load(tmp_path)
