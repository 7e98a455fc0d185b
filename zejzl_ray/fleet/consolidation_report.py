"""What ``zejzl fleet consolidate`` changed, as a page for the owner and as data for programs."""

from collections import Counter
from collections.abc import Iterable, Sequence
from typing import Any

from zejzl_ray.fleet.consolidate_files import Consolidation
from zejzl_ray.fleet.finding import Finding
from zejzl_ray.fleet.legacy_nodes import flow_text


def report_data(made: Consolidation) -> dict[str, Any]:
    """Return the report as JSON-able data."""
    return {
        "agents_before": len(made.old_fleet.agents),
        "agents_after": len(made.fleet.agents),
        "services": list(made.fleet.services),
        "aliases": {
            alias: service.name for service in made.fleet.services.values() for alias in service.aliases
        },
        "removed": dict(made.removed),
        "rewired": [{"agent": r.agent, "old": list(r.old), "new": list(r.new)} for r in made.rewired],
        "corrections": [corrected.as_dict() for corrected in made.corrected],
        "faults_gone": [finding_data(finding) for finding in made.gone],
        "faults_left": [finding_data(finding) for finding in made.after.findings],
    }


def report_markdown(made: Consolidation) -> str:
    """Return the report as a Markdown page."""
    before, after = made.old_fleet, made.fleet
    edges_before, edges_after = _edge_count(before.agents.values()), _edge_count(after.agents.values())
    homes = Counter(service.home for service in after.services.values())
    parts = [
        "# Consolidation report",
        "",
        f"{len(before.agents)} agents became {len(after.agents)} agents and "
        f"{len(after.services)} services; {len(made.removed)} old agents are now aliases. "
        f"The agents' dependencies went from {edges_before} to {edges_after}.",
        "",
        "Pictures: `before` and `after` beside this file, as `.mmd`, `.dot` and, where Graphviz is there, `.svg`.",
        "",
        _table(
            "Machines",
            ("Machine", "Agents before", "Agents after", "Services"),
            [
                (
                    machine,
                    str(sum(agent.machine == machine for agent in before.agents.values())),
                    str(sum(agent.machine == machine for agent in after.agents.values())),
                    str(homes[machine]),
                )
                for machine in after.machines
            ],
        ),
        _table(
            "Services",
            ("Service", "Home", "Fallback", "Port", "Waits for"),
            [
                (s.name, s.home, s.fallback or "", str(s.port), ", ".join(s.dependencies) or "nothing")
                for s in after.services.values()
            ],
        ),
        _table(
            "Removed entries",
            (
                "Old agent",
                "Now an alias of",
                "Old port",
                "Script",
                "Waited for",
                "Own settings that went with it",
            ),
            [
                (
                    name,
                    service,
                    str(before.agents[name].port or ""),
                    before.agents[name].entry or "",
                    ", ".join(before.agents[name].dependencies) or "nothing",
                    f"`{flow_text(before.agents[name].config)}`" if before.agents[name].config else "none",
                )
                for name, service in made.removed.items()
                if name in before.agents
            ],
        ),
        "What an old agent waited for is not carried over to its service: services wait for each other only, "
        "since the agents wait for them.\n",
        _table(
            "Rewired dependencies",
            ("Agent", "Before", "After"),
            [(r.agent, ", ".join(r.old), ", ".join(r.new) or "nothing") for r in made.rewired],
        ),
        _table(
            "Corrections",
            ("Correction", "Where", "What changed", "Why"),
            [(c.name, c.subject, c.change, c.reason) for c in made.corrected],
        ),
        _findings("Faults that are gone", made.gone),
        _findings("Faults that remain", made.after.findings),
    ]
    return "\n".join(parts)


def markdown_table(header: Sequence[str], rows: Iterable[Sequence[str]]) -> str:
    """Return a Markdown table; bars inside cells are escaped."""
    lines = [f"| {' | '.join(header)} |", f"| {' | '.join('---' for _ in header)} |"]
    lines += [f"| {' | '.join(cell.replace('|', chr(92) + '|') for cell in row)} |" for row in rows]
    return "\n".join(lines) + "\n"


def _table(title: str, header: Sequence[str], rows: Sequence[Sequence[str]]) -> str:
    return f"## {title}\n\n" + (markdown_table(header, rows) if rows else "None.\n")


def _findings(title: str, findings: Sequence[Finding]) -> str:
    lines = [f"- {finding}" for finding in findings]
    return f"## {title}\n\n" + ("\n".join(lines) if lines else "None.") + "\n"


def finding_data(finding: Finding) -> dict[str, Any]:
    """Return a finding as JSON-able data."""
    return {
        "severity": finding.severity.value,
        "code": finding.code,
        "message": finding.message,
        "remedy": finding.remedy,
        "file": finding.file,
        "line": finding.line,
        "column": finding.column,
        "path": finding.path,
        "subject": finding.subject,
    }


def _edge_count(agents: Iterable[Any]) -> int:
    return sum(len(agent.dependencies) for agent in agents)
