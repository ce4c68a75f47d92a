import pytest

from jobs.evaluate_world import main, rows_of, table
from jobs.world_figures import FarShares, Share


def figures(full):
    return {
        "ap50": {"person": 0.9, "vehicle": 0.7, "mean": 0.8},
        "captions": {"walking": Share(8, 10), "cycling": Share(1, 10)},
        "far": {
            "test/001_walking": FarShares(Share(4, 5), Share(1, 4), Share(3, 4)),
            "test/002_walking_then_running": FarShares(Share(0, 5), Share(), Share()),
        },
        "micro_auc": {"full": full, "motion": 0.85, "image": 0.5, "text": None, "cross": 0.6},
        "seconds": 321.4,
    }


def test_rows():
    rows = rows_of(figures(0.95))
    assert rows["caption right"] == 9 / 20
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


@pytest.mark.parametrize("arguments", [["--seeds", "x", "--models", "m"], ["--models", "nowhere", "--seeds", "1"]])
def test_mistakes_are_told(arguments, tmp_path, capsys, monkeypatch):
    monkeypatch.chdir(tmp_path)
    with pytest.raises(SystemExit) as stop:
        raise SystemExit(main(arguments))
    assert stop.value.code == 2
    assert ("invalid _seeds value: 'x'" if "x" in arguments else "nowhere/yolo") in capsys.readouterr().err
    assert list(tmp_path.iterdir()) == []
