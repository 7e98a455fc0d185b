"""Running programs and reading files with limits, on the machine that is asked."""

from __future__ import annotations

import subprocess
from pathlib import Path
from typing import Any, Dict, List


def run(argv: List[str], limit_s: float) -> Dict[str, Any]:
    """Run a program with a time limit; status is None when it did not end in time or is not there."""
    try:
        done = subprocess.run(
            argv,
            stdin=subprocess.DEVNULL,
            capture_output=True,
            text=True,
            errors="replace",
            timeout=limit_s,
            check=False,
        )
        return {"status": done.returncode, "output": done.stdout, "errors": done.stderr}
    except (OSError, subprocess.SubprocessError) as error:
        return {"status": None, "output": "", "errors": type(error).__name__}


def output_of(argv: List[str], limit_s: float) -> str:
    """Return what a program writes; empty when it fails."""
    done = run(argv, limit_s)
    return str(done["output"]) if done["status"] == 0 else ""


def tail(path: Path) -> str:
    """Return the end of a log; empty when there is none."""
    try:
        with path.open("rb") as file:
            file.seek(max(0, path.stat().st_size - 6000))
            return file.read(6000).decode(errors="replace")
    except OSError:
        return ""
