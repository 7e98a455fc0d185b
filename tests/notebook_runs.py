"""Runs a notebook as a person would, from top to bottom, and reads what its cells show."""

from collections.abc import Mapping
from pathlib import Path
from typing import Any

import nbformat
from nbclient import NotebookClient

NOTEBOOKS = Path(__file__).parents[1] / "notebooks"
CELL_TIMEOUT_S = 120


def read(path: Path) -> Any:
    return nbformat.read(path, as_version=4)  # type: ignore[no-untyped-call]  # nbformat has no types


def executed(name: str, environment: Mapping[str, str]) -> Any:
    """The notebook with its outputs; a cell that fails fails here."""
    notebook = read(NOTEBOOKS / f"{name}.ipynb")
    NotebookClient(
        notebook,
        timeout=CELL_TIMEOUT_S,
        kernel_name="python3",
        resources={"metadata": {"path": str(NOTEBOOKS)}},
    ).execute(env=dict(environment))
    outputs = [output for cell in notebook.cells for output in cell.get("outputs", ())]
    assert outputs
    assert [output for output in outputs if output.output_type == "error"] == []
    return notebook


def cell(notebook: Any, cell_id: str) -> Any:
    (found,) = (each for each in notebook.cells if each.id == cell_id)
    return found


def printed(notebook: Any, cell_id: str) -> str:
    return "".join(output.get("text", "") for output in cell(notebook, cell_id).outputs)


def is_plotted(notebook: Any, cell_id: str) -> bool:
    return any("image/png" in output.get("data", {}) for output in cell(notebook, cell_id).outputs)
