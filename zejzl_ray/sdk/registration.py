"""A registration that is kept alive for as long as a program runs."""

import asyncio
import contextlib
from types import TracebackType
from typing import Final, Protocol, Self

import structlog

from zejzl_ray.contracts.orchestrator import (
    Agent,
    AgentDeregistered,
    HealthStatus,
    Heartbeat,
    HeartbeatAccepted,
    RegisterAgent,
)
from zejzl_ray.errors import AgentNotFound, DeadlineExceeded, Unavailable, ZejzlError
from zejzl_ray.ids import new_id
from zejzl_ray.sdk.fields import build

DEFAULT_LEASE_S: Final = 30.0
# a third of the lease: two renewals may fail before the lease runs out
RENEWALS_A_LEASE: Final = 3
STOP_S: Final = 5.0


class Registrar(Protocol):
    """What a registration needs of a client."""

    async def register_request(self, request: RegisterAgent, *, timeout_s: float | None = None) -> Agent:
        """Register with a ready request model."""
        ...

    async def heartbeat(
        self,
        name: str,
        status: HealthStatus = HealthStatus.HEALTHY,
        reason: str = "",
        *,
        timeout_s: float | None = None,
    ) -> HeartbeatAccepted:
        """Renew the lease."""
        ...

    async def deregister(
        self, name: str, reason: str = "", *, timeout_s: float | None = None
    ) -> AgentDeregistered:
        """Remove the agent."""
        ...


class Registration:
    """Registers an agent on entry, renews its lease in the background, deregisters it on exit.

    A renewal that fails because the cluster is away is repeated at the next turn; an agent that the registry
    has forgotten is registered again. Any other error ends the renewals and stands in ``error``. Leaving
    never hangs: stopping and deregistering have ``STOP_S`` seconds each, and an error while deregistering is
    logged, since the lease runs out by itself.

    Args:
        registrar: the client.
        request: what to register; without ``lease_s`` the lease is ``DEFAULT_LEASE_S``.
        running: where the registration stands while it runs.
    """

    def __init__(
        self, registrar: Registrar, request: RegisterAgent, running: "set[Registration] | None" = None
    ) -> None:
        self._registrar = registrar
        self._request = (
            request
            if request.lease_s is not None
            else request.model_copy(update={"lease_s": DEFAULT_LEASE_S})
        )
        self._running: set[Registration] = set() if running is None else running
        self._status = HealthStatus.HEALTHY
        self._reason = ""
        self._wake = asyncio.Event()
        self._renewals: asyncio.Task[None] | None = None
        self._log = structlog.get_logger(__name__).bind(agent=request.name)
        self.agent: Agent | None = None  # as registered; null before entry
        self.error: ZejzlError | None = None  # why the renewals ended; null while they go on

    @property
    def name(self) -> str:
        """The agent's name."""
        return self._request.name

    @property
    def is_renewing(self) -> bool:
        """Whether the lease is being renewed."""
        return self._renewals is not None and not self._renewals.done()

    def report(self, status: HealthStatus | str, reason: str = "") -> None:
        """Say how the agent is; sent at once and with every renewal from now on.

        Raises:
            InvalidInput: there is no such status, or the reason is longer than 1024 characters.
        """
        beat = build(Heartbeat, {"name": self.name, "status": status, "reason": reason})
        self._status, self._reason = beat.status, beat.reason
        self._wake.set()

    async def start(self) -> Self:
        """Register and begin to renew; what ``async with`` does on entry."""
        self.agent = await self._registrar.register_request(self._request)
        self._renewals = asyncio.create_task(self._renew(), name=f"renew {self.name}")
        self._running.add(self)
        return self

    async def stop(self) -> None:
        """Stop renewing and deregister; safe to repeat, and to call when ``start`` failed."""
        renewals, self._renewals = self._renewals, None
        if renewals is None:
            return
        renewals.cancel()
        await asyncio.wait({renewals}, timeout=STOP_S)
        self._running.discard(self)
        try:
            async with asyncio.timeout(STOP_S):
                await self._registrar.deregister(self.name, "the program ended", timeout_s=STOP_S)
        except (ZejzlError, TimeoutError) as error:
            self._log.warning("agent not deregistered; its lease will run out", error=str(error))

    async def renew_once(self, period_s: float) -> None:
        """Send one heartbeat; register again when the registry does not know the agent.

        Raises:
            ZejzlError: what went wrong, other than the cluster being away.
        """
        try:
            try:
                await self._registrar.heartbeat(self.name, self._status, self._reason, timeout_s=period_s)
            except AgentNotFound:
                request = self._request.model_copy(update={"is_new_required": False, "request_id": new_id()})
                self.agent = await self._registrar.register_request(request, timeout_s=period_s)
        except (Unavailable, DeadlineExceeded) as error:
            self._log.warning("lease not renewed; trying again", error=str(error))

    async def _renew(self) -> None:
        period_s = (self._request.lease_s or DEFAULT_LEASE_S) / RENEWALS_A_LEASE
        while True:
            with contextlib.suppress(TimeoutError):
                await asyncio.wait_for(self._wake.wait(), period_s)
            self._wake.clear()
            try:
                await self.renew_once(period_s)
            except ZejzlError as error:
                self.error = error
                self._log.error("renewals ended", error=str(error))
                return

    async def __aenter__(self) -> Self:
        return await self.start()

    async def __aexit__(
        self, kind: type[BaseException] | None, error: BaseException | None, trace: TracebackType | None
    ) -> None:
        await self.stop()
