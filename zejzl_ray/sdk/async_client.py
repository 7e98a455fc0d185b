"""The client for programs with a running event loop, Jupyter among them."""

import asyncio
import contextlib
from collections.abc import AsyncGenerator, Callable, Iterable, Mapping
from types import TracebackType
from typing import Any, Final, Self, TypeVar, Unpack

from pydantic import SecretStr

from zejzl_ray.clock import Clock, SystemClock
from zejzl_ray.cluster.core_orchestrator import CoreOrchestratorClient
from zejzl_ray.cluster.observability_hub import ObservabilityHubClient
from zejzl_ray.cluster.security_gateway import SecurityGatewayClient
from zejzl_ray.contracts import observability_hub as hub_wire
from zejzl_ray.contracts import orchestrator as wire
from zejzl_ray.contracts.base import Contract
from zejzl_ray.contracts.call import CallContext
from zejzl_ray.contracts.caller import Caller
from zejzl_ray.contracts.health import GetHealth, ServiceHealth
from zejzl_ray.contracts.machines import Machine
from zejzl_ray.contracts.operation import Operation
from zejzl_ray.contracts.services import BY_SERVICE, OPERATIONS
from zejzl_ray.errors import DeadlineExceeded, NotFound, TimedOut, ZejzlError
from zejzl_ray.ids import new_id
from zejzl_ray.sdk.deadlock_watch import follow_deadlocks
from zejzl_ray.sdk.fields import AgentChanges, AgentFields, AgentFilters, build
from zejzl_ray.sdk.patience import Patience
from zejzl_ray.sdk.registration import Registration
from zejzl_ray.sdk.watching import follow

DEFAULT_TIMEOUT_S: Final = 10.0
DEFAULT_OUTAGE_S: Final = 60.0
# what a long poll may take beyond its own waiting time
_POLL_GRACE_S: Final = 10.0

R = TypeVar("R", bound=Contract)

_BY_REQUEST: Final = {operation.request: operation for operation in wire.OPERATIONS}
_HUB: Final = BY_SERVICE[hub_wire.SERVICE]
_HEALTH: Final = {operation.service: operation for operation in OPERATIONS if operation.name == "health"}


class AsyncClient:
    """Calls the services of a cluster; get one from ``zejzl_ray.connect_async``.

    Errors arrive as the exceptions of ``zejzl_ray.errors``, the same over HTTP and over actor handles. Every
    method waits at most ``timeout_s`` seconds, the client's own limit where none is given, and then raises
    ``DeadlineExceeded``. A command that returned is stored. Calls may run side by side.

    Args:
        caller: the way to the services; closed together with the client.
        token: proof of who is calling; null leaves it to the caller.
        timeout_s: limit of a method that is given none.
        clock: where deadlines are read.
        patience: with which pauses ``watch`` tries again while the registry is away.
        is_auth_off: tells whether the last answer said that calls without a token pass.
    """

    def __init__(
        self,
        caller: Caller,
        *,
        token: SecretStr | None = None,
        timeout_s: float = DEFAULT_TIMEOUT_S,
        clock: Clock | None = None,
        patience: Patience | None = None,
        is_auth_off: Callable[[], bool] | None = None,
    ) -> None:
        self._caller = caller
        self._token = token
        self._timeout_s = timeout_s
        self._clock: Clock = clock or SystemClock()
        self._patience = patience or Patience(attempts=None, first_wait_s=0.2, longest_wait_s=5.0)
        self._registrations: set[Registration] = set()
        self._tells_auth_off = is_auth_off or _nobody_tells
        self._is_closed = False

    @property
    def is_auth_off(self) -> bool:
        """Whether the last answer said that authentication is switched off; over actor handles nobody says so."""
        return self._tells_auth_off()

    @property
    def timeout_s(self) -> float:
        """The limit of a method that is given none, seconds."""
        return self._timeout_s

    # --- agents ---------------------------------------------------------------------------------------------

    async def agents(
        self,
        *,
        page_size: int = wire.MAX_PAGE,
        timeout_s: float | None = None,
        **filters: Unpack[AgentFilters],
    ) -> AsyncGenerator[wire.Agent, None]:
        """Yield agents in the order of their names; ``timeout_s`` is the limit of one page."""
        cursor = ""
        while True:
            request = build(wire.ListAgents, {**filters, "cursor": cursor, "limit": page_size})
            page = await self._send(request, wire.AgentPage, timeout_s)
            for agent in page.agents:
                yield agent
            if page.next_cursor in {"", cursor}:
                return
            cursor = page.next_cursor

    async def list_agents(
        self, *, timeout_s: float | None = None, **filters: Unpack[AgentFilters]
    ) -> list[wire.Agent]:
        """Return all agents for which the filters hold, in the order of their names."""
        limit_s = self._timeout_s if timeout_s is None else timeout_s
        try:
            async with asyncio.timeout(limit_s):
                return [agent async for agent in self.agents(timeout_s=timeout_s, **filters)]
        except TimedOut:  # the answer itself, and not that none came
            raise
        except TimeoutError:
            raise DeadlineExceeded(
                f"The list of agents was not complete within {limit_s:.1f} s.", "Filter it, or wait longer."
            ) from None

    async def agent(self, name: str, *, timeout_s: float | None = None) -> wire.Agent:
        """Return the agent of this name or alias.

        Raises:
            AgentNotFound: there is none.
        """
        return await self._send(build(wire.GetAgent, {"name": name}), wire.Agent, timeout_s)

    async def register(
        self, name: str, *, timeout_s: float | None = None, **fields: Unpack[AgentFields]
    ) -> wire.Agent:
        """Register an agent, or replace the record of the same name; safe to repeat.

        Raises:
            AgentExists: the name is taken and ``is_new_required`` was given.
        """
        return await self.register_request(
            build(wire.RegisterAgent, {**fields, "name": name}), timeout_s=timeout_s
        )

    async def register_request(
        self, request: wire.RegisterAgent, *, timeout_s: float | None = None
    ) -> wire.Agent:
        """Register with a ready request model; otherwise as ``register``."""
        return await self._send(request, wire.Agent, timeout_s)

    async def register_many(
        self,
        agents: Iterable[wire.RegisterAgent | Mapping[str, Any]],
        *,
        request_id: str | None = None,
        timeout_s: float | None = None,
    ) -> wire.AgentsRegistered:
        """Register all of them in one commit, or none; at most 10,000."""
        fields = {"agents": tuple(agents), "request_id": request_id or new_id()}
        return await self._send(build(wire.RegisterAgents, fields), wire.AgentsRegistered, timeout_s)

    def registered(self, name: str, **fields: Unpack[AgentFields]) -> Registration:
        """Return a context that registers the agent, renews its lease, and deregisters it at the end."""
        request = build(wire.RegisterAgent, {**fields, "name": name})
        return Registration(self, request, self._registrations)

    async def heartbeat(
        self,
        name: str,
        status: wire.HealthStatus | str = wire.HealthStatus.HEALTHY,
        reason: str = "",
        *,
        timeout_s: float | None = None,
    ) -> wire.HeartbeatAccepted:
        """Renew the lease of an agent and say how it is.

        Raises:
            AgentNotFound: it is not registered (any more).
        """
        fields = {"name": name, "status": status, "reason": reason}
        return await self._send(build(wire.Heartbeat, fields), wire.HeartbeatAccepted, timeout_s)

    async def update(
        self, name: str, *, timeout_s: float | None = None, **changes: Unpack[AgentChanges]
    ) -> wire.Agent:
        """Change some fields of an agent.

        Raises:
            AgentNotFound: it is not registered.
            VersionConflict: it is not at ``expected_revision`` any more.
        """
        return await self._send(build(wire.UpdateAgent, {**changes, "name": name}), wire.Agent, timeout_s)

    async def deregister(
        self, name: str, reason: str = "", *, timeout_s: float | None = None
    ) -> wire.AgentDeregistered:
        """Remove an agent on purpose; safe to repeat."""
        request = build(wire.DeregisterAgent, {"name": name, "reason": reason})
        return await self._send(request, wire.AgentDeregistered, timeout_s)

    async def explain(self, name: str, *, timeout_s: float | None = None) -> wire.AgentExplanation:
        """Return why an agent is in its state, with its last moves."""
        return await self._send(build(wire.ExplainAgent, {"name": name}), wire.AgentExplanation, timeout_s)

    # --- changes --------------------------------------------------------------------------------------------

    async def watch(
        self,
        from_revision: int | None = None,
        *,
        timeout_s: float | None = None,
        outage_s: float = DEFAULT_OUTAGE_S,
    ) -> AsyncGenerator[wire.AgentEvent, None]:
        """Yield changes of the registry in the order of revisions, each once.

        Goes on after restarts and broken connections. Where the history no longer reaches back far enough,
        what changed in between arrives summed up: one event an agent.

        Args:
            from_revision: begin after this one, 0 with the oldest kept; null begins with the next change.
            timeout_s: end quietly after this long; null goes on until the loop is left.
            outage_s: how long the registry may be away before the error is raised.

        Raises:
            Unavailable: the registry was away for longer than ``outage_s``.
        """

        async def poll(since: int, wait_s: float) -> wire.WatchBatch:
            request = build(wire.WatchAgents, {"from_revision": since, "timeout_s": wait_s})
            return await self._send(request, wire.WatchBatch, wait_s + _POLL_GRACE_S)

        changes = follow(
            poll,
            self.snapshot,
            from_revision,
            clock=self._clock,
            timeout_s=timeout_s,
            outage_s=outage_s,
            patience=self._patience,
        )
        async with contextlib.aclosing(changes):
            async for event in changes:
                yield event

    async def history(
        self,
        name: str | None = None,
        *,
        before_revision: int | None = None,
        limit: int = 100,
        timeout_s: float | None = None,
    ) -> wire.History:
        """Return past changes of one agent or of all, newest first, at most ``limit`` (1 to 1000)."""
        fields = {"name": name, "before_revision": before_revision, "limit": limit}
        return await self._send(build(wire.GetHistory, fields), wire.History, timeout_s)

    async def snapshot(self, *, timeout_s: float | None = None) -> wire.RegistrySnapshot:
        """Return all agents and machines at one revision."""
        return await self._send(wire.GetSnapshot(), wire.RegistrySnapshot, timeout_s)

    # --- machines, fleet and services -----------------------------------------------------------------------

    async def machines(self, *, timeout_s: float | None = None) -> list[Machine]:
        """Return all machines that ever reported, in the order of their names."""
        return list((await self._send(wire.ListMachines(), wire.MachineList, timeout_s)).machines)

    async def machine(self, name: str, *, timeout_s: float | None = None) -> Machine:
        """Return one machine.

        Raises:
            MachineNotFound: none of this name ever reported.
        """
        return await self._send(build(wire.GetMachine, {"name": name}), Machine, timeout_s)

    async def declare_fleet(
        self,
        agents: Iterable[wire.RegisterAgent | Mapping[str, Any]],
        source: str = "",
        *,
        request_id: str | None = None,
        timeout_s: float | None = None,
    ) -> wire.FleetDeclared:
        """Tell the registry what the fleet file declares; safe to repeat."""
        fields = {"agents": tuple(agents), "source": source, "request_id": request_id or new_id()}
        return await self._send(build(wire.DeclareFleet, fields), wire.FleetDeclared, timeout_s)

    async def registry_status(self, *, timeout_s: float | None = None) -> wire.RegistryStatus:
        """Return how many agents are in which state, and whether the protection holds the list."""
        return await self._send(wire.GetRegistryStatus(), wire.RegistryStatus, timeout_s)

    async def accept_losses(
        self, *, request_id: str | None = None, timeout_s: float | None = None
    ) -> wire.RegistryStatus:
        """Let the protection go: mark agents lost that it holds although they are silent; safe to repeat.

        For an operator who knows that so many are really gone.
        """
        request = build(wire.AcceptLosses, {"request_id": request_id or new_id()})
        return await self._send(request, wire.RegistryStatus, timeout_s)

    async def service_health(
        self, service: str = wire.SERVICE, *, timeout_s: float | None = None
    ) -> ServiceHealth:
        """Return how a service is, and why.

        Raises:
            NotFound: there is no such service.
            ServiceUnavailable: it does not answer.
        """
        if service not in _HEALTH:
            raise NotFound(f"There is no service {service!r}.", f"Services are {', '.join(sorted(_HEALTH))}.")
        reply = await self.call(_HEALTH[service], GetHealth(), timeout_s=timeout_s)
        return _of_type(reply, ServiceHealth)

    # --- deadlocks ------------------------------------------------------------------------------------------

    async def deadlocks(
        self, agent: str | None = None, *, limit: int = 100, timeout_s: float | None = None
    ) -> list[hub_wire.DeadlockEvent]:
        """Return the deadlocks that are kept, newest first, of one agent or of all; at most ``limit`` (1 to 1000)."""
        request = build(hub_wire.ListDeadlocks, {"agent": agent, "limit": limit})
        page = await self.call(_HUB["list_deadlocks"], request, timeout_s=timeout_s)
        return list(_of_type(page, hub_wire.DeadlockPage).events)

    async def watch_deadlocks(
        self,
        from_revision: int | None = None,
        *,
        timeout_s: float | None = None,
        outage_s: float = DEFAULT_OUTAGE_S,
    ) -> AsyncGenerator[hub_wire.DeadlockEvent, None]:
        """Yield deadlocks as they are found, each once; goes on after restarts and broken connections.

        Args:
            from_revision: begin after this one, 0 with the oldest kept; null begins with the next one.
            timeout_s: end quietly after this long; null goes on until the loop is left.
            outage_s: how long the hub may be away before the error is raised.

        Raises:
            Unavailable: the hub was away for longer than ``outage_s``.
        """

        async def poll(since: int | None, wait_s: float) -> hub_wire.DeadlockBatch:
            request = build(hub_wire.WatchDeadlocks, {"from_revision": since, "timeout_s": wait_s})
            reply = await self.call(_HUB["watch_deadlocks"], request, timeout_s=wait_s + _POLL_GRACE_S)
            return _of_type(reply, hub_wire.DeadlockBatch)

        events = follow_deadlocks(
            poll,
            from_revision,
            clock=self._clock,
            timeout_s=timeout_s,
            outage_s=outage_s,
            patience=self._patience,
        )
        async with contextlib.aclosing(events):
            async for event in events:
                yield event

    async def deadlock_status(self, *, timeout_s: float | None = None) -> hub_wire.DeadlockStatus:
        """Return how many deadlocks there were, and how the agents that wait are doing, the worst first."""
        reply = await self.call(
            _HUB["get_deadlock_status"], hub_wire.GetDeadlockStatus(), timeout_s=timeout_s
        )
        return _of_type(reply, hub_wire.DeadlockStatus)

    # --- typed clients --------------------------------------------------------------------------------------

    @property
    def observability(self) -> ObservabilityHubClient:
        """The observability hub: deadlocks, performance, logs; one method an operation."""
        return ObservabilityHubClient(_AsCaller(self))

    @property
    def orchestrator(self) -> CoreOrchestratorClient:
        """The registry as other parts of the library want it, such as ``VramPlacer``."""
        return CoreOrchestratorClient(_AsCaller(self))

    @property
    def security(self) -> SecurityGatewayClient:
        """The security gateway: tokens, credentials, people, policy, trust, audit, secrets; one method an operation."""
        return SecurityGatewayClient(_AsCaller(self))

    # --- all the rest ---------------------------------------------------------------------------------------

    async def call(
        self,
        operation: Operation,
        request: Contract,
        *,
        timeout_s: float | None = None,
        caused_by: str = "",
        traceparent: str | None = None,
    ) -> Contract:
        """Run any declared operation and return its reply, an instance of ``operation.reply``.

        Args:
            operation: one of ``zejzl_ray.contracts.services.OPERATIONS``.
            request: an instance of ``operation.request``.
            timeout_s: how long to wait.
            caused_by: request id of the call that led to this one.
            traceparent: W3C trace context to pass on.
        """
        if self._is_closed:
            raise ZejzlError("This client is closed.", "Connect again.")
        limit_s = self._timeout_s if timeout_s is None else timeout_s
        fields = {
            "token": self._token,
            "request_id": getattr(request, "request_id", None) or new_id(),
            "caused_by": caused_by,
            "traceparent": traceparent,
            "deadline_at_s": self._clock.now_s() + limit_s,
        }
        return await self._caller.call(operation, request, build(CallContext, fields))

    async def close(self) -> None:
        """End open registrations and release the connections; safe to repeat."""
        for registration in tuple(self._registrations):
            await registration.stop()
        self._is_closed = True
        await self._caller.close()

    async def _send(self, request: Contract, reply: type[R], timeout_s: float | None) -> R:
        return _of_type(await self.call(_BY_REQUEST[type(request)], request, timeout_s=timeout_s), reply)

    async def __aenter__(self) -> Self:
        return self

    async def __aexit__(
        self, kind: type[BaseException] | None, error: BaseException | None, trace: TracebackType | None
    ) -> None:
        await self.close()


class _AsCaller:
    """This client where a ``Caller`` is wanted, with its token and time limit."""

    def __init__(self, client: AsyncClient) -> None:
        self._client = client

    async def call(self, operation: Operation, request: Contract, call: CallContext) -> Contract:
        # what the request itself waits for comes on top of the client's limit
        limit_s = self._client.timeout_s + float(getattr(request, "timeout_s", None) or 0.0)
        return await self._client.call(
            operation, request, timeout_s=limit_s, caused_by=call.caused_by, traceparent=call.traceparent
        )

    async def close(self) -> None: ...


def _nobody_tells() -> bool:
    return False


def _of_type(reply: Contract, expected: type[R]) -> R:
    if not isinstance(reply, expected):
        raise ZejzlError(f"The answer is a {type(reply).__name__} and no {expected.__name__}.")
    return reply
