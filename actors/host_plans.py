"""Which hosts of agents a fleet file asks for, and with what each is started."""

import hashlib
from collections.abc import Mapping
from dataclasses import dataclass, field
from pathlib import Path
from typing import Final

import orjson

from actors.identities import Identities
from zejzl_ray.cluster.agent_host import AgentHostOptions, HostedAgent
from zejzl_ray.contracts.agent_host import SUBJECT_PREFIX
from zejzl_ray.fleet.model import AgentDeclaration, Fleet, HostDeclaration
from zejzl_ray.fleet.order import start_levels
from zejzl_ray.settings import Settings

_DIGEST_CHARACTERS: Final = 32


@dataclass(frozen=True, slots=True)
class HostPlan:
    """One host as it is to be started.

    Attributes:
        options: what it holds.
        cpus: cores that it asks of Ray.
        vram_mib: video memory on one card.
        memory_mib: main memory.
        resources: other resources of Ray.
    """

    options: AgentHostOptions
    cpus: float = 0.1
    vram_mib: int = 0
    memory_mib: int = 0
    resources: Mapping[str, float] = field(default_factory=dict)

    @property
    def name(self) -> str:
        """Name of the host."""
        return self.options.name


def plan_hosts(
    fleet: Fleet, source: Path, settings: Settings, identities: Identities
) -> tuple[HostPlan, ...]:
    """Return the hosts of a fleet that has no errors, in the order of the file; those without agents are left out.

    Agents of a host start in the order of their dependencies.

    Args:
        fleet: what the file declares.
        source: the fleet file; relative folders of a host begin at its folder.
        settings: of the cluster.
        identities: gives hosts and agents their credentials.
    """
    if not fleet.hosts:
        return ()
    position = {name: index for index, level in enumerate(start_levels(fleet)) for name in level}
    plans = []
    for host in fleet.hosts.values():
        agents = [agent for agent in fleet.agents.values() if agent.agent_host == host.name and _is_on(agent)]
        if agents:
            agents.sort(key=lambda agent: position[agent.name])
            plans.append(_plan(host, agents, source.absolute().parent, settings, identities))
    return tuple(plans)


def host_credential_subject(host: str) -> str:
    """Return who a host is."""
    return f"service:{SUBJECT_PREFIX}{host}"


def _plan(
    host: HostDeclaration,
    agents: list[AgentDeclaration],
    folder: Path,
    settings: Settings,
    identities: Identities,
) -> HostPlan:
    path = tuple(str(folder / Path(each).expanduser()) for each in host.path)
    held = tuple(
        HostedAgent(
            name=agent.name,
            entry=agent.entry or "",
            settings=agent.config,
            credential=identities.credential_of(f"agent:{agent.name}"),
            mail_scope=agent.mail_scope or "",
        )
        for agent in agents
    )
    options = AgentHostOptions(
        name=host.name,
        machine=host.machine,
        settings=settings,
        credential=identities.credential_of(host_credential_subject(host.name)),
        agents=held,
        path=path,
        digest=_digest(host, path, held),
    )
    return HostPlan(options, host.cpus, host.vram_mib, host.memory_mib, host.resources)


def _digest(host: HostDeclaration, path: tuple[str, ...], agents: tuple[HostedAgent, ...]) -> str:
    """Return what is another one whenever the host has to be started anew; credentials and code are not in it."""
    told = {
        "host": host.model_dump(mode="json") | {"path": path},
        "agents": [(agent.name, agent.entry, agent.settings, agent.mail_scope) for agent in agents],
    }
    packed = orjson.dumps(told, default=str, option=orjson.OPT_SORT_KEYS | orjson.OPT_NON_STR_KEYS)
    return hashlib.sha256(packed).hexdigest()[:_DIGEST_CHARACTERS]


def _is_on(agent: AgentDeclaration) -> bool:
    return agent.extras.get("enabled") is not False
