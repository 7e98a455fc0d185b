"""Hosts of agents as a person starts, renews and ends them on a machine of the cluster."""

import asyncio
from collections.abc import Awaitable, Callable, Mapping
from pathlib import Path
from typing import TYPE_CHECKING, Any, TypeVar

from actors.host_standing import HostStanding
from actors.identities import Identities, ensure_identities
from actors.local_system import connected
from zejzl_ray.cluster.local_plan import RAY_TOKEN_FILE
from zejzl_ray.cluster.record import require_record
from zejzl_ray.errors import ClusterError, Conflict, InvalidInput
from zejzl_ray.fleet.model import Fleet
from zejzl_ray.fleet.suggest import did_you_mean
from zejzl_ray.settings import Settings

if TYPE_CHECKING:  # they import Ray, which reads its environment when it is imported
    from actors.hosts import AgentHosts

Report = Callable[[str], None]
T = TypeVar("T")


def run_declared(settings: Settings, fleet: Fleet, source: Path, target: str, report: Report) -> HostStanding:
    """Start a host of the fleet, or that of an agent; one that runs with other options is replaced.

    Raises:
        InvalidInput: the fleet has no such host, nor an agent of one.
        ClusterError: no cluster is up here, or the host does not start.
    """
    agent = fleet.agents.get(target)
    name = target if target in fleet.hosts else agent.agent_host if agent is not None else None
    if name is None:
        if agent is not None:
            raise InvalidInput(
                f"{target} is run by no host of agents.", "Give it agent_host and an entry module:Class."
            )
        known = (*fleet.hosts, *(each.name for each in fleet.agents.values() if each.agent_host))
        raise InvalidInput(
            f"{source} has no host {target}, and no agent of that name.",
            did_you_mean(target, known, f"It has: {', '.join(known) or 'no hosts'}."),
        )

    async def work(hosts: "AgentHosts", identities: Identities) -> HostStanding:
        from actors.host_plans import plan_hosts  # noqa: PLC0415  imports Ray

        plan = next(
            (each for each in plan_hosts(fleet, source, settings, identities) if each.name == name), None
        )
        if plan is None:
            raise InvalidInput(f"The host {name} has no agents.", "Give one agent_host.")
        standing = await hosts.start(plan)
        if standing.problem:
            raise ClusterError(f"The host {name} does not run: {standing.problem}")
        if agent is not None and any(
            each.name == target and each.state == "stopped" for each in standing.agents
        ):
            await hosts.start_agent(name, target)
        return await _standing(hosts, name)

    return _with_hosts(settings, report, work)


def run_entry(
    settings: Settings,
    entry: str,
    report: Report,
    *,
    name: str,
    machine: str,
    host: str,
    path: tuple[str, ...],
    config: Mapping[str, Any],
) -> HostStanding:
    """Start an agent that no fleet file names, in a host of its own, until somebody ends it.

    Args:
        settings: as read from the environment.
        entry: its class as ``package.module:Class``.
        report: told of each step.
        name: of the agent.
        machine: where it runs; empty: the only machine there is.
        host: name of its host.
        path: folders with its module, absolute.
        config: its settings.

    Raises:
        InvalidInput: the machine is not said and there are several.
        Conflict: a host of that name runs already.
        ClusterError: no cluster is up here, or it does not start; nothing is left of it.
    """
    machines = require_record(settings.data_path).machines
    if not machine and len(machines) != 1:
        raise InvalidInput(f"Say where it runs: {', '.join(machines)}.", "Give --machine.")

    async def work(hosts: "AgentHosts", identities: Identities) -> HostStanding:
        from actors.host_plans import HostPlan, host_credential_subject  # noqa: PLC0415  imports Ray
        from zejzl_ray.cluster.agent_host import AgentHostOptions, HostedAgent  # noqa: PLC0415  as above

        if await hosts.is_running(host):
            raise Conflict(
                f"A host {host} runs already.",
                f"Choose another with --host, or `zejzl agents stop --host {host}`.",
            )
        agent = HostedAgent(name, entry, dict(config), identities.credential_of(f"agent:{name}"))
        options = AgentHostOptions(
            name=host,
            machine=machine or machines[0],
            settings=settings,
            credential=identities.credential_of(host_credential_subject(host)),
            agents=(agent,),
            path=path,
        )
        standing = await hosts.start(HostPlan(options))
        if standing.troubles:
            if await hosts.is_running(host):
                await hosts.end(host)
            raise ClusterError(f"{name} was not started: {standing.troubles[0]}")
        return standing

    return _with_hosts(settings, report, work)


def end_host(settings: Settings, host: str, report: Report) -> None:
    """End a host after its agents have handled their mail; raises NotFound when it does not run."""
    _with_hosts(settings, report, lambda hosts, _: hosts.end(host))


def renew_host(settings: Settings, host: str, report: Report) -> None:
    """Start a host's process anew, with the code of its agents as it is now; raises NotFound, ClusterError."""
    _with_hosts(settings, report, lambda hosts, _: hosts.renew(host))


async def _standing(hosts: "AgentHosts", host: str) -> HostStanding:
    held = await hosts.held(host)
    return HostStanding(host, held.machine, held.agents)


def _with_hosts(
    settings: Settings, report: Report, work: "Callable[[AgentHosts, Identities], Awaitable[T]]"
) -> T:
    record = require_record(settings.data_path)
    identities = ensure_identities(settings.data_path)
    with connected(record, settings.data_path / RAY_TOKEN_FILE):
        from actors.bootstrap import root_access  # noqa: PLC0415  imports Ray
        from actors.hosts import AgentHosts  # noqa: PLC0415  as above

        async def run() -> T:
            access = root_access(identities, record.namespace)
            try:
                return await work(AgentHosts(access, record.namespace, report), identities)
            finally:
                await access.close()

        return asyncio.run(run())
