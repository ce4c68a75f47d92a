import pytest
import torch
from pydantic import ValidationError

from raypipe.models.augment import AugmentConfig, augment, resampling


def generator(seed=0):
    return torch.Generator().manual_seed(seed)


def pictures(count=4, side=12, seed=1):
    return torch.randint(0, 256, (count, 3, side, side), dtype=torch.uint8, generator=generator(seed))


def matrix(start, length, source, rows, columns):
    numbers = (torch.tensor([float(value)]) for value in (start, length, source))
    return resampling(*numbers, rows, columns)[0]


def test_nothing_is_changed_by_default():
    images = pictures()
    assert torch.equal(augment(images, 12, AugmentConfig(), generator()), images.float())


@pytest.mark.parametrize(
    ("start", "length", "rows", "expected"),
    [
        # As it is.
        (0, 4, 4, [[1, 0, 0, 0], [0, 1, 0, 0], [0, 0, 1, 0], [0, 0, 0, 1]]),
        # Half the size: the triangle is two pixels wide on each side; its part outside is left out.
        (0, 4, 2, [[3 / 7, 3 / 7, 1 / 7, 0], [0, 1 / 7, 3 / 7, 3 / 7]]),
        # The two in the middle, twice as large: between two pixels, 3/4 of the nearer one.
        (1, 2, 4, [[0.25, 0.75, 0, 0], [0, 0.75, 0.25, 0], [0, 0.25, 0.75, 0], [0, 0, 0.75, 0.25]]),
    ],
)
def test_resampling_by_hand(start, length, rows, expected):
    assert matrix(start, length, 4, rows, 4) == pytest.approx(torch.tensor(expected, dtype=torch.float32), abs=1e-6)


def test_padding_is_never_sampled():
    weights = matrix(0, 3, 3, 5, 6)
    assert (weights[:, 3:] == 0).all()
    assert weights.sum(dim=1) == pytest.approx(torch.ones(5), abs=1e-6)


def test_mirroring():
    images = pictures()
    assert torch.allclose(augment(images, 12, AugmentConfig(flip=1.0), generator()), images.flip(3).float(), atol=1e-3)
    half = augment(pictures(64), 12, AugmentConfig(flip=0.5), generator())
    is_mirrored = [torch.allclose(a, b.flip(2).float(), atol=1e-3) for a, b in zip(half, pictures(64), strict=True)]
    assert 16 < sum(is_mirrored) < 48


@pytest.mark.parametrize(
    "changes",
    [
        {"crop_area": 0.5},
        {"low_resolution": 0.2},
        {"blur_pixels": 3.0},
        {"jitter": 0.5},
        {"hue": 0.5},
        {"grey": 0.5},
        {"crop_area": 0.3, "flip": 0.5, "low_resolution": 0.3, "blur_pixels": 2.0, "jitter": 0.4},
    ],
)
def test_images_keep_their_size_range_and_seed(changes):
    config = AugmentConfig(**changes)
    images = pictures(16, config.stored_size(12))
    changed = augment(images, 12, config, generator(3))
    assert changed.shape == (16, 3, 12, 12)
    assert changed.dtype == torch.float32
    assert changed.min() >= 0
    assert changed.max() <= 255
    assert torch.equal(changed, augment(images, 12, config, generator(3)))
    assert not torch.equal(changed, augment(images, 12, config, generator(4)))


@pytest.mark.parametrize("changes", [{"crop_area": 0.4}, {"low_resolution": 0.2}, {"blur_pixels": 4.0}, {"flip": 0.5}])
def test_a_flat_image_stays_flat(changes):
    config = AugmentConfig(**changes)
    side = config.stored_size(10)
    flat = torch.full((8, 3, side, side), 77, dtype=torch.uint8)
    assert augment(flat, 10, config, generator()) == pytest.approx(torch.full((8, 3, 10, 10), 77.0), abs=1e-2)


def test_what_makes_images_poorer_takes_detail_away():
    images = pictures(32, 24)

    def detail(config):
        changed = augment(images, 24, config, generator())
        return (changed[..., 1:] - changed[..., :-1]).abs().mean()

    whole = detail(AugmentConfig())
    assert detail(AugmentConfig(low_resolution=0.25)) < 0.9 * whole
    assert detail(AugmentConfig(blur_pixels=3.0)) < 0.9 * whole


@pytest.mark.parametrize(("area", "size", "stored"), [(1.0, 224, 224), (0.25, 224, 448), (0.5, 10, 15)])
def test_the_smallest_crop_has_the_size(area, size, stored):
    assert AugmentConfig(crop_area=area).stored_size(size) == stored


def test_a_turn_of_the_hue_is_about_the_grey_axis():
    colour = torch.tensor([150.0, 90.0, 90.0])
    red = colour.view(1, 3, 1, 1).expand(64, 3, 2, 2).to(torch.uint8)
    turned = augment(red, 2, AugmentConfig(hue=0.5), generator())[:, :, 0, 0]
    # The sum of the channels and their spread stay.
    assert torch.allclose(turned.sum(dim=1), colour.sum(), atol=1e-2)
    assert torch.allclose(turned.std(dim=1), colour.std(), atol=1e-2)
    # Green and blue come to the front as often as red does.
    assert (turned.argmax(dim=1).bincount(minlength=3) > 10).all()


def test_small_turns_leave_a_colour_what_it_is():
    red = torch.tensor([200.0, 20.0, 20.0]).view(1, 3, 1, 1).expand(64, 3, 2, 2).to(torch.uint8)
    turned = augment(red, 2, AugmentConfig(hue=0.02), generator())[:, :, 0, 0]
    assert (turned - torch.tensor([200.0, 20.0, 20.0])).abs().max() < 20
    assert not torch.allclose(turned, torch.tensor([200.0, 20.0, 20.0]), atol=1.0)


def test_greyed_images_have_one_value_in_all_channels():
    images = pictures(64)
    changed = augment(images, 12, AugmentConfig(grey=0.5), generator())
    luma = (images.float() * torch.tensor([0.299, 0.587, 0.114])[:, None, None]).sum(dim=1)
    is_grey = torch.tensor(
        [torch.allclose(one, two.expand(3, 12, 12), atol=1e-2) for one, two in zip(changed, luma, strict=True)]
    )
    assert 16 < is_grey.sum() < 48
    assert torch.allclose(changed[~is_grey], images[~is_grey].float(), atol=1e-2)


@pytest.mark.parametrize(
    "changes", [{"hue": 0.6}, {"grey": -0.1}, {"crop_area": 0.0}, {"flip": 1.5}, {"jitter": 1.0}, {"blur_pixels": -1.0}]
)
def test_values_out_of_range_are_refused(changes):
    with pytest.raises(ValidationError):
        AugmentConfig(**changes)
