import json

import fsspec
import pytest

from raypipe.errors import UserError
from raypipe.pretraining.coco_captions import CaptionedImage, CaptionSet, read_captions, split_images

IMAGES = [{"id": 1, "file_name": "one.jpg"}, {"id": "b", "file_name": "below/two.png"}]
ANNOTATIONS = [
    {"image_id": 1, "caption": "A man runs."},
    {"image_id": "b", "caption": "  A dog\n sits. "},
    {"image_id": 1, "caption": "Someone runs."},
]


def written(tmp_path, images=IMAGES, annotations=ANNOTATIONS, files=("one.jpg", "below/two.png")):
    """Write a set and return the places that `read_captions` takes."""
    root = tmp_path / "images"
    root.mkdir()
    for name in files:
        (root / name).parent.mkdir(exist_ok=True)
        (root / name).write_bytes(b"x")
    path = tmp_path / "captions.json"
    path.write_text(json.dumps({"images": images, "annotations": annotations, "info": {}}))
    return str(path), str(root)


def test_captions_of_an_image_are_together(tmp_path):
    annotations, root = written(tmp_path)
    captions = read_captions(annotations, root)
    assert captions == CaptionSet(
        (
            CaptionedImage(1, f"{root}/one.jpg", ("A man runs.", "Someone runs.")),
            CaptionedImage("b", f"{root}/below/two.png", ("A dog sits.",)),
        )
    )
    assert captions.pairs == [
        (f"{root}/one.jpg", "A man runs."),
        (f"{root}/one.jpg", "Someone runs."),
        (f"{root}/below/two.png", "A dog sits."),
    ]
    assert captions.report() == "2 images with 3 captions"


def test_what_cannot_be_used_is_left_out_and_counted(tmp_path):
    images = [
        *IMAGES,
        *({"id": i, "file_name": f"gone{i}.jpg"} for i in range(5, 9)),
        {"id": 4, "file_name": "bare.jpg"},
    ]
    annotations = [
        *ANNOTATIONS,
        {"image_id": 5, "caption": "Nobody sees this."},
        {"image_id": 1, "caption": " \t\n"},
        {"image_id": 4, "caption": ""},
        {"image_id": 1, "caption": "a  MAN runs."},
        {"image_id": 77, "caption": "Of no image."},
    ]
    places = written(tmp_path, [*images, IMAGES[0]], annotations, ("one.jpg", "below/two.png", "bare.jpg", "more.jpg"))
    captions = read_captions(*places)
    assert [image.image_id for image in captions.images] == [1, "b"]
    assert captions.missing_images == ("gone5.jpg", "gone6.jpg", "gone7.jpg", "gone8.jpg")
    assert (captions.num_empty_captions, captions.num_repeated_captions) == (2, 1)
    assert (captions.num_stray_captions, captions.num_uncaptioned_images) == (1, 1)
    assert captions.report() == (
        "2 images with 3 captions; left out: 4 images are missing (gone5.jpg, gone6.jpg, gone7.jpg, ...), "
        "1 images without captions, 2 empty captions, 1 repeated captions, 1 captions of images not listed"
    )


def test_both_places_may_be_uris():
    fs = fsspec.filesystem("memory")
    fs.pipe("/coco/captions.json", json.dumps({"images": IMAGES, "annotations": ANNOTATIONS}).encode())
    fs.pipe("/coco/images/one.jpg", b"x")
    captions = read_captions("memory://coco/captions.json", "memory://coco/images/")
    assert [fsspec.open(image.path).open().read() for image in captions.images] == [b"x"]
    assert captions.missing_images == ("below/two.png",)


@pytest.mark.parametrize(
    ("content", "complaint"),
    [
        (b"\xff\xfe\x00", "is no text in UTF-8"),
        (b"{", "is no JSON"),
        (b"[" * 100_000, "is no JSON"),
        (b"[1, 2]", "is not COCO captions"),
        (b'{"images": []}', "is not COCO captions"),
        (b'{"images": 3, "annotations": []}', '"images" is not a list'),
        (b'{"images": [3], "annotations": []}', r"images\[0\] is not an object"),
        (b'{"images": [], "annotations": []}', "lists no images"),
        (b'{"images": [{"id": true, "file_name": "one.jpg"}], "annotations": []}', r"images\[0\] has no id"),
        (b'{"images": [{"id": 1, "file_name": null}], "annotations": []}', r"images\[0\] has no id, or no file_name"),
        (b'{"images": [{"id": 1, "file_name": "../one.jpg"}], "annotations": []}', "lies outside"),
        (b'{"images": [{"id": 1, "file_name": "/one.jpg"}], "annotations": []}', "lies outside"),
        (
            b'{"images": [{"id": 1, "file_name": "one.jpg"}, {"id": 1, "file_name": "2.jpg"}], "annotations": []}',
            "the id 1 is that of one.jpg and of 2.jpg",
        ),
        (b'{"images": [{"id": 1, "file_name": "one.jpg"}], "annotations": [{"image_id": 1}]}', r"annotations\[0\]"),
        (
            b'{"images": [{"id": 1, "file_name": "one.jpg"}], "annotations": [{"image_id": 1, "caption": 7}]}',
            r"annotations\[0\] has no image_id, or no caption",
        ),
        (b'{"images": [{"id": 1, "file_name": "one.jpg"}], "annotations": []}', "no image that is there has a caption"),
        (b'{"images": [{"id": 1, "file_name": "1.jpg"}], "annotations": []}', "none of the 1 images .*1.jpg"),
    ],
)
def test_other_files_are_refused_in_one_line(tmp_path, content, complaint):
    annotations, root = written(tmp_path)
    (tmp_path / "captions.json").write_bytes(content)
    with pytest.raises(UserError, match=complaint) as refused:
        read_captions(annotations, root)
    assert "captions.json" in str(refused.value)
    assert "\n" not in str(refused.value)


@pytest.mark.parametrize("place", ["captions.json", "images"])
def test_a_place_that_is_not_there_is_refused(tmp_path, place):
    annotations, root = written(tmp_path)
    (tmp_path / place).rename(tmp_path / "elsewhere")
    with pytest.raises(UserError, match=place):
        read_captions(annotations, root)


def test_utf_8_with_a_mark_at_its_start_is_read(tmp_path):
    annotations, root = written(tmp_path)
    document = {"images": IMAGES, "annotations": [{"image_id": 1, "caption": "Ein Mann läuft."}]}
    (tmp_path / "captions.json").write_bytes(json.dumps(document, ensure_ascii=False).encode("utf-8-sig"))
    assert read_captions(annotations, root).pairs == [(f"{root}/one.jpg", "Ein Mann läuft.")]


def numbered(ids):
    return CaptionSet(tuple(CaptionedImage(i, f"{i}.jpg", ("A man runs.", "He runs.")) for i in ids))


def test_the_split_is_by_image_and_the_same_whatever_else_is_there():
    train, held_out = split_images(numbered(range(2000)), 0.1)
    held_out_ids = {image.image_id for image in held_out.images}
    assert 150 < len(held_out_ids) < 250
    assert {image.image_id for image in train.images} == set(range(2000)) - held_out_ids
    fewer = split_images(numbered(range(500, 1500)), 0.1)[1]
    assert {image.image_id for image in fewer.images} == {i for i in held_out_ids if 500 <= i < 1500}
    more = split_images(numbered(range(2000)), 0.2)[1]
    assert held_out_ids < {image.image_id for image in more.images}


@pytest.mark.parametrize("fraction", [0.0, 0.1, 0.99999])
@pytest.mark.parametrize("count", [2, 3, 10])
def test_neither_side_is_empty(count, fraction):
    train, held_out = split_images(numbered(range(count)), fraction)
    assert train.images
    assert held_out.images
    assert len(train.images) + len(held_out.images) == count


def test_one_image_cannot_be_split():
    with pytest.raises(UserError, match="too few"):
        split_images(numbered([1]), 0.1)
