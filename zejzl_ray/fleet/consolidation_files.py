"""Every file that a consolidation leaves behind, as text by path."""

import shutil
import subprocess
from collections.abc import Mapping
from pathlib import Path
from typing import Final

from zejzl_ray.fleet.consolidate_files import Consolidation
from zejzl_ray.fleet.consolidation_report import report_markdown
from zejzl_ray.fleet.migrate import refuse_losses
from zejzl_ray.fleet.picture import graphviz, mermaid

_DOT_TIMEOUT_S: Final = 60.0


def consolidation_files(made: Consolidation, out: Path, unified: Path | None = None) -> dict[Path, str]:
    """Return the two files, the report and the pictures below ``out``, and the unified fleet if wanted.

    The pictures come as Mermaid and DOT, and as SVG where Graphviz is installed.

    Raises:
        FleetInvalid: the unified fleet is wanted, and something in the files cannot be taken over into it.
    """
    if unified is not None:
        refuse_losses(finding for finding in made.before.findings if finding not in made.gone)
    files = {out / name: text for name, text in made.texts.items()}
    files[out / "report.md"] = report_markdown(made)
    for name, fleet, title in (
        ("before", made.old_fleet, "Before the consolidation"),
        ("after", made.fleet, "After the consolidation"),
    ):
        files[out / f"{name}.mmd"] = mermaid(fleet, title=title, highlight=made.removed)
        dot = graphviz(fleet, title=title, highlight=made.removed)
        files[out / f"{name}.dot"] = dot
        svg = render_svg(dot)
        if svg is not None:
            files[out / f"{name}.svg"] = svg
    if unified is not None:
        files[unified] = made.unified
    return files


def render_svg(dot: str, *, environment: Mapping[str, str] | None = None) -> str | None:
    """Return a DOT text as SVG, or None where Graphviz is not installed or cannot draw it in a minute."""
    program = shutil.which("dot", path=environment.get("PATH") if environment is not None else None)
    if program is None:
        return None
    try:
        drawn = subprocess.run(  # a fixed program, the text goes in by its standard input
            [program, "-Tsvg"], input=dot, capture_output=True, text=True, timeout=_DOT_TIMEOUT_S, check=True
        )
    except (OSError, subprocess.SubprocessError):
        return None
    return drawn.stdout
