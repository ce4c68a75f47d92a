"""The rooms of the package: who may import whom, which room knows which library, and how large things may grow.

All imports count: those in functions and those under TYPE_CHECKING too.
"""

import ast
import re
import subprocess
import sys
from pathlib import Path

import pytest

ROOT = Path(__file__).parents[1]
PACKAGE = ROOT / "raypipe"

# A room is a folder, or a module at the package's root. It imports from the floors below its own, and from itself.
FLOORS = [
    {"raypipe", "errors", "credentials", "ops", "config.base"},
    {"text"},
    {"language", "models", "schema", "video"},
    {"models.blip2"},
    {"models.detection", "models.state_machine", "run_folder", "world"},
    {"monitoring"},
    {"datasets"},
    {"config"},
    {"stages", "tracking", "weights"},
    {"distributed", "pipeline"},
    {"extraction"},
    {"anomaly_model", "evaluation"},
    {"export", "report", "workflow"},
    {"ablation", "api", "demo", "pretraining"},
    {"cli"},
    {"__main__"},
]
FLOOR_OF = {room: number for number, rooms in enumerate(FLOORS) for room in rooms}
# Folders of files, without code.
FOLDERS_WITHOUT_CODE = {"assets"}

KNOW_RAY = {"anomaly_model", "demo", "distributed", "extraction", "monitoring", "pretraining"}
KNOW_MLFLOW = {"tracking"}
KNOW_ULTRALYTICS = {"raypipe.models.detection.quiet_ultralytics"}
OPS_MAY_IMPORT = {"numpy", "scipy"}
HEAVY = ("numpy", "pyarrow", "torch", "ray", "mlflow", "av", "sklearn", "scipy", "pandas", "matplotlib")

MAX_ROOT_MODULES, MAX_ROOMS = 10, 35
MAX_MODULE_LINES, MAX_FUNCTION_LINES = 400, 60


def name_of(path, root=ROOT):
    return ".".join(path.relative_to(root).with_suffix("").parts).removesuffix(".__init__")


MODULES = {name_of(path): path for path in sorted(PACKAGE.rglob("*.py"))}
TREES = {name: ast.parse(path.read_text()) for name, path in MODULES.items()}
JOBS = {name_of(path): path for path in sorted((ROOT / "jobs").rglob("*.py"))}


def room_of(module):
    """Return the room of a module: its folder below the package or, at the root, its own name."""
    path, parts = MODULES[module], module.split(".")[1:]
    if path.name == "__init__.py":
        return ".".join(parts) or "raypipe"
    return ".".join(parts[:-1]) or parts[0]


def imported(tree, modules):
    """Return the names of all modules that a tree imports, wherever the import stands; of ours the very module."""
    names = set()
    for node in ast.walk(tree):
        if isinstance(node, ast.Import):
            names |= {alias.name for alias in node.names}
        elif isinstance(node, ast.ImportFrom):
            assert node.level == 0, "a relative import"
            full = {f"{node.module}.{alias.name}" for alias in node.names}
            names |= {name if name in modules else node.module for name in full}
    return names


IMPORTS = {name: imported(tree, MODULES) for name, tree in TREES.items()}
EDGES = {name: {other for other in names if other in MODULES and other != name} for name, names in IMPORTS.items()}


def circles(edges):
    """Return the sets of nodes of which each is reached from each other (Tarjan's components of more than one)."""
    index, low, stack, found = {}, {}, [], []

    def visit(node):
        index[node] = low[node] = len(index)
        stack.append(node)
        for other in edges[node]:
            if other not in index:
                visit(other)
                low[node] = min(low[node], low[other])
            elif other in stack:
                low[node] = min(low[node], index[other])
        if low[node] == index[node]:
            position = stack.index(node)
            if len(stack) - position > 1:
                found.append(sorted(stack[position:]))
            del stack[position:]

    for node in edges:
        if node not in index:
            visit(node)
    return found


def room_edges():
    edges = {room_of(module): set() for module in MODULES}
    for module, others in EDGES.items():
        # The package itself is only its name and version, and it is imported before anything in it.
        edges[room_of(module)] |= {room_of(other) for other in others} - {room_of(module), "raypipe"}
    return edges


@pytest.mark.parametrize(
    ("edges", "expected"),
    [
        ({"a": {"b"}, "b": {"c"}, "c": set()}, []),
        ({"a": {"b"}, "b": {"c"}, "c": {"a"}, "d": {"a"}}, [["a", "b", "c"]]),
        ({"a": {"b"}, "b": {"a"}, "c": {"d", "a"}, "d": {"c"}}, [["a", "b"], ["c", "d"]]),
    ],
)
def test_circles_are_found(edges, expected):
    assert sorted(circles(edges)) == expected


def test_lazy_and_typed_imports_count():
    tree = ast.parse(
        "from typing import TYPE_CHECKING\n"
        "if TYPE_CHECKING:\n    from raypipe.cli import main\n"
        "def f():\n    import raypipe.text\n"
    )
    assert imported(tree, MODULES) == {"typing", "raypipe.cli.main", "raypipe.text"}


def test_there_is_no_circle():
    assert circles(EDGES) == []
    assert circles(room_edges()) == []


def test_every_room_is_listed_and_there():
    rooms = {room_of(module) for module in MODULES}
    assert rooms == set(FLOOR_OF)
    folders = {path.name for path in PACKAGE.iterdir() if path.is_dir() and path.name != "__pycache__"}
    assert folders - FOLDERS_WITHOUT_CODE == {
        room.split(".")[0] for room in rooms if (PACKAGE / room.split(".")[0]).is_dir()
    }


@pytest.mark.parametrize("module", MODULES)
def test_imports_go_down(module):
    own = FLOOR_OF[room_of(module)]
    above = [
        other
        for other in EDGES[module]
        if room_of(other) not in (room_of(module), "raypipe") and FLOOR_OF[room_of(other)] >= own
    ]
    assert not above, f"{module} imports {above}, which is no floor below it"


@pytest.mark.parametrize("module", MODULES)
def test_who_knows_what(module):
    room = room_of(module)
    tops = {name.split(".")[0] for name in IMPORTS[module]}
    assert "ray" not in tops or room in KNOW_RAY
    assert "mlflow" not in tops or room in KNOW_MLFLOW
    assert "ultralytics" not in tops or module in KNOW_ULTRALYTICS
    assert not tops & {"marshal", "shelve", "dill", "cloudpickle", "jobs", "tests"}
    text = MODULES[module].read_text()
    assert not re.search(r"pickle\.(load|Unpickler)|weights_only=False|allow_pickle=True", text)
    if room == "ops":
        outside = {top for top in tops if top not in sys.stdlib_module_names} - OPS_MAY_IMPORT
        assert outside <= {"raypipe"}
        assert {room_of(other) for other in EDGES[module]} <= {"ops", "errors"}
        assert not tops & {"pathlib", "os", "io", "logging"}


def test_sizes(capsys):
    root_modules = [path.stem for path in PACKAGE.glob("*.py")]
    rooms = {room_of(module) for module, path in MODULES.items() if path.name != "__init__.py"}
    sizes = {name: len(path.read_text().splitlines()) for name, path in (MODULES | JOBS).items()}
    functions = {
        f"{name}.{node.name}": node.end_lineno - node.lineno + 1
        for name, path in (MODULES | JOBS).items()
        for node in ast.walk(ast.parse(path.read_text()))
        if isinstance(node, ast.FunctionDef | ast.AsyncFunctionDef)
    }
    arrows = sum(len(others) for others in room_edges().values())
    with capsys.disabled():
        print(
            f"\nrooms {len(rooms)}, floors {len(FLOORS)}, arrows between rooms {arrows}, root modules "
            f"{len(root_modules)}, longest module {max(sizes.values())} lines, longest function "
            f"{max(functions.values())}"
        )
    assert len(root_modules) <= MAX_ROOT_MODULES, root_modules
    assert len(rooms) <= MAX_ROOMS, rooms
    assert {name: size for name, size in sizes.items() if size > MAX_MODULE_LINES} == {}
    assert {name: size for name, size in functions.items() if size > MAX_FUNCTION_LINES} == {}


def loaded_after(code):
    script = f"{code}\nimport sys\nprint(*sorted({{name.split('.')[0] for name in sys.modules}}))"
    done = subprocess.run([sys.executable, "-c", script], capture_output=True, text=True, check=True)
    return set(done.stdout.split())


@pytest.mark.parametrize(
    ("code", "absent"),
    [
        ("import raypipe; dir(raypipe); raypipe.UserError", HEAVY),
        ("from raypipe.cli.main import build_parser; build_parser()", HEAVY),
        ("import raypipe.config.run", ("torch", "ray", "mlflow", "sklearn", "matplotlib")),
        (
            "import raypipe.report.page, raypipe.report.render, raypipe.extraction.status",
            ("torch", "ray", "mlflow", "sklearn", "matplotlib"),
        ),
    ],
)
def test_importing_is_light(code, absent):
    assert not loaded_after(code) & set(absent)
