"""What `import raypipe` gives, and that the stub that editors read says the same."""

import ast
import importlib
import subprocess
import sys
from pathlib import Path

import pytest

import raypipe

ROOT = Path(raypipe.__file__).parents[1]
STUB = ast.parse(Path(raypipe.__file__).with_suffix(".pyi").read_text())


def test_the_stub_is_what_is_there():
    homes = {
        alias.asname: node.module for node in STUB.body if isinstance(node, ast.ImportFrom) for alias in node.names
    }
    assert homes == raypipe._HOMES
    (listed,) = [ast.literal_eval(n.value) for n in STUB.body if isinstance(n, ast.Assign)]
    assert sorted(listed) == sorted(raypipe.__all__)
    assert ast.get_docstring(STUB) == raypipe.__doc__


def test_every_public_name_is_there():
    for name in raypipe.__all__:
        value = getattr(raypipe, name)
        if name != "__version__":
            assert value is getattr(importlib.import_module(raypipe._HOMES[name]), name)
            assert value.__doc__
    assert set(raypipe.__all__) <= set(dir(raypipe))


def test_an_unknown_name_is_no_attribute():
    with pytest.raises(AttributeError, match="module 'raypipe' has no attribute 'runs'"):
        _ = raypipe.runs


def test_types_are_told(tmp_path):
    assert (Path(raypipe.__file__).parent / "py.typed").exists()
    (tmp_path / "script.py").write_text(
        "import raypipe\n"
        "reveal_type(raypipe.open_run('x').findings(2)[0].score)\n"
        "raypipe.evaluate([1], [0], fsp=2)\n"
        "raypipe.runs\n"
    )
    # The config of the package, as installed libraries without types are the same.
    command = [sys.executable, "-m", "mypy", "--config-file", str(ROOT / "pyproject.toml"), str(tmp_path / "script.py")]
    done = subprocess.run(command, capture_output=True, text=True, cwd=ROOT)
    assert 'Revealed type is "float"' in done.stdout, done.stdout + done.stderr
    assert 'Unexpected keyword argument "fsp"' in done.stdout
    assert 'Module has no attribute "runs"' in done.stdout


@pytest.mark.parametrize(
    "code",
    [
        "raypipe.read_video, raypipe.motion_vectors",
        "raypipe.evaluate([0.1, 0.2], [0, 1])",
        "raypipe.run, raypipe.open_run, raypipe.Run",
    ],
)
def test_what_needs_neither_ray_nor_torch_imports_neither(code):
    script = f"import raypipe, sys; {code}; print({{'ray', 'torch', 'mlflow'}} & {{*sys.modules}})"
    done = subprocess.run([sys.executable, "-c", script], capture_output=True, text=True, check=True)
    assert done.stdout == "set()\n"
