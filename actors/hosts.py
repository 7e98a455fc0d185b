"""Starting, replacing and ending the hosts of agents; part of the composition root."""

import asyncio
import contextlib
import time
from collections.abc import Callable, Collection, Sequence
from typing import Any, Final, TypeVar

import ray

from actors import agent_host
from actors.host_plans import HostPlan
from actors.host_room import require_room
from actors.host_standing import NOT_RUNNING, HostStanding
from zejzl_ray.cluster.core_orchestrator import CoreOrchestratorClient
from zejzl_ray.cluster.gateway_access import GatewayAccess
from zejzl_ray.cluster.names import agent_host_name
from zejzl_ray.cluster.vram_placement import VramPlacer, list_placed
from zejzl_ray.contracts import agent_host as wire
from zejzl_ray.contracts.agent_life import AgentInfo
from zejzl_ray.contracts.base import Contract
from zejzl_ray.contracts.call import CallContext
from zejzl_ray.contracts.health import GetHealth, ServiceHealth
from zejzl_ray.contracts.life import Stopped, StopService
from zejzl_ray.contracts.services import BY_SERVICE
from zejzl_ray.errors import ClusterError, DeadlineExceeded, NotFound, Unavailable, ZejzlError

PREFIX: Final = agent_host_name("")
DRAIN_S: Final = 45.0  # for the agents of a host to handle what is in their mailboxes, where it does not say
MOST_DRAIN_S: Final = 600.0  # it is killed after that, whatever it says
START_S: Final = 60.0  # for one host, where the limit of the whole start is later
_CALL_S: Final = 5.0
_POLL_S: Final = 0.1
_GONE_S: Final = 10.0
_OPERATIONS: Final = BY_SERVICE[wire.SERVICE]

Report = Callable[[str], None]
R = TypeVar("R", bound=Contract)


class AgentHosts:
    """The hosts of one cluster; needs a process that is connected to Ray.

    Args:
        access: calls in the name of the composition root.
        namespace: Ray namespace of the actors.
        report: told of each step.
    """

    def __init__(self, access: GatewayAccess, namespace: str, report: Report) -> None:
        self._access = access
        self._namespace = namespace
        self._report = report

    async def bring_up(
        self, plans: Sequence[HostPlan], *, limit_s: float, absent: Collection[str] = ()
    ) -> tuple[HostStanding, ...]:
        """Make the hosts that run those of the fleet file; safe to repeat. Raises nothing for a host that fails.

        A host that is as the file says is left alone; one that is not, or that the file does not name any more, is
        stopped after its agents have handled their mail. Hosts that were started by hand are left alone.

        Args:
            plans: the hosts of the file.
            limit_s: how long to wait for all of them.
            absent: machines that have not joined; their hosts start when they do.
        """
        deadline_s = time.monotonic() + min(limit_s, START_S)
        wanted = {plan.name: plan for plan in plans}
        running = await asyncio.to_thread(self._running)
        kept = await asyncio.gather(*(self._keeps(name, wanted.get(name)) for name in running))
        as_wanted = {name for name, is_kept in zip(running, kept, strict=True) if is_kept}
        placing = asyncio.Lock()  # one decision about video memory at a time
        standings = await asyncio.gather(
            *(
                self._one(plan, plan.name in as_wanted, deadline_s, plan.options.machine in absent, placing)
                for plan in plans
            )
        )
        for standing in standings:
            for trouble in standing.troubles:
                self._report(f"warning: {trouble}")
        return tuple(standings)

    async def start(self, plan: HostPlan, *, limit_s: float = START_S) -> HostStanding:
        """Make one host run as planned, as ``bring_up`` does; what is wrong stands in the answer."""
        is_there = await self.is_running(plan.name) and await self._keeps(plan.name, plan)
        return await self._one(plan, is_there, time.monotonic() + limit_s, False, asyncio.Lock())

    async def is_running(self, host: str) -> bool:
        """Tell whether Ray knows a host of this name, also one that waits for a place."""
        return host in await asyncio.to_thread(self._running)

    async def start_agent(self, host: str, agent: str) -> AgentInfo:
        """Start an agent that was stopped.

        Raises:
            ZejzlError: as the host says.
        """
        deadline_s = time.monotonic() + START_S
        request = wire.ControlAgent(name=agent, host=host)
        while True:
            try:
                return await self._call(host, "start_agent", request, AgentInfo)
            except DeadlineExceeded:  # it starts still; safe to repeat, and the answer says how it is
                if time.monotonic() > deadline_s:
                    raise

    async def held(self, host: str) -> wire.HeldAgents:
        """Return the agents of a host.

        Raises:
            ServiceUnavailable: it does not run, or does not answer.
        """
        return await self._call(host, "list_held_agents", wire.ListHeldAgents(host=host), wire.HeldAgents)

    async def end(self, host: str) -> None:
        """Stop a host for good after its agents have handled their mail.

        Raises:
            NotFound: it does not run.
        """
        handle = await self._handle(host)
        await self._drain(host)
        await asyncio.to_thread(ray.kill, handle)
        await self._wait_until_gone(host)

    async def renew(self, host: str) -> None:
        """Start a host's process anew, with the code of its agents as it is now.

        Raises:
            NotFound: it does not run.
            ClusterError: it has not come back in time.
        """
        handle = await self._handle(host)
        boot = ""
        with contextlib.suppress(ZejzlError):  # stuck, perhaps: all the more it has to be renewed
            boot = (await self.held(host)).boot
        await self._drain(host)
        await asyncio.to_thread(ray.kill, handle, no_restart=False)
        deadline_s = time.monotonic() + START_S
        while time.monotonic() < deadline_s:
            with contextlib.suppress(ZejzlError):
                if (await self.held(host)).boot != boot and (await self._health(host)).is_ready:
                    return
            await asyncio.sleep(_POLL_S)
        raise ClusterError(f"Host {host} has not come back within {START_S:.0f} s.", "See `zejzl logs`.")

    # --- one host -------------------------------------------------------------------------------------------------

    async def _one(
        self, plan: HostPlan, is_running: bool, deadline_s: float, is_absent: bool, placing: asyncio.Lock
    ) -> HostStanding:
        name, machine = plan.name, plan.options.machine
        try:
            if not is_running:
                if not is_absent:
                    await asyncio.to_thread(require_room, plan)
                await self._launch(plan, placing)
            if is_absent:
                return HostStanding(
                    name, machine, problem=f"{machine} has not joined; it starts when it does"
                )
            await self._wait_until_ready(name, deadline_s)
            held = await self.held(name)
        except (ZejzlError, ray.exceptions.RayError, ValueError) as error:
            reason = str(error) if isinstance(error, ZejzlError) else _first_line(error)
            return HostStanding(name, machine, problem=reason)
        if not is_running:
            count = sum(agent.state not in NOT_RUNNING for agent in held.agents)
            self._report(f"host {name} on {machine}: {count} of {len(held.agents)} agents run")
        return HostStanding(name, machine, held.agents)

    async def _keeps(self, name: str, plan: HostPlan | None) -> bool:
        """Tell whether a running host is as it should be; one that is not is ended."""
        try:
            digest = (await self.held(name)).digest
        except ZejzlError as error:
            if await asyncio.to_thread(self._is_alive, name):
                self._report(
                    f"warning: the host {name} does not answer and is left as it is: {error.message}"
                )
                return True
            digest = "" if plan is None else "?"
        if not digest or (plan is not None and digest == plan.options.digest):
            return True
        if plan is None:
            self._report(f"host {name} is not in the fleet any more: it stops")
        else:
            self._report(f"host {name} has changed: it is replaced")
        try:
            await self.end(name)
        except (ZejzlError, ray.exceptions.RayError) as error:
            self._report(f"warning: the host {name} could not be ended: {_first_line(error)}")
        return False

    async def _launch(self, plan: HostPlan, placing: asyncio.Lock) -> None:
        if not plan.vram_mib:
            await asyncio.to_thread(
                agent_host.start,
                plan.options,
                cpus=plan.cpus,
                memory_mib=plan.memory_mib,
                resources=dict(plan.resources),
            )
            return
        placer = VramPlacer(
            CoreOrchestratorClient(self._access.caller), self._namespace, start_timeout_s=START_S / 2
        )
        async with placing:
            await placer.start(
                agent_host.AgentHostActor,
                (plan.options,),
                name=agent_host_name(plan.name),
                vram_mib=plan.vram_mib,
                machine=plan.options.machine,
                cpus=plan.cpus,
                options={**agent_host.lasting(plan.memory_mib), "resources": dict(plan.resources)},
            )

    async def _wait_until_ready(self, name: str, deadline_s: float) -> None:
        why = "it has not answered yet"
        while time.monotonic() < deadline_s:
            try:
                health = await self._health(name)
            except Unavailable as error:
                why = error.message
            except ZejzlError as error:
                why = str(error)
            else:
                if health.is_ready:
                    return
                why = "; ".join(check.reason for check in health.checks if check.reason) or "its agents start"
            await asyncio.sleep(_POLL_S)
        raise ClusterError(f"it is not ready: {why}", "See `zejzl logs`, and `zejzl status --placement`.")

    async def _drain(self, host: str) -> None:
        limit_s = DRAIN_S
        with contextlib.suppress(ZejzlError, ray.exceptions.RayError):
            limit_s = min(MOST_DRAIN_S, (await self.held(host)).stop_within_s)
        try:
            await self._call(host, "stop", StopService(timeout_s=limit_s), Stopped, limit_s=limit_s + _CALL_S)
        except (ZejzlError, ray.exceptions.RayError) as error:
            self._report(f"warning: the host {host} did not stop in order: {_first_line(error)}")

    async def _wait_until_gone(self, host: str) -> None:
        deadline_s = time.monotonic() + _GONE_S
        while host in await asyncio.to_thread(self._running):
            if time.monotonic() > deadline_s:
                raise ClusterError(f"Host {host} was ended, but Ray still knows it.", "Try again.")
            await asyncio.sleep(_POLL_S)

    # --- Ray ------------------------------------------------------------------------------------------------------

    def _running(self) -> list[str]:
        """Return the hosts that Ray knows, also those that wait for a place."""
        return [
            entry["name"].removeprefix(PREFIX)
            for entry in ray.util.list_named_actors(all_namespaces=True)
            if entry["namespace"] == self._namespace and entry["name"].startswith(PREFIX)
        ]

    def _is_alive(self, host: str) -> bool:
        name = agent_host_name(host)
        return any(actor.name == name and actor.state == "ALIVE" for actor in list_placed())

    async def _handle(self, host: str) -> Any:
        try:
            return await asyncio.to_thread(ray.get_actor, agent_host_name(host), self._namespace)
        except ValueError:
            running = ", ".join(await asyncio.to_thread(self._running)) or "none"
            raise NotFound(f"No host {host} runs.", f"These run: {running}.") from None

    async def _health(self, host: str) -> ServiceHealth:
        return await self._call(host, "health", GetHealth(), ServiceHealth)

    async def _call(
        self, host: str, operation: str, request: Contract, reply: type[R], *, limit_s: float = _CALL_S
    ) -> R:
        call = CallContext(deadline_at_s=time.time() + limit_s)
        answer = await self._access.caller.call(
            _OPERATIONS[operation].at(agent_host_name(host)), request, call
        )
        if not isinstance(answer, reply):
            raise TypeError(f"{operation} answered {type(answer).__name__}, not {reply.__name__}")
        return answer


def _first_line(error: BaseException) -> str:
    text = error.message if isinstance(error, ZejzlError) else str(error)
    return (text.strip().splitlines() or [type(error).__name__])[0]
