"""The typed client of observability_hub, over any ``Caller``."""

from typing import TypeVar

from zejzl_ray.contracts import observability_hub as wire
from zejzl_ray.contracts.base import Contract
from zejzl_ray.contracts.call import CallContext
from zejzl_ray.contracts.caller import Caller
from zejzl_ray.contracts.health import GetHealth, ServiceHealth
from zejzl_ray.contracts.logs import FleetLogPage, ReadFleetLogs
from zejzl_ray.contracts.performance import (
    GetPerformance,
    Performance,
    PerformanceReported,
    ReportPerformance,
)
from zejzl_ray.contracts.services import BY_SERVICE
from zejzl_ray.contracts.waits import ReportWaits, WaitsReported

_OPERATIONS = BY_SERVICE[wire.SERVICE]
R = TypeVar("R", bound=Contract)


class ObservabilityHubClient:
    """Calls observability_hub; one method an operation, one request in, one model out.

    Args:
        caller: how the calls get there; this client does not close it.
    """

    def __init__(self, caller: Caller) -> None:
        self._caller = caller

    async def report_waits(self, request: ReportWaits, call: CallContext | None = None) -> WaitsReported:
        """Report what the agents of a host wait for."""
        return await self._call("report_waits", request, call, WaitsReported)

    async def list_deadlocks(
        self, request: wire.ListDeadlocks, call: CallContext | None = None
    ) -> wire.DeadlockPage:
        """Return the deadlocks that are kept, newest first."""
        return await self._call("list_deadlocks", request, call, wire.DeadlockPage)

    async def watch_deadlocks(
        self, request: wire.WatchDeadlocks, call: CallContext | None = None
    ) -> wire.DeadlockBatch:
        """Wait for deadlocks."""
        return await self._call("watch_deadlocks", request, call, wire.DeadlockBatch)

    async def get_deadlock_status(
        self, request: wire.GetDeadlockStatus, call: CallContext | None = None
    ) -> wire.DeadlockStatus:
        """Return the counters, and how agents are doing."""
        return await self._call("get_deadlock_status", request, call, wire.DeadlockStatus)

    async def report_performance(
        self, request: ReportPerformance, call: CallContext | None = None
    ) -> PerformanceReported:
        """Report what the agents of a host did."""
        return await self._call("report_performance", request, call, PerformanceReported)

    async def get_performance(self, request: GetPerformance, call: CallContext | None = None) -> Performance:
        """Return how much mail flows and how fast."""
        return await self._call("get_performance", request, call, Performance)

    async def read_logs(self, request: ReadFleetLogs, call: CallContext | None = None) -> FleetLogPage:
        """Return lines of the logs of all machines."""
        return await self._call("read_logs", request, call, FleetLogPage)

    async def health(self, request: GetHealth, call: CallContext | None = None) -> ServiceHealth:
        """Return the service's health."""
        return await self._call("health", request, call, ServiceHealth)

    async def _call(self, name: str, request: Contract, call: CallContext | None, reply: type[R]) -> R:
        answer = await self._caller.call(_OPERATIONS[name], request, call or CallContext())
        if not isinstance(answer, reply):
            raise TypeError(f"{name} answered {type(answer).__name__}, not {reply.__name__}")
        return answer
