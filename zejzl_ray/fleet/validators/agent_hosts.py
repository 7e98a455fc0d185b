"""Hosts of agents, and the agents that name one."""

import re
from collections import defaultdict
from collections.abc import Iterable
from typing import Final

from zejzl_ray.contracts.agent_host import MAIL_SCOPE_PATTERN
from zejzl_ray.fleet.drafts import Draft, FleetContext
from zejzl_ray.fleet.finding import Finding
from zejzl_ray.fleet.model import AgentDeclaration, AgentKind, HostDeclaration
from zejzl_ray.fleet.suggest import did_you_mean

MAX_HOST_NAME: Final = 100  # its subject service:host.NAME has to be a name too
_MAIL_SCOPE: Final = re.compile(MAIL_SCOPE_PATTERN)


class AgentHosts:
    """An agent that a host runs names a host of the fleet and a class, and is on its host's machine."""

    name = "agent-host"

    def check(self, context: FleetContext) -> Iterable[Finding]:
        """Return what is wrong with hosts, and with agents towards them."""
        yield from _hosts(context)
        for agent in context.running_agents:
            scope = agent.declaration.mail_scope
            if scope is not None and not _MAIL_SCOPE.fullmatch(scope):
                yield agent.error(
                    "mail-scope",
                    "mail_scope",
                    f"{agent.name} has the mail_scope {scope[:60]!r}, which cannot be part of a scope",
                    "Begin with a small letter; then small letters, digits, '_' and '-', at most 64 in all.",
                )
            if agent.declaration.agent_host is not None:
                yield from _hosted(agent, agent.declaration.agent_host, context)


def _hosts(context: FleetContext) -> Iterable[Finding]:
    first: dict[str, Draft[HostDeclaration]] = {}
    used = {agent.declaration.agent_host for agent in context.running_agents}
    for host in context.hosts:
        known = first.setdefault(host.name, host)
        if known is not host:
            yield host.error(
                "duplicate-host",
                "name",
                f"the host {host.name} is declared twice, first at {known.place}",
                "Keep one, or rename one of two different hosts.",
                related=(known.where("name", "first declared here"),),
            )
        elif len(host.name) > MAX_HOST_NAME:
            yield host.error(
                "name-invalid",
                "name",
                f"the name of the host {host.name[:40]}... is longer than {MAX_HOST_NAME} characters",
                "Choose a shorter one.",
            )
        elif host.name not in used:
            yield host.warning(
                "agent-host-empty",
                "name",
                f"no agent names the host {host.name}, so it is not started",
                f"Write 'agent_host: {host.name}' at an agent, or remove the host.",
            )
    needs: dict[str, int] = defaultdict(int)
    for agent in context.running_agents:
        needs[agent.declaration.agent_host or ""] += agent.declaration.needs.vram_mib
    for host in first.values():
        if needs[host.name] > host.declaration.vram_mib:
            yield host.warning(
                "agent-host-vram",
                "vram_mib",
                f"the agents of {host.name} need {needs[host.name]} MiB of video memory together, but the host asks "
                f"for {host.declaration.vram_mib} MiB",
                "Raise vram_mib of the host: it asks for all of its agents.",
            )


def _hosted(agent: Draft[AgentDeclaration], name: str, context: FleetContext) -> Iterable[Finding]:
    declared = agent.declaration
    if declared.kind is not AgentKind.ACTOR:
        yield agent.error(
            "agent-host-kind",
            "kind",
            f"{agent.name} is of kind {declared.kind}, but names the host {name}",
            "Write 'kind: actor', or remove agent_host.",
        )
    elif declared.entry is not None and not names_class(declared.entry):
        yield agent.error(
            "entry-invalid",
            "entry",
            f"the entry {declared.entry[:100]!r} of {agent.name} names no class",
            "Write it as package.module:Class.",
        )
    if declared.environment:
        yield agent.warning(
            "agent-host-environment",
            "environment",
            f"the environment of {agent.name} counts for nobody: agents of one host share a process",
            "Put it into config, which the agent gets as self.settings.",
        )
    host = context.fleet.hosts.get(name)
    if host is None:
        known = context.fleet.hosts
        yield agent.error(
            "unknown-host",
            "agent_host",
            f"{agent.name} names the host {name}, which is not declared",
            did_you_mean(
                name, known, f"Declared are {', '.join(known)}." if known else "Declare it under 'hosts'."
            ),
        )
    elif declared.machine is not None and declared.machine != host.machine:
        yield agent.error(
            "agent-host-machine",
            "machine",
            f"{agent.name} is on {declared.machine}, but its host {name} is on {host.machine}",
            "Leave the agent's machine out, or choose a host of that machine.",
        )


def names_class(entry: str) -> bool:
    """Return whether an entry has the form ``package.module:Class``."""
    module, _, name = entry.partition(":")
    return name.isidentifier() and all(part.isidentifier() for part in module.split("."))
