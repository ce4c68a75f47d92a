import pyarrow.parquet as pq
import pytest

from jobs.development import evaluate_world
from jobs.development.evaluate_world import build_parser, main, measure_seed, rows_of, table
from jobs.development.world_figures import FarFractions, Fraction
from raypipe.errors import UserError
from raypipe.run_folder.folder import DeadLetter, RunFolder
from tests.helpers.demo_models import write_models


def figures(full):
    return {
        "ap50": {"person": 0.9, "vehicle": 0.7, "mean": 0.8},
        "found": {"walking": Fraction(9, 10), "lying": Fraction(0, 5)},
        "captions": {"walking": Fraction(8, 10), "cycling": Fraction(1, 10)},
        "far": {
            "test/001_walking": FarFractions(Fraction(4, 5), Fraction(1, 4), Fraction(3, 4)),
            "test/002_walking_then_running": FarFractions(Fraction(0, 5), Fraction(), Fraction()),
        },
        "micro_auc": {"full": full, "motion": 0.85, "image": 0.5, "text": None, "cross": 0.6},
        "seconds": 321.4,
    }


def test_rows():
    rows = rows_of(figures(0.95))
    assert rows["caption right"] == 9 / 20
    assert (rows["found"], rows["found, lying"], rows["found, walking"]) == (9 / 15, 0, 9 / 10)
    assert rows["far: object found"] == 4 / 10
    assert (rows["far: caption right"], rows["far: sentence right"]) == (0.25, 0.75)
    assert rows["far, walking_then_running: sentence"] is None
    assert round(rows["full above motion"], 6) == 0.1
    assert rows["full above text"] is None


def test_the_table_has_means_spreads_and_verdicts():
    lines = {line.split("  ")[0]: line for line in table({5: figures(0.95), 6: figures(0.89)})}
    assert lines["figure"].split() == ["figure", "seed", "5", "seed", "6", "mean", "spread", "asked"]
    assert lines["micro-AUC, full"].split()[2:] == ["0.950", "0.890", "0.920", "0.060", ">=", "0.9", "met"]
    assert lines["AP50, mean"].split()[2:] == ["0.800", "0.800", "0.800", "0.000", ">=", "0.85", "MISSED"]
    assert lines["micro-AUC, text"].split()[2:] == ["-", "-", "-", "-"]
    assert lines["seconds"].split()[1:] == ["321", "321", "321", "0.000"]


@pytest.mark.parametrize("arguments", [["--frames", "1"], ["--train-frames", "1"], ["--seeds", "-1"]])
def test_a_world_that_cannot_be_is_told(arguments, tmp_path, capsys, monkeypatch):
    monkeypatch.chdir(tmp_path)
    assert main([*arguments, "--models", "nowhere"]) == 2
    assert capsys.readouterr().err.startswith("evaluate_world: ")


@pytest.mark.parametrize("arguments", [["--seeds", "x", "--models", "m"], ["--models", "nowhere", "--seeds", "1"]])
def test_mistakes_are_told(arguments, tmp_path, capsys, monkeypatch):
    monkeypatch.chdir(tmp_path)
    with pytest.raises(SystemExit) as stop:
        raise SystemExit(main(arguments))
    assert stop.value.code == 2
    assert ("invalid _seeds value: 'x'" if "x" in arguments else "nowhere/yolo") in capsys.readouterr().err
    assert list(tmp_path.iterdir()) == []


@pytest.mark.slow
def test_a_world_is_measured(tmp_path, cluster, monkeypatch):
    models = write_models(tmp_path / "models")
    folder = tmp_path / "small"
    folder.mkdir()
    for name, path in models.items():
        (folder / name).symlink_to(path)
    small = ["--train-clips", "2", "--train-frames", "12", "--test-clips", "2", "--frames", "12"]
    shrinking = ["--shrinking-clips", "1", "--shrinking-frames", "12"]
    parts = ["--models", str(folder), "--out", str(tmp_path / "out"), *small, *shrinking]
    seen = []
    nothing = FarFractions(Fraction(), Fraction(), Fraction())
    monkeypatch.setattr(evaluate_world, "far_shares", lambda *pair: seen.append(pair) or nothing)
    pictures = []
    kept = evaluate_world.average_precisions
    monkeypatch.setattr(evaluate_world, "average_precisions", lambda clips: pictures.append(clips) or kept(clips))
    methods = {name: evaluate_world.METHODS[name] for name in ("full", "image")}
    monkeypatch.setattr(evaluate_world, "METHODS", methods)
    arguments = build_parser().parse_args(parts)
    found = measure_seed(5, arguments)
    # Random weights are right about nothing; that all was measured is what can be asked.
    assert set(found["ap50"]) >= {"mean"}
    assert sum(share.count for share in found["found"].values()) > 0
    assert set(found["micro_auc"]) == {"full", "image"}
    assert all(0 <= value <= 1 for value in found["micro_auc"].values())
    ((truth, told),) = seen
    run = tmp_path / "out" / "seed-5" / "shrinking" / "run"
    (segment,) = run.glob("features/*/*/*.parquet")
    table = pq.read_table(segment)
    assert [list(told.caption), list(told.sentence)] == [table["caption"].to_pylist(), table["sentence"].to_pylist()]
    assert told.frame.tolist() == table["frame_index"].to_pylist()
    assert told.boxes[:, 2].tolist() == table["x2"].to_pylist()
    assert set(truth.frame.tolist()) <= set(range(12))
    (clips,) = pictures
    for true, boxes in clips:
        assert set(true.frame.tolist()) <= {0, 5, 10}
        assert len(boxes.frame_offset) > 0
        assert set(boxes.frame_offset.tolist()) <= {0, 5, 10}
    # Figures without a clip would be of other frames than those of other models.
    name = segment.parent.name.replace("%2F", "/")
    RunFolder(str(run)).commit_dead(DeadLetter(name, 0, "decode", "CorruptVideoError", "no"))
    with pytest.raises(UserError, match="1 clips have dead letters"):
        measure_seed(5, arguments)
