"""The notebooks that need a cluster run from top to bottom against a live one."""

import os
from typing import Any

from tests.notebook_runs import executed, is_plotted, printed


def test_the_first_look_runs_and_shows_what_it_promises(running_system: Any) -> None:
    notebook = executed("01_first_look", {**os.environ, **running_system.environment})
    assert "agent_registered NotebookVisitor" in printed(notebook, "watch")
    assert is_plotted(notebook, "vram") or "No machine reports a card." in printed(notebook, "vram")
    assert "agents at revision" in printed(notebook, "async")
