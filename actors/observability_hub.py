"""The Ray shell of observability_hub: one line a method."""

import ray

from actors.closed import closed
from actors.place import ServiceOptions
from actors.shells import host
from zejzl_ray.cluster.names import OBSERVABILITY_HUB
from zejzl_ray.contracts.audit import AuditPage, Chains, ListChains, ReadAudit
from zejzl_ray.contracts.call import CallContext
from zejzl_ray.contracts.health import GetHealth, ServiceHealth
from zejzl_ray.contracts.life import Stopped, StopService
from zejzl_ray.shell import BareService


@closed(OBSERVABILITY_HUB)
class ObservabilityHubActor:
    """observability_hub as a named actor; it owns its store and answers health, its operations are yet to come."""

    def __init__(self, options: ServiceOptions) -> None:
        self._here = host(OBSERVABILITY_HUB, options, BareService)
        self._security = self._here.security

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
