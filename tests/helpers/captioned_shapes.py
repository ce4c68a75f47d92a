"""Generated pictures of two coloured shapes, with captions that say what is to be seen, as COCO-format data."""

import json
from pathlib import Path
from typing import Any

import numpy as np
from PIL import Image, ImageDraw

COLOURS = {"red": (220, 40, 40), "green": (40, 190, 60), "blue": (50, 80, 230), "yellow": (230, 210, 40)}
SHAPES = ("square", "circle")
RELATIONS = ("above", "left of")
SIDE = 48


def draw(rng: np.random.Generator) -> tuple[Image.Image, str]:
    """Return a picture of a shape above, or left of, another, and its caption."""
    relation = RELATIONS[rng.integers(len(RELATIONS))]
    along, across = np.array([[0.27, 0.73], rng.uniform(0.35, 0.65, 2)]) + rng.uniform(-0.06, 0.06, (2, 2))
    ground = tuple(int(value) for value in rng.integers(90, 130, 3))
    picture = Image.new("RGB", (SIDE, SIDE), ground)
    pen = ImageDraw.Draw(picture)
    words = []
    for first, second in zip(along * SIDE, across * SIDE, strict=True):
        x, y = (second, first) if relation == "above" else (first, second)
        colour, shape = list(COLOURS)[rng.integers(len(COLOURS))], SHAPES[rng.integers(len(SHAPES))]
        radius = rng.uniform(0.13, 0.2) * SIDE
        box = (x - radius, y - radius, x + radius, y + radius)
        (pen.rectangle if shape == "square" else pen.ellipse)(box, fill=COLOURS[colour])
        words.append(f"a {colour} {shape}")
    return picture, f"{words[0]} {relation} {words[1]}"


def write_shapes(root: Path, count: int, seed: int = 0) -> dict[str, Any]:
    """Write `count` pictures and captions.json below `root`; return the `data` part of a config."""
    rng = np.random.default_rng(seed)
    (root / "images").mkdir(parents=True)
    document: dict[str, list[dict[str, Any]]] = {"images": [], "annotations": []}
    for number in range(count):
        picture, caption = draw(rng)
        picture.save(root / "images" / f"{number}.png")
        document["images"].append({"id": number, "file_name": f"{number}.png"})
        document["annotations"].append({"image_id": number, "caption": caption})
    (root / "captions.json").write_text(json.dumps(document))
    return {"annotations": str(root / "captions.json"), "images": str(root / "images")}
