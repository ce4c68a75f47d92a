"""From a run's crops to a Q-Former trained further on them: the paper's "D. 2"."""

from pathlib import Path

import numpy as np
import pyarrow.parquet as pq
import pytest
import yaml
from PIL import Image

from raypipe.cli.main import main
from raypipe.config.file import validate
from raypipe.errors import UserError
from raypipe.extraction.extract import extract
from raypipe.models.blip2.model import Blip2
from raypipe.pretraining.blip2 import plan_blip2, train_blip2
from raypipe.pretraining.blip2_config import Blip2TrainingConfig
from raypipe.pretraining.coco_captions import read_captions
from raypipe.pretraining.crops import export_crops
from tests.helpers.small_data import make_config, write_data
from tests.helpers.spatial_weights import write_weights
from tests.helpers.training_configs import blip2_document

SENTENCE = {"max_length": 12, "min_length": 4, "num_beams": 1, "memory": "off"}


@pytest.fixture(scope="module")
def weights(tmp_path_factory):
    return write_weights(tmp_path_factory.mktemp("weights") / "tiny")


@pytest.fixture(scope="module")
def run(cluster, weights, tmp_path_factory):
    root = write_data(tmp_path_factory.mktemp("data"), {"train/a": 50, "train/b": 20, "test/a": 10})
    output = tmp_path_factory.mktemp("run")
    features = {"spatial": "cross", "motion": False}
    config = make_config(root, output, weights=weights, features=features, sentence=SENTENCE)
    assert not extract(config).dead
    return config


@pytest.mark.slow
def test_crops_are_those_that_were_captioned(run, tmp_path):
    count, left_out = export_crops(run, tmp_path / "crops", every_seconds=0.2)
    assert left_out == {}
    captions = read_captions(str(tmp_path / "crops" / "captions.json"), str(tmp_path / "crops" / "images"))
    # Every fifth frame at 25 frames/s: 10 of train/a and 4 of train/b, two objects each, none of the test split.
    tables = [pq.read_table(path) for path in sorted(Path(run.output, "features", "train").rglob("*.parquet"))]
    rows = [row for table in tables for row in table.to_pylist() if row["frame_index"] % 5 == 0 and row["caption"]]
    assert len(rows) == count == len(captions.images)
    assert [caption for _, caption in captions.pairs] == [row["caption"] for row in rows]
    first, row = Image.open(captions.images[0].path), rows[0]
    # Half as large again on every side, cut at the frame's edges (64 x 48), rounded outwards.
    sides = (row["x2"] - row["x1"], row["y2"] - row["y1"])
    expected = [
        np.ceil(min(limit, high + 0.5 * side)) - np.floor(max(0, low - 0.5 * side))
        for low, high, side, limit in zip((row["x1"], row["y1"]), (row["x2"], row["y2"]), sides, (64, 48), strict=True)
    ]
    assert list(first.size) == expected
    with pytest.raises(UserError, match="is not empty"):
        export_crops(run, tmp_path / "crops", every_seconds=0.2)


@pytest.mark.slow
def test_a_run_without_captions_has_none_to_export(run, tmp_path):
    config = run.model_copy(update={"features": run.features.model_copy(update={"spatial": "image"})})
    with pytest.raises(UserError, match="has no captions; extract with text or cross"):
        export_crops(config, tmp_path / "crops", every_seconds=1.0)


@pytest.mark.slow
@pytest.mark.parametrize("changes", [{}, {"num_query": 12, "train_vit": True}, {"structure": "str3"}])
def test_a_q_former_is_trained_further_on_them(run, weights, tmp_path, capsys, changes):
    (tmp_path / "run.yaml").write_text(yaml.safe_dump(run.model_dump(mode="json")))
    options = ["--config", str(tmp_path / "run.yaml"), "--out", str(tmp_path / "crops"), "--every", "0.1"]
    assert main(["pretrain", "crops", *options]) == 0
    assert "crops: " in capsys.readouterr().out
    data = {
        "annotations": str(tmp_path / "crops" / "captions.json"),
        "images": str(tmp_path / "crops" / "images"),
        "held_out_fraction": 0.2,
    }
    document = blip2_document(data, tmp_path / "trained", train={"batch_size": 8, "epochs": 2})
    document["model"] = {"start": weights["blip2"], **changes}
    card, _ = train_blip2(plan_blip2(validate(Blip2TrainingConfig, document, "test")))
    assert card["history"][1]["loss"] < card["history"][0]["loss"]
    before, after = Blip2.load(Path(weights["blip2"])), Blip2.load(tmp_path / "trained" / "blip2")
    assert after.config.num_query == changes.get("num_query", before.config.num_query)
    name = "vision_model.encoder.layers.0.mlp.fc1.weight"
    is_same = np.array_equal(before.state_dict()[name].numpy(), after.state_dict()[name].numpy())
    assert is_same != changes.get("train_vit", False)
