"""The dependencies of a fleet as a picture: Mermaid for a page, Graphviz for a printer.

Both are grouped by machine and group; agents that share a process stand in the group of their host. What a reader
should look at first is coloured: the names in
``highlight``, and the services. Edges into those are thin and grey, since nearly everything depends on them.
"""

from collections.abc import Collection
from dataclasses import dataclass

from zejzl_ray.fleet.model import Fleet
from zejzl_ray.fleet.order import dependency_edges

_PLACED_BY_NEEDS = "any machine"
_HIGHLIGHT = ("#fde0c5", "#c2540a")
_SERVICE = ("#cfe8d5", "#1b7a3d")
_PLAIN = ("#ffffff", "#6b7280")


@dataclass(frozen=True)
class _Node:
    id: str
    name: str
    label: str
    look: str  # plain, highlight or service


def mermaid(fleet: Fleet, *, title: str = "", highlight: Collection[str] = ()) -> str:
    """Return a Mermaid flow chart; an arrow points from a member to what it waits for."""
    clusters = _clusters(fleet, highlight)
    nodes = {node.name: node for groups in clusters.values() for group in groups.values() for node in group}
    lines = ["---", f"title: {_quoted(title)}", "---"] if title else []
    lines.append("flowchart LR")
    for number, (machine, groups) in enumerate(clusters.items()):
        lines.append(f'  subgraph m{number}["{_mermaid_text(machine)}"]')
        for index, (group, members) in enumerate(groups.items()):
            lines.append(f'    subgraph m{number}g{index}["{_mermaid_text(group)}"]')
            lines.extend(f'      {node.id}["{_mermaid_text(node.label)}"]:::{node.look}' for node in members)
            lines.append("    end")
        lines.append("  end")
    thin: list[str] = []
    for count, (start, end) in enumerate(_pairs(fleet)):
        lines.append(f"  {nodes[start].id} --> {nodes[end].id}")
        if nodes[end].look != "plain":
            thin.append(str(count))
    if thin:
        lines.append(f"  linkStyle {','.join(thin)} stroke:#c4c8cf,stroke-width:1px")
    looks = (("plain", _PLAIN), ("highlight", _HIGHLIGHT), ("service", _SERVICE))
    for look, (fill, stroke) in looks:
        lines.append(f"  classDef {look} fill:{fill},stroke:{stroke},color:#111827")
    return "\n".join(lines) + "\n"


def graphviz(fleet: Fleet, *, title: str = "", highlight: Collection[str] = ()) -> str:
    """Return a directed graph in the DOT language; an arrow points from a member to what it waits for."""
    clusters = _clusters(fleet, highlight)
    nodes = {node.name: node for groups in clusters.values() for group in groups.values() for node in group}
    lines = [
        "digraph fleet {",
        "  graph [rankdir=LR, ranksep=1.6, nodesep=0.12, fontname=Helvetica, fontsize=22, labelloc=t,"
        f" compound=true, label={_quoted(title)}];",
        "  node [shape=box, style=filled, fontname=Helvetica, fontsize=12, height=0.3];",
        '  edge [color="#4b5563", arrowsize=0.6];',
    ]
    for number, (machine, groups) in enumerate(clusters.items()):
        lines.append(f"  subgraph cluster_m{number} {{")
        lines.append(f'    label={_quoted(machine)}; color="#374151"; fontsize=18;')
        for index, (group, members) in enumerate(groups.items()):
            lines.append(f"    subgraph cluster_m{number}_g{index} {{")
            lines.append(f'      label={_quoted(group)}; color="#d1d5db"; fontsize=13;')
            for node in members:
                fill, stroke = {"highlight": _HIGHLIGHT, "service": _SERVICE}.get(node.look, _PLAIN)
                lines.append(
                    f'      {node.id} [label={_quoted(node.label)}, fillcolor="{fill}", color="{stroke}"];'
                )
            lines.append("    }")
        lines.append("  }")
    for start, end in _pairs(fleet):
        look = "" if nodes[end].look == "plain" else ' [color="#c4c8cf", penwidth=0.7]'
        lines.append(f"  {nodes[start].id} -> {nodes[end].id}{look};")
    return "\n".join([*lines, "}"]) + "\n"


def _pairs(fleet: Fleet) -> list[tuple[str, str]]:
    return [(start, end) for start, ends in dependency_edges(fleet).items() for end in ends]


def _clusters(fleet: Fleet, highlight: Collection[str]) -> dict[str, dict[str, list[_Node]]]:
    """Nodes by machine and group; ids are plain, since names may hold what the languages interpret."""
    clusters: dict[str, dict[str, list[_Node]]] = {name: {} for name in fleet.machines}
    number = 0
    for service in fleet.services.values():
        node = _Node(f"n{number}", service.name, f"{service.name} :{service.port}", "service")
        clusters.setdefault(service.home, {}).setdefault("services", []).append(node)
        number += 1
    for agent in fleet.agents.values():
        label = f"{agent.name} :{agent.port}" if agent.port else agent.name
        look = "highlight" if agent.name in highlight else "plain"
        node = _Node(f"n{number}", agent.name, label, look)
        clusters.setdefault(agent.machine or _PLACED_BY_NEEDS, {}).setdefault(
            f"host {agent.agent_host}" if agent.agent_host else agent.group or "agents", []
        ).append(node)
        number += 1
    return {machine: groups for machine, groups in clusters.items() if groups}


def _quoted(text: str) -> str:
    escaped = text.replace("\\", "\\\\").replace('"', '\\"')
    return f'"{escaped}"'


def _mermaid_text(text: str) -> str:
    return text.replace('"', "#quot;")
