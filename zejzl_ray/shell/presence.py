"""A service's own entry in the registry: kept alive, and true about where the service is."""

import asyncio
import contextlib
from collections.abc import Awaitable, Callable
from typing import Protocol

from zejzl_ray.contracts.health import CheckStatus, ServiceHealth
from zejzl_ray.contracts.orchestrator import (
    Agent,
    GetAgent,
    HealthStatus,
    Heartbeat,
    HeartbeatAccepted,
    UpdateAgent,
)
from zejzl_ray.errors import ZejzlError
from zejzl_ray.log import get_logger

_log = get_logger("presence")


class RegistryClient(Protocol):
    """What presence needs of the registry."""

    async def heartbeat(self, request: Heartbeat) -> HeartbeatAccepted:
        """Renew the lease."""
        ...

    async def get_agent(self, request: GetAgent) -> Agent:
        """Read the entry."""
        ...

    async def update_agent(self, request: UpdateAgent) -> Agent:
        """Correct the entry."""
        ...


class Presence:
    """Sends heartbeats with the service's own health.

    A registry that is away or does not know the service is no error.

    Args:
        service: name of the entry.
        machine: where the service is; the entry is corrected whenever the registry has changed and names another.
        registry: the registry.
        period_s: time between heartbeats; well below the lease.
    """

    def __init__(
        self, service: str, machine: str, registry: RegistryClient, *, period_s: float = 5.0
    ) -> None:
        self._service = service
        self._machine = machine
        self._registry = registry
        self._period_s = period_s
        # registry revision at which the entry was last seen to be true; a fleet loaded anew may undo it
        self._checked_revision = -1

    async def run(self, health: Callable[[], Awaitable[ServiceHealth]], stop_event: asyncio.Event) -> None:
        """Report until ``stop_event`` is set."""
        while not stop_event.is_set():
            try:
                await self.report(await health())
            except ZejzlError as error:
                _log.debug("no heartbeat", error=error.message)
            except Exception:  # a bad answer must not end the loop
                _log.exception("no heartbeat")
            with contextlib.suppress(TimeoutError):
                async with asyncio.timeout(self._period_s):
                    await stop_event.wait()

    async def report(self, health: ServiceHealth) -> None:
        """Send one heartbeat, and put the entry right if it names another machine.

        Raises:
            AgentNotFound: the registry does not know the service.
            ZejzlError: the registry is away.
        """
        troubled = [check for check in health.checks if check.status is not CheckStatus.OK]
        status = (
            HealthStatus.UNHEALTHY
            if not health.is_ready
            else HealthStatus.DEGRADED
            if troubled
            else HealthStatus.HEALTHY
        )
        reason = "; ".join(f"{check.name}: {check.reason}" for check in troubled)[:1024]
        accepted = await self._registry.heartbeat(Heartbeat(name=self._service, status=status, reason=reason))
        if accepted.revision != self._checked_revision:
            entry = await self._registry.get_agent(GetAgent(name=self._service))
            if self._machine and entry.machine != self._machine:
                await self._registry.update_agent(UpdateAgent(name=self._service, machine=self._machine))
            self._checked_revision = accepted.revision
