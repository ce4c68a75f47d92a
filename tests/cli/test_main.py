import json
import sys
from pathlib import Path
from types import SimpleNamespace

import numpy as np
import pytest

from raypipe import __version__
from raypipe.cli import main as cli
from raypipe.cli.main import main
from raypipe.errors import UserError
from raypipe.ops.shards import WHOLE, Shard
from tests.helpers.small_data import write_data

ORACLES = Path(__file__).parents[3] / "shared" / "oracles" / "scoring"
CONFIG = "dataset: {root: /data}\noutput: /out\ndetector: {kind: sliding_window}\n"


@pytest.fixture
def config(tmp_path):
    path = tmp_path / "run.yaml"
    path.write_text(CONFIG)
    return str(path)


@pytest.fixture
def steps(monkeypatch):
    """Calls of `workflow.run_step`, which starts Ray and is replaced; it finds `num_dead` dead letters."""
    calls = SimpleNamespace(made=[], num_dead=0, shard=None)

    def run_step(name, config, say, *, retry_dead=False, shard=WHOLE):
        calls.made.append((name, config, retry_dead))
        calls.shard = shard
        say(f"did {name}")
        return calls.num_dead

    monkeypatch.setitem(sys.modules, "raypipe.workflow", SimpleNamespace(run_step=run_step))
    return calls


def exit_code(*arguments):
    try:
        return main(list(arguments))
    except SystemExit as stop:  # argparse's own way out
        return stop.code


@pytest.mark.parametrize(
    ("arguments", "words"),
    [
        (
            ["--help"],
            ["run ", "extract", "train", "score", "evaluate", "demo", "examples:", "exit codes: 0 all is well"],
        ),
        (["run", "--help"], ["Do all steps", "--config FILE", "--set KEY=VALUE", "score.model=knn", "--retry-dead"]),
        (["extract", "--help"], ["Compute the features", "--config FILE", "--retry-dead", "--shard I/N", "--debug"]),
        (["status", "--help"], ["RUN", "a path or URI", "--json"]),
        (["train", "--help"], ["Train the model of normal behaviour", "--config FILE"]),
        (["score", "--help"], ["Score every frame", "--config FILE"]),
        (["evaluate", "--help"], ["--scores FILE", "--labels FILE", "video_names, num_frames", "--json OUT"]),
        (["demo", "--help"], ["Draw a small world", "--out DIR", "by default runs/demo", "--seed SEED"]),
        (["report", "--help"], ["Write a page of a run", "RUN", "--config FILE", "--out FILE", "report/index.html"]),
        (
            ["render", "--help"],
            ["Write a video with its boxes", "RUN", "--video ID", "--out FILE", "report/<video>.mp4"],
        ),
        (["--version"], [f"raypipe {__version__}"]),
    ],
)
def test_help(capsys, monkeypatch, arguments, words):
    monkeypatch.setenv("COLUMNS", "120")
    assert exit_code(*arguments) == 0
    text = capsys.readouterr().out
    assert [word for word in words if word not in text] == []


@pytest.mark.parametrize(
    ("arguments", "message"),
    [
        ([], "the following arguments are required: COMMAND"),
        (["rnu"], "invalid choice: 'rnu' (choose from"),
        (["run", "--confg", "x"], "unrecognized arguments: --confg"),
        (["run"], "raypipe: run needs --config FILE; `raypipe run --example` prints one\n"),
        (["evaluate"], "raypipe: evaluate needs --config FILE, or --scores FILE\n"),
        (["run", "--config", "none.yaml"], "raypipe: none.yaml: No such file or directory\n"),
        (["train", "--config", "CONFIG", "--set", "seed=-1"], "run.yaml: seed: -1 must be greater than or equal to 0"),
        (["run", "--config", "CONFIG", "--set", "seed"], "raypipe: --set seed: expected key=value"),
        (
            ["evaluate", "--scores", "s.npy"],
            "evaluate takes --config (and --set), or --scores with either --labels or --dataset and --root",
        ),
        (["evaluate", "--config", "CONFIG", "--scores", "s", "--labels", "l"], "evaluate takes --config"),
        (["evaluate", "--scores", "s", "--labels", "l", "--set", "seed=1"], "evaluate takes --config"),
        (["evaluate", "--config", "CONFIG", "--json", "o"], "a run's figures are in its output folder"),
        (["evaluate", "--labels", "l.npz"], "evaluate takes --config"),
        (["evaluate", "--scores", "s", "--dataset", "folder"], "--dataset and --root go together"),
        (["evaluate", "--scores", "s", "--dataset", "ped3", "--root", "r"], 'raypipe: --dataset: name: "ped3" must be'),
        (["evaluate", "--scores", "s", "--labels", "l", "--fps", "-1"], "--fps: -1.0 is not a frame rate"),
        (["evaluate", "--scores", "s", "--labels", "l", "--lengths", "l"], "--lengths goes with --dataset"),
        (["extract", "--config", "CONFIG", "--shard", "2"], "raypipe: --shard: '2' is no shard; write it as 2/8"),
        (["extract", "--config", "CONFIG", "--shard", "0/2"], "--shard: there is no shard 0/2: of 2, the first is 1"),
        (["train", "--config", "CONFIG", "--shard", "1/2"], "unrecognized arguments: --shard 1/2"),
        (["status", "nothing"], "raypipe: nothing is not the output folder of a run: it has no run.json\n"),
        (["evaluate", "--scores", "s.npy", "--labels", "l.npz"], "raypipe: s.npy: no such file\n"),
        (["demo", "--seed", "-1"], "raypipe: --seed -1: a seed lies between 0 and 4294967295\n"),
        (["demo", "--seed", "x"], "argument --seed: invalid int value: 'x'"),
    ],
)
def test_a_users_mistake_is_one_line_and_exit_code_2(capsys, monkeypatch, tmp_path, config, steps, arguments, message):
    monkeypatch.chdir(tmp_path)
    assert exit_code(*(config if argument == "CONFIG" else argument for argument in arguments)) == 2
    text = capsys.readouterr().err
    assert message in text
    assert "Traceback" not in text
    # One line, below argparse's usage where the mistake is in the call itself.
    assert len([line for line in text.splitlines() if line.startswith("raypipe: ")] or text.splitlines()[1:]) == 1
    assert steps.made == []
    assert [path.name for path in tmp_path.iterdir()] == ["run.yaml"]


def test_every_mistake_in_a_config_has_its_line(capsys, config):
    assert main(["run", "--config", config, "--set", "seed=-1", "--set", "layout=x"]) == 2
    lines = capsys.readouterr().err.splitlines()
    assert [line.startswith(f"raypipe: {config}: ") for line in lines] == [True, True]


def test_debug_shows_where_a_mistake_was_found(capsys, config):
    assert main(["run", "--debug", "--config", config, "--set", "seed=-1"]) == 2
    text = capsys.readouterr().err
    assert "Traceback (most recent call last)" in text
    assert text.splitlines()[-1].startswith(f"raypipe: {config}: seed: -1 must be")


@pytest.mark.parametrize("name", ["run", "extract", "train", "score", "evaluate"])
def test_a_command_is_a_step(capsys, config, steps, name):
    assert main([name, "--config", config, "--set", "seed=3", "--set", "score.model=knn"]) == 0
    ((step, found, retry_dead),) = steps.made
    assert (step, found.seed, found.score.model, retry_dead) == (name, 3, "knn", False)
    assert capsys.readouterr().out == f"did {name}\n"


def test_a_shard_is_a_share_of_the_extraction(config, steps):
    assert main(["extract", "--config", config]) == 0
    assert steps.shard == WHOLE
    assert main(["extract", "--config", config, "--shard", "2/8"]) == 0
    assert steps.shard == Shard(2, 8)


@pytest.mark.parametrize("call", [["run"], ["run", "--retry-dead"]])
def test_only_features_are_made_of_a_shard(capsys, config, call):
    assert main([*call, "--config", config, "--shard", "2/8"]) == 2
    (line,) = capsys.readouterr().err.splitlines()
    assert line == (
        "raypipe: --shard 2/8: run works on the features of all shards. Do `raypipe extract --shard` for each, and "
        "`raypipe run` without --shard when all are done (raypipe status /out)"
    )


@pytest.mark.parametrize("name", ["run", "extract"])
def test_dead_letters_are_told_by_the_exit_code(config, steps, name):
    steps.num_dead = 2
    assert main([name, "--config", config, "--retry-dead"]) == 3
    assert steps.made[0][2] is True


@pytest.mark.parametrize(
    ("arguments", "expected"),
    [([], (Path("runs/demo"), 0)), (["--out", "x/y", "--seed", "5"], (Path("x/y"), 5))],
)
def test_demo_takes_a_folder_and_a_seed(monkeypatch, arguments, expected):
    called = []

    def run_demo(out, seed, say):
        called.append((out, seed))
        return 3

    monkeypatch.setitem(sys.modules, "raypipe.demo", SimpleNamespace(run_demo=run_demo))
    assert main(["demo", *arguments]) == 3
    assert called == [expected]


@pytest.mark.parametrize(
    ("error", "code", "text"),
    [
        (KeyboardInterrupt(), 130, "raypipe: interrupted; start it again to go on\n"),
        (UserError("first\nsecond"), 2, "raypipe: first\nraypipe: second\n"),
    ],
)
def test_how_a_command_ends(capsys, monkeypatch, config, error, code, text):
    def fail(_):
        raise error

    monkeypatch.setattr(cli, "_dispatch", fail)
    assert main(["run", "--config", config]) == code
    assert capsys.readouterr().err == text


def test_a_bug_is_not_hidden(monkeypatch, config):
    def fail(_):
        raise RuntimeError("a bug")

    monkeypatch.setattr(cli, "_dispatch", fail)
    with pytest.raises(RuntimeError, match="a bug"):
        main(["run", "--config", config])


def test_anybodys_scores_are_evaluated(capsys, tmp_path):
    np.save(tmp_path / "s.npy", np.array([0.1, 0.2, 0.9, 0.3, 0.4]))
    np.savez(tmp_path / "l.npz", labels=[0, 0, 1, 0, 1], video_names=np.array(["a", "b"]), num_frames=[3, 2])
    files = ["--scores", str(tmp_path / "s.npy"), "--labels", str(tmp_path / "l.npz")]
    assert main(["evaluate", *files]) == 0
    assert "micro-AUC" in capsys.readouterr().out
    assert main(["evaluate", *files, "--json", str(tmp_path / "new" / "out.json")]) == 0
    document = json.loads((tmp_path / "new" / "out.json").read_text())
    assert document["metrics"]["micro_auc"]["value"] == 1.0
    assert document["versions"]["raypipe"] == __version__


def test_scores_of_a_table_are_evaluated_against_a_data_set(capsys, tmp_path):
    root = write_data(tmp_path / "data", {"train/t": 2, "test/a": 20, "test/b": 10})
    rows = [f"test/a,{frame},{frame}" for frame in range(20)] + ["train/t,0,5", "test/a,20,"]
    (tmp_path / "s.csv").write_text("\n".join(["video,frame,score", *rows]))
    files = ["--scores", str(tmp_path / "s.csv"), "--dataset", "folder", "--root", str(root)]
    assert main(["evaluate", *files]) == 2
    assert "1 of 2 videos of the test split" in capsys.readouterr().err
    assert main(["evaluate", *files, "--partial", "--fps", "10", "--out", str(tmp_path / "out")]) == 0
    text = capsys.readouterr().out
    for words in (
        "false/h",
        "1 unscored",
        "partial: 1 test videos have no scores: test/b",
        "left out: scores of 1 videos",
    ):
        assert words in text
    assert sorted(path.name for path in (tmp_path / "out").iterdir()) == [
        "results.json",
        "results.md",
        "results.parquet",
    ]
    document = json.loads((tmp_path / "out" / "results.json").read_text())
    assert document["evaluation"]["missing_videos"] == ["test/b"]
    assert document["alarms"]["num_events"] == 1
    assert "partial: 1 test videos" in (tmp_path / "out" / "results.md").read_text()


@pytest.mark.skipif(not ORACLES.is_dir(), reason="needs ../shared/oracles/scoring")
def test_published_scores_give_their_published_figures(tmp_path):
    expected = json.loads((ORACLES / "expected.json").read_text())
    file, out = str(ORACLES / "shanghaitech_stgnf.npz"), tmp_path / "out.json"
    assert main(["evaluate", "--scores", file, "--labels", file, "--json", str(out)]) == 0
    metrics = json.loads(out.read_text())["metrics"]
    assert metrics["micro_auc"]["value"] == pytest.approx(expected["micro_auc"], abs=1e-9)
    assert metrics["macro_auc_anchored"]["value"] == pytest.approx(expected["macro_auc_anchored"], abs=1e-9)
    assert metrics["macro_auc_skip"]["value"] == pytest.approx(expected["macro_auc_skip_single_class"], abs=1e-9)
