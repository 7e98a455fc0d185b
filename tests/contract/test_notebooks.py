"""The notebooks that need no cluster run from top to bottom, and all are kept as a person wants to find them."""

import os
from pathlib import Path

import pytest

from tests.notebook_runs import NOTEBOOKS, executed, is_plotted, printed, read

# Those that are run here, or in tests/cluster/test_notebooks.py.
RUN = {"01_first_look", "02_agents"}
each_notebook = pytest.mark.parametrize("path", sorted(NOTEBOOKS.glob("*.ipynb")), ids=lambda path: path.stem)


def test_two_agents_exchange_mail_and_their_latencies_are_plotted() -> None:
    notebook = executed("02_agents", os.environ)
    answer, misfit, unknown = printed(notebook, "request").splitlines()
    assert answer == "{'is_warm': True}"
    assert misfit.startswith("InvalidInput - ")
    assert unknown.startswith("UnknownAgent - Unknown agent: Statoin")
    assert printed(notebook, "mail") == "HIGH | first NORMAL | second NORMAL | first LOW\n"
    assert printed(notebook, "topic") == "1 subscriber\n0 subscribers\nstorm at the coast\n"
    assert "note: expired" in printed(notebook, "deadline")
    assert printed(notebook, "precious") == "handled at delivery 3\n"
    assert printed(notebook, "traffic").count("p95") == 4
    assert is_plotted(notebook, "plot")
    assert printed(notebook, "close") == "left in the mailboxes: 0\n"


@each_notebook
def test_a_notebook_is_kept_without_outputs(path: Path) -> None:
    cells = [cell for cell in read(path).cells if cell.cell_type == "code"]
    assert cells
    assert all(cell.outputs == [] and cell.execution_count is None for cell in cells)


@each_notebook
def test_a_notebook_is_run_by_a_test(path: Path) -> None:
    assert path.stem in RUN
