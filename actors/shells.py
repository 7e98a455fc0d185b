"""Builds a service in its process: the shell, the check at its door, and what both need of the cluster."""

import asyncio
import inspect
from collections.abc import Awaitable, Callable
from typing import Generic, TypeVar

from prometheus_client.registry import Collector

from actors.audit_place import AuditPlace
from actors.place import ServiceOptions, end_process, machine_addresses, own_identity, prepare_process
from zejzl_ray.auth.ports import AuditRecorder
from zejzl_ray.auth.process_security import ProcessSecurity, SecurityOptions, SecurityPorts
from zejzl_ray.clock import SystemClock
from zejzl_ray.cluster.core_orchestrator import CoreOrchestratorClient
from zejzl_ray.cluster.gateway_access import GatewayAccess
from zejzl_ray.cluster.local_plan import LOOPBACK
from zejzl_ray.cluster.shared_store import require_shared_store, service_store_url
from zejzl_ray.contracts.audit import AuditPage, Chains, ReadAudit
from zejzl_ray.contracts.caller import Caller
from zejzl_ray.contracts.health import ServiceHealth
from zejzl_ray.contracts.life import Stopped
from zejzl_ray.log import get_logger
from zejzl_ray.settings import Settings
from zejzl_ray.shell import Presence, Service, ServiceShell
from zejzl_ray.shell.health_server import HealthServer
from zejzl_ray.store.open import open_store
from zejzl_ray.store.protocol import Store

S = TypeVar("S", bound=Service)

_DURABILITY_TIMEOUT_S = 3.0

log = get_logger("zejzl.store")

_HEALTH_PORT: dict[str, Callable[[Settings], int]] = {
    "resource_manager": lambda settings: settings.resource_manager_port,
    "observability_hub": lambda settings: settings.observability_port,
    "error_bus": lambda settings: settings.error_bus_port,
    "security_gateway": lambda settings: settings.security_port,
}


class Hosted(Generic[S]):
    """A service and everything around it in one process.

    Attributes:
        security: checks the calls of this process.
    """

    def __init__(self, shell: ServiceShell[S], security: ProcessSecurity, access: GatewayAccess) -> None:
        self._shell = shell
        self._access = access
        self.security = security

    @property
    def caller(self) -> Caller:
        """Calls other services in the name of this one; closed by ``stop``."""
        return self._access.caller

    async def service(self) -> S:
        """Return the service once it can work; see ``ServiceShell.service``."""
        return await self._shell.service()

    async def health(self) -> ServiceHealth:
        """Return how the service is; answers while it is not ready too."""
        return await self._shell.health()

    async def stop(self) -> Stopped:
        """Write what is pending and stop serving; safe to repeat."""
        await self.security.stop()
        await self._shell.stop()
        await self._access.close()
        return Stopped()


class Audited(Hosted[S]):
    """A service that keeps its audit trail in a namespace of its own."""

    def __init__(
        self, shell: ServiceShell[S], security: ProcessSecurity, access: GatewayAccess, trail: AuditPlace
    ) -> None:
        super().__init__(shell, security, access)
        self._trail = trail

    async def list_audit_chains(self) -> Chains:
        """Return the audit chains that this process keeps."""
        return await self._trail.chains()

    async def read_audit(self, request: ReadAudit) -> AuditPage:
        """Return entries of a chain of this process, up to the last one."""
        await self.security.audit.flush()
        return await self._trail.read(request)

    async def stop(self) -> Stopped:
        """Write what is pending and stop serving; safe to repeat."""
        stopped = await super().stop()
        await self._trail.close()
        return stopped


def host(
    service: str,
    options: ServiceOptions,
    build: Callable[[Store], S],
    *,
    collector: Collector | None = None,
) -> Audited[S]:
    """Build a service and begin to start it; needs a running event loop.

    core_orchestrator has no health port of its own: the ingress on 7000 shows its health.

    Args:
        service: its name.
        options: from the composition root.
        build: makes the service from its store.
        collector: its own figures for the page of its health port.
    """
    trail = AuditPlace(service, lambda: open_namespace(options.settings, f"{service}.audit", service))
    access = GatewayAccess(options.settings.namespace, options.credential, SystemClock())
    security = _security(service, options, service, access.ports(trail))
    shell = _shell(service, options, build, access, security, collector)
    security.launch()
    shell.launch()
    return Audited(shell, security, access, trail)


def host_gateway(
    service: str,
    options: ServiceOptions,
    build: Callable[[Store, AuditRecorder], S],
    own_ports: Callable[[Callable[[], Awaitable[S]]], SecurityPorts],
) -> Hosted[S]:
    """Build the gateway and begin to start it: its own process is checked with news from itself.

    Args:
        service: its name.
        options: from the composition root.
        build: makes the service from its store and the recorder of its process.
        own_ports: what the check needs, taken from the service once that is there.
    """
    shells: list[ServiceShell[S]] = []

    async def own_service() -> S:
        return await shells[0].service()

    access = GatewayAccess(options.settings.namespace, options.credential, SystemClock())
    # Its own chain is part of its state; what its door does is another one.
    security = _security(service, options, f"{service}.guard", own_ports(own_service))
    shells.append(_shell(service, options, lambda store: build(store, security.audit), access, security))
    security.launch()
    shells[0].launch()
    return Hosted(shells[0], security, access)


def _security(service: str, options: ServiceOptions, chain: str, ports: SecurityPorts) -> ProcessSecurity:
    settings = options.settings
    required = SecurityOptions(is_required=settings.require_auth, max_feed_age_s=settings.max_feed_age_s)
    return ProcessSecurity(service, chain, ports, SystemClock(), required)


def _shell(
    service: str,
    options: ServiceOptions,
    build: Callable[[Store], S],
    access: GatewayAccess,
    security: ProcessSecurity,
    collector: Collector | None = None,
) -> ServiceShell[S]:
    settings = options.settings
    identity = own_identity(service)
    prepare_process(service, settings, identity.machine)
    port = _HEALTH_PORT.get(service)

    async def open_own_store() -> Store:
        store = await open_namespace(settings, service, service)
        try:
            await log_durability(store, service)
        except asyncio.CancelledError:  # nobody else knows of the store yet
            await store.close()
            raise
        return store

    server = None
    if port is not None:
        door = access.health_door(service, security.guard)
        # without TLS, so never beyond this machine
        server = HealthServer(LOOPBACK, port(settings), door, collector=collector)
    registry = CoreOrchestratorClient(access.caller)
    return ServiceShell(
        identity,
        open_store=open_own_store,
        build=build,
        clock=SystemClock(),
        on_fatal=end_process,
        health_server=server,
        presence=Presence(service, identity.machine, registry, period_s=settings.lease_s / 6),
        more_checks=security.checks,
    )


async def open_namespace(settings: Settings, namespace: str, owner: str) -> Store:
    """Open a namespace of the services' store.

    Raises:
        ClusterError: the store lies on one machine, and there are several.
        StoreError: it cannot be opened.
    """
    # At each start anew: this may be another machine than the last time, or one that has joined since.
    require_shared_store(settings.resolved_store_url(), await asyncio.to_thread(machine_addresses))
    url = await asyncio.to_thread(service_store_url, settings)
    return await open_store(
        url.get_secret_value(),
        namespace,
        clock=SystemClock(),
        owner=owner,
        redis_timeout_s=settings.redis_timeout_s,
    )


async def log_durability(store: Store, service: str, timeout_s: float = _DURABILITY_TIMEOUT_S) -> None:
    """Log what the store of a service promises, and each weak point as a warning; raises no fault of the store."""
    try:
        async with asyncio.timeout(timeout_s):
            described = store.describe_durability()
            durability = await described if inspect.isawaitable(described) else described
    except Exception as error:  # what is only told must not keep a service from its work
        log.warning("durability of the store is not known", store_of=service, reason=repr(error))
        return
    log.info("store opened", store_of=service, durability=durability.policy)
    for warning in durability.warnings:
        log.warning("store is less than durable", store_of=service, reason=warning)
