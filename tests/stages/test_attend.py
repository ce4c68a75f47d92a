import numpy as np
import pytest
import torch

from raypipe.errors import GpuMemoryError, SchemaError
from raypipe.models.attention import cross_modality_attention
from raypipe.stages import attend
from raypipe.stages.attend import AttendFeatures


def spoken(tokens, cls):
    count = len(tokens)
    return {
        "frame_offset": np.zeros(count, np.int32),
        "boxes": np.ones((count, 4), np.float32),
        "confidence": np.ones(count, np.float32),
        "class_name": np.full(count, "person", object),
        "track_id": np.arange(count),
        "tokens": np.array(tokens, np.float16),
        "caption": np.full(count, "c", object),
        "sentence": np.full(count, "s", object),
        "sentence_is_carried": np.zeros(count, bool),
        "sentence_cls": np.array(cls, np.float16).reshape(count, 2),
    }


# Two tokens of two dimensions each. By Eq. (1), with the sentence (1, 0): cosines 0.6 and -1.
ROW = spoken([[[3, 4], [-2, 0]], [[0, 1], [1, 0]]], [[1, 0], [0, 5]])


def test_features_by_hand():
    found = AttendFeatures(("cross", "text", "image"), "cpu")(ROW)
    np.testing.assert_allclose(found["cross"], [[0.6 * 3 + 2, 0.6 * 4], [0, 1]], rtol=1e-3)
    np.testing.assert_allclose(found["image"], [[0.5, 2], [0.5, 0.5]])
    np.testing.assert_array_equal(found["text"], ROW["sentence_cls"])
    assert {found[name].dtype for name in ("cross", "image", "text")} == {np.dtype(np.float16)}
    assert found.keys() == (ROW.keys() - {"tokens", "sentence_cls"}) | {"cross", "image", "text"}


@pytest.mark.parametrize("kept", [("image",), ("cross",), ("text", "cross"), ("backbone",)])
def test_only_what_is_kept(kept):
    found = AttendFeatures(kept, "cpu")(ROW)
    assert found.keys() & {"cross", "text", "image", "backbone", "tokens"} == set(kept) - {"backbone"}


def test_batches_do_not_matter(monkeypatch):
    rng = np.random.default_rng(0)
    row = spoken(rng.normal(size=(7, 3, 2)), rng.normal(size=(7, 2)))
    whole = AttendFeatures(("cross", "image"), "cpu")(row)
    monkeypatch.setattr(attend, "BATCH_OBJECTS", 2)
    parts = AttendFeatures(("cross", "image"), "cpu")(row)
    assert all(np.array_equal(whole[name], parts[name]) for name in ("cross", "image"))


def test_no_objects():
    found = AttendFeatures(("cross",), "cpu")(spoken(np.zeros((0, 3, 2)), np.zeros((0, 2))))
    assert found["cross"].shape == (0, 2)


def test_what_float16_cannot_hold_fails_loudly():
    with pytest.raises(FloatingPointError, match="'cross' exceeds"):
        AttendFeatures(("cross",), "cpu")(spoken([[[60000, 0], [60000, 0]]], [[1, 0]]))


def test_a_sentence_is_needed_for_attention():
    row = {name: value for name, value in ROW.items() if name != "sentence_cls"}
    with pytest.raises(SchemaError, match="no field 'sentence_cls'"):
        AttendFeatures(("cross",), "cpu")(row)
    assert "image" in AttendFeatures(("image",), "cpu")(row)


def test_lack_of_memory_halves_the_batch_and_changes_nothing(monkeypatch):
    expected = AttendFeatures(("cross", "image"), "cpu")(ROW)
    sizes = []

    def one_at_most(text, tokens):
        sizes.append(len(tokens))
        if len(tokens) > 1:
            raise torch.OutOfMemoryError
        return cross_modality_attention(text, tokens)

    monkeypatch.setattr(attend, "cross_modality_attention", one_at_most)
    found = AttendFeatures(("cross", "image"), "cpu")(ROW)
    assert sizes == [2, 1, 1]
    for name in ("cross", "image"):
        np.testing.assert_array_equal(found[name], expected[name])
    monkeypatch.setattr(attend, "cross_modality_attention", lambda *_: (_ for _ in ()).throw(torch.OutOfMemoryError))
    with pytest.raises(GpuMemoryError, match=r"attend: .* batch of one of objects"):
        AttendFeatures(("cross",), "cpu")(ROW)
