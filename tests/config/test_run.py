import json
import os
from pathlib import Path

import pytest
import yaml
from pydantic import BaseModel

from raypipe.ablation.plan import Ablation
from raypipe.config.file import absolute, digest, validate
from raypipe.config.run import RunConfig, as_claimed, load_config, parse_config
from raypipe.errors import UserError
from raypipe.ops.run_time import Resources
from raypipe.pretraining.blip2_config import load_blip2_config
from raypipe.pretraining.detector import load_detector_config
from raypipe.pretraining.labelling import load_label_config
from raypipe.pretraining.state_machine_config import load_smm_config
from raypipe.run_folder.folder import RunFolder
from raypipe.run_folder.record import require_same_config

JOBS = Path(__file__).parents[2] / "jobs"
BASE = {"dataset": {"root": "/data"}, "output": "/out", "detector": {"boxes_root": "/boxes"}}


def write(tmp_path, document):
    path = tmp_path / "run.yaml"
    path.write_text(document if isinstance(document, str) else yaml.safe_dump(document))
    return path


def test_defaults_are_the_papers():
    config = parse_config(BASE, "here")
    assert (config.train.num_layers, config.train.hidden_size, config.train.epochs) == (7, 512, 10)
    assert (config.train.learning_rate, config.score.model, config.score.weighting) == (1e-3, "rm", "balanced")
    assert (config.segment_bytes, config.warmup_frames, config.layout, config.seed) == (2**27, 16, "fused", 0)
    assert (config.dataset.root, config.detector.kind, config.detector.boxes_root) == ("/data", "boxes", "/boxes")


@pytest.mark.parametrize(
    ("override", "message"),
    [
        # Unknown keys: what was meant, and what there is.
        (
            "dataset.rot=/x",
            "unknown key 'dataset.rot'; did you mean 'dataset.root'? allowed here: abnormal_training, ",
        ),
        (
            "score.knn.num_neighbors=3",
            "unknown key 'score.knn.num_neighbors'; did you mean 'score.knn.num_neighbours'?",
        ),
        ("outptu=/x", "unknown key 'outptu'; did you mean 'output'? allowed here: dataset, decode, "),
        ("zzz=1", "unknown key 'zzz'; allowed here: dataset, "),
        # Beside its section.
        ("epochs=3", "unknown key 'epochs'; did you mean 'train.epochs'? allowed here: dataset, "),
        ("features.min_max=true", "unknown key 'features.min_max'; did you mean 'score.min_max'? allowed here: keep, "),
        (
            "detector.yolo.image_sise=3",
            "unknown key 'detector.yolo.image_sise'; did you mean 'detector.yolo.image_size'?",
        ),
        # Keys of version 0.1 that had one value.
        ("score.gmm.kind=gmm", "score.gmm.kind is gone: it had one value only: remove it"),
        ("score.knn.kind=knn", "score.knn.kind is gone: it had one value only: remove it"),
        # Two sections have such a key, so neither is meant.
        ("motion.kind=iou", "unknown key 'motion.kind'; allowed here: pooling, unit, window_seconds"),
        # Wrong types.
        ("seed=abc", 'seed: "abc" must be a whole number'),
        ("seed=1.5", "seed: 1.5 must be a whole number"),
        ("seed=", "seed: null must be a whole number"),
        ("seed=2020-01-01", 'seed: "2020-01-01" must be a whole number'),
        ("segment_bytes=128MB", 'segment_bytes: "128MB" must be a whole number'),
        ("score.smoothing_seconds=half", 'score.smoothing_seconds: "half" must be a number'),
        ("features.motion=maybe", 'features.motion: "maybe" must be true or false'),
        ("dataset.root=5", "dataset.root: 5 must be text"),
        ("score=3", "score: 3 must be keys with values; allowed here: gmm, knn, min_max, model, "),
        ("detector=", "detector: null must be keys with values; allowed here: boxes_root, kind, "),
        ("score.model.name=rm", "score.model: {\"name\": \"rm\"} must be 'rm', 'knn' or 'gmm'"),
        # Out of range, or not one of the values.
        ("seed=-1", "seed: -1 must be greater than or equal to 0"),
        ("decode.max_side=8", "decode.max_side: 8 must be greater than or equal to 16"),
        ("tracks.min_iou=0", "tracks.min_iou: 0 must be greater than 0"),
        ("tracks.min_iou=1.1", "tracks.min_iou: 1.1 must be less than or equal to 1"),
        ("train.learning_rate=.inf", "train.learning_rate: Infinity must be a finite number"),
        ("train.learning_rate=.nan", "train.learning_rate: NaN must be a finite number"),
        ("score.smoothing_seconds=.inf", "score.smoothing_seconds: Infinity must be a finite number"),
        ("detector.min_side_pixels=.inf", "detector.min_side_pixels: Infinity must be a finite number"),
        ("motion.window_seconds=.inf", "motion.window_seconds: Infinity must be a finite number"),
        ("dataset.frames_fps=.inf", "dataset.frames_fps: Infinity must be a finite number"),
        ("score.model=svm", "score.model: \"svm\" must be 'rm', 'knn' or 'gmm'"),
        ("layout=fusd", "layout: \"fusd\" must be 'fused' or 'staged'"),
        ("output='  '", "output: is empty"),
        ("dataset.root=''", 'dataset.root: "" must have at least 1 character'),
        # Values that do not go together.
        (
            "dataset.abnormal_training=true",
            "dataset: abnormal_training is for ucf_crime, xd_violence, ubnormal; folder has no such videos",
        ),
        ("detector.boxes_root=", "detector: boxes_root is needed where kind is 'boxes'"),
        ("features.motion=false", "features: spatial is none and motion is false: nothing is left"),
        ("warmup_frames=5", "warmup_frames (5) must exceed tracks.max_gap_frames (5)"),
    ],
)
def test_a_mistake_is_one_line_that_names_file_key_and_what_is_allowed(tmp_path, override, message):
    path = write(tmp_path, BASE)
    with pytest.raises(UserError) as caught:
        load_config(path, [override])
    assert str(caught.value).startswith(f"{path}: {message}")
    assert len(str(caught.value).splitlines()) == 1


@pytest.mark.parametrize(
    ("document", "message"),
    [
        (BASE | {"outptu": "/x"}, "unknown key 'outptu'; did you mean 'output'? allowed here: dataset, "),
        (BASE | {"dataset": {"rot": "/x", "root": "/y"}}, "unknown key 'dataset.rot'; did you mean 'dataset.root'?"),
        (
            BASE | {"score": {"knn": {"num_neighbors": 3}}},
            "unknown key 'score.knn.num_neighbors'; did you mean 'score.",
        ),
        (BASE | {"stride": 2}, "unknown key 'stride'; did you mean 'decode.stride'?"),
        (BASE | {3: 4}, "unknown key '3'; allowed here: dataset, "),
        (BASE | {"output": Path("/x")}, 'output: "/x" must be text'),
        (BASE | {"dataset": "/x"}, 'dataset: "/x" must be keys with values; allowed here: abnormal_training, '),
        ([1], "the config: [1] must be keys with values; allowed here: dataset, "),
    ],
)
def test_a_mistake_in_a_dict_is_told_in_the_same_words(document, message):
    with pytest.raises(UserError) as caught:
        parse_config(document, "config")
    assert str(caught.value).startswith(f"config: {message}")
    assert len(str(caught.value).splitlines()) == 1


@pytest.mark.parametrize(
    ("load", "recipe", "override", "message"),
    [
        # A section that may be left out, and one in a list.
        (
            load_blip2_config,
            "world/blip2.yaml",
            "model.vit.depht=3",
            r"'model\.vit\.depht'; did you mean 'model\.vit\.depth'",
        ),
        (load_blip2_config, "world/blip2.yaml", "model.vit.zzz=3", r"'model\.vit\.zzz'; allowed here: depth, heads, "),
        (load_smm_config, "train_smm.yaml", "model.oder=3", r"'model\.oder'; did you mean 'model\.order'"),
    ],
)
def test_unknown_keys_of_other_configs(load, recipe, override, message):
    with pytest.raises(UserError, match=f"unknown key {message}"):
        load(JOBS / recipe, [override])


def test_an_unknown_key_in_a_list_names_its_place():
    document = {"base": {}, "variations": [{"name": "a"}, {"name": "b", "titel": "B"}]}
    with pytest.raises(UserError) as caught:
        validate(Ablation, document, "a.yaml")
    expected = (
        "unknown key 'variations.1.titel'; did you mean 'variations.1.title'? allowed here: name, needs, published, "
    )
    assert str(caught.value) == f"a.yaml: {expected}set, title"


def test_every_mistake_has_its_line(tmp_path):
    path = write(tmp_path, {"output": "/out", "detector": {"kind": "yolov8"}, "seed": -1, 1: 2})
    with pytest.raises(UserError) as caught:
        load_config(path)
    lines = sorted(line.removeprefix(f"{path}: ") for line in str(caught.value).splitlines())
    assert [line.split(";")[0] for line in lines] == [
        "dataset is missing",
        "detector.kind: \"yolov8\" must be 'boxes', 'sliding_window', 'yolo' or 'vlm'",
        "seed: -1 must be greater than or equal to 0",
        "unknown key '1'",
    ]


@pytest.mark.parametrize(
    ("overrides", "flat"),
    [
        (["score.model=knn"], {"score.model": "knn"}),
        (["score.knn.num_neighbours=3"], {"score.knn.num_neighbours": 3}),  # two levels that the file lacks
        ([" seed = 4"], {"seed": 4}),
        (["segment_bytes=null"], {"segment_bytes": None}),
        (["features={spatial: none, motion: true}"], {"features.motion": True}),
        (["seed=1", "seed=2"], {"seed": 2}),  # the last one counts
        (["train.learning_rate=1e-4"], {"train.learning_rate": 1e-4}),  # text to YAML 1.1, a number to us
        (["tracking.uri=http://host/?a=b"], {"tracking.uri": "http://host/?a=b"}),  # only the first = divides
        (["warmup_frames=0", "segment_bytes=null"], {"warmup_frames": 0}),  # no border, no warm-up
        (["detector.kind=sliding_window", "detector.boxes_root=null"], {"detector.boxes_root": None}),
    ],
)
def test_overrides(tmp_path, overrides, flat):
    found = load_config(write(tmp_path, BASE), overrides).flat()
    assert {key: found[key] for key in flat} == flat


@pytest.mark.parametrize(
    ("override", "message"),
    [
        ("seed", "--set seed: expected key=value"),
        ("=5", "--set =5: expected key=value"),
        ("score.=5", "--set score.=5: expected key=value"),
        ("score..model=rm", "--set score..model=rm: expected key=value"),
        ("seed=[1", "--set seed=[1: '[1' is not a YAML value"),
        ("output.folder=/x", "--set output.folder=/x: output holds a value, not keys"),
    ],
)
def test_overrides_that_are_none(tmp_path, override, message):
    with pytest.raises(UserError) as caught:
        load_config(write(tmp_path, BASE), [override])
    assert str(caught.value).startswith(message)


@pytest.mark.parametrize(
    ("content", "message"),
    [
        (b"", "holds no keys; see `raypipe run --example`"),
        (b"- 1\n- 2\n", "holds no keys"),
        (b"a: [", "is not YAML: .* line 1, column 5"),
        (b"a: !!python/object:os.system x", "is not YAML: could not determine a constructor"),
        (b"\xff\xfe\x80", "is not text"),
    ],
)
def test_files_that_are_no_config(tmp_path, content, message):
    path = tmp_path / "run.yaml"
    path.write_bytes(content)
    with pytest.raises(UserError, match=message) as caught:
        load_config(path)
    assert str(caught.value).startswith(str(path))
    assert "\n" not in str(caught.value)


def test_files_that_cannot_be_read(tmp_path):
    for path, reason in ((tmp_path / "none.yaml", "No such file or directory"), (tmp_path, "Is a directory")):
        with pytest.raises(UserError) as caught:
            load_config(path)
        assert str(caught.value) == f"{path}: {reason}"


def test_paths_are_made_absolute_and_uris_left(tmp_path, monkeypatch):
    monkeypatch.chdir(tmp_path)
    monkeypatch.setenv("DATA", "/mnt/data")
    document = {"dataset": {"root": "$DATA/a"}, "output": "runs/x", "detector": {"boxes_root": "../b"}}
    config = parse_config(document, "here")
    assert config.dataset.root == "/mnt/data/a"
    assert config.output == f"{Path.cwd()}/runs/x"
    assert os.path.normpath(config.detector.boxes_root) == str(Path.cwd().parent / "b")
    assert absolute("s3://bucket/a") == "s3://bucket/a"
    assert absolute("~/a") == str(Path("~/a").expanduser())


@pytest.mark.parametrize(
    "override",
    [
        "dataset.root=/elsewhere",
        "segment_bytes=null",
        "warmup_frames=17",
        "decode.stride=2",
        "detector.min_confidence=0.5",
        "tracks.matching=greedy",
        "motion.window_seconds=0.4",
    ],
)
def test_what_changes_the_features_changes_their_hash(tmp_path, override):
    path = write(tmp_path, BASE)
    assert load_config(path, [override]).feature_hash() != load_config(path).feature_hash()


def test_what_does_not_change_the_features_leaves_their_hash(tmp_path):
    path = write(tmp_path, BASE)
    overrides = ["layout=staged", "score.model=gmm", "train.epochs=1", "ray.actors=3", "seed=7", "output=/elsewhere"]
    overrides += ["evaluate.bootstrap_samples=0", "tracking.enabled=false", "max_attempts=1"]
    config = load_config(path, overrides)
    assert config.feature_hash() == load_config(path).feature_hash()
    # The document that is hashed does not depend on the order or the defaults that were written out.
    assert parse_config(config.model_dump(), "again").feature_hash() == config.feature_hash()
    assert digest({"a": 1, "b": 2}) == digest({"b": 2, "a": 1})


def test_flat_keys_are_dotted():
    config = parse_config(BASE, "here")
    assert config.flat(["tracks"]) == {
        "tracks.kind": "iou",
        "tracks.matching": "hungarian",
        "tracks.min_iou": 0.3,
        "tracks.high_confidence": 0.25,
        "tracks.low_confidence": 0.1,
        "tracks.max_gap_frames": 5,
    }
    assert {key.partition(".")[0] for key in config.flat()} == set(type(config).model_fields)


# Recipes of the jobs that train the models behind the features; others are of runs.
LOADERS = {
    "train_blip2.yaml": load_blip2_config,
    "train_smm.yaml": load_smm_config,
    "label_vqa.yaml": load_label_config,
    "world/blip2.yaml": load_blip2_config,
    "world/smm.yaml": load_smm_config,
    "world/detector.yaml": load_detector_config,
    "demo_ablation.yaml": lambda path: Ablation.model_validate(yaml.safe_load(path.read_text())),
}
RECIPES = sorted(str(path.relative_to(JOBS)) for folder in (JOBS, JOBS / "world") for path in folder.glob("*.yaml"))


@pytest.mark.parametrize("name", RECIPES)
def test_recipes_are_valid(name):
    LOADERS.get(name, load_config)(JOBS / name)


@pytest.mark.parametrize(
    ("override", "message"),
    [
        ("seed=true", "seed: true must be"),
        ('seed="3"', 'seed: "3" must be'),
        ("features.motion=no way", 'features.motion: "no way" must be'),
        ("output=5", "output: 5 must be"),
    ],
)
def test_a_value_of_another_type_is_no_value(tmp_path, override, message):
    path = tmp_path / "run.yaml"
    path.write_text("dataset: {root: data}\noutput: out\ndetector: {boxes_root: boxes}\n")
    with pytest.raises(UserError, match=message):
        load_config(path, [override])


def test_a_key_that_is_there_twice_is_refused(tmp_path):
    path = tmp_path / "run.yaml"
    path.write_text("score: {model: knn}\noutput: out\nscore: {min_max: true}\n")
    with pytest.raises(UserError, match=r"run.yaml is not YAML: 'score' appears twice"):
        load_config(path)


SPATIAL = {"features": {"spatial": "cross"}, "weights": {"blip2": "w/blip2", "smm": "w/smm"}}


def spatial(**changes):
    return parse_config({"dataset": {"root": "d"}, "output": "o", "detector": BOXES} | SPATIAL | changes, "c.yaml")


BOXES = {"kind": "boxes", "boxes_root": "b"}


@pytest.mark.parametrize(
    ("changes", "message"),
    [
        ({"weights": {}}, r"weights\.blip2 is needed for the features cross"),
        (
            {"weights": {"blip2": "w"}},
            r"weights\.smm is needed to carry sentences; set it, or set sentence\.memory to off",
        ),
        ({"score": {"model": "gmm"}}, r"score\.model gmm is for motion features only"),
        ({"features": {"spatial": "look"}}, r"features\.spatial: \"look\" must be"),
        ({"features": {"keep": ["look"]}}, r"features\.keep\.0: \"look\" must be"),
        ({"sentence": {"min_length": 50}}, r"min_length 50 exceeds max_length 30"),
        ({"encode": {"weights": "w"}}, r"unknown key 'encode\.weights'"),
    ],
)
def test_spatial_features_need_their_weights(changes, message):
    with pytest.raises(UserError, match=message):
        spatial(**changes)


@pytest.mark.parametrize(
    ("features", "columns", "extracted", "speaks"),
    [
        ({"spatial": "none"}, ("motion",), ("motion",), False),
        ({"spatial": "cross"}, ("cross", "motion"), ("motion", "cross"), True),
        ({"spatial": "image", "motion": False}, ("image",), ("image",), False),
        ({"keep": ["cross", "backbone"]}, ("motion",), ("motion", "backbone", "cross"), True),
        ({"spatial": "text", "motion": False, "keep": ["motion"]}, ("text",), ("motion", "text"), True),
    ],
)
def test_what_is_extracted_and_what_the_model_is_given(features, columns, extracted, speaks):
    config = spatial(features=features)
    assert (config.features.columns, config.features.extracted) == (columns, extracted)
    assert config.needs_sentences == speaks


def test_one_extraction_serves_all_models_on_what_it_keeps():
    keep = ["motion", "image", "cross"]
    same = [
        spatial(features={"spatial": "cross", "keep": keep}),
        spatial(features={"spatial": "image", "keep": keep}),
        spatial(features={"spatial": "image", "motion": False, "keep": [*keep[::-1]]}),
        spatial(features={"keep": keep}, encode={"device": "cpu", "microbatch_bytes": 1, "compile": True}),
        spatial(features={"keep": keep}, weights={"blip2": "elsewhere", "smm": "w/smm"}),
    ]
    assert len({config.feature_hash() for config in same}) == 1
    other = [
        spatial(),
        spatial(features={"spatial": "image"}),
        spatial(features={"keep": keep}, sentence={"memory": "append"}),
        spatial(features={"keep": keep}, encode={"precision": "bf16"}),
    ]
    assert len({config.feature_hash() for config in [*same, *other]}) == 5


def test_windows_are_not_widened_unless_it_is_asked_for():
    windows = {"kind": "sliding_window"}
    assert spatial().encode_resolved().box_expansion is None
    assert spatial(detector=windows).encode_resolved().box_expansion == 0
    assert spatial(detector=windows, encode={"box_expansion": 0.25}).encode_resolved().box_expansion == 0.25


def test_weights_are_absolute():
    assert spatial().weights.blip2 == absolute("w/blip2")


def test_features_depend_on_the_frame_rate_itself_and_not_on_which_videos_are_listed():
    def keys(**dataset):
        return parse_config(BASE | {"dataset": {"root": "/data", **dataset}}, "here").flat_features()

    plain = keys()
    assert plain["dataset.frames_fps"] == 25.0
    assert keys(frames_fps=25.0) == plain
    assert keys(frames_fps=30.0) != plain
    assert keys(name="xd_violence")["dataset.frames_fps"] == 24.0
    assert keys(name="xd_violence", abnormal_training=True) == keys(name="xd_violence")


@pytest.mark.parametrize(
    ("override", "message"),
    [
        ("ray.cluster=8 H100", "8 H100' is no cluster; write it as 8xH100,128cpu"),
        ("ray.pools={decode: 0}", "ray.pools.decode"),
    ],
)
def test_clusters_and_pools_are_checked(override, message):
    with pytest.raises(UserError, match=message):
        load_config(JOBS / "ped2_motion.yaml", [override])


def test_a_cluster_that_will_be_there():
    config = load_config(JOBS / "ped2_motion.yaml", ["ray.cluster=8xH100,128cpu"])
    assert config.ray.resources == Resources(128, 8, "H100")
    assert load_config(JOBS / "ped2_motion.yaml").ray.resources is None


def models_of(model, path=""):
    """Yield every config model below one, with its dotted path."""
    yield path, model
    for name, field in model.model_fields.items():
        if isinstance(field.annotation, type) and issubclass(field.annotation, BaseModel):
            yield from models_of(field.annotation, f"{path}.{name}".lstrip("."))


def test_every_key_is_described():
    # The reference of the config is made of these: sections say what they are in their class's docstring.
    models = dict(models_of(RunConfig))
    assert {"", "detector.yolo", "score.knn", "tracking", "ray"} <= set(models)
    for path, model in models.items():
        assert model.__doc__, path
        for name, field in model.model_fields.items():
            is_section = f"{path}.{name}".lstrip(".") in models
            assert is_section or field.description, f"{path}.{name} has no description"


def test_what_null_means_is_said_where_it_is_the_default():
    needed_elsewhere = {"boxes_root", "model", "weights", "blip2", "smm"}
    for path, model in models_of(RunConfig):
        for name, field in model.model_fields.items():
            if not field.is_required() and field.default is None and name not in needed_elsewhere:
                assert "null" in field.description, f"{path}.{name}"


def unit_in(output, stored, **motion):
    """The unit that a config gets in a folder whose run.json has the given keys of features."""
    output.mkdir(exist_ok=True)
    (output / "run.json").write_text(json.dumps({"feature_keys": stored}))
    return as_claimed(parse_config(BASE | {"output": str(output), "motion": motion}, "here")).motion.unit


def test_a_folder_keeps_its_unit_of_motion_unless_the_config_names_one(tmp_path):
    fresh = parse_config(BASE | {"output": str(tmp_path)}, "here")
    assert as_claimed(fresh) is fresh
    assert fresh.motion.unit == "second"
    # A folder of 0.1 does not have the key.
    assert unit_in(tmp_path, {"motion.pooling": "area"}) == "source_frame"
    assert unit_in(tmp_path, {"motion.unit": "second"}) == "second"
    assert unit_in(tmp_path, {}, unit="second") == "second"
    assert unit_in(tmp_path, {"motion.unit": "second"}, unit="source_frame") == "source_frame"


def test_a_config_file_goes_on_with_a_folder_of_an_earlier_version(tmp_path):
    config = tmp_path / "c.yaml"
    config.write_text(yaml.safe_dump(BASE | {"output": str(tmp_path / "run")}))
    keys = parse_config(BASE | {"motion": {"unit": "source_frame"}}, "here").flat_features()
    # As version 0.1 wrote it: the same keys and hash as the unit by name gives.
    assert "motion.unit" not in keys
    assert keys["decode.max_side"] is None
    assert digest(keys) == parse_config(BASE | {"motion": {"unit": "source_frame"}}, "here").feature_hash()
    assert load_config(config).flat_features() == keys | {"motion.unit": "second"}
    folder = RunFolder(str(tmp_path / "run"))
    folder.commit_json("run.json", {"feature_keys": keys, "config_hash": digest(keys)})
    assert load_config(config).flat_features() == keys
    require_same_config(folder, load_config(config).flat_features(), load_config(config).feature_hash())
    with pytest.raises(UserError, match=r"another config: motion.unit \(was None, now 'second'\)"):
        require_same_config(folder, keys | {"motion.unit": "second"}, "other")
