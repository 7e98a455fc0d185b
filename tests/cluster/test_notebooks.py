"""The notebooks run from top to bottom against a live cluster."""

import os
from pathlib import Path
from typing import Any

import nbformat
import pytest
from nbclient import NotebookClient

NOTEBOOKS = sorted((Path(__file__).parents[2] / "notebooks").glob("*.ipynb"))
CELL_TIMEOUT_S = 120
each_notebook = pytest.mark.parametrize("path", NOTEBOOKS, ids=lambda path: path.stem)


def _read(path: Path) -> Any:
    return nbformat.read(path, as_version=4)  # type: ignore[no-untyped-call]  # nbformat has no types


def _cell(notebook: Any, cell_id: str) -> Any:
    (cell,) = (cell for cell in notebook.cells if cell.id == cell_id)
    return cell


def _printed(notebook: Any, cell_id: str) -> str:
    return "".join(output.get("text", "") for output in _cell(notebook, cell_id).outputs)


def check_first_look(notebook: Any) -> None:
    assert "agent_registered NotebookVisitor" in _printed(notebook, "watch")
    is_plotted = any("image/png" in output.get("data", {}) for output in _cell(notebook, "vram").outputs)
    assert is_plotted or "No machine reports a card." in _printed(notebook, "vram")
    assert "agents at revision" in _printed(notebook, "async")


CHECKS = {"01_first_look": check_first_look}


@each_notebook
def test_a_notebook_runs_and_shows_what_it_promises(path: Path, running_system: Any) -> None:
    notebook = _read(path)
    NotebookClient(
        notebook,
        timeout=CELL_TIMEOUT_S,
        kernel_name="python3",
        resources={"metadata": {"path": str(path.parent)}},
    ).execute(env={**os.environ, **running_system.environment})
    outputs = [output for cell in notebook.cells for output in cell.get("outputs", ())]
    assert outputs
    assert [output for output in outputs if output.output_type == "error"] == []
    CHECKS[path.stem](notebook)


@each_notebook
def test_a_notebook_is_kept_without_outputs(path: Path) -> None:
    cells = [cell for cell in _read(path).cells if cell.cell_type == "code"]
    assert cells
    assert all(cell.outputs == [] and cell.execution_count is None for cell in cells)
