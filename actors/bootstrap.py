"""The composition root: starts the services, the node agents and the ingress, and loads the fleet."""

import asyncio
import contextlib
import logging
import time
from collections.abc import Callable, Sequence
from dataclasses import dataclass
from typing import Any

import ray
from pydantic import SecretStr
from ray import serve

from actors import node_agent
from actors.core_orchestrator import CoreOrchestratorActor
from actors.error_bus import ErrorBusActor
from actors.host_plans import HostPlan
from actors.host_standing import HostStanding
from actors.hosts import DRAIN_S, MOST_DRAIN_S, PREFIX, AgentHosts
from actors.identities import ROOT_SUBJECT, Identities
from actors.observability_hub import ObservabilityHubActor
from actors.place import ServiceOptions, machine_addresses, start_service
from actors.resource_manager import ResourceManagerActor
from actors.security_gateway import SecurityGatewayActor
from serve_apps.config import IngressConfig
from serve_apps.ingress import IngressOptions, start_ingress
from zejzl_ray.auth.credential_text import require_text
from zejzl_ray.clock import SystemClock
from zejzl_ray.cluster.core_orchestrator import CoreOrchestratorClient
from zejzl_ray.cluster.gateway_access import GatewayAccess
from zejzl_ray.cluster.local_plan import ingress_url
from zejzl_ray.cluster.names import (
    CORE_ORCHESTRATOR,
    ERROR_BUS,
    INGRESS_APP,
    MACHINE_LABEL,
    OBSERVABILITY_HUB,
    RESOURCE_MANAGER,
    SECURITY_GATEWAY,
    SERVICES,
)
from zejzl_ray.cluster.shared_store import require_shared_store
from zejzl_ray.cluster.topology import START_ORDER, taken_over
from zejzl_ray.contracts.agent_host import HeldAgents, ListHeldAgents
from zejzl_ray.contracts.call import CallContext
from zejzl_ray.contracts.caller import Caller
from zejzl_ray.contracts.health import CheckStatus, GetHealth, ServiceHealth
from zejzl_ray.contracts.life import StopService
from zejzl_ray.contracts.orchestrator import DeclareFleet, FleetDeclared, ListMachines
from zejzl_ray.contracts.policy import GetPolicy, Policy, SetPolicy
from zejzl_ray.contracts.services import health_operation
from zejzl_ray.contracts.tokens import EnsureAdministrator
from zejzl_ray.errors import ClusterError, ZejzlError
from zejzl_ray.machine.settings import NodeAgentSettings
from zejzl_ray.sdk.async_client import AsyncClient
from zejzl_ray.sdk.http_caller import HttpCaller
from zejzl_ray.settings import Settings
from zejzl_ray.version import __version__

_ACTORS: dict[str, type] = {
    CORE_ORCHESTRATOR: CoreOrchestratorActor,
    RESOURCE_MANAGER: ResourceManagerActor,
    OBSERVABILITY_HUB: ObservabilityHubActor,
    ERROR_BUS: ErrorBusActor,
    SECURITY_GATEWAY: SecurityGatewayActor,
}
_POLL_S = 0.1
_PATIENCE_S = 5.0  # a machine that takes longer to join is worth a line
_CALL_LIMIT_S = 5.0

Report = Callable[[str], None]


@dataclass(frozen=True, slots=True)
class Plan:
    """What the composition root brings up.

    Attributes:
        settings: as read from the environment.
        identities: who everybody of this cluster is.
        machines: machine -> how its node agent works; all of them are waited for.
        fleet: what the registry is told.
        policy: put in force unless it is already; None leaves what is in force.
        policy_source: where it was read from.
        hosts: hosts of agents.
        stand_in: machine that has taken over from the head, where all services live meanwhile; empty: nobody has.
        check_joining: raises ClusterError when a machine that is being started will not join.
    """

    settings: Settings
    identities: Identities
    machines: dict[str, NodeAgentSettings]
    fleet: DeclareFleet
    policy: Policy | None = None
    policy_source: str = ""
    hosts: tuple[HostPlan, ...] = ()
    stand_in: str = ""
    check_joining: Callable[[], None] = lambda: None


@dataclass(frozen=True, slots=True)
class Running:
    """What is up."""

    services: tuple[ServiceHealth, ...]
    machines: tuple[str, ...]
    fleet: FleetDeclared
    missing_machines: tuple[str, ...]
    hosts: tuple[HostStanding, ...] = ()


async def bring_up(plan: Plan, report: Report) -> Running:
    """Start whatever is not running yet and wait until all of it answers; safe to repeat.

    The process must be connected to the cluster. Services start in the order of ``START_ORDER`` without waiting for
    one another: each starts and answers while the others are away, and its readiness names what is missing. Hosts of
    agents come last; one that does not start, or an agent of it, is a warning.

    Raises:
        ClusterError: something did not become ready in ``start_timeout_s``, or the store will not do for several
            machines; says what and why.
    """
    settings = plan.settings
    deadline_s = time.monotonic() + settings.start_timeout_s
    access = root_access(plan.identities, settings.namespace)
    caller = access.caller
    starting: asyncio.Task[tuple[HostStanding, ...]] | None = None
    ingress = asyncio.create_task(_ingress(plan))  # takes longest and needs the head only
    try:
        missing = await _wait_for_machines(plan, report)
        require_shared_store(settings.resolved_store_url(), await asyncio.to_thread(machine_addresses))
        start_services(plan)
        _start_node_agents(plan)
        healths = await _wait_until_ready(caller, deadline_s, report)
        await _ensure_administrator(access, plan.identities.administrator)
        await _ensure_policy(access, plan, report)
        orchestrator = CoreOrchestratorClient(caller)
        declared = await orchestrator.declare_fleet(plan.fleet)
        changes = f"{declared.added} added, {declared.changed} changed, {declared.removed} removed"
        report(f"fleet: {len(plan.fleet.agents)} entries ({changes})")
        present = [machine for machine in plan.machines if machine not in missing]
        await _wait_for_reports(orchestrator, present, deadline_s, report)
        starting = asyncio.create_task(_start_hosts(plan, access, missing, deadline_s, report))
        await asyncio.wait_for(ingress, max(1.0, deadline_s - time.monotonic()))
        await _wait_for_ingress(plan, present, deadline_s)
        hosts = await starting
        report(f"ingress on {settings.bind_host}:{settings.http_port}")
    except TimeoutError:
        raise ClusterError(
            f"The ingress did not start within {settings.start_timeout_s:.0f} s.",
            "See Serve's page of the dashboard.",
        ) from None
    finally:
        ingress.cancel()
        if starting is not None:
            starting.cancel()
        await access.close()
    return Running(
        services=healths,
        machines=tuple(present),
        fleet=declared,
        missing_machines=tuple(missing),
        hosts=hosts,
    )


async def _start_hosts(
    plan: Plan, access: GatewayAccess, missing: Sequence[str], deadline_s: float, report: Report
) -> tuple[HostStanding, ...]:
    hosts = AgentHosts(access, plan.settings.namespace, report)
    return await hosts.bring_up(
        plan.hosts, limit_s=max(1.0, deadline_s - time.monotonic()), absent=frozenset(missing)
    )


def _start_node_agents(plan: Plan) -> None:
    settings = plan.settings
    for machine, agent_settings in plan.machines.items():
        node_agent.start(
            node_agent.NodeAgentOptions(
                machine=machine,
                settings=agent_settings,
                credential=plan.identities.credential_of(f"machine:{machine}"),
                namespace=settings.namespace,
                is_auth_required=settings.require_auth,
            )
        )


def start_services(plan: Plan) -> None:
    """Start the five services or find them running; does not wait for them."""
    for row in START_ORDER:
        for place in row:
            options = ServiceOptions(plan.settings, plan.identities.credential_of(f"service:{place.service}"))
            start_service(
                _ACTORS[place.service],
                taken_over(place, plan.stand_in),
                options,
                namespace=plan.settings.namespace,
            )


async def stop_services(namespace: str, identities: Identities, *, timeout_s: float = 15.0) -> None:
    """Let the services and node agents write what is pending and stop serving; those that are away are skipped."""
    access = root_access(identities, namespace)
    try:
        await _stop_services(namespace, access, timeout_s)
    finally:
        await access.close()


async def _stop_services(namespace: str, access: GatewayAccess, timeout_s: float) -> None:
    try:
        token = await access.tokens.token()
    except (
        ZejzlError
    ):  # the gateway is away, so nobody would believe us; what is acknowledged is stored anyway
        return

    async def stop(name: str) -> None:
        try:
            actor = await asyncio.to_thread(ray.get_actor, name, namespace)
            await actor.stop.remote(StopService(), CallContext(token=token))
        except (ValueError, ray.exceptions.RayError, ZejzlError):
            return  # not there, or it went away meanwhile: nothing to stop

    async def drain_of(name: str) -> float:
        request = ListHeldAgents(host=name.removeprefix(PREFIX))
        drain_s = DRAIN_S
        with contextlib.suppress(ValueError, TimeoutError, ray.exceptions.RayError, ZejzlError):
            actor: Any = await asyncio.to_thread(ray.get_actor, name, namespace)
            async with asyncio.timeout(_CALL_LIMIT_S):
                held: HeldAgents = await actor.list_held_agents.remote(request, CallContext(token=token))
            drain_s = min(MOST_DRAIN_S, held.stop_within_s)
        return drain_s

    try:
        known = await asyncio.wait_for(asyncio.to_thread(_named_actors, namespace), timeout_s)
    except TimeoutError:  # Ray's control store does not answer, so nobody can be asked
        return
    names = [name for name in known if name in SERVICES or name.startswith(("node_agent:", PREFIX))]
    # Hosts of agents before all: their agents handle what is in their mailboxes, with everything else still there. Then
    # node agents: they would go on reporting to an orchestrator that has stopped. The gateway last: the others
    # write the ends of their audit trails into its own.
    hosts = [name for name in names if name.startswith(PREFIX)]
    agents = [name for name in names if name not in SERVICES and name not in hosts]
    services = [name for name in names if name in SERVICES and name != SECURITY_GATEWAY]
    drain_s = max(await asyncio.gather(*(drain_of(name) for name in hosts)), default=0.0)
    for group in (hosts, agents, services, [name for name in names if name == SECURITY_GATEWAY]):
        tasks = [asyncio.create_task(stop(name)) for name in group]
        if tasks:
            _, late = await asyncio.wait(
                tasks, timeout=max(timeout_s, drain_s) if group is hosts else timeout_s
            )
            for task in late:
                task.cancel()


def root_access(identities: Identities, namespace: str) -> GatewayAccess:
    """Return calls in the name of the composition root, which may do everything."""
    credential = identities.credential_of(ROOT_SUBJECT)
    return GatewayAccess(namespace, credential, SystemClock(), timeout_s=_CALL_LIMIT_S)


async def _ensure_administrator(access: GatewayAccess, administrator: SecretStr) -> None:
    known = require_text(administrator)
    await access.gateway.ensure_administrator(
        EnsureAdministrator(credential_id=known.credential_id, secret_digest=known.digest)
    )


def _named_actors(namespace: str) -> list[str]:
    return [
        entry["name"]
        for entry in ray.util.list_named_actors(all_namespaces=True)
        if entry["namespace"] == namespace
    ]


async def _ensure_policy(access: GatewayAccess, plan: Plan, report: Report) -> None:
    if plan.policy is None or (await access.gateway.get_policy(GetPolicy())).policy == plan.policy:
        return
    await access.gateway.set_policy(SetPolicy(policy=plan.policy, source=plan.policy_source))
    report(f"policy of {plan.policy_source} in force")


async def _wait_for_machines(plan: Plan, report: Report) -> list[str]:
    """Wait for every declared machine to join; return those that did not."""
    machines, limit_s = tuple(plan.machines), plan.settings.home_wait_s
    started_s = time.monotonic()
    deadline_s = started_s + limit_s
    told = False
    while True:
        nodes = await asyncio.to_thread(ray.nodes)
        present = {node["Labels"].get(MACHINE_LABEL) for node in nodes if node["Alive"]}
        missing = [machine for machine in machines if machine not in present]
        if not missing or time.monotonic() >= deadline_s:
            for machine in missing:
                report(
                    f"machine {machine} has not joined within {limit_s:.0f} s; its services go to the fallback"
                )
            return missing
        plan.check_joining()
        if not told and time.monotonic() > started_s + _PATIENCE_S:
            report(f"waiting for {', '.join(missing)} to join (at most {limit_s:.0f} s)")
            told = True
        await asyncio.sleep(_POLL_S)


async def _wait_until_ready(caller: Caller, deadline_s: float, report: Report) -> tuple[ServiceHealth, ...]:
    async def one(service: str) -> ServiceHealth:
        why = "it has not answered yet"
        while time.monotonic() < deadline_s:
            try:
                limit_s = time.time() + min(_CALL_LIMIT_S, max(0.5, deadline_s - time.monotonic()))
                answer = await caller.call(
                    health_operation(service), GetHealth(), CallContext(deadline_at_s=limit_s)
                )
            except ZejzlError as error:
                why = str(error)
            else:
                assert isinstance(answer, ServiceHealth)
                if answer.is_ready:
                    notes = [c.reason for c in answer.checks if c.status is not CheckStatus.OK]
                    report(f"{service} on {answer.machine}" + (f" ({'; '.join(notes)})" if notes else ""))
                    return answer
                why = "; ".join(
                    f"{c.name}: {c.reason}" for c in answer.checks if c.status is CheckStatus.FAILED
                )
            await asyncio.sleep(_POLL_S)
        raise ClusterError(f"{service} is not ready: {why}", "Mend it and run the same command again.")

    return tuple(await asyncio.gather(*(one(place.service) for row in START_ORDER for place in row)))


async def _wait_for_reports(
    orchestrator: CoreOrchestratorClient, machines: Sequence[str], deadline_s: float, report: Report
) -> None:
    waiting = set(machines)
    while waiting and time.monotonic() < deadline_s:
        known = (await orchestrator.list_machines(ListMachines())).machines
        for machine in known:
            if machine.name in waiting and machine.is_alive and machine.snapshot is not None:
                waiting.discard(machine.name)
                cards = ", ".join(f"{gpu.name} {gpu.vram_total_mib} MiB" for gpu in machine.snapshot.gpus)
                report(f"machine {machine.name}: {cards or machine.snapshot.gpu_note or 'no GPU'}")
        if waiting:
            await asyncio.sleep(_POLL_S)
    if waiting:
        raise ClusterError(f"No report from the node agent of {', '.join(sorted(waiting))}.", "See its log.")


async def _wait_for_ingress(plan: Plan, machines: Sequence[str], deadline_s: float) -> None:
    """Wait until a caller from outside sees the machines too: the ingress reads from a copy that follows."""
    settings = plan.settings
    client = AsyncClient(
        HttpCaller(
            ingress_url(settings),
            plan.identities.administrator,
            _CALL_LIMIT_S,
            ca_file=settings.trusted_authority(),
        ),
        timeout_s=_CALL_LIMIT_S,
    )
    why = "it has not answered yet"
    async with client:
        while time.monotonic() < deadline_s:
            try:
                seen = {machine.name for machine in await client.machines()}
            except ZejzlError as error:
                why = str(error)
            else:
                if seen.issuperset(machines):
                    return
                why = f"it does not show {', '.join(sorted(set(machines) - seen))}"
            await asyncio.sleep(_POLL_S)
    raise ClusterError(f"The ingress is not ready: {why}", "See Serve's page of the dashboard.")


async def _ingress(plan: Plan) -> None:
    settings = plan.settings
    logging.getLogger("ray.serve").setLevel(logging.WARNING)  # its progress is not ours to print
    if not await asyncio.to_thread(_is_ingress_running):
        options = IngressOptions(
            credential_file=plan.identities.ingress_file,
            http_port=settings.http_port,
            replicas=settings.ingress_replicas,
            namespace=settings.namespace,
            is_auth_required=settings.require_auth,
            config=IngressConfig(version=__version__),
            logs=settings.logs,
        )
        await asyncio.to_thread(start_ingress, options, timeout_s=settings.start_timeout_s)


def _is_ingress_running() -> bool:
    applications = serve.status().applications
    return INGRESS_APP in applications and applications[INGRESS_APP].status == "RUNNING"
