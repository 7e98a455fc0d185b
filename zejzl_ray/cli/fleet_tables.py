"""A fleet as tables: all of it, or one member."""

from typing import Any, Final

from rich.console import Console
from rich.table import Table

from zejzl_ray.cli.console import output, print_json
from zejzl_ray.errors import AgentNotFound
from zejzl_ray.fleet.model import AgentDeclaration, Fleet, HostDeclaration
from zejzl_ray.fleet.order import canonical_names

PIPE_WIDTH: Final = 200


def show_one(fleet: Fleet, name: str, as_json: bool) -> None:
    """Print everything that is declared about one member; raises AgentNotFound."""
    real = canonical_names(fleet).get(name, name)
    member = fleet.services.get(real) or fleet.agents.get(real) or fleet.hosts.get(real)
    if member is None:
        raise AgentNotFound(
            f"no agent, service, host or alias is called {name!r}.", "zejzl fleet show lists them."
        )
    data: dict[str, Any] = member.model_dump(mode="json")
    is_host = isinstance(member, HostDeclaration)
    if is_host:
        data["agents"] = [agent.name for agent in fleet.agents.values() if agent.agent_host == real]
    if as_json:
        part = "service" if real in fleet.services else "host" if is_host else "agent"
        print_json({"part": part, **data})
        return
    table = Table("Field", "Value", title=real if real == name else f"{name} (alias of {real})")
    for key, value in data.items():
        table.add_row(key, short(value, limit=1000))
    print_table(table)


def show_all(fleet: Fleet) -> None:
    """Print all members."""
    table = Table("Name", "Machine", "Kind", "Group", "Port", "Health", "Waits for", title="Fleet")
    for service in fleet.services.values():
        waits = ", ".join(service.dependencies)
        table.add_row(service.name, service.home, "service", "", str(service.port), str(service.port), waits)
    for agent in fleet.agents.values():
        table.add_row(*_agent_row(agent))
    print_table(table)
    if fleet.hosts:
        hosts = Table("Host", "Machine", "CPUs", "VRAM MiB", "RAM MiB", "Agents", title="Hosts")
        for host in fleet.hosts.values():
            held = ", ".join(agent.name for agent in fleet.agents.values() if agent.agent_host == host.name)
            sizes = (f"{host.cpus:g}", str(host.vram_mib or ""), str(host.memory_mib or ""))
            hosts.add_row(host.name, host.machine, *sizes, held)
        print_table(hosts)
    output.print(
        f"{len(fleet.agents)} agents, {len(fleet.services)} services, {len(fleet.machines)} machines"
        + (f", {len(fleet.hosts)} hosts" if fleet.hosts else "")
    )


def print_table(table: Table) -> None:
    """Print a table; names are never cut, and a pipe or file gets long lines instead of folded ones."""
    for column in table.columns:
        column.overflow = "fold"
    console = output if output.is_terminal else Console(width=PIPE_WIDTH)
    console.print(table, markup=False)


def _agent_row(agent: AgentDeclaration) -> list[str]:
    waits = ", ".join(agent.dependencies)
    ports_ = [str(port) if port is not None else "" for port in (agent.port, agent.health_port)]
    return [agent.name, agent.machine or "any", agent.kind.value, agent.group or "", *ports_, waits]


def short(value: Any, *, limit: int = 60) -> str:
    """Return a value as a text of at most ``limit`` characters."""
    text = ", ".join(str(item) for item in value) if isinstance(value, list) else str(value)
    return text if len(text) <= limit else f"{text[: limit - 3]}..."
