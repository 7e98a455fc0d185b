"""The agents of all hosts as rows: what the registry knows, and what their hosts say of them."""

from collections.abc import Mapping
from dataclasses import asdict, dataclass
from typing import Any, Final

from rich.table import Table
from rich.text import Text

from zejzl_ray.cli.console import printable
from zejzl_ray.cluster.mail_directory import HOST_KEY
from zejzl_ray.contracts import agent_host as wire
from zejzl_ray.contracts.agent_life import AgentInfo
from zejzl_ray.contracts.orchestrator import Agent
from zejzl_ray.contracts.services import BY_SERVICE
from zejzl_ray.errors import ZejzlError
from zejzl_ray.sdk.client import Client

_LIST: Final = BY_SERVICE[wire.SERVICE]["list_held_agents"]
_ASK_S: Final = 5.0
_COLOURS: Final = {"running": "green", "paused": "yellow", "starting": "yellow", "draining": "yellow"}


@dataclass(frozen=True, slots=True)
class AgentRow:
    """One agent of a host.

    Attributes:
        name: of the agent.
        host: that holds it.
        machine: of the host.
        state: in its host; what the registry says where the host does not answer.
        reason: why it is in that state.
        health: healthy, degraded or unhealthy; empty where nobody says.
        why: why it is not healthier.
        mailbox: messages that wait; None where nobody says.
        handled: messages since its last start; None where nobody says.
        restarts: after failures; None where nobody says.
        entry: its class.
    """

    name: str
    host: str
    machine: str
    state: str
    reason: str = ""
    health: str = ""
    why: str = ""
    mailbox: int | None = None
    handled: int | None = None
    restarts: int | None = None
    entry: str = ""

    def as_dict(self) -> dict[str, Any]:
        """Return it as JSON-able data."""
        return asdict(self)


def agent_rows(client: Client, *, machine: str = "", host: str = "") -> tuple[list[AgentRow], dict[str, str]]:
    """Return the agents by host and name, and why hosts could not be asked.

    Raises:
        ZejzlError: the registry does not answer.
    """
    known = client.list_agents(metadata_key=HOST_KEY)
    known = [
        agent
        for agent in known
        if (not machine or agent.machine == machine) and (not host or agent.metadata[HOST_KEY] == host)
    ]
    held: dict[str, Mapping[str, AgentInfo]] = {}
    unread: dict[str, str] = {}
    for name in sorted({str(agent.metadata[HOST_KEY]) for agent in known}):
        try:
            reply = client.call(_LIST, wire.ListHeldAgents(host=name), timeout_s=_ASK_S)
        except ZejzlError as error:
            unread[name] = error.message
            continue
        if isinstance(reply, wire.HeldAgents):
            held[name] = {info.name: info for info in reply.agents}
    rows = [_row(agent, held.get(str(agent.metadata[HOST_KEY]), {}).get(agent.name)) for agent in known]
    return sorted(rows, key=lambda row: (row.host, row.name)), unread


def agent_table(rows: list[AgentRow]) -> Table:
    """Return them for people."""
    table = Table(title="agents of hosts", title_justify="left", header_style="bold")
    for column in ("agent", "host", "machine", "state", "health"):
        table.add_column(column)
    for column in ("mailbox", "handled", "restarts"):
        table.add_column(column, justify="right")
    for row in rows:
        reason = "" if row.state == "running" else row.reason
        table.add_row(
            Text(row.name),
            Text(row.host),
            Text(row.machine),
            Text(row.state, _COLOURS.get(row.state, "red"))
            + Text(printable(f": {reason}") if reason else ""),
            Text(printable(": ".join(part for part in (row.health, row.why) if part))),
            *("" if number is None else str(number) for number in (row.mailbox, row.handled, row.restarts)),
        )
    return table


def _row(agent: Agent, info: AgentInfo | None) -> AgentRow:
    entry = agent.metadata.get("entry")
    host = str(agent.metadata[HOST_KEY])
    if info is None:
        return AgentRow(
            agent.name, host, agent.machine, agent.state.value, agent.reason, entry=str(entry or "")
        )
    return AgentRow(
        agent.name,
        host,
        agent.machine,
        state=info.state.value,
        reason=info.reason,
        health=info.health.status.value,
        why="; ".join(info.health.reasons),
        mailbox=info.mailbox,
        handled=info.handled,
        restarts=info.restarts,
        entry=info.entry,
    )
