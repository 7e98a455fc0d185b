"""Fail when too little is covered: the library, and the library with its shells and the ingress.

Reads the JSON report of coverage.py. Lines and branches each have to reach the bar.
"""

import argparse
import json
import sys
from dataclasses import dataclass
from pathlib import Path
from typing import Any

LIBRARY = "zejzl_ray/"
LIBRARY_BAR_PERCENT = 95.0
WHOLE_BAR_PERCENT = 90.0
_SHOWN = 12


@dataclass(frozen=True, slots=True)
class Covered:
    """What was run of some code."""

    lines: int
    lines_run: int
    branches: int
    branches_run: int

    @property
    def lines_percent(self) -> float:
        """Share of the lines that were run; 100 where there are none."""
        return 100.0 * self.lines_run / self.lines if self.lines else 100.0

    @property
    def branches_percent(self) -> float:
        """Share of the branches that were taken; 100 where there are none."""
        return 100.0 * self.branches_run / self.branches if self.branches else 100.0

    @property
    def missed(self) -> int:
        """Lines and branches that were not run."""
        return self.lines - self.lines_run + self.branches - self.branches_run


def read_files(report: dict[str, Any]) -> dict[str, Covered]:
    """Return path -> what was run, of every file in the report."""
    return {
        path: Covered(
            lines=entry["summary"]["num_statements"],
            lines_run=entry["summary"]["covered_lines"],
            branches=entry["summary"]["num_branches"],
            branches_run=entry["summary"]["covered_branches"],
        )
        for path, entry in report["files"].items()
    }


def total(files: dict[str, Covered], prefix: str = "") -> Covered:
    """Return the sum over the files whose path starts with the prefix."""
    chosen = [covered for path, covered in files.items() if path.startswith(prefix)]
    return Covered(
        lines=sum(one.lines for one in chosen),
        lines_run=sum(one.lines_run for one in chosen),
        branches=sum(one.branches for one in chosen),
        branches_run=sum(one.branches_run for one in chosen),
    )


def verdict(name: str, covered: Covered, bar_percent: float) -> tuple[bool, str]:
    """Return whether the bar is reached, and one line that says so."""
    is_enough = min(covered.lines_percent, covered.branches_percent) >= bar_percent
    figures = f"lines {covered.lines_percent:.1f} %, branches {covered.branches_percent:.1f} %"
    return is_enough, f"{name}: {figures} (bar {bar_percent:.0f} %): {'reached' if is_enough else 'BELOW'}"


def main(arguments: list[str] | None = None) -> int:
    """Print the figures and the files with the most that was not run; 1 below a bar, 2 without data."""
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument("report", type=Path, help="what `coverage json` wrote")
    path: Path = parser.parse_args(arguments).report
    files = read_files(json.loads(path.read_text(encoding="utf-8")))
    library = total(files, LIBRARY)
    if not library.lines:
        print(f"error: {path} holds no line of {LIBRARY}; were the tests run?", file=sys.stderr)
        return 2
    worst = sorted(files.items(), key=lambda item: item[1].missed, reverse=True)
    for name, covered in worst[:_SHOWN]:
        if covered.missed:
            figures = f"lines {covered.lines_percent:5.1f} %  branches {covered.branches_percent:5.1f} %"
            print(f"  {covered.missed:4} not run  {figures}  {name}")
    verdicts = [
        verdict("library", library, LIBRARY_BAR_PERCENT),
        verdict("whole", total(files), WHOLE_BAR_PERCENT),
    ]
    for _, line in verdicts:
        print(line)
    return 0 if all(is_enough for is_enough, _ in verdicts) else 1


if __name__ == "__main__":
    sys.exit(main())
