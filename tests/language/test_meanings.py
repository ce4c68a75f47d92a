import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st

from raypipe.language.meanings import content_words, coverage


@pytest.mark.parametrize(
    ("text", "expected"),
    [
        ("The man is running.", {"man", "run"}),
        ("A man runs", {"man", "run"}),
        ("Is the man pushing a stroller on the street?", {"man", "push", "stroller", "street"}),
        ("two people are riding bikes", {"two", "peopl", "rid", "bik"}),
        ("a person rides his bike", {"person", "rid", "bik"}),
        ("THERE IS ONE.", {"one"}),
        ("dresses, a dress, glass", {"dress", "glass"}),
        ("carries and carried", {"carry"}),
        ("", set()),
        ("there is it", set()),
        ("2 - 3 ?", set()),
        ("ein läufer", {"ein", "läufer"}),
    ],
)
def test_content_words(text, expected):
    assert content_words(text) == expected


def words(*texts):
    return [content_words(text) for text in texts]


def test_coverage_by_hand():
    questions = words("a man is running", "a man is fighting", "a man rides a bike", "it is there")
    images = words("the man is running in the park", "a man in a red shirt riding a bicycle", "")
    # Of (man, run), (man, fight), (man, ride, bike) and no word at all.
    expected = [[1, 1 / 2, 1 / 3, 1], [1 / 2, 1 / 2, 2 / 3, 1], [0, 0, 0, 1]]
    assert coverage(questions, images) == pytest.approx(np.array(expected))


@pytest.mark.parametrize(("num_questions", "num_images"), [(0, 0), (0, 2), (2, 0)])
def test_coverage_of_nothing(num_questions, num_images):
    assert coverage(words("a")[:0] + words(*["man"] * num_questions), words(*["man"] * num_images)).shape == (
        num_images,
        num_questions,
    )


@given(
    st.lists(st.frozensets(st.sampled_from("abcdef")), max_size=6), st.lists(st.frozensets(st.sampled_from("abcdef")))
)
def test_coverage_is_the_share_of_common_words(questions, images):
    shares = coverage(questions, images)
    for image, row in zip(images, shares, strict=True):
        for question, share in zip(questions, row, strict=True):
            assert share == pytest.approx(len(question & image) / len(question) if question else 1)
