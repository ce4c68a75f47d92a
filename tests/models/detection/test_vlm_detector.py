import numpy as np
import pytest

from raypipe.errors import UserError
from raypipe.models.detection.vlm_detector import VlmDetector
from raypipe.models.vlm import VisionLanguageModel
from tests.helpers.vlm_folder import write_tiny_qwen2_vl

SIZE = (640, 480)


class Scripted:
    """Answers from a script: by frame (told by its first pixel) the count, then the boxes."""

    def __init__(self, script, model_type="qwen2_vl", shown=(448, 336)):
        self.script, self.model_type, self.shown = script, model_type, shown
        self.questions = []

    def ask(self, images, questions, max_new_tokens):
        assert len(images) == len(questions)
        assert max_new_tokens > 0
        self.questions.append(list(questions))
        answers = []
        for image, question in zip(images, questions, strict=True):
            count, boxes = self.script[int(image[0, 0, 0])]
            number = question.removeprefix("The bounding box of the ").partition("-")[0]
            answers.append(count if question.startswith("How many") else boxes[int(number) - 1])
        return answers

    def input_size(self, image):
        assert image.shape == (60, 80, 3)
        return self.shown


def detect(script, *, coordinates="auto", max_objects=50, **model):
    frames = np.zeros((len(script), 60, 80, 3), np.uint8)
    frames[:, 0, 0, 0] = np.arange(len(script))
    scripted = Scripted(script, **model)
    return VlmDetector(scripted, coordinates, max_objects)(frames, SIZE), scripted


def test_the_two_questions_are_asked_of_every_frame_and_person():
    script = [
        ("There are two people.", ["<box>(100,200),(500,600)</box>", '{"bbox_2d": [600, 0, 900, 500]}']),
        ("Nobody.", []),
        ("1", ["[0, 0, 1000, 1000]"]),
    ]
    found, scripted = detect(script)
    assert scripted.questions == [
        ["How many people are there?"] * 3,
        [f"The bounding box of the {number}-th object" for number in (1, 2, 1)],
    ]
    assert found.frame_offset.tolist() == [0, 0, 2]
    assert found.boxes.tolist() == [[64, 96, 320, 288], [384, 0, 576, 240], [0, 0, 640, 480]]
    assert found.confidence.tolist() == [1, 1, 1]
    assert found.class_name.tolist() == ["person"] * 3
    assert found.num_unparsed == 0
    assert found.boxes.dtype == np.float32


@pytest.mark.parametrize(
    ("count", "boxes", "expected", "num_unparsed"),
    [
        ("A busy street.", [], [], 1),  # no number: no boxes, and that is counted
        ("2", ["On the left.", "[0, 0, 500, 500]"], [[0, 0, 320, 240]], 1),
        ("2", ["Sorry.", "Sorry."], [], 2),
        ("2", ["[]", "[0, 0, 500, 500]"], [[0, 0, 320, 240]], 1),  # one of two is not none
        # All are listed at once: each question takes its own.
        ("2", ["[[0,0,500,500],[500,500,1000,1000]]"] * 2, [[0, 0, 320, 240], [320, 240, 640, 480]], 0),
        ("3", ["[[0,0,500,500],[500,500,1000,1000]]"] * 3, [[0, 0, 320, 240], [320, 240, 640, 480]], 1),
        # The same person told twice is one.
        ("2", ["[0, 0, 500, 500]", "[1, 0, 500, 500]"], [[0, 0, 320, 240]], 0),
        ("2", ["[0, 0, 500, 500]", "[0, 250, 500, 750]"], [[0, 0, 320, 240], [0, 120, 320, 360]], 0),
    ],
)
def test_answers_that_do_not_say(count, boxes, expected, num_unparsed):
    found, _ = detect([(count, boxes)])
    assert found.boxes.tolist() == expected
    assert found.num_unparsed == num_unparsed


def test_a_million_people_are_not_asked_for_one_by_one():
    found, scripted = detect([("1000000 people", ["[0, 0, 500, 500]"] * 3)], max_objects=3)
    assert len(scripted.questions[1]) == 3
    assert len(found.boxes) == 1


@pytest.mark.parametrize(
    ("model_type", "coordinates", "box"),
    [
        ("qwen2_vl", "auto", [64, 48, 320, 240]),
        ("qwen3_vl", "auto", [64, 48, 320, 240]),
        # Of 448 x 336 pixels shown.
        ("qwen2_5_vl", "auto", [100 * 640 / 448, 100 * 480 / 336, 500 * 640 / 448, 480]),
        ("qwen2_5_vl", "thousandths", [64, 48, 320, 240]),
        ("another", "thousandths", [64, 48, 320, 240]),
        ("another", "pixels", [100 * 640 / 448, 100 * 480 / 336, 500 * 640 / 448, 480]),
    ],
)
def test_what_coordinates_count(model_type, coordinates, box):
    found, _ = detect([("1", ["[100, 100, 500, 500]"])], model_type=model_type, coordinates=coordinates)
    np.testing.assert_allclose(found.boxes, [[*box[:2], min(box[2], 640), box[3]]], rtol=1e-6)


def test_unknown_models_must_be_told():
    with pytest.raises(UserError, match="not 'llava': say whether its boxes are in thousandths or pixels"):
        VlmDetector(Scripted([], model_type="llava"))


def test_no_frames():
    found = VlmDetector(Scripted([], model_type="qwen2_5_vl"))(np.zeros((0, 60, 80, 3), np.uint8), SIZE)
    assert (found.boxes.shape, found.num_unparsed) == ((0, 4), 0)


def test_the_prose_of_a_real_model_is_counted(tmp_path):
    # Random weights answer gibberish: every frame's number is unread, unless by chance a digit comes out.
    model = VisionLanguageModel.load(write_tiny_qwen2_vl(tmp_path))
    frames = np.random.default_rng(0).integers(0, 256, (3, 60, 90, 3), dtype=np.uint8)
    found = VlmDetector(model)(frames, SIZE)
    assert found.num_unparsed == 3
    assert found.boxes.shape == (0, 4)
