"""Runs the rules over files and sorts out what is ignored."""

from collections.abc import Sequence
from dataclasses import dataclass
from pathlib import Path

from zejzl_ray.agent_audit.files import python_files
from zejzl_ray.agent_audit.finding import Finding, Level
from zejzl_ray.agent_audit.module import Module
from zejzl_ray.agent_audit.rules import ALL_RULES
from zejzl_ray.agent_audit.source import MAX_FILE_BYTES, read_module
from zejzl_ray.agent_audit.suppressions import apply_suppressions


@dataclass(frozen=True, slots=True)
class Report:
    """What an audit found.

    Attributes:
        files: how many files it looked at, those that it could not read among them.
        findings: in the order of files and lines.
        ignored: how many findings comments took away.
    """

    files: int
    findings: tuple[Finding, ...]
    ignored: int

    def count(self, level: Level) -> int:
        """Return how many findings are of this level."""
        return sum(finding.level is level for finding in self.findings)


def audit_paths(paths: Sequence[Path], max_file_bytes: int = MAX_FILE_BYTES) -> Report:
    """Look at all Python files that these paths are or hold; none of them is imported or run.

    Raises:
        InvalidInput: a path does not exist, or there is nothing to look at.
    """
    files = python_files(paths)
    read = [read_module(file, str(file), max_file_bytes) for file in files]
    modules = [one for one in read if isinstance(one, Module)]
    findings, ignored = audit_modules(modules)
    return Report(
        len(files), tuple(sorted([*findings, *(one for one in read if isinstance(one, Finding))])), ignored
    )


def audit_modules(modules: Sequence[Module]) -> tuple[list[Finding], int]:
    """Return what the rules find in these modules and no comment ignores, sorted, and how many were ignored."""
    by_path: dict[str, list[Finding]] = {module.path: [] for module in modules}
    for rule in ALL_RULES:
        for finding in rule.check(modules):
            by_path[finding.path].append(finding)
    left: list[Finding] = []
    ignored = 0
    known = [rule.id for rule in ALL_RULES]
    for module in modules:
        kept, taken = apply_suppressions(module, by_path[module.path], known)
        left += kept
        ignored += taken
    return sorted(left), ignored
