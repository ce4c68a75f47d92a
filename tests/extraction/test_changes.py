import pytest

from raypipe.extraction.changes import Changes


@pytest.mark.parametrize(
    ("changes", "words"),
    [
        ({}, ""),
        ({"new": ("a",)}, "1 video is new"),
        ({"changed": ("a", "b")}, "2 videos changed"),
        (
            {"new": ("a", "b", "c"), "changed": ("d",), "renamed": (("test/a", "test/b"),), "removed": ("e", "f")},
            "3 videos are new, 1 changed, 1 renamed (test/a -> test/b), 2 removed",
        ),
        (
            {"renamed": (("a", "b"), ("c", "d"), ("e", "f"), ("g", "h"))},
            "4 videos renamed (a -> b, c -> d, e -> f, ...)",
        ),
        ({"other_split": ("a",), "returned": ("b",)}, "1 video is in another split, 1 back"),
        ({"returned": ("b",)}, "1 video is back"),
        ({"removed": tuple(map(str, range(1200)))}, "1,200 videos removed"),
    ],
)
def test_changes_in_words_and_as_they_are_kept(changes, words):
    made = Changes(**changes)
    assert (str(made), bool(made)) == (words, bool(changes))
    assert Changes.from_record(made.to_record()) == made
