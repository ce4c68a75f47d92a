"""Who may import whom: the layers of the design, walked through the source."""

import ast
import re
import subprocess
import sys
from pathlib import Path

import pytest

PACKAGE = Path(__file__).parents[1] / "raypipe"

# Lower layers first; a module may import from its own layer and those below. What is not named here is on top.
LAYERS = [
    {"raypipe", "errors", "embedded", "schema", "ops"},
    {
        "config_file",
        "credentials",
        "models",
        "video",
        "datasets",
        "storage",
        "run_record",
        "tracking_server",
        "experiment",
        "features",
        "score_files",
        "score_tables",
        "published",
        "versions",
        "progress",
        "meter",
        "drivers",
        "background_metrics",
        "timings",
        "charts",
        "benchmarks",
    },
    {
        "stages",
        "alarms",
        "breakdown",
        "evaluate",
        "results",
        "results_page",
        "training_data",
        "training_images",
        "training_pairs",
        "plots",
        "world",
    },
    {
        "config",
        "cluster",
        "catalog",
        "model_folders",
        "pools",
        "ray_metrics",
        "execution_watch",
        "sharing",
        "pipeline",
        "run_steps",
        "train",
        "train_group",
        "train_worker",
        "trainer",
        "score",
        "findings",
        "pictures",
        "overlay",
    },
    {"report_videos"},
    {"report", "render"},
    {"report_video_page"},
    {
        "workflow",
        "evaluate_files",
        "evaluate_cli",
        "ablation",
        "ablate",
        "export",
        "plan",
        "demo",
        "weights",
        "weights_yolo",
        "weights_fetch",
        "weights_verify",
        "weights_cli",
        "datasets_cli",
        "status",
        "status_cli",
        "train_itam",
        "train_itam_worker",
        "train_smm",
        "train_smm_worker",
        "smm_training_data",
        "label_vqa",
        "report_page",
        "report_cli",
    },
    {"cli"},
]
KNOW_RAY = {
    "cluster",
    "demo",
    "execution_watch",
    "label_vqa",
    "pipeline",
    "plan",
    "ray_metrics",
    "score",
    "train",
    "train_group",
    "train_itam_worker",
    "train_smm_worker",
    "train_worker",
    "trainer",
}
OPS_MAY_IMPORT = {"numpy", "scipy"}
HEAVY = ("numpy", "pyarrow", "torch", "ray", "mlflow", "av", "sklearn", "scipy", "pandas", "matplotlib")


def imports(path):
    """Return the full names of all modules that a file imports, wherever the import stands."""
    names = set()
    for node in ast.walk(ast.parse(path.read_text())):
        if isinstance(node, ast.Import):
            names |= {alias.name for alias in node.names}
        elif isinstance(node, ast.ImportFrom):
            assert node.level == 0, f"{path}: relative import"
            names |= {node.module} | {f"{node.module}.{alias.name}" for alias in node.names}
    return names


def imports_when_loaded(path):
    """Return the modules of raypipe that a file imports when it is loaded itself, not in a function or for types."""
    tree = ast.parse(path.read_text())
    return {
        node.module
        for node in tree.body
        if isinstance(node, ast.ImportFrom) and node.module and node.module.startswith("raypipe")
    }


FILES = sorted(path for path in PACKAGE.rglob("*.py"))


def part(name):
    """Return the first name below the package, as "ops" of raypipe.ops.boxes; "raypipe" for the package itself."""
    pieces = name.split(".")
    return pieces[1] if len(pieces) > 1 else pieces[0]


def module_of(path):
    return "raypipe." + ".".join(path.relative_to(PACKAGE).with_suffix("").parts).removesuffix(".__init__")


def rank(name):
    ranks = [number for number, layer in enumerate(LAYERS) if part(name) in layer]
    return ranks[0] if ranks else len(LAYERS) - 1


@pytest.mark.parametrize("path", FILES, ids=lambda path: str(path.relative_to(PACKAGE)))
def test_imports_go_down(path):
    own = module_of(path) if path != PACKAGE / "__init__.py" else "raypipe"
    above = [name for name in imports_when_loaded(path) if rank(name) > rank(own)]
    assert not above, f"{own} imports {above}, which lies above it"


@pytest.mark.parametrize("path", FILES, ids=lambda path: str(path.relative_to(PACKAGE)))
def test_who_knows_what(path):
    own = part(module_of(path))
    tops = {name.split(".")[0] for name in imports(path)}
    assert "ray" not in tops or own in KNOW_RAY
    assert "mlflow" not in tops or own in ("experiment", "tracking_server")
    assert "ultralytics" not in tops or path.name == "quiet_ultralytics.py"
    assert not tops & {"marshal", "shelve", "dill", "cloudpickle"}
    assert not re.search(r"pickle\.(load|Unpickler)|weights_only=False|allow_pickle=True", path.read_text())
    if own == "ops":
        outside = {top for top in tops if top not in sys.stdlib_module_names} - OPS_MAY_IMPORT
        assert outside <= {"raypipe"}
        assert {part(name) for name in imports(path) if name.startswith("raypipe")} <= {"ops", "errors"}
        assert not tops & {"pathlib", "os", "io", "logging"}


def loaded_after(code):
    script = f"{code}\nimport sys\nprint(*sorted({{name.split('.')[0] for name in sys.modules}}))"
    done = subprocess.run([sys.executable, "-c", script], capture_output=True, text=True, check=True)
    return set(done.stdout.split())


@pytest.mark.parametrize(
    ("code", "absent"),
    [
        ("import raypipe", HEAVY),
        ("import raypipe.cli; raypipe.cli.build_parser()", HEAVY),
        ("import raypipe.config", ("torch", "ray", "mlflow", "sklearn", "matplotlib")),
        (
            "import raypipe.report_page, raypipe.render, raypipe.status",
            ("torch", "ray", "mlflow", "sklearn", "matplotlib"),
        ),
    ],
)
def test_importing_is_light(code, absent):
    assert not loaded_after(code) & set(absent)
