"""Builds the shell of a service from what the composition root hands in."""

import asyncio
import inspect
from collections.abc import Callable
from typing import TypeVar

from actors.place import ServiceOptions, end_process, machine_addresses, own_identity, prepare_process
from zejzl_ray.clock import SystemClock
from zejzl_ray.cluster.actor_caller import ActorCaller
from zejzl_ray.cluster.core_orchestrator import CoreOrchestratorClient
from zejzl_ray.cluster.shared_store import require_shared_store, service_store_url
from zejzl_ray.log import get_logger
from zejzl_ray.settings import Settings
from zejzl_ray.shell import Presence, Service, ServiceShell
from zejzl_ray.shell.health_server import HealthServer
from zejzl_ray.store.open import open_store
from zejzl_ray.store.protocol import Store

S = TypeVar("S", bound=Service)

_REGISTRY_TIMEOUT_S = 3.0
_DURABILITY_TIMEOUT_S = 3.0

log = get_logger("zejzl.store")

_HEALTH_PORT: dict[str, Callable[[Settings], int]] = {
    "resource_manager": lambda settings: settings.resource_manager_port,
    "observability_hub": lambda settings: settings.observability_port,
    "error_bus": lambda settings: settings.error_bus_port,
    "security_gateway": lambda settings: settings.security_port,
}


def launch_shell(service: str, options: ServiceOptions, build: Callable[[Store], S]) -> ServiceShell[S]:
    """Build the shell of a service and begin to start it; needs a running event loop.

    core_orchestrator has no health port of its own: the ingress on 7000 shows its health.
    """
    settings = options.settings
    prepare_process(service, settings)
    clock = SystemClock()
    port = _HEALTH_PORT.get(service)
    server = (
        HealthServer(settings.bind_host, port(settings), options.token)
        if port is not None and options.is_health_served
        else None
    )

    async def open_own_store() -> Store:
        # At each start anew: this may be another machine than the last time, or one that has joined since.
        require_shared_store(settings.resolved_store_url(), await asyncio.to_thread(machine_addresses))
        url = await asyncio.to_thread(service_store_url, settings)
        store = await open_store(url.get_secret_value(), service, clock=clock, owner=service)
        try:
            await log_durability(store, service)
        except asyncio.CancelledError:  # nobody else knows of the store yet
            await store.close()
            raise
        return store

    identity = own_identity(service)
    registry = CoreOrchestratorClient(ActorCaller(settings.namespace, timeout_s=_REGISTRY_TIMEOUT_S))
    shell = ServiceShell(
        identity,
        open_store=open_own_store,
        build=build,
        clock=clock,
        on_fatal=end_process,
        health_server=server,
        presence=Presence(service, identity.machine, registry, period_s=settings.lease_s / 6),
    )
    shell.launch()
    return shell


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
