"""Miniature copies of public data sets through whole runs: windows for objects, motion alone."""

import json

import pytest

from raypipe.anomaly_model.train import train
from raypipe.cli.main import main
from raypipe.config.run import parse_config
from raypipe.errors import UserError
from raypipe.extraction.catalog import require_features
from raypipe.extraction.extract import extract
from raypipe.run_folder.folder import RunFolder
from tests.helpers.miniatures import WRITERS

CONFIG = """
dataset: {{name: {name}, root: {root}}}
output: {output}
detector: {{kind: sliding_window, window_pixels: 32}}
score: {{model: knn, knn: {{num_neighbours: 2}}, smoothing_seconds: 0}}
evaluate: {{bootstrap_samples: 0}}
tracking: {{enabled: false}}
"""


@pytest.mark.usefixtures("cluster")
def test_ucf_crime_from_extraction_to_figures(tmp_path, capsys):
    WRITERS["ucf_crime"](tmp_path / "data")
    path = tmp_path / "run.yaml"
    path.write_text(CONFIG.format(name="ucf_crime", root=tmp_path / "data", output=tmp_path / "run"))
    for step in ("extract", "train", "score", "evaluate"):
        assert main([step, "--config", str(path)]) == 0
    said = capsys.readouterr().out
    assert "features: 5 videos, 94 frames" in said
    assert "note: videos in no split, left out: 1 (Videos/Normal_Videos_event/Normal_Videos_003_x264)" in said
    # Arson011 is labelled to frame 40 of a video of 20.
    assert "labels did not fit the frames: Arson/Arson011_x264 (21 cut)" in said
    assert "\nlabels: Temporal_Anomaly_Annotation.txt, ends inclusive\n" in said
    results = json.loads((tmp_path / "run" / "results.json").read_text())
    assert results["evaluation"]["num_abnormal"] == 12
    assert results["labels"]["source"] == "Temporal_Anomaly_Annotation.txt, ends inclusive"
    assert results["counts"]["videos"] == 5


@pytest.mark.usefixtures("cluster")
def test_frame_labels_of_another_length_are_padded_and_listed(tmp_path, capsys):
    WRITERS["shanghaitech"](tmp_path / "data")
    path = tmp_path / "run.yaml"
    path.write_text(CONFIG.format(name="shanghaitech", root=tmp_path / "data", output=tmp_path / "run"))
    mask = tmp_path / "data/testing/test_frame_mask/01_0014.npy"
    import numpy as np

    np.save(mask, np.array([0, 0, 1, 1, 0, 0, 0]))
    for step in ("extract", "train", "score", "evaluate"):
        assert main([step, "--config", str(path)]) == 0
    results = json.loads((tmp_path / "run" / "results.json").read_text())
    assert results["evaluation"]["alignment"] == [
        {"video_id": "test/01_0014", "num_cut": 0, "num_padded": 3},
        {"video_id": "test/12_0142", "num_cut": 1, "num_padded": 0},
    ]
    assert results["evaluation"]["num_abnormal"] == 2
    assert "test/01_0014 (3 padded), test/12_0142 (1 cut)" in capsys.readouterr().out


@pytest.mark.usefixtures("cluster")
def test_abnormal_training_videos_get_features_but_train_nothing(tmp_path):
    WRITERS["xd_violence"](tmp_path / "data")

    def config_of(abnormal_training):
        return parse_config(
            {
                "dataset": {
                    "name": "xd_violence",
                    "root": str(tmp_path / "data"),
                    "abnormal_training": abnormal_training,
                },
                "output": str(tmp_path / "run"),
                "detector": {"kind": "sliding_window", "window_pixels": 32},
                "score": {"model": "knn", "knn": {"num_neighbours": 2}},
                "tracking": {"enabled": False},
            },
            "test",
        )

    folder = RunFolder(str(tmp_path / "run"))
    abnormal = "train/v=bbb__#1_label_B6-0-0"
    without, including = config_of(False), config_of(True)
    assert without.feature_hash() == including.feature_hash()
    extract(without)
    assert abnormal not in folder.committed()
    first, _ = train(without, require_features(without, folder))
    with pytest.raises(UserError, match=r"1 videos are new.*v=bbb"):
        require_features(including, folder)
    result = extract(including)
    assert (result.num_done_before, result.processed_frames) == (5, 20)
    assert abnormal in folder.committed()
    second, is_new = train(including, require_features(including, folder))
    assert not is_new
    assert second == first
