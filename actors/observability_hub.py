"""The Ray shell of observability_hub: one line a method."""

import ray

from actors.closed import closed
from actors.place import ServiceOptions
from actors.shells import host
from zejzl_ray.clock import SystemClock
from zejzl_ray.cluster.fleet_standings import RegistryFleet
from zejzl_ray.cluster.machine_logs import NodeAgentLogs
from zejzl_ray.cluster.names import OBSERVABILITY_HUB
from zejzl_ray.contracts import observability_hub as wire
from zejzl_ray.contracts.audit import AuditPage, Chains, ListChains, ReadAudit
from zejzl_ray.contracts.call import CallContext
from zejzl_ray.contracts.health import GetHealth, ServiceHealth
from zejzl_ray.contracts.life import Stopped, StopService
from zejzl_ray.contracts.logs import FleetLogPage, ReadFleetLogs
from zejzl_ray.contracts.performance import (
    GetPerformance,
    Performance,
    PerformanceReported,
    ReportPerformance,
)
from zejzl_ray.contracts.waits import ReportWaits, WaitsReported
from zejzl_ray.observability.service import ObservabilityHub
from zejzl_ray.shell.late_collector import LateCollector
from zejzl_ray.store.protocol import Store


@closed(OBSERVABILITY_HUB)
class ObservabilityHubActor:
    """observability_hub as a named actor; see ``ObservabilityHub``."""

    def __init__(self, options: ServiceOptions) -> None:
        def build(store: Store) -> ObservabilityHub:  # once the store is open, so after all of this
            caller = self._here.caller
            hub = ObservabilityHub(
                store, SystemClock(), fleet=RegistryFleet(caller), machines=NodeAgentLogs(caller)
            )
            figures.source = hub.collector
            return hub

        figures = LateCollector()
        self._here = host(OBSERVABILITY_HUB, options, build, collector=figures)
        self._security = self._here.security

    @ray.method
    async def report_waits(self, request: ReportWaits, call: CallContext) -> WaitsReported:
        """Take what a host of agents reports."""
        return await (await self._here.service()).report_waits(request, call)

    @ray.method
    async def list_deadlocks(self, request: wire.ListDeadlocks, call: CallContext) -> wire.DeadlockPage:
        """Return the deadlocks that are kept."""
        return await (await self._here.service()).list_deadlocks(request, call)

    @ray.method
    async def watch_deadlocks(self, request: wire.WatchDeadlocks, call: CallContext) -> wire.DeadlockBatch:
        """Wait for deadlocks."""
        return await (await self._here.service()).watch_deadlocks(request, call)

    @ray.method
    async def get_deadlock_status(
        self, request: wire.GetDeadlockStatus, call: CallContext
    ) -> wire.DeadlockStatus:
        """Return the counters, and how agents are doing."""
        return await (await self._here.service()).get_deadlock_status(request, call)

    @ray.method
    async def report_performance(self, request: ReportPerformance, call: CallContext) -> PerformanceReported:
        """Count what a host's agents did."""
        return await (await self._here.service()).report_performance(request, call)

    @ray.method
    async def get_performance(self, request: GetPerformance, call: CallContext) -> Performance:
        """Return how much mail flows and how fast."""
        return await (await self._here.service()).get_performance(request, call)

    @ray.method
    async def read_logs(self, request: ReadFleetLogs, call: CallContext) -> FleetLogPage:
        """Return lines of the logs of all machines."""
        return await (await self._here.service()).read_logs(request, call)

    @ray.method
    async def health(self, request: GetHealth, call: CallContext) -> ServiceHealth:
        """Return the service's health; answers while the service is not ready too."""
        return await self._here.health()

    @ray.method
    async def list_audit_chains(self, request: ListChains, call: CallContext) -> Chains:
        """Return the audit chains of this service."""
        return await self._here.list_audit_chains()

    @ray.method
    async def read_audit(self, request: ReadAudit, call: CallContext) -> AuditPage:
        """Return entries of one audit chain."""
        return await self._here.read_audit(request)

    @ray.method
    async def stop(self, request: StopService, call: CallContext) -> Stopped:
        """Write what is pending and stop serving."""
        return await self._here.stop()
