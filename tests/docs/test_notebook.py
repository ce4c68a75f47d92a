"""The notebook of the docs: committed without outputs, and it does what it says."""

from pathlib import Path

import nbformat
import pytest
from nbclient import NotebookClient

NOTEBOOK = Path(__file__).parents[2] / "docs/notebooks/first_run.ipynb"


def cells_of(notebook):
    return [cell for cell in notebook.cells if cell.cell_type == "code"]


def test_it_is_committed_without_outputs():
    for cell in cells_of(nbformat.read(NOTEBOOK, as_version=4)):
        assert (cell.outputs, cell.execution_count) == ([], None)
        compile(cell.source, str(NOTEBOOK), "exec")


@pytest.mark.slow
def test_it_runs(tmp_path, monkeypatch):
    monkeypatch.setenv("MPLBACKEND", "module://matplotlib_inline.backend_inline")
    notebook = nbformat.read(NOTEBOOK, as_version=4)
    NotebookClient(notebook, timeout=300, resources={"metadata": {"path": str(tmp_path)}}).execute()
    cells = {cell.source.splitlines()[0]: cell for cell in cells_of(notebook)}

    def shown(start, kind):
        (cell,) = [cell for line, cell in cells.items() if line.startswith(start)]
        return ["".join(output.data[kind]) for output in cell.outputs if kind in output.get("data", {})]

    def printed(start):
        (cell,) = [cell for line, cell in cells.items() if line.startswith(start)]
        return "".join(output.text for output in cell.outputs if output.output_type == "stream")

    assert not printed("run = raypipe.run(")
    (text,) = shown("run = raypipe.run(", "text/plain")
    assert "10 videos (2 test, 8 train), micro-AUC" in text
    assert printed("print(run.results)").startswith("micro-AUC: ")
    assert len(printed("for finding in").splitlines()) == 3
    (table,) = shown("columns =", "text/html")
    assert "track_id" in table
    assert [len(shown(start, "image/png")) for start in ("frames =", "labels =", "finding =")] == [1, 1, 1]
    (link,) = shown("run.report()", "text/html")
    assert 'href="first_run/run/report/index.html"' in link
