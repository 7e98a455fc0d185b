"""The client for blocking code: each method runs its namesake of ``AsyncClient`` in a private loop."""

import contextlib
from collections.abc import AsyncGenerator, Awaitable, Callable, Iterable, Iterator, Mapping
from types import TracebackType
from typing import Any, Final, Self, TypeVar, Unpack

from zejzl_ray.contracts import observability_hub as hub_wire
from zejzl_ray.contracts import orchestrator as wire
from zejzl_ray.contracts.base import Contract
from zejzl_ray.contracts.health import ServiceHealth
from zejzl_ray.contracts.machines import Machine
from zejzl_ray.contracts.operation import Operation
from zejzl_ray.errors import ZejzlError
from zejzl_ray.sdk.async_client import DEFAULT_OUTAGE_S, AsyncClient
from zejzl_ray.sdk.fields import AgentChanges, AgentFields, AgentFilters
from zejzl_ray.sdk.loop_thread import LoopThread
from zejzl_ray.sdk.sync_registration import SyncRegistration

# what the private loop may take beyond the limit of the call itself
_GRACE_S: Final = 5.0
_CLOSE_S: Final = 30.0

T = TypeVar("T")


class Client:
    """Calls the services of a cluster from blocking code; get one from ``zejzl_ray.connect``.

    The same methods, limits and errors as ``AsyncClient``, but for its typed clients of services: ``call`` takes
    their operations. Works in scripts, threads and Jupyter. Ctrl-C cancels the call that runs. Use it as a context,
    or call ``close``.

    Args:
        client: what does the work; closed together with this one.
    """

    def __init__(self, client: AsyncClient) -> None:
        self._client = client
        self._loop = LoopThread()

    @property
    def timeout_s(self) -> float:
        """The limit of a method that is given none, seconds."""
        return self._client.timeout_s

    @property
    def is_auth_off(self) -> bool:
        """Whether the last answer said that authentication is switched off; see ``AsyncClient``."""
        return self._client.is_auth_off

    # --- agents ---------------------------------------------------------------------------------------------

    def agents(
        self,
        *,
        page_size: int = wire.MAX_PAGE,
        timeout_s: float | None = None,
        **filters: Unpack[AgentFilters],
    ) -> Iterator[wire.Agent]:
        """Yield agents in the order of their names; ``timeout_s`` is the limit of one page."""
        return self._iterate(self._client.agents(page_size=page_size, timeout_s=timeout_s, **filters))

    def list_agents(
        self, *, timeout_s: float | None = None, **filters: Unpack[AgentFilters]
    ) -> list[wire.Agent]:
        """Return all agents for which the filters hold, in the order of their names."""
        return self._run(lambda: self._client.list_agents(timeout_s=timeout_s, **filters), timeout_s)

    def agent(self, name: str, *, timeout_s: float | None = None) -> wire.Agent:
        """Return the agent of this name or alias.

        Raises:
            AgentNotFound: there is none.
        """
        return self._run(lambda: self._client.agent(name, timeout_s=timeout_s), timeout_s)

    def register(
        self, name: str, *, timeout_s: float | None = None, **fields: Unpack[AgentFields]
    ) -> wire.Agent:
        """Register an agent, or replace the record of the same name; safe to repeat.

        Raises:
            AgentExists: the name is taken and ``is_new_required`` was given.
        """
        return self._run(lambda: self._client.register(name, timeout_s=timeout_s, **fields), timeout_s)

    def register_request(self, request: wire.RegisterAgent, *, timeout_s: float | None = None) -> wire.Agent:
        """Register with a ready request model; otherwise as ``register``."""
        return self._run(lambda: self._client.register_request(request, timeout_s=timeout_s), timeout_s)

    def register_many(
        self,
        agents: Iterable[wire.RegisterAgent | Mapping[str, Any]],
        *,
        request_id: str | None = None,
        timeout_s: float | None = None,
    ) -> wire.AgentsRegistered:
        """Register all of them in one commit, or none; at most 10,000."""
        return self._run(
            lambda: self._client.register_many(agents, request_id=request_id, timeout_s=timeout_s), timeout_s
        )

    def registered(self, name: str, **fields: Unpack[AgentFields]) -> SyncRegistration:
        """Return a context that registers the agent, renews its lease, and deregisters it at the end."""
        return SyncRegistration(self._client.registered(name, **fields), self._loop)

    def heartbeat(
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
        return self._run(lambda: self._client.heartbeat(name, status, reason, timeout_s=timeout_s), timeout_s)

    def update(
        self, name: str, *, timeout_s: float | None = None, **changes: Unpack[AgentChanges]
    ) -> wire.Agent:
        """Change some fields of an agent.

        Raises:
            AgentNotFound: it is not registered.
            VersionConflict: it is not at ``expected_revision`` any more.
        """
        return self._run(lambda: self._client.update(name, timeout_s=timeout_s, **changes), timeout_s)

    def deregister(
        self, name: str, reason: str = "", *, timeout_s: float | None = None
    ) -> wire.AgentDeregistered:
        """Remove an agent on purpose; safe to repeat."""
        return self._run(lambda: self._client.deregister(name, reason, timeout_s=timeout_s), timeout_s)

    def explain(self, name: str, *, timeout_s: float | None = None) -> wire.AgentExplanation:
        """Return why an agent is in its state, with its last moves."""
        return self._run(lambda: self._client.explain(name, timeout_s=timeout_s), timeout_s)

    # --- changes --------------------------------------------------------------------------------------------

    def watch(
        self,
        from_revision: int | None = None,
        *,
        timeout_s: float | None = None,
        outage_s: float = DEFAULT_OUTAGE_S,
    ) -> Iterator[wire.AgentEvent]:
        """Yield changes of the registry in the order of revisions, each once; see ``AsyncClient.watch``."""
        return self._iterate(self._client.watch(from_revision, timeout_s=timeout_s, outage_s=outage_s))

    def history(
        self,
        name: str | None = None,
        *,
        before_revision: int | None = None,
        limit: int = 100,
        timeout_s: float | None = None,
    ) -> wire.History:
        """Return past changes of one agent or of all, newest first, at most ``limit`` (1 to 1000)."""
        return self._run(
            lambda: self._client.history(
                name, before_revision=before_revision, limit=limit, timeout_s=timeout_s
            ),
            timeout_s,
        )

    def snapshot(self, *, timeout_s: float | None = None) -> wire.RegistrySnapshot:
        """Return all agents and machines at one revision."""
        return self._run(lambda: self._client.snapshot(timeout_s=timeout_s), timeout_s)

    # --- machines, fleet and services -----------------------------------------------------------------------

    def machines(self, *, timeout_s: float | None = None) -> list[Machine]:
        """Return all machines that ever reported, in the order of their names."""
        return self._run(lambda: self._client.machines(timeout_s=timeout_s), timeout_s)

    def machine(self, name: str, *, timeout_s: float | None = None) -> Machine:
        """Return one machine.

        Raises:
            MachineNotFound: none of this name ever reported.
        """
        return self._run(lambda: self._client.machine(name, timeout_s=timeout_s), timeout_s)

    def declare_fleet(
        self,
        agents: Iterable[wire.RegisterAgent | Mapping[str, Any]],
        source: str = "",
        *,
        request_id: str | None = None,
        timeout_s: float | None = None,
    ) -> wire.FleetDeclared:
        """Tell the registry what the fleet file declares; safe to repeat."""
        return self._run(
            lambda: self._client.declare_fleet(agents, source, request_id=request_id, timeout_s=timeout_s),
            timeout_s,
        )

    def registry_status(self, *, timeout_s: float | None = None) -> wire.RegistryStatus:
        """Return how many agents are in which state, and whether the protection holds the list."""
        return self._run(lambda: self._client.registry_status(timeout_s=timeout_s), timeout_s)

    def accept_losses(
        self, *, request_id: str | None = None, timeout_s: float | None = None
    ) -> wire.RegistryStatus:
        """Let the protection go: mark agents lost that it holds although they are silent; safe to repeat.

        For an operator who knows that so many are really gone.
        """
        return self._run(
            lambda: self._client.accept_losses(request_id=request_id, timeout_s=timeout_s), timeout_s
        )

    def service_health(self, service: str = wire.SERVICE, *, timeout_s: float | None = None) -> ServiceHealth:
        """Return how a service is, and why.

        Raises:
            NotFound: there is no such service.
            ServiceUnavailable: it does not answer.
        """
        return self._run(lambda: self._client.service_health(service, timeout_s=timeout_s), timeout_s)

    # --- deadlocks ------------------------------------------------------------------------------------------

    def deadlocks(
        self, agent: str | None = None, *, limit: int = 100, timeout_s: float | None = None
    ) -> list[hub_wire.DeadlockEvent]:
        """Return the deadlocks that are kept, newest first, of one agent or of all; at most ``limit`` (1 to 1000)."""
        return self._run(lambda: self._client.deadlocks(agent, limit=limit, timeout_s=timeout_s), timeout_s)

    def watch_deadlocks(
        self,
        from_revision: int | None = None,
        *,
        timeout_s: float | None = None,
        outage_s: float = DEFAULT_OUTAGE_S,
    ) -> Iterator[hub_wire.DeadlockEvent]:
        """Yield deadlocks as they are found, each once; see ``AsyncClient.watch_deadlocks``."""
        return self._iterate(
            self._client.watch_deadlocks(from_revision, timeout_s=timeout_s, outage_s=outage_s)
        )

    def deadlock_status(self, *, timeout_s: float | None = None) -> hub_wire.DeadlockStatus:
        """Return how many deadlocks there were, and how the agents that wait are doing, the worst first."""
        return self._run(lambda: self._client.deadlock_status(timeout_s=timeout_s), timeout_s)

    # --- all the rest ---------------------------------------------------------------------------------------

    def call(
        self,
        operation: Operation,
        request: Contract,
        *,
        timeout_s: float | None = None,
        caused_by: str = "",
        traceparent: str | None = None,
    ) -> Contract:
        """Run any declared operation and return its reply; see ``AsyncClient.call``."""
        return self._run(
            lambda: self._client.call(
                operation, request, timeout_s=timeout_s, caused_by=caused_by, traceparent=traceparent
            ),
            timeout_s,
        )

    def close(self) -> None:
        """End open registrations, release the connections and end the private loop; safe to repeat."""
        if self._loop.is_open:
            try:
                self._run(self._client.close, _CLOSE_S)
            finally:
                self._loop.close()

    # --- how it is done -------------------------------------------------------------------------------------

    def _run(self, call: Callable[[], Awaitable[T]], timeout_s: float | None) -> T:
        async def run() -> T:
            return await call()

        return self._loop.run(run(), (self.timeout_s if timeout_s is None else timeout_s) + _GRACE_S)

    def _iterate(self, items: AsyncGenerator[T, None]) -> Iterator[T]:
        async def step() -> tuple[T] | None:
            try:
                return (await anext(items),)
            except StopAsyncIteration:
                return None

        try:
            while (found := self._loop.run(step(), None)) is not None:  # each poll inside has its own limit
                yield found[0]
        finally:
            if self._loop.is_open:
                with contextlib.suppress(ZejzlError):  # collected inside the loop, or already ending
                    self._loop.run(items.aclose(), _GRACE_S)

    def __enter__(self) -> Self:
        return self

    def __exit__(
        self, kind: type[BaseException] | None, error: BaseException | None, trace: TracebackType | None
    ) -> None:
        self.close()
