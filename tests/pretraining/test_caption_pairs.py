import json

import pytest
from PIL import Image
from pydantic import ValidationError

from raypipe.errors import UserError
from raypipe.pretraining.caption_pairs import PairsConfig, read_pairs


def write(folder, count, first=0):
    (folder / "images").mkdir(parents=True)
    for number in range(first, first + count):
        Image.new("RGB", (4, 4)).save(folder / "images" / f"{number}.png")
    ids = range(first, first + count)
    document = {
        "images": [{"id": number, "file_name": f"{number}.png"} for number in ids],
        "annotations": [{"image_id": number, "caption": f"thing {number}"} for number in ids],
    }
    (folder / "captions.json").write_text(json.dumps(document))
    return {"annotations": str(folder / "captions.json"), "images": str(folder / "images")}


def ids(captions):
    return {image.image_id for image in captions.images}


def test_a_share_of_the_images_is_held_out(tmp_path):
    data = write(tmp_path, 40)
    fit, held_out = read_pairs(PairsConfig(**data, held_out_fraction=0.25))
    assert ids(fit) | ids(held_out) == set(range(40))
    assert not ids(fit) & ids(held_out)
    assert 4 <= len(held_out.images) <= 16
    few = read_pairs(PairsConfig(**data, held_out_fraction=0.25, max_held_out=3))[1]
    assert [image.image_id for image in few.images] == [image.image_id for image in held_out.images][:3]


def test_held_out_images_may_be_their_own(tmp_path):
    data, other = write(tmp_path / "fit", 5), write(tmp_path / "other", 3, first=90)
    named = {f"held_out_{key}": value for key, value in other.items()}
    fit, held_out = read_pairs(PairsConfig(**data, **named))
    assert (ids(fit), ids(held_out)) == ({0, 1, 2, 3, 4}, {90, 91, 92})


def test_only_the_first_captions_of_an_image_may_be_used(tmp_path):
    data = write(tmp_path, 4)
    document = json.loads((tmp_path / "captions.json").read_text())
    document["annotations"] += [{"image_id": 2, "caption": "another"}, {"image_id": 2, "caption": "a third"}]
    (tmp_path / "captions.json").write_text(json.dumps(document))
    for most, expected in ((None, ("thing 2", "another", "a third")), (2, ("thing 2", "another")), (1, ("thing 2",))):
        parts = read_pairs(PairsConfig(**data, held_out_fraction=0.25, max_captions=most))
        (found,) = (image.captions for part in parts for image in part.images if image.image_id == 2)
        assert found == expected


def test_too_few_images_are_refused(tmp_path):
    with pytest.raises(UserError, match="too few to hold any out"):
        read_pairs(PairsConfig(**write(tmp_path / "one", 1)))
    with pytest.raises(UserError, match="1 image is left to train on"):
        read_pairs(PairsConfig(**write(tmp_path / "two", 2)))


@pytest.mark.parametrize("key", ["held_out_annotations", "held_out_images"])
def test_held_out_places_go_together(key):
    with pytest.raises(ValidationError, match="go together"):
        PairsConfig(annotations="a.json", images="images", **{key: "/x"})
