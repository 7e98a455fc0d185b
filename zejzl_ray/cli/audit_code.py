"""``zejzl audit code``: what would make agents hang, leak or fall over, by their source alone.

Exit codes: 0 no error was found, 1 at least one was (with ``--strict`` also a warning), 2 wrong usage.
"""

import sys
from pathlib import Path
from typing import Annotated, Any

import orjson
import typer
from rich.table import Table
from rich.text import Text

from zejzl_ray.agent_audit.auditor import Report, audit_paths
from zejzl_ray.agent_audit.catalogue import RuleText, rule_texts
from zejzl_ray.agent_audit.finding import Finding, Level
from zejzl_ray.cli.console import errors, output
from zejzl_ray.errors import InvalidInput


def code(
    paths: Annotated[
        list[Path] | None, typer.Argument(metavar="PATH...", help="Python files, or folders that hold some.")
    ] = None,
    strict: Annotated[bool, typer.Option("--strict", help="Let warnings fail too.")] = False,
    rules: Annotated[bool, typer.Option("--rules", help="List the rules and look at nothing.")] = False,
    as_json: Annotated[bool, typer.Option("--json", help="Print JSON, one finding a line.")] = False,
) -> None:
    """Look for mistakes in the source of agents, one finding a line; nothing of it is imported or run."""
    if rules:
        _print_rules(rule_texts(), as_json)
        return
    if not paths:
        raise typer.BadParameter("name a Python file or a folder, or ask for --rules.")
    try:
        report = audit_paths(paths)
    except InvalidInput as error:
        raise typer.BadParameter(str(error)) from None
    if as_json:
        _print_json(report)
    else:
        _print_lines(report)
    is_failed = report.count(Level.ERROR) or (strict and report.count(Level.WARNING))
    raise typer.Exit(1 if is_failed else 0)


def _print_lines(report: Report) -> None:
    for finding in report.findings:
        line = Text(_shown(f"{finding.path}:{finding.line}:{finding.column}: "))
        line.append(finding.level.value, "bold red" if finding.level is Level.ERROR else "yellow")
        line.append(_shown(f" [{finding.rule}] {finding.message} {finding.remedy}"))
        output.print(line, highlight=False, soft_wrap=True)
    told = (
        f"{report.files} files: {report.count(Level.ERROR)} errors, {report.count(Level.WARNING)} warnings, "
        f"{report.ignored} ignored"
    )
    errors.print(told, markup=False, highlight=False, soft_wrap=True)


def _print_json(report: Report) -> None:
    head = {
        "files": report.files,
        "errors": report.count(Level.ERROR),
        "warnings": report.count(Level.WARNING),
        "ignored": report.ignored,
    }
    lines = ",\n".join(orjson.dumps(_data(finding)).decode() for finding in report.findings)
    sys.stdout.write(f'{orjson.dumps(head).decode()[:-1]},"findings":[\n{lines}\n]}}\n')


def _print_rules(rules: list[RuleText], as_json: bool) -> None:
    if as_json:
        lines = ",\n".join(orjson.dumps(rule).decode() for rule in rules)
        sys.stdout.write(f'{{"rules":[\n{lines}\n]}}\n')
        return
    table = Table(title="rules", title_justify="left", header_style="bold")
    for column in ("rule", "level", "finds", "remedy"):
        table.add_column(column)
    for rule in rules:
        table.add_row(Text(rule.id, no_wrap=True), rule.level.value, Text(rule.summary), Text(rule.remedy))
    output.print(table)


def _data(finding: Finding) -> dict[str, Any]:
    return {
        "path": _shown(finding.path),
        "line": finding.line,
        "column": finding.column,
        "rule": finding.rule,
        "level": finding.level.value,
        "message": _shown(finding.message),
        "remedy": finding.remedy,
    }


def _shown(text: str) -> str:
    """Return the text without what a terminal would obey, which names of files and variables may hold."""
    return "".join(letter if letter.isprintable() else "?" for letter in text)
