"""The notebooks run from top to bottom against a live cluster."""

import os
from pathlib import Path
from typing import Any

import nbformat
import pytest
from nbclient import NotebookClient

NOTEBOOKS = sorted((Path(__file__).parents[2] / "notebooks").glob("*.ipynb"))
CELL_TIMEOUT_S = 120


def _printed(notebook: Any, cell_id: str) -> str:
    (cell,) = (cell for cell in notebook.cells if cell.id == cell_id)
    return "".join(output.get("text", "") for output in cell.outputs)


@pytest.mark.parametrize("path", NOTEBOOKS, ids=lambda path: path.stem)
def test_a_notebook_runs_against_the_cluster(path: Path, running_system: Any) -> None:
    notebook = nbformat.read(path, as_version=4)
    client = NotebookClient(
        notebook, timeout=CELL_TIMEOUT_S, kernel_name="python3", resources={"metadata": {"path": str(path.parent)}}
    )
    client.execute(env={**os.environ, **running_system.environment})
    errors = [output for cell in notebook.cells for output in cell.get("outputs", ()) if output.output_type == "error"]
    assert errors == []


def test_the_first_look_sees_its_own_agent_come_and_the_cards(running_system: Any) -> None:
    path = next(path for path in NOTEBOOKS if path.stem == "01_first_look")
    notebook = nbformat.read(path, as_version=4)
    resources = {"metadata": {"path": str(path.parent)}}
    client = NotebookClient(notebook, timeout=CELL_TIMEOUT_S, kernel_name="python3", resources=resources)
    client.execute(env={**os.environ, **running_system.environment})
    assert "agent_registered NotebookVisitor" in _printed(notebook, "watch")
    (vram,) = (cell for cell in notebook.cells if cell.id == "vram")
    shown = any("image/png" in output.get("data", {}) for output in vram.outputs)
    assert shown or "No machine reports a card." in _printed(notebook, "vram")
    assert "agents at revision" in _printed(notebook, "async")


@pytest.mark.parametrize("path", NOTEBOOKS, ids=lambda path: path.stem)
def test_a_notebook_is_kept_without_outputs(path: Path) -> None:
    cells = [cell for cell in nbformat.read(path, as_version=4).cells if cell.cell_type == "code"]
    assert cells
    assert all(cell.outputs == [] and cell.execution_count is None for cell in cells)
