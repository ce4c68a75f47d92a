"""People: what they look like, and the parts that a pose is dressed with."""

from dataclasses import dataclass
from typing import Literal

import numpy as np

from raypipe.world import skeleton as at
from raypipe.world.camera import F64
from raypipe.world.shapes import Body, Colour

# The colours of clothes by the names that captions use.
COLOURS: dict[str, Colour] = {
    "red": (196, 40, 42),
    "blue": (44, 84, 186),
    "green": (44, 130, 66),
    "black": (42, 42, 48),
    "gray": (128, 130, 136),
    "white": (228, 228, 224),
    "yellow": (226, 192, 48),
    "orange": (226, 120, 40),
    "purple": (116, 62, 150),
    "pink": (226, 130, 164),
}
_BOTTOMS: tuple[Colour, ...] = (
    (44, 54, 86),
    (38, 38, 44),
    (92, 82, 70),
    (160, 146, 116),
    (70, 96, 140),
    (104, 106, 110),
)
_SKINS: tuple[Colour, ...] = ((236, 196, 168), (222, 176, 142), (190, 138, 104), (142, 98, 70), (100, 68, 50))
_HAIRS: tuple[Colour, ...] = ((36, 28, 26), (70, 46, 32), (118, 80, 46), (196, 160, 92), (120, 120, 124), (140, 62, 36))
_SHOES: tuple[Colour, ...] = ((40, 36, 36), (222, 222, 222), (110, 74, 48), (150, 50, 50))


@dataclass(frozen=True)
class Look:
    """How a person looks; the height in metres, `girth` multiplies the thickness of limbs and trunk."""

    is_woman: bool
    height: float
    girth: float
    top_name: str
    top: Colour
    bottom: Colour
    skin: Colour
    hair: Colour
    shoes: Colour
    legs: Literal["trousers", "shorts", "skirt"]
    long_sleeves: bool
    long_hair: bool
    backpack: Colour | None


def draw_look(rng: np.random.Generator, colours: tuple[str, ...]) -> Look:
    """Draw a person whose upper garment has one of the named colours."""
    is_woman = bool(rng.random() < 0.5)
    name = str(rng.choice(list(colours)))
    jitter = rng.uniform(-12, 12, 3)
    red, green, blue = np.clip(np.array(COLOURS[name]) + jitter, 0, 255).tolist()
    legs: Literal["trousers", "shorts", "skirt"] = "trousers"
    if rng.random() < 0.3:
        legs = "skirt" if is_woman else "shorts"
    return Look(
        is_woman=is_woman,
        height=float(np.clip(rng.normal(1.67 if is_woman else 1.8, 0.06), 1.5, 1.98)),
        girth=float(rng.uniform(0.92, 1.14)),
        top_name=name,
        top=(red, green, blue),
        bottom=_BOTTOMS[rng.integers(len(_BOTTOMS))],
        skin=_SKINS[rng.integers(len(_SKINS))],
        hair=_HAIRS[rng.integers(len(_HAIRS))],
        shoes=_SHOES[rng.integers(len(_SHOES))],
        legs=legs,
        long_sleeves=bool(rng.random() < 0.55),
        long_hair=bool(is_woman and rng.random() < 0.88),
        backpack=COLOURS[str(rng.choice(["black", "gray", "blue"]))] if rng.random() < 0.15 else None,
    )


def dress(body: Body, look: Look, joints: F64) -> None:
    """Add a person to a body; `joints` are in world coordinates, shape (20, 3)."""
    tall, thick = look.height, look.height * look.girth
    for side in (at.LEFT, at.RIGHT):
        _leg(body, look, joints, side, thick)
        _arm(body, look, joints, side, thick)
    shoulders = [joints[at.SHOULDER + side] for side in (at.LEFT, at.RIGHT)]
    hips = [joints[at.HIP + side] for side in (at.LEFT, at.RIGHT)]
    inner = [0.76 * shoulder + 0.24 * joints[at.CHEST] for shoulder in shoulders]
    waist = [0.55 * hip + 0.45 * hips[1 - side] for side, hip in enumerate(hips)]
    up = joints[at.WAIST] - joints[at.PELVIS]
    hem = [point - 0.1 * up for point in hips]
    body.hull(look.top, *((point, 0.05 * thick) for point in inner), *((point + up, 0.052 * thick) for point in waist))
    body.hull(
        look.top, *((point + 0.9 * up, 0.05 * thick) for point in waist), *((point, 0.054 * thick) for point in hips)
    )
    if look.legs == "skirt":
        knees = [0.4 * hip + 0.6 * joints[at.KNEE + side] for side, hip in enumerate(hips)]
        body.hull(
            look.bottom,
            *((point + 0.3 * up, 0.056 * thick) for point in waist),
            *((point, 0.062 * thick) for point in knees),
            nearer=0.06,
        )
    else:
        body.hull(look.bottom, *((point, 0.056 * thick) for point in hem))
    _head(body, look, joints, tall)
    if look.backpack is not None:
        back = _behind(joints) * 0.085 * tall
        body.hull(
            look.backpack,
            (joints[at.CHEST] + back, 0.055 * tall),
            (joints[at.CHEST] + back * 1.25 - 0.4 * (joints[at.CHEST] - joints[at.WAIST]), 0.065 * tall),
            (joints[at.WAIST] + back, 0.055 * tall),
        )


def _behind(joints: F64) -> F64:
    """Return the unit vector out of a person's back."""
    up = joints[at.CHEST] - joints[at.PELVIS]
    across = joints[at.SHOULDER + at.LEFT] - joints[at.SHOULDER + at.RIGHT]
    back: F64 = np.cross(up, across)
    return back / (np.linalg.norm(back) + 1e-9)


def _leg(body: Body, look: Look, joints: F64, side: int, thick: float) -> None:
    hip, knee, ankle, toe = (joints[joint + side] for joint in (at.HIP, at.KNEE, at.ANKLE, at.TOE))
    covered = look.bottom if look.legs != "skirt" else look.skin
    shin = look.bottom if look.legs == "trousers" else look.skin
    body.hull(covered, (hip, 0.05 * thick), (knee, 0.036 * thick))
    body.hull(shin, (knee, 0.035 * thick), (0.6 * knee + 0.4 * ankle, 0.034 * thick), (ankle, 0.024 * thick))
    body.hull(look.shoes, (ankle - 0.12 * (toe - ankle), 0.024 * look.height), (toe, 0.02 * look.height))


def _arm(body: Body, look: Look, joints: F64, side: int, thick: float) -> None:
    shoulder, elbow, hand = (joints[joint + side] for joint in (at.SHOULDER, at.ELBOW, at.HAND))
    body.hull(look.top, (shoulder, 0.034 * thick), (elbow, 0.026 * thick))
    body.hull(look.top if look.long_sleeves else look.skin, (elbow, 0.025 * thick), (hand, 0.018 * thick))
    body.hull(look.skin, (hand + 0.12 * (hand - elbow), 0.021 * look.height), nearer=0.01)


def _head(body: Body, look: Look, joints: F64, tall: float) -> None:
    head, neck = joints[at.HEAD], joints[at.NECK]
    up = (head - neck) / (np.linalg.norm(head - neck) + 1e-9)
    ahead = (joints[at.FACE] - head) / (np.linalg.norm(joints[at.FACE] - head) + 1e-9)
    body.hull(look.skin, (neck - 0.02 * tall * up, 0.03 * tall), (head, 0.03 * tall))
    body.hull(look.hair, (head + (0.016 * up - 0.014 * ahead) * tall, 0.058 * tall))
    body.hull(
        look.skin,
        (head + (0.012 * ahead + 0.004 * up) * tall, 0.05 * tall),
        (head + (0.018 * ahead - 0.03 * up) * tall, 0.036 * tall),
    )
    if look.long_hair:
        body.hull(
            look.hair,
            (head - 0.022 * tall * ahead, 0.055 * tall),
            (neck - (0.045 * ahead + 0.05 * up) * tall, 0.046 * tall),
        )
