import re
from pathlib import Path

import pytest
import yaml
from safetensors import safe_open
from safetensors.torch import load_file, save_file

from raypipe.ablation.plan import plan_ablation
from raypipe.errors import UserError
from raypipe.pretraining.blip2_config import load_blip2_config
from raypipe.pretraining.state_machine_config import load_smm_config
from tests.helpers.spatial_weights import write_weights

REPOSITORY = Path(__file__).parents[2]
TABLES = REPOSITORY / "jobs" / "ablations"


def write(tmp_path, variations, **base):
    base = {"dataset": {"root": "data"}, "output": str(tmp_path / "out"), "detector": {"kind": "sliding_window"}} | base
    path = tmp_path / "ablation.yaml"
    path.write_text(yaml.safe_dump({"base": base, "variations": variations}))
    return path


def names(plan):
    return [[planned.variation.name for planned in group.members] for group in plan.groups]


def variation(name, **keys):
    return {"name": name, "set": {key.replace("__", "."): value for key, value in keys.items()}}


MOTION = [
    variation("rm"),
    variation("knn", score__model="knn"),
    variation("mean", motion__pooling="mean_per_bin"),
    variation("mean-gmm", motion__pooling="mean_per_bin", score__model="gmm"),
]


def test_what_agrees_in_its_features_shares_them(tmp_path):
    plan = plan_ablation(write(tmp_path, MOTION))
    assert names(plan) == [["rm", "knn"], ["mean", "mean-gmm"]]
    for group in plan.groups:
        assert len({planned.config.output for planned in group.members} | {group.config.output}) == 1
        assert len({planned.config.feature_hash() for planned in group.members} | {group.config.feature_hash()}) == 1
        assert [planned.config.variation for planned in group.members] == [p.variation.name for p in group.members]
        assert group.config.variation is None
    assert plan.groups[0].members[1].config.score.model == "knn"
    # A plain folder is the benchmark whose name it has.
    assert plan.published_as == "folder"
    assert plan_ablation(write(tmp_path, MOTION, dataset={"root": "data/UCSDped2"})).published_as == "ped2"
    assert plan.groups[0].config.output != plan.groups[1].config.output
    assert all(group.config.output.startswith(f"{plan.output}/features-") for group in plan.groups)


def test_the_same_ablation_finds_its_folders_again(tmp_path):
    path = write(tmp_path, MOTION)
    first, again = plan_ablation(path), plan_ablation(path, ["score.smoothing_seconds=0"])
    assert [group.config.output for group in first.groups] == [group.config.output for group in again.groups]
    other = plan_ablation(path, ["motion.window_seconds=0"])
    assert {g.config.output for g in first.groups}.isdisjoint(g.config.output for g in other.groups)


@pytest.fixture(scope="module")
def weights(tmp_path_factory):
    folder = tmp_path_factory.mktemp("weights")
    one, two = (write_weights(folder / name) for name in ("one", "two"))
    # Both are of one seed: the second as another training would make it.
    file = Path(two["smm"]) / "model.safetensors"
    with safe_open(file, "pt") as opened:
        metadata = opened.metadata()
    save_file({name: tensor + 1 for name, tensor in load_file(file).items()}, file, metadata)
    return one, two


def test_table_3_needs_few_extractions(tmp_path, weights):
    one, two = weights
    document = yaml.safe_load((TABLES / "table3.yaml").read_text())
    document["base"] |= {"weights": one, "output": str(tmp_path / "out"), "detector": {"kind": "sliding_window"}}
    for row in document["variations"]:
        if "weights.smm" in row.get("set", {}):
            row["set"]["weights.smm"] = two["smm"]
    (tmp_path / "table3.yaml").write_text(yaml.safe_dump(document))
    plan = plan_ablation(tmp_path / "table3.yaml")
    # Without sentences, or with those of the state machine: one extraction of everything. Others tell other sentences.
    alike = [f"setting-{number}" for number in (1, 2, 3, 4, 5, 6, 8)]
    assert sorted(names(plan)) == [alike, ["setting-7"], ["setting-9", "setting-10"]]
    shared = next(group for group in plan.groups if len(group.members) > 2)
    assert shared.config.features.extracted == ("motion", "backbone", "image", "text", "cross")
    columns = {planned.variation.name: planned.config.features.columns for planned in shared.members}
    assert columns["setting-8"] == ("motion",)
    assert columns["setting-4"] == ("text",)
    assert columns["setting-6"] == ("cross", "motion")


def test_other_weights_are_another_extraction(tmp_path, weights):
    one, two = weights
    rows = [variation("a"), variation("b", weights__smm=two["smm"]), variation("motion", features__spatial="none")]
    path = write(tmp_path, rows, weights=one, features={"spatial": "cross"})
    # Motion alone finds a place with the first of them.
    assert names(plan_ablation(path)) == [["a", "motion"], ["b"]]
    # What needs no sentence does not depend on the state machine.
    rows = [
        variation("a", features__spatial="image"),
        variation("b", features__spatial="image", weights__smm=two["smm"]),
    ]
    assert names(plan_ablation(write(tmp_path, rows, weights=one))) == [["a", "b"]]


def test_missing_weights_are_told_with_what_makes_them(tmp_path):
    rows = [variation("motion"), variation("image", features__spatial="image") | {"needs": "train it so"}]
    rows.append(rows[1] | {"name": "other"})
    path = write(tmp_path, rows, weights={"blip2": str(tmp_path / "none")})
    with pytest.raises(UserError) as error:
        plan_ablation(path)
    lines = str(error.value).splitlines()
    assert len(lines) == 2
    assert lines[0].startswith("image, other: weights.blip2: ")
    assert lines[0].endswith(". To make it: train it so")
    assert lines[1].endswith("nothing was done; leave variations out with --only")
    assert names(plan_ablation(path, only=["motion"])) == [["motion"]]


def test_a_runs_own_config_may_be_the_base(tmp_path):
    path = write(tmp_path, MOTION)
    run = tmp_path / "run.yaml"
    run.write_text(f"dataset: {{root: mine}}\noutput: {tmp_path}/other\ndetector: {{kind: sliding_window}}\nseed: 4\n")
    plan = plan_ablation(path, ["seed=5"], base=run)
    assert plan.output == f"{tmp_path}/other"
    assert {planned.config.seed for group in plan.groups for planned in group.members} == {5}


def test_keys_of_every_variation_go_before_the_base_and_after_the_variations_own(tmp_path):
    rows = [variation("a"), variation("b", train__num_layers=5)]
    path = write(tmp_path, rows, train={"num_layers": 3, "epochs": 4})
    document = yaml.safe_load(path.read_text()) | {"set": {"train.num_layers": 7}}
    path.write_text(yaml.safe_dump(document))
    found = [(planned.config.train.num_layers, planned.config.train.epochs) for planned in members(plan_ablation(path))]
    assert found == [(7, 4), (5, 4)]
    # An override that no variation would have is no override.
    with pytest.raises(UserError, match=r"--set train.num_layers: .*ablation.yaml sets this for every variation"):
        plan_ablation(path, ["train.epochs=5", "train.num_layers=2"])


def members(plan):
    return [planned for group in plan.groups for planned in group.members]


ROW_KEYS = {
    "features.spatial": "cross",
    "features.motion": True,
    "sentence.memory": "replace",
    "encode.box_expansion": 0.5,
    "score.model": "rm",
    "train.num_layers": 7,
}
# What rows are about, by table; of all other keys above they have what stands there.
ROW_DIFFERS = {
    "table3": {
        "setting-1": {"features.spatial": "backbone", "features.motion": False},
        "setting-2": {"features.spatial": "image", "features.motion": False},
        "setting-3": {"features.motion": False},
        "setting-4": {"features.spatial": "text", "features.motion": False},
        "setting-5": {"features.spatial": "image", "features.motion": False},
        "setting-7": {"sentence.memory": "off"},
        "setting-8": {"features.spatial": "none"},
    },
    "table4": {
        "vlm-unexpanded": {"encode.box_expansion": 0.0},
        "yolo-unexpanded": {"encode.box_expansion": 0.0},
        "windows-60": {"encode.box_expansion": None},
        "windows-224": {"encode.box_expansion": None},
        "windows-320": {"encode.box_expansion": None},
        "rm-5": {"train.num_layers": 5},
        "rm-9": {"train.num_layers": 9},
    },
    "table5": {},
}
BASES = {
    "motion alone": {},
    "everything else": {
        "features": {"spatial": "image", "motion": False, "keep": ["motion"]},
        "sentence": {"memory": "append"},
        "encode": {"box_expansion": 0.2},
        "train": {"num_layers": 3},
        "score": {"model": "knn"},
    },
}


@pytest.fixture
def without_weights(monkeypatch):
    """Plans as if all weights were there, and each folder held others."""
    monkeypatch.setattr("raypipe.ablation.plan.require_weights", lambda detector: None)
    monkeypatch.setattr("raypipe.ablation.plan.models_of", lambda config: config.flat(["weights"]))


@pytest.mark.parametrize("base", BASES)
@pytest.mark.parametrize("table", ROW_DIFFERS)
def test_a_row_is_the_same_over_any_base(tmp_path, without_weights, table, base):
    run = {"dataset": {"root": "data"}, "output": str(tmp_path / "out"), "detector": {"kind": "yolo"}}
    run |= {"weights": {"blip2": "blip2", "smm": "smm"}} | BASES[base]
    (tmp_path / "run.yaml").write_text(yaml.safe_dump(run))
    for plan in (
        plan_ablation(TABLES / f"{table}.yaml"),
        plan_ablation(TABLES / f"{table}.yaml", ["detector.yolo.weights=yolo"], base=tmp_path / "run.yaml"),
    ):
        rows = {planned.variation.name: planned.config.flat() for planned in members(plan)}
        assert {name: {key: row[key] for key in ROW_KEYS} for name, row in rows.items()} == {
            name: ROW_KEYS | ROW_DIFFERS[table].get(name, {}) for name in rows
        }


@pytest.mark.parametrize(
    "own",
    [
        {"kind": "yolo", "yolo": {"weights": "mine", "image_size": 1280}, "min_confidence": 0.4},
        {"kind": "vlm", "vlm": {"model": "mine", "max_objects": 5}, "yolo": {"weights": "mine", "image_size": 1280}},
        {"kind": "sliding_window", "window_step_pixels": 7, "yolo": {"weights": "mine", "image_size": 1280}},
    ],
    ids=lambda own: own["kind"],
)
def test_detectors_of_table_4_keep_what_the_base_says_of_their_kind(tmp_path, without_weights, own):
    run = {"dataset": {"root": "data"}, "output": str(tmp_path / "out"), "detector": own}
    run |= {"weights": {"blip2": "blip2", "smm": "smm"}}
    (tmp_path / "run.yaml").write_text(yaml.safe_dump(run))
    plan = plan_ablation(TABLES / "table4.yaml", base=tmp_path / "run.yaml")
    detectors = {planned.variation.name: planned.config.detector for planned in members(plan)}
    for name in ("yolo", "yolo-unexpanded"):
        yolo = detectors[name].yolo
        assert (detectors[name].kind, Path(yolo.weights).name, yolo.image_size) == ("yolo", "mine", 1280)
        assert detectors[name].min_confidence == own.get("min_confidence")
    for name in ("vlm", "vlm-unexpanded", "rm-5", "rm-9"):
        vlm = detectors[name].vlm
        assert (detectors[name].kind, Path(vlm.model).name) == ("vlm", "vlm")
        assert vlm.max_objects == own.get("vlm", {}).get("max_objects", 50)
    for pixels in (60, 224, 320):
        windows = detectors[f"windows-{pixels}"]
        assert (windows.kind, windows.window_pixels, windows.window_step_pixels) == ("sliding_window", pixels, None)
        assert windows.min_confidence is None


def test_table_4_compares_windows_with_data_sets_of_their_size():
    rows = yaml.safe_load((TABLES / "table4.yaml").read_text())["variations"]
    compared = {
        name: int(row["name"][8:]) for row in rows if row["name"].startswith("windows") for name in row["published"]
    }
    assert compared == {"ped2": 60, "shanghaitech": 224, "nwpu_campus": 224, "avenue": 320, "ubnormal": 320}


@pytest.mark.parametrize(
    ("rows", "base", "only", "message"),
    [
        ([], {}, None, "ablation.yaml: variations: "),
        ([variation("a"), variation("A")], {}, None, "there are two variations 'a'"),
        ([variation("a/b")], {}, None, "variations.0.name"),
        ([variation("a", score__modle="knn")], {}, None, "ablation.yaml: a: unknown key 'score.modle'"),
        ([variation("a", seed__x=1)], {"seed": 1}, None, "ablation.yaml: a: seed holds a value, not keys"),
        ([variation("a")], {"output": None}, None, "the base needs an output"),
        ([variation("a")], {"variation": "x"}, None, "variation is set by the ablation"),
        ([variation("a", output="x")], {}, None, "ablation.yaml: a: output cannot be set"),
        ([variation("a")], {}, ["b", "a"], "--only b: .* has a"),
    ],
)
def test_a_users_mistakes(tmp_path, rows, base, only, message):
    with pytest.raises(UserError, match=message):
        plan_ablation(write(tmp_path, rows, **base), only=only)


@pytest.mark.parametrize("table", ["table3", "table4", "table5"])
def test_the_tables_of_the_paper_are_complete(table):
    document = yaml.safe_load((TABLES / f"{table}.yaml").read_text())
    assert len(document["variations"]) == {"table3": 10, "table4": 9, "table5": 7}[table]
    # Each is a config that is right but for its weights, which it says how to make.
    with pytest.raises(UserError, match="nothing was done") as error:
        plan_ablation(TABLES / f"{table}.yaml")
    assert "unknown key" not in str(error.value)
    for row in document["variations"]:
        if any(key.startswith("weights.") for key in row.get("set", {})):
            assert "raypipe pretrain smm" in row["needs"]


DATASETS = ("shanghaitech", "avenue", "ubnormal", "ped2", "nwpu_campus")
# The rows of Table 4 as the paper names them; its windows are three rows here.
NAMES_TABLE_4 = {
    "Ours with VLM based detector": "vlm",
    "Ours with VLM based detector (w/o box expansion)": "vlm-unexpanded",
    "Ours with Yolo detector Wang et al. (2023)": "yolo",
    "Ours with Yolo detector (w/o box expansion)": "yolo-unexpanded",
    "Sliding windows": "windows",
    "Ours with VLM based detector, RM with 5 layers": "rm-5",
    "Ours with VLM based detector, RM with 9 layers": "rm-9",
}


@pytest.mark.parametrize("table", ["table3", "table4", "table5"])
def test_published_figures_are_those_of_the_papers_text(shared, table):
    (paper,) = (shared / "paper").glob("*.txt")
    text = paper.read_text().split(f"\nTable {table[-1]}: ")[1]
    head, *rows = (line.split("\t") for line in text.split("\n\n")[1].splitlines())
    assert head[-4:] == ["ST", "Ave", "UB", "Ped2"] or head[-5:] == ["ST", "Ave", "UB", "Ped2", "NWPU"]
    first = head.index("ST")
    printed = {}
    for name, *figures in ([row[0], *row[first:]] for row in rows):
        # Macro and micro, where there are both.
        micro = [float(figure.split("/")[-1]) for figure in figures]
        printed[NAMES_TABLE_4[name] if table == "table4" else f"setting-{name}"] = dict(
            zip(DATASETS, micro, strict=False)
        )
    ours = {}
    for row in yaml.safe_load((TABLES / f"{table}.yaml").read_text())["variations"]:
        name = "windows" if row["name"].startswith("windows-") else row["name"]
        known = ours.setdefault(name, {})
        assert known.keys().isdisjoint(row["published"])
        known |= row["published"]
    assert ours == printed


def trainings(table):
    """The trainings that make the weights of each row: {row: {job: its config}}."""
    load = {"train_blip2": load_blip2_config, "train_smm": load_smm_config}
    found = {}
    for row in yaml.safe_load((TABLES / f"{table}.yaml").read_text())["variations"]:
        commands = re.findall(r"--config (jobs/(train_\w+)\.yaml)((?: --set [^\s,]+)*)", row.get("needs", ""))
        found[row["name"]] = (
            row.get("set", {}),
            {job: load[job](REPOSITORY / path, options.split(" --set ")[1:]) for path, job, options in commands},
        )
    return found


@pytest.mark.parametrize("table", ["table3", "table5"])
def test_what_a_row_needs_is_made_where_it_looks_for_it(table):
    for name, (keys, made) in trainings(table).items():
        for key, job, part in (("weights.blip2", "train_blip2", "blip2"), ("weights.smm", "train_smm", "smm")):
            if key in keys:
                assert Path(keys[key]).absolute() == Path(made[job].output) / part, name
        if "weights.blip2" in keys:
            assert made["train_smm"].model.blip2 == str(Path(keys["weights.blip2"]).absolute()), name


def test_the_trainings_of_table_5_are_on_the_data_that_their_rows_say():
    rows = trainings("table5")
    blip2 = {name: made["train_blip2"] for name, (_, made) in rows.items() if "train_blip2" in made}
    coco = load_smm_config(REPOSITORY / "jobs/train_smm.yaml").data
    assert {
        name: "coco" if config.data.annotations == coco.annotations else "crops" for name, config in blip2.items()
    } == {
        "setting-2": "crops",
        "setting-3": "coco",
        "setting-4": "coco",
        "setting-5": "coco",
        "setting-6": "coco",
    }
    assert {config.data.images for name, config in blip2.items() if name != "setting-2"} == {coco.images}
    assert [config.model.structure for config in blip2.values()] == [None, "str2", "str3", None, None]
    assert [config.model.num_query for config in blip2.values()] == [None, None, None, 64, 128]
    # Only the first has labels.
    labels = {name: made["train_smm"].targets.labels for name, (_, made) in rows.items()}
    assert [name for name, label in labels.items() if label] == ["setting-1"]
    titles = {row["name"]: row["title"] for row in yaml.safe_load((TABLES / "table5.yaml").read_text())["variations"]}
    assert [name for name, title in titles.items() if "trained on COCO" in title] == [
        f"setting-{n}" for n in (3, 4, 5, 6)
    ]
